//! The layer `masking`: finds steps to mask in the input itself.

use std::fmt;

use super::Kind;
use crate::cell::Constant;
use crate::error::Result;
use crate::model::flow::{Features, Flow, unfit};

/// Masks each step whose features all equal `value` (Keras' `Masking`).
/// It must be the first layer, before anything changes the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Masking {
    /// I, the features of the input.
    pub features: usize,
    /// The value that marks padding.
    pub value: Constant,
}

impl Masking {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 2] = ["features", "value"];

    /// Creates a layer that masks each step at which all of `features` features are `value`.
    pub fn new(features: usize, value: f32) -> Self {
        Self { features, value: value.into() }
    }
}

impl Kind for Masking {
    fn name(&self) -> &'static str {
        "masking"
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Steps(Features::one(self.features)))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        match input {
            Flow::Steps(f) if f.len() == self.features => Ok(Flow::Steps(f)),
            _ => unfit(format!("a sequence of {} features", self.features), input),
        }
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "masking({})", self.value)
    }

    fn class(&self) -> &'static str {
        "Masking"
    }
}
