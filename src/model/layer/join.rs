//! The layers that join values: concatenation of features, and sums, products and extremes of equal features.

use std::fmt;

use super::{Kind, word};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, unfit};

/// What two or more values become. A value without a time axis meets every step of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Join {
    /// Their features side by side.
    Concat,
    /// Their sum.
    Add,
    /// The first less the second, of exactly two.
    Subtract,
    /// Their product, element by element.
    Multiply,
    /// Their mean.
    Average,
    /// The largest of each element.
    Maximum,
    /// Their steps, one value after the other. A row is one step.
    ConcatSteps,
}

impl Join {
    /// The word of each in a description.
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
            // Features that stand in equal parts stay where they are.
            if inputs.iter().all(|flow| flow.features() == first) { first } else { Features::one(first.len()) }
        };
        let has_time = *self == Self::ConcatSteps || inputs.iter().any(|flow| matches!(flow, Flow::Steps(_)));
        Ok(if has_time { Flow::Steps(features) } else { Flow::Rows(features) })
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }

    fn summary(&self) -> String {
        match self {
            Self::Concat => "Concatenate".into(),
            Self::Add => "Add".into(),
            Self::Subtract => "Subtract".into(),
            Self::Multiply => "Multiply".into(),
            Self::Average => "Average".into(),
            Self::Maximum => "Maximum".into(),
            Self::ConcatSteps => "ConcatSteps".into(),
        }
    }
}
