//! What `normalize` and its backward pass compute of a row.

use super::WORKGROUP;

/// What is computed of a row x, with the numbers a and b of each feature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Norm {
    /// `x · a + b`.
    Affine,
    /// `(x − a) / √(b + ε)`.
    Standard,
    /// `(x − mean(x)) / √(variance(x) + ε) · a + b`.
    Layer,
    /// `x / √(mean(x²) + ε) · a + b`.
    Rms,
    /// `x / max(‖x‖, ε) · a + b`.
    L2,
    /// `max(x, 0) + a · min(x, 0)`. One a may serve all features.
    PRelu,
}

impl Norm {
    /// Every one, by its code in a kernel.
    pub const ALL: [Self; 6] = [Self::Affine, Self::Standard, Self::Layer, Self::Rms, Self::L2, Self::PRelu];

    /// Returns its name, for the text of a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::Standard => "standard",
            Self::Layer => "layer",
            Self::Rms => "rms",
            Self::L2 => "l2",
            Self::PRelu => "prelu",
        }
    }

    /// Returns how many sums over a row the forward pass has. The backward pass has twice as many.
    fn sums(self) -> u64 {
        match self {
            Self::Affine | Self::Standard | Self::PRelu => 0,
            Self::Rms | Self::L2 => 1,
            Self::Layer => 2,
        }
    }

    /// Returns the bytes of workgroup memory: a part of a sum for each lane.
    pub(super) fn workgroup_bytes(self) -> u32 {
        if self.sums() > 0 { 4 * WORKGROUP } else { 0 }
    }

    /// Returns the loop iterations of an invocation in the forward pass: those over a row, and those between lanes.
    pub(super) fn iterations(self, width: u64) -> u64 {
        let (lanes, passes) = (u64::from(WORKGROUP), width.div_ceil(WORKGROUP.into()));
        (1 + self.sums()) * passes + self.sums() * lanes
    }

    /// Returns those of the backward pass, whose last two sums take one pass.
    pub(super) fn iterations_back(self, width: u64) -> u64 {
        let (lanes, passes) = (u64::from(WORKGROUP), width.div_ceil(WORKGROUP.into()));
        (1 + self.sums() + self.sums().min(1)) * passes + 2 * self.sums() * lanes
    }
}
