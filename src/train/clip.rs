//! Clipping: bounds of gradients before an update.

use super::settings::{Like, positive};
use crate::error::Result;

/// How gradients are bounded before an update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Clip {
    /// Not at all.
    #[default]
    None,
    /// By the norm of all gradients together (PyTorch's `clip_grad_norm_`, Keras' `global_clipnorm`).
    GlobalNorm(f32),
    /// Each tensor's gradient by its own norm (Keras' `clipnorm`).
    TensorNorm(f32),
    /// Each element to ±the value (PyTorch's `clip_grad_value_`, Keras' `clipvalue`).
    Value(f32),
}

impl Clip {
    /// Whether the bound can be one.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::GlobalNorm(bound) | Self::TensorNorm(bound) => positive("clip_norm", bound.into()),
            Self::Value(bound) => positive("clip_value", bound.into()),
        }
    }

    /// The bound of a norm, where there is one.
    pub(super) fn norm(self) -> Option<f32> {
        match self {
            Self::GlobalNorm(bound) | Self::TensorNorm(bound) => Some(bound),
            Self::None | Self::Value(_) => None,
        }
    }

    /// The bound of an element, where there is one.
    pub(super) fn value(self) -> Option<f32> {
        match self {
            Self::Value(bound) => Some(bound),
            Self::None | Self::GlobalNorm(_) | Self::TensorNorm(_) => None,
        }
    }

    /// What is added to a norm before the bound is divided by it.
    pub(super) fn slack(like: Like) -> f32 {
        match like {
            Like::Torch => 1e-6,
            Like::Keras => 0.0,
        }
    }
}

/// The nearest 32-bit float.
#[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
pub(super) fn rounded(x: f64) -> f32 {
    x as f32
}
