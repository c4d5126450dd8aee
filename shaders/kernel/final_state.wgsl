// One row of the sequence for each direction. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;

@group(0) @binding(1) var<storage, read> source: array<vec4<f32>>; // [R][B][D · units]
@group(0) @binding(2) var<storage, read_write> result: array<vec4<f32>>; // [B][D · units]

@compute @workgroup_size(WORKGROUP)
fn final_state(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = params.directions * params.units / 4u;
    let c = group.x * WORKGROUP + lane;
    let row = of_direction(group.z, params.source_0, params.source_1) * params.batch + group.y;
    if c < params.units / 4u {
        let at = (params.direction + group.z) * params.units / 4u + c;
        result[group.y * width + at] = source[row * width + at];
    }
}
