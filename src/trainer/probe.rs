//! What proofs need of a trainer and users do not: see the learner's.

use std::sync::Arc;

use super::{Batch, Gradients, Trainer};
use crate::engine::{Asked, Wanted};
use crate::error::Result;
use crate::plan::{Plan, Slots};

impl Trainer {
    /// [`gradients`](Self::gradients) by what `change` makes of the plan of each tile of the batch: a plan with a bug, say.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    #[doc(hidden)]
    pub fn gradients_by(&self, batch: &Batch, change: &mut dyn FnMut(&Arc<Plan>) -> Arc<Plan>) -> Result<Gradients> {
        let found = self.learner.gradients_by(&batch.input, &self.objective, (&batch.targets, self.all()), change)?;
        self.named(found)
    }

    /// The contents of every float slot of those plans, by name, after the last dispatch: for comparing executors slot by
    /// slot. What no dispatch wrote is NaN.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    #[doc(hidden)]
    pub fn trace_by(&self, batch: &Batch, change: &mut dyn FnMut(&Arc<Plan>) -> Arc<Plan>) -> Result<Slots> {
        self.learner.trace_by(&batch.input, &self.objective, (&batch.targets, self.all()), change)
    }

    /// How many buffers, bind groups, pipelines and the like were made on the GPU so far; none on the CPU.
    #[doc(hidden)]
    pub fn gpu_objects(&self) -> u64 {
        self.learner.gpu_objects()
    }

    /// All gradients, as [`gradients`](Self::gradients) asks for them.
    fn all(&self) -> Asked {
        Asked { wanted: Wanted::All, dropping: self.dropping() }
    }
}
