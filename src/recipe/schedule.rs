//! Schedules: the learning rate of each update. A rate is data of an update, so no rate needs a new plan.

use std::f64::consts::PI;

use super::plateau::{Plateau, PlateauState};
use super::settings::{Convention, at_least_one, not_negative, positive, wrong};
use crate::error::Result;

/// How the learning rate changes in the course of a training.
///
/// It counts epochs, as PyTorch's schedulers mostly do, or updates, as Keras' schedules do. Each begins
/// as in its framework; [`per_update`](Self::per_update) and [`per_epoch`](Self::per_epoch) change that.
///
/// ```
/// use gatewave::train::Schedule;
///
/// let schedule = Schedule::step(30, 0.1);
/// assert_eq!(schedule.rate(0.5, 12_000, 29), 0.5);
/// assert_eq!(schedule.rate(0.5, 12_400, 30), 0.05);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    shape: Shape,
    counts: Counts,
    /// The updates over which the rate rises in a line, before the first of the schedule.
    warm_up: Option<u64>,
}

/// What a schedule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    Updates,
    Epochs,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Constant,
    Exponential { factor: f64, steps: u64, by_stairs: bool },
    MultiStep { milestones: Vec<u64>, factor: f64 },
    Cosine { steps: u64, share: f64, warm_up: Option<(u64, f64)> },
    Annealing { steps: u64, least: f64 },
    Linear { from: f64, to: f64, steps: u64 },
    Plateau(Plateau),
}

impl Schedule {
    fn of(shape: Shape, counts: Counts) -> Self {
        Self { shape, counts, warm_up: None }
    }

    /// Makes a schedule with a constant rate.
    pub fn constant() -> Self {
        Self::of(Shape::Constant, Counts::Updates)
    }

    /// Multiplies the rate by `factor` after every `steps` epochs (PyTorch's
    /// `StepLR`). Per update it is Keras' `ExponentialDecay` with `staircase`.
    pub fn step(steps: u64, factor: f64) -> Self {
        Self::of(Shape::Exponential { factor, steps, by_stairs: true }, Counts::Epochs)
    }

    /// Multiplies the rate by `factor` at each epoch of `milestones` (PyTorch's `MultiStepLR`).
    pub fn multi_step(milestones: impl Into<Vec<u64>>, factor: f64) -> Self {
        Self::of(Shape::MultiStep { milestones: milestones.into(), factor }, Counts::Epochs)
    }

    /// Multiplies the rate by `factor` over every `steps` updates, a little at each (Keras'
    /// `ExponentialDecay`). With one step per epoch it is PyTorch's `ExponentialLR`.
    pub fn exponential(steps: u64, factor: f64) -> Self {
        Self::of(Shape::Exponential { factor, steps, by_stairs: false }, Counts::Updates)
    }

    /// Lowers the rate by half a cosine over `steps` updates, down
    /// to `share` of it (Keras' `CosineDecay` and its `alpha`).
    pub fn cosine(steps: u64, share: f64) -> Self {
        Self::of(Shape::Cosine { steps, share, warm_up: None }, Counts::Updates)
    }

    /// Moves the rate in a line to `target` over `warm_up` updates. Then half a cosine over `steps`
    /// updates lowers it to `share` of `target` (Keras' `CosineDecay` with `warmup_target`).
    pub fn cosine_after_warm_up(warm_up: u64, target: f64, steps: u64, share: f64) -> Self {
        Self::of(Shape::Cosine { steps, share, warm_up: Some((warm_up, target)) }, Counts::Updates)
    }

    /// Lowers the rate by half a cosine to `least` over `steps` epochs,
    /// and raises it again after them (PyTorch's `CosineAnnealingLR`).
    pub fn cosine_annealing(steps: u64, least: f64) -> Self {
        Self::of(Shape::Annealing { steps, least }, Counts::Epochs)
    }

