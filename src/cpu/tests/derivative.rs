//! The derivative of every activation against its formula in f64, and the formula against differences.

use super::math::{activation, erfc, sweep, units, worst};
use super::*;
use crate::cell::Constant;
use crate::cpu::math::Slopes;

/// Returns the derivative of an activation by its formula, and at a corner that of PyTorch.
pub(super) fn slope(f: Activation, x: f64) -> f64 {
    let c = |constant: Constant| f64::from(constant.get());
    let one = |is_there: bool| f64::from(u8::from(is_there));
    let positive_or = |y: f64| if x > 0.0 { 1.0 } else { y };
    let sech = |x: f64| 4.0 * (-2.0 * x.abs()).exp() / (1.0 + (-2.0 * x.abs()).exp()).powi(2);
    match f {
        Activation::Linear => 1.0,
        Activation::Sigmoid => sech(x / 2.0) / 4.0,
        Activation::Tanh => sech(x),
        Activation::Relu => positive_or(0.0),
        Activation::Affine { alpha, .. } => c(alpha),
        Activation::LeakyRelu { alpha } => positive_or(c(alpha)),
        Activation::ThresholdedRelu { alpha } => one(x > c(alpha)),
        Activation::ScaledTanh { alpha, beta } => c(alpha) * c(beta) * sech(c(beta) * x),
        Activation::HardSigmoid { alpha, beta } => {
            let line = c(alpha) * x + c(beta);
            c(alpha) * one(line > 0.0 && line < 1.0)
        }
        Activation::Elu { alpha } => positive_or(c(alpha) * x.exp()),
        Activation::Selu { alpha, gamma } => c(gamma) * positive_or(c(alpha) * x.exp()),
        Activation::Celu { alpha } => positive_or((x / c(alpha)).exp()),
        Activation::Softsign => (1.0 + x.abs()).powi(-2),
        Activation::Softplus => sigmoid(x),
        Activation::Exponential => x.exp(),
        Activation::Clamp { alpha, beta } => one(x > c(alpha) && x < c(beta)),
        Activation::Silu => gated(x, x, 1.0),
        Activation::HardSilu { alpha, beta } => match c(alpha) * x + c(beta) {
            line if line <= 0.0 => 0.0,
            line if line >= 1.0 => 1.0,
            line => c(alpha) * x + line,
        },
        Activation::Gelu => {
            let bell = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            erfc(-x / std::f64::consts::SQRT_2) / 2.0 + x * bell
        }
        Activation::GeluTanh => {
            let slope = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
            gated(x, slope * (x + 0.044715 * x.powi(3)), slope * (1.0 + 3.0 * 0.044715 * x * x))
        }
        Activation::Mish => {
            let soft = x.max(0.0) + (-x.abs()).exp().ln_1p();
            soft.tanh() + x * sech(soft) * sigmoid(x)
        }
        Activation::LogSigmoid => sigmoid(-x),
        Activation::HardShrink { alpha } | Activation::SoftShrink { alpha } => one(x.abs() > c(alpha)),
        Activation::TanhShrink => x.tanh().powi(2),
        Activation::SparsePlus => ((x + 1.0) / 2.0).clamp(0.0, 1.0),
        Activation::Squareplus { alpha } => {
            let root = (x * x + c(alpha)).sqrt();
            let below = c(alpha) / 2.0 / (root + x.abs()) / root;
            if x < 0.0 { below } else { 1.0 - below }
        }
        Activation::Sqrt => 0.5 / x.sqrt(),
        Activation::Softmax | Activation::LogSoftmax => unreachable!("not elementwise"),
    }
}

/// `(x σ(u))'`.
fn gated(x: f64, u: f64, rise: f64) -> f64 {
    if u.abs() > 700.0 { f64::from(u8::from(u > 0.0)) } else { sigmoid(u) * (1.0 + x * sigmoid(-u) * rise) }
}

/// An activation, and the claims about its derivative.
struct Claim {
    f: Activation,
    /// Its limits at −∞ and ∞.
    limits: [f32; 2],
    /// The largest error in units of the last place of the result, or of `beside` if that is larger.
    most: f64,
    /// The size of the terms whose difference is the result, by x: their digits limit those of the result.
    beside: fn(f64) -> f64,
    /// The places of its corners.
    corners: &'static [f64],
}

