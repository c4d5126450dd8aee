// The hidden state before the step.
@group(0) @binding(5) var<storage, read> hidden: array<vec4<f32>>; // [R][B][D · H]

fn load_before(p: Place, b: u32) -> array<vec4<f32>, 2> {
    let row = of_direction(p.z, params.hidden_step_0, params.hidden_step_1);
    return array<vec4<f32>, 2>(hidden[state_at(p, row, b)], vec4(0.0));
}
