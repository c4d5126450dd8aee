//! The layer `one_hot`: tokens to unit vectors.

use std::fmt;

use super::Kind;
use crate::error::Result;
use crate::model::flow::{Features, Flow, positive, vectors};

/// Token `v` becomes the vector of `num_classes` elements with a one at `v`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OneHot {
    /// V, the length of the vector.
    pub num_classes: usize,
}

impl OneHot {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 1] = ["num_classes"];

    /// Creates a layer of unit vectors with `num_classes` elements.
    pub fn new(num_classes: usize) -> Self {
        Self { num_classes }
    }
}

impl Kind for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Tokens(self.num_classes))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("num_classes", self.num_classes)?;
        vectors(input, self.num_classes, Features::one(self.num_classes))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one_hot({})", self.num_classes)
    }

    fn class(&self) -> &'static str {
        "OneHot"
    }
}
