//! A fit under way, batch by batch: what it saw, where it is, and when it ends. Knows a trainer and no kernel.

mod record;

use std::collections::VecDeque;
use std::time::Duration;

use super::data::Dataset;
use super::fit::{Epoch, Fit, Mean};
use super::metrics::Measures;
use super::order::{bucketed, shuffled};
use super::stopping::Watch;
use super::{Trained, Trainer};
use crate::error::{Error, ErrorKind, Result};
use crate::platform::Instant;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::weights::{Weights, non_finite};

pub(super) use record::Record;

/// A training over epochs, taken batch by batch. It is [`Trainer::fit`] for
/// callers who report batches, stop at any of them, or save and go on later.
///
/// # Example
///
/// ```
/// use gatewave::train::{Adam, Convention, Dataset, Fit, FitEvent, Fitting, Loss, Update};
/// use gatewave::{Device, Gru, Model, NamedTensors, Trainer, Weights};
/// use ndarray::Array3;
///
/// # fn main() -> gatewave::Result<()> {
/// let model = Model::new().layer(Gru::new(2, 3));
/// let tensors = NamedTensors::from([
///     ("x".to_owned(), Array3::<f32>::ones((10, 5, 2)).into()),
///     ("y".to_owned(), Array3::<f32>::zeros((10, 5, 3)).into()),
/// ]);
/// let data = Dataset::new(&model, Loss::MeanSquared, tensors)?;
/// let weights = Weights::initial(&model, Convention::Torch, 0)?;
/// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, Update::by(Adam::like(Convention::Torch)), Device::Cpu)?;
///
/// let mut fitting = Fitting::new(Fit::default().epochs(2).batch_size(4))?;
/// loop {
///     match fitting.next(&mut trainer, &data, None)? {
///         FitEvent::Batch(trained) => println!("update {}: a norm of {}", trained.update, trained.norm),
///         FitEvent::Epoch => println!("{:?}", fitting.epochs().last()),
///         FitEvent::Ended(_) => break,
///         _ => {}
///     }
/// }
/// assert_eq!((fitting.epochs().len(), trainer.updates()), (2, 6));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Fitting {
    settings: Fit,
    epochs: Vec<Epoch>,
    now: Part,
    watch: Watch,
    /// When this run of the fit began.
    begun: Instant,
    ended: Option<FitEnd>,
    /// The rows that it trains on, if a record says them.
    rows: Option<usize>,
}

/// An epoch under way.
#[derive(Debug, Default)]
struct Part {
    /// Its rows, in their order; empty before its first batch.
    order: Vec<usize>,
    /// How long each row is; empty unless batches hold rows of similar lengths.
    lengths: Vec<usize>,
    /// The batches whose numbers have been received.
    batches: usize,
    /// The rows of each batch that was submitted and not yet received.
    waiting: VecDeque<usize>,
    mean: Mean,
    learning_rate: f64,
    /// The time it took before `since`.
    before: Duration,
    since: Option<Instant>,
}

/// The result of one step of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitEvent {
    /// A batch was trained on.
    Batch(Trained),
    /// An epoch ended; it is the last of [`Fitting::epochs`].
    Epoch,
    /// The fit ended.
    Ended(FitEnd),
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitEnd {
    /// It completed all its epochs.
    Epochs,
    /// [`EarlyStopping`](crate::train::EarlyStopping) ended it.
    Stopped,
    /// Its time was over.
    TimeLimit,
}

/// Where a fit is in its epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FitPosition {
    /// The epoch, counted from 1 in this fit.
    pub epoch: u64,
    /// The batches of the epoch that were trained on.
    pub batches: usize,
    /// All batches of the epoch; 0 before the first one.
    pub of: usize,
    /// The mean loss of its batches so far, weighted by their rows.
    pub loss: f64,
}

impl Fitting {
    /// Makes a fit that has not begun.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a setting is invalid.
    pub fn new(settings: Fit) -> Result<Self> {
        settings.check()?;
        let (epochs, now, watch, begun) = (Vec::new(), Part::default(), Watch::default(), Instant::now());
        Ok(Self { settings, epochs, now, watch, begun, ended: None, rows: None })
    }

