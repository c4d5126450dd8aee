//! The layer `repeat`: a row as a sequence of equal steps.

use std::fmt;

use super::Kind;
use crate::error::Result;
use crate::model::flow::{Flow, positive, unfit};

/// A row `count` times, one step after the other: `[B, F]` to `[B, count, F]`. All of these steps are live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Repeat {
    /// The number of steps.
    pub count: usize,
}

impl Repeat {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 1] = ["count"];

    /// Creates a sequence of `count` equal steps.
    pub fn new(count: usize) -> Self {
        Self { count }
    }
}

impl Kind for Repeat {
    fn name(&self) -> &'static str {
        "repeat"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("count", self.count)?;
        match input {
            Flow::Rows(features) => Ok(Flow::Steps(features)),
            Flow::Tokens(_) | Flow::Steps(_) => unfit("features without a time axis".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "repeat({})", self.count)
    }

    fn class(&self) -> &'static str {
        "RepeatVector"
    }
}
