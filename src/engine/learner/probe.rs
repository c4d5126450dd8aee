//! What proofs need of a learner and users do not: gradients by plans that are changed on purpose, and every slot of a plan.

use std::sync::Arc;

use super::{Asked, Learner};
use crate::call::Input;
use crate::engine::executor::Wait;
use crate::engine::lesson::{Found, Lesson};
use crate::error::Result;
use crate::loss::{Objective, Targets};
use crate::plan::{Plan, Slots};
use crate::platform::block_on;

/// What stands in the place of a plan.
pub(crate) type Change<'a> = &'a mut dyn FnMut(&Arc<Plan>) -> Arc<Plan>;

impl Learner {
    /// [`gradients`](Self::gradients), by what `change` makes of each plan.
    pub(crate) fn gradients_by(
        &self,
        input: &Input,
        objective: &Objective,
        (targets, asked): (&[Targets], Asked),
        change: Change<'_>,
    ) -> Result<Found> {
        let run = async |plan: &Arc<Plan>, lesson: &mut Lesson<'_, '_>| {
            self.executor.run(&change(plan), lesson, Wait::Aside).await.map(drop)
        };
        block_on(self.learn((input, None), objective, (targets, asked), run, |lesson, learned| lesson.finish(learned)))
    }

    /// How many objects were made on the GPU so far.
    pub(crate) fn gpu_objects(&self) -> u64 {
        self.executor.gpu_objects()
    }

    /// Every float slot of what `change` makes of each plan, by name, after the last dispatch. What no dispatch wrote is NaN.
    pub(crate) fn trace_by(
        &self,
        input: &Input,
        objective: &Objective,
        (targets, asked): (&[Targets], Asked),
        change: Change<'_>,
    ) -> Result<Slots> {
        let mut slots = Slots::new();
        let run = async |plan: &Arc<Plan>, lesson: &mut Lesson<'_, '_>| {
            let plan = change(plan);
            let traced = self.executor.trace(&plan, lesson).await?;
            slots.extend(traced.into_iter().map(|(slot, data)| (plan.slots[slot].name.clone(), data)));
            Ok(())
        };
        block_on(self.learn((input, None), objective, (targets, asked), run, |_, _| ()))?;
        Ok(slots)
    }
}
