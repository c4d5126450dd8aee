//! The oracle's functions in f64, each as in its paper or specification.
//!
//! Forms that lose digits in f64 are rewritten, and a comment says so: for
//! example, a difference of two numbers near 1. Every function of NaN is NaN.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use ndarray::{Array, ArrayViewMut1, Axis, RemoveAxis};

use crate::cell::{Activation, Constant};

/// Returns `y = f(x)`. A softmax is over the features (the last axis).
pub(super) fn activate<D: RemoveAxis>(f: Activation, mut x: Array<f64, D>) -> Array<f64, D> {
    let features = Axis(x.ndim() - 1);
    match f {
        Activation::Softmax => x.lanes_mut(features).into_iter().for_each(|mut lane| {
            log_softmax(lane.view_mut());
            lane.mapv_inplace(f64::exp);
        }),
        Activation::LogSoftmax => x.lanes_mut(features).into_iter().for_each(log_softmax),
        _ => x.mapv_inplace(|x| elementwise(f, x)),
    }
    x
}

/// Returns `f(x)` of one number.
///
/// Sources: ONNX, operators RNN, LSTM and GRU, for `Affine` to `Softplus`. Keras, `keras.activations`, and
/// ONNX's operators of the same names, for the rest. torch.nn agrees with both if it has the function.
fn elementwise(f: Activation, x: f64) -> f64 {
    let c = |constant: Constant| f64::from(constant.get());
    match f {
        Activation::Linear => x,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => bounded(x, 0.0, f64::INFINITY),
        Activation::Affine { alpha, beta } => c(alpha) * x + c(beta),
        Activation::LeakyRelu { alpha } => above_zero(x, || c(alpha) * x),
        Activation::ThresholdedRelu { alpha } => kept(x, x <= c(alpha)),
        Activation::ScaledTanh { alpha, beta } => c(alpha) * (c(beta) * x).tanh(),
        Activation::HardSigmoid { alpha, beta } => bounded(c(alpha) * x + c(beta), 0.0, 1.0),
        Activation::Elu { alpha } => above_zero(x, || c(alpha) * x.exp_m1()),
        Activation::Selu { alpha, gamma } => c(gamma) * above_zero(x, || c(alpha) * x.exp_m1()),
        Activation::Celu { alpha } => above_zero(x, || c(alpha) * (x / c(alpha)).exp_m1()),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Softplus => softplus(x),
        Activation::Exponential => x.exp(),
        Activation::Clamp { alpha, beta } => bounded(x, c(alpha), c(beta)),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSilu { alpha, beta } => x * bounded(c(alpha) * x + c(beta), 0.0, 1.0),
        // Hendrycks and Gimpel, 2016. 1 + erf(z) = erfc(−z), which keeps its digits when erf(z) is near −1.
        Activation::Gelu => x / 2.0 * libm::erfc(-x * FRAC_1_SQRT_2),
        Activation::GeluTanh => x / 2.0 * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3))).tanh()),
        // Misra, 2019.
        Activation::Mish => x * softplus(x).tanh(),
        Activation::LogSigmoid => -softplus(-x),
        Activation::HardShrink { alpha } => kept(x, x.abs() <= c(alpha)),
        Activation::SoftShrink { alpha } => x - bounded(x, -c(alpha), c(alpha)),
        Activation::TanhShrink => x - x.tanh(),
        Activation::SparsePlus if x <= -1.0 => 0.0,
        Activation::SparsePlus if x >= 1.0 => x,
        Activation::SparsePlus => (x + 1.0).powi(2) / 4.0,
        // Barron, 2021.
        Activation::Squareplus { alpha } => (x + (x * x + c(alpha)).sqrt()) / 2.0,
        Activation::Sqrt => x.sqrt(),
        Activation::Softmax | Activation::LogSoftmax => unreachable!("a checked cell has functions of one number"),
    }
}

/// `1 / (1 + exp(−x))`.
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + exp(x))` without its overflow: `max(x, 0) + ln(1 + exp(−|x|))`.
pub(super) fn softplus(x: f64) -> f64 {
    bounded(x, 0.0, f64::INFINITY) + (-x.abs()).exp().ln_1p()
}

/// `min(max(x, least), greatest)`.
pub(super) fn bounded(x: f64, least: f64, greatest: f64) -> f64 {
    let x = if x < least { least } else { x };
    if x > greatest { greatest } else { x }
}

/// Returns `x` if positive, else `below`.
fn above_zero(x: f64, below: impl Fn() -> f64) -> f64 {
    if x > 0.0 { x } else { below() }
}

/// Returns `x`, or 0 if it is dropped.
fn kept(x: f64, dropped: bool) -> f64 {
    if dropped { 0.0 } else { x }
}

/// `y_i = x_i − max − ln Σ exp(x_j − max)`, which is `ln(exp(x_i) / Σ exp(x_j))` without its overflow.
fn log_softmax(mut x: ArrayViewMut1<'_, f64>) {
    let max = x.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let sum: f64 = x.iter().map(|&x| (x - max).exp()).sum();
    x.mapv_inplace(|x| x - max - sum.ln());
}
