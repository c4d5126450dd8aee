// LSTM: do = dh ∘ tanh(c) ∘ f', dc = carried + dh ∘ o ∘ tanh'(c), di = dc
// ∘ g ∘ f', df = dc ∘ c₋ ∘ f', dg = dc ∘ i ∘ g'. dc ∘ f is carried on.
const KEPT: u32 = 4u;
const DELTAS: u32 = 4u;
const CARRIES: bool = true; // whether there is a cell state

struct Gradients {
    delta: array<vec4<f32>, DELTAS>,
    past: array<vec4<f32>, 2>, // of the hidden state, of the cell state
    shown: vec4<f32>,          // the hidden state
}

fn gradients_of(a: array<vec4<f32>, KEPT>, s: array<vec4<f32>, 2>, dh: vec4<f32>, carried: vec4<f32>) -> Gradients {
    let shown = curve_h(s[1]);
    let i = curve_f(a[0]);
    let f = curve_f(a[1]);
    let g = curve_g(a[2]);
    let o = curve_f(a[3]);
    let dc = carried + dh * o.value * shown.slope;
    return Gradients(
        array<vec4<f32>, DELTAS>(
            dc * g.value * i.slope,
            dc * s[0] * f.slope,
            dc * i.value * g.slope,
            dh * shown.value * o.slope,
        ),
        array<vec4<f32>, 2>(vec4(0.0), dc * f.value),
        o.value * shown.value,
    );
}
