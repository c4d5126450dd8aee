// Empties a mailbox. See src/kernel/catalog.rs.
const WORKGROUP: u32 = 64u;
const EMPTY: u32 = 0xffffffffu;

@group(0) @binding(1) var<storage, read_write> mailbox: array<vec4<u32>>; // [..][units]

@compute @workgroup_size(WORKGROUP)
fn reset_mailbox(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let c = group.x * WORKGROUP + lane;
    if c < params.units / 4u {
        mailbox[(params.target_0 + group.y) * params.units / 4u + c] = vec4(EMPTY);
    }
}
