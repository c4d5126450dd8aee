//! Updates one after the other: each is submitted first, and its numbers are received later.

use std::collections::VecDeque;

use super::shared::Shared;
use super::{Batch, Trained, Trainer};
use crate::engine::Sent;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Role;
use crate::plan::MAX_PENDING;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::rule::Scalars;
use crate::weights::sums_of_states;

/// Steps that were submitted and not yet received.
#[derive(Default)]
pub(super) struct Waiting {
    /// The steps, oldest first: the first is received first.
    steps: VecDeque<Submitted>,
    /// How many of the last steps belong to a future that was dropped, or
    /// may be dropped yet; all, if there are fewer. Nobody receives those.
    of_nobody: usize,
    /// The memory of received steps, for use again.
    spare: Vec<Sent>,
}

/// A submitted step.
pub(super) enum Submitted {
    /// The number of the update, and its results, which the device may still have to deliver.
    Sent(u64, Sent),
    /// The host has a part in it, which is still to be done.
    Shared(Box<Shared>),
    /// It had to be waited for.
    Done(Trained),
}

impl Waiting {
    /// Adds a step that nobody receives.
    pub(super) fn of_nobody(&mut self, step: Submitted) {
        self.steps.push_back(step);
        self.of_nobody = self.of_nobody.saturating_add(1);
    }

    /// Drops the final states of the steps whose host part is still to be done.
    pub(super) fn carry_nothing(&mut self) {
        for step in &mut self.steps {
            if let Submitted::Shared(shared) = step {
                shared.finals = None;
            }
        }
    }

    /// Marks all waiting steps as those of a future, until [`are_received`](Self::are_received).
    pub(super) fn are_of_future(&mut self) {
        self.of_nobody = usize::MAX;
    }

    /// Marks all waiting steps as those of the caller, who receives them.
    pub(super) fn are_received(&mut self) {
        self.of_nobody = 0;
    }
}

