// LSTM: i = σ(x_i + r_i), f = σ(x_f + r_f), g = tanh(x_g + r_g), o = σ(x_o + r_o);
// c' = f ∘ c + i ∘ g, h' = o ∘ tanh(c').
const GATES: u32 = 4u;
const STATES: u32 = 2u;

const GATE_INPUT: u32 = 0u;
const GATE_FORGET: u32 = 1u;
const GATE_CELL: u32 = 2u;
const GATE_OUTPUT: u32 = 3u;

fn cell_update(x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>, s: array<vec4<f32>, STATES>) -> array<vec4<f32>, STATES> {
    let i = sigmoid(x[GATE_INPUT] + r[GATE_INPUT]);
    let f = sigmoid(x[GATE_FORGET] + r[GATE_FORGET]);
    let g = hyperbolic_tangent(x[GATE_CELL] + r[GATE_CELL]);
    let o = sigmoid(x[GATE_OUTPUT] + r[GATE_OUTPUT]);
    let c = f * s[1] + i * g;
    return array<vec4<f32>, STATES>(o * hyperbolic_tangent(c), c);
}
