//! The programs of attention: scores with their backward pass, the shares of steps, and sums by shares.
//!
//! [`Program`](super::Program) holds them as one variant. Each question about one of them is answered
//! here, by a match without a wildcard. [`catalog`](super::catalog) says what each computes.

use super::{Kernel, Mask, Params, Program, WORKGROUP, When};
use crate::precision::Precision;

/// A program of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attend {
    /// [`Kernel::Scores`], and how it scores.
    Scores(Scoring),
    /// [`Kernel::Shares`].
    Shares {
        /// Whether a mask is bound.
        mask: Mask,
        /// Whether a row sees only the steps up to its own.
        causal: bool,
    },
    /// [`Kernel::Blend`].
    Blend {
        /// Whether it sums over the rows of the query instead of the steps of the value.
        transposed: bool,
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
    /// [`Kernel::ScoresBack`].
    ScoresBack {
        /// What it computes the gradient of.
        of: ScoresBackOf,
        /// Whether additive scores have a weight, by which this gradient is multiplied.
        weighted: bool,
        /// Whether it is the first dispatch of its target: it then takes the target for zeros.
        first: bool,
    },
}

/// What a backward pass of scores computes the gradient of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScoresBackOf {
    /// The query of additive scores.
    Query,
    /// Their key.
    Key,
    /// Their weight, for each row of the query.
    Weight,
    /// Given scores.
    Given,
}

impl ScoresBackOf {
    /// Whether it sums over the rows of the query instead of the steps of the value.
    pub fn is_transposed(self) -> bool {
        matches!(self, Self::Key | Self::Given)
    }
}

/// How a score is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scoring {
    /// The product of query and key.
    Dot,
    /// The sum of `tanh(q + k)`.
    Additive,
    /// The sum of `w ∘ tanh(q + k)`, and how w is stored.
    Weighted(Precision),
    /// The key itself.
    Given,
}

impl Program {
    /// Returns the program of attention, if it is one.
    pub fn attend(&self) -> Option<Attend> {
        if let Self::Attend(attend) = self { Some(*attend) } else { None }
    }
}

/// Questions that a program of attention answers.
impl Attend {
    /// Returns the kernel.
    pub fn kernel(&self) -> Kernel {
        match self {
            Self::Scores(_) => Kernel::Scores,
            Self::Shares { .. } => Kernel::Shares,
            Self::Blend { .. } => Kernel::Blend,
            Self::ScoresBack { .. } => Kernel::ScoresBack,
        }
    }

    /// Returns how its weight is stored, if it has one.
    pub(super) fn storage(&self) -> Option<Precision> {
        match *self {
            Self::Scores(Scoring::Weighted(storage)) => Some(storage),
            // Training has no numbers but floats.
            Self::ScoresBack { weighted: true, .. } => Some(Precision::F32),
            Self::Scores(Scoring::Dot | Scoring::Additive | Scoring::Given)
            | Self::Shares { .. }
            | Self::Blend { .. }
            | Self::ScoresBack { .. } => None,
        }
    }

    /// Returns whether a mask is bound: [`Mask::All`] if none is.
    pub fn mask(&self) -> Mask {
        match self {
            Self::Shares { mask, .. } => *mask,
            Self::Scores(_) | Self::Blend { .. } | Self::ScoresBack { .. } => Mask::All,
        }
    }

    /// Returns whether it is the first dispatch of its target, if the program depends on it.
    pub(super) fn first(&self) -> Option<bool> {
        match *self {
            Self::Blend { first, .. } | Self::ScoresBack { first, .. } => Some(first),
            Self::Scores(_) | Self::Shares { .. } => None,
        }
    }

    /// Returns the value of an override constant of its own, or `None` if the program does not declare it.
    pub(super) fn override_value(&self, name: &str) -> Option<u32> {
        match (*self, name) {
            (Self::Shares { causal, .. }, "CAUSAL") => Some(causal.into()),
            (Self::Blend { transposed, .. }, "TRANSPOSED") => Some(transposed.into()),
            (Self::ScoresBack { of, .. }, "TRANSPOSED") => Some(of.is_transposed().into()),
            _ => None,
        }
    }

    /// Whether the program has a binding that `when` describes.
    pub(super) fn has(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Masked => self.mask() == Mask::Live,
            When::Queried => {
                let given = Self::Scores(Scoring::Given);
                !(*self == given || matches!(self, Self::ScoresBack { of: ScoresBackOf::Given, .. }))
            }
            When::Scaled => self.storage().is_some(),
            When::CellState
            | When::Projected
            | When::Unprojected
            | When::Kept
            | When::Recurrent
            | When::Peepholes
            | When::PerGate
            | When::Classes
            | When::Values
            | When::Weighted
            | When::Moments(_) => false,
        }
    }

    /// Returns the bytes of workgroup memory.
    pub(super) fn workgroup_bytes(&self) -> u32 {
        match self {
            Self::Shares { .. } => 4 * WORKGROUP,
            Self::Scores(_) | Self::Blend { .. } | Self::ScoresBack { .. } => 0,
        }
    }

    /// Returns the most loop iterations that one invocation runs, with no loop unrolled.
    pub(super) fn loop_iterations(&self, params: &Params) -> u64 {
        let lanes = u64::from(WORKGROUP);
        match self {
            Self::Scores(Scoring::Given) => 0,
            Self::Scores(_) => u64::from(params.units / 4),
            Self::Shares { .. } => 3 * u64::from(params.units).div_ceil(lanes) + 2 * lanes,
            Self::Blend { .. } | Self::ScoresBack { .. } => u64::from(params.steps),
        }
    }
}
