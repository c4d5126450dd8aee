//! The layer `dropout`: drops values at random in training, and is the identity at inference.

use std::fmt;

use super::Kind;
use crate::cell::Constant;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Flow, unfit};

/// Dropout: training drops a share `rate` of the input at random, and divides the rest by `1 − rate`. The mean
/// stays the same (Srivastava et al. 2014; the scale as in PyTorch and Keras). It changes no number at inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropout {
    /// The share that training drops, 0 to 1.
    pub rate: Constant,
    /// The units that it drops.
    pub drops: DropoutUnit,
}

/// The unit that dropout drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropoutUnit {
    /// Single elements.
    #[default]
    Elements,
    /// Whole features, each at every step of a sequence (Keras' `SpatialDropout1D`).
    Features,
}

impl DropoutUnit {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 2] = [("elements", Self::Elements), ("features", Self::Features)];
}

impl Dropout {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 2] = ["p", "drops"];

    /// Creates a layer that drops single elements at `rate`.
    pub fn new(rate: f32) -> Self {
        Self { rate: rate.into(), drops: DropoutUnit::Elements }
    }

    /// Sets that whole features are dropped, each at every step of a sequence (Keras' `SpatialDropout1D`).
    #[must_use]
    pub fn features(mut self) -> Self {
        self.drops = DropoutUnit::Features;
        self
    }
}

impl Kind for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn takes(&self) -> Option<Flow> {
        None
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        match input {
            Flow::Tokens(_) => unfit("features".into(), input),
            Flow::Steps(_) | Flow::Rows(_) => share("rate", self.rate).map(|()| input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dropout({})", self.rate)
    }

    fn class(&self) -> &'static str {
        match self.drops {
            DropoutUnit::Elements => "Dropout",
            DropoutUnit::Features => "SpatialDropout1D",
        }
    }
}

/// Checks that `rate` is a share.
pub(super) fn share(name: &str, rate: Constant) -> Result<()> {
    if (0.0..=1.0).contains(&rate.get()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Model, format!("{name}: expected 0 to 1, got {rate}")))
}
