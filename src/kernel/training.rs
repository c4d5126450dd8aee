//! The programs of training: losses, the backward pass of each kernel, sums of gradients, and updates.
//!
//! [`Program`](super::Program) holds them as one variant. Each question about one of them is answered
//! here, by a match without a wildcard. [`catalog`](super::catalog) says what each computes.

mod back;
mod outer;

pub use back::{CellBack, StepBack, kept_gates};
pub use outer::Outer;

use super::derived::{product_iterations, shared_bytes};
use super::{Kernel, Loads, Mask, Matrix, Norm, Params, RowLoss, RowTargets, StateKind, Tile, WORKGROUP, When};
use crate::cell::{Activation, Cell, Peepholes, Reset, Variant};
use crate::rule::Rule;

/// A program of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Training {
    /// [`Kernel::StepBack`].
    StepBack(StepBack),
    /// [`Kernel::ScanBack`].
    ScanBack(StepBack),
    /// [`Kernel::CellBack`].
    CellBack(CellBack),
    /// [`Kernel::ResetRows`], and the variant of the cell.
    ResetRows(Variant),
    /// [`Kernel::NewBack`], the variant of the cell, and whether a mask is bound.
    NewBack(Variant, Mask),
    /// [`Kernel::ResetBack`], and the variant of the cell.
    ResetBack(Variant),
    /// [`Kernel::StateBack`], and whether a mask is bound.
    StateBack(Mask),
    /// [`Kernel::Outer`].
    Outer(Outer),
    /// [`Kernel::PeepholeBack`].
    PeepholeBack {
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
    /// [`Kernel::Transpose`].
    Transpose {
        /// G.
        gates: u32,
        /// Rows of a panel after those of the depth.
        after: u32,
        /// Whether each gate's columns become their own matrix.
        per_gate: bool,
    },
    /// [`Kernel::ActivateBack`], and its elementwise function.
    ActivateBack(Activation),
    /// [`Kernel::SoftmaxBack`], of softmax or its logarithm.
    SoftmaxBack {
        /// Whether it is that of the logarithm.
        log: bool,
    },
    /// [`Kernel::NormalizeBack`], and what it is the backward pass of.
    NormalizeBack(Norm),
    /// [`Kernel::MaximumBack`].
    MaximumBack,
    /// [`Kernel::SumSteps`].
    SumSteps {
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
    /// [`Kernel::Scatter`].
    Scatter {
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
    /// [`Kernel::Drop`].
    Drop,
    /// [`Kernel::Spread`].
    Spread {
        /// G.
        gates: u32,
    },
    /// [`Kernel::SpreadBack`].
    SpreadBack {
        /// G.
        gates: u32,
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
    /// [`Kernel::Zero`].
    Zero,
    /// [`Kernel::ToTexture`].
    ToTexture,
    /// [`Kernel::Loss`], and which loss.
    Loss(RowLoss),
    /// [`Kernel::Tie`].
    Tie {
        /// Whether it sets the target instead of adding to it.
        first: bool,
    },
    /// [`Kernel::Squares`].
    Squares,
    /// [`Kernel::Total`].
    Total {
        /// Whether it sets the target instead of adding to it.
        first: bool,
    },
    /// [`Kernel::Update`], and its rule.
    Update(Rule),
}

/// The role of rows of weights that an update leaves alone.
pub const NO_ROLE: u32 = u32::MAX;

/// Questions that a training program answers.
impl Training {
    /// Returns the kernel.
    pub fn kernel(&self) -> Kernel {
        match self {
            Self::StepBack(_) => Kernel::StepBack,
            Self::ScanBack(_) => Kernel::ScanBack,
            Self::CellBack(_) => Kernel::CellBack,
            Self::ResetRows(_) => Kernel::ResetRows,
            Self::NewBack(..) => Kernel::NewBack,
            Self::ResetBack(_) => Kernel::ResetBack,
            Self::StateBack(_) => Kernel::StateBack,
            Self::Outer(_) => Kernel::Outer,
            Self::PeepholeBack { .. } => Kernel::PeepholeBack,
            Self::Transpose { .. } => Kernel::Transpose,
            Self::ActivateBack(_) => Kernel::ActivateBack,
            Self::SoftmaxBack { .. } => Kernel::SoftmaxBack,
            Self::NormalizeBack(_) => Kernel::NormalizeBack,
            Self::MaximumBack => Kernel::MaximumBack,
            Self::SumSteps { .. } => Kernel::SumSteps,
            Self::Scatter { .. } => Kernel::Scatter,
            Self::Drop => Kernel::Drop,
            Self::Spread { .. } => Kernel::Spread,
            Self::SpreadBack { .. } => Kernel::SpreadBack,
            Self::Zero => Kernel::Zero,
            Self::ToTexture => Kernel::ToTexture,
            Self::Loss(_) => Kernel::Loss,
            Self::Tie { .. } => Kernel::Tie,
            Self::Squares => Kernel::Squares,
            Self::Total { .. } => Kernel::Total,
            Self::Update(_) => Kernel::Update,
        }
    }

    /// Returns the cell whose backward pass it computes, and how that departs from its plain equations.
    pub fn cell(&self) -> Option<(Cell, Variant)> {
        match *self {
            Self::StepBack(back) | Self::ScanBack(back) => Some((back.cell, back.variant)),
            Self::CellBack(back) => Some((Cell::Lstm, back.variant)),
            Self::ResetRows(variant) | Self::NewBack(variant, _) | Self::ResetBack(variant) => {
                Some((Cell::Gru(Reset::Before), variant))
            }
            Self::StateBack(_)
            | Self::Outer(_)
            | Self::PeepholeBack { .. }
            | Self::Transpose { .. }
            | Self::ActivateBack(_)
            | Self::SoftmaxBack { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Spread { .. }
            | Self::SpreadBack { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Tie { .. }
            | Self::Squares
            | Self::Total { .. }
            | Self::Update(_) => None,
        }
    }

    /// Returns how the forward step handled its states, if this is the backward pass of a step.
    pub fn states(&self) -> Option<StateKind> {
        match self {
            Self::StepBack(back) | Self::ScanBack(back) => Some(back.states()),
            Self::CellBack(_) => Some(StateKind::Projected),
            Self::ResetRows(_)
            | Self::NewBack(..)
            | Self::ResetBack(_)
            | Self::StateBack(_)
            | Self::Outer(_)
            | Self::PeepholeBack { .. }
            | Self::Transpose { .. }
            | Self::ActivateBack(_)
            | Self::SoftmaxBack { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Spread { .. }
            | Self::SpreadBack { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Tie { .. }
            | Self::Squares
            | Self::Total { .. }
            | Self::Update(_) => None,
        }
    }

    /// Returns whether a mask is bound: [`Mask::All`] if none is.
    pub fn mask(&self) -> Mask {
        match self {
            Self::StepBack(StepBack { mask, .. })
            | Self::ScanBack(StepBack { mask, .. })
            | Self::CellBack(CellBack { mask, .. })
            | Self::NewBack(_, mask)
            | Self::StateBack(mask) => *mask,
            Self::ResetRows(_)
            | Self::ResetBack(_)
            | Self::Outer(_)
            | Self::PeepholeBack { .. }
            | Self::Transpose { .. }
            | Self::ActivateBack(_)
            | Self::SoftmaxBack { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Spread { .. }
            | Self::SpreadBack { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Tie { .. }
            | Self::Squares
            | Self::Total { .. }
            | Self::Update(_) => Mask::All,
        }
    }

    /// Returns the matrix of its product and how that is cut, if it has one.
    pub(super) fn product(&mut self) -> Option<(&mut Matrix, &mut Tile)> {
        if let Self::StepBack(back) | Self::ScanBack(back) = self {
            Some((&mut back.matrix, &mut back.tile))
        } else {
            None
        }
    }

    /// Returns the function whose backward pass it is: `Linear` if there is none.
    pub fn activation(&self) -> Activation {
        match *self {
            Self::ActivateBack(activation) => activation,
            Self::SoftmaxBack { log: false } => Activation::Softmax,
            Self::SoftmaxBack { log: true } => Activation::LogSoftmax,
            Self::StepBack(_)
            | Self::ScanBack(_)
            | Self::CellBack(_)
            | Self::ResetRows(_)
            | Self::NewBack(..)
            | Self::ResetBack(_)
            | Self::StateBack(_)
            | Self::Outer(_)
            | Self::PeepholeBack { .. }
            | Self::Transpose { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Spread { .. }
            | Self::SpreadBack { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Tie { .. }
            | Self::Squares
            | Self::Total { .. }
            | Self::Update(_) => Activation::Linear,
        }
    }

    /// Returns whether it is the first dispatch of its target, if the program depends on it.
    pub fn first(&self) -> Option<bool> {
        match *self {
            Self::Outer(Outer { first, .. })
            | Self::PeepholeBack { first }
            | Self::SumSteps { first }
            | Self::SpreadBack { first, .. }
            | Self::Scatter { first }
            | Self::Tie { first }
            | Self::Total { first } => Some(first),
            Self::StepBack(_)
            | Self::ScanBack(_)
            | Self::CellBack(_)
            | Self::ResetRows(_)
            | Self::NewBack(..)
            | Self::ResetBack(_)
            | Self::StateBack(_)
            | Self::Transpose { .. }
            | Self::ActivateBack(_)
            | Self::SoftmaxBack { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::Drop
            | Self::Spread { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Squares
            | Self::Update(_) => None,
        }
    }

    /// Whether the program has a binding that `when` describes.
    pub(super) fn has(&self, when: When) -> bool {
        let loss = if let Self::Loss(loss) = self { Some(*loss) } else { None };
        match when {
            When::Always => true,
            When::Masked => self.mask() == Mask::Live,
            When::CellState => matches!(self.states(), Some(StateKind::Cell | StateKind::Projected)),
            When::Projected => self.states() == Some(StateKind::Projected),
            When::Unprojected => self.states() != Some(StateKind::Projected),
            When::Recurrent => {
                matches!(
                    self,
                    Self::StepBack(StepBack { cell: Cell::Gru(_), .. })
                        | Self::ScanBack(StepBack { cell: Cell::Gru(_), .. })
                )
            }
            When::Kept | When::PerGate | When::Queried | When::Scaled => false,
            When::Peepholes => self.cell().is_some_and(|(_, variant)| variant.peepholes == Peepholes::Diagonal),
            When::Classes => loss.is_some_and(|loss| loss.targets() == RowTargets::Classes),
            When::Values => loss.is_some_and(|loss| loss.targets() == RowTargets::Values),
            When::Weighted => matches!(loss, Some(RowLoss::CrossEntropy { weighted: true, .. })),
            When::Moments(count) => self.rule().is_some_and(|rule| rule.moments().len() > count),
        }
    }

    /// Whether each gate multiplies rows of its own.
    pub(super) fn is_per_gate(&self) -> bool {
        matches!(self, Self::Outer(Outer { per_gate: true, .. }) | Self::Transpose { per_gate: true, .. })
    }

    /// Returns the gates of the rows that it works on.
    pub fn gates(&self) -> u32 {
        match *self {
            Self::Outer(Outer { gates, .. })
            | Self::Transpose { gates, .. }
            | Self::Spread { gates }
            | Self::SpreadBack { gates, .. } => gates,
            Self::PeepholeBack { .. } => 4,
            // The transposed matrix has one gate.
            Self::StepBack(_) | Self::ScanBack(_) => 1,
            #[allow(clippy::cast_possible_truncation, reason = "a cell has at most four gates")]
            Self::CellBack(_) | Self::ResetRows(_) | Self::NewBack(..) | Self::ResetBack(_) => {
                self.cell().map_or(1, |(cell, _)| cell.gates() as u32)
            }
            Self::StateBack(_)
            | Self::ActivateBack(_)
            | Self::SoftmaxBack { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Tie { .. }
            | Self::Squares
            | Self::Total { .. }
            | Self::Update(_) => 1,
        }
    }

    /// Returns who loads what its lanes share, if it has no tile that says so.
    pub(super) fn loads(self) -> Option<Loads> {
        if let Self::Outer(outer) = self { Some(outer.loads) } else { None }
    }

    /// Returns the loss, if it is one.
    pub fn loss(&self) -> Option<RowLoss> {
        if let Self::Loss(loss) = self { Some(*loss) } else { None }
    }

    /// Returns the rule by which it makes new weights, if it does.
    pub fn rule(&self) -> Option<Rule> {
        if let Self::Update(rule) = self { Some(*rule) } else { None }
    }

    /// Returns the rows of a panel after those of the depth.
    pub(super) fn rows_after_depth(&self) -> u32 {
        match *self {
            Self::Outer(Outer { after, .. }) | Self::Transpose { after, .. } => after,
            // The bias and the peepholes.
            Self::PeepholeBack { .. } => 2,
            // The transposed matrix has its bias row alone.
            Self::StepBack(_) | Self::ScanBack(_) => 1,
            Self::CellBack(back) => match back.variant.peepholes {
                Peepholes::None => 1,
                Peepholes::Diagonal => 2,
            },
            Self::ResetRows(_)
            | Self::NewBack(..)
            | Self::ResetBack(_)
            | Self::StateBack(_)
            | Self::ActivateBack(_)
            | Self::SoftmaxBack { .. }
            | Self::NormalizeBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Spread { .. }
            | Self::SpreadBack { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Loss(_)
            | Self::Tie { .. }
            | Self::Squares
            | Self::Total { .. }
            | Self::Update(_) => 1,
        }
    }

    /// Returns the bytes of workgroup memory.
    pub(super) fn workgroup_bytes(&self) -> u32 {
        match self {
            // One part of a sum for each lane.
            Self::SoftmaxBack { .. } | Self::Loss(_) | Self::Squares | Self::Total { .. } => 4 * WORKGROUP,
            Self::NormalizeBack(norm) => norm.workgroup_bytes(),
            Self::StepBack(back) => shared_bytes(back.tile, 1),
            Self::ScanBack(back) => shared_bytes(back.tile, 1) + back.row_bytes() * back.tile.rows,
            Self::CellBack(_)
            | Self::ResetRows(_)
            | Self::NewBack(..)
            | Self::ResetBack(_)
            | Self::StateBack(_)
            | Self::Outer(_)
            | Self::PeepholeBack { .. }
            | Self::Transpose { .. }
            | Self::ActivateBack(_)
            | Self::MaximumBack
            | Self::SumSteps { .. }
            | Self::Scatter { .. }
            | Self::Drop
            | Self::Spread { .. }
            | Self::SpreadBack { .. }
            | Self::Zero
            | Self::ToTexture
            | Self::Tie { .. }
            | Self::Update(_) => 0,
        }
    }

    /// Returns the most loop iterations that one invocation runs, with no loop unrolled.
    pub(super) fn loop_iterations(&self, params: &Params) -> u64 {
        let lanes = u64::from(WORKGROUP);
        let width = u64::from(params.units) * u64::from(params.directions);
        match self {
            Self::Outer(_) => u64::from(params.rows),
            Self::Spread { gates } | Self::SpreadBack { gates, .. } => u64::from(*gates),
            Self::PeepholeBack { .. } => u64::from(params.rows),
            Self::SumSteps { .. } => u64::from(params.steps),
            Self::Scatter { .. } => u64::from(params.count),
            // The elements, and what lanes tell each other.
            Self::Squares => u64::from(params.steps).div_ceil(lanes) + lanes,
            Self::Total { .. } => u64::from(params.count).div_ceil(lanes) + lanes,
            // They pass over a row two or three times, and lanes tell each other once or four times.
            Self::SoftmaxBack { .. } => 2 * width.div_ceil(lanes) + lanes,
            Self::NormalizeBack(norm) => norm.iterations_back(width),
            Self::Loss(_) => 3 * width.div_ceil(lanes) + 4 * lanes,
            Self::StepBack(back) => product_iterations(back.tile, 1, params.depth, back.tile.slices),
            Self::ScanBack(back) => back.scan_iterations(params),
            Self::CellBack(_)
            | Self::ResetRows(_)
            | Self::NewBack(..)
            | Self::ResetBack(_)
            | Self::StateBack(_)
            | Self::Transpose { .. }
            | Self::ActivateBack(_)
            | Self::MaximumBack
            | Self::Drop
            | Self::Zero
            | Self::ToTexture
            | Self::Tie { .. }
            | Self::Update(_) => 0,
        }
    }
}
