// The sum of some numbers, by one workgroup. See src/kernel/catalog/update.rs.
const WORKGROUP: u32 = 64u;

override FIRST: bool = false;

@group(0) @binding(1) var<storage, read> source: array<f32>;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

var<workgroup> parts: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn total(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < params.count; i += WORKGROUP) {
        sum += source[params.source_0 + i];
    }
    parts[lane] = sum;
    // Makes every lane's sum visible to the first.
    workgroupBarrier();
    if lane == 0u {
        var all = 0.0;
        for (var i = 0u; i < WORKGROUP; i++) {
            all += parts[i];
        }
        let old = select(result[params.target_0], 0.0, FIRST);
        result[params.target_0] = old + bitcast<f32>(params.scale) * all;
    }
}
