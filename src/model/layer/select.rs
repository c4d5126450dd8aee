//! The layer `select`: part of a sequence.

use std::fmt;

use super::Kind;
use crate::error::Result;
use crate::model::flow::{Flow, unfit};

/// The part of a sequence that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Select {
    /// Every step.
    AllSteps,
    /// The output at the last time index.
    LastStep,
    /// The last layer's final hidden state, forward then reverse: after each row's own last step.
    FinalHidden,
    /// The output that the last layer computes last (Keras' `return_sequences=False`).
    /// That is the last step forward and the first in reverse, merged as the stack's
    /// outputs are. For a dead step it is what the layer's padding gives.
    LastOutput,
}

impl Select {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 1] = ["what"];

    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 4] = [
        ("all_steps", Self::AllSteps),
        ("last_step", Self::LastStep),
        ("final_hidden", Self::FinalHidden),
        ("last_output", Self::LastOutput),
    ];
}

impl Kind for Select {
    fn name(&self) -> &'static str {
        "select"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        match (self, input) {
            (Self::AllSteps, Flow::Steps(f)) => Ok(Flow::Steps(f)),
            (Self::LastStep, Flow::Steps(f)) => Ok(Flow::Rows(f)),
            // The edge already names this result of a stack.
            (Self::FinalHidden | Self::LastOutput, Flow::Rows(f)) => Ok(Flow::Rows(f)),
            (Self::FinalHidden | Self::LastOutput, Flow::Steps(_)) => {
                unfit("a recurrent layer before it".into(), input)
            }
            _ => unfit("a sequence".into(), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(super::word(&Self::WORDS, self))
    }

    fn class(&self) -> &'static str {
        "GetItem"
    }
}