fn claims() -> Vec<Claim> {
    let c = Constant::new;
    let claim = |f, limits, most| Claim { f, limits, most, beside: |_| 0.0, corners: &[] };
    let cornered = |f, limits, most, corners| Claim { corners, ..claim(f, limits, most) };
    let (alpha, gamma) = (c(1.673_263_2), c(1.050_701));
    // A difference of terms of about 1, and a tail that is x times a number too small for all its digits.
    let gate: fn(f64) -> f64 = |x| (1.0 + x.abs()) * sigmoid(x).max(f64::from(f32::MIN_POSITIVE));
    // The exponent of its tail is a polynomial of x. The error of the exponent's last place grows with the exponent.
    let tanh_gate: fn(f64) -> f64 = |x| {
        let exponent = 1.596 * x.abs() * (1.0 + 0.045 * x * x);
        let tail = sigmoid(exponent * x.signum()).max(f64::from(f32::MIN_POSITIVE));
        tail * (1.0 + exponent) * (1.0 + x.abs() * 1.6 * (1.0 + 0.14 * x * x))
    };
    let gauss: fn(f64) -> f64 = |x| {
        if x > 0.0 { 1.0 } else { ((1.0 + x.abs()) * (-x * x / 2.0).exp()).max(20.0 * f64::from(f32::MIN_POSITIVE)) }
    };
    vec![
        claim(Activation::Linear, [1.0, 1.0], 0.0),
        claim(Activation::Sigmoid, [0.0, 0.0], 4.0),
        claim(Activation::Tanh, [0.0, 0.0], 4.0),
        cornered(Activation::Relu, [0.0, 1.0], 0.0, &[0.0]),
        claim(Activation::Affine { alpha: c(-1.7), beta: c(0.3) }, [-1.7, -1.7], 0.0),
        cornered(Activation::LeakyRelu { alpha: c(0.3) }, [0.3, 1.0], 0.0, &[0.0]),
        cornered(Activation::ThresholdedRelu { alpha: c(-0.7) }, [0.0, 1.0], 0.0, &[-0.7]),
        Claim {
            // The rounding of tanh's argument.
            beside: |x| (1.0 + x.abs()) * slope(Activation::Tanh, 0.6667 * x),
            ..claim(Activation::ScaledTanh { alpha: c(1.7159), beta: c(0.6667) }, [0.0, 0.0], 6.0)
        },
        cornered(Activation::HardSigmoid { alpha: c(0.2), beta: c(0.5) }, [0.0, 0.0], 0.0, &[-2.5, 2.5]),
        cornered(Activation::Elu { alpha: c(0.3) }, [0.0, 1.0], 3.0, &[0.0]),
        cornered(Activation::Selu { alpha, gamma }, [0.0, 1.050_701], 3.0, &[0.0]),
        Claim {
            // The rounding of exp's argument.
            beside: |x| if x < 0.0 { (1.0 + x.abs()) * (x / 0.7).exp() } else { 1.0 },
            ..cornered(Activation::Celu { alpha: c(0.7) }, [0.0, 1.0], 3.0, &[0.0])
        },
        claim(Activation::Softsign, [0.0, 0.0], 4.0),
        claim(Activation::Softplus, [0.0, 1.0], 3.0),
        claim(Activation::Exponential, [0.0, f32::INFINITY], 1.5),
        cornered(Activation::Clamp { alpha: c(-0.5), beta: c(2.0) }, [0.0, 0.0], 0.0, &[-0.5, 2.0]),
        Claim { beside: gate, ..claim(Activation::Silu, [0.0, 1.0], 4.0) },
        Claim {
            beside: |_| 1.0,
            ..cornered(Activation::HardSilu { alpha: c(0.2), beta: c(0.5) }, [0.0, 1.0], 1.0, &[-2.5, 2.5])
        },
        Claim { beside: gauss, ..claim(Activation::Gelu, [0.0, 1.0], 8.0) },
        Claim { beside: tanh_gate, ..claim(Activation::GeluTanh, [0.0, 1.0], 6.0) },
        Claim { beside: gate, ..claim(Activation::Mish, [0.0, 1.0], 6.0) },
        claim(Activation::LogSigmoid, [1.0, 0.0], 3.0),
        cornered(Activation::HardShrink { alpha: c(0.25) }, [1.0, 1.0], 0.0, &[-0.25, 0.25]),
        cornered(Activation::SoftShrink { alpha: c(0.25) }, [1.0, 1.0], 0.0, &[-0.25, 0.25]),
        claim(Activation::TanhShrink, [1.0, 1.0], 7.0),
        Claim { beside: |_| 0.5, ..claim(Activation::SparsePlus, [0.0, 1.0], 1.0) },
        claim(Activation::Squareplus { alpha: c(4.0) }, [0.0, 1.0], 5.0),
        // A root and a quotient, each rounded.
        claim(Activation::Sqrt, [f32::NAN, 0.0], 1.5),
    ]
}

/// Returns `f'` of x on each instruction set.
fn results(f: Activation, x: &[f32]) -> Vec<Vec<f32>> {
    let mut all = vec![vec![f32::NAN; x.len()]; instruction_sets().len()];
    for (arch, y) in instruction_sets().into_iter().zip(&mut all) {
        arch.dispatch(Slopes { f, source: x, target: y });
    }
    all
}

