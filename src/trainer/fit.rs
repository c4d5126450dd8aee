//! Training over epochs: how it goes over its examples, and what became of each epoch.

use std::time::Duration;

use super::Trainer;
use super::data::Dataset;
use super::fitting::{FitEvent, Fitting};
use super::metrics::Metric;
use super::stopping::EarlyStopping;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

/// How a training goes over its examples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fit {
    /// How often it goes over all of them.
    pub epochs: u64,
    /// The rows of a batch; the last one of an epoch may have fewer.
    pub batch_size: usize,
    /// Whether each epoch takes the rows in another order.
    pub shuffle: bool,
    /// Whether the rows of a batch are of like lengths, as far as a shuffle of fifty batches allows. A batch to train on is then
    /// cut to the length of its longest row, rounded up to a quarter of the longest row of all.
    pub buckets: bool,
    /// What the orders are drawn from: the same seed gives the same orders on every machine.
    pub seed: u64,
    /// What is told of each epoch beside the loss, of the examples to validate with.
    pub metrics: Vec<Metric>,
    /// Whether the metrics are told of the examples that it trains on as well, which takes passes forward over them.
    pub measure_training: bool,
    /// When it ends before its last epoch.
    pub early_stopping: Option<EarlyStopping>,
    /// After how long it ends, behind the batch under way.
    pub time_limit: Option<Duration>,
    /// The most batches of an epoch, and of a validation: to see that all of it works.
    pub most_batches: Option<usize>,
}

impl Default for Fit {
    /// Keras' defaults: one epoch, 32 rows a batch, shuffled, losses alone, and all epochs.
    fn default() -> Self {
        Self {
            epochs: 1,
            batch_size: 32,
            shuffle: true,
            buckets: false,
            seed: 0,
            metrics: Vec::new(),
            measure_training: false,
            early_stopping: None,
            time_limit: None,
            most_batches: None,
        }
    }
}

impl Fit {
    /// Sets how often it goes over all examples.
    #[must_use]
    pub fn epochs(mut self, epochs: u64) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the rows of a batch.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = rows;
        self
    }

    /// Sets whether each epoch takes the rows in another order.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Sets whether the rows of a batch are of like lengths. That needs a shuffle, and examples with lengths or a mask.
    #[must_use]
    pub fn buckets(mut self, buckets: bool) -> Self {
        self.buckets = buckets;
        self
    }

    /// Sets what the orders are drawn from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what is told of each epoch beside the loss, of the examples to validate with.
    #[must_use]
    pub fn metrics(mut self, metrics: impl Into<Vec<Metric>>) -> Self {
        self.metrics = metrics.into();
        self
    }

    /// Sets whether the metrics are told of the examples that it trains on as well.
    #[must_use]
    pub fn measure_training(mut self, measure: bool) -> Self {
        self.measure_training = measure;
        self
    }

    /// Sets when it ends before its last epoch. That needs examples to validate with.
    #[must_use]
    pub fn early_stopping(mut self, stopping: EarlyStopping) -> Self {
        self.early_stopping = Some(stopping);
        self
    }

    /// Sets after how long it ends.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// Sets the most batches of an epoch, and of a validation.
    #[must_use]
    pub fn most_batches(mut self, batches: usize) -> Self {
        self.most_batches = Some(batches);
        self
    }

    /// Whether the settings can be.
    ///
    /// # Errors
    ///
    /// Kind `Training`.
    pub fn check(&self) -> Result<()> {
        let counts = [
            ("epochs", self.epochs == 0),
            ("batch_size", self.batch_size == 0),
            ("most_batches", self.most_batches == Some(0)),
        ];
        if let Some((zero, _)) = counts.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(Error::new(ErrorKind::Training, format!("{zero}: expected 1 or more, got 0")));
        }
        if self.buckets && !self.shuffle {
            let text = "buckets: expected a shuffle, got rows in their order";
            return Err(Error::new(ErrorKind::Training, text));
        }
        self.early_stopping.map_or(Ok(()), |stopping| stopping.check())
    }

    /// Whether a training of `objective` can be so, with examples to validate with or without.
    pub(super) fn check_with(&self, objective: &Objective, validates: bool) -> Result<()> {
        self.check()?;
        self.metrics.iter().try_for_each(|metric| metric.check(objective))?;
        if self.early_stopping.is_some() && !validates {
            let text = "early stopping: expected examples to validate with, got none";
            return Err(Error::new(ErrorKind::Training, text));
        }
        Ok(())
    }

    /// The rows of as many batches as are taken of so many rows.
    pub(super) fn rows(&self, rows: usize) -> usize {
        self.most_batches.map_or(rows, |most| rows.min(most.saturating_mul(self.batch_size)))
    }
}

