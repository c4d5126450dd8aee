//! What a link is: a layer, or what will be a part of one.
//!
//! Knows layers; knows no other link.

use crate::cell::Activation;
use crate::model::{Join, LayerKind, Select, Slice, SliceSteps};

/// What a link is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// An input of the graph, as it comes.
    Source(usize),
    Layer(LayerKind),
    /// The final cell state of a stack, as features.
    FinalCell,
    /// Features without a time axis: the only step, where its input comes without one.
    Row,
    /// An input, each feature times its `SCALE`, plus its `SHIFT`: a part of the layer that takes it.
    Scaled,
    /// Last step first: a part of a layer that goes backwards.
    Reversed,
    /// `erf(x)`: a part of a Gelu.
    Erf,
    /// `x · (1 + erf(x / √2))`: twice a Gelu.
    TwiceGelu,
    /// The place of the largest feature: an output alone.
    Largest,
}

/// What a link without weights is.
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
    /// What it is as a link without weights, if it can be that.
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

    /// Whether what it gives has no steps, whatever it takes.
    pub(super) fn ends_steps(&self) -> bool {
        matches!(self, Self::FinalCell | Self::Row)
            || matches!(self, Self::Layer(LayerKind::Select(select)) if *select != Select::AllSteps)
    }

    /// Whether what it gives has a time axis of its own.
    pub(super) fn begins_steps(&self) -> bool {
        matches!(self, Self::Layer(LayerKind::SliceSteps(_) | LayerKind::Join(Join::ConcatSteps)))
    }
}
