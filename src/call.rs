//! What a user passes and gets (sequences, lengths, masks, states), and the same checked against a model.
//!
//! `Input` is what the user wrote, in the model's axes. `Call` (in `check`) is what the road carries:
//! time-major and batched views of the input whose sizes fit. `form` has the axes, `states` the initial
//! states. Knows models; knows no plan and no device.

mod check;
mod form;
mod inputs;
mod numbers;
mod states;
mod steps;

mod learned;

use std::collections::BTreeMap;
use std::fmt;

use ndarray::{Array, ArrayD, Dimension, IxDyn};

pub(crate) use check::Call;
pub(crate) use form::{Batching, Form};
pub(crate) use states::{Batched, batched, check as check_states, initial};
pub(crate) use steps::OwnMask;

pub use numbers::{Element, IntoNumbers};

use numbers::Numbers;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Begun;

/// The input of a run: one sequence or a batch of them.
///
/// # Shapes
///
/// Features `[B, T, I]` (`[T, B, I]` if the model is time-major), or `[T, I]` for one sequence without a batch. Tokens
/// `[B, T]` (`[T, B]`) or `[T]`.
///
/// # Arrays
///
/// An input borrows what it gets by reference, and copies none of it:
///
/// | argument | elements | effect |
/// | --- | --- | --- |
/// | `array` ([`ndarray::Array`], `ArcArray`), `vec`, `(vec, [T, I])` | f32 features, i64 tokens, bool masks | moved |
/// | `&array`, `array.view()`, `&vec`, `&slice[..]`, `(&slice[..], [T, I])` | the same | read in place |
/// | the same | f64, i8, u8, i16, u16 for features; other integers for tokens | converted into an array of its own |
///
/// A slice without a shape has one axis: it is one sequence of tokens. An f64 is rounded to the nearest f32, or becomes
/// infinite if it is too large. A token too large for an i64 is refused by the run, as is any token outside the
/// vocabulary. [`into_owned`](Self::into_owned) copies borrowed arrays, for an input that must outlive them.
///
/// # Example
///
/// ```
/// use gatewave::Input;
/// use ndarray::{Array3, array};
///
/// let features = Input::features(Array3::zeros((2, 5, 8))).lengths([5, 3]);
/// let tokens = Input::tokens(array![[17, 4, 0], [3, 0, 0]]).mask(array![[true, true, true], [true, false, false]]);
///
/// let sensor = vec![0.5_f32; 5 * 8];
/// let borrowed = Input::features((&sensor, [5, 8]));
/// let ids = [17_u32, 4, 0];
/// let sentence = Input::tokens(&ids);
/// # drop((features, tokens, borrowed, sentence));
/// ```
#[derive(Clone, Debug)]
pub struct Input<'a> {
    pub(crate) sequence: UserArray<'a>,
    pub(crate) lengths: Option<Vec<i64>>,
    pub(crate) mask: Option<Numbers<'a, bool>>,
    /// By stack, each once.
    pub(crate) states: BTreeMap<usize, States>,
    /// The model's other inputs, by name.
    pub(crate) others: BTreeMap<String, UserArray<'a>>,
    /// Lengths and masks of inputs, by name.
    pub(crate) lengths_of: BTreeMap<String, Vec<i64>>,
    pub(crate) masks_of: BTreeMap<String, Numbers<'a, bool>>,
    /// An array that does not fill its shape: its name (`None` for the main input), and why.
    misfit: Option<(Option<String>, String)>,
}

/// The array of one input of the model.
pub(crate) type UserArray<'a> = Sequence<Numbers<'a, f32>, Numbers<'a, i64>>;

/// Features or tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Sequence<F, T> {
    /// Real numbers.
    Features(F),
    /// Indices.
    Tokens(T),
}

/// The states of one recurrent stack: layer-major, forward before reverse.
///
/// # Shapes
///
/// `h` `[L · D, B, state_size]`, `c` `[L · D, B, H]`; without a batch `[L · D, state_size]`, `[L · D, H]`.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    /// The hidden states. If a value of the model begins them, this is an array without
    /// elements, and only cell states are given.
    pub h: ArrayD<f32>,
    /// The cell states of an LSTM; `None` if a value of the model begins them.
    pub c: Option<ArrayD<f32>>,
}

