// Simple (Elman) RNN of any function: h' = f(x + r). The input of f is clipped.
const GATES: u32 = 1u;
const STATES: u32 = 1u;

fn cell_update(x: array<vec4<f32>, GATES>, r: array<vec4<f32>, GATES>, s: array<vec4<f32>, STATES>) -> array<vec4<f32>, STATES> {
    return array<vec4<f32>, STATES>(function_f(x[0] + r[0]));
}
