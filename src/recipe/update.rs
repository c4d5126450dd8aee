//! An optimizer with all that changes a gradient before it: the compiled part, and the numbers of each update.

use super::clip::{Clip, rounded};
use super::decay::L2;
use super::optimizer::{Adam, AdamW, Optimizer, RmsProp, Sgd};
use super::settings::{Convention, not_negative, wrong};
use crate::error::Result;
use crate::model::Role;
use crate::rule::{Method, Rule, Scalars};

/// How gradients become new weights: an optimizer, clipping and a penalty.
///
/// The order is that of the frameworks. The penalty is a part of the gradient, then
/// the gradient is clipped, then weights decay, then the optimizer moves them.
///
/// ```
/// use gatewave::layer::Role;
/// use gatewave::train::{Clip, Convention, L2, RmsProp, Update};
///
/// let update = Update::by(RmsProp::like(Convention::Keras)).clip(Clip::GlobalNorm(1.0)).l2(L2::none().on(Role::Matrix, 1e-4));
/// assert!(update.check().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Update {
    /// The optimizer, which moves the weights.
    pub optimizer: Optimizer,
    /// How gradients are bounded.
    pub clip: Clip,
    /// The L2 penalty, which large weights add to the loss.
    pub l2: L2,
}

impl Update {
    /// Makes an update by this optimizer alone.
    pub fn by(optimizer: impl Into<Optimizer>) -> Self {
        Self { optimizer: optimizer.into(), clip: Clip::None, l2: L2::none() }
    }

    /// Sets how gradients are bounded.
    #[must_use]
    pub fn clip(mut self, clip: Clip) -> Self {
        self.clip = clip;
        self
    }

    /// Sets the L2 penalty.
    #[must_use]
    pub fn l2(mut self, l2: L2) -> Self {
        self.l2 = l2;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a setting is invalid.
    pub fn check(&self) -> Result<()> {
        self.optimizer.check()?;
        self.clip.check()?;
        self.l2.check()
    }

    /// Returns what never changes from update to update.
    pub fn rule(&self) -> Rule {
        let (method, momentum) = match &self.optimizer {
            Optimizer::Sgd(sgd) => (Method::Gradient, sgd.momentum > 0.0),
            Optimizer::RmsProp(rms) => (Method::RmsProp { centered: rms.centered }, rms.momentum > 0.0),
            Optimizer::Adam(Adam { amsgrad, .. }) | Optimizer::AdamW(AdamW { amsgrad, .. }) => {
                (Method::Adam { amsgrad: *amsgrad }, false)
            }
        };
        Rule { method, momentum, clips_value: self.clip.value().is_some() }
    }

    /// Returns every setting in words, by its name. Updates with equal words are equal.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let by_role = |of: &dyn Fn(Role) -> f64| {
            let rate = |&role: &Role| (of(role) > 0.0).then(|| format!("{role:?} {}", of(role)));
            let rates: Vec<String> = Role::ALL.iter().filter_map(rate).collect();
            if rates.is_empty() { "none".to_owned() } else { rates.join(", ") }
        };
        let decay = self.optimizer.weight_decay();
        let mut all = vec![
            ("optimizer", format!("{} of {}", self.optimizer.name(), self.optimizer.like())),
            ("learning_rate", self.optimizer.learning_rate().to_string()),
            ("weight_decay", by_role(&|role| decay.of(role))),
            (
                "clip",
                match self.clip {
                    Clip::None => "none".to_owned(),
                    Clip::GlobalNorm(bound) => format!("global norm {bound}"),
                    Clip::TensorNorm(bound) => format!("norm of each tensor {bound}"),
                    Clip::Value(bound) => format!("value {bound}"),
                },
            ),
            ("l2", by_role(&|role| self.l2.of(role))),
        ];
        match &self.optimizer {
            Optimizer::Sgd(Sgd { momentum, dampening, nesterov, .. }) => all.extend([
                ("momentum", momentum.to_string()),
                ("dampening", dampening.to_string()),
                ("nesterov", nesterov.to_string()),
            ]),
            Optimizer::RmsProp(RmsProp { alpha, epsilon, momentum, centered, .. }) => all.extend([
                ("alpha", alpha.to_string()),
                ("epsilon", epsilon.to_string()),
                ("momentum", momentum.to_string()),
                ("centered", centered.to_string()),
            ]),
            Optimizer::Adam(Adam { betas: [first, second], epsilon, amsgrad, .. })
            | Optimizer::AdamW(AdamW { betas: [first, second], epsilon, amsgrad, .. }) => all.extend([
                ("betas", format!("{first}, {second}")),
                ("epsilon", epsilon.to_string()),
                ("amsgrad", amsgrad.to_string()),
            ]),
        }
        all
    }

    /// Computes the numbers of update `t`, counted from 1, for weights of `role`
    /// at the learning rate `rate`. They are computed in 64 bits and rounded once.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if the rate is negative or not finite, or `t` is 0.
    pub fn scalars(&self, role: Role, rate: f64, t: u64) -> Result<Scalars> {
        not_negative("learning_rate", rate)?;
        if t == 0 {
            return Err(wrong("update: expected 1 or more, got 0; updates count from 1"));
        }
        let optimizer = &self.optimizer;
        let moving = match optimizer {
            Optimizer::Sgd(sgd) => of_sgd(sgd, rate, t),
            Optimizer::RmsProp(rms) => of_rms(rms, rate),
            Optimizer::Adam(Adam { like, betas, epsilon, .. })
            | Optimizer::AdamW(AdamW { like, betas, epsilon, .. }) => of_adam(*like, *betas, *epsilon, rate, t),
        };
        let lambda = optimizer.weight_decay().of(role);
        let is_coupled = optimizer.like() == Convention::Torch && !matches!(optimizer, Optimizer::AdamW(_));
        let (coupled, decoupled) = if is_coupled { (lambda, 0.0) } else { (0.0, rate * lambda) };
        Ok(Scalars {
            penalty: rounded(2.0 * self.l2.of(role)),
            clip_norm: self.clip.norm().unwrap_or_default(),
            clip_slack: Clip::slack(optimizer.like()),
            clip_value: self.clip.value().unwrap_or(f32::MAX),
            coupled: rounded(coupled),
            decoupled: rounded(decoupled),
            ..moving
        })
    }
}

