// GRU of any functions, reset after the product: r = f(x_r + r_r), z = f(x_z + r_z), n =
// g(x_n + r ∘ r_n); h' = (1 − z) ∘ n + z ∘ h. The inputs of the gates' functions are clipped.
const GATES: u32 = 3u;
const STATES: u32 = 1u;

const GATE_RESET: u32 = 0u;
const GATE_UPDATE: u32 = 1u;
const GATE_NEW: u32 = 2u;

fn cell_update(x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>, s: array<vec4<f32>, STATES>) -> array<vec4<f32>, STATES> {
    let reset = function_f(x[GATE_RESET] + r[GATE_RESET]);
    let z = function_f(x[GATE_UPDATE] + r[GATE_UPDATE]);
    let n = function_g(x[GATE_NEW] + reset * r[GATE_NEW]);
    return array<vec4<f32>, STATES>((1.0 - z) * n + z * s[0]);
}
