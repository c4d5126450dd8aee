// The hidden state, and the cell state beside it.
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>; // [R][B][D · H]
@group(0) @binding(5) var<storage, read_write> cell_state: array<vec4<f32>>; // [M][B][D · H], rows that alternate

fn load_states(hidden_at: u32, cell_at: u32) -> array<vec4<f32>, STATES> {
    return array<vec4<f32>, STATES>(hidden[hidden_at], cell_state[cell_at]);
}

fn store_states(s: array<vec4<f32>, STATES>, hidden_at: u32, cell_at: u32, before_projection_at: u32) {
    hidden[hidden_at] = s[0];
    cell_state[cell_at] = s[1];
}
