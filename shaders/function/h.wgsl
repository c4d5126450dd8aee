// The third function of a cell (Functions in src/cell.rs), whose input is the
// unclipped cell state. H_BETA is the second constant, whatever its name.
override H: u32 = FUNCTION_LINEAR;
override H_ALPHA: f32 = 0.0;
override H_BETA: f32 = 0.0;

fn function_h(x: vec4<f32>) -> vec4<f32> {
    return function_by_code(H, H_ALPHA, H_BETA, x);
}
