// The gradient of the matrix of a convolution: four rows of the depth by four units. See
// src/kernel/catalog/convolve.rs. The bias is one more row.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [..][source_units]
@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>; // [..][units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [P][K + 1][16]

// Writes four units of row k, with zeros for what is no weight.
fn finish(at: u32, units: vec4<u32>, group: u32, sum: vec4<f32>) {
    let own = units / params.features == vec4(group);
    let old = select(result[at], vec4(0.0), FIRST);
    result[at] = select(vec4(0.0), old + sum, own & (units < vec4(params.count)));
}

@compute @workgroup_size(WORKGROUP)
fn conv_outer(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = group.x * WORKGROUP + lane;
    let four = index % 4u;
    let k = index / 4u * 4u;
    let panel = params.panel + group.y;
    let units = panel * 16u + four * 4u + vec4(0u, 1u, 2u, 3u);
    let at = ((params.weight_panel + group.y) * (params.depth + 1u) + k) * 4u + four;
    let width = params.units / 4u;
    var delta_at = params.target_0 * width + panel * 4u + four;
    if k == params.depth {
        var sum = vec4(0.0);
        for (var m = 0u; m < params.rows; m++) {
            sum += delta[delta_at];
            delta_at += width;
        }
        let old = select(result[at], vec4(0.0), FIRST);
        result[at] = select(vec4(0.0), old + sum, units < vec4(params.count));
    } else if k < params.depth {
        let own = params.depth / params.steps;
        let column = 4u * band_of(panel) + k % own;
        let source_width = params.source_units / 4u;
        // Rows of the source, modulo 2^32: b is the row of the batch.
        let row = params.source_0 + k / own * params.time_step_1 * params.batch;
        var b = params.offset % params.batch;
        var taken = row + params.offset / params.batch * params.time_step_0 * params.batch + b;
        let next_step = params.time_step_0 * params.batch - params.batch;
        var sum_0 = vec4(0.0);
        var sum_1 = vec4(0.0);
        var sum_2 = vec4(0.0);
        var sum_3 = vec4(0.0);
        for (var m = 0u; m < params.rows; m++) {
            if taken - params.kept_0 < params.kept_1 {
                let s = source[taken * source_width + column / 4u];
                let d = delta[delta_at];
                sum_0 = fma(vec4(s.x), d, sum_0);
                sum_1 = fma(vec4(s.y), d, sum_1);
                sum_2 = fma(vec4(s.z), d, sum_2);
                sum_3 = fma(vec4(s.w), d, sum_3);
            }
            delta_at += width;
            b++;
            taken++;
            if b == params.batch {
                b = 0u;
                taken += next_step;
            }
        }
        finish(at, units, group_of(column), sum_0);
        finish(at + 4u, units, group_of(column + 1u), sum_1);
        finish(at + 8u, units, group_of(column + 2u), sum_2);
        finish(at + 12u, units, group_of(column + 3u), sum_3);
    }
}
