// Every elementwise function, by its code: its index in Activation::ALL, src/cell/activation.rs, which has the
// formulas. `code` is always an override constant, so that a driver keeps only one of the cases. Relative errors
// are a few 1e-7 on every driver, except where a difference cancels. Infinities give what the formula gives.

const FUNCTION_LINEAR: u32 = 0u;
const FUNCTION_SIGMOID: u32 = 1u;
const FUNCTION_TANH: u32 = 2u;
const FUNCTION_RELU: u32 = 3u;
const FUNCTION_AFFINE: u32 = 4u;
const FUNCTION_LEAKY_RELU: u32 = 5u;
const FUNCTION_THRESHOLDED_RELU: u32 = 6u;
const FUNCTION_SCALED_TANH: u32 = 7u;
const FUNCTION_HARD_SIGMOID: u32 = 8u;
const FUNCTION_ELU: u32 = 9u;
const FUNCTION_SELU: u32 = 10u;
const FUNCTION_CELU: u32 = 11u;
const FUNCTION_SOFTSIGN: u32 = 12u;
const FUNCTION_SOFTPLUS: u32 = 13u;
const FUNCTION_EXPONENTIAL: u32 = 14u;
const FUNCTION_CLAMP: u32 = 15u;
const FUNCTION_SILU: u32 = 16u;
const FUNCTION_HARD_SILU: u32 = 17u;
const FUNCTION_GELU: u32 = 18u;
const FUNCTION_GELU_TANH: u32 = 19u;
const FUNCTION_MISH: u32 = 20u;
const FUNCTION_LOG_SIGMOID: u32 = 21u;
const FUNCTION_HARD_SHRINK: u32 = 22u;
const FUNCTION_SOFT_SHRINK: u32 = 23u;
const FUNCTION_TANH_SHRINK: u32 = 24u;
const FUNCTION_SPARSE_PLUS: u32 = 25u;
const FUNCTION_SQUAREPLUS: u32 = 26u;
const FUNCTION_SQRT: u32 = 27u;

// exp(x) over all of f32: infinity above 88.7, 0 far below. There 2^n is out of range, but its two halves are not.
fn exponential(x: vec4<f32>) -> vec4<f32> {
    let clamped = clamp(x, vec4(-120.0), vec4(100.0));
    let n = round(clamped * 1.44269504);
    let r = (clamped - n * 0.693359375) + n * 2.12194440e-4;
    let half = vec4<i32>(n) >> vec4(1u);
    return keep_nan(x, exp_series(r) * power_of_two(half) * power_of_two(vec4<i32>(n) - half));
}

// exp(x) - 1. Near zero it uses a series, since the difference would cancel.
fn exponential_less_one(x: vec4<f32>) -> vec4<f32> {
    let near = x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666667 + x * (0.0083333333
        + x * (0.0013888889 + x * 1.984127e-4))))));
    return select(exponential(x) - 1.0, near, abs(x) < vec4(0.35));
}

fn elu(x: vec4<f32>, alpha: f32) -> vec4<f32> {
    return select(alpha * exponential_less_one(x), x, x > vec4(0.0));
}

fn celu(x: vec4<f32>, alpha: f32) -> vec4<f32> {
    return select(alpha * exponential_less_one(x / alpha), x, x > vec4(0.0));
}

fn hard_sigmoid(x: vec4<f32>, alpha: f32, beta: f32) -> vec4<f32> {
    return min(max(alpha * x + beta, vec4(0.0)), vec4(1.0));
}

// ln(1 + exp(-|x|)).
fn soft_corner(x: vec4<f32>) -> vec4<f32> {
    return log_one_plus(exponential(-abs(x)));
}

fn silu(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exponential(-x));
}

// x · Φ(x). With z = |x| / √2 and t = 2 / (2 + z), erfc(z) = t q(t) exp(-z²). q is a polynomial fitted to a relative
// error of 1.1e-8 over all z, so that the tail keeps its digits.
fn gelu(x: vec4<f32>) -> vec4<f32> {
    let z = abs(x) * 0.70710678;
    let t = 2.0 / (2.0 + z);
    let q = 0.282094795 + t * (0.282093853 + t * (0.246880586 + t * (0.175376835 + t * (0.0930005605
        + t * (-0.0572323885 + t * (0.127089243 + t * (-0.446977111 + t * (0.486178551 + t * (-0.230857493
        + t * 0.0423525601)))))))));
    let tail = 0.5 * t * q * exponential(-z * z);
    return x * select(tail, 1.0 - tail, x > vec4(0.0));
}

