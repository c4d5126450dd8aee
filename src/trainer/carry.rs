//! States that go on from batch to batch: truncated backpropagation through time.

use std::sync::{Mutex, PoisonError};

use ndarray::Axis;

use super::{Batch, Fit, Trainer};
use crate::call::{Batched, Output, States};
use crate::engine::Carried;
use crate::error::{Error, ErrorKind, Result};

impl Trainer {
    /// Sets whether each batch begins with the final states of the one before it. Row i goes on from row i,
    /// without a gradient between them (PyTorch's `detach`). So one long sequence is trained on window by window.
    ///
    /// [`step`](Self::step) and [`gradients`](Self::gradients) carry states. [`loss`](Self::loss)
    /// and [`run`](Self::run) begin where their input says. [`evaluate`](Self::evaluate) and
    /// [`measure`](Self::measure) carry states of their own from batch to batch. A batch with
    /// given states begins there. A [stateful](crate::layer::Recurrent::stateful) stack always
    /// carries its states. The first batch after this call begins where the model does.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::train::{Batch, Convention, Loss, Sgd, Targets, Update};
    /// use gatewave::{Device, Gru, Input, Model, Trainer, Weights};
    /// use ndarray::Array3;
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(1, 4));
    /// let weights = Weights::initial(&model, Convention::Torch, 0)?;
    /// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, Update::by(Sgd::like(Convention::Torch)), Device::Cpu)?;
    /// trainer.carry(true)?;
    /// for _epoch in 0..2 {
    ///     trainer.reset_states();
    ///     for _window in 0..3 {
    ///         let (x, y) = (Array3::ones((2, 5, 1)), Array3::zeros((2, 5, 4)));
    ///         trainer.step(&Batch::new(Input::features(x), Targets::values(y)))?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if the model has no stack whose initial states a caller can give.
    pub fn carry(&mut self, carry: bool) -> Result<()> {
        let carried = Carried::of(self.model(), carry);
        if carry && carried.is_none() {
            let text = "carry: expected a model with a recurrent stack that begins where the caller says, got none";
            return Err(Error::new(ErrorKind::Model, text));
        }
        (self.carry, self.carried) = (carry, carried.map(Mutex::new));
        self.waiting.carry_nothing();
        Ok(())
    }

    /// Forgets the carried states. The next batch begins where the model does, and may have another number of rows.
    pub fn reset_states(&mut self) {
        if let Some(carried) = self.carried_mut() {
            carried.reset();
        }
        self.waiting.carry_nothing();
    }

    /// Forgets the states of these rows: a sequence has ended there, and another begins with the next batch.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the last batch had no such row.
    pub fn reset_rows(&mut self, rows: &[usize]) -> Result<()> {
        self.carried_mut().map_or(Ok(()), |carried| carried.reset_rows(rows))
    }

    pub(super) fn carried_mut(&mut self) -> Option<&mut Carried> {
        self.carried.as_mut().map(|carried| carried.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the states that the next batch begins with.
    pub(super) fn carried(&self) -> Option<Carried> {
        let carried = self.carried.as_ref()?;
        Some(carried.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Keeps the final states of a batch.
    pub(super) fn keep(&self, finals: Vec<Option<Batched>>) {
        if let Some(carried) = &self.carried {
            carried.lock().unwrap_or_else(PoisonError::into_inner).keep(finals);
        }
    }

    /// Checks that batches of `rows` rows in all can go on from each other.
    pub(super) fn check_fit(&self, settings: &Fit, rows: usize) -> Result<()> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Training, text));
        let Fit { shuffle, batch_size, .. } = *settings;
        if self.carried.is_none() {
            Ok(())
        } else if shuffle {
            wrong("shuffle: expected the rows in their order, since states are carried from batch to batch; set it to false".into())
        } else if rows > batch_size && !rows.is_multiple_of(batch_size) {
            wrong(format!(
                "batch_size: expected batches of one size, since states are carried from batch to batch, got {rows} rows in \
                 batches of {batch_size}"
            ))
        } else {
            Ok(())
        }
    }
}

/// Where the batches of a measurement begin. If states are carried, each begins where the one before it ended.
pub(super) struct Measured {
    /// The last batch's final states of each stack whose initial states a caller
    /// can give. Empty before the first batch, and if no states are carried.
    states: Vec<(usize, States)>,
    pub(super) carry: bool,
}

impl Measured {
    pub(super) fn by(trainer: &Trainer) -> Self {
        Self { states: Vec::new(), carry: trainer.carry }
    }

    /// Returns the batch with the states of the last one, if that had as many rows.
    pub(super) fn begin(&self, mut batch: Batch, rows: usize) -> Batch {
        for (stack, states) in self.states.iter().filter(|(_, states)| states.h.len_of(Axis(1)) == rows) {
            batch.input.states.entry(*stack).or_insert_with(|| states.clone());
        }
        batch
    }

    /// Keeps the final states of a batch.
    pub(super) fn end(&mut self, trainer: &Trainer, output: &Output) {
        if self.carry {
            let begins = |(stack, _): &(usize, &States)| !trainer.model().begun(*stack).any();
            let states = output.states.iter().enumerate().filter(begins);
            self.states = states.map(|(stack, states)| (stack, states.clone())).collect();
        }
    }
}
