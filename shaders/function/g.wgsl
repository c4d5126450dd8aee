// The second function of a cell (Functions in src/cell.rs). G_BETA is the second constant, whatever its name.
override G: u32 = FUNCTION_LINEAR;
override G_ALPHA: f32 = 0.0;
override G_BETA: f32 = 0.0;

fn function_g(x: vec4<f32>) -> vec4<f32> {
    return function_by_code(G, G_ALPHA, G_BETA, bounded(x));
}
