//! The layer `permute`: a sequence whose steps are the features of another.

use std::fmt;

use super::Kind;
use crate::error::Result;
use crate::model::flow::{Features, Flow, positive, unfit};

/// A sequence with its two axes swapped: `[B, steps, F]` to `[B, F, steps]`. Feature f is its step f.
///
/// A call must have as many steps. All steps that it gives are live. A dead step that it takes goes on with the values
/// that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Permute {
    /// The number of steps that it takes, and of features that it gives.
    pub steps: usize,
    /// The number of features that it takes, and of steps that it gives.
    pub features: usize,
}

impl Permute {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 2] = ["steps", "features"];

    /// Creates a swap of the axes of `steps` steps of `features` features.
    pub fn new(steps: usize, features: usize) -> Self {
        Self { steps, features }
    }
}

impl Kind for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("steps", self.steps)?;
        positive("features", self.features)?;
        match input {
            Flow::Steps(features) if features.len() == self.features => Ok(Flow::Steps(Features::one(self.steps))),
            _ => unfit(format!("a sequence of {} features", self.features), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permute({}×{})", self.steps, self.features)
    }

    fn class(&self) -> &'static str {
        "Permute"
    }
}
