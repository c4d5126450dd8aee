// The backward pass of scores, four elements for each invocation. See src/kernel/catalog/attention.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(2) var<storage, read> shares: array<f32>; // [..][B][source_units]: the gradients of the scores
@group(0) @binding(5) var<storage, read_write> result: array<vec4<f32>>; // [..][B][units]

@compute @workgroup_size(WORKGROUP)
fn scores_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = params.target_0 + group.y;
    let first = params.source_0 + row % params.batch;
    let own = shares_of(group.y, row);
    if c < width {
        let other_at = (params.kept_0 + group.y) * width + c;
        var sum = vec4(0.0);
        for (var i = 0u; i < params.steps; i++) {
            let source_at = (first + i * params.batch) * width + c;
            sum = fma(vec4(shares[own.at + i * own.step]), term(source_at, other_at), sum);
        }
        store_sum(row * width + c, c, bitcast<f32>(params.scale) * weight_of(c), sum);
    }
}
