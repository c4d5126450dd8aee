//! Every activation against its formula in f64: the error over the whole range, infinities, NaN.

use pulp::{Simd, WithSimd};

use super::*;
use crate::cell::Constant;
use crate::cpu::math::{Map, exp};

pub(super) fn erfc(z: f64) -> f64 {
    let scale = (-z * z).exp() / std::f64::consts::PI.sqrt();
    if z < 0.0 {
        2.0 - erfc(-z)
    } else if z < 2.5 {
        // erf(z) = 2/√π · exp(−z²) · Σ 2ⁿ z²ⁿ⁺¹ / (2n + 1)!!
        let mut term = z;
        let mut sum = 0.0;
        for n in 1..80 {
            sum += term;
            term *= 2.0 * z * z / f64::from(2 * n + 1);
        }
        1.0 - 2.0 * scale * sum
    } else {
        scale / (z + (1..=80).rev().fold(0.0, |rest, k| f64::from(k) / 2.0 / (z + rest)))
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Returns an elementwise activation by its formula.
pub(super) fn activation(f: Activation, x: f64) -> f64 {
    let c = |constant: Constant| f64::from(constant.get());
    let positive_or = |y: f64| if x > 0.0 { x } else { y };
    match f {
        Activation::Linear => x,
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
        Activation::Relu => positive_or(0.0),
        Activation::Affine { alpha, beta } => c(alpha) * x + c(beta),
        Activation::LeakyRelu { alpha } => positive_or(c(alpha) * x),
        Activation::ThresholdedRelu { alpha } => f64::from(u8::from(x > c(alpha))) * x,
        Activation::ScaledTanh { alpha, beta } => c(alpha) * (c(beta) * x).tanh(),
        Activation::HardSigmoid { alpha, beta } => (c(alpha) * x + c(beta)).clamp(0.0, 1.0),
        Activation::Elu { alpha } => positive_or(c(alpha) * x.exp_m1()),
        Activation::Selu { alpha, gamma } => c(gamma) * positive_or(c(alpha) * x.exp_m1()),
        Activation::Celu { alpha } => positive_or(c(alpha) * (x / c(alpha)).exp_m1()),
        Activation::Softsign => x / (1.0 + x.abs()),
        Activation::Softplus => softplus(x),
        Activation::Exponential => x.exp(),
        Activation::Clamp { alpha, beta } => x.max(c(alpha)).min(c(beta)),
        Activation::Silu => x * sigmoid(x),
        Activation::HardSilu { alpha, beta } => x * (c(alpha) * x + c(beta)).clamp(0.0, 1.0),
        Activation::Gelu => x * 0.5 * erfc(-x / std::f64::consts::SQRT_2),
        Activation::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            x * sigmoid(2.0 * u)
        }
        Activation::Mish => x * softplus(x).tanh(),
        Activation::LogSigmoid => -softplus(-x),
        Activation::HardShrink { alpha } => f64::from(u8::from(x.abs() > c(alpha))) * x,
        Activation::SoftShrink { alpha } => x.signum() * (x.abs() - c(alpha)).max(0.0),
        Activation::TanhShrink => x - x.tanh(),
        Activation::SparsePlus if x <= -1.0 => 0.0,
        Activation::SparsePlus if x >= 1.0 => x,
        Activation::SparsePlus => (x + 1.0).powi(2) / 4.0,
        Activation::Squareplus { alpha } if x < 0.0 => c(alpha) / 2.0 / ((x * x + c(alpha)).sqrt() - x),
        Activation::Squareplus { alpha } => (x + (x * x + c(alpha)).sqrt()) / 2.0,
        Activation::Sqrt => x.sqrt(),
        Activation::Softmax | Activation::LogSoftmax => unreachable!("not elementwise"),
    }
}

/// An activation, and the claims about it.
struct Claim {
    f: Activation,
    /// Its limits at −∞ and ∞.
    limits: [f32; 2],
    /// The largest error in units of the last place of the result, or of `beside` if that is larger.
    most: f64,
    /// The size of the terms whose difference is the result, by x: their digits limit those of the result.
    beside: fn(f64) -> f64,
}

fn claims() -> Vec<Claim> {
    let c = Constant::new;
    let (inf, alone): (_, fn(f64) -> f64) = (f32::INFINITY, |_| 0.0);
    // A tail that is x times a number too small for all its digits.
    let denormal: fn(f64) -> f64 = |x| x.abs() * f64::from(f32::MIN_POSITIVE);
    // A tail whose exponent is a polynomial of x. The error of the exponent's last place grows with the exponent.
    let tanh_tail: fn(f64) -> f64 = |x| {
        let exponent = 1.596 * x.abs() * (1.0 + 0.045 * x * x);
        (x.abs() * f64::from(f32::MIN_POSITIVE)).max(activation(Activation::GeluTanh, x).abs() * (1.0 + exponent))
    };
    let claim = |f, limits, most| Claim { f, limits, most, beside: alone };
    let (alpha, gamma) = (c(1.673_263_2), c(1.050_701));
    vec![
        claim(Activation::Linear, [-inf, inf], 0.0),
        claim(Activation::Sigmoid, [0.0, 1.0], 2.5),
        claim(Activation::Tanh, [-1.0, 1.0], 3.5),
        claim(Activation::Relu, [0.0, inf], 0.0),
        Claim {
            beside: |x| 1.7 * x.abs(),
            ..claim(Activation::Affine { alpha: c(-1.7), beta: c(0.3) }, [inf, -inf], 1.5)
        },
        claim(Activation::LeakyRelu { alpha: c(0.3) }, [-inf, inf], 0.5),
        claim(Activation::ThresholdedRelu { alpha: c(-0.7) }, [0.0, inf], 0.0),
        claim(Activation::ScaledTanh { alpha: c(1.7159), beta: c(0.6667) }, [-1.7159, 1.7159], 5.0),
        Claim { beside: |_| 0.5, ..claim(Activation::HardSigmoid { alpha: c(0.2), beta: c(0.5) }, [0.0, 1.0], 1.0) },
        claim(Activation::Elu { alpha: c(0.3) }, [-0.3, inf], 3.0),
        claim(Activation::Selu { alpha, gamma }, [-1.758_099_3, inf], 3.5),
        claim(Activation::Celu { alpha: c(0.7) }, [-0.7, inf], 3.5),
        claim(Activation::Softsign, [-1.0, 1.0], 1.5),
        claim(Activation::Softplus, [0.0, inf], 3.0),
        claim(Activation::Exponential, [0.0, inf], 1.5),
        claim(Activation::Clamp { alpha: c(-0.5), beta: c(2.0) }, [-0.5, 2.0], 0.0),
        Claim { beside: denormal, ..claim(Activation::Silu, [0.0, inf], 3.5) },
        Claim {
            beside: |x| 0.5 * x.abs(),
            ..claim(Activation::HardSilu { alpha: c(0.2), beta: c(0.5) }, [0.0, inf], 1.5)
        },
        Claim { beside: denormal, ..claim(Activation::Gelu, [0.0, inf], 8.0) },
        Claim { beside: tanh_tail, ..claim(Activation::GeluTanh, [0.0, inf], 4.0) },
        Claim { beside: denormal, ..claim(Activation::Mish, [0.0, inf], 5.0) },
        claim(Activation::LogSigmoid, [-inf, 0.0], 3.0),
        claim(Activation::HardShrink { alpha: c(0.25) }, [-inf, inf], 0.0),
        claim(Activation::SoftShrink { alpha: c(0.25) }, [-inf, inf], 0.5),
        Claim { beside: f64::abs, ..claim(Activation::TanhShrink, [-inf, inf], 3.0) },
        claim(Activation::SparsePlus, [0.0, inf], 2.0),
        claim(Activation::Squareplus { alpha: c(4.0) }, [0.0, inf], 3.5),
        claim(Activation::Sqrt, [f32::NAN, inf], 0.5),
    ]
}

/// The softmax's own exponential, which is not an activation.
struct Exp<'a>(&'a [f32], &'a mut [f32]);

impl WithSimd for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (x, y) in S::as_simd_f32s(self.0).0.iter().zip(S::as_mut_simd_f32s(self.1).0) {
            *y = exp(simd, *x);
        }
    }
}