/// Returns the numbers of SGD: how much of a gradient goes into the momentum, and from there into the weights.
fn of_sgd(sgd: &Sgd, rate: f64, t: u64) -> Scalars {
    let &Sgd { like, momentum, dampening, nesterov, .. } = sgd;
    let (into, direct, through) = match like {
        _ if momentum <= 0.0 => (0.0, rate, 0.0),
        // P optim/sgd.py: b = μb + (1 − τ)g, the first b = g; w −= ηb, Nesterov: w −= η(g + μb).
        Convention::Torch => {
            let into = if t == 1 { 1.0 } else { 1.0 - dampening };
            if nesterov { (into, rate, rate * momentum) } else { (into, 0.0, rate) }
        }
        // K optimizers/sgd.py, where v = −b: b = μb + ηg; w −= b, Nesterov: w −= ηg + μb.
        Convention::Keras if nesterov => (rate, rate, momentum),
        Convention::Keras => (rate, 0.0, 1.0),
    };
    Scalars {
        momentum: rounded(momentum),
        into: rounded(into),
        direct: rounded(direct),
        through: rounded(through),
        ..Scalars::default()
    }
}

/// Returns the numbers of RMSprop: where ε and the learning rate enter.
fn of_rms(rms: &RmsProp, rate: f64) -> Scalars {
    // P optim/rmsprop.py: d = g / (√s + ε); b = μb + d, w −= ηb.
    // K optimizers/rmsprop.py: d = g / √(s + ε); b = μb + ηd, w −= b.
    let (inside, epsilon) = if rms.like == Convention::Keras { (rms.epsilon, 0.0) } else { (0.0, rms.epsilon) };
    let (into, direct, through) = match rms.like {
        _ if rms.momentum <= 0.0 => (0.0, rate, 0.0),
        Convention::Torch => (1.0, 0.0, rate),
        Convention::Keras => (rate, 0.0, 1.0),
    };
    Scalars {
        mean: rounded(1.0 - rms.alpha),
        square: rounded(1.0 - rms.alpha),
        inside: rounded(inside),
        epsilon: rounded(epsilon),
        momentum: rounded(rms.momentum),
        into: rounded(into),
        direct: rounded(direct),
        through: rounded(through),
        ..Scalars::default()
    }
}

/// Returns the numbers of Adam: the correction of its means, which began at zero.
fn of_adam(like: Convention, betas: [f64; 2], epsilon: f64, rate: f64, t: u64) -> Scalars {
    let [mean, square] = betas.map(|beta| 1.0 - power(beta, t));
    let (direct, root) = match like {
        // P optim/adam.py: w −= η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε).
        Convention::Torch => (rate / mean, square.sqrt().recip()),
        // K optimizers/adam.py: w −= η√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε).
        Convention::Keras => (rate * square.sqrt() / mean, 1.0),
    };
    Scalars {
        mean: rounded(1.0 - betas[0]),
        square: rounded(1.0 - betas[1]),
        root: rounded(root),
        epsilon: rounded(epsilon),
        direct: rounded(direct),
        ..Scalars::default()
    }
}

/// Returns `x` to the power `n` by products alone, so that it is the same on every machine.
fn power(x: f64, mut n: u64) -> f64 {
    let (mut result, mut square) = (1.0, x);
    while n > 0 {
        if n & 1 == 1 {
            result *= square;
        }
        square *= square;
        n >>= 1;
    }
    result
}
