// Many timesteps of one layer, in each direction of the dispatch. A workgroup has all units
// of a tile of rows, and keeps their states from step to step. See src/kernel/catalog.rs.

// The hidden state that the step reads. A row has PANELS panels.
var<workgroup> current: array<vec4<f32>, ROWS * 4u * PANELS>; // [row][H]

@compute @workgroup_size(4u * PANELS * SLICES)
fn scan(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let p = place(group, lane);
    begin_walk(p);
    if p.slice == 0u {
        for (var i = 0u; i < ROWS; i++) {
            current[row_source(p, i) + unit_at(p)] = states[i][0];
        }
    }
    take_steps(p, lane);
    end_walk(p);
}
