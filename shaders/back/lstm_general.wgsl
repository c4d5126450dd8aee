// LSTM of any functions: as in back/lstm.wgsl, but gates see the cell state by peepholes p (zero if there are none). do
// ∘ p_o is added to dc, and di ∘ p_i + df ∘ p_f to what is carried on. If coupled, di = dc ∘ (g − c₋) ∘ f' and df = 0.
const KEPT: u32 = 4u;
const DELTAS: u32 = 4u;
const CARRIES: bool = true; // whether there is a cell state

const GATE_INPUT: u32 = 0u;
const GATE_FORGET: u32 = 1u;
const GATE_CELL: u32 = 2u;
const GATE_OUTPUT: u32 = 3u;

// Whether the forget gate is 1 minus the input gate, without weights of its own.
override COUPLED: bool = false;

struct Gradients {
    delta: array<vec4<f32>, DELTAS>,
    past: array<vec4<f32>, 2>, // of the hidden state, of the cell state
    shown: vec4<f32>,          // the hidden state
}

fn gradients_of(a: array<vec4<f32>, KEPT>, s: array<vec4<f32>, 2>, dh: vec4<f32>, carried: vec4<f32>) -> Gradients {
    let p_input = peephole(GATE_INPUT);
    let p_forget = peephole(GATE_FORGET);
    let p_output = peephole(GATE_OUTPUT);
    let shown = curve_h(s[1]);
    let i = curve_f(a[GATE_INPUT] + p_input * s[0]);
    let g = curve_g(a[GATE_CELL]);
    let o = curve_f(a[GATE_OUTPUT] + p_output * s[1]);

    let d_output = dh * shown.value * o.slope;
    let dc = carried + dh * o.value * shown.slope + d_output * p_output;
    var d_input = dc * (g.value - s[0]) * i.slope;
    var d_forget = vec4(0.0);
    var forget = 1.0 - i.value;
    if !COUPLED {
        let f = curve_f(a[GATE_FORGET] + p_forget * s[0]);
        d_input = dc * g.value * i.slope;
        d_forget = dc * s[0] * f.slope;
        forget = f.value;
    }
    let carried_on = dc * forget + d_input * p_input + d_forget * p_forget;
    return Gradients(
        array<vec4<f32>, DELTAS>(d_input, d_forget, dc * i.value * g.slope, d_output),
        array<vec4<f32>, 2>(vec4(0.0), carried_on),
        o.value * shown.value,
    );
}
