//! The layers of a model, each with the sizes it has in PyTorch: plain data, built by a chain of calls.
//!
//! A file is a layer: its struct and builder, and as a [`Kind`] what it takes and gives, its parameters and its words. This
//! file lists them. Knows cells and activations; holds no weights.

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
pub use dropout::{Dropout, Drops};
pub use embedding::Embedding;
pub use join::Join;
pub use linear::Linear;
pub use masking::Masking;
pub use one_hot::OneHot;
pub use param::Role;
pub(crate) use param::{BIAS, Init, Law, Param, WEIGHT};
pub use recurrent::{Bias, Direction, Gru, Initial, Lstm, Memory, Merge, Padding, Recurrent, Rnn};
pub(crate) use recurrent::{INITIAL_CELL, INITIAL_HIDDEN, Part, Way, cell_tensor};
pub use select::Select;
pub use slice::Slice;
pub use slice_steps::SliceSteps;

use param::count;

/// A layer and the prefix of its tensors' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What the layer does.
    pub kind: LayerKind,
    /// The prefix of its tensors: with `lstm.`, the first is `lstm.weight_ih_l0`.
    pub weights: String,
    /// What other layers and the outputs call it, where they name it.
    pub name: Option<String>,
    /// The values that it takes: one, or those that a join takes.
    pub from: Vec<Value>,
    /// The values that begin a stack: its hidden states, and an LSTM's cell states.
    pub initial: [Option<Value>; 2],
}

/// What the file of a layer says.
trait Kind {
    /// The name of the layer, as descriptions write it.
    fn name(&self) -> &'static str;

    /// What the layer takes as the first of a model; none, where it cannot be the first.
    fn takes(&self) -> Option<Flow>;

    /// What the layer gives for `input`.
    fn flow(&self, input: Flow) -> Result<Flow>;

    /// What the layer gives for all that it takes: one value, where it is no join.
    fn flow_of_many(&self, inputs: &[Flow]) -> Result<Flow> {
        match inputs {
            [input] => self.flow(*input),
            _ => Err(Error::new(ErrorKind::Model, format!("from: expected one value, got {}", inputs.len()))),
        }
    }

    /// Its table of parameters: cell by cell, then what the layer has besides.
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

    /// Its type in a summary, and what tells it from its siblings: `LSTM, 2 layers, bidirectional`.
    fn summary(&self) -> String;
}

/// The enum of all layers, their names in descriptions, its way to each one's [`Kind`], and what makes it of each.
macro_rules! layer_kinds {
    ($($(#[$doc:meta])* $layer:ident: $($name:literal)*,)*) => {
        /// What a layer does.
        #[derive(Clone, Debug, PartialEq)]
        pub enum LayerKind {
            $($(#[$doc])* $layer($layer),)*
        }

        impl LayerKind {
            /// The names of all layers, as descriptions write them. A recurrent stack goes by that of its cell.
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
    /// Where there is no step, told by the input itself.
    Masking: "masking",
    /// A stack of recurrent layers.
    Recurrent: "rnn" "lstm" "gru",
    /// Part of a sequence.
    Select: "select",
    /// A dense product over the features.
    Linear: "linear",
    /// A nonlinearity.
    Activation: "activation",
    /// What training drops at random. The identity at inference.
    Dropout: "dropout",
    /// Two values or more as one.
    Join: "concat" "add" "subtract" "multiply" "average" "maximum" "concat_steps",
    /// Some of the features.
    Slice: "slice",
    /// Some of the steps.
    SliceSteps: "slice_steps",
}

impl LayerKind {
    /// The name of the layer, as descriptions write it.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The number of trainable parameters.
    pub fn parameters(&self) -> usize {
        self.kind().parameters()
    }

    /// The table of its parameters, in the order in which weights hold them.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Param> {
        self.kind().tensors()
    }

    /// What the layer takes as the first of a model; none, where it cannot be the first.
    pub(super) fn takes(&self) -> Option<Flow> {
        self.kind().takes()
    }

    /// What the layer gives for `inputs`.
    pub(super) fn flow(&self, inputs: &[Flow]) -> Result<Flow> {
        self.kind().flow_of_many(inputs)
    }

    /// Whether the layer gives what it takes, as far as numbers go.
    pub(crate) fn passes_on(&self) -> bool {
        matches!(self, Self::Select(Select::AllSteps) | Self::Dropout(_))
    }

    /// The steps that the layer takes of each of its values, which have so many as `times` say, and none of a row: the first
    /// one and how many. None of a layer that keeps the time axis of what it takes.
    pub(crate) fn pieces(&self, times: &[Option<usize>]) -> Option<Vec<(usize, usize)>> {
        match self {
            Self::SliceSteps(slice) => Some(times.iter().map(|time| slice.range(time.unwrap_or(1))).collect()),
            // A row is a step.
            Self::Join(Join::ConcatSteps) => Some(times.iter().map(|time| (0, time.unwrap_or(1))).collect()),
            _ => None,
        }
    }

    /// Its type in a summary, and what tells it from its siblings: `LSTM, 2 layers, bidirectional`.
    pub(crate) fn summary(&self) -> String {
        self.kind().summary()
    }
}

impl fmt::Display for LayerKind {
    /// The layer in a few words: `lstm(64→256)×2`, `linear(256→65) softmax`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind().short(f)
    }
}

/// The word of `table` that means `meaning`.
fn word<T: PartialEq>(table: &[(&'static str, T)], meaning: &T) -> &'static str {
    let (word, _) = table.iter().find(|(_, m)| m == meaning).expect("the table holds every variant");
    word
}