/// What became of an epoch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// Which, counted from 1, and on from those of an earlier `fit` or of a checkpoint.
    pub number: u64,
    /// The mean of what its batches lost before their updates, weighted by their rows.
    pub loss: f64,
    /// The same of the examples to validate with, after the updates.
    pub validation_loss: Option<f64>,
    /// The metrics of the examples that it trained on, after the updates, where they are measured.
    pub metrics: Vec<(Metric, f64)>,
    /// Those of the examples to validate with.
    pub validation_metrics: Vec<(Metric, f64)>,
    /// Whether it is better than those before it in this fit, by [`EarlyStopping`]'s `min_delta` where that is set: its validation
    /// loss is smaller, or its loss, where nothing is validated. The last one that is so is the best.
    pub better: bool,
    /// The learning rate of its last update.
    pub learning_rate: f64,
    /// What it took, with the validation.
    pub time: Duration,
}

impl Epoch {
    /// What tells whether it is better.
    pub(super) fn watched(&self) -> f64 {
        self.validation_loss.unwrap_or(self.loss)
    }
}

impl Trainer {
    /// Trains on all of `data`, epoch by epoch, and tells `each` what became of it. Epochs are counted on, each has its own
    /// order: several calls of one epoch are one call of several, and a checkpoint may be saved between them.
    ///
    /// Where a fit may [stop early](Fit::early_stopping), the weights are in the end those of the best epoch. What it saw is forgotten
    /// then: a second call begins with a best epoch of its own. A [`Fitting`] tells of each batch, and can be saved and resumed.
    ///
    /// States that are [carried](Self::carry) begin anew with each epoch. A batch is laid out while a GPU still trains on the one
    /// before: where that one loses no finite number, it has changed nothing, and the one behind it was trained on.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Adam, Dataset, Device, Fit, Gru, Like, Linear, Loss, Model, NamedTensors, Select, Trainer, Update, Weights};
    /// use ndarray::{Array2, Array3};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(2, 8)).layer(Select::LastStep).layer(Linear::new(8, 1));
    /// let tensors = NamedTensors::from([
    ///     ("x".to_owned(), Array3::<f32>::ones((10, 5, 2)).into()),
    ///     ("y".to_owned(), Array2::<f32>::ones((10, 1)).into()),
    /// ]);
    /// let data = Dataset::new(&model, Loss::MeanSquared, tensors)?;
    /// let weights = Weights::initial(&model, Like::Torch, 0)?;
    /// let update = Update::by(Adam::like(Like::Torch).learning_rate(0.01));
    /// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, update, Device::Cpu)?;
    /// let epochs = trainer.fit(&data, None, &Fit::default().epochs(3).batch_size(4), |_| {})?;
    /// assert!(epochs[2].loss < epochs[0].loss);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step); kind `Training`, where the settings cannot be, a metric is not told of the objective, early stopping
    /// is asked for without examples to validate with, or weights or a loss are no longer finite.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn fit(
        &mut self,
        data: &Dataset,
        validation: Option<&Dataset>,
        settings: &Fit,
        each: impl FnMut(&Epoch),
    ) -> Result<Vec<Epoch>> {
        block_on(self.fit_async(data, validation, settings, each))
    }

    /// [`fit`](Self::fit), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`fit`](Self::fit).
    pub async fn fit_async(
        &mut self,
        data: &Dataset,
        validation: Option<&Dataset>,
        settings: &Fit,
        mut each: impl FnMut(&Epoch),
    ) -> Result<Vec<Epoch>> {
        let mut fitting = Fitting::new(settings.clone())?;
        loop {
            match fitting.next_async(self, data, validation).await? {
                FitEvent::Batch(_) => {}
                FitEvent::Epoch => fitting.epochs().last().into_iter().for_each(&mut each),
                FitEvent::Ended(_) => break,
            }
        }
        fitting.put_back_async(self).await?;
        Ok(fitting.into_epochs())
    }

    /// What the model loses on all of `data`: the mean of batches of so many rows, weighted by their rows.
    ///
    /// # Errors
    ///
    /// As [`loss`](Self::loss); kind `Training`, where it is not finite.
    pub async fn evaluate_async(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        self.go_over(data, batch_size, &mut None).await
    }

    /// [`evaluate_async`](Self::evaluate_async), blocking.
    ///
    /// # Errors
    ///
    /// As [`evaluate_async`](Self::evaluate_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        block_on(self.evaluate_async(data, batch_size))
    }
}

/// A mean, each value by its weight.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mean {
    pub(super) sum: f64,
    pub(super) weight: f64,
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
    pub(super) fn add(&mut self, value: f64, rows: usize) {
        self.sum += value * rows as f64;
        self.weight += rows as f64;
    }

    pub(super) fn value(&self) -> f64 {
        self.sum / self.weight
    }
}
