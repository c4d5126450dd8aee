//! Training over epochs: the settings of a fit, and the results of each epoch.

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

/// The settings of a training over epochs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fit {
    /// The number of epochs.
    pub epochs: u64,
    /// The rows of a batch; the last batch of an epoch may have fewer.
    pub batch_size: usize,
    /// Whether each epoch takes the rows in another order.
    pub shuffle: bool,
    /// Whether the rows of a batch have similar lengths, as far as a shuffle of fifty batches allows. A training
    /// batch is then cut to the length of its longest row, rounded up to a quarter of the longest row of all.
    pub buckets: bool,
    /// The seed of the orders: the same seed gives the same orders on every machine.
    pub seed: u64,
    /// The metrics of each epoch beside the loss, measured on the validation examples.
    pub metrics: Vec<Metric>,
    /// Whether the metrics are measured on the training examples as well, which takes forward passes over them.
    pub measure_training: bool,
    /// When the fit ends before its last epoch.
    pub early_stopping: Option<EarlyStopping>,
    /// The time after which the fit ends, once the batch under way is done.
    pub time_limit: Option<Duration>,
    /// The most batches of an epoch, and of a validation: for a quick check that everything works.
    pub most_batches: Option<usize>,
}

impl Default for Fit {
    /// Returns the defaults of Keras: one epoch, 32 rows a batch, shuffled, the loss alone, and no early end.
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
    /// Sets the number of epochs.
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

    /// Sets whether the rows of a batch have similar lengths. That
    /// needs a shuffle, and examples with lengths or a mask.
    #[must_use]
    pub fn buckets(mut self, buckets: bool) -> Self {
        self.buckets = buckets;
        self
    }

    /// Sets the seed of the orders.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the metrics of each epoch beside the loss, measured on the validation examples.
    #[must_use]
    pub fn metrics(mut self, metrics: impl Into<Vec<Metric>>) -> Self {
        self.metrics = metrics.into();
        self
    }

    /// Sets whether the metrics are measured on the training examples as well.
    #[must_use]
    pub fn measure_training(mut self, measure: bool) -> Self {
        self.measure_training = measure;
        self
    }

    /// Sets when the fit ends before its last epoch. That needs validation examples.
    #[must_use]
    pub fn early_stopping(mut self, stopping: EarlyStopping) -> Self {
        self.early_stopping = Some(stopping);
        self
    }

    /// Sets the time after which the fit ends.
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

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a setting is invalid.
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

    /// Checks the settings for a training of `objective`, with or without validation examples.
    pub(super) fn check_with(&self, objective: &Objective, validates: bool) -> Result<()> {
        self.check()?;
        self.metrics.iter().try_for_each(|metric| metric.check(objective))?;
        if self.early_stopping.is_some() && !validates {
            let text = "early stopping: expected examples to validate with, got none";
            return Err(Error::new(ErrorKind::Training, text));
        }
        Ok(())
    }

    /// Returns how many of `rows` rows a pass takes: at most those of [`most_batches`](Self::most_batches) batches.
    pub(super) fn rows(&self, rows: usize) -> usize {
        self.most_batches.map_or(rows, |most| rows.min(most.saturating_mul(self.batch_size)))
    }
}

/// The results of an epoch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// The number of the epoch, counted from 1. It goes on from the epochs of an earlier `fit` or of a checkpoint.
    pub number: u64,
    /// The mean loss of its batches before their updates, weighted by their rows.
    pub loss: f64,
    /// The loss on the validation examples, after the updates.
    pub validation_loss: Option<f64>,
    /// The metrics on the training examples, after the updates, if they are measured.
    pub metrics: Vec<(Metric, f64)>,
    /// The metrics on the validation examples.
    pub validation_metrics: Vec<(Metric, f64)>,
    /// Whether this epoch is better than those before it in this fit, by `min_delta` of
    /// [`EarlyStopping`] if that is set. It is better if its validation loss is smaller,
    /// or its loss if nothing is validated. The last epoch marked so is the best.
    pub better: bool,
    /// The learning rate of its last update.
    pub learning_rate: f64,
    /// The time it took, including the validation.
    pub time: Duration,
}

