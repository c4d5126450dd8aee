//! What a user passes and gets: sequences, lengths, masks, states; and the same, checked against a model.
//!
//! `Input` is what the user wrote, in the model's axes; `Call` (in `check`) is what the road carries: time-major, batched,
//! every size known to fit, and all of it views of the input. `form` has the axes, `states` what stacks begin with. Knows
//! models; knows no plan and no device.

mod check;
mod form;
mod inputs;
mod states;
mod steps;

mod learned;

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{ArcArray, Array, ArrayD, Dimension, IxDyn};

pub(crate) use check::Call;
pub(crate) use form::{Batching, Form};
pub(crate) use states::{Batched, batched, check as check_states, initial};
pub(crate) use steps::Own;

use crate::error::{Error, ErrorKind};
use crate::model::Begun;

/// The input of a run: one sequence or a batch of them.
///
/// # Shapes
///
/// Features `[B, T, I]` (`[T, B, I]` where the model is time-major) or `[T, I]` for one sequence without a batch;
/// tokens `[B, T]` (`[T, B]`) or `[T]`.
///
/// # Example
///
/// ```
/// use gatewave::Input;
/// use ndarray::{Array3, array};
///
/// let features = Input::features(Array3::zeros((2, 5, 8))).lengths([5, 3]);
/// let tokens = Input::tokens(array![[17_i64, 4, 0], [3, 0, 0]]).mask(array![[true, true, true], [true, false, false]]);
/// # drop((features, tokens));
/// ```
#[derive(Clone, Debug)]
pub struct Input {
    pub(crate) sequence: Sequence<ArcArray<f32, IxDyn>, ArrayD<i64>>,
    pub(crate) lengths: Option<Vec<i64>>,
    pub(crate) mask: Option<ArrayD<bool>>,
    /// By stack, each once.
    pub(crate) states: BTreeMap<usize, States>,
    /// What the model's other inputs are given, by their names.
    pub(crate) others: BTreeMap<String, Sequence<ArcArray<f32, IxDyn>, ArrayD<i64>>>,
    /// Lengths and masks of inputs, by their names.
    pub(crate) lengths_of: BTreeMap<String, Vec<i64>>,
    pub(crate) masks_of: BTreeMap<String, ArrayD<bool>>,
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
    /// The hidden states; an array without elements where a value of the model begins them, and the cell states alone are said.
    pub h: ArrayD<f32>,
    /// The cell states, of an LSTM; none where a value of the model begins them.
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
    /// What the model's other outputs give, in the order of [`Model::outputs`](crate::Model) without final states.
    pub others: Vec<ArrayD<f32>>,
}

impl Input {
    /// Sequences of feature vectors.
    ///
    /// # Shapes
    ///
    /// `[B, T, I]` (`[T, B, I]` where the model is time-major), or `[T, I]`.
    pub fn features<D: Dimension>(features: Array<f32, D>) -> Self {
        Self::new(Sequence::Features(features.into_dyn().into_shared()))
    }

    /// Sequences of tokens, for a model that begins with an embedding or a one-hot layer.
    ///
    /// # Shapes
    ///
    /// `[B, T]` (`[T, B]` where the model is time-major), or `[T]`.
    pub fn tokens<D: Dimension>(tokens: Array<i64, D>) -> Self {
        Self::new(Sequence::Tokens(tokens.into_dyn()))
    }

    fn new(sequence: Sequence<ArcArray<f32, IxDyn>, ArrayD<i64>>) -> Self {
        Self {
            sequence,
            lengths: None,
            mask: None,
            states: BTreeMap::new(),
            others: BTreeMap::new(),
            lengths_of: BTreeMap::new(),
            masks_of: BTreeMap::new(),
        }
    }

    /// The same with the number of steps of each row, in any order; what comes after them is not read. They are those of
    /// every input that has steps and none of its own ([`lengths_of`](Self::lengths_of)); such inputs have equal T. A model that
    /// takes steps out by itself ([`Masking`](crate::Masking), [`Embedding::mask_token`](crate::Embedding::mask_token))
    /// does so as well.
    ///
    /// # Shapes
    ///
    /// B numbers from 0 to T.
    #[must_use]
    pub fn lengths(mut self, lengths: impl IntoIterator<Item = i64>) -> Self {
        self.lengths = Some(lengths.into_iter().collect());
        self
    }

