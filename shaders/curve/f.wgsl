// The first function of a general cell, and its derivative.
fn curve_f(x: vec4<f32>) -> Curve {
    return Curve(function_f(x), unclipped(x, slope_by_code(F, F_ALPHA, F_BETA, bounded(x))));
}
