// Weights go along their gradient.
fn direction(at: u32, s: Scalars, g: vec4<f32>) -> vec4<f32> {
    return g;
}
