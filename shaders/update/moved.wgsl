// Weights moved along d.
fn moved(at: u32, s: Scalars, w: vec4<f32>, d: vec4<f32>) -> vec4<f32> {
    return w - s.decoupled * w - s.direct * d;
}
