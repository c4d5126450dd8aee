// An exchange in which nothing is yet. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;
const EMPTY: u32 = 0xffffffffu;

@group(0) @binding(1) var<storage, read_write> exchange: array<vec4<u32>>; // [..][units]

@compute @workgroup_size(WORKGROUP)
fn clear(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group.x * WORKGROUP + lane;
    if c < params.units / 4u {
        exchange[(params.target_0 + group.y) * params.units / 4u + c] = vec4(EMPTY);
    }
}
