// GRU, reset after the product: r = σ(x_r + r_r), z = σ(x_z + r_z), n = tanh(x_n + r ∘ r_n); h' = (1 − z) ∘ n + z ∘ h.
const GATES: u32 = 3u;
const STATES: u32 = 1u;

const GATE_RESET: u32 = 0u;
const GATE_UPDATE: u32 = 1u;
const GATE_NEW: u32 = 2u;

fn cell_update(x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>, s: array<vec4<f32>, STATES>) -> array<vec4<f32>, STATES> {
    let reset = sigmoid(x[GATE_RESET] + r[GATE_RESET]);
    let z = sigmoid(x[GATE_UPDATE] + r[GATE_UPDATE]);
    let n = hyperbolic_tangent(x[GATE_NEW] + reset * r[GATE_NEW]);
    return array<vec4<f32>, STATES>((1.0 - z) * n + z * s[0]);
}
