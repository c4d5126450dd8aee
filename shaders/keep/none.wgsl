// A step keeps nothing.
fn keep(p: Place, b: u32, x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>) {
}
