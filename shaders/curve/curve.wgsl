// The value of a function at x, and its derivative there.
struct Curve {
    value: vec4<f32>,
    slope: vec4<f32>,
}

fn sigmoid_curve(x: vec4<f32>) -> Curve {
    let y = sigmoid(x);
    return Curve(y, y * (1.0 - y));
}

fn tangent_curve(x: vec4<f32>) -> Curve {
    let y = hyperbolic_tangent(x);
    return Curve(y, 1.0 - y * y);
}
