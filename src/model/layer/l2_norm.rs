//! The layer `l2_norm`: the features of each step as a vector of length 1.

use super::norm::{Norm, NormOf, Normalizes};
use crate::cell::Constant;

/// `y = x / max(‖x‖, ε)`, with the length ‖x‖ = √(Σx²) of each step's features, as PyTorch's `F.normalize`. It has no
/// parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct L2Norm {
    /// The features of a step.
    pub features: usize,
    /// ε, which keeps it from dividing by zero.
    pub eps: Constant,
}

impl L2Norm {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 2] = ["features", "eps"];

    /// Creates a layer with ε = 10⁻¹².
    pub fn new(features: usize) -> Self {
        Self { features, eps: Constant::new(1e-12) }
    }

    /// Sets ε.
    #[must_use]
    pub fn eps(mut self, eps: f32) -> Self {
        self.eps = Constant::new(eps);
        self
    }
}

impl Normalizes for L2Norm {
    const NAME: &'static str = "l2_norm";
    const CLASS: &'static str = "UnitNormalization";

    fn norm(&self) -> Norm {
        Norm { of: NormOf::L2, features: self.features, eps: self.eps, weight: None, bias: false }
    }
}
