// The cell state before the step and after it.
@group(0) @binding(5) var<storage, read> cell_state: array<vec4<f32>>; // [M][B][D · H]

fn load_before(p: Place, t: Timestep, b: u32) -> array<vec4<f32>, 2> {
    return array<vec4<f32>, 2>(cell_state[state_at(p, t.cell_in, b)], cell_state[state_at(p, t.cell_out, b)]);
}
