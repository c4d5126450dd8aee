//! Clipping: bounds of gradients before an update.

use super::settings::{Convention, positive};
use crate::error::Result;

/// How gradients are bounded before an update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Clip {
    /// No bound.
    #[default]
    None,
    /// A bound for the norm of all gradients together (PyTorch's `clip_grad_norm_`, Keras' `global_clipnorm`).
    GlobalNorm(f32),
    /// A bound for the norm of each tensor's gradient (Keras' `clipnorm`).
    TensorNorm(f32),
    /// A bound for each element, ±the value (PyTorch's `clip_grad_value_`, Keras' `clipvalue`).
    Value(f32),
}

impl Clip {
    /// Checks the bound.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::GlobalNorm(bound) | Self::TensorNorm(bound) => positive("clip_norm", bound.into()),
            Self::Value(bound) => positive("clip_value", bound.into()),
        }
    }

    /// Returns the bound of a norm, if there is one.
    pub(super) fn norm(self) -> Option<f32> {
        match self {
            Self::GlobalNorm(bound) | Self::TensorNorm(bound) => Some(bound),
            Self::None | Self::Value(_) => None,
        }
    }

    /// Returns the bound of an element, if there is one.
    pub(super) fn value(self) -> Option<f32> {
        match self {
            Self::Value(bound) => Some(bound),
            Self::None | Self::GlobalNorm(_) | Self::TensorNorm(_) => None,
        }
    }

    /// Returns what is added to a norm before the bound is divided by it.
    pub(super) fn slack(like: Convention) -> f32 {
        match like {
            Convention::Torch => 1e-6,
            Convention::Keras => 0.0,
        }
    }
}

/// Returns the nearest 32-bit float.
#[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
pub(super) fn rounded(x: f64) -> f32 {
    x as f32
}
