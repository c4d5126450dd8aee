//! Optimizers: their settings, with the defaults of PyTorch or of Keras.

use super::decay::WeightDecay;
use super::settings::{Convention, below_one, not_negative, positive, share, wrong};
use crate::error::Result;

/// How gradients move weights.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Moves along the gradient, with or without momentum.
    Sgd(Sgd),
    /// Moves along the gradient, divided by a running root of its mean square.
    RmsProp(RmsProp),
    /// Moves along a running mean of the gradient, divided by a running root of its mean square (Kingma and Ba 2015).
    Adam(Adam),
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW(AdamW),
}

/// Stochastic gradient descent.
///
/// ```
/// use gatewave::train::{Convention, Sgd};
///
/// let sgd = Sgd::like(Convention::Keras).learning_rate(0.05).momentum(0.9).nesterov(true);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sgd {
    /// Whose formula it follows. Momentum differs: PyTorch accumulates
    /// gradients. Keras accumulates steps, which a new rate does not rescale.
    pub like: Convention,
    /// η, before any schedule.
    pub learning_rate: f64,
    /// μ, the share of the last step that is kept.
    pub momentum: f64,
    /// τ: a gradient contributes 1 − τ to the momentum, except for the first (PyTorch only).
    pub dampening: f64,
    /// Whether a step looks ahead along the momentum.
    pub nesterov: bool,
    /// The weight decay.
    pub weight_decay: WeightDecay,
}

/// RMSprop (Hinton 2012).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RmsProp {
    /// Whose formula it follows. PyTorch adds ε to the root, Keras inside the root.
    pub like: Convention,
    /// η, before any schedule.
    pub learning_rate: f64,
    /// The share of the running means that is kept (Keras' `rho`).
    pub alpha: f64,
    /// ε.
    pub epsilon: f64,
    /// μ, the share of the last step that is kept.
    pub momentum: f64,
    /// Whether the variance replaces the mean square.
    pub centered: bool,
    /// The weight decay.
    pub weight_decay: WeightDecay,
}

impl Sgd {
    /// Makes SGD with the defaults of `like`: no momentum.
    pub fn like(like: Convention) -> Self {
        // P optim/sgd.py, K optimizers/sgd.py.
        let learning_rate = if like == Convention::Torch { 1e-3 } else { 0.01 };
        let weight_decay = WeightDecay::default();
        Self { like, learning_rate, momentum: 0.0, dampening: 0.0, nesterov: false, weight_decay }
    }

    /// Sets μ.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets τ.
    #[must_use]
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Sets whether a step looks ahead.
    #[must_use]
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
        self
    }

    fn check(&self) -> Result<()> {
        share("momentum", self.momentum)?;
        share("dampening", self.dampening)?;
        if self.like == Convention::Keras && self.dampening > 0.0 {
            return Err(wrong(format!("dampening: expected 0, got {}; Keras has none", self.dampening)));
        }
        if self.nesterov && self.momentum <= 0.0 {
            return Err(wrong(
                "nesterov: expected a momentum of more than 0, got 0; set momentum, or leave out nesterov",
            ));
        }
        if self.nesterov && self.dampening > 0.0 {
            return Err(wrong(format!("nesterov: expected a dampening of 0, got {}", self.dampening)));
        }
        Ok(())
    }
}

impl RmsProp {
    /// Makes RMSprop with the defaults of `like`: neither centered nor with momentum.
    pub fn like(like: Convention) -> Self {
        // P optim/rmsprop.py, K optimizers/rmsprop.py.
        let (learning_rate, alpha, epsilon) = match like {
            Convention::Torch => (1e-2, 0.99, 1e-8),
            Convention::Keras => (1e-3, 0.9, 1e-7),
        };
        let weight_decay = WeightDecay::default();
        Self { like, learning_rate, alpha, epsilon, momentum: 0.0, centered: false, weight_decay }
    }

    /// Sets the share of the running means that is kept.
    #[must_use]
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets ε.
    #[must_use]
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets μ.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets whether the variance replaces the mean square.
    #[must_use]
    pub fn centered(mut self, centered: bool) -> Self {
        self.centered = centered;
        self
    }

