// Simple (Elman) RNN: da = dh ∘ f'(a).
const KEPT: u32 = 1u;
const DELTAS: u32 = 1u;
const CARRIES: bool = false; // whether there is a cell state

struct Gradients {
    delta: array<vec4<f32>, DELTAS>,
    past: array<vec4<f32>, 2>, // of the hidden state, of the cell state
}

fn gradients_of(a: array<vec4<f32>, KEPT>, s: array<vec4<f32>, 2>, dh: vec4<f32>, carried: vec4<f32>) -> Gradients {
    return Gradients(array<vec4<f32>, DELTAS>(dh * curve_f(a[0]).slope), array<vec4<f32>, 2>(vec4(0.0), carried));
}
