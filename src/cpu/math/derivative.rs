//! The derivative of every activation at its input.
//!
//! At a corner it is what PyTorch's function of the same name passes back. It is 0 for relu, and the slope below for
//! functions that have one. At both bounds of a clamp or a hard sigmoid it is 0. It is as accurate as the functions,
//! except where the derivative crosses 0. Knows no kernel.

use pulp::{Simd, WithSimd};

use super::exp::exponential;
use super::{affine, clamp, erf, exp, keep_nan, scaled, sech_squared, tanh};
use crate::cell::Activation;

/// `target = f'(source)`, elementwise. Both are whole registers. The softmax family, which is not elementwise, has 1.
///
/// It must be run by [`Simd::vectorize`], like [`Map`](super::Map).
pub(in crate::cpu) struct Slopes<'a> {
    pub(in crate::cpu) f: Activation,
    pub(in crate::cpu) source: &'a [f32],
    pub(in crate::cpu) target: &'a mut [f32],
}

impl WithSimd for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let registers = S::as_simd_f32s(self.source).0.iter();
        for (x, y) in registers.zip(S::as_mut_simd_f32s(self.target).0) {
            *y = keep_nan(simd, *x, slope(simd, self.f, *x));
        }
    }
}

/// Returns `f'(x)` of one register.
#[inline(always)]
pub(in crate::cpu) fn derivative<S: Simd>(simd: S, f: Activation, x: S::f32s) -> S::f32s {
    let mut y = x;
    let source = bytemuck::cast_slice(std::slice::from_ref(&x));
    simd.vectorize(Slopes { f, source, target: bytemuck::cast_slice_mut(std::slice::from_mut(&mut y)) });
    y
}

/// Returns `f'(x)`, or any value if x is NaN.
#[inline(always)]
fn slope<S: Simd>(simd: S, f: Activation, x: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    match f {
        Activation::Linear | Activation::Softmax | Activation::LogSoftmax => one,
        Activation::Sigmoid => exp::logistic_slope(simd, x),
        Activation::Tanh => sech_squared(simd, x),
        Activation::Relu => where_positive(simd, x, one, zero),
        Activation::Affine { alpha, .. } => simd.splat_f32s(alpha.get()),
        Activation::LeakyRelu { alpha } => where_positive(simd, x, one, simd.splat_f32s(alpha.get())),
        Activation::ThresholdedRelu { alpha } => {
            let greater = simd.greater_than_f32s(x, simd.splat_f32s(alpha.get()));
            simd.select_f32s(greater, one, zero)
        }
        Activation::ScaledTanh { alpha, beta } => {
            let inside = sech_squared(simd, scaled(simd, beta, x));
            simd.mul_f32s(simd.splat_f32s(alpha.get() * beta.get()), inside)
        }
        Activation::HardSigmoid { alpha, beta } => {
            let line = affine(simd, x, alpha, beta);
            between(simd, line, 0.0, 1.0, [zero, simd.splat_f32s(alpha.get()), zero])
        }
        Activation::Elu { alpha } => where_positive(simd, x, one, scaled(simd, alpha, falling(simd, x))),
        Activation::Selu { alpha, gamma } => {
            scaled(simd, gamma, where_positive(simd, x, one, scaled(simd, alpha, falling(simd, x))))
        }
        Activation::Celu { alpha } => {
            let inner = simd.div_f32s(x, simd.splat_f32s(alpha.get()));
            where_positive(simd, x, one, exponential(simd, inner))
        }
        Activation::Softsign => {
            let root = simd.div_f32s(one, simd.add_f32s(one, simd.abs_f32s(x)));
            simd.mul_f32s(root, root)
        }
        Activation::Softplus => exp::logistic(simd, x),
        Activation::Exponential => exponential(simd, x),
        Activation::Clamp { alpha, beta } => between(simd, x, alpha.get(), beta.get(), [zero, one, zero]),
        Activation::Silu => {
            let x = clamp(simd, x, -110.0, 110.0);
            gated_slope(simd, x, x, one)
        }
        Activation::HardSilu { alpha, beta } => {
            let line = affine(simd, x, alpha, beta);
            between(simd, line, 0.0, 1.0, [zero, simd.mul_add_e_f32s(simd.splat_f32s(alpha.get()), x, line), one])
        }
        Activation::Gelu => erf::gelu_slope(simd, x),
        Activation::GeluTanh => gelu_tanh(simd, x),
        Activation::Mish => mish(simd, x),
        Activation::LogSigmoid => exp::logistic(simd, simd.neg_f32s(x)),
        Activation::HardShrink { alpha } | Activation::SoftShrink { alpha } => {
            let beyond = simd.greater_than_f32s(simd.abs_f32s(x), simd.splat_f32s(alpha.get()));
            simd.select_f32s(beyond, one, zero)
        }
        Activation::TanhShrink => {
            let height = tanh(simd, x);
            simd.mul_f32s(height, height)
        }
        Activation::SparsePlus => {
            let rise = simd.mul_f32s(simd.splat_f32s(0.5), simd.add_f32s(x, one));
            between(simd, x, -1.0, 1.0, [zero, rise, one])
        }
        Activation::Squareplus { alpha } => squareplus(simd, x, alpha.get()),
        Activation::Sqrt => simd.div_f32s(simd.splat_f32s(0.5), simd.sqrt_f32s(x)),
    }
}

