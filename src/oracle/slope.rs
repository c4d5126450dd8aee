//! The derivatives of the oracle's functions in f64, each with its formula.
//!
//! At a corner or a jump of a function, the derivative is PyTorch's. It is 0 at the corner of relu and
//! at both bounds of a clamp (`torch.nn.ReLU`, `ReLU6`, `Hardtanh`). At the corner of a leaky relu and
//! an elu it is that of the lower side. At the edges of the interval that a shrink zeroes it is 0.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

use ndarray::{Array, Axis, RemoveAxis, Zip};

use super::activation::{activate, sigmoid, softplus};
use crate::cell::{Activation, Constant};

/// Returns `δx` of `y = f(x)` from `δy`: `δy ∘ f'(x)`. For a softmax over
/// the features (the last axis) it is the product with its Jacobian.
pub(super) fn activate_back<D: RemoveAxis>(f: Activation, x: &Array<f64, D>, d_y: &Array<f64, D>) -> Array<f64, D> {
    let features = Axis(x.ndim() - 1);
    match f {
        // δx_i = y_i (δy_i − Σ_j y_j δy_j)
        Activation::Softmax => {
            let mut d_x = activate(f, x.clone());
            for (mut y, d_y) in d_x.lanes_mut(features).into_iter().zip(d_y.lanes(features)) {
                let mean = y.dot(&d_y);
                y.zip_mut_with(&d_y, |y, d_y| *y *= d_y - mean);
            }
            d_x
        }
        // δx_i = δy_i − softmax(x)_i Σ_j δy_j
        Activation::LogSoftmax => {
            let mut d_x = activate(Activation::Softmax, x.clone());
            for (mut p, d_y) in d_x.lanes_mut(features).into_iter().zip(d_y.lanes(features)) {
                let sum = d_y.sum();
                p.zip_mut_with(&d_y, |p, d_y| *p = d_y - *p * sum);
            }
            d_x
        }
        _ => Zip::from(x).and(d_y).map_collect(|&x, &d_y| d_y * slope(f, x)),
    }
}

/// Returns `f'(x)` of one number.
fn slope(f: Activation, x: f64) -> f64 {
    let c = |constant: Constant| f64::from(constant.get());
    match f {
        Activation::Linear => 1.0,
        Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
        Activation::Tanh => tanh_slope(x),
        Activation::Relu => where_true(x > 0.0),
        Activation::Affine { alpha, .. } => c(alpha),
        Activation::LeakyRelu { alpha } if x <= 0.0 => c(alpha),
        Activation::LeakyRelu { .. } => 1.0,
        Activation::ThresholdedRelu { alpha } => where_true(x > c(alpha)),
        Activation::ScaledTanh { alpha, beta } => c(alpha) * c(beta) * tanh_slope(c(beta) * x),
        Activation::HardSigmoid { alpha, beta } => c(alpha) * inside(c(alpha) * x + c(beta), 0.0, 1.0),
        Activation::Elu { alpha } if x <= 0.0 => c(alpha) * x.exp(),
        Activation::Elu { .. } => 1.0,
        Activation::Selu { alpha, gamma } if x <= 0.0 => c(gamma) * c(alpha) * x.exp(),
        Activation::Selu { gamma, .. } => c(gamma),
        Activation::Celu { alpha } if x <= 0.0 => (x / c(alpha)).exp(),
        Activation::Celu { .. } => 1.0,
        Activation::Softsign => (1.0 + x.abs()).powi(2).recip(),
        Activation::Softplus => sigmoid(x),
        Activation::Exponential => x.exp(),
        Activation::Clamp { alpha, beta } => inside(x, c(alpha), c(beta)),
        Activation::Silu => sigmoid(x) + x * sigmoid(x) * sigmoid(-x),
        Activation::HardSilu { alpha, beta } => {
            let gate = c(alpha) * x + c(beta);
            gate.clamp(0.0, 1.0) + x * c(alpha) * inside(gate, 0.0, 1.0)
        }
        // Φ(x) + x φ(x), where φ is the density of Φ.
        Activation::Gelu => libm::erfc(-x * FRAC_1_SQRT_2) / 2.0 + x * (-x * x / 2.0).exp() / (2.0 * PI).sqrt(),
        Activation::GeluTanh => {
            let u = FRAC_2_PI.sqrt() * (x + 0.044715 * x.powi(3));
            let du = FRAC_2_PI.sqrt() * (1.0 + 3.0 * 0.044715 * x * x);
            (1.0 + u.tanh()) / 2.0 + x / 2.0 * tanh_slope(u) * du
        }
        Activation::Mish => softplus(x).tanh() + x * tanh_slope(softplus(x)) * sigmoid(x),
        Activation::LogSigmoid => sigmoid(-x),
        Activation::HardShrink { alpha } | Activation::SoftShrink { alpha } => where_true(x.abs() > c(alpha)),
        Activation::TanhShrink => x.tanh().powi(2),
        Activation::SparsePlus => ((x + 1.0) / 2.0).clamp(0.0, 1.0),
        Activation::Squareplus { alpha } => (1.0 + x / (x * x + c(alpha)).sqrt()) / 2.0,
        Activation::Sqrt => 0.5 / x.sqrt(),
        Activation::Softmax | Activation::LogSoftmax => unreachable!("a checked cell has functions of one number"),
    }
}

