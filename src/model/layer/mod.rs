//! The layers of a model, with the sizes that they have in PyTorch: plain data, built by chained calls.
//!
//! Each layer has a file with its struct and builder. Its [`Kind`] there says what it takes and gives, its
//! parameters and its words. This file lists all layers. Knows cells and activations; holds no weights.

mod activation;
mod dropout;
mod embedding;
mod join;
mod linear;
mod masking;
mod one_hot;
mod param;
mod recurrent;
mod select;
mod slice;
mod slice_steps;

use std::{fmt, iter};

use super::flow::Flow;
use super::graph::Value;
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};

pub(crate) use activation::ACTIVATION;
pub use dropout::{Dropout, DropoutUnit};
pub use embedding::Embedding;
pub use join::Join;
pub use linear::Linear;
pub use masking::Masking;
pub use one_hot::OneHot;
pub use param::Role;
pub(crate) use param::{BIAS, Init, Law, Param, WEIGHT};
pub use recurrent::{Bias, Direction, Gru, Initial, Lstm, Merge, Padding, Recurrent, Rnn, StateLifetime};
pub(crate) use recurrent::{INITIAL_CELL, INITIAL_HIDDEN, Part, Way, cell_tensor};
pub use select::Select;
pub use slice::Slice;
pub use slice_steps::SliceSteps;

use param::count;

/// A layer and the prefix of its tensors' names.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Layer {
    /// What the layer does.
    pub kind: LayerKind,
    /// The prefix of its tensors' names: with `lstm.`, the first is `lstm.weight_ih_l0`.
    pub prefix: String,
    /// The name by which other layers and the outputs take its results, if it has one.
    pub name: Option<String>,
    /// The values that it takes: one, or several for a join.
    pub from: Vec<Value>,
    /// The values that a stack begins at: for its hidden states, and for an LSTM's cell states.
    pub initial: [Option<Value>; 2],
}

impl Layer {
    /// Creates a layer that has no name and takes nothing yet. The names of its tensors begin with `prefix`.
    pub fn new(kind: impl Into<LayerKind>, prefix: impl Into<String>) -> Self {
        Self { kind: kind.into(), prefix: prefix.into(), name: None, from: Vec::new(), initial: [None; 2] }
    }

    /// Sets the values that it takes.
    #[must_use]
    pub fn taking(mut self, values: impl Into<Vec<Value>>) -> Self {
        self.from = values.into();
        self
    }
}

/// What each kind of layer defines in its file.
trait Kind {
    /// The name of the layer, as descriptions write it.
    fn name(&self) -> &'static str;

    /// What the layer takes as the first of a model; `None` if it cannot be the first.
    fn takes(&self) -> Option<Flow>;

    /// What the layer gives for `input`.
    fn flow(&self, input: Flow) -> Result<Flow>;

    /// What the layer gives for all that it takes: one value, unless it is a join.
    fn flow_of_many(&self, inputs: &[Flow]) -> Result<Flow> {
        match inputs {
            [input] => self.flow(*input),
            _ => Err(Error::new(ErrorKind::Model, format!("from: expected one value, got {}", inputs.len()))),
        }
    }

    /// Its table of parameters: cell by cell, then any others.
    ///
    /// Lazy: a description may claim more layers than memory could list, and the first missing tensor ends the search.
    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        Box::new(iter::empty())
    }

    /// The number of trainable parameters.
    fn parameters(&self) -> usize {
        count(self.tensors())
    }

    /// The layer in a few words: `lstm(64→256)×2`.
    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// The Keras class that computes it.
    fn class(&self) -> &'static str;

    /// Its Keras class, and what no layer of that class has: `LSTM, 2 layers`.
    fn summary(&self) -> String {
        self.class().into()
    }
}

/// Defines the enum of all layers, their names in descriptions,
/// the dispatch to each [`Kind`], and a conversion from each.
macro_rules! layer_kinds {
    ($($(#[$doc:meta])* $layer:ident: $($name:literal)*,)*) => {
        /// What a layer does.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum LayerKind {
            $($(#[$doc])* $layer($layer),)*
        }

        impl LayerKind {
            /// The names of all layers, as descriptions write them. A recurrent stack has the name of its cell.
            pub const NAMES: &[&str] = &[$($($name,)*)*];

            fn kind(&self) -> &dyn Kind {
                match self {
                    $(Self::$layer(layer) => layer,)*
                }
            }
        }

        $(impl From<$layer> for LayerKind {
            fn from(layer: $layer) -> Self {
                Self::$layer(layer)
            }
        })*
    };
}

layer_kinds! {
    /// Tokens to vectors, by a table.
    Embedding: "embedding",
    /// Tokens to unit vectors.
    OneHot: "one_hot",
    /// Masks steps by the input itself.
    Masking: "masking",
    /// A stack of recurrent layers.
    Recurrent: "rnn" "lstm" "gru",
    /// Part of a sequence.
    Select: "select",
    /// A dense product over the features.
    Linear: "linear",
    /// A nonlinearity.
    Activation: "activation",
    /// Drops values at random in training. The identity at inference.
    Dropout: "dropout",
    /// Joins two or more values into one.
    Join: "concat" "add" "subtract" "multiply" "average" "maximum" "concat_steps",
    /// Some of the features.
    Slice: "slice",
    /// Some of the steps.
    SliceSteps: "slice_steps",
}

impl LayerKind {
    /// Returns the name of the layer, as descriptions write it.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// Returns the number of trainable parameters.
    pub fn parameters(&self) -> usize {
        self.kind().parameters()
    }

    /// Returns the table of its parameters, in the order of the weights.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Param> {
        self.kind().tensors()
    }

    /// Returns what the layer takes as the first of a model; `None` if it cannot be the first.
    pub(super) fn takes(&self) -> Option<Flow> {
        self.kind().takes()
    }

    /// Returns what the layer gives for `inputs`.
    pub(super) fn flow(&self, inputs: &[Flow]) -> Result<Flow> {
        self.kind().flow_of_many(inputs)
    }

    /// Whether the layer's output has the same numbers as its input.
    pub(crate) fn passes_on(&self) -> bool {
        matches!(self, Self::Select(Select::AllSteps) | Self::Dropout(_))
    }

    /// Returns the steps that the layer takes of each of its values: the first one, and how many. `times` has the
    /// number of steps of each value; a row has none. Returns `None` if the layer keeps the time axis of its input.
    pub(crate) fn pieces(&self, times: &[Option<usize>]) -> Option<Vec<(usize, usize)>> {
        match self {
            Self::SliceSteps(slice) => Some(times.iter().map(|time| slice.range(time.unwrap_or(1))).collect()),
            // A row counts as one step.
            Self::Join(Join::ConcatSteps) => Some(times.iter().map(|time| (0, time.unwrap_or(1))).collect()),
            _ => None,
        }
    }

    /// Returns the Keras class that computes it.
    pub(crate) fn class(&self) -> &'static str {
        self.kind().class()
    }

    /// Returns its Keras class, and what no layer of that class has: `LSTM, 2 layers`.
    pub(crate) fn summary(&self) -> String {
        self.kind().summary()
    }
}

impl fmt::Display for LayerKind {
    /// Writes the layer in a few words: `lstm(64→256)×2`, `linear(256→65) softmax`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().short(f)
    }
}

/// Returns the word in `table` for `meaning`.
fn word<T: PartialEq>(table: &[(&'static str, T)], meaning: &T) -> &'static str {
    let (word, _) = table.iter().find(|(_, m)| m == meaning).expect("the table holds every variant");
    word
}
