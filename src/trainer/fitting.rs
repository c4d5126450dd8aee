//! A fit under way, batch by batch: what it saw, where it stands, and when it ends. Knows a trainer and no kernel.

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

/// A training over epochs, taken batch by batch: [`Trainer::fit`] for whoever wants to tell of batches, to stop at any of them, or
/// to save and go on later.
///
/// # Example
///
/// ```
/// use gatewave::{Adam, Dataset, Device, Fit, Fitting, Gru, Like, Loss, Model, NamedTensors, FitEvent, Trainer, Update, Weights};
/// use ndarray::Array3;
///
/// # fn main() -> gatewave::Result<()> {
/// let model = Model::new().layer(Gru::new(2, 3));
/// let tensors = NamedTensors::from([
///     ("x".to_owned(), Array3::<f32>::ones((10, 5, 2)).into()),
///     ("y".to_owned(), Array3::<f32>::zeros((10, 5, 3)).into()),
/// ]);
/// let data = Dataset::new(&model, Loss::MeanSquared, tensors)?;
/// let weights = Weights::initial(&model, Like::Torch, 0)?;
/// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, Update::by(Adam::like(Like::Torch)), Device::Cpu)?;
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
    /// When it began, here and now.
    begun: Instant,
    ended: Option<FitEnd>,
    /// The rows that it trains on, where a record says them.
    rows: Option<usize>,
}

/// An epoch under way.
#[derive(Debug, Default)]
struct Part {
    /// Its rows, in their order; empty before its first batch.
    order: Vec<usize>,
    /// How long each row is, where batches hold rows of like lengths.
    lengths: Vec<usize>,
    /// The batches whose numbers are here.
    batches: usize,
    /// The rows of batches that were submitted, and whose numbers are not here.
    waiting: VecDeque<usize>,
    mean: Mean,
    learning_rate: f64,
    /// What it took before `since`.
    before: Duration,
    since: Option<Instant>,
}

/// What a step of a fit came to.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum FitEvent {
    /// A batch was trained on.
    Batch(Trained),
    /// An epoch ended: [`Fitting::epochs`] has it as its last.
    Epoch,
    /// All is done.
    Ended(FitEnd),
}

/// Why a fit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FitEnd {
    /// It went over its examples as often as it was to.
    Epochs,
    /// [`EarlyStopping`](crate::EarlyStopping) said so.
    Stopped,
    /// Its time was over.
    TimeLimit,
}

/// Where a fit stands in its epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Standing {
    /// The epoch, counted from 1 in this fit.
    pub epoch: u64,
    /// Its batches that were trained on.
    pub batches: usize,
    /// All of its batches; 0 before the first one.
    pub of: usize,
    /// The mean of what they lost, weighted by their rows.
    pub loss: f64,
}

impl Fitting {
    /// A fit that has not begun.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where the settings cannot be.
    pub fn new(settings: Fit) -> Result<Self> {
        settings.check()?;
        let (epochs, now, watch, begun) = (Vec::new(), Part::default(), Watch::default(), Instant::now());
        Ok(Self { settings, epochs, now, watch, begun, ended: None, rows: None })
    }

    /// What became of its epochs.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }

    pub(super) fn into_epochs(self) -> Vec<Epoch> {
        self.epochs
    }

    /// The best of its epochs so far.
    pub fn best(&self) -> Option<&Epoch> {
        self.epochs.iter().rfind(|epoch| epoch.better)
    }

    /// Its settings.
    pub fn settings(&self) -> &Fit {
        &self.settings
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let Part { order, batches, mean, .. } = &self.now;
        let of = order.len().div_ceil(self.settings.batch_size);
        Standing { epoch: self.epochs.len() as u64 + 1, batches: *batches, of, loss: mean.value() }
    }

