// GRU, reset after the product. The step kept the sums of reset and update, and x and q of the new gate.
// With r = f(a_r), z = f(a_z), n = g(x_n + r ∘ q_n): dn = dh ∘ (1 − z) ∘ g', dz = dh ∘ (h − n) ∘ f', dr
// = dn ∘ q_n ∘ f'. The gradient of the product's new gate is dn ∘ r, and z ∘ dh bypasses the product.
const KEPT: u32 = 4u;
const DELTAS: u32 = 3u;
const CARRIES: bool = false; // whether there is a cell state

struct Gradients {
    delta: array<vec4<f32>, DELTAS>,
    past: array<vec4<f32>, 2>, // of the hidden state, of the cell state
    recurrent: vec4<f32>,      // of the product's new gate
}

fn gradients_of(a: array<vec4<f32>, KEPT>, s: array<vec4<f32>, 2>, dh: vec4<f32>, carried: vec4<f32>) -> Gradients {
    let r = curve_f(a[0]);
    let z = curve_f(a[1]);
    let n = curve_g(a[2] + r.value * a[3]);
    let d_new = dh * (1.0 - z.value) * n.slope;
    let d_update = dh * (s[0] - n.value) * z.slope;
    let d_reset = d_new * a[3] * r.slope;
    return Gradients(
        array<vec4<f32>, DELTAS>(d_reset, d_update, d_new),
        array<vec4<f32>, 2>(z.value * dh, carried),
        d_new * r.value,
    );
}