/// The output of a run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Output {
    /// The output of the last layer: `[B, T, F]` (`[T, B, F]`), or `[B, F]` without a time axis.
    /// Without a batch it is `[T, F]` or `[F]`.
    pub output: ArrayD<f32>,
    /// The final states of each recurrent stack.
    pub states: Vec<States>,
    /// The model's other outputs, in the order of [`Model::outputs`](crate::Model), without final states.
    pub others: Vec<ArrayD<f32>>,
}

impl<'a> Input<'a> {
    /// Makes an input of feature vectors; [Arrays](Self#arrays) lists the accepted types.
    ///
    /// # Shapes
    ///
    /// `[B, T, I]` (`[T, B, I]` if the model is time-major), or `[T, I]`.
    pub fn features(features: impl IntoNumbers<'a, f32>) -> Self {
        Self::new(|input| Sequence::Features(input.kept(None, features)))
    }

    /// Makes an input of tokens, for a model that begins with an embedding or a one-hot layer. [Arrays](Self#arrays)
    /// lists the accepted types.
    ///
    /// # Shapes
    ///
    /// `[B, T]` (`[T, B]` if the model is time-major), or `[T]`.
    pub fn tokens(tokens: impl IntoNumbers<'a, i64>) -> Self {
        Self::new(|input| Sequence::Tokens(input.kept(None, tokens)))
    }

    fn new(sequence: impl FnOnce(&mut Self) -> UserArray<'a>) -> Self {
        let mut input = Self {
            sequence: Sequence::Features(Numbers::none()),
            lengths: None,
            mask: None,
            states: BTreeMap::new(),
            others: BTreeMap::new(),
            lengths_of: BTreeMap::new(),
            masks_of: BTreeMap::new(),
            misfit: None,
        };
        input.sequence = sequence(&mut input);
        input
    }

    /// Converts the array of input `name`, or of the main input. If it does not fill its shape, the run reports that.
    fn kept<A: Clone>(&mut self, name: Option<&str>, given: impl IntoNumbers<'a, A>) -> Numbers<'a, A> {
        given.into_numbers().unwrap_or_else(|why| {
            self.misfit.get_or_insert((name.map(str::to_owned), why));
            Numbers::none()
        })
    }

    /// Checks that all arrays fill their shapes; `main` is the name of the main input.
    fn check_shapes(&self, main: &str) -> Result<()> {
        match &self.misfit {
            None => Ok(()),
            Some((name, why)) => Err(shape(why).at(name.as_deref().unwrap_or(main))),
        }
    }

    /// Copies what is borrowed; what is owned stays. The result may be an `Input<'static>`.
    #[must_use]
    pub fn into_owned<'b>(self) -> Input<'b> {
        let sequence = |given: UserArray<'_>| match given {
            Sequence::Features(x) => Sequence::Features(x.into_owned()),
            Sequence::Tokens(x) => Sequence::Tokens(x.into_owned()),
        };
        Input {
            sequence: sequence(self.sequence),
            lengths: self.lengths,
            mask: self.mask.map(Numbers::into_owned),
            states: self.states,
            others: self.others.into_iter().map(|(name, given)| (name, sequence(given))).collect(),
            lengths_of: self.lengths_of,
            masks_of: self.masks_of.into_iter().map(|(name, mask)| (name, mask.into_owned())).collect(),
            misfit: self.misfit,
        }
    }

    /// Sets the number of steps of each row, in any order and as integers of any type. Later steps are not read. The
    /// lengths apply to every input with steps that has none of its own ([`lengths_of`](Self::lengths_of)); such inputs
    /// have equal T. A model that masks steps by itself ([`Masking`](crate::layer::Masking),
    /// [`Embedding::mask_token`](crate::Embedding::mask_token)) still does so.
    ///
    /// # Shapes
    ///
    /// B numbers from 0 to T.
    #[must_use]
    pub fn lengths(mut self, lengths: impl IntoIterator<Item = impl Element<i64>>) -> Self {
        self.lengths = Some(lengths.into_iter().map(Element::element).collect());
        self
    }

