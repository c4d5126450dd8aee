//! What a user passes and gets: sequences, lengths, masks, states; and the same, checked against a model.
//!
//! `Input` is what the user wrote, in the model's axes; `Call` is what the road carries: time-major, batched,
//! every size known to fit. Knows models; knows no plan and no device.

use ndarray::{Array2, Array3, ArrayD};

/// The input of a run: one sequence or a batch of them.
///
/// # Shapes
///
/// Features `[B, T, I]` (`[T, B, I]` where the model is time-major) or `[T, I]` for one sequence without a batch;
/// tokens `[B, T]` (`[T, B]`) or `[T]`.
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) sequence: Sequence<ArrayD<f32>, ArrayD<i64>>,
    pub(crate) lengths: Option<Vec<i64>>,
    pub(crate) mask: Option<ArrayD<bool>>,
    pub(crate) states: Vec<Option<States>>,
}

/// Features or tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Sequence<F, T> {
    /// Real numbers.
    Features(F),
    /// Indices.
    Tokens(T),
}

/// The states of one recurrent stack, layer-major, forward before reverse.
///
/// # Shapes
///
/// `h` `[L · D, B, state_size]`, `c` `[L · D, B, H]`; without a batch `[L · D, state_size]`, `[L · D, H]`.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    /// The hidden states.
    pub h: ArrayD<f32>,
    /// The cell states, of an LSTM.
    pub c: Option<ArrayD<f32>>,
}

/// The output of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What the last layer gives: `[B, T, F]` (`[T, B, F]`), or `[B, F]` where the time axis is gone; without a batch
    /// `[T, F]` or `[F]`.
    pub output: ArrayD<f32>,
    /// The final states of each recurrent stack.
    pub states: Vec<States>,
}

/// A checked call: time-major, batched, of the model's sizes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `[T, B, I]`, or `[T, B]` tokens (0 at dead steps, which may hold anything).
    pub(crate) sequence: Sequence<Array3<f32>, Array2<u32>>,
    /// `[T, B]`: whether row b has a step at t. `None`: all have.
    pub(crate) live: Option<Array2<bool>>,
    /// For each stack, `h` `[L · D, B, state_size]` and `c` `[L · D, B, H]`; zeros where the user gave none.
    pub(crate) states: Vec<(Array3<f32>, Option<Array3<f32>>)>,
}