impl Epoch {
    /// Returns the loss by which epochs are compared.
    pub(super) fn watched(&self) -> f64 {
        self.validation_loss.unwrap_or(self.loss)
    }
}

impl Trainer {
    /// Trains on all of `data`, epoch by epoch, and passes the results of each epoch to
    /// `each`. Epochs are counted on, and each has its own order. So several calls of
    /// one epoch equal one call of several, and a checkpoint may be saved between them.
    ///
    /// If a fit may [stop early](Fit::early_stopping), the weights are those of the best epoch in the end. A second
    /// call begins with a best epoch of its own. A [`Fitting`] reports each batch, and can be saved and resumed.
    ///
    /// States that are [carried](Self::carry) are reset at the beginning of each epoch. A batch
    /// is laid out while a GPU still trains on the one before. If the loss of that earlier
    /// batch is not finite, it has changed nothing, and the batch behind it was trained on.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::train::{Adam, Convention, Dataset, Fit, Loss, Update};
    /// use gatewave::{Device, Gru, Linear, Model, NamedTensors, Select, Trainer, Weights};
    /// use ndarray::{Array2, Array3};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(2, 8)).layer(Select::LastStep).layer(Linear::new(8, 1));
    /// let tensors = NamedTensors::from([
    ///     ("x".to_owned(), Array3::<f32>::ones((10, 5, 2)).into()),
    ///     ("y".to_owned(), Array2::<f32>::ones((10, 1)).into()),
    /// ]);
    /// let data = Dataset::new(&model, Loss::MeanSquared, tensors)?;
    /// let weights = Weights::initial(&model, Convention::Torch, 0)?;
    /// let update = Update::by(Adam::like(Convention::Torch).learning_rate(0.01));
    /// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, update, Device::Cpu)?;
    /// let epochs = trainer.fit(&data, None, &Fit::default().epochs(3).batch_size(4), |_| {})?;
    /// assert!(epochs[2].loss < epochs[0].loss);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`step`](Self::step), or an error of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if a setting is invalid, a
    ///   metric does not apply to the objective, or early stopping lacks validation examples;
    /// - [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if weights or a loss are no longer finite.
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

    /// Does the same as [`fit`](Self::fit) without blocking. If the future is dropped before it is ready,
    /// the batches trained on so far keep their effect. Its epochs up to the last whole one are counted.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`fit`](Self::fit).
    pub async fn fit_async(
        &mut self,
        data: &Dataset,
        validation: Option<&Dataset>,
        settings: &Fit,
        mut each: impl FnMut(&Epoch),
    ) -> Result<Vec<Epoch>> {
        let mut fitting = Fitting::new(settings.clone())?;
        self.end_dropped().await;
        self.check_none_waits("fit")?;
        self.waiting.are_of_future();
        let ended: Result<()> = async {
            loop {
                match fitting.go_on(self, data, validation).await? {
                    FitEvent::Batch(_) => {}
                    FitEvent::Epoch => fitting.epochs().last().into_iter().for_each(&mut each),
                    FitEvent::Ended(_) => return Ok(()),
                }
            }
        }
        .await;
        self.waiting.are_received();
        ended?;
        fitting.restore_best_async(self).await?;
        Ok(fitting.into_epochs())
    }

    /// Computes the loss on all of `data`: the mean of batches of `batch_size` rows, weighted by their rows.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`loss`](Self::loss), or one of kind
    /// [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if the loss is not finite.
    pub async fn evaluate_async(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        self.go_over(data, batch_size, &mut None).await
    }

    /// Does the same as [`evaluate_async`](Self::evaluate_async), and blocks.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`evaluate_async`](Self::evaluate_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn evaluate(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        block_on(self.evaluate_async(data, batch_size))
    }
}

/// A weighted mean.
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
