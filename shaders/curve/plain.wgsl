// The functions of a plain LSTM or GRU.
fn curve_f(x: vec4<f32>) -> Curve {
    return sigmoid_curve(x);
}

fn curve_g(x: vec4<f32>) -> Curve {
    return tangent_curve(x);
}

fn curve_h(x: vec4<f32>) -> Curve {
    return tangent_curve(x);
}
