// The hidden state is the only state.
@group(0) @binding(4) var<storage, read_write> hidden: array<vec4<f32>>; // [R][B][D · H]

fn load_states(hidden_at: u32, cell_at: u32) -> array<vec4<f32>, STATES> {
    return array<vec4<f32>, STATES>(hidden[hidden_at]);
}

fn store_states(s: array<vec4<f32>, STATES>, hidden_at: u32, cell_at: u32, before_projection_at: u32) {
    hidden[hidden_at] = s[0];
}
