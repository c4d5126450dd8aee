//! exp, sigmoid and tanh on SIMD registers, in f32.
//!
//! Each is a few ULP from the true value, without a branch and without a table: no infinity makes a NaN, and a NaN
//! stays one. The errors are measured over the whole range by the tests below. Knows no kernel.

use pulp::Simd;

const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts (Cody and Waite): a whole number up to 2¹⁵ times the first is exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 · 2²³ rounds what is added to it to a whole number; 127 is the bias of an f32's exponent.
const ROUND: f32 = 12_582_912.0 + 127.0;
/// Minimax coefficients of `(exp(r) − 1 − r) / r²` for |r| ≤ ln 2 / 2 (Cephes' `expf`), highest power first.
const SERIES: [f32; 6] = [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];

/// `(s, p)` with `exp(x) = s + s·p`, s a power of two, for −87.3 ≤ x ≤ 88.
#[inline(always)]
fn parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let rounded = simd.mul_add_e_f32s(x, simd.splat_f32s(LOG2_E), simd.splat_f32s(ROUND));
    let n = simd.sub_f32s(rounded, simd.splat_f32s(ROUND));
    let bits = simd.transmute_u32s_f32s(rounded);
    let s = simd.transmute_f32s_u32s(simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23)));
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_HIGH), x);
    let r = simd.mul_add_e_f32s(n, simd.splat_f32s(-LN_2_LOW), r);
    let mut series = simd.splat_f32s(SERIES[0]);
    for c in &SERIES[1..] {
        series = simd.mul_add_e_f32s(series, r, simd.splat_f32s(*c));
    }
    (s, simd.mul_add_e_f32s(simd.mul_f32s(r, r), series, r))
}

#[inline(always)]
fn clamp<S: Simd>(simd: S, x: S::f32s, low: f32, high: f32) -> S::f32s {
    simd.min_f32s(simd.splat_f32s(high), simd.max_f32s(simd.splat_f32s(low), x))
}

/// `y`, but NaN where `x` is: `min` and `max` differ between instruction sets in what they do with one.
#[inline(always)]
fn keep_nan<S: Simd>(simd: S, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.select_f32s(simd.equal_f32s(x, x), y, x)
}

/// `exp(x)` for x ≤ 0, as a softmax needs it; 0 below −87.3.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let low = simd.splat_f32s(-87.3);
    let (s, p) = parts(simd, clamp(simd, x, -87.3, 0.0));
    let y = simd.mul_add_e_f32s(s, p, s);
    keep_nan(simd, x, simd.select_f32s(simd.less_than_f32s(x, low), simd.splat_f32s(0.0), y))
}

/// `1 / (1 + exp(−x))`.
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let (s, p) = parts(simd, clamp(simd, simd.neg_f32s(x), -87.3, 88.0));
    keep_nan(simd, x, simd.div_f32s(one, simd.mul_add_e_f32s(s, p, simd.add_f32s(one, s))))
}

/// `tanh(x)`, as `(exp(2x) − 1) / (exp(2x) + 1)` with a numerator that does not cancel near 0.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (s, p) = parts(simd, clamp(simd, simd.add_f32s(x, x), -20.0, 20.0));
    let numerator = simd.mul_add_e_f32s(s, p, simd.sub_f32s(s, simd.splat_f32s(1.0)));
    keep_nan(simd, x, simd.div_f32s(numerator, simd.add_f32s(numerator, simd.splat_f32s(2.0))))
}

/// `max(0, x)`.
#[inline(always)]
pub(super) fn relu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    simd.select_f32s(simd.less_than_f32s(x, zero), zero, x)
}

#[cfg(test)]
mod tests {
    use pulp::{Arch, Scalar, Simd, WithSimd};

    type Function = fn(f64) -> f64;

    struct Map<'a> {
        which: &'static str,
        x: &'a [f32],
    }

    impl WithSimd for Map<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut y = vec![0.0; self.x.len()];
            let registers = S::as_simd_f32s(self.x).0.iter();
            for (x, y) in registers.zip(S::as_mut_simd_f32s(&mut y).0) {
                *y = match self.which {
                    "exp" => super::exp(simd, *x),
                    "sigmoid" => super::sigmoid(simd, *x),
                    "tanh" => super::tanh(simd, *x),
                    _ => super::relu(simd, *x),
                };
            }
            y
        }
    }

    /// The same on the widest registers there are and on none.
    fn both(which: &'static str, x: &[f32]) -> [Vec<f32>; 2] {
        [Arch::new().dispatch(Map { which, x }), Map { which, x }.with_simd(Scalar)]
    }

    /// Every 257th f32 with the sign of `sign`, but those beyond `end`; a multiple of 16 of them.
    fn sweep(sign: f32, end: f32) -> Vec<f32> {
        let mut x: Vec<f32> = (0..end.to_bits()).step_by(257).map(|bits| f32::from_bits(bits) * sign).collect();
        x.truncate(x.len() / 16 * 16);
        x
    }

    /// The largest error in units of the true value's last place, and where.
    fn worst(x: &[f32], y: &[f32], truth: Function) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for (&x, &y) in x.iter().zip(y) {
            let want = truth(f64::from(x));
            // Below the least normal number a unit is that number's: what a flush to zero loses is no error here.
            let exponent = want.abs().max(f64::from(f32::MIN_POSITIVE)).log2().floor();
            let error = (f64::from(y) - want).abs() / (exponent - 23.0).exp2();
            if error > worst.0 || error.is_nan() {
                worst = (error, x);
            }
        }
        worst
    }

    #[test]
    fn functions_are_within_their_stated_error_everywhere() {
        let cases: [(&str, f32, f32, Function, f64); 5] = [
            ("exp", -1.0, 87.3, f64::exp, 1.5),
            ("sigmoid", 1.0, 1e30, |x| 1.0 / (1.0 + (-x).exp()), 2.5),
            ("sigmoid", -1.0, 87.0, |x| 1.0 / (1.0 + (-x).exp()), 2.5),
            ("tanh", 1.0, 1e30, f64::tanh, 3.5),
            ("tanh", -1.0, 1e30, f64::tanh, 3.5),
        ];
        for (which, sign, end, truth, most) in cases {
            let x = sweep(sign, end);
            assert!(x.len() > 4_000_000, "{which}: only {} values", x.len());
            for y in both(which, &x) {
                let (error, at) = worst(&x, &y, truth);
                assert!(error <= most, "{which}({at:e}): {error:.2} units in the last place, at most {most}");
            }
        }
    }

    #[test]
    fn infinities_saturate_and_nan_stays() {
        let x: Vec<f32> = [f32::NEG_INFINITY, f32::INFINITY, f32::NAN, -1e30].repeat(4);
        let want = [("exp", 0.0, 1.0), ("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0), ("relu", 0.0, f32::INFINITY)];
        for (which, low, high) in want {
            for y in both(which, &x) {
                assert!((y[0] - low).abs() < 1e-37, "{which}(-inf) = {}", y[0]);
                assert!((y[3] - low).abs() < 1e-37, "{which}(-1e30) = {}", y[3]);
                assert_eq!(y[1], high, "{which}(inf)");
                assert!(y[2].is_nan(), "{which}(NaN) = {}", y[2]);
            }
        }
    }
}
