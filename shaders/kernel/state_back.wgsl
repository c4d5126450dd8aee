// The gradient of a projected state. See src/kernel/catalog/training.rs.
@group(0) @binding(5) var<storage, read_write> result: array<vec4<f32>>; // [D][C][B][units]

@compute @workgroup_size(WORKGROUP)
fn state_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let u = unit_of(group, lane);
    if exists(u) {
        let dh = load_dh(u);
        let lives = has_step(u);
        result[gates_at(u, 1u)] = in_step(u, lives, dh);
        store_direct(u, select(dh, vec4(0.0), lives));
    }
}
