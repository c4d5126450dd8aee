//! The functions of gates and states with their derivatives: a
//! cell's own functions, compiled in, or those that a program names.
//!
//! Knows no rule and no buffer.

use pulp::Simd;

use crate::cell::{Activation, Coupling};
use crate::cpu::functions::{Functions, General, Plain, Relu, Tanh};
use crate::cpu::math::{apply, bounded, derivative, relu, sigmoid, tanh};

/// The functions of a cell, each with its value and its derivative
/// at x. A function that a cell does not have is the identity.
pub(in crate::cpu) trait Curves: Functions {
    fn f_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2];

    #[inline(always)]
    fn g_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        [x, simd.splat_f32s(1.0)]
    }

    #[inline(always)]
    fn h_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        [x, simd.splat_f32s(1.0)]
    }

    /// Whether the forget gate is 1 minus the input gate.
    #[inline(always)]
    fn is_coupled(self) -> bool {
        false
    }
}

/// `1 − y²`.
#[inline(always)]
fn tanh_at<S: Simd>(simd: S, x: S::f32s) -> [S::f32s; 2] {
    let y = tanh(simd, x);
    [y, simd.mul_add_e_f32s(simd.neg_f32s(y), y, simd.splat_f32s(1.0))]
}

impl Curves for Tanh {
    #[inline(always)]
    fn f_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        tanh_at(simd, x)
    }
}

impl Curves for Relu {
    #[inline(always)]
    fn f_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        let slope = simd.select_f32s(simd.greater_than_f32s(x, zero), one, zero);
        // A NaN stays one.
        [relu(simd, x), simd.select_f32s(simd.equal_f32s(x, x), slope, x)]
    }
}

impl Curves for Plain {
    #[inline(always)]
    fn f_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        let y = sigmoid(simd, x);
        [y, simd.mul_f32s(y, simd.sub_f32s(simd.splat_f32s(1.0), y))]
    }

    #[inline(always)]
    fn g_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        tanh_at(simd, x)
    }

    #[inline(always)]
    fn h_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        tanh_at(simd, x)
    }
}

/// A gate's function. Its derivative is 0 where the input was clipped.
#[inline(always)]
fn gate_at<S: Simd>(simd: S, general: General, f: Activation, x: S::f32s) -> [S::f32s; 2] {
    let Some(clip) = general.0.clip else { return [apply(simd, f, x), derivative(simd, f, x)] };
    let inside = bounded(simd, x, clip);
    let slope = derivative(simd, f, inside);
    let is_clipped = simd.greater_than_f32s(simd.abs_f32s(x), simd.splat_f32s(clip.get()));
    [apply(simd, f, inside), simd.select_f32s(is_clipped, simd.splat_f32s(0.0), slope)]
}

impl Curves for General {
    #[inline(always)]
    fn f_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        gate_at(simd, self, self.0.functions.f, x)
    }

    #[inline(always)]
    fn g_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        gate_at(simd, self, self.0.functions.g, x)
    }

    #[inline(always)]
    fn h_at<S: Simd>(self, simd: S, x: S::f32s) -> [S::f32s; 2] {
        [apply(simd, self.0.functions.h, x), derivative(simd, self.0.functions.h, x)]
    }

    #[inline(always)]
    fn is_coupled(self) -> bool {
        self.0.coupling == Coupling::InputForget
    }
}
