//! Dropout: by what each element of a value is multiplied, forward and on the way back alike.
//!
//! ```text
//! y = x ∘ m / (1 − rate), m = 0 where an element is dropped, else 1
//! ```
//! Srivastava et al., "Dropout", 2014, with the scale in training (PyTorch, Keras). `crate::dropout` says what is dropped.

use ndarray::Array3;

use crate::dropout::{Dropping, scale, threshold};
use crate::random::threefry;

/// What one place of a model drops.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) dropping: Dropping,
    pub(super) layer: usize,
    pub(super) place: usize,
    pub(super) rate: f32,
    /// Whether all steps share what is dropped.
    pub(super) shared: bool,
}

impl Place {
    /// The factor of each element of a value `[T, B, F]`.
    pub(super) fn factors(self, (time, batch, features): (usize, usize, usize)) -> Array3<f64> {
        let key = self.dropping.key(self.layer, self.place);
        let word = |n: usize| u32::try_from(n).expect("a call of the oracle is small");
        Array3::from_shape_fn((time, batch, features), |(t, b, n)| {
            let row = if self.shared { b } else { t * batch + b };
            let [[bits], _] = threefry(key, word(row), [word(n)]);
            if bits < threshold(self.rate) { 0.0 } else { scale(self.rate) }
        })
    }

    /// `values` with what is dropped left out.
    pub(super) fn of(self, values: Array3<f64>) -> Array3<f64> {
        if self.rate > 0.0 { &values * &self.factors(values.dim()) } else { values }
    }
}
