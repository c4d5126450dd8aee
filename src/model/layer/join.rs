//! The layers that join values: concatenations, and sums, products and maxima of equal features.

use std::fmt;

use super::{Kind, word};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, unfit};

/// How two or more values become one. A value without a time axis is combined with every step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Join {
    /// Concatenates their features.
    Concat,
    /// Adds them.
    Add,
    /// Subtracts the second from the first; there must be two.
    Subtract,
    /// Multiplies them, element by element.
    Multiply,
    /// Averages them.
    Average,
    /// Takes the largest of each element.
    Maximum,
    /// Concatenates their steps. A row is one step.
    ConcatSteps,
}

impl Join {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 7] = [
        ("concat", Self::Concat),
        ("add", Self::Add),
        ("subtract", Self::Subtract),
        ("multiply", Self::Multiply),
        ("average", Self::Average),
        ("maximum", Self::Maximum),
        ("concat_steps", Self::ConcatSteps),
    ];
}

impl Kind for Join {
    fn name(&self) -> &'static str {
        word(&Self::WORDS, self)
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        self.flow_of_many(&[input])
    }

    fn flow_of_many(&self, inputs: &[Flow]) -> Result<Flow> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        if inputs.len() < 2 || *self == Self::Subtract && inputs.len() > 2 {
            let wanted = if *self == Self::Subtract { "two values" } else { "two values or more" };
            return wrong(format!("from: expected {wanted}, got {}", inputs.len()));
        }
        if let Some(&tokens) = inputs.iter().find(|flow| flow.tokens().is_some()) {
            return unfit("features".into(), tokens);
        }
        let first = inputs[0].features();
        let features = if *self == Self::Concat {
            let equal = inputs.iter().all(|flow| flow.features().parts == 1 && flow.features().size == first.size);
            let all = inputs.iter().fold(0, |all: usize, flow| all.saturating_add(flow.features().len()));
            if equal { Features { parts: inputs.len(), size: first.size } } else { Features::one(all) }
        } else {
            if let Some(other) = inputs.iter().find(|flow| flow.features().len() != first.len()) {
                return wrong(format!("from: expected values of equal features, got {} and {other}", inputs[0]));
            }
            // Features of equal parts keep their parts.
            if inputs.iter().all(|flow| flow.features() == first) { first } else { Features::one(first.len()) }
        };
        let has_time = *self == Self::ConcatSteps || inputs.iter().any(|flow| matches!(flow, Flow::Steps(_)));
        Ok(if has_time { Flow::Steps(features) } else { Flow::Rows(features) })
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }

    fn class(&self) -> &'static str {
        match self {
            Self::Concat | Self::ConcatSteps => "Concatenate",
            Self::Add => "Add",
            Self::Subtract => "Subtract",
            Self::Multiply => "Multiply",
            Self::Average => "Average",
            Self::Maximum => "Maximum",
        }
    }
}
