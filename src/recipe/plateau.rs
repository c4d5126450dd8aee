//! A rate that falls if a measure no longer gets better: PyTorch's and Keras' `ReduceLROnPlateau`.

use super::settings::{Convention, not_negative, wrong};
use crate::error::Result;

/// Which way a measure gets better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Measure {
    /// Less is better: a loss.
    #[default]
    Loss,
    /// More is better: an accuracy.
    Score,
}

/// When the rate falls, and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plateau {
    /// Whose rule it follows. PyTorch waits until more than
    /// `patience` epochs were no better, Keras until `patience` were.
    pub like: Convention,
    /// Which way the measure gets better.
    pub measure: Measure,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// How many epochs may be no better.
    pub patience: u64,
    /// By how much a measure must be better: in PyTorch a share of the best, in Keras an absolute difference.
    pub threshold: f64,
    /// How many epochs after a fall do not count.
    pub cooldown: u64,
    /// The lowest rate.
    pub least: f64,
    /// Falls of at most this much are left out (PyTorch's `eps`).
    pub slack: f64,
    /// What it has observed.
    pub state: PlateauState,
}

/// What a [`Plateau`] has observed: plain numbers, for a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PlateauState {
    /// The best measure so far.
    pub best: Option<f64>,
    /// How many epochs since then were no better.
    pub bad: u64,
    /// How many more epochs do not count.
    pub cooldown: u64,
    /// The rate after the last fall.
    pub rate: Option<f64>,
}

impl Plateau {
    /// Makes a plateau with the defaults of `like`, for a loss.
    pub fn like(like: Convention) -> Self {
        // P optim/lr_scheduler.py, K callbacks/reduce_lr_on_plateau.py.
        Self {
            like,
            measure: Measure::Loss,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            slack: if like == Convention::Torch { 1e-8 } else { 0.0 },
            state: PlateauState::default(),
        }
    }

    /// Sets which way the measure gets better.
    #[must_use]
    pub fn measure(mut self, measure: Measure) -> Self {
        self.measure = measure;
        self
    }

    /// Sets what the rate is multiplied by.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets how many epochs may be no better.
    #[must_use]
    pub fn patience(mut self, patience: u64) -> Self {
        self.patience = patience;
        self
    }

    /// Sets by how much a measure must be better.
    #[must_use]
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets how many epochs after a fall do not count.
    #[must_use]
    pub fn cooldown(mut self, cooldown: u64) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// Sets the lowest rate.
    #[must_use]
    pub fn least(mut self, least: f64) -> Self {
        self.least = least;
        self
    }

    /// Returns the current rate of a training that began at `base`.
    pub(super) fn rate(&self, base: f64) -> f64 {
        self.state.rate.unwrap_or(base)
    }

    /// Observes the measure of an epoch.
    pub(super) fn observe(&mut self, base: f64, value: f64) {
        match self.like {
            Convention::Torch => self.observe_as_torch(base, value),
            Convention::Keras => self.observe_as_keras(base, value),
        }
    }

    fn observe_as_torch(&mut self, base: f64, value: f64) {
        if self.is_better(value) {
            (self.state.best, self.state.bad) = (Some(value), 0);
        } else {
            self.state.bad += 1;
        }
        if self.state.cooldown > 0 {
            self.state.cooldown -= 1;
            self.state.bad = 0;
        }
        if self.state.bad > self.patience {
            let old = self.rate(base);
            let new = (old * self.factor).max(self.least);
            if old - new > self.slack {
                self.state.rate = Some(new);
            }
            (self.state.bad, self.state.cooldown) = (0, self.cooldown);
        }
    }

    fn observe_as_keras(&mut self, base: f64, value: f64) {
        if self.state.cooldown > 0 {
            self.state.cooldown -= 1;
            self.state.bad = 0;
        }
        if self.is_better(value) {
            (self.state.best, self.state.bad) = (Some(value), 0);
        } else if self.state.cooldown == 0 {
            self.state.bad += 1;
            let old = self.rate(base);
            if self.state.bad >= self.patience && old > self.least {
                self.state.rate = Some((old * self.factor).max(self.least));
                (self.state.bad, self.state.cooldown) = (0, self.cooldown);
            }
        }
    }

    fn is_better(&self, value: f64) -> bool {
        match (self.like, self.measure, self.state.best) {
            // Better than ±∞.
            (Convention::Torch, Measure::Loss, None) => value < f64::INFINITY,
            (Convention::Torch, Measure::Score, None) => value > f64::NEG_INFINITY,
            (Convention::Torch, Measure::Loss, Some(best)) => value < best * (1.0 - self.threshold),
            (Convention::Torch, Measure::Score, Some(best)) => value > best * (1.0 + self.threshold),
            (Convention::Keras, _, None) => true,
            (Convention::Keras, Measure::Loss, Some(best)) => value + self.threshold < best,
            (Convention::Keras, Measure::Score, Some(best)) => value - self.threshold > best,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err(wrong(format!("factor: expected more than 0 and less than 1, got {}", self.factor)));
        }
        not_negative("threshold", self.threshold)?;
        not_negative("least", self.least)?;
        not_negative("slack", self.slack)
    }
}
