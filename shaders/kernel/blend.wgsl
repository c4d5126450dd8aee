// Sums of rows by shares, four elements for each invocation. See src/kernel/catalog/attention.rs.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;
override TRANSPOSED: bool = false;

@group(0) @binding(1) var<storage, read> shares: array<f32>; // [..][B][source_units]
@group(0) @binding(2) var<storage, read> source: array<vec4<f32>>; // [..][B][units]
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>; // [..][B][units]

@compute @workgroup_size(WORKGROUP)
fn blend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = params.target_0 + group.y;
    let b = row % params.batch;
    // The share of the first row of the source, and the elements from one share to the next.
    let own = select(group.y, b, TRANSPOSED);
    let column = params.source_offset + select(0u, row / params.batch, TRANSPOSED);
    let share_at = (params.source_1 + own) * params.source_units + column;
    let share_step = select(1u, params.batch * params.source_units, TRANSPOSED);
    if c < width {
        let at = row * width + c;
        var sum = vec4(0.0);
        for (var i = 0u; i < params.steps; i++) {
            sum = fma(vec4(shares[share_at + i * share_step]), source[(params.source_0 + i * params.batch + b) * width + c], sum);
        }
        let added = fma(vec4(bitcast<f32>(params.scale)), sum, select(result[at], vec4(0.0), FIRST));
        let is_feature = 4u * c + vec4(0u, 1u, 2u, 3u) < vec4(params.features);
        result[at] = select(vec4(0.0), added, is_feature);
    }
}
