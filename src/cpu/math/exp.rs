//! exp, and the functions that need only exp: sigmoid, tanh, `exp(x) − 1`, `x · sigmoid(u)`, mish.
//!
//! An argument is cut where the result stops changing, before its exponential is taken. So
//! neither infinity nor any finite number overflows on the way. Knows no activation by name.

use pulp::Simd;

use super::{clamp, keep_nan};

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts (Cody and Waite). The first one, times a whole number up to 2¹⁵, is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Adding 1.5 · 2²³ rounds a number to a whole one, and 127 is the bias of an f32's exponent.
const ROUND: f32 = 12_582_912.0 + 127.0;
/// Minimax coefficients of `(exp(r) − 1 − r) / r²` for |r| ≤ ln 2 / 2 (Cephes' `expf`), highest power first.
const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// Below this, any number times `exp(x)` is 0 or the least number.
const NOTHING: f32 = -110.0;

/// `(n + ROUND, p)` with `exp(x) = 2ⁿ · (1 + p)`, n whole.
#[inline(always)]
fn reduce<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let rounded = simd.mul_add_e_f32s(x, simd.splat_f32s(LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(rounded, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut series = simd.splat_f32s(SERIES[0]);
    for c in &SERIES[1..] {
        series = simd.mul_add_e_f32s(series, r, simd.splat_f32s(*c));
    }
    (rounded, simd.mul_add_e_f32s(simd.mul_f32s(r, r), series, r))
}

/// `2ⁿ` of `n + ROUND`, for −127 < n < 128; 0 for n = −127.
#[inline(always)]
fn power<S: Simd>(simd: S, rounded: S::f32s) -> S::f32s {
    let bits = simd.transmute_u32s_f32s(rounded);
    simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23)))
}

/// `(s, p)` with `exp(x) = s + s·p`, s a power of two, for −87.3 ≤ x ≤ 88.
#[inline(always)]
fn parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let (rounded, p) = reduce(simd, x);
    (power(simd, rounded), p)
}

/// `exp(x)` for x ≤ 0, as a softmax needs it, or 0 below −87.3.
#[inline(always)]
pub(in crate::cpu) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let low = simd.splat_f32s(-87.3);
    let (s, p) = parts(simd, clamp(simd, x, -87.3, 0.0));
    let y = simd.mul_add_e_f32s(s, p, s);
    keep_nan(simd, x, simd.select_f32s(simd.less_than_f32s(x, low), simd.splat_f32s(0.0), y))
}

/// `1 / (1 + exp(−x))`.
#[inline(always)]
pub(in crate::cpu) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (s, p) = parts(simd, clamp(simd, simd.neg_f32s(x), -87.3, 88.0));
    keep_nan(simd, x, simd.div_f32s(one, simd.mul_add_e_f32s(s, p, simd.add_f32s(one, s))))
}

/// `tanh(x)`, as `(exp(2x) − 1) / (exp(2x) + 1)` with a numerator that does not cancel near 0.
#[inline(always)]
pub(in crate::cpu) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (s, p) = parts(simd, clamp(simd, simd.add_f32s(x, x), -20.0, 20.0));
    let numerator = simd.mul_add_e_f32s(s, p, simd.sub_f32s(s, simd.splat_f32s(1.0)));
    keep_nan(simd, x, simd.div_f32s(numerator, simd.add_f32s(numerator, simd.splat_f32s(2.0))))
}

/// `exp(x)` for any x: down to the least numbers, and infinite past the largest f32.
#[inline(always)]
pub(super) fn exponential<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (rounded, p) = reduce(simd, clamp(simd, x, -104.0, 89.0));
    // 2ⁿ in two factors, each an f32 of full precision.
    let round = simd.splat_f32s(ROUND);
    let n = simd.sub_f32s(rounded, round);
    let half = simd.mul_add_e_f32s(n, simd.splat_f32s(0.5), round);
    let rest = simd.add_f32s(simd.sub_f32s(n, simd.sub_f32s(half, round)), round);
    let s = power(simd, half);
    keep_nan(simd, x, simd.mul_f32s(simd.mul_add_e_f32s(s, p, s), power(simd, rest)))
}

/// `1 / (1 + exp(−x))` down to the least numbers, which [`sigmoid`] does not reach.
#[inline(always)]
pub(super) fn logistic<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let e = exponential(simd, simd.neg_f32s(simd.abs_f32s(x)));
    simd.div_f32s(simd.select_f32s(simd.less_than_f32s(x, zero), e, one), simd.add_f32s(one, e))
}

/// The derivative of [`logistic`]: `e / (1 + e)²` with `e = exp(−|x|)`.
#[inline(always)]
pub(super) fn logistic_slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let e = exponential(simd, simd.neg_f32s(simd.abs_f32s(x)));
    let below = simd.add_f32s(simd.splat_f32s(1.0), e);
    simd.div_f32s(e, simd.mul_f32s(below, below))
}

/// The derivative of tanh, which is four times that of [`logistic`] at twice x.
#[inline(always)]
pub(in crate::cpu) fn sech_squared<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.mul_f32s(simd.splat_f32s(4.0), logistic_slope(simd, simd.add_f32s(x, x)))
}

/// `exp(x) − 1`, which does not cancel near 0.
#[inline(always)]
pub(super) fn exp_m1<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (rounded, p) = reduce(simd, clamp(simd, x, -30.0, 88.8));
    // Half of it, which never overflows.
    let s = power(simd, simd.sub_f32s(rounded, simd.splat_f32s(1.0)));
    let y = simd.mul_add_e_f32s(s, p, simd.sub_f32s(s, simd.splat_f32s(0.5)));
    keep_nan(simd, x, simd.add_f32s(y, y))
}

/// `x · sigmoid(u)`, where u falls with x.
#[inline(always)]
pub(super) fn gated<S: Simd>(simd: S, x: S::f32s, u: S::f32s) -> S::f32s {
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let e = exponential(simd, simd.neg_f32s(simd.abs_f32s(u)));
    let gate = simd.div_f32s(simd.select_f32s(simd.less_than_f32s(u, zero), e, one), simd.add_f32s(one, e));
    keep_nan(simd, x, simd.mul_f32s(above_nothing(simd, x), gate))
}

/// `x · tanh(ln(1 + exp(x)))`, without a logarithm: with `n = e (e + 2)`, e = exp(x), it is `x · n / (n + 2)`.
#[inline(always)]
pub(super) fn mish<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let two = simd.splat_f32s(2.0);
    let e = exponential(simd, clamp(simd, x, NOTHING, 20.0));
    let n = simd.mul_f32s(e, simd.add_f32s(e, two));
    let gate = simd.div_f32s(n, simd.add_f32s(n, two));
    keep_nan(simd, x, simd.mul_f32s(above_nothing(simd, x), gate))
}

/// `x`, cut where its product with `exp(x)` vanishes, so that −∞ times 0 is 0.
#[inline(always)]
pub(super) fn above_nothing<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    simd.max_f32s(simd.splat_f32s(NOTHING), x)
}