/// Returns `tanh'(x) = 1 − tanh²(x) = 1 / cosh²(x)`. The last form keeps its digits when tanh is near 1.
fn tanh_slope(x: f64) -> f64 {
    x.cosh().powi(2).recip()
}

/// Returns the derivative of a bounded x: 1 between the bounds, else 0.
fn inside(x: f64, least: f64, greatest: f64) -> f64 {
    where_true(least < x && x < greatest)
}

fn where_true(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, array};

    use super::*;

    /// Returns every function with unusual constants.
    fn functions() -> Vec<Activation> {
        let others = |f: Activation| f.with_constants(&[0.75_f32, 0.3].map(Constant::from));
        Activation::ALL.iter().flat_map(|&f| [f, others(f)]).collect()
    }

    #[test]
    fn each_slope_is_the_limit_of_differences() {
        // None of these is a corner of any function.
        let points = [-9.0, -3.3, -2.2, -1.1, -0.61, -0.23, 0.07, 0.31, 0.67, 0.83, 1.37, 2.9, 3.7, 7.1, 25.0];
        for f in functions().into_iter().filter(|f| f.is_elementwise()) {
            for x in points.into_iter().filter(|&x| f.is_total() || x > 0.0) {
                const STEP: f64 = 1e-5;
                let at = |x: f64| activate(f, array![x])[0];
                let (want, got) = ((at(x + STEP) - at(x - STEP)) / (2.0 * STEP), slope(f, x));
                assert!((want - got).abs() <= 1e-8 * (1.0 + at(x).abs()), "{f} at {x}: {got}, expected {want}");
            }
        }
    }

    #[test]
    fn the_softmax_family_has_its_jacobian() {
        let (x, d_y) = (array![0.3, -1.2, 0.8, 2.0], array![0.7, 0.1, -0.4, 0.9]);
        for f in [Activation::Softmax, Activation::LogSoftmax] {
            let got = activate_back(f, &x, &d_y);
            for n in 0..x.len() {
                let at = |step: f64| {
                    let mut x = x.clone();
                    x[n] += step;
                    (activate(f, x) * &d_y).sum()
                };
                let want = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((want - got[n]).abs() < 1e-9, "{f} at {n}: {}, expected {want}", got[n]);
            }
        }
    }

    #[test]
    fn corners_are_those_of_pytorch() {
        let slopes = |f: Activation, at: &[f64]| at.iter().map(|&x| slope(f, x)).collect::<Array1<f64>>();
        let c = Constant::new;
        assert_eq!(slopes(Activation::Relu, &[0.0]), array![0.0]);
        assert_eq!(slopes(Activation::LeakyRelu { alpha: c(0.25) }, &[0.0]), array![0.25]);
        assert_eq!(slopes(Activation::Elu { alpha: c(0.5) }, &[0.0]), array![0.5]);
        assert_eq!(slopes(Activation::Clamp { alpha: c(0.0), beta: c(6.0) }, &[0.0, 6.0]), array![0.0, 0.0]);
        assert_eq!(slopes(Activation::SoftShrink { alpha: c(0.5) }, &[-0.5, 0.5, 0.6]), array![0.0, 0.0, 1.0]);
        assert_eq!(slopes(Activation::Softsign, &[0.0]), array![1.0]);
    }
}
