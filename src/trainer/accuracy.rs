//! How often a model is right: a share of what counts, where its outputs are classes.

use ndarray::{ArrayD, ArrayView3, Axis};

use super::Trainer;
use super::data::Dataset;
use crate::call::Output;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Aim, Aimed, Objective};
use crate::model::{Axes, Flow, Model};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;

/// What a fit measures its accuracy on, after each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Accuracy {
    /// Nothing.
    #[default]
    None,
    /// The examples to validate with, where there are some.
    Validation,
    /// These, and all examples that it trains on, which takes a pass forward over them.
    All,
}

impl Trainer {
    /// The share of all of `data` that the model is right about by the weights of now, in batches of so many rows: rows, or live
    /// steps, whose largest output is the target's class; of a binary cross-entropy elements whose probability is above one half
    /// where the target is, and nowhere else. What is ignored does not count, and sample weights change nothing. Dropout drops
    /// nothing.
    ///
    /// Both frameworks' accuracies are these (Keras' `accuracy`), but that Keras' of a training is a running mean while the
    /// weights change.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where the objective is not one loss, a cross-entropy or a binary one; else as [`loss`](Self::loss).
    pub async fn accuracy_async(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        check(&self.objective)?;
        let order: Vec<usize> = (0..data.rows()).collect();
        let (mut right, mut all) = (0, 0);
        for rows in order.chunks(batch_size.max(1)) {
            let batch = data.batch(rows)?;
            let aims = {
                let call = batch.input.check(self.model())?;
                self.objective.check(self.model(), &call, &batch.targets)?
            };
            let output = self.run_async(&batch.input).await?;
            let counted = count(self.model(), &aims[0], self.given(&output));
            (right, all) = (right + counted[0], all + counted[1]);
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of what fits memory")]
        Ok(right as f64 / all as f64)
    }

    /// [`accuracy_async`](Self::accuracy_async), blocking.
    ///
    /// # Errors
    ///
    /// As [`accuracy_async`](Self::accuracy_async).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn accuracy(&self, data: &Dataset, batch_size: usize) -> Result<f64> {
        block_on(self.accuracy_async(data, batch_size))
    }

    /// The output that the objective's one loss is of.
    fn given<'a>(&self, output: &'a Output) -> &'a ArrayD<f32> {
        match self.objective.terms()[0].output {
            0 => &output.output,
            other => &output.others[other - 1],
        }
    }
}

/// Whether a model can be right about what `objective` measures.
///
/// # Errors
///
/// Kind `Training`, where it cannot.
pub(super) fn check(objective: &Objective) -> Result<()> {
    let got = match objective.terms() {
        [term] if term.loss.name().ends_with("cross_entropy") => return Ok(()),
        [term] => term.loss.name().to_owned(),
        terms => format!("{} losses", terms.len()),
    };
    let text = format!("accuracy: expected one loss, cross_entropy or binary_cross_entropy, got {got}");
    Err(Error::new(ErrorKind::Training, text))
}

/// How many targets of a batch the model is right about, and how many count.
fn count(model: &Model, aim: &Aim, given: &ArrayD<f32>) -> [usize; 2] {
    let given = match (aim.measured.flow, model.axes) {
        (Flow::Steps(_), Axes::TimeMajor) => given.view(),
        (Flow::Steps(_), Axes::BatchFirst) => {
            let mut given = given.view();
            given.swap_axes(0, 1);
            given
        }
        // A row stands for its one step.
        _ => given.view().insert_axis(Axis(0)),
    };
    let given: ArrayView3<'_, f32> = given.into_dimensionality().expect("an output of a batch: T, B and F");
    // An activation that is left off for the loss stands in what the model gives.
    let half = if aim.measured.bare.is_some() { 0.5 } else { 0.0 };
    let (mut right, mut all) = (0, 0);
    for ((t, b), _) in aim.counts.indexed_iter().filter(|(_, weight)| **weight > 0.0) {
        let row = || (0..given.dim().2).map(|feature| given[[t, b, feature]]);
        match &aim.aimed {
            Aimed::Classes(classes) => {
                right += usize::from(largest(row()) == Some(classes[[t, b]] as usize));
                all += 1;
            }
            Aimed::Values(values) => {
                let pairs = row().enumerate().map(|(feature, given)| (given > half) == (values[[t, b, feature]] > 0.5));
                right += pairs.filter(|same| *same).count();
                all += given.dim().2;
            }
            Aimed::None => {}
        }
    }
    [right, all]
}

/// The place of the largest number; of equal ones the first, as frameworks have it.
fn largest(row: impl Iterator<Item = f32>) -> Option<usize> {
    let best = |best: Option<(usize, f32)>, (place, x): (usize, f32)| match best {
        Some((_, most)) if x <= most => best,
        _ => Some((place, x)),
    };
    row.enumerate().fold(None, best).map(|(place, _)| place)
}
