//! The layer `dropout`: what training drops at random, the identity at inference.

use std::fmt;

use super::Kind;
use crate::cell::Constant;
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Flow, unfit};

/// Dropout: training drops a share of what the layer takes, at random, and divides the rest by what is left of 1, so that the
/// mean stays (Srivastava et al. 2014; the scale as in PyTorch and Keras). It changes no number at inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// The share that training drops, 0 to 1.
    pub rate: Constant,
    /// What it drops.
    pub drops: Drops,
}

/// What dropout drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Drops {
    /// Single elements.
    #[default]
    Elements,
    /// A feature at every step of a sequence (Keras' `SpatialDropout1D`).
    Features,
}

impl Drops {
    /// The word of each in a description.
    pub(crate) const WORDS: [(&str, Self); 2] = [("elements", Self::Elements), ("features", Self::Features)];
}

impl Dropout {
    /// The keys of its description, beside `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 2] = ["p", "drops"];

    /// Drops single elements at `rate`.
    pub fn new(rate: f32) -> Self {
        Self { rate: rate.into(), drops: Drops::Elements }
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

    fn summary(&self) -> String {
        match self.drops {
            Drops::Elements => format!("Dropout, {}", self.rate),
            Drops::Features => format!("Dropout of features, {}", self.rate),
        }
    }
}

/// Whether `rate` is a share.
pub(super) fn share(name: &str, rate: Constant) -> Result<()> {
    if (0.0..=1.0).contains(&rate.get()) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Model, format!("{name}: expected 0 to 1, got {rate}")))
}
