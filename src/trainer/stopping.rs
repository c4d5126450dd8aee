//! When a fit ends early: the losses of its epochs so far, and
//! the weights of the best of them. Knows no batch and no device.

use crate::error::{Error, ErrorKind, Result};
use crate::weights::Weights;

/// Ends a fit when its validation loss no longer gets smaller, and restores the
/// weights of the best epoch (Keras' `EarlyStopping` with `restore_best_weights`).
///
/// The first epoch is the best so far. A later one is better if its validation loss is smaller
/// than the best by more than [`min_delta`](Self::min_delta). The fit ends after
/// [`patience`](Self::patience) epochs in a row that are not better. However it ends, the weights
/// are then those of the best epoch, and the state of the optimizer stays that of the last one.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EarlyStopping {
    /// How many epochs in a row may not be better; 1 or more.
    pub patience: u64,
    /// By how much a loss must be smaller; finite, 0 or more.
    pub min_delta: f64,
}

impl EarlyStopping {
    /// Ends a fit after `patience` epochs that are not better at all.
    pub fn after(patience: u64) -> Self {
        Self { patience, min_delta: 0.0 }
    }

    /// Sets by how much a loss must be smaller.
    #[must_use]
    pub fn min_delta(mut self, delta: f64) -> Self {
        self.min_delta = delta;
        self
    }

    /// Checks the settings.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Training, text));
        if self.patience == 0 {
            return wrong("early stopping: patience: expected 1 or more, got 0".into());
        }
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            let got = self.min_delta;
            return wrong(format!("early stopping: min_delta: expected a finite number, 0 or more, got {got}"));
        }
        Ok(())
    }
}

/// What a fit has seen so far.
#[derive(Debug, Default)]
pub(super) struct Watch {
    best: Option<f64>,
    /// Epochs since the best one.
    wait: u64,
    /// The weights of the best epoch.
    pub(super) weights: Option<Weights>,
}

impl Watch {
    /// Returns whether an epoch of this loss is better than those before it, by more than `min_delta`.
    pub(super) fn is_better(&mut self, min_delta: f64, loss: f64) -> bool {
        // K callbacks/early_stopping.py
        let better = self.best.is_none_or(|best| loss + min_delta < best);
        self.saw(better, loss);
        better
    }

    fn saw(&mut self, better: bool, loss: f64) {
        if better {
            self.best = Some(loss);
        }
        self.wait = if better { 0 } else { self.wait + 1 };
    }

    /// Goes on from earlier epochs, each given as whether it was better, and its loss.
    pub(super) fn resume(&mut self, epochs: impl Iterator<Item = (bool, f64)>) {
        epochs.for_each(|(better, loss)| self.saw(better, loss));
    }

    /// Returns whether the fit ends here.
    pub(super) fn ends(&self, settings: EarlyStopping) -> bool {
        self.wait >= settings.patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the epoch, counted from 1, at which a fit ends, and the epochs that are better than those before.
    fn ends(settings: EarlyStopping, losses: &[f64]) -> (Option<usize>, Vec<usize>) {
        let (mut watch, mut better) = (Watch::default(), Vec::new());
        for (epoch, loss) in (1..).zip(losses) {
            if watch.is_better(settings.min_delta, *loss) {
                better.push(epoch);
            }
            if watch.ends(settings) {
                return (Some(epoch), better);
            }
        }
        (None, better)
    }

    #[test]
    fn a_fit_ends_after_epochs_in_a_row_that_are_not_better() {
        let losses = [1.0, 0.8, 0.9, 0.7, 0.7, 0.69, 0.75, 0.74, 0.73];
        assert_eq!(ends(EarlyStopping::after(1), &losses), (Some(3), vec![1, 2]));
        assert_eq!(ends(EarlyStopping::after(2), &losses), (Some(8), vec![1, 2, 4, 6]));
        assert_eq!(ends(EarlyStopping::after(3), &losses), (Some(9), vec![1, 2, 4, 6]));
        assert_eq!(ends(EarlyStopping::after(4), &losses), (None, vec![1, 2, 4, 6]));
        assert_eq!(ends(EarlyStopping::after(2).min_delta(0.11), &losses), (Some(4), vec![1, 2]));
    }

    #[test]
    fn settings_that_cannot_be_are_refused() {
        let said = EarlyStopping::after(0).check().unwrap_err().to_string();
        assert_eq!(said, "early stopping: patience: expected 1 or more, got 0");
        for delta in [-0.1, f64::NAN, f64::INFINITY] {
            let said = EarlyStopping::after(1).min_delta(delta).check().unwrap_err().to_string();
            assert_eq!(said, format!("early stopping: min_delta: expected a finite number, 0 or more, got {delta}"));
        }
    }
}
