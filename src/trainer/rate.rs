//! The learning rate of each update: set by the caller, or by a schedule.

use super::Trainer;
use crate::error::Result;
use crate::recipe::Schedule;

impl Trainer {
    /// Sets the learning rate of the updates that follow, in place of any schedule.
    pub fn set_learning_rate(&mut self, rate: f64) {
        (self.rate, self.schedule) = (rate, None);
    }

    /// Sets how the learning rate changes, beginning with the optimizer's.
    /// The schedule counts this trainer's updates and epochs.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if a setting of the schedule is invalid.
    pub fn set_schedule(&mut self, schedule: Schedule) -> Result<()> {
        schedule.check()?;
        self.schedule = Some(schedule);
        Ok(())
    }

    /// Returns the learning rate of the next update.
    pub fn learning_rate(&self) -> f64 {
        let base = self.update.optimizer.learning_rate();
        self.schedule.as_ref().map_or(self.rate, |schedule| schedule.rate(base, self.updates, self.epochs))
    }

    /// Ends an epoch: counts it, and passes `measure`, the loss of the validation
    /// or of the training, to the schedule. [`fit`](Self::fit) does so by itself.
    pub fn end_epoch(&mut self, measure: f64) {
        self.epochs += 1;
        if let Some(schedule) = &mut self.schedule {
            schedule.observe(self.update.optimizer.learning_rate(), measure);
        }
    }

    /// Returns the number of epochs so far.
    pub fn epochs(&self) -> u64 {
        self.epochs
    }
}
