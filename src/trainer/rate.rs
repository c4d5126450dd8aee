//! The learning rate of each update: set by hand, or by a schedule.

use super::Trainer;
use crate::error::Result;
use crate::train::Schedule;

impl Trainer {
    /// Sets the learning rate of the updates that follow, in place of any schedule.
    pub fn set_learning_rate(&mut self, rate: f64) {
        (self.rate, self.schedule) = (rate, None);
    }

    /// Sets how the learning rate goes on from the optimizer's. It counts this trainer's updates and epochs.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where the schedule's settings cannot be.
    pub fn set_schedule(&mut self, schedule: Schedule) -> Result<()> {
        schedule.check()?;
        self.schedule = Some(schedule);
        Ok(())
    }

    /// The learning rate of the next update.
    pub fn learning_rate(&self) -> f64 {
        let base = self.update.optimizer.learning_rate();
        self.schedule.as_ref().map_or(self.rate, |schedule| schedule.rate(base, self.updates, self.epochs))
    }

    /// Ends an epoch: counts it, and tells the schedule its `measure`, the loss of the validation or of the training.
    /// [`fit`](Self::fit) does so by itself.
    pub fn end_epoch(&mut self, measure: f64) {
        self.epochs += 1;
        if let Some(schedule) = &mut self.schedule {
            schedule.observe(self.update.optimizer.learning_rate(), measure);
        }
    }

    /// Epochs so far.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }
}
