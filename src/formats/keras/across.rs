//! Layers and operations between steps and rows: pools over all steps and over windows, `RepeatVector`, and `Flatten`,
//! `Reshape` and `Permute` where they move numbers between steps and features.
//!
//! Knows shapes and masks; knows no other layer.

use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::masks::Mask;
use super::values::{Flow, Known, unlike};
use crate::error::Result;
use crate::model::{Flatten, GlobalPool, Permute, PoolPadding, Reduce, Repeat, Reshape, WindowPool};

/// Whether a pool leaves out the steps that Keras' mask takes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// It counts all steps.
    All,
    /// It counts those that the mask leaves.
    Unmasked,
}

impl Builder {
    /// Reads `GlobalMaxPooling1D` and `GlobalAveragePooling1D`. Only the latter applies the mask.
    pub(super) fn global_pooling(&mut self, config: &mut Config) -> Result<()> {
        let (reduce, counted) = match config.class() {
            "GlobalMaxPooling1D" => (Reduce::Max, Counted::All),
            _ => (Reduce::Mean, Counted::Unmasked),
        };
        config.only("data_format", &"channels_last".into())?;
        let keeps = config.flag("keepdims", false)?;
        self.pooled(reduce, counted, keeps)
    }

    /// Replaces the current value with what its steps come to. If it `keeps` the axis, that is one step.
    pub(super) fn pooled(&mut self, reduce: Reduce, counted: Counted, keeps: bool) -> Result<()> {
        self.needs_all_steps()?;
        if reduce == Reduce::Sum && self.summed(keeps) {
            return Ok(());
        }
        let features = self.steps()?.1.ok_or_else(|| wrong("expected an input whose features are told".into()))?;
        let mask = if counted == Counted::All { Mask::None } else { self.now.mask.clone() };
        let mut pool = GlobalPool::new(reduce);
        if mask != Mask::None {
            self.lay(&mask)?;
            self.now.unlike = None;
        } else if !self.now.held.is_empty() {
            self.shows_masked_steps()?;
            pool = pool.all_steps();
        }
        self.push("", pool)?;
        self.is_unmasked(if keeps { Flow::OneStep(features) } else { Flow::Rows(features) });
        Ok(())
    }

    /// Reads `MaxPooling1D` and `AveragePooling1D`, which pass no mask on and apply none.
    pub(super) fn window_pooling(&mut self, config: &mut Config) -> Result<()> {
        self.needs_all_steps()?;
        config.only("data_format", &"channels_last".into())?;
        let reduce = if config.class() == "MaxPooling1D" { Reduce::Max } else { Reduce::Mean };
        let size = one_size(config, "pool_size")?.unwrap_or(2);
        let padding = match config.take("padding") {
            None => PoolPadding::NONE,
            Some(word) if word == "valid" => PoolPadding::NONE,
            // A mean divides by the steps that are there, as TensorFlow does.
            Some(word) if word == "same" => PoolPadding::Same,
            Some(other) => return Err(wrong(format!("padding: expected valid or same, got {}", short(&other)))),
        };
        let stride = one_size(config, "strides")?.unwrap_or(size);
        let pool = WindowPool::new(reduce, size).stride(stride).padding(padding);
        self.now = self.settled(&self.now)?;
        let Flow::Steps { time, features: features @ Some(_), bare: false } = self.now.flow else {
            return Err(wrong(format!("expected a sequence of features, got {}", self.now.shape())));
        };
        let count = time.map(|time| pool.windows(time).count);
        if count == Some(0) {
            return Err(wrong(format!("pool_size: expected at most the steps of {}, got {size}", self.now.shape())));
        }
        self.shows_masked_steps()?;
        // Masked steps are read with their values, and every step of the result is live.
        let reads_all = !self.now.held.is_empty();
        self.push("", if reads_all { pool.all_steps() } else { pool })?;
        self.is_unmasked(Flow::Steps { time: count, features, bare: false });
        Ok(())
    }

    /// Reads `RepeatVector`.
    pub(super) fn repeat_vector(&mut self, config: &mut Config) -> Result<()> {
        self.needs_all_steps()?;
        let count = config.size("n")?;
        self.now = self.settled(&self.now)?;
        let Flow::Rows(features) = self.now.flow else {
            return Err(wrong(format!("expected features without a time axis, got {}", self.now.shape())));
        };
        self.push("", Repeat::new(count))?;
        self.is_unmasked(Flow::Steps { time: Some(count), features: Some(features), bare: false });
        Ok(())
    }

