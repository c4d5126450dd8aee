//! The layer `linear`: a dense product over the features.

use std::fmt;

use super::Kind;
use super::recurrent::Bias;
use crate::cell::Activation;
use crate::error::Result;
use crate::model::flow::{Features, Flow, positive, unfit};

/// `y = f(x·Wᵀ + b)` over the features. Tensors: `weight` `[out_features, in_features]`, `bias` `[out_features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The features of the input.
    pub in_features: usize,
    /// The features of the output.
    pub out_features: usize,
    /// Whether there is a bias: [`Bias::One`] or [`Bias::None`].
    pub bias: Bias,
    /// What the product goes through.
    pub activation: Activation,
}

impl Linear {
    /// A product with a bias and no activation.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self { in_features, out_features, bias: Bias::One, activation: Activation::Linear }
    }

    /// The same with an activation.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The same without a bias.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.bias = Bias::None;
        self
    }
}

impl Kind for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Steps(Features::one(self.in_features)))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("in_features", self.in_features)?;
        positive("out_features", self.out_features)?;
        match input {
            Flow::Steps(f) if f.len() == self.in_features => Ok(Flow::Steps(Features::one(self.out_features))),
            Flow::Rows(f) if f.len() == self.in_features => Ok(Flow::Rows(Features::one(self.out_features))),
            _ => unfit(format!("{} features (in_features)", self.in_features), input),
        }
    }

    fn parameters(&self) -> usize {
        self.out_features * (self.in_features + usize::from(self.bias != Bias::None))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linear({}→{})", self.in_features, self.out_features)?;
        match self.activation {
            Activation::Linear => Ok(()),
            activation => write!(f, " {activation}"),
        }
    }

    fn summary(&self) -> String {
        "Linear".into()
    }
}
