//! The layer `rms_norm`: the features of each step by the root of their mean square.

use super::norm::{Norm, NormOf, Normalizes};
use crate::cell::Constant;

/// `y = x / √(mean(x²) + ε) · weight`, with the mean of each step's features (Zhang and Sennrich, "Root Mean Square
/// Layer Normalization", 2019). Tensor: `weight` `[features]`, as in PyTorch's `nn.RMSNorm`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RmsNorm {
    /// The features of a step.
    pub features: usize,
    /// ε, which keeps it from dividing by zero.
    pub eps: Constant,
    /// Whether there is a weight, which the result is multiplied with.
    pub scale: bool,
}

impl RmsNorm {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 3] = ["features", "eps", "scale"];

    /// Creates a layer with a weight, and PyTorch's ε, that of 32-bit floats: 1.2 · 10⁻⁷.
    pub fn new(features: usize) -> Self {
        Self { features, eps: Constant::new(f32::EPSILON), scale: true }
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
}

impl Normalizes for RmsNorm {
    const NAME: &'static str = "rms_norm";
    const CLASS: &'static str = "RMSNormalization";

    fn norm(&self) -> Norm {
        let (features, eps) = (self.features, self.eps);
        Norm { of: NormOf::Rms, features, eps, weight: self.scale.then_some(features), bias: false }
    }
}