    /// Moves the rate in a line from `from` times the rate to `to` times the rate over `steps`
    /// epochs, and keeps it then (PyTorch's `LinearLR`). It serves as a linear warm-up.
    pub fn linear(from: f64, to: f64, steps: u64) -> Self {
        Self::of(Shape::Linear { from, to, steps }, Counts::Epochs)
    }

    /// Lowers the rate if a measure no longer gets better (`ReduceLROnPlateau`).
    /// Pass the measure of each epoch to [`observe`](Self::observe).
    pub fn plateau(plateau: Plateau) -> Self {
        Self::of(Shape::Plateau(plateau), Counts::Epochs)
    }

    /// Makes the schedule that `words` say, of a training of `updates` updates. `cosine` and `linear` fall to zero at
    /// the last of them. `step,N,F` multiplies by F after every N epochs, `exponential,F` after each, and
    /// `plateau,N,F` after N epochs that are not better. The settings of a plateau are those of `like`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if there are no such words.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::train::{Convention, Schedule};
    ///
    /// let schedule = Schedule::of_words("step,30,0.1", 0, Convention::Torch)?;
    /// assert_eq!(schedule, Schedule::step(30, 0.1));
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    pub fn of_words(words: &str, updates: u64, like: Convention) -> Result<Self> {
        let parts: Vec<&str> = words.split(',').map(str::trim).collect();
        let unknown = || {
            let known = "cosine, linear, step,N,F, exponential,F or plateau,N,F";
            wrong(format!("expected {known}, got {words:?}"))
        };
        let whole = |text: &str| text.parse::<u64>().map_err(|_| unknown());
        let real = |text: &str| text.parse::<f64>().map_err(|_| unknown());
        Ok(match parts[..] {
            ["cosine"] => Self::cosine(updates, 0.0),
            ["linear"] => Self::linear(1.0, 0.0, updates).per_update(),
            ["step", epochs, factor] => Self::step(whole(epochs)?, real(factor)?),
            ["exponential", factor] => Self::exponential(1, real(factor)?).per_epoch(),
            ["plateau", epochs, factor] => {
                Self::plateau(Plateau::like(like).patience(whole(epochs)?).factor(real(factor)?))
            }
            _ => return Err(unknown()),
        })
    }

    /// Raises the rate in a line over the first updates: update u, counted from 0, has u / `updates` of the rate. The
    /// updates of the schedule are counted from there (transformers' `get_cosine_schedule_with_warmup` and its like).
    #[must_use]
    pub fn after_warm_up(mut self, updates: u64) -> Self {
        self.warm_up = Some(updates);
        self
    }

    /// Sets that the schedule counts updates.
    #[must_use]
    pub fn per_update(mut self) -> Self {
        self.counts = Counts::Updates;
        self
    }

    /// Sets that the schedule counts epochs.
    #[must_use]
    pub fn per_epoch(mut self) -> Self {
        self.counts = Counts::Epochs;
        self
    }

    /// Returns the rate of an update of a training that began at the
    /// rate `base`. `update` updates and `epoch` epochs went before it.
    pub fn rate(&self, base: f64, update: u64, epoch: u64) -> f64 {
        let before = self.warm_up.unwrap_or(0);
        match update.checked_sub(before) {
            Some(update) => self.shape.rate(self.counts, base, update, epoch),
            None => base * float(update) / float(before),
        }
    }

    /// Passes the measure of an epoch to the schedule, after the epoch. Only a plateau uses it.
    pub fn observe(&mut self, base: f64, value: f64) {
        if let Shape::Plateau(plateau) = &mut self.shape {
            plateau.observe(base, value);
        }
    }

    /// Returns what a plateau has observed, for a checkpoint. All other schedules have no state.
    pub fn state(&self) -> Option<PlateauState> {
        if let Shape::Plateau(plateau) = &self.shape { Some(plateau.state) } else { None }
    }

