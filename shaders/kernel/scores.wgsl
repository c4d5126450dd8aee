// The scores of steps for each row of a query, one step for each invocation. See src/kernel/catalog/attention.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(4) var<storage, read_write> result: array<f32>; // [..][B][source_units]

@compute @workgroup_size(WORKGROUP)
fn scores(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.units / 4u;
    let row = params.target_0 + group.y;
    let step = group.x * WORKGROUP + lane;
    if step < params.steps {
        let key_row = params.source_1 + step * params.batch + row % params.batch;
        let found = score((params.source_0 + group.y) * width, key_row * width);
        result[row * params.source_units + params.offset + step] = bitcast<f32>(params.scale) * found;
    }
}