    /// Swaps time and features, whose numbers are known.
    pub(super) fn swap_axes(&mut self) -> Result<()> {
        self.needs_all_steps()?;
        self.now = self.settled(&self.now)?;
        let Flow::Steps { time: Some(time), features: Some(features), bare: false } = self.now.flow else {
            return Err(untold(&self.now));
        };
        self.shows_masked_steps()?;
        self.push("", Permute::new(time, features))?;
        self.is_unmasked(Flow::Steps { time: Some(features), features: Some(time), bare: false });
        Ok(())
    }

    /// Gives the numbers of the current value the shape `to`, if that is one axis or two.
    pub(super) fn moved(&mut self, to: &[Option<usize>]) -> Result<()> {
        self.needs_all_steps()?;
        self.now = self.settled(&self.now)?;
        let (time, all) = match self.now.flow {
            Flow::Steps { time: Some(time), features: Some(features), bare: false } => {
                (Some(time), time.saturating_mul(features))
            }
            Flow::Rows(features) | Flow::OneStep(features) => (None, features),
            _ => return Err(untold(&self.now)),
        };
        self.shows_masked_steps()?;
        let unfit = || wrong(format!("expected the {all} numbers of {} in another shape", self.now.shape()));
        match (to, time) {
            (&[Some(features)], Some(time)) if features == all => {
                self.push("", Flatten::new(time))?;
                self.is_unmasked(Flow::Rows(features));
            }
            (&[Some(features)], None) if features == all => self.is_unmasked(Flow::Rows(features)),
            (&[Some(steps), Some(features)], _) if steps.checked_mul(features) == Some(all) => {
                self.push("", Reshape::new(steps, features))?;
                self.is_unmasked(Flow::Steps { time: Some(steps), features: Some(features), bare: false });
            }
            (&[_] | &[_, _], _) => return Err(unfit()),
            _ => {
                let axes: Vec<_> = to.iter().map(|n| n.map_or("any".into(), |n| n.to_string())).collect();
                return Err(wrong(format!(
                    "expected one axis of features, or time and features, got {}",
                    axes.join(" × ")
                )));
            }
        }
        Ok(())
    }

    /// Refuses a layer across steps in a model that is applied to each step.
    pub(super) fn needs_all_steps(&mut self) -> Result<()> {
        self.names_time();
        match self.within_steps {
            false => Ok(()),
            true => Err(wrong("expected a layer that depends on one step alone, got one of all steps".into())),
        }
    }

    /// Checks that masked steps of the current value have the numbers that Keras gives them.
    pub(super) fn shows_masked_steps(&self) -> Result<()> {
        match &self.now.unlike {
            Some(layer) if !self.now.held.is_empty() => Err(unlike(layer)),
            _ => Ok(()),
        }
    }

    /// Sets the axes of the current value, which has no mask.
    pub(super) fn is_unmasked(&mut self, flow: Flow) {
        self.now = Known { flow, source: self.now.source, ..Known::steps(Mask::None, &self.place) };
    }
}

/// The error of a layer that needs a fixed number of steps.
fn untold(known: &Known) -> crate::error::Error {
    let text = "expected a sequence whose steps and features the model fixes (Input((steps, features)))";
    wrong(format!("{text}, got {}", known.shape()))
}

/// Takes a whole number above 0, which may stand alone in a list.
fn one_size(config: &mut Config, key: &str) -> Result<Option<usize>> {
    let Some(value) = config.take(key) else { return Ok(None) };
    let number = match &value {
        serde_json::Value::Array(axes) if axes.len() == 1 => axes[0].as_u64(),
        other => other.as_u64(),
    };
    match number.and_then(|n| usize::try_from(n).ok()) {
        Some(size @ 1..=0x7fff_ffff) => Ok(Some(size)),
        _ => Err(wrong(format!("{key}: expected a whole number from 1 to 2147483647, got {}", short(&value)))),
    }
}

/// Returns what an operation of that name makes of several numbers.
pub(super) fn reduce(class: &str) -> Option<Reduce> {
    Some(match class {
        "Max" | "Amax" => Reduce::Max,
        "Mean" => Reduce::Mean,
        "Min" | "Amin" => Reduce::Min,
        "Sum" => Reduce::Sum,
        _ => return None,
    })
}

/// Returns whether an operation keeps the axis that it reduces.
pub(super) fn keeps_axis(value: &serde_json::Value) -> Result<bool> {
    match value {
        serde_json::Value::Null => Ok(false),
        serde_json::Value::Bool(keeps) => Ok(*keeps),
        other => Err(wrong(format!("keepdims: expected true or false, got {}", short(other)))),
    }
}
