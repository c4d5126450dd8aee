// The second function of a general cell, and its derivative.
fn curve_g(x: vec4<f32>) -> Curve {
    return Curve(function_g(x), unclipped(x, slope_by_code(G, G_ALPHA, G_BETA, bounded(x))));
}
