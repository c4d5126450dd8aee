// The derivative of every elementwise function at x, by its code: see function/all.wgsl and src/cpu/math/derivative.rs.
// At a corner it is what PyTorch's function of the same name passes back.

// 1 / (1 + exp(-x)), with a tail that reaches the least numbers.
fn logistic(x: vec4<f32>) -> vec4<f32> {
    let e = exponential(-abs(x));
    return select(vec4(1.0), e, x < vec4(0.0)) / (1.0 + e);
}

// Its derivative.
fn logistic_slope(x: vec4<f32>) -> vec4<f32> {
    let e = exponential(-abs(x));
    let below = 1.0 + e;
    return e / (below * below);
}

// The derivative of the hyperbolic tangent.
fn tangent_slope(x: vec4<f32>) -> vec4<f32> {
    return 4.0 * logistic_slope(2.0 * x);
}

// Returns `inside` between the two bounds, `above` from the upper bound on, and 0 up to the lower bound.
fn between(x: vec4<f32>, low: f32, high: f32, inside: vec4<f32>, above: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), select(above, inside, x < vec4(high)), x > vec4(low));
}

// 1 where x is positive, else `below`.
fn one_or(x: vec4<f32>, below: vec4<f32>) -> vec4<f32> {
    return select(below, vec4(1.0), x > vec4(0.0));
}

// (x σ(u))' = σ(u) (1 + x σ(-u) u') where nothing is infinite.
fn gated_slope(x: vec4<f32>, u: vec4<f32>, rise: vec4<f32>) -> vec4<f32> {
    return logistic(u) * (1.0 + x * logistic(-u) * rise);
}

fn silu_slope(x: vec4<f32>) -> vec4<f32> {
    let cut = clamp(x, vec4(-110.0), vec4(110.0));
    return gated_slope(cut, cut, vec4(1.0));
}

fn hard_silu_slope(x: vec4<f32>, alpha: f32, beta: f32) -> vec4<f32> {
    let line = alpha * x + beta;
    return between(line, 0.0, 1.0, alpha * x + line, vec4(1.0));
}

// Φ(x) + x φ(x), from the tail in function/all.wgsl and the bell that it contains.
fn gelu_slope(x: vec4<f32>) -> vec4<f32> {
    let cut = clamp(x, vec4(-15.0), vec4(15.0));
    let z = abs(cut) * 0.70710678;
    let t = 2.0 / (2.0 + z);
    let q = 0.282094795 + t * (0.282093853 + t * (0.246880586 + t * (0.175376835 + t * (0.0930005605
        + t * (-0.0572323885 + t * (0.127089243 + t * (-0.446977111 + t * (0.486178551 + t * (-0.230857493
        + t * 0.0423525601)))))))));
    let bell = exponential(-z * z);
    let tail = 0.5 * t * q * bell;
    return select(tail, 1.0 - tail, x > vec4(0.0)) + 0.39894228 * cut * bell;
}

// Beyond 12, the gate is 0 or 1.
fn gelu_tanh_slope(x: vec4<f32>) -> vec4<f32> {
    let cut = clamp(x, vec4(-12.0), vec4(12.0));
    let square = cut * cut;
    let rise = 1.5957691 * (1.0 + 0.134145 * square);
    return gated_slope(cut, 1.5957691 * cut * (1.0 + 0.044715 * square), rise);
}

// With n = e (e + 2): n / (n + 2) + 4 x e (1 + e) / (n + 2)^2.
fn mish_slope(x: vec4<f32>) -> vec4<f32> {
    let cut = clamp(x, vec4(-110.0), vec4(20.0));
    let e = exponential(cut);
    let n = e * (e + 2.0);
    let below = n + 2.0;
    return n / below + (4.0 * cut / below) * (e * (1.0 + e) / below);
}

fn tanh_shrink_slope(x: vec4<f32>) -> vec4<f32> {
    let y = hyperbolic_tangent(x);
    return y * y;
}

// Below zero the sum would cancel. So it is alpha / 2, divided by the root and by its sum with |x|.
fn squareplus_slope(x: vec4<f32>, alpha: f32) -> vec4<f32> {
    let size = abs(x);
    let root = select(sqrt(x * x + alpha), size, size > vec4(1e18));
    let below = 0.5 * alpha / (root + size) / root;
    let slope = select(1.0 - below, below, x < vec4(0.0));
    return select(slope, vec4(0.5), root == vec4(0.0));
}

fn softsign_slope(x: vec4<f32>) -> vec4<f32> {
    let root = 1.0 / (1.0 + abs(x));
    return root * root;
}

fn slope_by_code(code: u32, alpha: f32, beta: f32, x: vec4<f32>) -> vec4<f32> {
    var y = vec4(1.0);
    switch code {
        case FUNCTION_SIGMOID: { y = logistic_slope(x); }
        case FUNCTION_TANH: { y = tangent_slope(x); }
        case FUNCTION_RELU: { y = one_or(x, vec4(0.0)); }
        case FUNCTION_AFFINE: { y = vec4(alpha); }
        case FUNCTION_LEAKY_RELU: { y = one_or(x, vec4(alpha)); }
        case FUNCTION_THRESHOLDED_RELU: { y = select(vec4(0.0), vec4(1.0), x > vec4(alpha)); }
        case FUNCTION_SCALED_TANH: { y = alpha * beta * tangent_slope(beta * x); }
        case FUNCTION_HARD_SIGMOID: { y = between(alpha * x + beta, 0.0, 1.0, vec4(alpha), vec4(0.0)); }
        case FUNCTION_ELU: { y = one_or(x, alpha * exponential(min(x, vec4(0.0)))); }
        case FUNCTION_SELU: { y = beta * one_or(x, alpha * exponential(min(x, vec4(0.0)))); }
        case FUNCTION_CELU: { y = one_or(x, exponential(x / alpha)); }
        case FUNCTION_SOFTSIGN: { y = softsign_slope(x); }
        case FUNCTION_SOFTPLUS: { y = logistic(x); }
        case FUNCTION_EXPONENTIAL: { y = exponential(x); }
        case FUNCTION_CLAMP: { y = between(x, alpha, beta, vec4(1.0), vec4(0.0)); }
        case FUNCTION_SILU: { y = silu_slope(x); }
        case FUNCTION_HARD_SILU: { y = hard_silu_slope(x, alpha, beta); }
        case FUNCTION_GELU: { y = gelu_slope(x); }
        case FUNCTION_GELU_TANH: { y = gelu_tanh_slope(x); }
        case FUNCTION_MISH: { y = mish_slope(x); }
        case FUNCTION_LOG_SIGMOID: { y = logistic(-x); }
        case FUNCTION_HARD_SHRINK: { y = select(vec4(0.0), vec4(1.0), abs(x) > vec4(alpha)); }
        case FUNCTION_SOFT_SHRINK: { y = select(vec4(0.0), vec4(1.0), abs(x) > vec4(alpha)); }
        case FUNCTION_TANH_SHRINK: { y = tanh_shrink_slope(x); }
        case FUNCTION_SPARSE_PLUS: { y = between(x, -1.0, 1.0, 0.5 * (x + 1.0), vec4(1.0)); }
        case FUNCTION_SQUAREPLUS: { y = squareplus_slope(x, alpha); }
        case FUNCTION_SQRT: { y = 0.5 / sqrt(x); }
        default: { }
    }
    return keep_nan(x, y);
}
