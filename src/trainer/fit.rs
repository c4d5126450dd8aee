//! Training over epochs: the order of the rows, batches of them, and validation. Knows a trainer and no kernel.

use std::time::Duration;

use super::Trainer;
use super::accuracy::{self, Accuracy};
use super::data::Dataset;
use super::stopping::{EarlyStopping, Watch};
use crate::error::{Error, ErrorKind, Result};
use crate::platform::Instant;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::random::threefry;
use crate::weights::{Weights, non_finite};

/// Sets apart what is drawn here from what else a seed gives.
const PURPOSE: u32 = 0x6f72_6472;

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
    /// What the orders are drawn from: the same seed gives the same orders on every machine.
    pub seed: u64,
    /// Whether, and on what, it measures how often the model is right.
    pub accuracy: Accuracy,
    /// When it ends before its last epoch.
    pub early_stopping: Option<EarlyStopping>,
}

impl Default for Fit {
    /// Keras' defaults: one epoch, 32 rows a batch, shuffled, losses alone, and all epochs.
    fn default() -> Self {
        Self { epochs: 1, batch_size: 32, shuffle: true, seed: 0, accuracy: Accuracy::None, early_stopping: None }
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

    /// Sets what the orders are drawn from.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets whether, and on what, it measures how often the model is right.
    #[must_use]
    pub fn accuracy(mut self, accuracy: Accuracy) -> Self {
        self.accuracy = accuracy;
        self
    }

    /// Sets when it ends before its last epoch. That needs examples to validate with.
    #[must_use]
    pub fn early_stopping(mut self, stopping: EarlyStopping) -> Self {
        self.early_stopping = Some(stopping);
        self
    }

    /// Whether the settings can be.
    ///
    /// # Errors
    ///
    /// Kind `Training`.
    pub fn check(&self) -> Result<()> {
        let zero = if self.epochs == 0 { "epochs" } else { "batch_size" };
        if self.epochs == 0 || self.batch_size == 0 {
            return Err(Error::new(ErrorKind::Training, format!("{zero}: expected 1 or more, got 0")));
        }
        self.early_stopping.map_or(Ok(()), |stopping| stopping.check())
    }
}

/// What became of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// Which, counted from 1, and on from those of an earlier `fit` or of a checkpoint.
    pub number: u64,
    /// The mean of what its batches lost before their updates, weighted by their rows.
    pub loss: f64,
    /// The same of the examples to validate with, after the updates.
    pub validation_loss: Option<f64>,
    /// The share of the examples that the model is right about after the updates, where it is measured.
    pub accuracy: Option<f64>,
    /// The same of the examples to validate with.
    pub validation_accuracy: Option<f64>,
    /// Whether it is better than those before it in this fit, as [`EarlyStopping`] has it; false where nothing stops a fit early. The
    /// last one that is so is the best.
    pub better: bool,
    /// The learning rate of its last update.
    pub learning_rate: f64,
    /// What it took, with the validation.
    pub time: Duration,
}

