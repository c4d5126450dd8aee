//! `RowLoss`: the losses of a row of outputs, and what each compares with.

use crate::cell::Constant;

/// The loss of a row of outputs, whose gradient says how the row should change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowLoss {
    /// `−Σ_c q_c · log softmax(z)_c`, with q from the target's class and `smoothing`. Each class may have a weight.
    CrossEntropy {
        /// The part of 1 that all classes share.
        smoothing: Constant,
        /// Whether each class has a weight.
        weighted: bool,
    },
    /// `Σ_n max(z, 0) − z · y + ln(1 + exp(−|z|))`, with `y = target · (1 − smoothing) + smoothing / 2`.
    BinaryCrossEntropy {
        /// The part of 1 that both classes share.
        smoothing: Constant,
    },
    /// `Σ_n (z − y)²`.
    Squared,
    /// `Σ_n |z − y|`.
    Absolute,
    /// `Σ_n (z − y)² / 2` if `|z − y|` is at most `delta`, else `delta · (|z − y| − delta / 2)`.
    Huber {
        /// The largest difference that is squared.
        delta: Constant,
    },
    /// `Σ_n z²`, for any target.
    SumOfSquares,
}

impl RowLoss {
    /// Returns the kind of targets that the loss compares with.
    pub fn targets(self) -> RowTargets {
        match self {
            Self::CrossEntropy { .. } => RowTargets::Classes,
            Self::BinaryCrossEntropy { .. } | Self::Squared | Self::Absolute | Self::Huber { .. } => RowTargets::Values,
            Self::SumOfSquares => RowTargets::None,
        }
    }

    /// Returns the number by which the kernel knows the loss.
    pub fn code(self) -> u32 {
        match self {
            Self::CrossEntropy { .. } => 0,
            Self::BinaryCrossEntropy { .. } => 1,
            Self::Squared => 2,
            Self::Absolute => 3,
            Self::Huber { .. } => 4,
            Self::SumOfSquares => 5,
        }
    }

    /// Returns the constant of the loss, or 0 if it has none.
    pub fn constant(self) -> Constant {
        match self {
            Self::CrossEntropy { smoothing, .. } | Self::BinaryCrossEntropy { smoothing } => smoothing,
            Self::Huber { delta } => delta,
            Self::Squared | Self::Absolute | Self::SumOfSquares => Constant::new(0.0),
        }
    }
}

/// What a row of outputs is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowTargets {
    /// A class, u32.
    Classes,
    /// A number for each output.
    Values,
    /// Nothing.
    None,
}