    /// The same with a mask: where it is `false` there is no step, the state stays and the output is what the stack's
    /// [`Padding`](crate::Padding) says. It is that of every input that has steps and none of its own
    /// ([`mask_of`](Self::mask_of)); such inputs have equal T.
    ///
    /// # Shapes
    ///
    /// `[B, T]` whatever the model's axes, or `[T]` without a batch.
    #[must_use]
    pub fn mask<D: Dimension>(mut self, mask: Array<bool, D>) -> Self {
        self.mask = Some(mask.into_dyn());
        self
    }

    /// The same with initial states for the first recurrent stack; without them they are zero.
    ///
    /// [`Output::states`] are what goes in here to carry on where a run ended.
    #[must_use]
    pub fn states(self, states: States) -> Self {
        self.stack_states(0, states)
    }

    /// The same with initial states for recurrent stack `stack`, counted from 0 among the model's recurrent layers.
    #[must_use]
    pub fn stack_states(mut self, stack: usize, states: States) -> Self {
        self.states.insert(stack, states);
        self
    }

    /// Sets another input of the model, by its name, to features. It has the steps of the inputs that it meets in a join, and
    /// else any number of its own: `[B, T, F]` (`[T, B, F]` where the model is
    /// time-major), or `[B, F]` of an input without a time axis; without a batch `[T, F]` or `[F]`.
    #[must_use]
    pub fn with_features<D: Dimension>(mut self, name: impl Into<String>, features: Array<f32, D>) -> Self {
        self.others.insert(name.into(), Sequence::Features(features.into_dyn().into_shared()));
        self
    }

    /// Sets another input of the model, by its name, to tokens: `[B, T]` (`[T, B]`), or `[T]`.
    #[must_use]
    pub fn with_tokens<D: Dimension>(mut self, name: impl Into<String>, tokens: Array<i64, D>) -> Self {
        self.others.insert(name.into(), Sequence::Tokens(tokens.into_dyn()));
        self
    }

    /// Sets the number of steps of each row of the input `name`, and of those that share its time axis.
    ///
    /// # Shapes
    ///
    /// B numbers from 0 to the T of that axis.
    #[must_use]
    pub fn lengths_of(mut self, name: impl Into<String>, lengths: impl IntoIterator<Item = i64>) -> Self {
        self.lengths_of.insert(name.into(), lengths.into_iter().collect());
        self
    }

    /// Sets the mask of the input `name`, and of those that share its time axis.
    ///
    /// # Shapes
    ///
    /// `[B, T]` whatever the model's axes, or `[T]` without a batch.
    #[must_use]
    pub fn mask_of<D: Dimension>(mut self, name: impl Into<String>, mask: Array<bool, D>) -> Self {
        self.masks_of.insert(name.into(), mask.into_dyn());
        self
    }
}

impl States {
    /// Hidden states alone: of an RNN or a GRU.
    pub fn hidden<D: Dimension>(h: Array<f32, D>) -> Self {
        Self { h: h.into_dyn(), c: None }
    }

    /// Cell states alone: of an LSTM whose hidden states begin at a value of the model.
    pub fn cell<D: Dimension>(c: Array<f32, D>) -> Self {
        Self { h: ArrayD::zeros(IxDyn(&[0])), c: Some(c.into_dyn()) }
    }

    /// The same without those that begin at values of the model.
    pub(crate) fn without(self, begun: Begun) -> Self {
        let h = if begun.hidden { ArrayD::zeros(IxDyn(&[0])) } else { self.h };
        Self { h, c: self.c.filter(|_| !begun.cell) }
    }

    /// Hidden states and cell states: of an LSTM.
    pub fn with_cell<D: Dimension, E: Dimension>(h: Array<f32, D>, c: Array<f32, E>) -> Self {
        Self { h: h.into_dyn(), c: Some(c.into_dyn()) }
    }
}

fn shape(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Shape, message.to_string())
}
