//! The rate that falls where a measure no longer gets better: PyTorch's and Keras' `ReduceLROnPlateau`.

use super::settings::{Like, not_negative, wrong};
use crate::error::Result;

/// Which way a measure gets better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Less is better: a loss.
    #[default]
    Loss,
    /// More is better: an accuracy.
    Score,
}

/// When the rate falls, and how far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    /// Whose rule. PyTorch waits until more than `patience` epochs were no better, Keras until as many were.
    pub like: Like,
    /// Which way the measure gets better.
    pub measure: Measure,
    /// What the rate is multiplied by.
    pub factor: f64,
    /// How many epochs may be no better.
    pub patience: u64,
    /// By how much better counts: of PyTorch a share of the best, of Keras as it stands.
    pub threshold: f64,
    /// How many epochs after a fall do not count.
    pub cooldown: u64,
    /// The least rate.
    pub least: f64,
    /// Falls of no more than this are left out (PyTorch's `eps`).
    pub slack: f64,
    /// What it has seen.
    pub state: PlateauState,
}

/// What a [`Plateau`] has seen: plain numbers, for a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlateauState {
    /// The best so far.
    pub best: Option<f64>,
    /// How many epochs since were no better.
    pub bad: u64,
    /// How many epochs more do not count.
    pub cooldown: u64,
    /// The rate after the last fall.
    pub rate: Option<f64>,
}

impl Plateau {
    /// With the defaults of `like`, of a loss.
    pub fn like(like: Like) -> Self {
        // P optim/lr_scheduler.py, K callbacks/reduce_lr_on_plateau.py.
        Self {
            like,
            measure: Measure::Loss,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            cooldown: 0,
            least: 0.0,
            slack: if like == Like::Torch { 1e-8 } else { 0.0 },
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

    /// Sets by how much better counts.
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

    /// Sets the least rate.
    #[must_use]
    pub fn least(mut self, least: f64) -> Self {
        self.least = least;
        self
    }

    /// The rate now, of a training that began at `base`.
    pub(super) fn rate(&self, base: f64) -> f64 {
        self.state.rate.unwrap_or(base)
    }

    /// Sees the measure of an epoch.
    pub(super) fn observe(&mut self, base: f64, value: f64) {
        match self.like {
            Like::Torch => self.observe_as_torch(base, value),
            Like::Keras => self.observe_as_keras(base, value),
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
            (Like::Torch, Measure::Loss, None) => value < f64::INFINITY,
            (Like::Torch, Measure::Score, None) => value > f64::NEG_INFINITY,
            (Like::Torch, Measure::Loss, Some(best)) => value < best * (1.0 - self.threshold),
            (Like::Torch, Measure::Score, Some(best)) => value > best * (1.0 + self.threshold),
            (Like::Keras, _, None) => true,
            (Like::Keras, Measure::Loss, Some(best)) => value + self.threshold < best,
            (Like::Keras, Measure::Score, Some(best)) => value - self.threshold > best,
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
