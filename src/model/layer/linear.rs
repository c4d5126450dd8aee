//! The layer `linear`: a dense product over the features.

use std::{fmt, iter};

use super::Kind;
use super::param::{BIAS, Init, Law, Param, Role, WEIGHT};
use super::recurrent::Bias;
use crate::cell::Activation;
use crate::error::Result;
use crate::model::flow::{Features, Flow, positive, unfit};

/// `y = f(x·Wᵀ + b)` over the features. Tensors: `weight` `[out_features, in_features]`, `bias` `[out_features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Linear {
    /// The features of the input.
    pub in_features: usize,
    /// The features of the output.
    pub out_features: usize,
    /// Whether there is a bias: [`Bias::One`] or [`Bias::None`].
    pub bias: Bias,
    /// The activation of the product.
    pub activation: Activation,
}

impl Linear {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 4] = ["in_features", "out_features", "bias", "activation"];

    /// Creates a layer with a bias and no activation.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self { in_features, out_features, bias: Bias::One, activation: Activation::Linear }
    }

    /// Sets the activation.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = if bias { Bias::One } else { Bias::None };
        self
    }

    /// Removes the bias.
    #[must_use]
    pub fn no_bias(self) -> Self {
        self.bias(false)
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

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        let (inputs, outputs) = (self.in_features, self.out_features);
        let param = move |name: &str, shape, role, keras| Param {
            name: name.into(),
            shape,
            role,
            init: Init::of_terms(inputs, keras),
        };
        let bias = (self.bias != Bias::None).then(|| param(BIAS, vec![outputs], Role::Bias, Law::Zero));
        let weight = param(WEIGHT, vec![outputs, inputs], Role::Matrix, Law::glorot(inputs, outputs));
        Box::new(iter::once(weight).chain(bias))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linear({}→{})", self.in_features, self.out_features)?;
        match self.activation {
            Activation::Linear => Ok(()),
            activation => write!(f, " {activation}"),
        }
    }

    fn class(&self) -> &'static str {
        "Dense"
    }
}
