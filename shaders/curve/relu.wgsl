// The function of an RNN of relu.
fn curve_f(x: vec4<f32>) -> Curve {
    return Curve(relu(x), keep_nan(x, select(vec4(0.0), vec4(1.0), x > vec4(0.0))));
}