    /// Sets a mask. Where it is `false` the step is dead: the state stays, and the output is what the stack's
    /// [`Padding`](crate::layer::Padding) says. The mask applies to every input with steps that has none of its own
    /// ([`mask_of`](Self::mask_of)); such inputs have equal T.
    ///
    /// # Shapes
    ///
    /// `[B, T]` whatever the order of the model's axes, or `[T]` without a batch.
    #[must_use]
    pub fn mask(mut self, mask: impl IntoNumbers<'a, bool>) -> Self {
        self.mask = Some(self.kept(Some("mask"), mask));
        self
    }

    /// Sets the initial states of the first recurrent stack; by default they are zero.
    ///
    /// To continue a run, pass its [`Output::states`] here.
    #[must_use]
    pub fn states(self, states: States) -> Self {
        self.stack_states(0, states)
    }

    /// Sets the initial states of recurrent stack `stack`, counted from 0 among the model's recurrent layers.
    #[must_use]
    pub fn stack_states(mut self, stack: usize, states: States) -> Self {
        self.states.insert(stack, states);
        self
    }

    /// Sets another input of the model, by its name, to features. It has the steps of the inputs that it meets in a
    /// join, or else its own number of steps.
    ///
    /// # Shapes
    ///
    /// `[B, T, F]` (`[T, B, F]` if the model is time-major), or `[B, F]` for an input without a time
    /// axis. Without a batch `[T, F]` or `[F]`.
    #[must_use]
    pub fn with_features(mut self, name: impl Into<String>, features: impl IntoNumbers<'a, f32>) -> Self {
        let name = name.into();
        let features = self.kept(Some(&name), features);
        self.others.insert(name, Sequence::Features(features));
        self
    }

    /// Sets another input of the model, by its name, to tokens: `[B, T]` (`[T, B]`), or `[T]`.
    #[must_use]
    pub fn with_tokens(mut self, name: impl Into<String>, tokens: impl IntoNumbers<'a, i64>) -> Self {
        let name = name.into();
        let tokens = self.kept(Some(&name), tokens);
        self.others.insert(name, Sequence::Tokens(tokens));
        self
    }

    /// Sets the number of steps of each row for the input `name` and the inputs that share its time axis.
    ///
    /// # Shapes
    ///
    /// B numbers from 0 to the T of that axis.
    #[must_use]
    pub fn lengths_of(mut self, name: impl Into<String>, lengths: impl IntoIterator<Item = impl Element<i64>>) -> Self {
        self.lengths_of.insert(name.into(), lengths.into_iter().map(Element::element).collect());
        self
    }

    /// Sets the mask of the input `name` and of the inputs that share its time axis.
    ///
    /// # Shapes
    ///
    /// `[B, T]` whatever the order of the model's axes, or `[T]` without a batch.
    #[must_use]
    pub fn mask_of(mut self, name: impl Into<String>, mask: impl IntoNumbers<'a, bool>) -> Self {
        let name = name.into();
        let mask = self.kept(Some(&name), mask);
        self.masks_of.insert(name, mask);
        self
    }
}

impl States {
    /// Makes hidden states alone, for an RNN or a GRU.
    pub fn hidden<D: Dimension>(h: Array<f32, D>) -> Self {
        Self { h: h.into_dyn(), c: None }
    }

    /// Makes cell states alone, for an LSTM whose hidden states begin at a value of the model.
    pub fn cell<D: Dimension>(c: Array<f32, D>) -> Self {
        Self { h: ArrayD::zeros(IxDyn(&[0])), c: Some(c.into_dyn()) }
    }

    /// Drops the states that begin at values of the model.
    pub(crate) fn without(self, begun: Begun) -> Self {
        let h = if begun.hidden { ArrayD::zeros(IxDyn(&[0])) } else { self.h };
        Self { h, c: self.c.filter(|_| !begun.cell) }
    }

    /// Makes hidden states and cell states, for an LSTM.
    pub fn with_cell<D: Dimension, E: Dimension>(h: Array<f32, D>, c: Array<f32, E>) -> Self {
        Self { h: h.into_dyn(), c: Some(c.into_dyn()) }
    }
}

impl Output {
    /// Makes the output of a model that has no other outputs.
    pub fn new<D: Dimension>(output: Array<f32, D>, states: Vec<States>) -> Self {
        Self { output: output.into_dyn(), states, others: Vec::new() }
    }
}

fn shape(message: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Shape, message.to_string())
}
