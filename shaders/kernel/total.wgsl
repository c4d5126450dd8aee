// The sum of some numbers, by one workgroup. See src/kernel/catalog/update.rs.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn total(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.count; i += WORKGROUP) {
        sum += source[params.source_0 + i];
    }
    let all = sum_of_lanes(lane, sum);
    if lane == 0u {
        let old = select(result[params.target_0], 0.0, FIRST);
        result[params.target_0] = old + bitcast<f32>(params.scale) * all;
    }
}