    /// Sets what a plateau has observed, from a checkpoint.
    #[must_use]
    pub fn resumed(mut self, state: PlateauState) -> Self {
        if let Shape::Plateau(plateau) = &mut self.shape {
            plateau.state = state;
        }
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a setting is invalid.
    pub fn check(&self) -> Result<()> {
        self.shape.check(self.counts)?;
        let warm_up = self.warm_up.map_or(Ok(()), |updates| at_least_one("updates", updates));
        warm_up.map_err(|e| e.at("schedule warm_up"))
    }
}

impl Shape {
    fn rate(&self, counts: Counts, base: f64, update: u64, epoch: u64) -> f64 {
        let done = match counts {
            Counts::Updates => update,
            Counts::Epochs => epoch,
        };
        match self {
            Self::Constant => base,
            // P StepLR: η γ^⌊e/S⌋. K ExponentialDecay: η r^(s/S), with staircase η r^⌊s/S⌋.
            &Self::Exponential { factor, steps, by_stairs: true } => {
                base * libm::pow(factor, float(done / steps.max(1)))
            }
            &Self::Exponential { factor, steps, .. } => base * libm::pow(factor, float(done) / float(steps)),
            // P MultiStepLR: η γ^(milestones up to e).
            Self::MultiStep { milestones, factor } => {
                let passed = milestones.iter().filter(|&&at| at <= done).count();
                base * libm::pow(*factor, float(passed as u64))
            }
            // K CosineDecay.
            &Self::Cosine { steps, share, warm_up: None } => falling(base, done, steps, share),
            &Self::Cosine { warm_up: Some((steps, target)), .. } if done < steps => {
                base + (target - base) * float(done) / float(steps)
            }
            &Self::Cosine { steps, share, warm_up: Some((before, target)) } => {
                falling(target, done - before, steps, share)
            }
            // P CosineAnnealingLR: η_min + ½ (η − η_min)(1 + cos πe/T).
            &Self::Annealing { steps, least } => {
                least + (base - least) * (1.0 + libm::cos(PI * float(done) / float(steps))) / 2.0
            }
            // P LinearLR.
            &Self::Linear { from, to, steps } => base * (from + (to - from) * float(done.min(steps)) / float(steps)),
            Self::Plateau(plateau) => plateau.rate(base),
        }
    }

    /// Checks the settings of a schedule of this shape that counts `counts`.
    fn check(&self, counts: Counts) -> Result<()> {
        let (name, checked) = match self {
            Self::Constant => return Ok(()),
            Self::Exponential { factor, steps, by_stairs } => {
                let name = if *by_stairs { "step" } else { "exponential" };
                (name, at_least_one("steps", *steps).and_then(|()| positive("factor", *factor)))
            }
            Self::MultiStep { factor, .. } => ("multi_step", positive("factor", *factor)),
            Self::Cosine { steps, share, warm_up } => {
                let target = warm_up.map_or(Ok(()), |(_, target)| not_negative("target", target));
                let all = target.and_then(|()| at_least_one("steps", *steps));
                ("cosine", all.and_then(|()| not_negative("share", *share)))
            }
            Self::Annealing { steps, least } => {
                ("cosine_annealing", at_least_one("steps", *steps).and_then(|()| not_negative("least", *least)))
            }
            Self::Linear { from, to, steps } => {
                let factors = not_negative("from", *from).and_then(|()| not_negative("to", *to));
                ("linear", factors.and_then(|()| at_least_one("steps", *steps)))
            }
            Self::Plateau(_) if counts == Counts::Updates => {
                ("plateau", Err(wrong("expected epochs, got updates; leave out per_update")))
            }
            Self::Plateau(plateau) => ("plateau", plateau.check()),
        };
        checked.map_err(|e| e.at(format!("schedule {name}")))
    }
}

/// Returns half a cosine from `rate` to `share` of it over `steps`, and a constant after that.
fn falling(rate: f64, done: u64, steps: u64, share: f64) -> f64 {
    let half = (1.0 + libm::cos(PI * float(done.min(steps)) / float(steps))) / 2.0;
    rate * ((1.0 - share) * half + share)
}

#[expect(clippy::cast_precision_loss, reason = "no training has 2⁵³ updates")]
fn float(n: u64) -> f64 {
    n as f64
}
