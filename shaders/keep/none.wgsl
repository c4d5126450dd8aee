// A step keeps nothing.
const KEEPS: bool = false;

fn keep(p: Place, time: u32, b: u32, x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>) {
}