impl Trainer {
    /// Trains on one batch: computes its gradients, and updates the weights by them.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the batch does not fit the model;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if no target counts;
    /// - [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if the loss
    ///   or a gradient is not finite: the weights are then as they were;
    /// - [`ErrorKind::Busy`](crate::ErrorKind::Busy) if a [submitted](Self::submit) step was not received;
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits), [`ErrorKind::Device`](crate::ErrorKind::Device)
    ///   or [`ErrorKind::Lost`](crate::ErrorKind::Lost) as an engine does.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step(&mut self, batch: &Batch) -> Result<Trained> {
        block_on(self.step_async(batch))
    }

    /// Does the same as [`step`](Self::step) without blocking.
    ///
    /// If the future is dropped before it is ready, the step is done either not at all or entirely;
    /// [`updates`](Self::updates) counts it then. The next call that changes the weights does what is left of it.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step).
    pub async fn step_async(&mut self, batch: &Batch) -> Result<Trained> {
        self.end_dropped().await;
        self.check_none_waits("step")?;
        self.waiting.are_of_future();
        let trained = async {
            self.put(batch).await?;
            self.take().await
        };
        let trained = trained.await;
        self.waiting.are_received();
        trained
    }

    /// Ends the steps that nobody receives because their futures were dropped.
    pub(super) async fn end_dropped(&mut self) {
        loop {
            self.waiting.of_nobody = self.waiting.of_nobody.min(self.waiting.steps.len());
            if self.waiting.of_nobody == 0 {
                return;
            }
            let first = self.waiting.steps.len() - self.waiting.of_nobody;
            if let Err(error) = self.end_nth(first).await {
                log::debug!("a step whose future was dropped: {error}");
            }
            self.waiting.of_nobody -= 1;
        }
    }

    /// Ends the last waiting step, which nobody receives.
    pub(super) async fn end_last(&mut self) -> Result<Trained> {
        let ended = self.end_nth(self.waiting.steps.len() - 1).await;
        self.waiting.of_nobody -= 1;
        ended
    }

    /// Checks that no submitted step waits before `what`.
    pub(super) fn check_none_waits(&self, what: &str) -> Result<()> {
        match self.waiting.steps.len() {
            0 => Ok(()),
            waiting => {
                let text = format!("{what}: expected no submitted steps that wait, got {waiting}; receive them first");
                Err(Error::new(ErrorKind::Busy, text))
            }
        }
    }

    /// Receives all waiting steps after an error that has been reported.
    pub(super) async fn receive_all(&mut self) {
        while !self.waiting.steps.is_empty() {
            if let Err(error) = self.take().await {
                log::debug!("after an error: {error}");
            }
        }
    }

    /// Trains on one batch without waiting for its loss, which [`receive`](Self::receive) returns. So a GPU
    /// goes from update to update while the host lays out batches and reads losses. Up to 16 steps may wait.
    ///
    /// A step whose loss or gradients are not finite changes nothing, and those behind it go on from
    /// the unchanged weights. The caller learns it when it receives the step. Some steps are waited
    /// for here, because the host has a part in them: those of a model with learned initial states,
    /// and of states that are [carried](Self::carry). On the CPU a step is done when this returns.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step), except for numbers that are not finite,
    /// or one of kind [`ErrorKind::Busy`](crate::ErrorKind::Busy) if 16 steps wait already.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::train::{Adam, Batch, Convention, CrossEntropy, Targets, Update};
    /// use gatewave::{Device, Input, Linear, Lstm, Model, Select, Trainer, Weights};
    /// use ndarray::{Array3, arr1};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Lstm::new(3, 8)).layer(Select::LastStep).layer(Linear::new(8, 2));
    /// let weights = Weights::initial(&model, Convention::Torch, 0)?;
    /// let update = Update::by(Adam::like(Convention::Torch).learning_rate(0.01));
    /// let mut trainer = Trainer::new(model, &weights, CrossEntropy::default(), update, Device::Cpu)?;
    ///
    /// let batch = Batch::new(Input::features(Array3::ones((4, 5, 3))), Targets::classes(arr1(&[0, 1, 0, 0])));
    /// trainer.submit(&batch)?;
    /// for update in 1..20 {
    ///     trainer.submit(&batch)?;
    ///     assert_eq!(trainer.receive()?.update, update); // the one before
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn submit(&mut self, batch: &Batch) -> Result<()> {
        block_on(self.submit_async(batch))
    }

    /// Does the same as [`submit`](Self::submit) without blocking. On the
    /// CPU the update itself may still be under way when this is ready.
    ///
    /// If the future is dropped before, the step was not submitted. A step that is waited
    /// for here may have been done all the same, as with [`step_async`](Self::step_async).
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`submit`](Self::submit).
    pub async fn submit_async(&mut self, batch: &Batch) -> Result<()> {
        self.end_dropped().await;
        self.put(batch).await
    }

    /// Submits a step, once nothing is left of a dropped future.
    pub(super) async fn put(&mut self, batch: &Batch) -> Result<()> {
        if self.waiting.steps.len() >= MAX_PENDING {
            let text = format!("submit: expected at most {MAX_PENDING} steps that wait, got one more");
            return Err(Error::new(ErrorKind::Busy, text).hint("receive the first of them"));
        }
        let submitted = if self.states.is_empty() && self.carried.is_none() {
            let mut sent = self.waiting.spare.pop().unwrap_or_default();
            sent.clear();
            self.send(batch, &mut sent).await?;
            Submitted::Sent(self.updates, sent)
        } else {
            Submitted::Done(self.waited(batch).await?)
        };
        self.waiting.steps.push_back(submitted);
        Ok(())
    }

    /// Waits for the first submitted step that was not received, and returns its numbers.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if no step waits;
    /// - [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if its
    ///   loss or a gradient is not finite: it has changed nothing;
    /// - [`ErrorKind::Device`](crate::ErrorKind::Device) or
    ///   [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn receive(&mut self) -> Result<Trained> {
        block_on(self.receive_async())
    }

    /// Does the same as [`receive`](Self::receive) without blocking. If
    /// the future is dropped before it is ready, the step stays the first.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`receive`](Self::receive).
    pub async fn receive_async(&mut self) -> Result<Trained> {
        self.end_dropped().await;
        self.take().await
    }

    /// Receives the first waiting step, once nothing is left of a dropped future.
    pub(super) async fn take(&mut self) -> Result<Trained> {
        if self.waiting.steps.is_empty() {
            let text = "receive: expected a submitted step that waits, got none";
            return Err(Error::new(ErrorKind::Training, text));
        }
        self.end_nth(0).await
    }

    /// Waits for step `index` of the waiting steps, and removes it from them.
    async fn end_nth(&mut self, index: usize) -> Result<Trained> {
        let waited = match &mut self.waiting.steps[index] {
            Submitted::Sent(_, sent) => self.runner.wait_for(sent).await,
            Submitted::Shared(shared) => self.runner.wait_for(&mut shared.sent).await,
            Submitted::Done(_) => Ok(()),
        };
        let step = self.waiting.steps.remove(index);
        waited?;
        let (update, sent) = match step {
            Some(Submitted::Sent(update, sent)) => (update, sent),
            Some(Submitted::Shared(shared)) => return self.end(*shared),
            Some(Submitted::Done(trained)) => return Ok(trained),
            None => unreachable!("it is there"),
        };
        let trained = self.trained(update, &sent);
        self.waiting.spare.push(sent);
        // Later steps were counted by the number of this one.
        if trained.is_err() && self.updates == update {
            self.updates -= 1;
        }
        trained
    }

    /// Returns the numbers of update `update`, or the error of one that changed nothing since they are not finite.
    pub(super) fn trained(&self, update: u64, sent: &Sent) -> Result<Trained> {
        let (loss, norm) = (sent.loss, f64::from(sent.norm).sqrt());
        if !loss.is_finite() || !norm.is_finite() {
            return Err(self.not_finite(update, loss, norm));
        }
        Ok(Trained { loss, norm, update })
    }

    async fn send(&mut self, batch: &Batch, sent: &mut Sent) -> Result<()> {
        let scalars = self.scalars()?;
        let dropping = self.dropping();
        self.runner.send_gradients(&batch.input, &self.objective, &batch.targets, (dropping, sent)).await?;
        self.runner.update(&scalars, 0.0, sent).await?;
        self.updates += 1;
        Ok(())
    }

    /// Does a step in which the host has a part: it is done when this returns.
    async fn waited(&mut self, batch: &Batch) -> Result<Trained> {
        let (dropping, carried) = (self.dropping(), self.carried());
        let data = (dropping, carried.as_ref());
        let found = self.runner.keep_gradients(&batch.input, &self.objective, &batch.targets, data).await?;
        let states = sums_of_states(self.runner.model(), &found.learned);
        self.change(found.loss, states, Some(found.finals)).await
    }

    /// Computes the numbers of the next update for each role of a parameter.
    pub(super) fn scalars(&self) -> Result<[Scalars; Role::ALL.len()]> {
        let mut of_roles = [Scalars::default(); Role::ALL.len()];
        for (scalars, role) in of_roles.iter_mut().zip(Role::ALL) {
            *scalars = self.update.scalars(role, self.learning_rate(), self.updates + 1)?;
        }
        Ok(of_roles)
    }
}