    /// Returns the results of its epochs.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    pub(super) fn into_epochs(self) -> Vec<Epoch> {
        self.epochs
    }

    /// Returns the best of its epochs so far.
    pub fn best(&self) -> Option<&Epoch> {
        self.epochs.iter().rfind(|epoch| epoch.better)
    }

    /// Returns its settings.
    pub fn settings(&self) -> &Fit {
        &self.settings
    }

    /// Returns where it is.
    pub fn position(&self) -> FitPosition {
        let Part { order, batches, mean, .. } = &self.now;
        let of = order.len().div_ceil(self.settings.batch_size);
        FitPosition { epoch: self.epochs.len() as u64 + 1, batches: *batches, of, loss: mean.value() }
    }

    /// Trains on the next batch, or ends the epoch if its last batch was trained on.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Trainer::fit`]. All submitted steps are received then.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn next(&mut self, trainer: &mut Trainer, data: &Dataset, validation: Option<&Dataset>) -> Result<FitEvent> {
        block_on(self.next_async(trainer, data, validation))
    }

    /// Does the same as [`next`](Self::next) without blocking. If the future is
    /// dropped before it is ready, the next call goes on from where it was. It may
    /// train on the batch under way once more, as [`Trainer::submit_async`] says.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`next`](Self::next).
    pub async fn next_async(
        &mut self,
        trainer: &mut Trainer,
        data: &Dataset,
        validation: Option<&Dataset>,
    ) -> Result<FitEvent> {
        trainer.end_dropped().await;
        self.go_on(trainer, data, validation).await
    }

    /// Does the same as [`next_async`](Self::next_async), once nothing is left of a dropped future.
    pub(super) async fn go_on(
        &mut self,
        trainer: &mut Trainer,
        data: &Dataset,
        validation: Option<&Dataset>,
    ) -> Result<FitEvent> {
        if let Some(end) = self.ended {
            return Ok(FitEvent::Ended(end));
        }
        if self.now.order.is_empty() {
            self.settings.check_with(trainer.objective(), validation.is_some())?;
            trainer.check_none_waits("fit")?;
            trainer.check_fit(&self.settings, data.rows())?;
            if let Some(end) = self.is_over() {
                self.ended = Some(end);
                return Ok(FitEvent::Ended(end));
            }
            self.begin(trainer, data)?;
        }
        let number = trainer.epochs() + 1;
        if self.settings.time_limit.is_some_and(|limit| self.begun.elapsed() >= limit) {
            self.receive_all(trainer).await?;
            self.ended = Some(FitEnd::TimeLimit);
            return Ok(FitEvent::Ended(FitEnd::TimeLimit));
        }
        match self.train(trainer, data).await {
            Ok(Some(trained)) => return Ok(FitEvent::Batch(trained)),
            Ok(None) => {}
            Err((batch, error)) => {
                trainer.receive_all().await;
                self.now.waiting.clear();
                return Err(error.at(format!("epoch {number}, batch {batch}")));
            }
        }
        self.end_epoch(trainer, data, validation).await.map_err(|e| e.at(format!("epoch {number}")))?;
        Ok(FitEvent::Epoch)
    }

    /// Waits for the submitted batches. After that the trainer can be
    /// [saved](Trainer::save_fitting), and this fit counts all that it was trained on.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`next`](Self::next).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn settle(&mut self, trainer: &mut Trainer) -> Result<()> {
        block_on(self.settle_async(trainer))
    }

    /// Does the same as [`settle`](Self::settle) without blocking.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`settle`](Self::settle).
    pub async fn settle_async(&mut self, trainer: &mut Trainer) -> Result<()> {
        trainer.end_dropped().await;
        self.receive_all(trainer).await
    }

    async fn receive_all(&mut self, trainer: &mut Trainer) -> Result<()> {
        while !self.now.waiting.is_empty() {
            self.receive(trainer).await?;
        }
        Ok(())
    }

    /// Gives the trainer the weights of the best epoch, if the fit may stop early and its last epoch is not the best.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn restore_best(&mut self, trainer: &mut Trainer) -> Result<()> {
        block_on(self.restore_best_async(trainer))
    }

    /// Does the same as [`restore_best`](Self::restore_best) without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`restore_best`](Self::restore_best).
    pub async fn restore_best_async(&mut self, trainer: &mut Trainer) -> Result<()> {
        let is_best = self.epochs.last().is_some_and(|last| last.better) && self.now.batches == 0;
        match self.watch.weights.take() {
            Some(best) if !is_best => trainer.restore(&best).await,
            _ => Ok(()),
        }
    }

    /// Sets the weights of the best epoch of a resumed fit, since a record has none.
    pub fn set_best(&mut self, weights: Weights) {
        self.watch.weights = Some(weights);
    }

    /// Returns why the fit ends before the next epoch, if it does.
    fn is_over(&self) -> Option<FitEnd> {
        if self.settings.early_stopping.is_some_and(|stopping| self.watch.ends(stopping)) {
            return Some(FitEnd::Stopped);
        }
        (self.epochs.len() as u64 >= self.settings.epochs).then_some(FitEnd::Epochs)
    }

    /// Begins an epoch, or what is left of one.
    fn begin(&mut self, trainer: &mut Trainer, data: &Dataset) -> Result<()> {
        let (settings, epoch) = (&self.settings, trainer.epochs() + 1);
        if let Some(rows) = self.rows.filter(|rows| *rows != data.rows()) {
            let text = format!("fit: expected {rows} rows to train on, as it was begun with, got {}", data.rows());
            return Err(Error::new(ErrorKind::Training, text));
        }
        self.rows = Some(data.rows());
        let lengths = if settings.buckets { data.lengths()?.to_vec() } else { Vec::new() };
        let mut order = match (settings.shuffle, settings.buckets) {
            (false, _) => (0..data.rows()).collect(),
            (true, false) => shuffled(data.rows(), settings.seed, epoch),
            (true, true) => bucketed(&lengths, settings.batch_size, settings.seed, epoch),
        };
        order.truncate(settings.rows(order.len()));
        if self.now.batches == 0 {
            trainer.reset_states();
        }
        (self.now.order, self.now.lengths, self.now.since) = (order, lengths, Some(Instant::now()));
        Ok(())
    }

    /// Trains on the next batch; returns none if no batch is left. The batch behind it
    /// is submitted before its numbers are received, so that a GPU does not wait for the
    /// host. An error comes with the number of the batch that failed, counted from 1.
    async fn train(
        &mut self,
        trainer: &mut Trainer,
        data: &Dataset,
    ) -> std::result::Result<Option<Trained>, (usize, Error)> {
        while self.now.waiting.len() < 2 {
            let batch = self.now.batches + self.now.waiting.len();
            let first = batch.saturating_mul(self.settings.batch_size);
            let Some(rows) = self.now.order.get(first..).filter(|rows| !rows.is_empty()) else { break };
            let rows = &rows[..rows.len().min(self.settings.batch_size)];
            self.now.learning_rate = trainer.learning_rate();
            // Batches of similar lengths are cut to their longest row.
            let laid_out = data.laid_out(rows, &self.now.lengths);
            let submit = async { trainer.put(&laid_out?).await.map_err(|e| data.by_row(e, rows)) };
            submit.await.map_err(|error| (batch + 1, error))?;
            self.now.waiting.push_back(rows.len());
        }
        if self.now.waiting.is_empty() {
            return Ok(None);
        }
        self.receive(trainer).await.map(Some).map_err(|error| (self.now.batches + 1, error))
    }

    async fn receive(&mut self, trainer: &mut Trainer) -> Result<Trained> {
        let trained = trainer.take().await?;
        let rows = self.now.waiting.pop_front().unwrap_or_default();
        self.now.mean.add(trained.loss, rows);
        self.now.batches += 1;
        Ok(trained)
    }

    async fn end_epoch(&mut self, trainer: &mut Trainer, data: &Dataset, validation: Option<&Dataset>) -> Result<()> {
        let (settings, number) = (&self.settings, trainer.epochs() + 1);
        let weights = trainer.check_weights().await?;
        let loss = self.now.mean.value();
        let validated = match validation {
            Some(data) => Some(trainer.measure_of(data, settings).await?),
            None => None,
        };
        let trained = match settings.measure_training && !settings.metrics.is_empty() {
            true => trainer.measure_of(data, settings).await?.metrics,
            false => Vec::new(),
        };
        let (validation_loss, validation_metrics) = match validated {
            Some(Measures { loss, metrics, .. }) => (Some(loss), metrics),
            None => (None, Vec::new()),
        };
        let watched = validation_loss.unwrap_or(loss);
        trainer.end_epoch(watched);
        let better = self.watch.is_better(settings.early_stopping.map_or(0.0, |stopping| stopping.min_delta), watched);
        if better && settings.early_stopping.is_some() {
            self.watch.weights = Some(weights);
        }
        let Part { learning_rate, before, since, .. } = std::mem::take(&mut self.now);
        let time = before + since.map_or(Duration::ZERO, |since| since.elapsed());
        self.epochs.push(Epoch {
            number,
            loss,
            validation_loss,
            metrics: trained,
            validation_metrics,
            better,
            learning_rate,
            time,
        });
        Ok(())
    }
}

