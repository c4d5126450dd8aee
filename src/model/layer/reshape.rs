//! The layer `reshape`: the numbers of a row or a sequence as another sequence.

use std::fmt;

use super::Kind;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, unfit};

/// The numbers of a row, or of a sequence of a fixed length, in another shape: `[B, …]` to `[B, steps, features]`.
///
/// The numbers keep their order, step after step and feature after feature, as in PyTorch's and Keras' reshape. All
/// steps that it gives are live. A dead step that it takes goes on with the values that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reshape {
    /// The number of steps that it gives.
    pub steps: usize,
    /// The number of features that it gives at each step.
    pub features: usize,
}

impl Reshape {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 2] = ["steps", "features"];

    /// Creates a sequence of `steps` steps of `features` features.
    pub fn new(steps: usize, features: usize) -> Self {
        Self { steps, features }
    }
}

impl Kind for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("steps", self.steps)?;
        positive("features", self.features)?;
        let all = product(self.steps, self.features)?;
        let fits = match input {
            Flow::Rows(features) => features.len() == all,
            Flow::Steps(features) => all.is_multiple_of(features.len()),
            Flow::Tokens(_) => return unfit("features".into(), input),
        };
        if fits {
            return Ok(Flow::Steps(Features::one(self.features)));
        }
        let (steps, features) = (self.steps, self.features);
        let text = format!("expected numbers that fill [{steps}, {features}] (steps, features), got {input}");
        Err(Error::new(ErrorKind::Model, text))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reshape({}×{})", self.steps, self.features)
    }

    fn class(&self) -> &'static str {
        "Reshape"
    }
}

/// Returns the numbers of `steps` steps of `features` features, which are as many as a size may be.
pub(super) fn product(steps: usize, features: usize) -> Result<usize> {
    let all = steps.saturating_mul(features);
    positive("steps · features", all).map(|()| all)
}
