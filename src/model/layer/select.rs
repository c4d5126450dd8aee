//! The layer `select`: part of a sequence.

use std::fmt;

use super::Kind;
use crate::error::Result;
use crate::model::flow::{Flow, unfit};

/// Which part of a sequence goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// Every step.
    AllSteps,
    /// The output at the last time index.
    LastStep,
    /// The last layer's final hidden state, forward then reverse: each row's own last step.
    FinalHidden,
    /// The last layer's output that is computed last (Keras' `return_sequences=False`): of the last step forward, of the
    /// first in reverse, merged as its outputs are; of a dead step what the layer's padding gives.
    LastOutput,
}

impl Select {
    /// The keys of its description, beside `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 1] = ["what"];

    /// The word of each in a description.
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
            // A result of a stack, which its edge names.
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

    fn summary(&self) -> String {
        match self {
            Self::AllSteps => "Select, all steps".into(),
            Self::LastStep => "Select, last step".into(),
            Self::FinalHidden => "Select, final hidden state".into(),
            Self::LastOutput => "Select, last output".into(),
        }
    }
}
