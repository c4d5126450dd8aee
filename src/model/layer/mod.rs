//! The layers of a model, with the sizes that they have in PyTorch: plain data, built by chained calls.
//!
//! Each layer has a file with its struct and builder. Its [`Kind`] there says what it takes and gives, its
//! parameters and its words. This file lists all layers. Knows cells and activations; holds no weights.

mod activation;
mod attention;
mod batch_norm;
mod conv1d;
mod dropout;
mod embedding;
mod flatten;
mod global_pool;
mod join;
mod l2_norm;
mod layer_norm;
mod linear;
mod masking;
mod norm;
mod one_hot;
mod pad_steps;
mod param;
mod permute;
mod prelu;
mod recurrent;
mod repeat;
mod reshape;
mod rms_norm;
mod row;
mod select;
mod slice;
mod slice_steps;
mod window_pool;

use std::{fmt, iter};

use super::flow::Flow;
use super::graph::Value;
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};

pub(crate) use activation::ACTIVATION;
pub use attention::{Attention, Scores};
pub use batch_norm::BatchNorm;
pub use conv1d::{Conv1d, ConvPadding};
pub use dropout::{Dropout, DropoutUnit};
pub use embedding::Embedding;
pub use flatten::Flatten;
pub use global_pool::{GlobalPool, Reduce};
pub use join::Join;
pub use l2_norm::L2Norm;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use masking::Masking;
pub(crate) use norm::{MEAN, Norm, NormOf, VARIANCE};
pub use one_hot::OneHot;
pub use pad_steps::{PadMode, PadSteps};
pub use param::Role;
pub(crate) use param::{BIAS, Init, Law, Param, WEIGHT};
pub use permute::Permute;
pub use prelu::PRelu;
pub use recurrent::{Bias, Direction, Gru, Initial, Lstm, Merge, Padding, Recurrent, Rnn, StateLifetime};
pub(crate) use recurrent::{INITIAL_CELL, INITIAL_HIDDEN, Part, Way, cell_tensor};
pub use repeat::Repeat;
pub use reshape::Reshape;
pub use rms_norm::RmsNorm;
pub use select::Select;
pub use slice::Slice;
pub use slice_steps::SliceSteps;
pub(crate) use window_pool::Windows;
pub use window_pool::{PoolPadding, WindowPool};

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
    /// A convolution over the steps.
    Conv1d: "conv1d",
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
    /// All steps, with some of them before and after.
    PadSteps: "pad_steps",
    /// Each feature by a mean and a variance that are kept.
    BatchNorm: "batch_norm",
    /// The features of a step by their mean and variance.
    LayerNorm: "layer_norm",
    /// The features of a step by the root of their mean square.
    RmsNorm: "rms_norm",
    /// The features of a step as a vector of length 1.
    L2Norm: "l2_norm",
    /// A relu with learned slopes.
    PRelu: "prelu",
    /// What all steps come to.
    GlobalPool: "global_pool",
    /// What the steps of each window come to.
    WindowPool: "window_pool",
    /// A row as equal steps.
    Repeat: "repeat",
    /// All steps side by side.
    Flatten: "flatten",
    /// The same numbers as another sequence.
    Reshape: "reshape",
    /// Steps and features swapped.
    Permute: "permute",
    /// Sums of a sequence's steps, weighted by scores.
    Attention: "attention",
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

    /// Returns the number of means and variances that it keeps, which no training changes.
    pub(crate) fn statistics(&self) -> usize {
        match self {
            Self::BatchNorm(_) => count(self.tensors().filter(|param| param.role == Role::Statistic)),
            _ => 0,
        }
    }

    /// Returns the table of its parameters, in the order of the weights.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = Param> {
        self.kind().tensors()
    }

    /// Returns what the layer takes as the first of a model; `None` if it cannot be the first.
    pub(crate) fn takes(&self) -> Option<Flow> {
        self.kind().takes()
    }

    /// Returns what the layer gives for `inputs`.
    pub(crate) fn flow(&self, inputs: &[Flow]) -> Result<Flow> {
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
            Self::Conv1d(conv) if !conv.keeps_time() => {
                Some(times.iter().map(|time| (0, conv.out_steps(time.unwrap_or(0)))).collect())
            }
            // A row counts as one step.
            Self::Join(Join::ConcatSteps) => Some(times.iter().map(|time| (0, time.unwrap_or(1))).collect()),
            Self::WindowPool(pool) => {
                Some(times.iter().map(|time| (0, pool.windows(time.unwrap_or(1)).count)).collect())
            }
            Self::PadSteps(pad) => Some(times.iter().map(|time| (0, pad.out_steps(time.unwrap_or(0)))).collect()),
            _ => self.own_steps().map(|count| vec![(0, count)]),
        }
    }

    /// Returns the number of steps that the layer gives, if that is its own and does not follow from a call.
    pub(crate) fn own_steps(&self) -> Option<usize> {
        match self {
            Self::Repeat(repeat) => Some(repeat.count),
            Self::Reshape(reshape) => Some(reshape.steps),
            Self::Permute(permute) => Some(permute.features),
            _ => None,
        }
    }

    /// Returns how far apart in what it takes the steps are that the layer gives.
    pub(crate) fn step(&self) -> usize {
        if let Self::SliceSteps(slice) = self { slice.step } else { 1 }
    }

    /// Whether all steps that the layer gives are live, whatever it takes.
    pub(crate) fn gives_live_steps(&self) -> bool {
        match self {
            Self::Conv1d(conv) => conv.all_steps,
            Self::WindowPool(pool) => pool.all_steps,
            Self::SliceSteps(slice) => slice.all_steps,
            Self::PadSteps(_) => true,
            _ => self.own_steps().is_some(),
        }
    }

    /// Returns the number of steps of `taken` that the layer needs, if it needs a fixed number.
    pub(crate) fn needed_steps(&self, taken: Flow) -> Option<usize> {
        match (self, taken) {
            (Self::Flatten(flatten), _) => Some(flatten.steps),
            (Self::Permute(permute), _) => Some(permute.steps),
            (Self::Reshape(reshape), Flow::Steps(features)) => {
                reshape.steps.saturating_mul(reshape.features).checked_div(features.len())
            }
            _ => None,
        }
    }

    /// Whether what the layer gives depends on how many padded steps there are.
    pub(crate) fn counts_padding(&self) -> bool {
        match self {
            Self::GlobalPool(pool) => pool.all_steps,
            Self::Flatten(_) | Self::Reshape(_) | Self::Permute(_) | Self::PadSteps(_) => true,
            Self::Conv1d(_) | Self::WindowPool(_) | Self::SliceSteps(_) if self.gives_live_steps() => true,
            _ => self.depends_on_length(),
        }
    }

    /// Whether the layer takes or makes all steps at once, so that no frame gives its part.
    pub(crate) fn is_of_all_steps(&self) -> bool {
        matches!(self, Self::GlobalPool(_) | Self::Flatten(_)) || self.own_steps().is_some()
    }

    /// Returns what the layer gives that no step by itself tells, in words. No stream and no drawing can have it.
    pub(crate) fn beyond_a_step(&self) -> Option<String> {
        match self {
            Self::WindowPool(pool) => Some(format!("what windows of {} steps come to", pool.size)),
            Self::SliceSteps(_) | Self::Join(Join::ConcatSteps) => Some("steps that are sliced or joined".into()),
            Self::PadSteps(_) => Some("steps around a sequence".into()),
            Self::Conv1d(conv) if conv.as_linear().is_none() => Some("a convolution over several steps".into()),
            Self::Attention(_) => Some("sums over all steps".into()),
            _ => self.is_of_all_steps().then(|| "what is made of all steps at once".into()),
        }
    }

    /// Whether the layer's output has no time axis, whatever it takes.
    pub(crate) fn ends_steps(&self) -> bool {
        match self {
            Self::Select(select) => *select != Select::AllSteps,
            Self::GlobalPool(_) | Self::Flatten(_) => true,
            _ => false,
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
