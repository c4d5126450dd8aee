// Logarithms without the driver's log: SwiftShader's turns a NaN into a number, and WGSL bounds its error loosely.

// ln((1 + s) / (1 - s)) for |s| <= 1/3 by its series to s^13 (relative error 2e-8 of the series, 2e-7 in all).
fn log_ratio(s: vec4<f32>) -> vec4<f32> {
    let q = s * s;
    return 2.0 * s * (1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285714 + q * (0.11111111 + q * (0.090909091
        + q * 0.076923077))))));
}

// ln(1 + u) for u in 0 ..= 1.
fn log_one_plus(u: vec4<f32>) -> vec4<f32> {
    return log_ratio(u / (2.0 + u));
}

// ln(x) for positive, normal x: x = 2^n m with m between 0.7071 and 1.4142.
fn logarithm(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<i32>>(x);
    let exponent = (bits - 0x3f3504f3) >> vec4(23u);
    let m = bitcast<vec4<f32>>(bits - (exponent << vec4(23u)));
    let n = vec4<f32>(exponent);
    return keep_nan(x, n * 0.693359375 + (log_ratio((m - 1.0) / (m + 1.0)) - n * 2.12194440e-4));
}
