//! A fit ⇄ what a checkpoint says of it. Numbers of 64 bits are written as texts, so that each is read back exactly.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Fitting, Part};
use crate::error::{Error, ErrorKind, Result};
use crate::trainer::checkpoint::number;
use crate::trainer::fit::{Epoch, Fit, Mean};
use crate::trainer::metrics::Metric;

/// What the metadata say of a fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::trainer) struct Record {
    /// The settings that determine the order of batches.
    batch_size: usize,
    shuffle: bool,
    buckets: bool,
    seed: String,
    most_batches: Option<usize>,
    /// The rows that it trains on.
    rows: usize,
    epochs: Vec<RecordedEpoch>,
    /// The epoch under way.
    batches: usize,
    sum: String,
    weight: String,
    learning_rate: String,
    seconds: String,
}

/// An [`Epoch`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordedEpoch {
    number: u64,
    loss: String,
    validation_loss: Option<String>,
    metrics: Vec<(String, String)>,
    validation_metrics: Vec<(String, String)>,
    better: bool,
    learning_rate: String,
    seconds: String,
}

impl Fitting {
    /// Goes on where a [saved](crate::Trainer::save_fitting) fit was. A fit that ended goes on if `settings`
    /// has more epochs or more patience. The trainer [resumes](crate::Trainer::resume) from the same file.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read;
    /// - [`ErrorKind::Weights`](crate::ErrorKind::Weights) if it is damaged or holds no fit;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if `settings` would take the batches in another order.
    pub fn resume(path: impl AsRef<Path>, settings: Fit) -> Result<Self> {
        let path = path.as_ref();
        let read = || {
            let record = crate::trainer::checkpoint::recorded(path)?;
            record.fitting(settings)
        };
        read().map_err(|e: Error| if e.kind() == ErrorKind::Io { e } else { e.at(path.display()) })
    }

    pub(in crate::trainer) fn record(&self) -> Record {
        let settings = &self.settings;
        let part = &self.now;
        let time = part.before + part.since.map_or(Duration::ZERO, |since| since.elapsed());
        Record {
            batch_size: settings.batch_size,
            shuffle: settings.shuffle,
            buckets: settings.buckets,
            seed: settings.seed.to_string(),
            most_batches: settings.most_batches,
            rows: self.rows.unwrap_or_default(),
            epochs: self.epochs.iter().map(RecordedEpoch::of).collect(),
            batches: part.batches,
            sum: part.mean.sum.to_string(),
            weight: part.mean.weight.to_string(),
            learning_rate: part.learning_rate.to_string(),
            seconds: time.as_secs_f64().to_string(),
        }
    }
}

impl Record {
    fn fitting(self, settings: Fit) -> Result<Fitting> {
        for (name, expected, got) in [
            ("batch_size", self.batch_size.to_string(), settings.batch_size.to_string()),
            ("shuffle", self.shuffle.to_string(), settings.shuffle.to_string()),
            ("buckets", self.buckets.to_string(), settings.buckets.to_string()),
            ("seed", self.seed.clone(), settings.seed.to_string()),
            ("most_batches", format!("{:?}", self.most_batches), format!("{:?}", settings.most_batches)),
        ] {
            if expected != got {
                let text = format!("{name}: expected {expected}, as the fit was begun with, got {got}");
                return Err(Error::new(ErrorKind::Training, text));
            }
        }
        let mut fitting = Fitting::new(settings)?;
        fitting.epochs = self.epochs.iter().map(RecordedEpoch::epoch).collect::<Result<_>>()?;
        fitting.watch.resume(fitting.epochs.iter().map(|epoch| (epoch.better, epoch.watched())));
        fitting.rows = (self.rows > 0).then_some(self.rows);
        fitting.now = Part {
            batches: self.batches,
            mean: Mean { sum: number(&self.sum)?, weight: number(&self.weight)? },
            learning_rate: number(&self.learning_rate)?,
            before: seconds(&self.seconds)?,
            ..Part::default()
        };
        Ok(fitting)
    }
}

impl RecordedEpoch {
    fn of(epoch: &Epoch) -> Self {
        let metrics = |all: &[(Metric, f64)]| all.iter().map(|(m, x)| (m.name().to_owned(), x.to_string())).collect();
        Self {
            number: epoch.number,
            loss: epoch.loss.to_string(),
            validation_loss: epoch.validation_loss.map(|loss| loss.to_string()),
            metrics: metrics(&epoch.metrics),
            validation_metrics: metrics(&epoch.validation_metrics),
            better: epoch.better,
            learning_rate: epoch.learning_rate.to_string(),
            seconds: epoch.time.as_secs_f64().to_string(),
        }
    }

    fn epoch(&self) -> Result<Epoch> {
        let metrics = |all: &[(String, String)]| -> Result<Vec<(Metric, f64)>> {
            all.iter().map(|(name, x)| Ok((name.parse()?, number(x)?))).collect()
        };
        Ok(Epoch {
            number: self.number,
            loss: number(&self.loss)?,
            validation_loss: self.validation_loss.as_deref().map(number).transpose()?,
            metrics: metrics(&self.metrics)?,
            validation_metrics: metrics(&self.validation_metrics)?,
            better: self.better,
            learning_rate: number(&self.learning_rate)?,
            time: seconds(&self.seconds)?,
        })
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let damaged = |e| Error::new(ErrorKind::Weights, format!("fit: expected seconds, got {text:?}")).because(e);
    Duration::try_from_secs_f64(number(text)?).map_err(damaged)
}
