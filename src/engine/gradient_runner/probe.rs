//! What tests need of a runner and users do not: gradients by plans that are
//! changed on purpose, and every slot of a plan.

use std::sync::Arc;

use super::{Asked, GradientRunner, Way};
use crate::call::Input;
use crate::engine::training_io::Found;
use crate::error::Result;
use crate::loss::{Objective, Targets};
use crate::plan::{Plan, Slots};
use crate::platform::block_on;

/// Returns the plan to run in place of the given one.
pub(crate) type Change<'a> = &'a mut (dyn FnMut(&Arc<Plan>) -> Arc<Plan> + Send);

impl GradientRunner {
    /// [`gradients`](Self::gradients) by the plans that `change` returns.
    pub(crate) fn gradients_by(
        &self,
        input: &Input,
        objective: &Objective,
        (targets, asked): (&[Targets], Asked),
        change: Change<'_>,
    ) -> Result<Found> {
        let way = Way::Changed(change);
        block_on(self.learn((input, None), objective, (targets, asked), way, |io, learned| io.finish(learned)))
    }

    /// The number of objects made on the GPU so far.
    pub(crate) fn gpu_objects(&self) -> u64 {
        self.executor.gpu_objects()
    }

    /// Every float slot of the plans that `change` returns, by name, after the
    /// last dispatch. What no dispatch wrote is NaN.
    pub(crate) fn trace_by(
        &self,
        input: &Input,
        objective: &Objective,
        (targets, asked): (&[Targets], Asked),
        change: Change<'_>,
    ) -> Result<Slots> {
        let mut slots = Slots::new();
        let way = Way::Traced(change, &mut slots);
        block_on(self.learn((input, None), objective, (targets, asked), way, |_, _| ()))?;
        Ok(slots)
    }
}
