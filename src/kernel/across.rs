//! Programs that read several steps of a row of the batch at once, or make them: pools over all steps and over windows,
//! and numbers in another shape.

use super::{Kernel, Mask, Params, Program};

/// What the live steps of a row come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PoolOp {
    /// The largest.
    #[default]
    Max,
    /// The mean.
    Mean,
    /// The smallest.
    Min,
    /// The sum.
    Sum,
}

impl PoolOp {
    /// Every operation.
    pub const ALL: [Self; 4] = [Self::Max, Self::Mean, Self::Min, Self::Sum];

    /// Returns its name, for the text of a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Sum => "sum",
        }
    }
}

/// A pool over consecutive steps of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// What the steps come to.
    pub op: PoolOp,
    /// Whether a mask is bound.
    pub mask: Mask,
    /// Whether no steps come before these: the result is then taken for that of none.
    pub first: bool,
    /// Whether no steps come after these.
    pub last: bool,
}

/// A program across steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Across {
    /// [`Kernel::Pool`].
    Pool(Pool),
    /// [`Kernel::PoolBack`], of this operation, and whether a mask is bound.
    PoolBack(PoolOp, Mask),
    /// [`Kernel::Rearrange`].
    Rearrange,
    /// [`Kernel::WindowPool`], of this operation, and whether a mask is bound.
    WindowPool(PoolOp, Mask),
    /// [`Kernel::WindowBack`], of this operation, and whether a mask is bound.
    WindowBack(PoolOp, Mask),
}

impl Program {
    /// Returns the program across steps, if it is one.
    pub fn across(&self) -> Option<Across> {
        if let Self::Across(across) = self { Some(*across) } else { None }
    }
}

/// Questions that a program across steps answers.
impl Across {
    /// Every program that ships.
    pub(super) fn all() -> Vec<Self> {
        let masks = [Mask::All, Mask::Live];
        let ends = [(false, false), (false, true), (true, false), (true, true)];
        let mut all = vec![Self::Rearrange];
        for (op, mask) in PoolOp::ALL.into_iter().flat_map(|op| masks.map(|mask| (op, mask))) {
            // A sum takes zeros at dead steps.
            if op != PoolOp::Sum || mask == Mask::All {
                all.extend([Self::WindowPool(op, mask), Self::WindowBack(op, mask)]);
            }
            all.extend(ends.map(|(first, last)| Self::Pool(Pool { op, mask, first, last })));
            all.push(Self::PoolBack(op, mask));
        }
        all
    }

    /// Returns the kernel.
    pub fn kernel(self) -> Kernel {
        match self {
            Self::Pool(_) => Kernel::Pool,
            Self::PoolBack(..) => Kernel::PoolBack,
            Self::Rearrange => Kernel::Rearrange,
            Self::WindowPool(..) => Kernel::WindowPool,
            Self::WindowBack(..) => Kernel::WindowBack,
        }
    }

    /// Returns whether a mask is bound: [`Mask::All`] if none is.
    pub fn mask(self) -> Mask {
        match self {
            Self::Pool(pool) => pool.mask,
            Self::PoolBack(_, mask) | Self::WindowPool(_, mask) | Self::WindowBack(_, mask) => mask,
            Self::Rearrange => Mask::All,
        }
    }

    /// Returns what steps come to, if it is a pool or the backward pass of one.
    pub fn op(self) -> Option<PoolOp> {
        match self {
            Self::Pool(Pool { op, .. }) | Self::PoolBack(op, _) | Self::WindowPool(op, _) | Self::WindowBack(op, _) => {
                Some(op)
            }
            Self::Rearrange => None,
        }
    }

    /// Returns whether no steps come before its own and none after, if it is a pool.
    pub fn ends(self) -> Option<(bool, bool)> {
        if let Self::Pool(pool) = self { Some((pool.first, pool.last)) } else { None }
    }

    /// Returns the most loop iterations that one invocation runs, with no loop unrolled.
    pub(super) fn loop_iterations(self, params: &Params) -> u64 {
        match self {
            Self::Pool(_) | Self::WindowPool(..) => params.steps.into(),
            Self::WindowBack(op, mask) => {
                let reach = u64::from(params.steps).saturating_sub(1) * u64::from(params.time_step_1) + 1;
                let windows = reach.div_ceil(params.time_step_0.max(1).into()).min(params.count.into());
                // In each window it looks for an earlier step with the same number, or counts those that are live.
                let looks = matches!(op, PoolOp::Max | PoolOp::Min) || mask == Mask::Live;
                let earlier = if looks { u64::from(params.steps) } else { 0 };
                windows.saturating_mul(1 + earlier)
            }
            Self::PoolBack(..) | Self::Rearrange => 0,
        }
    }
}
