// The third function of a general cell, and its derivative.
fn curve_h(x: vec4<f32>) -> Curve {
    return Curve(function_h(x), slope_by_code(H, H_ALPHA, H_BETA, x));
}