    fn check(&self) -> Result<()> {
        below_one("alpha", self.alpha)?;
        positive("epsilon", self.epsilon)?;
        share("momentum", self.momentum)
    }
}

/// Adam and AdamW. They differ in their defaults and in the meaning of `weight_decay`.
macro_rules! adam {
    ($($(#[$doc:meta])* $name:ident: $torch:literal $keras:literal,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            /// Whose formula it follows. PyTorch adds ε to the corrected root, Keras to the uncorrected one.
            pub like: Convention,
            /// η, before any schedule.
            pub learning_rate: f64,
            /// The shares of the running means that are kept: of gradients, and of their squares.
            pub betas: [f64; 2],
            /// ε.
            pub epsilon: f64,
            /// Whether the largest mean square so far replaces the last (Reddi et al. 2018).
            pub amsgrad: bool,
            /// The weight decay.
            pub weight_decay: WeightDecay,
        }

        impl $name {
            /// Makes the optimizer with the defaults of `like`.
            pub fn like(like: Convention) -> Self {
                // P optim/adam.py and optim/adamw.py, K optimizers/adam.py and optimizers/adamw.py.
                let (epsilon, decay) = match like {
                    Convention::Torch => (1e-8, $torch),
                    Convention::Keras => (1e-7, $keras),
                };
                let weight_decay = WeightDecay::new(decay);
                Self { like, learning_rate: 1e-3, betas: [0.9, 0.999], epsilon, amsgrad: false, weight_decay }
            }

            /// Sets the shares of the running means that are kept.
            #[must_use]
            pub fn betas(mut self, betas: [f64; 2]) -> Self {
                self.betas = betas;
                self
            }

            /// Sets ε.
            #[must_use]
            pub fn epsilon(mut self, epsilon: f64) -> Self {
                self.epsilon = epsilon;
                self
            }

            /// Sets whether the largest mean square so far replaces the last.
            #[must_use]
            pub fn amsgrad(mut self, amsgrad: bool) -> Self {
                self.amsgrad = amsgrad;
                self
            }

            fn check(&self) -> Result<()> {
                below_one("betas[0]", self.betas[0])?;
                below_one("betas[1]", self.betas[1])?;
                positive("epsilon", self.epsilon)
            }
        }
    )*};
}

adam! {
    /// Adam.
    Adam: 0.0 0.0,
    /// AdamW: Adam whose weights decay by default.
    AdamW: 0.01 0.004,
}

/// The methods of all optimizers.
macro_rules! each {
    ($($kind:ident: $name:literal,)*) => {
        $(impl $kind {
            /// Sets η.
            #[must_use]
            pub fn learning_rate(mut self, learning_rate: f64) -> Self {
                self.learning_rate = learning_rate;
                self
            }

            /// Sets the weight decay.
            #[must_use]
            pub fn weight_decay(mut self, decay: impl Into<WeightDecay>) -> Self {
                self.weight_decay = decay.into();
                self
            }
        }

        impl From<$kind> for Optimizer {
            fn from(settings: $kind) -> Self {
                Self::$kind(settings)
            }
        })*

        impl Optimizer {
            /// Returns its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)*
                }
            }

            /// Returns whose formula it follows.
            pub fn like(&self) -> Convention {
                match self {
                    $(Self::$kind(settings) => settings.like,)*
                }
            }

            /// Returns η, before any schedule.
            pub fn learning_rate(&self) -> f64 {
                match self {
                    $(Self::$kind(settings) => settings.learning_rate,)*
                }
            }

            /// Returns the weight decay.
            pub fn weight_decay(&self) -> WeightDecay {
                match self {
                    $(Self::$kind(settings) => settings.weight_decay,)*
                }
            }

            /// Checks the settings.
            ///
            /// # Errors
            ///
            /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a setting is invalid.
            pub fn check(&self) -> Result<()> {
                let own = match self {
                    $(Self::$kind(settings) => settings.check(),)*
                };
                own.and_then(|()| not_negative("learning_rate", self.learning_rate()))
                    .and_then(|()| self.weight_decay().check())
                    .map_err(|e| e.at(self.name()))
            }
        }
    };
}

each! {
    Sgd: "sgd",
    RmsProp: "rmsprop",
    Adam: "adam",
    AdamW: "adamw",
}
