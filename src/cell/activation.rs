//! Activations: every function for gates, states and layers, by name and constants.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// A function of one number, or (in the softmax family) of all features of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// The identity.
    Linear,
    /// `1 / (1 + exp(−x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `max(0, x)`.
    Relu,
    /// `alpha · x + beta`.
    Affine {
        /// The slope.
        alpha: Constant,
        /// The value at 0.
        beta: Constant,
    },
    /// `x` where positive, else `alpha · x`.
    LeakyRelu {
        /// The slope below 0.
        alpha: Constant,
    },
    /// `x` where greater than `alpha`, else 0.
    ThresholdedRelu {
        /// The threshold.
        alpha: Constant,
    },
    /// `alpha · tanh(beta · x)`.
    ScaledTanh {
        /// The height.
        alpha: Constant,
        /// The slope inside.
        beta: Constant,
    },
    /// `min(max(alpha · x + beta, 0), 1)`. Keras 2: 0.2 and 0.5; Keras 3: 1/6 and 0.5.
    HardSigmoid {
        /// The slope.
        alpha: Constant,
        /// The value at 0.
        beta: Constant,
    },
    /// `x` where positive, else `alpha · (exp(x) − 1)`.
    Elu {
        /// The depth.
        alpha: Constant,
    },
    /// `gamma · (x where positive, else alpha · (exp(x) − 1))`.
    Selu {
        /// The depth.
        alpha: Constant,
        /// The scale.
        gamma: Constant,
    },
    /// `x` where positive, else `alpha · (exp(x / alpha) − 1)`.
    Celu {
        /// The depth.
        alpha: Constant,
    },
    /// `x / (1 + |x|)`.
    Softsign,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// `exp(x)`.
    Exponential,
    /// `min(max(x, alpha), beta)`: 0 and 6 is relu6, −1 and 1 the hard tanh.
    Clamp {
        /// The least value.
        alpha: Constant,
        /// The greatest.
        beta: Constant,
    },
    /// `x · sigmoid(x)`, also called swish.
    Silu,
    /// `x · min(max(alpha · x + beta, 0), 1)`, also called hard swish: 1/6 and 0.5.
    HardSilu {
        /// The slope.
        alpha: Constant,
        /// The value at 0.
        beta: Constant,
    },
    /// `x · Φ(x)`, Φ the normal distribution: `x / 2 · (1 + erf(x / √2))`.
    Gelu,
    /// `x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`: the approximation of [`Gelu`](Self::Gelu).
    GeluTanh,
    /// `x · tanh(softplus(x))`.
    Mish,
    /// `ln(sigmoid(x))`.
    LogSigmoid,
    /// `x` where `|x| > alpha`, else 0.
    HardShrink {
        /// The threshold.
        alpha: Constant,
    },
    /// `x − alpha` above `alpha`, `x + alpha` below `−alpha`, 0 between.
    SoftShrink {
        /// The threshold.
        alpha: Constant,
    },
    /// `x − tanh(x)`.
    TanhShrink,
    /// 0 up to −1, `x` from 1, `(x + 1)² / 4` between.
    SparsePlus,
    /// `(x + √(x² + alpha)) / 2`.
    Squareplus {
        /// Rounds the corner: usually 4.
        alpha: Constant,
    },
    /// `√x`; NaN below 0.
    Sqrt,
    /// `exp(x_i) / Σ exp(x_j)` over the features.
    Softmax,
    /// `log(softmax(x))` over the features.
    LogSoftmax,
}

/// A constant of a function: an f32 that is compared by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Constant(u32);

impl Constant {
    /// Creates the constant with this value.
    pub const fn new(value: f32) -> Self {
        Self(value.to_bits())
    }

    /// Returns the value.
    pub const fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.get(), f)
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.get(), f)
    }
}

impl Activation {
    /// All functions with their usual constants, in a stable order. A function's index is its code in a kernel.
    pub const ALL: [Self; 30] = {
        let c = Constant::new;
        [
            Self::Linear,
            Self::Sigmoid,
            Self::Tanh,
            Self::Relu,
            Self::Affine { alpha: c(1.0), beta: c(0.0) },
            Self::LeakyRelu { alpha: c(0.01) },
            Self::ThresholdedRelu { alpha: c(1.0) },
            Self::ScaledTanh { alpha: c(1.0), beta: c(1.0) },
            Self::HardSigmoid { alpha: c(0.2), beta: c(0.5) },
            Self::Elu { alpha: c(1.0) },
            Self::Selu { alpha: c(1.673_263_2), gamma: c(1.050_701) },
            Self::Celu { alpha: c(1.0) },
            Self::Softsign,
            Self::Softplus,
            Self::Exponential,
            Self::Clamp { alpha: c(0.0), beta: c(6.0) },
            Self::Silu,
            Self::HardSilu { alpha: c(1.0 / 6.0), beta: c(0.5) },
            Self::Gelu,
            Self::GeluTanh,
            Self::Mish,
            Self::LogSigmoid,
            Self::HardShrink { alpha: c(0.5) },
            Self::SoftShrink { alpha: c(0.5) },
            Self::TanhShrink,
            Self::SparsePlus,
            Self::Squareplus { alpha: c(4.0) },
            Self::Sqrt,
            Self::Softmax,
            Self::LogSoftmax,
        ]
    };

