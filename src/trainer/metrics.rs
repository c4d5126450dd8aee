//! Measures of a model beside its loss: how often it is right, and how far off it is.

use std::fmt;
use std::str::FromStr;

use ndarray::Array2;

use super::Trainer;
use super::carry::Measured;
use super::data::Dataset;
use super::fit::Mean;
use super::tally::Tally;
use crate::call::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Objective};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

/// A measure of how good a model is on examples, beside its loss.
///
/// Metrics count rows, or the live steps of all rows, whose target is not ignored. A sample weight of 0 leaves a
/// row out; other weights change nothing. With classes, the model predicts the class with the largest output. With
/// a binary cross-entropy each feature is a class of its own, predicted if its probability is above one half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Metric {
    /// The share of correct predictions (Keras' `accuracy`).
    Accuracy,
    /// `exp` of the loss, a cross-entropy: the number of equally probable classes that would be as uncertain.
    Perplexity,
    /// The share of predictions of a class that are right. With two classes it is that of the second; with
    /// more, the mean over all (scikit-learn's `macro`). It is 0 for a class that is never predicted.
    Precision,
    /// The share of targets of a class that are predicted as such. Several classes are treated as in precision.
    Recall,
    /// `2 P R / (P + R)` of the precision P and the recall R of a class. Several classes are treated as in precision.
    F1,
    /// The area under the receiver operating characteristic curve. It is the probability that a member
    /// of a class gets a larger output than a non-member; ties count half. With several classes it is
    /// the mean of each against the others. It is 0.5 for a class with no members or no non-members.
    Auc,
    /// The mean of `|y − t|`, for losses of numbers.
    MeanAbsoluteError,
}

impl Metric {
    /// The word for each metric, as in files and on the command line.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("accuracy", Self::Accuracy),
        ("perplexity", Self::Perplexity),
        ("precision", Self::Precision),
        ("recall", Self::Recall),
        ("f1", Self::F1),
        ("auc", Self::Auc),
        ("mae", Self::MeanAbsoluteError),
    ];

    /// Returns its word.
    pub fn name(self) -> &'static str {
        Self::WORDS.iter().find(|(_, metric)| *metric == self).map_or("", |(word, _)| word)
    }

    /// Checks that it applies to what `objective` measures.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if it does not.
    pub(super) fn check(self, objective: &Objective) -> Result<()> {
        let expected = match self {
            Self::MeanAbsoluteError => "one loss, mse, mae or huber",
            Self::Perplexity => "one loss, cross_entropy without smoothing",
            _ => "one loss, cross_entropy or binary_cross_entropy",
        };
        let got = match objective.terms() {
            [term] => {
                let name = term.loss.name();
                let is_smoothed = matches!(&term.loss, Loss::CrossEntropy(loss) if loss.smoothing > 0.0);
                let fits = match self {
                    Self::MeanAbsoluteError => ["mse", "mae", "huber"].contains(&name),
                    Self::Perplexity => name == "cross_entropy" && !is_smoothed,
                    _ => name.ends_with("cross_entropy"),
                };
                if fits {
                    return Ok(());
                }
                if is_smoothed { format!("{name} with smoothing") } else { name.to_owned() }
            }
            terms => format!("{} losses", terms.len()),
        };
        Err(Error::new(ErrorKind::Training, format!("{self}: expected {expected}, got {got}")))
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = Error;

    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if no metric has that word.
    fn from_str(word: &str) -> Result<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, metric)| *metric).ok_or_else(|| {
            let known = Self::WORDS.map(|(known, _)| known).join(", ");
            Error::new(ErrorKind::Training, format!("metric: expected one of {known}, got {word:?}"))
        })
    }
}

/// How good a model is on examples.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Measures {
    /// The loss: the mean of batches, weighted by their rows.
    pub loss: f64,
    /// The metrics that were asked for, in their order.
    pub metrics: Vec<(Metric, f64)>,
    /// How many targets of each class (rows) are predicted as each class (columns),
    /// if the loss is of classes. A binary cross-entropy has two classes, no and yes.
    pub confusion: Option<Array2<u64>>,
}

impl Trainer {
    /// Measures the model on all of `data` with the current weights,
    /// in batches of `batch_size` rows. Dropout drops nothing.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`loss`](Self::loss), or one of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if a metric does not apply to the
    ///   objective, or there is nothing to count, since all sample weights are 0;
    /// - [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if the loss is not finite.
    pub async fn measure_async(&self, data: &Dataset, batch_size: usize, metrics: &[Metric]) -> Result<Measures> {
        metrics.iter().try_for_each(|metric| metric.check(&self.objective))?;
        let mut tally = Tally::of(&self.objective, metrics);
        let loss = self.go_over(data, batch_size, &mut tally).await?;
        if tally.as_ref().is_some_and(Tally::is_empty) {
            let text = "metrics: expected a row or step that counts, got sample weights of 0 alone";
            return Err(Error::new(ErrorKind::Training, text));
        }
        let mut value = |metric| match &mut tally {
            Some(tally) => tally.value(metric, loss),
            // Perplexity needs no count, and there is no other such metric.
            None => loss.exp(),
        };
        let metrics = metrics.iter().map(|metric| (*metric, value(*metric))).collect();
        Ok(Measures { loss, metrics, confusion: tally.and_then(|tally| tally.confusion()) })
    }

    /// Goes over all of `data` in batches of `batch_size` rows. Returns the mean loss
    /// of the batches, weighted by their rows, and counts the outputs in `tally`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`loss`](Self::loss), or one of kind
    /// [`ErrorKind::Numeric`](crate::ErrorKind::Numeric) if the loss is not finite.
    pub(super) async fn go_over(&self, data: &Dataset, batch_size: usize, tally: &mut Option<Tally>) -> Result<f64> {
        let order: Vec<usize> = (0..data.rows()).collect();
        let mut mean = Mean::default();
        let mut measured = Measured::by(self);
        // A batch is cut to its longest row, if rows have lengths.
        let lengths = data.lengths_to_cut();
        for rows in order.chunks(batch_size.max(1)) {
            let batch = measured.begin(data.laid_out(rows, lengths)?, rows.len());
            mean.add(self.loss_async(&batch).await.map_err(|e| data.by_row(e, rows))?, rows.len());
            if tally.is_none() && !measured.carry {
                continue;
            }
            let output = self.run_async(&batch.input).await?;
            measured.end(self, &output);
            if let Some(tally) = tally {
                let call = batch.input.check(self.model())?;
                let aims = self.objective.check(self.model(), &call, &batch.targets)?;
                tally.add(self.model(), &aims[0], given(&self.objective, &output));
            }
        }
        let loss = mean.value();
        if !loss.is_finite() {
            let text = format!("validation: expected a finite loss, got {loss}; try a smaller learning rate");
            return Err(Error::new(ErrorKind::Numeric, text));
        }
        Ok(loss)
    }

    /// Does the same as [`measure_async`](Self::measure_async), and blocks.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`measure_async`](Self::measure_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn measure(&self, data: &Dataset, batch_size: usize, metrics: &[Metric]) -> Result<Measures> {
        block_on(self.measure_async(data, batch_size, metrics))
    }
}

/// Returns the output that the one loss of `objective` measures.
fn given<'a>(objective: &Objective, output: &'a Output) -> &'a ndarray::ArrayD<f32> {
    match objective.terms()[0].output {
        0 => &output.output,
        other => &output.others[other - 1],
    }
}