    /// Trains on the next batch, or ends the epoch whose last batch was trained on.
    ///
    /// # Errors
    ///
    /// As [`Trainer::fit`]. What was submitted is received then.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn next(&mut self, trainer: &mut Trainer, data: &Dataset, validation: Option<&Dataset>) -> Result<FitEvent> {
        block_on(self.next_async(trainer, data, validation))
    }

    /// [`next`](Self::next), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn next_async(
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
            self.settle_async(trainer).await?;
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

    /// Waits for what was submitted: the trainer can be [saved](Trainer::save_fitting) then, and what was trained on is part of
    /// where this fit stands.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn settle(&mut self, trainer: &mut Trainer) -> Result<()> {
        block_on(self.settle_async(trainer))
    }

    /// [`settle`](Self::settle), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    pub async fn settle_async(&mut self, trainer: &mut Trainer) -> Result<()> {
        while !self.now.waiting.is_empty() {
            self.receive(trainer).await?;
        }
        Ok(())
    }

    /// Gives the trainer the weights of the best epoch, where the fit may stop early and its last epoch is not the best.
    ///
    /// # Errors
    ///
    /// Kind `Lost`, where the device is lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn put_back(&mut self, trainer: &mut Trainer) -> Result<()> {
        block_on(self.put_back_async(trainer))
    }

    /// [`put_back`](Self::put_back), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`put_back`](Self::put_back).
    pub async fn put_back_async(&mut self, trainer: &mut Trainer) -> Result<()> {
        let is_best = self.epochs.last().is_some_and(|last| last.better) && self.now.batches == 0;
        match self.watch.weights.take() {
            Some(best) if !is_best => trainer.put_back(&best).await,
            _ => Ok(()),
        }
    }

    /// Sets the weights of its best epoch, of a fit that was resumed: a record has none.
    pub fn set_best(&mut self, weights: Weights) {
        self.watch.weights = Some(weights);
    }

    /// Whether it is over before the epoch that would come next.
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
        let lengths = if settings.buckets { data.lengths()? } else { Vec::new() };
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

    /// Trains on the next batch; none where there is none left. The one behind it is submitted before its numbers are received, so
    /// that a GPU does not wait for the host. An error comes with the batch that failed, counted from 1.
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
            // Rows of like lengths are laid out no longer than they are.
            let laid_out = match self.settings.buckets {
                true => data.short_batch(rows, &self.now.lengths),
                false => data.batch(rows),
            };
            let submit = async { trainer.submit_async(&laid_out?).await };
            submit.await.map_err(|error| (batch + 1, error))?;
            self.now.waiting.push_back(rows.len());
        }
        if self.now.waiting.is_empty() {
            return Ok(None);
        }
        self.receive(trainer).await.map(Some).map_err(|error| (self.now.batches + 1, error))
    }

    async fn receive(&mut self, trainer: &mut Trainer) -> Result<Trained> {
        let trained = trainer.receive_async().await?;
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
    /// How good the model is on as much of `data` as a fit takes.
    async fn measure_of(&self, data: &Dataset, settings: &Fit) -> Result<Measures> {
        let rows = settings.rows(data.rows());
        if rows == data.rows() {
            return self.measure_async(data, settings.batch_size, &settings.metrics).await;
        }
        self.measure_async(&data.part(0, rows), settings.batch_size, &settings.metrics).await
    }

    /// Sets the weights, those that are trained on the host among them.
    async fn put_back(&mut self, weights: &Weights) -> Result<()> {
        let named = weights.named(self.model())?;
        self.learner.set(weights).await?;
        for (name, named) in named {
            if let Some(state) = self.states.get_mut(&name) {
                state.named.data = named.data;
            }
        }
        Ok(())
    }

    /// The weights. An update by finite gradients may still drive one out of the floats: it shows in no loss before the next one.
    async fn check_weights(&self) -> Result<Weights> {
        let weights = self.weights_async().await?;
        match non_finite(&weights.to_tensors(self.model())?).first() {
            None => Ok(weights),
            Some(found) => {
                let text = format!("{found}; expected finite weights, try a smaller learning rate");
                Err(Error::new(ErrorKind::Training, text))
            }
        }
    }
}
