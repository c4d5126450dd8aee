//! Weight decay of an update, and the L2 penalty that is a part of the loss. Both pull weights towards zero.

use super::settings::not_negative;
use crate::error::Result;
use crate::model::Role;

/// The weight decay of an update: its rate, and the weights it applies to.
///
/// In PyTorch `weight_decay` of SGD, RMSprop and Adam is coupled: `g += λw`, after
/// clipping. In AdamW, and in Keras with any optimizer, it is decoupled: `w −= ηλw`.
/// A framework decays all weights; [`except`](Self::except) leaves some out.
///
/// ```
/// use gatewave::layer::Role;
/// use gatewave::train::{AdamW, Convention, WeightDecay};
///
/// let decay = WeightDecay::new(0.01).except([Role::Bias, Role::Table]);
/// let optimizer = AdamW::like(Convention::Torch).weight_decay(decay);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WeightDecay {
    rate: f64,
    /// By role, in the order of [`Role::ALL`].
    excepted: [bool; Role::ALL.len()],
}

impl WeightDecay {
    /// Makes a decay of all weights at the rate λ.
    pub fn new(rate: f64) -> Self {
        Self { rate, ..Self::default() }
    }

    /// Leaves out the weights of these roles.
    #[must_use]
    pub fn except(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        roles.into_iter().for_each(|role| self.excepted[role as usize] = true);
        self
    }

    /// Returns λ for weights of `role`.
    pub fn of(&self, role: Role) -> f64 {
        if self.excepted[role as usize] { 0.0 } else { self.rate }
    }

    pub(super) fn check(&self) -> Result<()> {
        not_negative("weight_decay", self.rate)
    }
}

impl From<f64> for WeightDecay {
    fn from(rate: f64) -> Self {
        Self::new(rate)
    }
}

/// An L2 penalty, as in Keras' regularizers. It adds `λ Σw²` to
/// the loss, so each gradient grows by `2λw` before it is clipped.
///
/// ```
/// use gatewave::layer::Role;
/// use gatewave::train::L2;
///
/// // kernel_regularizer and recurrent_regularizer.
/// let penalty = L2::none().on(Role::Matrix, 1e-4).on(Role::Recurrent, 1e-5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct L2 {
    /// By role, in the order of [`Role::ALL`].
    rates: [f64; Role::ALL.len()],
}

impl L2 {
    /// Makes no penalty.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets λ for the weights of `role`.
    #[must_use]
    pub fn on(mut self, role: Role, rate: f64) -> Self {
        self.rates[role as usize] = rate;
        self
    }

    /// Returns λ for weights of `role`.
    pub fn of(&self, role: Role) -> f64 {
        self.rates[role as usize]
    }

    /// Returns what weights of `role` add to the loss: `λ Σw²`, summed in their order.
    pub fn loss(&self, role: Role, weights: &[f32]) -> f64 {
        // K regularizers/regularizers.py, L2.
        self.of(role) * weights.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>()
    }

    pub(super) fn check(&self) -> Result<()> {
        self.rates.iter().try_for_each(|&rate| not_negative("l2", rate))
    }
}
