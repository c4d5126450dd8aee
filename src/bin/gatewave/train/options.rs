//! The flags of an update: words → `Update`, and which flags do not fit together.

use clap::ValueEnum;
use gatewave::train::{Adam, AdamW, Clip, Convention, Optimizer, RmsProp, Sgd, Update};
use gatewave::{Error, ErrorKind, Result};

/// How gradients become new weights.
#[derive(clap::Args)]
pub(super) struct UpdateArgs {
    /// The optimizer
    #[arg(long, value_enum, default_value = "adam")]
    optimizer: Method,
    /// The framework whose formulas, defaults and initial weights are used
    #[arg(long, value_enum, default_value = "torch")]
    like: Framework,
    /// The learning rate [default: the optimizer's]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// sgd, rmsprop: the share of the last step that is kept
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// sgd: look ahead along the momentum
    #[arg(long)]
    nesterov: bool,
    /// The weight decay, which pulls weights towards zero
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// rmsprop: the share of the running means that is kept (Keras's rho)
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// rmsprop: use the variance instead of the mean square
    #[arg(long)]
    centered: bool,
    /// adam, adamw: the shares of both running means that are kept
    #[arg(long, value_name = "A,B", value_parser = betas, allow_hyphen_values = true)]
    betas: Option<[f64; 2]>,
    /// rmsprop, adam, adamw: the term that keeps quotients finite
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// Bound the norm of all gradients together
    #[arg(long, value_name = "N", allow_negative_numbers = true, group = "clip")]
    clip_norm: Option<f32>,
    /// Bound the norm of each tensor's gradient (Keras' clipnorm)
    #[arg(long, value_name = "N", allow_negative_numbers = true, group = "clip")]
    clip_tensor_norm: Option<f32>,
    /// Bound each element of the gradients
    #[arg(long, value_name = "V", allow_negative_numbers = true, group = "clip")]
    clip_value: Option<f32>,
}

/// An optimizer, as flags name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Stochastic gradient descent
    Sgd,
    /// RMSprop
    Rmsprop,
    /// Adam
    Adam,
    /// Adam with decoupled weight decay
    Adamw,
}

/// A framework, as flags name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Framework {
    /// PyTorch
    Torch,
    /// Keras
    Keras,
}

impl UpdateArgs {
    /// Returns whose formulas and initial weights are used.
    pub(super) fn like(&self) -> Convention {
        match self.like {
            Framework::Torch => Convention::Torch,
            Framework::Keras => Convention::Keras,
        }
    }

    /// Returns the update.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Training` if a flag is for another optimizer, or a number is out of range.
    pub(super) fn update(&self) -> Result<Update> {
        use Method::{Adam as A, Adamw as W, Rmsprop as R, Sgd as S};
        for (flag, is_given, takers) in [
            ("--momentum", self.momentum.is_some(), &[S, R][..]),
            ("--nesterov", self.nesterov, &[S]),
            ("--alpha", self.alpha.is_some(), &[R]),
            ("--centered", self.centered, &[R]),
            ("--betas", self.betas.is_some(), &[A, W]),
            ("--epsilon", self.epsilon.is_some(), &[R, A, W]),
        ] {
            if is_given && !takers.contains(&self.optimizer) {
                let takers = takers.iter().map(|taker| taker.word()).collect::<Vec<_>>().join(" or ");
                let text = format!("{flag}: expected --optimizer {takers}, got {}", self.optimizer.word());
                return Err(Error::new(ErrorKind::Training, text));
            }
        }
        let clip = match (self.clip_norm, self.clip_tensor_norm, self.clip_value) {
            (Some(norm), ..) => Clip::GlobalNorm(norm),
            (None, Some(norm), _) => Clip::TensorNorm(norm),
            (None, None, Some(value)) => Clip::Value(value),
            (None, None, None) => Clip::None,
        };
        let update = Update::by(self.optimizer()).clip(clip);
        update.check()?;
        Ok(update)
    }

    fn optimizer(&self) -> Optimizer {
        let like = self.like();
        match self.optimizer {
            Method::Sgd => {
                let mut sgd = Sgd::like(like).nesterov(self.nesterov);
                set(&mut sgd.momentum, self.momentum);
                set(&mut sgd.learning_rate, self.learning_rate);
                self.weight_decay.map_or(sgd, |decay| sgd.weight_decay(decay)).into()
            }
            Method::Rmsprop => {
                let mut rms = RmsProp::like(like).centered(self.centered);
                set(&mut rms.momentum, self.momentum);
                set(&mut rms.alpha, self.alpha);
                set(&mut rms.epsilon, self.epsilon);
                set(&mut rms.learning_rate, self.learning_rate);
                self.weight_decay.map_or(rms, |decay| rms.weight_decay(decay)).into()
            }
            Method::Adam => {
                let mut adam = Adam::like(like);
                set(&mut adam.betas, self.betas);
                set(&mut adam.epsilon, self.epsilon);
                set(&mut adam.learning_rate, self.learning_rate);
                self.weight_decay.map_or(adam, |decay| adam.weight_decay(decay)).into()
            }
            Method::Adamw => {
                let mut adam = AdamW::like(like);
                set(&mut adam.betas, self.betas);
                set(&mut adam.epsilon, self.epsilon);
                set(&mut adam.learning_rate, self.learning_rate);
                self.weight_decay.map_or(adam, |decay| adam.weight_decay(decay)).into()
            }
        }
    }
}

impl Method {
    /// Returns its word on the command line.
    fn word(self) -> String {
        self.to_possible_value().expect("no optimizer is skipped").get_name().to_owned()
    }
}

/// Sets a setting, if a value was given.
fn set<T>(setting: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *setting = said;
    }
}

/// Parses `A,B`.
fn betas(text: &str) -> std::result::Result<[f64; 2], String> {
    let expected = || format!("expected A,B, two shares, got {text:?}");
    let (first, second) = text.split_once(',').ok_or_else(expected)?;
    let number = |text: &str| text.trim().parse::<f64>().map_err(|_| expected());
    Ok([number(first)?, number(second)?])
}
