//! Logarithms of exponentials: softplus, and the logarithm of sigmoid.
//!
//! Both are a ramp and a correction of at most ln 2, so nothing
//! overflows and nothing cancels. Knows no activation by name.

use pulp::Simd;

use super::exp::exponential;

/// Minimax coefficients of `(atanh(√s) / √s − 1) / s` for s ≤ 1/9, highest power first: relative error 5e-9.
const SERIES: [f32; 4] = [0.140_059_93, 0.140_009_03, 0.200_107_63, 0.333_332_1];

/// `ln(1 + t)` for 0 ≤ t ≤ 1, as `2 atanh(t / (2 + t))`.
#[inline(always)]
fn ln_1p<S: Simd>(simd: S, t: S::f32s) -> S::f32s {
    let u = simd.div_f32s(t, simd.add_f32s(t, simd.splat_f32s(2.0)));
    let s = simd.mul_f32s(u, u);
    let mut series = simd.splat_f32s(SERIES[0]);
    for c in &SERIES[1..] {
        series = simd.mul_add_e_f32s(series, s, simd.splat_f32s(*c));
    }
    let twice = simd.add_f32s(u, u);
    simd.mul_add_e_f32s(simd.mul_f32s(twice, s), series, twice)
}

/// `ln(1 + exp(−|x|))`, or NaN if x is NaN.
#[inline(always)]
pub(in crate::cpu) fn corner<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    ln_1p(simd, exponential(simd, simd.neg_f32s(simd.abs_f32s(x))))
}

/// `ln(1 + exp(x))`.
#[inline(always)]
pub(super) fn softplus<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.add_f32s(simd.max_f32s(simd.splat_f32s(0.0), x), corner(simd, x))
}

/// `ln(1 / (1 + exp(−x)))`.
#[inline(always)]
pub(super) fn log_sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.sub_f32s(simd.min_f32s(simd.splat_f32s(0.0), x), corner(simd, x))
}