impl Trainer {
    /// Measures the model on as many rows of `data` as a fit takes.
    async fn measure_of(&self, data: &Dataset, settings: &Fit) -> Result<Measures> {
        let rows = settings.rows(data.rows());
        if rows == data.rows() {
            return self.measure_async(data, settings.batch_size, &settings.metrics).await;
        }
        self.measure_async(&data.part(0, rows), settings.batch_size, &settings.metrics).await
    }

    /// Sets all weights, including those that are trained on the host.
    async fn restore(&mut self, weights: &Weights) -> Result<()> {
        let named = weights.named(self.model())?;
        self.runner.set(weights).await?;
        for (name, named) in named {
            if let Some(state) = self.states.get_mut(&name) {
                state.named.data = named.data;
            }
        }
        Ok(())
    }

    /// Returns the weights, if they are finite. An update by finite gradients
    /// may still overflow a weight, and no loss shows it before the next update.
    async fn check_weights(&self) -> Result<Weights> {
        let weights = self.weights_async().await?;
        match non_finite(&weights.to_tensors(self.model())?).first() {
            None => Ok(weights),
            Some(found) => {
                let text = format!("{found}; expected finite weights, try a smaller learning rate");
                Err(Error::new(ErrorKind::Numeric, text))
            }
        }
    }
}
