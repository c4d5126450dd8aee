//! What tests need of a trainer and users do not: see the runner's module of the same name.

use std::sync::Arc;

use super::{Batch, Gradients, Trainer};
use crate::engine::{Asked, Wanted};
use crate::error::Result;
use crate::plan::{Plan, Slots};

impl Trainer {
    /// Computes [`gradients`](Self::gradients) by plans that `change` makes
    /// of the plan of each tile of the batch: plans with a planted bug, say.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    pub fn gradients_by(
        &self,
        batch: &Batch,
        change: &mut (dyn FnMut(&Arc<Plan>) -> Arc<Plan> + Send),
    ) -> Result<Gradients> {
        let found = self.runner.gradients_by(&batch.input, &self.objective, (&batch.targets, self.all()), change)?;
        self.named(found)
    }

    /// Returns the contents of every float slot of those plans, by name, after the last dispatch.
    /// Executors are compared by them, slot by slot. Elements that no dispatch wrote are NaN.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    pub fn trace_by(&self, batch: &Batch, change: &mut (dyn FnMut(&Arc<Plan>) -> Arc<Plan> + Send)) -> Result<Slots> {
        self.runner.trace_by(&batch.input, &self.objective, (&batch.targets, self.all()), change)
    }

    /// Returns how many GPU objects (buffers, bind groups, pipelines and the like) were made so far; none on the CPU.
    pub fn gpu_objects(&self) -> u64 {
        self.runner.gpu_objects()
    }

    /// Asks for all gradients, as [`gradients`](Self::gradients) does.
    fn all(&self) -> Asked {
        Asked { wanted: Wanted::All, dropping: self.dropping() }
    }
}
