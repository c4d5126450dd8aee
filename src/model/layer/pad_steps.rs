//! The layer `pad_steps`: a sequence with steps of its own before and after it.

use std::fmt;
use std::iter;

use super::{Kind, word};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Flow, unfit};

/// The most steps on a side. Each is a piece of its own.
const MOST: usize = 4096;

/// A sequence with `before` of its steps before it and `after` of them after it: `[B, T, F]` to `[B, T', F]`. These are
/// PyTorch's `nn.functional.pad` over time, and the `padding_mode` of its convolutions.
///
/// All steps that it gives are live. A dead step that it takes goes on with the value that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PadSteps {
    /// Which steps they are.
    pub mode: PadMode,
    /// The steps before the first.
    pub before: usize,
    /// The steps after the last.
    pub after: usize,
}

/// Which steps of a sequence are put before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PadMode {
    /// Those next to the end, in reverse, without the end itself (PyTorch's and ONNX's `reflect`).
    Reflect,
    /// The step at the end, again and again (PyTorch's `replicate`, ONNX's `edge`).
    Replicate,
    /// Those at the other end (PyTorch's `circular`, ONNX's `wrap`).
    Circular,
}

impl PadMode {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("reflect", Self::Reflect), ("replicate", Self::Replicate), ("circular", Self::Circular)];
}

impl PadSteps {
    /// The keys of its description besides `type`, `weights` and those of its edges.
    pub(crate) const KEYS: [&'static str; 3] = ["mode", "before", "after"];

    /// Creates a padding of so many steps before and after a sequence.
    pub fn new(mode: PadMode, before: usize, after: usize) -> Self {
        Self { mode, before, after }
    }

    /// Returns the fewest steps that a sequence must have.
    pub(crate) fn least(self) -> usize {
        let most = self.before.max(self.after);
        match self.mode {
            PadMode::Reflect => most.saturating_add(1),
            PadMode::Replicate => 1,
            PadMode::Circular => most.max(1),
        }
    }

    /// Returns the steps that it gives of `time` steps; 0 if those are too few.
    pub(crate) fn out_steps(self, time: usize) -> usize {
        if time < self.least() { 0 } else { time.saturating_add(self.before).saturating_add(self.after) }
    }

    /// Returns the runs of steps that it gives of `time` steps, one after the other: the first of each and the count.
    /// Returns none if the steps are too few.
    pub(crate) fn runs(self, time: usize) -> Vec<(usize, usize)> {
        if self.out_steps(time) == 0 {
            return Vec::new();
        }
        let whole = iter::once((0, time));
        match self.mode {
            PadMode::Reflect => {
                let before = (1..=self.before).rev().map(|step| (step, 1));
                before.chain(whole).chain((1..=self.after).map(|step| (time - 1 - step, 1))).collect()
            }
            PadMode::Replicate => {
                let ends = |step, count| iter::repeat_n((step, 1), count);
                ends(0, self.before).chain(whole).chain(ends(time - 1, self.after)).collect()
            }
            PadMode::Circular => {
                let all = [(time - self.before, self.before), (0, time), (0, self.after)];
                all.into_iter().filter(|(_, count)| *count > 0).collect()
            }
        }
    }
}

impl Kind for PadSteps {
    fn name(&self) -> &'static str {
        "pad_steps"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        for (key, steps) in [("before", self.before), ("after", self.after)] {
            if steps > MOST {
                return Err(Error::new(ErrorKind::Model, format!("{key}: expected at most {MOST} steps, got {steps}")));
            }
        }
        match input {
            Flow::Steps(features) => Ok(Flow::Steps(features)),
            Flow::Tokens(_) | Flow::Rows(_) => unfit("a sequence".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pad_steps({} {}+{})", word(&PadMode::WORDS, &self.mode), self.before, self.after)
    }

    fn class(&self) -> &'static str {
        "Pad"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_pytorch() {
        let steps = |mode, before, after, time| {
            let runs = PadSteps::new(mode, before, after).runs(time);
            runs.into_iter().flat_map(|(first, count)| first..first + count).collect::<Vec<_>>()
        };
        // torch.nn.functional.pad of 0, 1, 2, 3.
        assert_eq!(steps(PadMode::Reflect, 3, 2, 4), [3, 2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(steps(PadMode::Replicate, 2, 3, 4), [0, 0, 0, 1, 2, 3, 3, 3, 3]);
        assert_eq!(steps(PadMode::Circular, 4, 1, 4), [0, 1, 2, 3, 0, 1, 2, 3, 0]);
        // It refuses these.
        for (mode, before) in [(PadMode::Reflect, 4), (PadMode::Circular, 5)] {
            assert!(steps(mode, before, 0, 4).is_empty(), "{mode:?}");
        }
        assert_eq!(steps(PadMode::Reflect, 0, 0, 1), [0]);
    }
}