    /// Returns the name, as descriptions write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Relu => "relu",
            Self::Affine { .. } => "affine",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::ThresholdedRelu { .. } => "thresholded_relu",
            Self::ScaledTanh { .. } => "scaled_tanh",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::Elu { .. } => "elu",
            Self::Selu { .. } => "selu",
            Self::Celu { .. } => "celu",
            Self::Softsign => "softsign",
            Self::Softplus => "softplus",
            Self::Exponential => "exponential",
            Self::Clamp { .. } => "clamp",
            Self::Silu => "silu",
            Self::HardSilu { .. } => "hard_silu",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::Mish => "mish",
            Self::LogSigmoid => "log_sigmoid",
            Self::HardShrink { .. } => "hard_shrink",
            Self::SoftShrink { .. } => "soft_shrink",
            Self::TanhShrink => "tanh_shrink",
            Self::SparsePlus => "sparse_plus",
            Self::Squareplus { .. } => "squareplus",
            Self::Sqrt => "sqrt",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log_softmax",
        }
    }

    /// Returns the constants by name, in order.
    pub fn constants(self) -> Vec<(&'static str, Constant)> {
        match self {
            Self::Affine { alpha, beta }
            | Self::ScaledTanh { alpha, beta }
            | Self::HardSigmoid { alpha, beta }
            | Self::HardSilu { alpha, beta }
            | Self::Clamp { alpha, beta } => vec![("alpha", alpha), ("beta", beta)],
            Self::Selu { alpha, gamma } => vec![("alpha", alpha), ("gamma", gamma)],
            Self::LeakyRelu { alpha }
            | Self::ThresholdedRelu { alpha }
            | Self::Elu { alpha }
            | Self::Celu { alpha }
            | Self::HardShrink { alpha }
            | Self::SoftShrink { alpha }
            | Self::Squareplus { alpha } => vec![("alpha", alpha)],
            _ => Vec::new(),
        }
    }

    /// Returns the function with new `constants`, in the order of
    /// [`constants`](Self::constants). Constants that are missing stay as they are.
    #[must_use]
    pub fn with_constants(self, constants: &[Constant]) -> Self {
        let own = self.constants();
        let get = |i: usize| constants.get(i).copied().unwrap_or_else(|| own[i].1);
        match self {
            Self::Affine { .. } => Self::Affine { alpha: get(0), beta: get(1) },
            Self::ScaledTanh { .. } => Self::ScaledTanh { alpha: get(0), beta: get(1) },
            Self::HardSigmoid { .. } => Self::HardSigmoid { alpha: get(0), beta: get(1) },
            Self::HardSilu { .. } => Self::HardSilu { alpha: get(0), beta: get(1) },
            Self::Clamp { .. } => Self::Clamp { alpha: get(0), beta: get(1) },
            Self::Selu { .. } => Self::Selu { alpha: get(0), gamma: get(1) },
            Self::LeakyRelu { .. } => Self::LeakyRelu { alpha: get(0) },
            Self::ThresholdedRelu { .. } => Self::ThresholdedRelu { alpha: get(0) },
            Self::Elu { .. } => Self::Elu { alpha: get(0) },
            Self::Celu { .. } => Self::Celu { alpha: get(0) },
            Self::HardShrink { .. } => Self::HardShrink { alpha: get(0) },
            Self::SoftShrink { .. } => Self::SoftShrink { alpha: get(0) },
            Self::Squareplus { .. } => Self::Squareplus { alpha: get(0) },
            other => other,
        }
    }

    /// Checks that its constants are numbers.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`] if one is NaN.
    pub(crate) fn check(self) -> Result<()> {
        match self.constants().into_iter().find(|(_, value)| value.get().is_nan()) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::new(ErrorKind::Model, format!("{name} of {}: expected a number, got NaN", self.name())))
            }
        }
    }

    /// Whether each result depends on one number alone. The softmax family needs all features of a step.
    pub fn is_elementwise(self) -> bool {
        !matches!(self, Self::Softmax | Self::LogSoftmax)
    }

    /// Whether it has a value at every number. A root has none below 0.
    pub fn is_total(self) -> bool {
        self != Self::Sqrt
    }

    /// Returns the index of the function in [`ALL`](Self::ALL), whatever its constants.
    pub fn code(self) -> u32 {
        let place = Self::ALL.iter().position(|other| other.name() == self.name()).expect("ALL has one of each");
        u32::try_from(place).expect("few functions")
    }
}

impl fmt::Display for Activation {
    /// Writes the name, and the constants if they are not the usual ones: `elu(alpha 0.3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if Self::ALL.contains(self) || self.constants().is_empty() {
            return Ok(());
        }
        let constants: Vec<_> = self.constants().iter().map(|(name, value)| format!("{name} {value}")).collect();
        write!(f, "({})", constants.join(", "))
    }
}
