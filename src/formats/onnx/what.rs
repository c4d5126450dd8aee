//! The kinds of links: layers, and parts of layers.
//!
//! Knows layers; knows no other link.

use crate::cell::{Activation, Constant as Number};
use crate::model::{
    GlobalPool, Join, LayerKind, PadSteps, Repeat, Reshape, Scores, Select, Slice, SliceSteps, WindowPool,
};

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
    /// Last step first: of all steps, or of those that the input of lengths with this index tells. A layer that goes
    /// backwards absorbs it.
    Reversed(Option<usize>),
    /// Steps with this many zeros before and after them. A convolution absorbs them.
    Padded(usize, usize),
    /// `erf(x)`: part of a Gelu.
    Erf,
    /// `x · (1 + erf(x / √2))`: twice a Gelu.
    TwiceGelu,
    /// The index of the largest feature. Only an output can be this.
    Largest,
    /// A part of what normalises the features of its parent.
    Statistic(Statistic),
    /// The whole numbers that stand for its parent. `None`: of a scale that each call finds.
    Quantized(Option<Grid>),
}

/// What real numbers are rounded to: `x / scale + zero`, from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Grid {
    pub(super) scale: Number,
    pub(super) zero: i32,
    pub(super) low: i32,
    pub(super) high: i32,
}

/// A part of what normalises x, the features of a step: one number, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Statistic {
    /// `mean(x)`.
    Mean,
    /// `x − mean(x)`, of each feature.
    Centred,
    /// `(x − mean(x))²`, of each feature.
    CentredSquares,
    /// The mean of the squares, or their sum, plus ε: of x, or of `x − mean(x)`.
    Squares { centred: bool, summed: bool, eps: Number },
    /// `max(Σx², ·)`.
    AtLeast(Number),
    /// What x is divided by.
    Divisor(Divisor),
    /// 1 by what x is divided by.
    Inverse(Divisor),
}

/// What x is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Divisor {
    /// `√(mean(x²) + ε)`, or the same of `x − mean(x)`.
    Deviation { centred: bool, eps: Number },
    /// `max(‖x‖, ε)`.
    Length { eps: Number },
}

impl Statistic {
    /// Whether a layer can give it as a value of its own.
    pub(super) fn is_value(self) -> bool {
        matches!(self, Self::Mean | Self::Centred)
    }

    /// Whether each feature has one.
    pub(super) fn is_of_each(self) -> bool {
        matches!(self, Self::Centred | Self::CentredSquares)
    }
}

/// The kind of a link without weights.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Made {
    Activation(Activation),
    Select(Select),
    Slice(Slice),
    SliceSteps(SliceSteps),
    Join(Join),
    GlobalPool(GlobalPool),
    WindowPool(WindowPool),
    PadSteps(PadSteps),
    Repeat(Repeat),
    Reshape(Reshape),
    FinalCell,
    Row,
    Reversed(Option<usize>),
    Erf,
    TwiceGelu,
    Largest,
    Statistic(Statistic),
    Quantized(Option<Grid>),
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
            Self::Layer(LayerKind::GlobalPool(pool)) => Made::GlobalPool(*pool),
            Self::Layer(LayerKind::WindowPool(pool)) => Made::WindowPool(*pool),
            Self::Layer(LayerKind::PadSteps(pad)) => Made::PadSteps(*pad),
            Self::Layer(LayerKind::Repeat(repeat)) => Made::Repeat(*repeat),
            Self::Layer(LayerKind::Reshape(shape)) => Made::Reshape(*shape),
            Self::FinalCell => Made::FinalCell,
            Self::Row => Made::Row,
            Self::Reversed(lengths) => Made::Reversed(*lengths),
            Self::Erf => Made::Erf,
            Self::TwiceGelu => Made::TwiceGelu,
            Self::Largest => Made::Largest,
            Self::Statistic(statistic) => Made::Statistic(*statistic),
            Self::Quantized(grid) => Made::Quantized(*grid),
            Self::Source(_) | Self::Layer(_) | Self::Scaled | Self::Padded(..) => return None,
        })
    }

    pub(super) fn activation(activation: Activation) -> Self {
        Self::Layer(LayerKind::Activation(activation))
    }

    /// Whether its result never has steps, whatever its input is.
    pub(super) fn ends_steps(&self) -> bool {
        matches!(self, Self::FinalCell | Self::Row)
            || matches!(self, Self::Layer(LayerKind::Attention(attention)) if attention.scores == Scores::Given)
            || matches!(self, Self::Layer(kind) if kind.ends_steps())
    }

    /// Whether its result has a time axis of its own.
    pub(super) fn begins_steps(&self) -> bool {
        matches!(self, Self::Padded(..) | Self::Layer(LayerKind::SliceSteps(_) | LayerKind::Join(Join::ConcatSteps)))
            || matches!(self, Self::Layer(LayerKind::Conv1d(conv)) if !conv.keeps_time())
            || matches!(self, Self::Layer(kind) if kind.gives_live_steps())
    }
}
