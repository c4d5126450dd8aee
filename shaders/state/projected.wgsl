// The cell state. The hidden state waits in `cell_state` for step_project, so its old value is never needed here.
@group(0) @binding(5) var<storage, read_write> cell_state: array<vec4<f32>>; // [M][B][D · H], row 2 unprojected

fn load_states(hidden_at: u32, cell_at: u32) -> array<vec4<f32>, STATES> {
    return array<vec4<f32>, STATES>(vec4(0.0), cell_state[cell_at]);
}

fn store_states(s: array<vec4<f32>, STATES>, hidden_at: u32, cell_at: u32, before_projection_at: u32) {
    cell_state[before_projection_at] = s[0];
    cell_state[cell_at] = s[1];
}
