//! The layer `prelu`: a relu whose slope below zero is learned.

use super::norm::{Norm, NormOf, Normalizes};
use crate::cell::Constant;

/// `y = max(x, 0) + weight · min(x, 0)`, with one weight for each feature, or one for all (He et al., "Delving Deep into
/// Rectifiers", 2015). Tensor: `weight` `[features]` or `[1]`, as in PyTorch's `nn.PReLU`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PRelu {
    /// The features of a step.
    pub features: usize,
    /// Whether all features have one weight.
    pub shared: bool,
}

impl PRelu {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 2] = ["features", "shared"];

    /// Creates a layer with one weight for each feature.
    pub fn new(features: usize) -> Self {
        Self { features, shared: false }
    }

    /// Makes one weight serve all features.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }
}

impl Normalizes for PRelu {
    const NAME: &'static str = "prelu";
    const CLASS: &'static str = "PReLU";

    fn norm(&self) -> Norm {
        let weight = Some(if self.shared { 1 } else { self.features });
        Norm { of: NormOf::PRelu, features: self.features, eps: Constant::new(0.0), weight, bias: false }
    }
}
