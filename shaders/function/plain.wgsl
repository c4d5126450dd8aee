// The functions of a plain GRU whose step is in two kernels.
fn function_f(x: vec4<f32>) -> vec4<f32> {
    return sigmoid(x);
}

fn function_g(x: vec4<f32>) -> vec4<f32> {
    return hyperbolic_tangent(x);
}
