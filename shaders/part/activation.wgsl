// The base of every cell and function, four units at a time. Its error bounds do not depend on the driver's exp and
// tanh. Metal's tanh gave 0 and NaN for large arguments, and a fast exp made LSTM units collapse.

// Returns NaN where x is NaN, else y: min, max and clamp may drop a NaN, and a wrong weight must show.
fn keep_nan(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> {
    return select(y, x, (bitcast<vec4<u32>>(x) & vec4(0x7fffffffu)) > vec4(0x7f800000u));
}

// e^r for |r| <= 0.35 by its series to r^7 (relative error 2e-7).
fn exp_series(r: vec4<f32>) -> vec4<f32> {
    return 1.0 + r * (1.0 + r * (0.5 + r * (0.16666667 + r * (0.041666667 + r * (0.0083333333
        + r * (0.0013888889 + r * 1.984127e-4))))));
}

// 2^n for n in -126 ..= 127.
fn power_of_two(n: vec4<i32>) -> vec4<f32> {
    return bitcast<vec4<f32>>((n + 127) << vec4(23u));
}

// exp(x), x clamped to [-87, 88]: x = n ln 2 + r with |r| <= 0.35.
fn exp_bounded(x: vec4<f32>) -> vec4<f32> {
    let clamped = clamp(x, vec4(-87.0), vec4(88.0));
    let n = round(clamped * 1.44269504);
    let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;
    return keep_nan(x, exp_series(r) * power_of_two(vec4<i32>(n)));
}

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp_bounded(-x));
}

// Near zero, Lambert's continued fraction (relative error below 1e-7 for |x| < 0.625), elsewhere exp.
fn hyperbolic_tangent(x: vec4<f32>) -> vec4<f32> {
    let s = x * x;
    let near = x * (945.0 + s * (105.0 + s)) / (945.0 + s * (420.0 + s * 15.0));
    let far = sign(x) * (1.0 - 2.0 / (exp_bounded(2.0 * abs(x)) + 1.0));
    return select(far, near, abs(x) < vec4(0.625));
}

fn relu(x: vec4<f32>) -> vec4<f32> {
    return keep_nan(x, max(x, vec4(0.0)));
}
