//! The results of each epoch, as rows of comma-separated values and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use gatewave::Result;
use gatewave::inspect::Replacement;
use gatewave::train::{Epoch, Metric};
use serde_json::{Map, Value};

use crate::files::fill;

/// Writes `epoch`, from 1, `loss`, `learning_rate` and `seconds`, and `val_loss` and the metrics if they exist.
pub(super) fn write(path: &Path, epochs: &[Epoch]) -> Result<()> {
    fill(Replacement::open(path)?, path, text(epochs).as_bytes())
}

/// A column of numbers, which some epochs lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Loss,
    ValidationLoss,
    Metric(Metric),
    ValidationMetric(Metric),
}

impl Column {
    /// Returns the columns that at least one epoch has.
    pub(super) fn all(epochs: &[Epoch]) -> Vec<Self> {
        let of = |epoch: &Epoch| {
            let trained = epoch.metrics.iter().map(|(metric, _)| Self::Metric(*metric));
            let validated = epoch.validation_metrics.iter().map(|(metric, _)| Self::ValidationMetric(*metric));
            let losses = [Some(Self::Loss), epoch.validation_loss.map(|_| Self::ValidationLoss)];
            losses.into_iter().flatten().chain(trained).chain(validated).collect::<Vec<_>>()
        };
        epochs.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns its name, as in Keras.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Loss => "loss".to_owned(),
            Self::ValidationLoss => "val_loss".to_owned(),
            Self::Metric(metric) => metric.to_string(),
            Self::ValidationMetric(metric) => format!("val_{metric}"),
        }
    }

    /// Returns an epoch's value in this column.
    pub(super) fn of(&self, epoch: &Epoch) -> Option<f64> {
        let find = |all: &[(Metric, f64)], metric| all.iter().find(|(own, _)| *own == metric).map(|(_, value)| *value);
        match self {
            Self::Loss => Some(epoch.loss),
            Self::ValidationLoss => epoch.validation_loss,
            Self::Metric(metric) => find(&epoch.metrics, *metric),
            Self::ValidationMetric(metric) => find(&epoch.validation_metrics, *metric),
        }
    }
}

/// Returns an epoch as a JSON object, with the names of the columns.
pub(super) fn json(epoch: &Epoch) -> Value {
    let mut object = Map::from_iter([("epoch".to_owned(), epoch.number.into())]);
    for column in Column::all(std::slice::from_ref(epoch)) {
        object.insert(column.name(), column.of(epoch).into());
    }
    object.insert("learning_rate".to_owned(), epoch.learning_rate.into());
    object.insert("seconds".to_owned(), epoch.time.as_secs_f64().into());
    object.insert("better".to_owned(), epoch.better.into());
    object.into()
}

fn text(epochs: &[Epoch]) -> String {
    let columns = Column::all(epochs);
    let names: String = columns.iter().map(|column| column.name() + ",").collect();
    let mut text = format!("epoch,{names}learning_rate,seconds\n");
    for epoch in epochs {
        let value = |column: &Column| column.of(epoch).map_or_else(|| ",".to_owned(), |value| format!("{value},"));
        let values: String = columns.iter().map(value).collect();
        let seconds = epoch.time.as_secs_f64();
        writeln!(text, "{},{values}{},{seconds:.3}", epoch.number, epoch.learning_rate).expect("a text takes all");
    }
    text
}
