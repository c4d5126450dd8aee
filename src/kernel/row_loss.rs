//! What a row of outputs loses: the losses that there are, and what each is told.

use crate::cell::Constant;

/// What a row of outputs loses, and by which the row is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowLoss {
    /// `−Σ_c q_c · log softmax(z)_c`, q of the target's class and `smoothing`; `weighted` by class or not.
    CrossEntropy {
        /// What of 1 is shared by all classes.
        smoothing: Constant,
        /// Whether each class has a weight.
        weighted: bool,
    },
    /// `Σ_n max(z, 0) − z · y + ln(1 + exp(−|z|))`, `y = target · (1 − smoothing) + smoothing / 2`.
    BinaryCrossEntropy {
        /// What of 1 is shared by both classes.
        smoothing: Constant,
    },
    /// `Σ_n (z − y)²`.
    Squared,
    /// `Σ_n |z − y|`.
    Absolute,
    /// `Σ_n (z − y)² / 2` where `|z − y|` is at most `delta`, else `delta · (|z − y| − delta / 2)`.
    Huber {
        /// Where the square ends.
        delta: Constant,
    },
    /// `Σ_n z²`, whatever the target.
    SumOfSquares,
}

impl RowLoss {
    /// What the targets of the loss are.
    pub fn targets(self) -> RowTargets {
        match self {
            Self::CrossEntropy { .. } => RowTargets::Classes,
            Self::BinaryCrossEntropy { .. } | Self::Squared | Self::Absolute | Self::Huber { .. } => RowTargets::Values,
            Self::SumOfSquares => RowTargets::None,
        }
    }

    /// The place of the loss among all, for the kernel.
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

    /// The constant of the loss; 0 where it has none.
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
