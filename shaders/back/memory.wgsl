// The cell state before the step and after it.
@group(0) @binding(5) var<storage, read> memory: array<vec4<f32>>; // [M][B][D · H]

fn load_before(p: Place, t: Timestep, b: u32) -> array<vec4<f32>, 2> {
    return array<vec4<f32>, 2>(memory[state_at(p, t.memory_in, b)], memory[state_at(p, t.memory_out, b)]);
}
