//! What is known of a tensor of the graph: its axes, its mask, and which features of which value of the model it is.
//!
//! Plain data. Parts of one value that are put side by side again are that value. So the
//! states of two directions, which Keras gives separately, begin a layer without a copy.

use std::rc::Rc;

use super::config::wrong;
use super::masks::{Makers, Mask};
use crate::error::Error;
use crate::model::{Pin, Value as Edge};

/// The axes of a tensor, without the batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Flow {
    /// An input of the model before any layer has taken it.
    Input,
    /// A sequence, with `time` if the model fixes it. If `bare`, its only feature has no axis.
    Steps { time: Option<usize>, features: Option<usize>, bare: bool },
    /// No time axis.
    Rows(usize),
    /// One step, whose value has no time axis in the model.
    OneStep(usize),
    /// A mask that Keras computes.
    Mask,
    /// Scores of the steps of a sequence, or what they become. No value of the model has them.
    Scores(Scores),
}

/// Scores of steps, from which an attention computes its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scores {
    /// The products of a query and each step of a key. If `soft`, their softmax over these steps.
    Products { query: Edge, key: Edge, features: usize, steps: Query, soft: bool },
    /// The softmax over the steps of a sequence of one feature, which has an axis or has none.
    Given { scores: Edge, axis: bool },
    /// The product of such a softmax and a sequence.
    Weighted { scores: Edge, value: Edge, features: usize },
}

/// The steps of a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Query {
    /// It has no time axis.
    Row,
    OneStep,
    /// A sequence, with its length if the model fixes it.
    Steps(Option<usize>),
}

impl Scores {
    /// Whether they are the weights of steps.
    pub(super) fn is_soft(&self) -> bool {
        matches!(self, Self::Products { soft: true, .. } | Self::Given { .. })
    }

    /// Whether an axis of one feature is behind that of the steps.
    pub(super) fn has_axis(&self) -> bool {
        matches!(self, Self::Given { axis: true, .. })
    }
}

/// The source of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A value of the model.
    Whole(Edge),
    /// Some features of a value.
    Part { of: Edge, first: usize, count: usize, all: usize },
}

/// What is known of a tensor.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) flow: Flow,
    pub(super) source: Source,
    /// Keras' mask, which goes with the tensor.
    pub(super) mask: Mask,
    /// The origins of the value's mask in the model.
    pub(super) held: Makers,
    /// A layer after which the numbers of masked steps differ from Keras'.
    pub(super) unlike: Option<Rc<str>>,
    /// The layer that gives it, for messages.
    pub(super) from: Rc<str>,
}

/// Returns the error if masked steps become visible after `layer`.
pub(super) fn unlike(layer: &str) -> Error {
    wrong(format!(
        "expected a recurrent layer under the mask between it and {layer}, got none: in the masked steps Keras gives 0 behind \
         Multiply, and the first input behind Maximum; leave mask_zero or Masking out, or join with Add or Concatenate"
    ))
}

impl Known {
    pub(super) fn input(index: usize) -> Self {
        Self {
            flow: Flow::Input,
            source: Source::Whole(Edge::Input(index)),
            mask: Mask::None,
            held: Makers::new(),
            unlike: None,
            from: "the input".into(),
        }
    }

    /// Creates features without a time axis.
    pub(super) fn rows(source: Source, features: usize, from: &Rc<str>) -> Self {
        Self { flow: Flow::Rows(features), source, ..Self::steps(Mask::None, from) }
    }

    /// Creates a mask.
    pub(super) fn steps(mask: Mask, from: &Rc<str>) -> Self {
        let source = Source::Whole(Edge::Input(0));
        Self { flow: Flow::Mask, source, mask, held: Makers::new(), unlike: None, from: from.clone() }
    }

    /// Returns its mask as a piece of a longer one.
    pub(super) fn piece(&self) -> (&Mask, &Rc<str>) {
        (&self.mask, &self.from)
    }

    /// Returns the input of the model that it is, if it is one.
    pub(super) fn is_input(&self) -> Option<usize> {
        match self.source {
            Source::Whole(Edge::Input(index)) if !matches!(self.flow, Flow::Mask | Flow::Scores(_)) => Some(index),
            _ => None,
        }
    }

    /// Returns the number of its features, if it is known.
    pub(super) fn features(&self) -> Option<usize> {
        match self.flow {
            Flow::Rows(features) | Flow::OneStep(features) => Some(features),
            Flow::Steps { features, .. } => features,
            Flow::Input | Flow::Mask | Flow::Scores(_) => None,
        }
    }

    /// Returns its axes for messages.
    pub(super) fn shape(&self) -> String {
        let any = |n: Option<usize>| n.map_or("any".into(), |n| n.to_string());
        match &self.flow {
            Flow::Input => "an input".into(),
            Flow::Steps { time, bare: true, .. } => format!("[B, {}]", any(*time)),
            Flow::Steps { time, features, bare: false } => format!("[B, {}, {}]", any(*time), any(*features)),
            Flow::Rows(features) => format!("[B, {features}]"),
            Flow::OneStep(features) => format!("[B, 1, {features}]"),
            Flow::Mask => "a mask".into(),
            Flow::Scores(Scores::Weighted { .. }) => "a sequence times the weights of its steps".into(),
            Flow::Scores(scores) if scores.is_soft() => "the weights of steps".into(),
            Flow::Scores(_) => "scores of steps".into(),
        }
    }
}

impl Source {
    /// Creates features `first .. first + count` of a value with `all` features.
    pub(super) fn part(of: Edge, first: usize, count: usize, all: usize) -> Self {
        if count == all { Self::Whole(of) } else { Self::Part { of, first, count, all } }
    }

    /// Joins `parts`, each with its number of features, into one source, if they are contiguous.
    pub(super) fn merged(parts: &[(Self, usize)]) -> Option<Self> {
        let span = |(source, features): &(Self, usize)| match *source {
            Self::Whole(of) => (of, 0, *features, *features),
            Self::Part { of, first, count, all } => (of, first, count, all),
        };
        let (of, first, mut end, all) =
            parts.first().map(span).map(|(of, first, n, all)| (of, first, first + n, all))?;
        for part in &parts[1..] {
            let (other, next, count, _) = span(part);
            if other != of || next != end {
                return None;
            }
            end += count;
        }
        Some(Self::part(of, first, end - first, all))
    }

    /// Returns the stack whose final state it is, hidden or cell, if it is all of one.
    pub(super) fn is_state(self) -> Option<(usize, Pin)> {
        match self {
            Self::Whole(Edge::Layer(layer, Pin::FinalHidden)) => Some((layer, Pin::Hidden)),
            Self::Whole(Edge::Layer(layer, Pin::FinalCell)) => Some((layer, Pin::Cell)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_side_by_side_are_one() {
        let value = Edge::Layer(3, Pin::FinalHidden);
        let part = |first, count| (Source::part(value, first, count, 9), count);
        assert_eq!(Source::merged(&[part(0, 4), part(4, 5)]), Some(Source::Whole(value)));
        assert_eq!(Source::merged(&[part(2, 2), part(4, 1)]), Some(part(2, 3).0));
        assert_eq!(Source::merged(&[part(4, 5), part(0, 4)]), None);
        let other = (Source::Whole(Edge::Layer(2, Pin::Output)), 4);
        assert_eq!(Source::merged(&[other, part(4, 5)]), None);
    }
}
