//! The tail of the normal distribution, which is half of erfc, and gelu from it.
//!
//! It uses the tail instead of erf: `1 + erf` has no digits left where it is small. Knows no activation by name.

use pulp::Simd;

use super::exp::{above_nothing, exponential};
use super::{clamp, keep_nan};

/// `exp(a²/2) · Φ(−a)` is `t` times a polynomial in `t = 1 / (1 + SLOPE · a)`.
const SLOPE: f32 = 0.3;
/// Minimax coefficients of that polynomial for 0 ≤ a ≤ 15, highest power first: relative error 4e-9.
const SERIES: [f32; 10] = [
    -0.020_628_648,
    0.112_464_72,
    -0.228_284_63,
    0.191_883_09,
    -0.079_509_005,
    0.096_204_85,
    0.078_372_24,
    0.110_239_34,
    0.119_571_32,
    0.119_686_715,
];

/// `exp(−a²/2)` for |a| ≤ 15, corrected for the rounding error of the square: fused even where that is slow.
#[inline(always)]
fn bell<S: Simd>(simd: S, a: S::f32s) -> S::f32s {
    let square = simd.mul_f32s(a, a);
    let lost = simd.mul_add_f32s(a, a, simd.neg_f32s(square));
    let minus_half = simd.splat_f32s(-0.5);
    let e = exponential(simd, simd.mul_f32s(minus_half, square));
    simd.mul_add_e_f32s(simd.mul_f32s(minus_half, lost), e, e)
}

/// `Φ(−a)` for a ≥ 0, the part of a normal distribution beyond a, and `exp(−a²/2)`.
#[inline(always)]
fn tail<S: Simd>(simd: S, a: S::f32s) -> (S::f32s, S::f32s) {
    let one = simd.splat_f32s(1.0);
    let a = simd.min_f32s(simd.splat_f32s(15.0), a);
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(a, simd.splat_f32s(SLOPE), one));
    let mut series = simd.splat_f32s(SERIES[0]);
    for c in &SERIES[1..] {
        series = simd.mul_add_e_f32s(series, t, simd.splat_f32s(*c));
    }
    let e = bell(simd, a);
    (simd.mul_f32s(simd.mul_f32s(t, series), e), e)
}

/// `Φ(x)` of `Φ(−|x|)`.
#[inline(always)]
fn part<S: Simd>(simd: S, x: S::f32s, tail: S::f32s) -> S::f32s {
    let below = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    simd.select_f32s(below, tail, simd.sub_f32s(simd.splat_f32s(1.0), tail))
}

/// `x · Φ(x)`.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (tail, _) = tail(simd, simd.abs_f32s(x));
    keep_nan(simd, x, simd.mul_f32s(above_nothing(simd, x), part(simd, x, tail)))
}

/// `(x · Φ(x))'`, which is `Φ(x) + x · exp(−x²/2) / √(2π)`.
#[inline(always)]
pub(super) fn gelu_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (tail, e) = tail(simd, simd.abs_f32s(x));
    let x = clamp(simd, x, -15.0, 15.0);
    simd.mul_add_e_f32s(simd.mul_f32s(x, simd.splat_f32s(0.398_942_3)), e, part(simd, x, tail))
}
