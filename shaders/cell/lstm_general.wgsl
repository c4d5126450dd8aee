// LSTM of any functions, with peepholes p (zero if there are none): i = f(x_i + r_i + p_i ∘ c), f = f(x_f + r_f
// + p_f ∘ c) or, coupled, 1 − i, g = g(x_g + r_g), c' = f ∘ c + i ∘ g, o = f(x_o + r_o + p_o ∘ c'), h' = o ∘
// h(c'). The inputs of the gates' functions are clipped. The cell state is not, and neither is the input of h.
const GATES: u32 = 4u;
const STATES: u32 = 2u;

const GATE_INPUT: u32 = 0u;
const GATE_FORGET: u32 = 1u;
const GATE_CELL: u32 = 2u;
const GATE_OUTPUT: u32 = 3u;

// Whether the forget gate is 1 minus the input gate, without weights of its own.
override COUPLED: bool = false;

fn cell_update(x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>, s: array<vec4<f32>, STATES>) -> array<vec4<f32>, STATES> {
    let i = function_f(add_peephole(x[GATE_INPUT] + r[GATE_INPUT], GATE_INPUT, s[1]));
    var f = 1.0 - i;
    if !COUPLED {
        f = function_f(add_peephole(x[GATE_FORGET] + r[GATE_FORGET], GATE_FORGET, s[1]));
    }
    let g = function_g(x[GATE_CELL] + r[GATE_CELL]);
    let c = f * s[1] + i * g;
    let o = function_f(add_peephole(x[GATE_OUTPUT] + r[GATE_OUTPUT], GATE_OUTPUT, c));
    return array<vec4<f32>, STATES>(o * function_h(c), c);
}
