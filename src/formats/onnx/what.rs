//! The kinds of links: layers, and parts of layers.
//!
//! Knows layers; knows no other link.

use crate::cell::Activation;
use crate::model::{Join, LayerKind, Select, Slice, SliceSteps};

/// The kind of a link.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// An input of the graph, unchanged.
    Source(usize),
    Layer(LayerKind),
    /// The final cell state of a stack, as features.
    FinalCell,
    /// Features without a time axis: the only step, if its input has one step.
    Row,
    /// An input with each feature times its `SCALE`, plus its `SHIFT`. The layer that takes it absorbs it.
    Scaled,
    /// Last step first. A layer that goes backwards absorbs it.
    Reversed,
    /// `erf(x)`: part of a Gelu.
    Erf,
    /// `x · (1 + erf(x / √2))`: twice a Gelu.
    TwiceGelu,
    /// The index of the largest feature. Only an output can be this.
    Largest,
}

/// The kind of a link without weights.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Made {
    Activation(Activation),
    Select(Select),
    Slice(Slice),
    SliceSteps(SliceSteps),
    Join(Join),
    FinalCell,
    Row,
    Reversed,
    Erf,
    TwiceGelu,
    Largest,
}

impl What {
    /// Returns it as a link without weights, if it can be one.
    pub(super) fn made(&self) -> Option<Made> {
        Some(match self {
            Self::Layer(LayerKind::Activation(activation)) => Made::Activation(*activation),
            Self::Layer(LayerKind::Select(select)) => Made::Select(*select),
            Self::Layer(LayerKind::Slice(slice)) => Made::Slice(*slice),
            Self::Layer(LayerKind::SliceSteps(slice)) => Made::SliceSteps(*slice),
            Self::Layer(LayerKind::Join(join)) => Made::Join(*join),
            Self::FinalCell => Made::FinalCell,
            Self::Row => Made::Row,
            Self::Reversed => Made::Reversed,
            Self::Erf => Made::Erf,
            Self::TwiceGelu => Made::TwiceGelu,
            Self::Largest => Made::Largest,
            Self::Source(_) | Self::Layer(_) | Self::Scaled => return None,
        })
    }

    pub(super) fn activation(activation: Activation) -> Self {
        Self::Layer(LayerKind::Activation(activation))
    }

    /// Whether its result never has steps, whatever its input is.
    pub(super) fn ends_steps(&self) -> bool {
        matches!(self, Self::FinalCell | Self::Row)
            || matches!(self, Self::Layer(LayerKind::Select(select)) if *select != Select::AllSteps)
    }

    /// Whether its result has a time axis of its own.
    pub(super) fn begins_steps(&self) -> bool {
        matches!(self, Self::Layer(LayerKind::SliceSteps(_) | LayerKind::Join(Join::ConcatSteps)))
    }
}
