//! Dropout: the factor of each element of a value, the same forward and backward.
//!
//! ```text
//! y = x ∘ m / (1 − rate), m = 0 where an element is dropped, else 1
//! ```
//! Srivastava et al., "Dropout", 2014, with the scale in training
//! (PyTorch, Keras). `crate::dropout` decides which elements are dropped.

use ndarray::{Array2, Array3, ArrayView2};

use crate::dropout::{Dropping, scale, threshold};
use crate::model::Recurrent;
use crate::random::threefry;

/// One dropout place of a model.
#[derive(Clone, Copy)]
pub(super) struct DropSite {
    pub(super) dropping: Dropping,
    pub(super) layer: usize,
    pub(super) place: usize,
    pub(super) rate: f32,
    /// Whether all steps drop the same elements.
    pub(super) shared: bool,
}

impl DropSite {
    /// Returns the factor of each element of a value `[T, B, F]`.
    pub(super) fn factors(self, (time, batch, features): (usize, usize, usize)) -> Array3<f64> {
        let key = self.dropping.key(self.layer, self.place);
        let word = |n: usize| u32::try_from(n).expect("a call of the oracle is small");
        Array3::from_shape_fn((time, batch, features), |(t, b, n)| {
            let row = if self.shared { b } else { t * batch + b };
            let [[bits], _] = threefry(key, word(row), [word(n)]);
            if bits < threshold(self.rate) { 0.0 } else { scale(self.rate) }
        })
    }

    /// Returns the factors of a value `[B, F]` that all steps
    /// share, for copy `copy`. Each copy has elements of its own.
    fn copy(self, copy: usize, all: usize, (batch, features): (usize, usize), first: usize) -> Array2<f64> {
        let key = self.dropping.key(self.layer, self.place);
        let word = |n: usize| u32::try_from(n).expect("a call of the oracle is small");
        Array2::from_shape_fn((batch, features), |(b, n)| {
            let [[bits], _] = threefry(key, word(b), [word(copy * all + first + n)]);
            if bits < threshold(self.rate) { 0.0 } else { scale(self.rate) }
        })
    }

    /// Returns `values` after dropout.
    pub(super) fn of(self, values: Array3<f64>) -> Array3<f64> {
        if self.rate > 0.0 { &values * &self.factors(values.dim()) } else { values }
    }
}

/// The dropout of the vectors that a direction of a layer multiplies, by gate: the same at all steps
/// of a call. There are no factors if nothing is dropped, one for all gates, or one for each gate.
///
/// ```text
/// x·W_x of gate g becomes (x ∘ m_g / (1 − rate))·W_x, and h·W_h likewise; h itself stays what it is
/// ```
///
/// Keras draws one mask `[B, I]` of the input and one `[B, H]` of the state for all
/// steps of a call (`layers/rnn/dropout_rnn_cell.py`). If `recurrent_dropout` is not 0,
/// a cell has one of each for every gate (`dropout_mask_count` in `layers/rnn/lstm.py`
/// and `gru.py`). A GRU that resets before the product multiplies `r ∘ (h ∘ m)`.
#[derive(Clone, Default)]
pub(super) struct Dropped {
    x: Vec<Array2<f64>>,
    h: Vec<Array2<f64>>,
}

impl Dropped {
    /// Creates the factors of direction `direction` of layer `layer` of a stack, for a batch of
    /// inputs `[B, I]`. The index in `dropping` is that of the stack among the model's layers.
    pub(super) fn of(
        r: &Recurrent,
        (layer, direction): (usize, usize),
        (batch, inputs): (usize, usize),
        dropping: Option<(Dropping, usize)>,
    ) -> Self {
        let Some((dropping, index)) = dropping else { return Self::default() };
        let gates = r.cell.gates();
        let of = |rate: f32, place: usize, copies: usize, (all, size, first): (usize, usize, usize)| {
            let place = DropSite { dropping, layer: index, place, rate, shared: true };
            let count = if rate > 0.0 { copies } else { 0 };
            (0..count).map(|copy| place.copy(copy, all, (batch, size), first)).collect()
        };
        let recurrent = r.recurrent_dropout.get();
        let copies = if recurrent > 0.0 { gates } else { 1 };
        let (all, size) = (r.directions() * r.state_size(), r.state_size());
        Self {
            x: of(r.input_dropout.get(), r.place_before(layer, direction), copies, (inputs, inputs, 0)),
            h: of(recurrent, r.place_of_states(layer), gates, (all, size, direction * size)),
        }
    }

    /// Returns the input after dropout, for gate `gate`.
    pub(super) fn x(&self, gate: usize, x: ArrayView2<'_, f64>) -> Array2<f64> {
        left(&self.x, gate, x)
    }

    /// Returns the state after dropout, for gate `gate`.
    pub(super) fn h(&self, gate: usize, h: ArrayView2<'_, f64>) -> Array2<f64> {
        left(&self.h, gate, h)
    }
}

/// Multiplies `values`, or in the backward pass their gradients, by the factors of gate `gate`.
fn left(factors: &[Array2<f64>], gate: usize, values: ArrayView2<'_, f64>) -> Array2<f64> {
    match factors {
        [] => values.to_owned(),
        [one] => &values * one,
        each => &values * &each[gate],
    }
}