#[test]
fn every_activation_has_a_claim_of_its_derivative() {
    let claimed: Vec<_> = claims().iter().map(|claim| claim.f.name()).collect();
    let all: Vec<_> = Activation::ALL.iter().filter(|f| f.is_elementwise()).map(|f| f.name()).collect();
    assert_eq!(claimed, all);
}

#[test]
fn the_formulas_are_the_slopes_of_the_functions() {
    for Claim { f, corners, .. } in claims() {
        let mut seen = 0;
        for x in (-900..=900).map(|i| f64::from(i) * 0.01 + 0.003) {
            let step = 1e-5;
            if corners.iter().any(|corner| (x - corner).abs() < 2.0 * step) {
                continue;
            }
            let rise = (activation(f, x + step) - activation(f, x - step)) / (2.0 * step);
            let want = slope(f, x);
            // Near its corner at 0 a root is no line.
            let near = if f.is_total() { 1e-6 } else { 1e-5 };
            let same = (rise - want).abs() <= near * (1.0 + want.abs()) || rise.is_nan() && want.is_nan();
            assert!(same, "{f}'({x}): {want}, by differences {rise}");
            seen += 1;
        }
        assert!(seen > 1700, "{f}: only {seen} values");
    }
}

#[test]
fn derivatives_are_within_their_claimed_error_everywhere() {
    let mut wrong = Vec::new();
    for Claim { f, most, beside, corners, .. } in claims() {
        for sign in [1.0, -1.0] {
            let x = sweep(sign, f32::MAX, 16_411);
            assert!(x.len() > 100_000, "{f}: only {} values", x.len());
            let want: Vec<f64> = x.iter().map(|&x| slope(f, f64::from(x))).collect();
            for y in results(f, &x) {
                let all = x.iter().zip(&y).zip(&want);
                // If rounding moves x across a corner, the slope of either side is right.
                let near = |x: f32| corners.iter().any(|corner| (f64::from(x) - corner).abs() < 1e-6 * corner.abs());
                let errors = all
                    .filter(|((x, _), _)| !near(**x))
                    .map(|((&x, &y), &want)| (units(y, want, want.abs().max(beside(f64::from(x)))), x));
                let (error, at) = worst(errors);
                if error.is_nan() || error > most {
                    wrong.push(format!("{f}' at {at:e}: {error:.2} units in the last place, at most {most}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_derivative_has_its_limits_and_nan_stays() {
    for Claim { f, limits, .. } in claims() {
        for y in results(f, &[f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -f32::NAN].repeat(4)) {
            for (got, want) in y.iter().zip(limits) {
                assert!(*got == want || got.is_nan() && want.is_nan(), "{f}: got {got}, expected {want}");
            }
            assert!(y[2].is_nan() && y[3].is_nan(), "{f}' of NaN is {} and {}", y[2], y[3]);
        }
    }
}

#[test]
fn at_a_corner_a_derivative_is_what_pytorch_takes() {
    let c = Constant::new;
    // PyTorch's relu, leaky_relu, threshold, hardsigmoid, elu, hardtanh, hardswish, hardshrink, softshrink.
    let third = Activation::HardSigmoid { alpha: c(0.25), beta: c(0.5) };
    let swish = Activation::HardSilu { alpha: c(0.25), beta: c(0.5) };
    let corners = [
        (Activation::Relu, [0.0, -0.0], [0.0, 0.0]),
        (Activation::LeakyRelu { alpha: c(0.25) }, [0.0, -0.0], [0.25, 0.25]),
        (Activation::ThresholdedRelu { alpha: c(1.5) }, [1.5, 1.5], [0.0, 0.0]),
        (third, [-2.0, 2.0], [0.0, 0.0]),
        (Activation::Elu { alpha: c(0.25) }, [0.0, -0.0], [0.25, 0.25]),
        (Activation::Clamp { alpha: c(0.0), beta: c(6.0) }, [0.0, 6.0], [0.0, 0.0]),
        (swish, [-2.0, 2.0], [0.0, 1.0]),
        (Activation::HardShrink { alpha: c(0.5) }, [-0.5, 0.5], [0.0, 0.0]),
        (Activation::SoftShrink { alpha: c(0.5) }, [-0.5, 0.5], [0.0, 0.0]),
    ];
    for (f, x, want) in corners {
        for y in results(f, &x.repeat(8)) {
            assert_eq!(y[..2], want, "{f}");
        }
        assert_eq!(x.map(|x| slope(f, f64::from(x))), want.map(f64::from), "{f}");
    }
}
