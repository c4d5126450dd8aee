//! A training over epochs, taken batch by batch: the package's loop calls `next`, so that Ctrl-C is heard between them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatewave::train::{Dataset, EarlyStopping, Epoch, Fit, FitEnd, FitEvent, Metric};
use gatewave::{Error, ErrorKind, Result};
use pyo3::prelude::*;
use serde_json::Value;

use crate::arrays::{self, Given};
use crate::errors::compute;
use crate::settings::{Keys, wrong};
use crate::trainer::Trainer;

/// A training over epochs.
#[pyclass(frozen, module = "gatewave._native")]
pub(crate) struct Fitting {
    inner: Mutex<Inner>,
}

struct Inner {
    fitting: gatewave::train::Fitting,
    training: Dataset,
    validation: Option<Dataset>,
}

/// An epoch: its number, loss and validation loss, both lists of metrics, whether it is the best so far, its learning
/// rate and its seconds.
type Results = (u64, f64, Option<f64>, Vec<(&'static str, f64)>, Vec<(&'static str, f64)>, bool, f64, f64);

impl Fitting {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Fitting {
    /// Begins a training of `trainer` on arrays by name. It is validated with `validation`, or with the last `split`
    /// of the rows.
    #[new]
    fn new(
        py: Python<'_>,
        trainer: &Trainer,
        data: Given<'_>,
        validation: Option<Given<'_>>,
        split: Option<f64>,
        settings: String,
    ) -> PyResult<Self> {
        let data = arrays::named(&data)?;
        let validation = validation.as_ref().map(arrays::named).transpose()?;
        compute(py, || {
            let mut inner = trainer.lock();
            let objective = inner.objective().clone();
            let all = Dataset::new(inner.model(), objective.clone(), data)?;
            let (training, validation) = match (validation, split) {
                (Some(_), Some(_)) => {
                    return Err(wrong("validation and validation_split: expected one of them, got both"));
                }
                (Some(tensors), None) => {
                    let data = Dataset::new(inner.model(), objective, tensors);
                    (all, Some(data.map_err(|e| e.at("validation"))?))
                }
                (None, Some(share)) => {
                    let [training, validation] = all.split(share).map_err(|e| e.at("validation_split"))?;
                    (training, Some(validation))
                }
                (None, None) => (all, None),
            };
            let mut keys = Keys::of_json("fit", &settings)?;
            let (words, warm_up) = (keys.text("schedule")?, keys.whole("warm_up")?.unwrap_or(0));
            let fit = fit_of(keys)?;
            let batches = training.rows().div_ceil(fit.batch_size);
            let updates = fit.epochs.saturating_mul(batches as u64);
            trainer.schedule(&mut inner, words, updates, warm_up)?;
            let fitting = gatewave::train::Fitting::new(fit)?;
            Ok(Self { inner: Mutex::new(Inner { fitting, training, validation }) })
        })
    }

    /// Trains on the next batch, or ends an epoch. Returns `batch` with its loss, norm and number, `epoch`, or why the
    /// training ended.
    fn next(&self, py: Python<'_>, trainer: &Trainer) -> PyResult<(&'static str, f64, f64, u64)> {
        compute(py, || {
            let (mut trainer, mut inner) = (trainer.lock(), self.lock());
            let Inner { fitting, training, validation } = &mut *inner;
            Ok(match fitting.next(&mut trainer, training, validation.as_ref())? {
                FitEvent::Batch(trained) => ("batch", trained.loss, trained.norm, trained.update),
                FitEvent::Epoch => ("epoch", 0.0, 0.0, 0),
                FitEvent::Ended(FitEnd::Stopped) => ("stopped", 0.0, 0.0, 0),
                FitEvent::Ended(FitEnd::TimeLimit) => ("time_limit", 0.0, 0.0, 0),
                FitEvent::Ended(_) => ("epochs", 0.0, 0.0, 0),
                other => return Err(Error::new(ErrorKind::Internal, format!("fit: an unknown event {other:?}"))),
            })
        })
    }

