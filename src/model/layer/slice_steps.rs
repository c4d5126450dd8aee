//! The layer `slice_steps`: some of a sequence's steps.

use std::fmt;

use super::Kind;
use crate::error::Result;
use crate::model::flow::{Flow, positive, unfit};

/// Steps `start .. end` of a sequence, counted as in Python's slices: negative numbers count from the end. Of these,
/// it gives the first, and then every `step`-th.
///
/// The slice counts all steps of the time axis, masked or not. It must leave at least one. A step that it gives is live
/// where the one that it takes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SliceSteps {
    /// The first step that goes on.
    pub start: i64,
    /// The end of the slice, exclusive; `None` is the end of the sequence.
    pub end: Option<i64>,
    /// Steps from one that goes on to the next; 1 if all of them do.
    pub step: usize,
    /// Whether every step that it gives is live, and has the numbers that it has. A slice of Keras gives no mask.
    pub all_steps: bool,
}

impl Default for SliceSteps {
    /// Returns all steps.
    fn default() -> Self {
        Self::from(0)
    }
}

impl SliceSteps {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 4] = ["start", "end", "step", "all_steps"];

    /// Creates a slice of the steps from `start` on.
    pub fn from(start: i64) -> Self {
        Self { start, end: None, step: 1, all_steps: false }
    }

    /// Sets the end of the slice, exclusive.
    #[must_use]
    pub fn to(self, end: i64) -> Self {
        Self { end: Some(end), ..self }
    }

    /// Sets that only every `step`-th goes on.
    #[must_use]
    pub fn every(self, step: usize) -> Self {
        Self { step, ..self }
    }

    /// Sets that every step that it gives is live.
    #[must_use]
    pub fn all_steps(self) -> Self {
        Self { all_steps: true, ..self }
    }

    /// Returns the first step of `time` that goes on, and how many do.
    pub(crate) fn range(self, time: usize) -> (usize, usize) {
        let at = |bound: i64| {
            let behind = usize::try_from(bound.unsigned_abs()).unwrap_or(usize::MAX);
            if bound < 0 { time.saturating_sub(behind) } else { behind.min(time) }
        };
        let start = at(self.start);
        (start, self.end.map_or(time, at).saturating_sub(start).div_ceil(self.step.max(1)))
    }
}

impl Kind for SliceSteps {
    fn name(&self) -> &'static str {
        "slice_steps"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("step", self.step)?;
        match input {
            Flow::Steps(features) => Ok(Flow::Steps(features)),
            Flow::Tokens(_) | Flow::Rows(_) => unfit("a sequence".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.end.map_or_else(String::new, |end| end.to_string());
        write!(f, "slice_steps({}..{end}", self.start)?;
        match self.step {
            1 => f.write_str(")"),
            step => write!(f, " by {step})"),
        }
    }

    fn class(&self) -> &'static str {
        "GetItem"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_python() {
        for (slice, of_seven, of_two) in [
            (SliceSteps::from(0), (0, 7), (0, 2)),
            (SliceSteps::from(1).to(-1), (1, 5), (1, 0)),
            (SliceSteps::from(-3), (4, 3), (0, 2)),
            (SliceSteps::from(2).to(5), (2, 3), (2, 0)),
            (SliceSteps::from(i64::MIN).to(i64::MAX), (0, 7), (0, 2)),
            (SliceSteps::from(0).every(2), (0, 4), (0, 1)),
            (SliceSteps::from(-5).to(-1).every(3), (2, 2), (0, 1)),
            (SliceSteps::from(1).every(usize::MAX), (1, 1), (1, 1)),
        ] {
            assert_eq!((slice.range(7), slice.range(2)), (of_seven, of_two), "{slice:?}");
        }
    }
}