impl Trainer {
    /// Trains on all of `data`, epoch by epoch, and tells `each` what became of it. Epochs are counted on, each has its own
    /// order: several calls of one epoch are one call of several, and a checkpoint may be saved between them.
    ///
    /// Where a fit may [stop early](Fit::early_stopping), the weights are in the end those of the best epoch. What it saw is forgotten
    /// then: a second call begins with a best epoch of its own.
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
    /// As [`step`](Self::step); kind `Training`, where the settings cannot be, an accuracy is asked for of a loss that is not of
    /// classes, or early stopping without examples to validate with, or weights or a loss are no longer finite.
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
        settings.check()?;
        self.check_none_waits("fit")?;
        self.check_fit(settings, data.rows())?;
        if settings.accuracy != Accuracy::None {
            accuracy::check(&self.objective)?;
        }
        if settings.early_stopping.is_some() && validation.is_none() {
            let text = "early stopping: expected examples to validate with, got none";
            return Err(Error::new(ErrorKind::Training, text));
        }
        let (mut epochs, mut watch) = (Vec::new(), Watch::default());
        for _ in 0..settings.epochs {
            let (number, start) = (self.epochs() + 1, Instant::now());
            self.reset_states();
            let order = match settings.shuffle {
                true => shuffled(data.rows(), settings.seed, number),
                false => (0..data.rows()).collect(),
            };
            let trained = self.epoch(data, order.chunks(settings.batch_size)).await;
            let (loss, learning_rate) = match trained {
                Ok(trained) => trained,
                Err((batch, error)) => {
                    self.receive_all().await;
                    return Err(error.at(format!("epoch {number}, batch {batch}")));
                }
            };
            let weights = self.check_weights().await.map_err(|e| e.at(format!("epoch {number}")))?;
            let validation_loss = match validation {
                Some(data) => Some(self.evaluate_async(data, settings.batch_size).await?),
                None => None,
            };
            self.end_epoch(validation_loss.unwrap_or(loss));
            let of_training = Some(data).filter(|_| settings.accuracy == Accuracy::All);
            let of_validation = validation.filter(|_| settings.accuracy != Accuracy::None);
            let mut shares = [None; 2];
            for (share, data) in shares.iter_mut().zip([of_training, of_validation]) {
                if let Some(data) = data {
                    *share = Some(self.accuracy_async(data, settings.batch_size).await?);
                }
            }
            let [accuracy, validation_accuracy] = shares;
            let stopping = settings.early_stopping.zip(validation_loss);
            let better = stopping.is_some_and(|(stopping, loss)| watch.is_better(stopping, loss));
            if better {
                watch.weights = Some(weights);
            }
            let time = start.elapsed();
            let epoch =
                Epoch { number, loss, validation_loss, accuracy, validation_accuracy, better, learning_rate, time };
            each(&epoch);
            epochs.push(epoch);
            if stopping.is_some_and(|(stopping, _)| watch.ends(stopping)) {
                break;
            }
        }
        match watch.weights {
            Some(best) if epochs.last().is_some_and(|last| !last.better) => self.put_back(&best).await?,
            _ => {}
        }
        Ok(epochs)
    }

    /// Trains on each of some batches: the mean loss and the last learning rate, or the batch that failed, counted from 1. A batch is
    /// submitted before the loss of the one before it is received, so that a GPU does not wait for the host.
    async fn epoch(
        &mut self,
        data: &Dataset,
        batches: std::slice::Chunks<'_, usize>,
    ) -> std::result::Result<(f64, f64), (usize, Error)> {
        let (mut mean, mut learning_rate, mut before) = (Mean::default(), self.learning_rate(), None);
        for (index, rows) in batches.map(Some).chain([None]).enumerate() {
            if let Some(rows) = rows {
                learning_rate = self.learning_rate();
                let submit = async { self.submit_async(&data.batch(rows)?).await };
                submit.await.map_err(|error| (index + 1, error))?;
            }
            if let Some(rows) = before.replace(rows.map_or(0, <[usize]>::len)) {
                mean.add(self.receive_async().await.map_err(|error| (index, error))?.loss, rows);
            }
        }
        Ok((mean.value(), learning_rate))
    }

    /// What the model loses on all of `data`: the mean of batches of so many rows, weighted by their rows.
    ///
    /// # Errors
    ///
    /// As [`loss`](Self::loss); kind `Training`, where it is not finite.
    pub async fn evaluate_async(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        let order: Vec<usize> = (0..data.rows()).collect();
        let mut mean = Mean::default();
        for rows in order.chunks(batch_size.max(1)) {
            mean.add(self.loss_async(&data.batch(rows)?).await?, rows.len());
        }
        let loss = mean.value();
        if !loss.is_finite() {
            let text = format!("validation: expected a finite loss, got {loss}; try a smaller learning rate");
            return Err(Error::new(ErrorKind::Training, text));
        }
        Ok(loss)
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

/// A mean, each value by its weight.
#[derive(Default)]
struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
    fn add(&mut self, value: f64, rows: usize) {
        self.sum += value * rows as f64;
        self.weight += rows as f64;
    }

    fn value(&self) -> f64 {
        self.sum / self.weight
    }
}

/// The rows in the order of an epoch: the shuffle of Fisher and Yates, by random numbers without a state.
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken; a product of a fraction and n is below n")]
fn shuffled(rows: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let halves = |x: u64| [x as u32, (x >> 32) as u32];
    let [low, high] = halves(epoch);
    let [[first], [second]] = threefry(halves(seed), PURPOSE ^ high, [low]);
    let mut order: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        let [low, high] = halves(last as u64);
        let [[a], [b]] = threefry([first, second], high, [low]);
        let word = u64::from(a) << 32 | u64::from(b);
        order.swap(last, ((u128::from(word) * (last as u128 + 1)) >> 64) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_has_each_row_once_and_is_the_same_everywhere() {
        // By another program of the same words.
        assert_eq!(shuffled(8, 0, 1), [4, 1, 7, 6, 0, 2, 3, 5]);
        assert_eq!(shuffled(8, 7, 2), [2, 6, 3, 5, 1, 0, 7, 4]);
        let mut orders = vec![shuffled(100, 0, 1), shuffled(100, 0, 2), shuffled(100, 1, 1), shuffled(100, 1 << 32, 1)];
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 4);
        for mut order in orders {
            order.sort_unstable();
            assert!(order.into_iter().eq(0..100));
        }
        assert!(shuffled(0, 0, 1).is_empty() && shuffled(1, 0, 1) == [0]);
    }

    #[test]
    fn every_row_comes_first_about_as_often() {
        let mut counts = [0_u32; 5];
        (1..=1000).for_each(|epoch| counts[shuffled(5, 7, epoch)[0]] += 1);
        assert!(counts.iter().all(|&count| (150..250).contains(&count)), "{counts:?}");
    }
}
