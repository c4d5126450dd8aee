//! The layer `global_pool`: what all steps of a row come to, feature by feature.

use std::fmt;

use super::{Kind, word};
use crate::error::Result;
use crate::model::flow::{Flow, unfit};

/// The largest, smallest, mean or sum of each feature over the live steps of a row: `[B, T, F]` to `[B, F]`.
///
/// A row without live steps gives 0. Of steps that are equally large, each gets the same share of a gradient, as in
/// PyTorch's `amax` and TensorFlow's `reduce_max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct GlobalPool {
    /// What the steps come to.
    pub reduce: Reduce,
    /// Whether dead steps count as well, with the values that they have. Keras' `GlobalMaxPooling1D` counts them, and
    /// so does an ONNX graph.
    pub all_steps: bool,
}

/// What several numbers come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reduce {
    /// The largest, or NaN if one is NaN.
    Max,
    /// The mean.
    Mean,
    /// The smallest, or NaN if one is NaN.
    Min,
    /// The sum.
    Sum,
}

impl Reduce {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 4] =
        [("max", Self::Max), ("mean", Self::Mean), ("min", Self::Min), ("sum", Self::Sum)];
}

impl GlobalPool {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 2] = ["reduce", "all_steps"];

    /// Creates a pooling of the live steps.
    pub fn new(reduce: Reduce) -> Self {
        Self { reduce, all_steps: false }
    }

    /// Sets that dead steps count as well.
    #[must_use]
    pub fn all_steps(self) -> Self {
        Self { all_steps: true, ..self }
    }
}

impl Kind for GlobalPool {
    fn name(&self) -> &'static str {
        "global_pool"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        match input {
            Flow::Steps(features) => Ok(Flow::Rows(features)),
            Flow::Tokens(_) | Flow::Rows(_) => unfit("a sequence".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of steps", word(&Reduce::WORDS, &self.reduce))
    }

    fn class(&self) -> &'static str {
        match self.reduce {
            Reduce::Max => "GlobalMaxPooling1D",
            Reduce::Mean => "GlobalAveragePooling1D",
            Reduce::Min => "Min",
            Reduce::Sum => "Sum",
        }
    }
}
