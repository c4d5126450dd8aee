//! The layer `masking`: the input itself tells where there is no step.

use std::fmt;

use super::Kind;
use crate::cell::Constant;
use crate::error::Result;
use crate::model::flow::{Features, Flow, unfit};

/// A step whose features all equal `value` is none: the first layer of a model, before anything changes them (Keras'
/// `Masking`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masking {
    /// I, the features of the input.
    pub features: usize,
    /// The value.
    pub value: Constant,
}

impl Masking {
    /// The keys of its description, beside `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 2] = ["features", "value"];

    /// No step where all of `features` features are `value`.
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

    fn summary(&self) -> String {
        format!("Masking, {}", self.value)
    }
}
