//! The layer `batch_norm`: each feature by the mean and variance of a batch.

use super::norm::{Norm, NormOf, Normalizes};
use crate::cell::Constant;

/// `y = (x − mean) / √(variance + ε) · weight + bias`, feature by feature, with the mean and variance that it keeps
/// (Ioffe and Szegedy, "Batch Normalization", 2015). Tensors, `[features]` each: `weight`, `bias`, `running_mean` and
/// `running_var`, as in PyTorch's `nn.BatchNorm1d`.
///
/// Training leaves the mean and variance as they are, so it is refused unless the layer is [`frozen`](Self::frozen).
/// Constants, as in Keras' `Normalization`, are a frozen one without weight and bias.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchNorm {
    /// The features of a step.
    pub features: usize,
    /// ε, which keeps it from dividing by zero.
    pub eps: Constant,
    /// Whether there is a weight, which the result is multiplied with.
    pub scale: bool,
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether mean and variance are constants, in training too.
    pub frozen: bool,
}

impl BatchNorm {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 5] = ["features", "eps", "scale", "bias", "frozen"];

    /// Creates a layer with weight and bias, and ε = 10⁻⁵.
    pub fn new(features: usize) -> Self {
        Self { features, eps: Constant::new(1e-5), scale: true, bias: true, frozen: false }
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

    /// Makes mean and variance constants, in training too.
    #[must_use]
    pub fn frozen(mut self) -> Self {
        self.frozen = true;
        self
    }
}

impl Normalizes for BatchNorm {
    const NAME: &'static str = "batch_norm";
    const CLASS: &'static str = "BatchNormalization";

    fn norm(&self) -> Norm {
        let (features, eps) = (self.features, self.eps);
        Norm { of: NormOf::Batch, features, eps, weight: self.scale.then_some(features), bias: self.bias }
    }
}
