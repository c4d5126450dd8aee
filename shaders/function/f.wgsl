// The first function of a cell (Functions in src/cell.rs). F_BETA is the second constant, whatever its name.
override F: u32 = FUNCTION_LINEAR;
override F_ALPHA: f32 = 0.0;
override F_BETA: f32 = 0.0;

fn function_f(x: vec4<f32>) -> vec4<f32> {
    return function_by_code(F, F_ALPHA, F_BETA, bounded(x));
}