/// Returns `f` of x on each instruction set.
fn results(f: Activation, x: &[f32]) -> Vec<Vec<f32>> {
    let mut all = vec![vec![f32::NAN; x.len()]; instruction_sets().len()];
    for (arch, y) in instruction_sets().into_iter().zip(&mut all) {
        arch.dispatch(Map { f, source: x, target: y });
    }
    all
}

/// Returns every `step`-th finite f32 with this sign, up to `end`: a multiple of 16 numbers.
pub(super) fn sweep(sign: f32, end: f32, step: usize) -> Vec<f32> {
    let mut x: Vec<f32> = (0..=end.to_bits()).step_by(step).map(|bits| f32::from_bits(bits) * sign).collect();
    x.truncate(x.len() / 16 * 16);
    x
}

/// Returns the distance of `got` from `want`, in units of the
/// last place of `size`, but at least of the least normal number.
pub(super) fn units(got: f32, want: f64, size: f64) -> f64 {
    if want.is_nan() {
        return if got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if want.abs() > f64::from(f32::MAX) {
        return if f64::from(got) == f64::INFINITY.copysign(want) { 0.0 } else { f64::INFINITY };
    }
    let size = size.max(f64::from(f32::MIN_POSITIVE));
    let power = f64::from_bits(size.to_bits() & !((1 << 52) - 1));
    (f64::from(got) - want).abs() / (power * 2f64.powi(-23))
}

/// Returns the largest of `errors`, and where it is. A NaN is larger than all.
pub(super) fn worst(errors: impl Iterator<Item = (f64, f32)>) -> (f64, f32) {
    errors.fold((0.0, 0.0), |worst, error| if error.0 > worst.0 || error.0.is_nan() { error } else { worst })
}

#[test]
fn activations_are_within_their_claimed_error_everywhere() {
    for Claim { f, most, beside, .. } in claims() {
        // The functions of every cell are tested with more numbers.
        let step = if matches!(f, Activation::Sigmoid | Activation::Tanh) { 257 } else { 4099 };
        for sign in [1.0, -1.0] {
            // Below −87.3, sigmoid stays at 1e-38.
            let end = if f == Activation::Sigmoid && sign < 0.0 { 87.0 } else { f32::MAX };
            let x = sweep(sign, end, step);
            assert!(x.len() > 250_000, "{f}: only {} values", x.len());
            let want: Vec<f64> = x.iter().map(|&x| activation(f, f64::from(x))).collect();
            for y in results(f, &x) {
                let errors = x
                    .iter()
                    .zip(&y)
                    .zip(&want)
                    .map(|((&x, &y), &want)| (units(y, want, want.abs().max(beside(f64::from(x)))), x));
                let (error, at) = worst(errors);
                assert!(error <= most, "{f} at {at:e}: {error:.2} units in the last place, at most {most}");
            }
        }
    }
}

#[test]
fn the_exponential_of_a_softmax_is_within_its_claimed_error() {
    let x = sweep(-1.0, 87.3, 257);
    for arch in instruction_sets() {
        let mut y = vec![f32::NAN; x.len()];
        arch.dispatch(Exp(&x, &mut y));
        let (error, at) = worst(x.iter().zip(&y).map(|(&x, &y)| {
            let want = f64::from(x).exp();
            (units(y, want, want), x)
        }));
        assert!(error <= 1.5, "exp({at:e}): {error:.2} units in the last place");
        let mut edges = [0.0; 16];
        arch.dispatch(Exp(&[f32::NEG_INFINITY, 0.0, f32::NAN, -1e30].repeat(4), &mut edges));
        assert_eq!(edges[..2], [0.0, 1.0]);
        assert!(edges[2].is_nan() && edges[3] == 0.0, "{edges:?}");
    }
}

#[test]
fn every_activation_has_a_claim() {
    let claimed: Vec<_> = claims().iter().map(|claim| claim.f.name()).collect();
    let all: Vec<_> = Activation::ALL.iter().filter(|f| f.is_elementwise()).map(|f| f.name()).collect();
    assert_eq!(claimed, all);
}

#[test]
fn an_infinity_gives_the_limit_and_nan_stays() {
    for Claim { f, limits, .. } in claims() {
        for y in results(f, &[f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -f32::NAN].repeat(4)) {
            for (got, want) in y.iter().zip(limits) {
                // Sigmoid ends at 1e-38.
                let same = *got == want || got.is_nan() && want.is_nan();
                assert!(same || (got - want).abs() < 1e-37, "{f}: got {got}, expected {want}");
            }
            assert!(y[2].is_nan() && y[3].is_nan(), "{f} of NaN is {} and {}", y[2], y[3]);
        }
    }
}

#[test]
fn bounds_that_cross_give_the_upper_one_and_a_softmax_is_no_function_of_one_number() {
    let x = [-3.0, 0.25, 5.0, 0.0].repeat(4);
    let crossed = Activation::Clamp { alpha: Constant::new(2.0), beta: Constant::new(-1.0) };
    for y in results(crossed, &x) {
        assert!(y.iter().all(|&y| y == -1.0), "{y:?}");
    }
    for f in [Activation::Softmax, Activation::LogSoftmax] {
        assert!(results(f, &x).iter().all(|y| *y == x), "{f}");
    }
}