    /// Waits for what was submitted, so that the trainer can be used.
    fn settle(&self, py: Python<'_>, trainer: &Trainer) -> PyResult<()> {
        compute(py, || {
            let mut trainer = trainer.lock();
            self.lock().fitting.settle(&mut trainer)
        })
    }

    /// Gives the trainer the weights of the best epoch, if the training may stop early.
    fn restore_best(&self, py: Python<'_>, trainer: &Trainer) -> PyResult<()> {
        compute(py, || {
            let mut trainer = trainer.lock();
            self.lock().fitting.restore_best(&mut trainer)
        })
    }

    /// The epochs so far.
    fn epochs(&self, py: Python<'_>) -> PyResult<Vec<Results>> {
        compute(py, || Ok(self.lock().fitting.epochs().iter().map(results).collect()))
    }

    /// The epoch under way, its batches so far and in all, and their mean loss.
    fn position(&self, py: Python<'_>) -> PyResult<(u64, usize, usize, f64)> {
        compute(py, || {
            let at = self.lock().fitting.position();
            Ok((at.epoch, at.batches, at.of, at.loss))
        })
    }

    /// The rows to train on, and those to validate with.
    fn rows(&self, py: Python<'_>) -> PyResult<(usize, usize)> {
        compute(py, || {
            let inner = self.lock();
            Ok((inner.training.rows(), inner.validation.as_ref().map_or(0, Dataset::rows)))
        })
    }
}

fn results(epoch: &Epoch) -> Results {
    let named = |all: &[(Metric, f64)]| all.iter().map(|(metric, value)| (metric.name(), *value)).collect();
    let (metrics, validated) = (named(&epoch.metrics), named(&epoch.validation_metrics));
    let seconds = epoch.time.as_secs_f64();
    (epoch.number, epoch.loss, epoch.validation_loss, metrics, validated, epoch.better, epoch.learning_rate, seconds)
}

/// Reads the settings of a fit.
fn fit_of(mut keys: Keys) -> Result<Fit> {
    let count = |name: &str, n: u64| {
        usize::try_from(n).map_err(|_| wrong(format!("{name}: expected a number that fits memory, got {n}")))
    };
    let mut fit = Fit::default().epochs(keys.whole("epochs")?.unwrap_or(1));
    fit = fit.batch_size(count("batch_size", keys.whole("batch_size")?.unwrap_or(32))?);
    fit = fit.shuffle(keys.flag("shuffle")?.unwrap_or(true)).buckets(keys.flag("buckets")?.unwrap_or(false));
    fit = fit.seed(keys.whole("seed")?.unwrap_or(0));
    fit = fit.measure_training(keys.flag("measure_training")?.unwrap_or(false));
    let metric = |value: Value| match value.as_str() {
        Some(word) => word.parse::<Metric>(),
        None => Err(wrong(format!("metrics: expected words, got {value}"))),
    };
    fit = fit.metrics(keys.list("metrics")?.unwrap_or_default().into_iter().map(metric).collect::<Result<Vec<_>>>()?);
    let (patience, delta) = (keys.whole("early_stopping")?, keys.number("min_delta")?);
    match (patience, delta) {
        (Some(patience), delta) => {
            fit = fit.early_stopping(EarlyStopping::after(patience).min_delta(delta.unwrap_or(0.0)));
        }
        (None, Some(_)) => return Err(wrong("min_delta: expected early_stopping beside it, got none")),
        (None, None) => {}
    }
    if let Some(seconds) = keys.number("time_limit")? {
        let limit = Duration::try_from_secs_f64(seconds);
        fit = fit
            .time_limit(limit.map_err(|_| wrong(format!("time_limit: expected seconds, 0 or more, got {seconds}")))?);
    }
    keys.finish()?;
    fit.check()?;
    Ok(fit)
}