// x / 2 · (1 + tanh(u)) = x · sigmoid(2u).
fn gelu_tanh(x: vec4<f32>) -> vec4<f32> {
    return x / (1.0 + exponential(-1.5957691 * (x * (1.0 + 0.044715 * x * x))));
}

// tanh(ln(1 + e)) = e (e + 2) / (e (e + 2) + 2); from 20 on it is 1.
fn mish(x: vec4<f32>) -> vec4<f32> {
    let e = exponential(min(x, vec4(20.0)));
    let n = e * (e + 2.0);
    return x * (n / (n + 2.0));
}

fn soft_shrink(x: vec4<f32>, alpha: f32) -> vec4<f32> {
    return select(select(vec4(0.0), x + alpha, x < vec4(-alpha)), x - alpha, x > vec4(alpha));
}

// Near zero, the difference of x and Lambert's fraction in closed form.
fn tanh_shrink(x: vec4<f32>) -> vec4<f32> {
    let s = x * x;
    let near = x * s * (315.0 + s * 14.0) / (945.0 + s * (420.0 + s * 15.0));
    return select(x - hyperbolic_tangent(x), near, abs(x) < vec4(0.625));
}

fn sparse_plus(x: vec4<f32>) -> vec4<f32> {
    return select(select(0.25 * (x + 1.0) * (x + 1.0), vec4(0.0), x <= vec4(-1.0)), x, x >= vec4(1.0));
}

// The square of a number past 1e18 would overflow, so the root is |x| there.
// Below zero the sum would cancel, so it is alpha divided by the difference.
fn squareplus(x: vec4<f32>, alpha: f32) -> vec4<f32> {
    let far = abs(x) > vec4(1e18);
    let root = select(sqrt(x * x + alpha), abs(x), far);
    let sum = select(0.5 * (x + root), 0.5 * alpha / (root - x), (x < vec4(0.0)) & !far);
    return select(sum, x, far & (x > vec4(0.0)));
}

fn function_by_code(code: u32, alpha: f32, beta: f32, x: vec4<f32>) -> vec4<f32> {
    var y = x;
    switch code {
        case FUNCTION_SIGMOID: { y = sigmoid(x); }
        case FUNCTION_TANH: { y = hyperbolic_tangent(x); }
        case FUNCTION_RELU: { y = relu(x); }
        case FUNCTION_AFFINE: { y = alpha * x + beta; }
        case FUNCTION_LEAKY_RELU: { y = select(alpha * x, x, x > vec4(0.0)); }
        case FUNCTION_THRESHOLDED_RELU: { y = select(vec4(0.0), x, x > vec4(alpha)); }
        case FUNCTION_SCALED_TANH: { y = alpha * hyperbolic_tangent(beta * x); }
        case FUNCTION_HARD_SIGMOID: { y = hard_sigmoid(x, alpha, beta); }
        case FUNCTION_ELU: { y = elu(x, alpha); }
        case FUNCTION_SELU: { y = beta * elu(x, alpha); }
        case FUNCTION_CELU: { y = celu(x, alpha); }
        case FUNCTION_SOFTSIGN: { y = x / (1.0 + abs(x)); }
        case FUNCTION_SOFTPLUS: { y = max(x, vec4(0.0)) + soft_corner(x); }
        case FUNCTION_EXPONENTIAL: { y = exponential(x); }
        case FUNCTION_CLAMP: { y = min(max(x, vec4(alpha)), vec4(beta)); }
        case FUNCTION_SILU: { y = silu(x); }
        case FUNCTION_HARD_SILU: { y = x * hard_sigmoid(x, alpha, beta); }
        case FUNCTION_GELU: { y = gelu(x); }
        case FUNCTION_GELU_TANH: { y = gelu_tanh(x); }
        case FUNCTION_MISH: { y = mish(x); }
        case FUNCTION_LOG_SIGMOID: { y = min(x, vec4(0.0)) - soft_corner(x); }
        case FUNCTION_HARD_SHRINK: { y = select(vec4(0.0), x, abs(x) > vec4(alpha)); }
        case FUNCTION_SOFT_SHRINK: { y = soft_shrink(x, alpha); }
        case FUNCTION_TANH_SHRINK: { y = tanh_shrink(x); }
        case FUNCTION_SPARSE_PLUS: { y = sparse_plus(x); }
        case FUNCTION_SQUAREPLUS: { y = squareplus(x, alpha); }
        case FUNCTION_SQRT: { y = sqrt(x); }
        default: { }
    }
    return keep_nan(x, y);
}
