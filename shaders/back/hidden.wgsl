// The hidden state before the step.
@group(0) @binding(5) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]

fn load_before(p: Place, t: Timestep, b: u32) -> array<vec4<f32>, 2> {
    return array<vec4<f32>, 2>(hidden[state_at(p, t.hidden, b)], vec4(0.0));
}
