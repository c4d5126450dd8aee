//! The layer `flatten`: all steps of a sequence side by side.

use std::fmt;

use super::Kind;
use super::reshape::product;
use crate::error::Result;
use crate::model::flow::{Features, Flow, positive, unfit};

/// A sequence of `steps` steps as one row, step after step: `[B, steps, F]` to `[B, steps · F]`.
///
/// A call must have as many steps. A dead step goes on with the values that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Flatten {
    /// T, the number of steps that it takes.
    pub steps: usize,
}

impl Flatten {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 1] = ["steps"];

    /// Creates a row of `steps` steps.
    pub fn new(steps: usize) -> Self {
        Self { steps }
    }
}

impl Kind for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("steps", self.steps)?;
        match input {
            Flow::Steps(features) => Ok(Flow::Rows(Features::one(product(self.steps, features.len())?))),
            Flow::Tokens(_) | Flow::Rows(_) => unfit("a sequence".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "flatten({})", self.steps)
    }

    fn class(&self) -> &'static str {
        "Flatten"
    }
}
