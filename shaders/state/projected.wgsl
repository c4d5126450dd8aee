// The cell state; the hidden state waits in `memory` for step_project, so its old value is never needed here.
@group(0) @binding(5) var<storage, read_write> memory: array<vec4<f32>>; // [M][B][D · H], row 2 before the projection

fn load_states(hidden_at: u32, memory_at: u32) -> array<vec4<f32>, STATES> {
    return array<vec4<f32>, STATES>(vec4(0.0), memory[memory_at]);
}

fn store_states(s: array<vec4<f32>, STATES>, hidden_at: u32, memory_at: u32, before_projection_at: u32) {
    memory[before_projection_at] = s[0];
    memory[memory_at] = s[1];
}
