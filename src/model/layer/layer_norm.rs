//! The layer `layer_norm`: the features of each step by their mean and variance.

use super::norm::{Norm, NormOf, Normalizes};
use crate::cell::Constant;

/// `y = (x − mean) / √(variance + ε) · weight + bias`, with the mean and the variance (of all features, not of a
/// sample) of each step's features (Ba, Kiros and Hinton, "Layer Normalization", 2016). Tensors: `weight` and `bias`,
/// `[features]` each, as in PyTorch's `nn.LayerNorm`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerNorm {
    /// The features of a step.
    pub features: usize,
    /// ε, which keeps it from dividing by zero.
    pub eps: Constant,
    /// Whether there is a weight, which the result is multiplied with.
    pub scale: bool,
    /// Whether there is a bias.
    pub bias: bool,
}

impl LayerNorm {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 4] = ["features", "eps", "scale", "bias"];

    /// Creates a layer with weight and bias, and ε = 10⁻⁵.
    pub fn new(features: usize) -> Self {
        Self { features, eps: Constant::new(1e-5), scale: true, bias: true }
    }

    /// Sets ε.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = Constant::new(eps);
        self
    }

    /// Sets whether there is a weight.
    #[must_use]
    pub fn scale(mut self, scale: bool) -> Self {
        self.scale = scale;
        self
    }

    /// Sets whether there is a bias.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }
}

impl Normalizes for LayerNorm {
    const NAME: &'static str = "layer_norm";
    const CLASS: &'static str = "LayerNormalization";

    fn norm(&self) -> Norm {
        let (features, eps) = (self.features, self.eps);
        Norm { of: NormOf::Layer, features, eps, weight: self.scale.then_some(features), bias: self.bias }
    }
}
