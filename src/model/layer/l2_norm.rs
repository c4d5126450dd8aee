//! The layer `l2_norm`: the features of each step as a vector of length 1.

use std::fmt;

use super::Kind;
use super::norm::{Norm, NormOf};
use super::param::Param;
use crate::cell::Constant;
use crate::error::Result;
use crate::model::flow::Flow;

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

    pub(super) fn norm(&self) -> Norm {
        Norm { of: NormOf::L2, features: self.features, eps: self.eps, weight: None, bias: false }
    }
}

impl Kind for L2Norm {
    fn name(&self) -> &'static str {
        "l2_norm"
    }

    fn takes(&self) -> Option<Flow> {
        self.norm().takes()
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        self.norm().flow(input)
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        self.norm().tensors()
    }

    fn parameters(&self) -> usize {
        self.norm().parameters()
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "l2_norm({})", self.features)
    }

    fn class(&self) -> &'static str {
        "UnitNormalization"
    }
}
