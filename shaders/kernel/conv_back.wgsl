// The gradient of the source of a convolution: four rows by four elements. See src/kernel/catalog/convolve.rs.
const WORKGROUP: u32 = 64u;
const ROWS: u32 = 4u;

override FIRST: bool = false;

@group(0) @binding(2) var<storage, read> delta: array<vec4<f32>>; // [..][B][units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][B][source_units]

// Loads four elements of row `row` of delta, or zeros if there is no such row.
fn load_delta(row: u32, four: u32) -> vec4<f32> {
    let there = row < params.source_1 + params.kept_1 * params.batch;
    return select(vec4(0.0), delta[select(0u, row, there) * (params.units / 4u) + four], there);
}

// Returns the row of delta to which row n of the source belongs by a tap, or the last number if there is none.
fn row_of(n: u32, tap: u32) -> u32 {
    let end = params.before_0 + n / params.batch;
    let reach = tap * params.time_step_1;
    let step = (end - reach) / params.time_step_0;
    let is_whole = reach <= end && (end - reach) % params.time_step_0 == 0u;
    let there = is_whole && step - params.kept_0 < params.kept_1;
    return select(0xffffffffu, params.source_1 + (step - params.kept_0) * params.batch + n % params.batch, there);
}

// Adds the products of four units with each of four columns.
fn add_units(sum: vec4<f32>, d: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>) -> vec4<f32> {
    return sum + vec4(dot(d, w0), dot(d, w1), dot(d, w2), dot(d, w3));
}

fn finish(c: u32, m: u32, sum: vec4<f32>) {
    if m < params.rows {
        let at = (params.target_0 + m) * (params.source_units / 4u) + c;
        result[at] = select(result[at], vec4(0.0), FIRST) + sum;
    }
}

@compute @workgroup_size(WORKGROUP)
fn conv_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group.x * WORKGROUP + lane;
    let first = group.y * ROWS;
    let width = params.depth / params.steps;
    if c < params.source_units / 4u {
        // A part begins with true features, so that the first of four is one unless all are padding.
        let low = group_of(4u * c);
        var high = low;
        for (var i = 1u; i < 4u; i++) {
            let group = group_of(4u * c + i);
            high = select(high, group, group != 0xffffffffu);
        }
        var sum_0 = vec4(0.0);
        var sum_1 = vec4(0.0);
        var sum_2 = vec4(0.0);
        var sum_3 = vec4(0.0);
        if low != 0xffffffffu {
            let end = min(((high + 1u) * params.features - 1u) / 16u + 1u, params.panels);
            for (var panel = low * params.features / 16u; panel < end; panel++) {
                let k = 4u * (c - band_of(panel));
                let weight = ((params.weight_panel + panel) * (params.depth + 1u) + k) * 4u;
                for (var tap = 0u; tap < params.steps; tap++) {
                    let n = params.offset + first;
                    let d0 = row_of(n, tap);
                    let d1 = row_of(n + 1u, tap);
                    let d2 = row_of(n + 2u, tap);
                    let d3 = row_of(n + 3u, tap);
                    for (var four = 0u; four < 4u; four++) {
                        let at = weight + tap * width * 4u + four;
                        let w0 = load_weight(at);
                        let w1 = load_weight(at + 4u);
                        let w2 = load_weight(at + 8u);
                        let w3 = load_weight(at + 12u);
                        let u = panel * 4u + four;
                        sum_0 = add_units(sum_0, load_delta(d0, u), w0, w1, w2, w3);
                        sum_1 = add_units(sum_1, load_delta(d1, u), w0, w1, w2, w3);
                        sum_2 = add_units(sum_2, load_delta(d2, u), w0, w1, w2, w3);
                        sum_3 = add_units(sum_3, load_delta(d3, u), w0, w1, w2, w3);
                    }
                }
            }
        }
        finish(c, first, sum_0);
        finish(c, first + 1u, sum_1);
        finish(c, first + 2u, sum_2);
        finish(c, first + 3u, sum_3);
    }
}
