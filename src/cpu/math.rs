//! Every activation on SIMD registers, in f32.
//!
//! Each is close to the true value everywhere, without a table and without a branch
//! on a lane. At an infinity it returns its limit if it has one, and a NaN stays a
//! NaN. `tests::math` measures the errors over the whole range. Knows no kernel.

mod derivative;
mod erf;
mod exp;
mod log;

use pulp::{Simd, WithSimd};

use crate::cell::{Activation, Constant};
pub(super) use derivative::{Slopes, derivative};
pub(super) use exp::{exp, sech_squared, sigmoid, tanh};
pub(super) use log::corner;

/// `target = f(source)`, elementwise. Both are whole registers. The
/// softmax family is not elementwise, and leaves the target alone.
///
/// It must be run by [`Simd::vectorize`], which makes one function of it: it has the code of every activation.
pub(super) struct Map<'a> {
    pub(super) f: Activation,
    pub(super) source: &'a [f32],
    pub(super) target: &'a mut [f32],
}

impl WithSimd for Map<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let registers = S::as_simd_f32s(self.source).0.iter();
        for (x, y) in registers.zip(S::as_mut_simd_f32s(self.target).0) {
            *y = activation(simd, self.f, *x);
        }
    }
}

/// Returns `f(x)` of one register.
#[inline(always)]
pub(super) fn apply<S: Simd>(simd: S, f: Activation, x: S::f32s) -> S::f32s {
    let mut y = x;
    let source = bytemuck::cast_slice(std::slice::from_ref(&x));
    simd.vectorize(Map { f, source, target: bytemuck::cast_slice_mut(std::slice::from_mut(&mut y)) });
    y
}

/// Returns `x`, clamped to `−most ..= most`.
#[inline(always)]
pub(super) fn bounded<S: Simd>(simd: S, x: S::f32s, most: Constant) -> S::f32s {
    keep_nan(simd, x, clamp(simd, x, -most.get(), most.get()))
}

/// `max(0, x)`.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
}

#[inline(always)]
fn activation<S: Simd>(simd: S, f: Activation, x: S::f32s) -> S::f32s {
    match f {
        Activation::Linear | Activation::Softmax | Activation::LogSoftmax => x,
        Activation::Sigmoid => sigmoid(simd, x),
        Activation::Tanh => tanh(simd, x),
        Activation::Relu => relu(simd, x),
        Activation::Affine { alpha, beta } => affine(simd, x, alpha, beta),
        Activation::LeakyRelu { alpha } => positive_or(simd, x, scaled(simd, alpha, x)),
        Activation::ThresholdedRelu { alpha } => where_greater(simd, x, x, alpha),
        Activation::ScaledTanh { alpha, beta } => scaled(simd, alpha, tanh(simd, scaled(simd, beta, x))),
        Activation::HardSigmoid { alpha, beta } => hard_sigmoid(simd, x, alpha, beta),
        Activation::Elu { alpha } => positive_or(simd, x, scaled(simd, alpha, exp::exp_m1(simd, x))),
        Activation::Selu { alpha, gamma } => {
            let elu = positive_or(simd, x, scaled(simd, alpha, exp::exp_m1(simd, x)));
            scaled(simd, gamma, elu)
        }
        Activation::Celu { alpha } => {
            let inner = exp::exp_m1(simd, simd.div_f32s(x, simd.splat_f32s(alpha.get())));
            positive_or(simd, x, scaled(simd, alpha, inner))
        }
        Activation::Softsign => softsign(simd, x),
        Activation::Softplus => log::softplus(simd, x),
        Activation::Exponential => exp::exponential(simd, x),
        Activation::Clamp { alpha, beta } => keep_nan(simd, x, clamp(simd, x, alpha.get(), beta.get())),
        Activation::Silu => exp::gated(simd, x, x),
        Activation::HardSilu { alpha, beta } => hard_silu(simd, x, alpha, beta),
        Activation::Gelu => erf::gelu(simd, x),
        Activation::GeluTanh => gelu_tanh(simd, x),
        Activation::Mish => exp::mish(simd, x),
        Activation::LogSigmoid => log::log_sigmoid(simd, x),
        Activation::HardShrink { alpha } => where_greater(simd, simd.abs_f32s(x), x, alpha),
        Activation::SoftShrink { alpha } => soft_shrink(simd, x, alpha.get()),
        Activation::TanhShrink => simd.sub_f32s(x, tanh(simd, x)),
        Activation::SparsePlus => sparse_plus(simd, x),
        Activation::Squareplus { alpha } => squareplus(simd, x, alpha.get()),
        Activation::Sqrt => simd.sqrt_f32s(x),
    }
}

