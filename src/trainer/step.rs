//! Updates one after the other: each is submitted, and the numbers that it was made of are received later.

use std::collections::VecDeque;

use super::{Batch, Trained, Trainer};
use crate::engine::Sent;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Role;
use crate::plan::MOST_LATER;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::rule::Scalars;
use crate::weights::sums_of_states;

/// Steps that were submitted, and whose numbers were not received.
#[derive(Default)]
pub(super) struct Waiting {
    /// The first is received first.
    steps: VecDeque<Submitted>,
    /// The memory of those that were.
    spare: Vec<Sent>,
}

/// A step that was submitted.
enum Submitted {
    /// Which update it is, and its numbers, which a GPU may still bring.
    Sent(u64, Sent),
    /// It had to be waited for.
    Done(Trained),
}

impl Trainer {
    /// Trains on one batch: finds its gradients, and changes the weights by them.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the batch does not fit the model; `Training`, where no target counts, or the loss or a gradient is not
    /// finite: the weights are then as they were. Kind `Training` too, where a step that was [submitted](Self::submit) was not
    /// received. Kinds `Limits`, `Device` and `Lost` as of an engine.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn step(&mut self, batch: &Batch) -> Result<Trained> {
        block_on(self.step_async(batch))
    }

    /// [`step`](Self::step), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub async fn step_async(&mut self, batch: &Batch) -> Result<Trained> {
        self.check_none_waits("step")?;
        self.submit_async(batch).await?;
        self.receive_async().await
    }

    /// That no submitted step waits, before `what`.
    pub(super) fn check_none_waits(&self, what: &str) -> Result<()> {
        match self.waiting.steps.len() {
            0 => Ok(()),
            waiting => {
                let text = format!("{what}: expected no submitted steps that wait, got {waiting}; receive them first");
                Err(Error::new(ErrorKind::Training, text))
            }
        }
    }

    /// Receives whatever waits, after an error that has been told.
    pub(super) async fn receive_all(&mut self) {
        while !self.waiting.steps.is_empty() {
            if let Err(error) = self.receive_async().await {
                log::debug!("after an error: {error}");
            }
        }
    }

    /// Trains on one batch, and does not wait for what it loses: [`receive`](Self::receive) tells. So a GPU goes from update to
    /// update while the host lays out batches and reads losses. Up to 16 steps may wait.
    ///
    /// A step whose loss or gradients are not finite changes nothing, and those behind it go on from the weights as they were:
    /// whoever receives it is told. Steps of a model with learned initial states, and of states that are [carried](Self::carry),
    /// are waited for here, since the host has a part in them. On the CPU each step is done when this returns.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step), but for numbers that are not finite; kind `Limits`, where as many steps wait as may.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Adam, Batch, CrossEntropy, Device, Input, Like, Linear, Lstm, Model, Select, Targets, Trainer, Update, Weights};
    /// use ndarray::{Array3, arr1};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Lstm::new(3, 8)).layer(Select::LastStep).layer(Linear::new(8, 2));
    /// let weights = Weights::initial(&model, Like::Torch, 0)?;
    /// let update = Update::by(Adam::like(Like::Torch).learning_rate(0.01));
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

    /// [`submit`](Self::submit), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub async fn submit_async(&mut self, batch: &Batch) -> Result<()> {
        if self.waiting.steps.len() >= MOST_LATER {
            let text = format!("submit: expected at most {MOST_LATER} steps that wait, got one more");
            return Err(Error::new(ErrorKind::Limits, text).hint("receive the first of them"));
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

    /// What the first of the submitted steps was made of that was not received: waits for it.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where no step waits, or where its loss or a gradient is not finite: it has changed nothing. Kinds `Device`
    /// and `Lost`, where the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn receive(&mut self) -> Result<Trained> {
        block_on(self.receive_async())
    }

    /// [`receive`](Self::receive), without blocking on a GPU. Where the future is dropped before it is ready, the step stays the
    /// first.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub async fn receive_async(&mut self) -> Result<Trained> {
        let landed = match self.waiting.steps.front_mut() {
            Some(Submitted::Sent(_, sent)) => self.learner.land(sent).await,
            Some(Submitted::Done(_)) => Ok(()),
            None => {
                let text = "receive: expected a submitted step that waits, got none";
                return Err(Error::new(ErrorKind::Training, text));
            }
        };
        let first = self.waiting.steps.pop_front();
        landed?;
        let (update, sent) = match first {
            Some(Submitted::Sent(update, sent)) => (update, sent),
            Some(Submitted::Done(trained)) => return Ok(trained),
            None => unreachable!("it is the first"),
        };
        let (loss, norm) = (sent.loss, f64::from(sent.norm).sqrt());
        self.waiting.spare.push(sent);
        if loss.is_finite() && norm.is_finite() {
            return Ok(Trained { loss, norm, update });
        }
        // Where others came after it, they were counted by it.
        if self.updates == update {
            self.updates -= 1;
        }
        Err(self.not_finite(update, loss, norm))
    }

    async fn send(&mut self, batch: &Batch, sent: &mut Sent) -> Result<()> {
        let scalars = self.scalars()?;
        let dropping = self.dropping();
        self.learner.send_gradients(&batch.input, &self.objective, &batch.targets, (dropping, sent)).await?;
        self.learner.update(&scalars, 0.0, sent).await?;
        self.updates += 1;
        Ok(())
    }

    /// A step in which the host has a part: it is done when this returns.
    async fn waited(&mut self, batch: &Batch) -> Result<Trained> {
        let (dropping, carried) = (self.dropping(), self.carried());
        let data = (dropping, carried.as_ref());
        let found = self.learner.keep_gradients(&batch.input, &self.objective, &batch.targets, data).await?;
        let trained = self.change(found.loss, sums_of_states(self.learner.model(), &found.learned)).await?;
        self.keep(found.finals);
        Ok(trained)
    }

    /// The numbers of the next update, of each role of a parameter.
    pub(super) fn scalars(&self) -> Result<[Scalars; Role::ALL.len()]> {
        let mut of_roles = [Scalars::default(); Role::ALL.len()];
        for (scalars, role) in of_roles.iter_mut().zip(Role::ALL) {
            *scalars = self.update.scalars(role, self.learning_rate(), self.updates + 1)?;
        }
        Ok(of_roles)
    }
}
