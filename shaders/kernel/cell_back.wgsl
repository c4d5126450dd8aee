// The way back through the cell of one timestep. See src/kernel/catalog/training.rs.
@compute @workgroup_size(WORKGROUP)
fn cell_back(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let u = unit_of(group, lane);
    if exists(u) {
        go_back(u, load_dh(u), has_step(u));
    }
}