#[inline(always)]
fn clamp<S: Simd>(simd: S, x: S::f32s, low: f32, high: f32) -> S::f32s {
    simd.min_f32s(simd.splat_f32s(high), simd.max_f32s(simd.splat_f32s(low), x))
}

/// Returns `y`, or NaN if `x` is NaN: `min` and `max` treat NaN differently in each instruction set.
#[inline(always)]
fn keep_nan<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.select_f32s(simd.equal_f32s(x, x), y, x)
}

#[inline(always)]
fn scaled<S: Simd>(simd: S, scale: Constant, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(scale.get()), x)
}

#[inline(always)]
fn affine<S: Simd>(simd: S, x: S::f32s, alpha: Constant, beta: Constant) -> S::f32s {
    simd.mul_add_e_f32s(simd.splat_f32s(alpha.get()), x, simd.splat_f32s(beta.get()))
}

/// Returns `x` where it is positive, else `y`.
#[inline(always)]
fn positive_or<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.select_f32s(simd.greater_than_f32s(x, simd.splat_f32s(0.0)), x, y)
}

/// Returns `y` where `x > least`, else 0.
#[inline(always)]
fn where_greater<S: Simd>(simd: S, x: S::f32s, y: S::f32s, least: Constant) -> S::f32s {
    let greater = simd.greater_than_f32s(x, simd.splat_f32s(least.get()));
    keep_nan(simd, x, simd.select_f32s(greater, y, simd.splat_f32s(0.0)))
}

#[inline(always)]
fn hard_sigmoid<S: Simd>(simd: S, x: S::f32s, alpha: Constant, beta: Constant) -> S::f32s {
    let line = affine(simd, x, alpha, beta);
    keep_nan(simd, line, clamp(simd, line, 0.0, 1.0))
}

#[inline(always)]
fn hard_silu<S: Simd>(simd: S, x: S::f32s, alpha: Constant, beta: Constant) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    let gate = hard_sigmoid(simd, x, alpha, beta);
    // A closed gate lets nothing through, not even an infinity.
    simd.select_f32s(simd.equal_f32s(gate, zero), zero, simd.mul_f32s(x, gate))
}

/// `x / (1 + |x|)`. `x` is cut where the result is 1, before |x| is infinite.
#[inline(always)]
fn softsign<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let cut = clamp(simd, x, -1e18, 1e18);
    let below = simd.add_f32s(simd.splat_f32s(1.0), simd.abs_f32s(cut));
    keep_nan(simd, x, simd.div_f32s(cut, below))
}

/// `x · sigmoid(2u)`, which is `x / 2 · (1 + tanh(u))`.
#[inline(always)]
fn gelu_tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    /// `2 √(2/π)`.
    const SLOPE: f32 = 1.595_769;
    let square = simd.mul_f32s(x, x);
    let bend = simd.mul_add_e_f32s(square, simd.splat_f32s(SLOPE * 0.044_715), simd.splat_f32s(SLOPE));
    exp::gated(simd, x, simd.mul_f32s(x, bend))
}

#[inline(always)]
fn soft_shrink<S: Simd>(simd: S, x: S::f32s, alpha: f32) -> S::f32s {
    let alpha = simd.splat_f32s(alpha);
    let below = simd.less_than_f32s(x, simd.neg_f32s(alpha));
    let y = simd.select_f32s(below, simd.add_f32s(x, alpha), simd.splat_f32s(0.0));
    let y = simd.select_f32s(simd.greater_than_f32s(x, alpha), simd.sub_f32s(x, alpha), y);
    keep_nan(simd, x, y)
}

#[inline(always)]
fn sparse_plus<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let rise = simd.max_f32s(simd.splat_f32s(0.0), simd.add_f32s(x, one));
    let bend = simd.mul_f32s(simd.mul_f32s(rise, rise), simd.splat_f32s(0.25));
    keep_nan(simd, x, simd.select_f32s(simd.less_than_f32s(x, one), bend, x))
}

/// `(x + √(x² + alpha)) / 2`; below 0 as `alpha / 2 / (√(x² + alpha) − x)`, which does not cancel.
#[inline(always)]
fn squareplus<S: Simd>(simd: S, x: S::f32s, alpha: f32) -> S::f32s {
    let (half, size) = (simd.splat_f32s(0.5), simd.abs_f32s(x));
    let root = simd.sqrt_f32s(simd.mul_add_e_f32s(x, x, simd.splat_f32s(alpha)));
    // Beyond this, the square is infinite, and alpha is negligible.
    let root = simd.select_f32s(simd.less_than_f32s(size, simd.splat_f32s(1e19)), root, size);
    let above = simd.mul_add_e_f32s(half, root, simd.mul_f32s(half, size));
    let below = simd.div_f32s(simd.splat_f32s(alpha * 0.25), above);
    keep_nan(simd, x, simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(0.0)), below, above))
}