/// `exp(x)` below 0, where nothing overflows.
#[inline(always)]
fn falling<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    exponential(simd, simd.min_f32s(simd.splat_f32s(0.0), x))
}

/// Returns `y` where x is positive, else `below`.
#[inline(always)]
fn where_positive<S: Simd>(simd: S, x: S::f32s, y: S::f32s, below: S::f32s) -> S::f32s {
    simd.select_f32s(simd.greater_than_f32s(x, simd.splat_f32s(0.0)), y, below)
}

/// Returns one of three values: for x up to `low`, for x between, and for x from `high` on.
#[inline(always)]
fn between<S: Simd>(simd: S, x: S::f32s, low: f32, high: f32, of: [S::f32s; 3]) -> S::f32s {
    let below = simd.less_than_f32s(x, simd.splat_f32s(high));
    let above = simd.greater_than_f32s(x, simd.splat_f32s(low));
    simd.select_f32s(above, simd.select_f32s(below, of[1], of[2]), of[0])
}

/// `(x σ(u))' = σ(u) · (1 + x · σ(−u) · u')` where nothing is infinite.
#[inline(always)]
fn gated_slope<S: Simd>(simd: S, x: S::f32s, u: S::f32s, rise: S::f32s) -> S::f32s {
    let (gate, rest) = (exp::logistic(simd, u), exp::logistic(simd, simd.neg_f32s(u)));
    simd.mul_f32s(gate, simd.mul_add_e_f32s(simd.mul_f32s(x, rest), rise, simd.splat_f32s(1.0)))
}

#[inline(always)]
fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// `2 √(2/π)`.
    const SLOPE: f32 = 1.595_769;
    // Beyond this, the gate is 0 or 1.
    let x = clamp(simd, x, -12.0, 12.0);
    let (square, slope) = (simd.mul_f32s(x, x), simd.splat_f32s(SLOPE));
    let bend = simd.mul_add_e_f32s(square, simd.splat_f32s(SLOPE * 0.044_715), slope);
    let rise = simd.mul_add_e_f32s(square, simd.splat_f32s(3.0 * SLOPE * 0.044_715), slope);
    gated_slope(simd, x, simd.mul_f32s(x, bend), rise)
}

/// With `n = e (e + 2)`, e = exp(x): `n / (n + 2) + 4 x e (1 + e) / (n + 2)²`.
#[inline(always)]
fn mish<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = clamp(simd, x, -110.0, 20.0);
    let (one, two) = (simd.splat_f32s(1.0), simd.splat_f32s(2.0));
    let e = exponential(simd, x);
    let n = simd.mul_f32s(e, simd.add_f32s(e, two));
    let below = simd.add_f32s(n, two);
    let bend = simd.div_f32s(simd.mul_f32s(e, simd.add_f32s(e, one)), below);
    let lean = simd.div_f32s(simd.mul_f32s(simd.splat_f32s(4.0), x), below);
    simd.mul_add_e_f32s(lean, bend, simd.div_f32s(n, below))
}

/// `(1 + x / √(x² + alpha)) / 2`; below 0 as `alpha / 2 / (√(x² + alpha) − x) / √(x² + alpha)`, which does not cancel.
#[inline(always)]
fn squareplus<S: Simd>(simd: S, x: S::f32s, alpha: f32) -> S::f32s {
    let (zero, size) = (simd.splat_f32s(0.0), simd.abs_f32s(x));
    let root = simd.sqrt_f32s(simd.mul_add_e_f32s(x, x, simd.splat_f32s(alpha)));
    let root = simd.select_f32s(simd.less_than_f32s(size, simd.splat_f32s(1e19)), root, size);
    let below = simd.div_f32s(simd.div_f32s(simd.splat_f32s(0.5 * alpha), simd.add_f32s(root, size)), root);
    let slope = simd.select_f32s(simd.less_than_f32s(x, zero), below, simd.sub_f32s(simd.splat_f32s(1.0), below));
    // At a corner, rounding does not matter.
    simd.select_f32s(simd.equal_f32s(root, zero), simd.splat_f32s(0.5), slope)
}
