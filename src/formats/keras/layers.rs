//! What each layer means: its configuration and its variables → layers of the model and their tensors.
//!
//! Knows one layer at a time, and what flows into it; knows neither containers nor graphs.

use serde_json::Value;

use super::activations::{self, Version};
use super::builder::{Builder, Flow, Mask, Stack};
use super::config::{Config, short, wrong};
use super::recurrent::{CellVariables, Sequences, Settings, States, pair};
use super::variables::{self, Place, Variable, Within};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Bias, Direction, Dropout, Drops, Embedding, Linear, Masking, Merge, Padding, Select};
use crate::weights::dialect::{BIAS, WEIGHT, Way};

impl Builder {
    pub(super) fn embedding(&mut self, config: &mut Config, place: &Place) -> Result<()> {
        let time = match &self.flow {
            Flow::Input(None) => None,
            Flow::Input(Some(shape)) if shape.len() == 1 => shape[0],
            _ => return Err(wrong("expected it first, where it takes tokens: one axis of time".into())),
        };
        let (rows, columns) = (config.size("input_dim")?, config.size("output_dim")?);
        config.only("quantization_config", &Value::Null)?;
        let mut table = Embedding::new(rows, columns);
        if config.flag("mask_zero", false)? {
            table = table.mask_token(0);
            self.mask = Mask::Flows;
        }
        let stored = self.variables.read(place, Within::Layer, Variable::Embeddings, &[rows, columns])?;
        self.tensors.insert(format!("{}.{WEIGHT}", place.name), variables::table(stored));
        self.push(&place.name, table);
        self.flow = Flow::Steps { time, features: Some(columns), bare: false };
        Ok(())
    }

    pub(super) fn masking(&mut self, config: &mut Config) -> Result<()> {
        let value = config.number("mask_value")?.unwrap_or(0.0);
        let (_, features) = self.steps()?;
        let features = features.ok_or_else(|| wrong("expected an input whose features are told".into()))?;
        if !self.model.layers.is_empty() || self.mask != Mask::None {
            return Err(wrong("expected it first, where it sees the input itself".into()));
        }
        self.push("", Masking::new(features, value));
        self.mask = Mask::Flows;
        Ok(())
    }

    /// What goes for every recurrent layer.
    fn check_recurrent(&mut self, config: &Config, settings: &Settings) -> Result<()> {
        if let Mask::Lost(at) | Mask::Aside(at) = &self.mask {
            return Err(wrong(format!(
                "expected a mask, which {at} does not hand on; here a mask is of the whole model"
            )));
        }
        let (order, said_by) = self.order.get_or_insert_with(|| (settings.order, config.place()));
        if *order != settings.order {
            return Err(wrong(format!(
                "time_major: expected the same in all recurrent layers, got another than in {said_by}"
            )));
        }
        Ok(())
    }

    pub(super) fn recurrent(&mut self, config: &mut Config, place: &Place) -> Result<()> {
        let settings = Settings::of(config, self.version)?;
        self.check_recurrent(config, &settings)?;
        let masked = self.mask == Mask::Flows;
        settings.check_unroll(masked)?;
        let (time, features) = self.steps()?;
        let cell = CellVariables::of(&settings, features, &mut self.variables, place, [Within::Cell; 2])?;
        let stack = settings.stack(cell.input_size());
        let way = if settings.direction == Direction::Forward { Way::Forward } else { Way::Reverse };
        cell.insert(&stack, &format!("{}.", place.name), way, &mut self.tensors);
        let features = stack.output().len();
        self.push(&place.name, stack);
        let direction = settings.direction;
        self.stacks.push(Stack { name: place.name.clone(), settings, direction, apart: false });
        self.after_recurrent(settings.sequences, time, features);
        Ok(())
    }

    fn after_recurrent(&mut self, sequences: Sequences, time: Option<usize>, features: usize) {
        if sequences == Sequences::Last {
            self.push("", Select::LastOutput);
            self.mask = Mask::None;
            self.flow = Flow::Rows(features);
        } else {
            self.flow = Flow::Steps { time, features: Some(features), bare: false };
        }
    }

    pub(super) fn bidirectional(&mut self, config: &mut Config, place: &Place) -> Result<()> {
        let layer = config.take("layer").ok_or_else(|| wrong("layer: expected a layer, got nothing".into()))?;
        let masked = self.mask == Mask::Flows;
        let of = |value: &Value, key: &str| -> Result<Settings> {
            let mut inner = Config::of(value)?;
            let settings = wrapped(&mut inner, self.version);
            settings.and_then(|settings| inner.finish().map(|()| settings)).map_err(|e| e.at(key))
        };
        let forward = of(&layer, "layer")?;
        let backward = match config.take("backward_layer") {
            Some(value) => of(&value, "backward_layer")?,
            None => Settings { direction: Direction::Backwards, ..forward },
        };
        pair(&forward, &backward)?;
        backward.check_unroll(masked)?;
        let merge = config.take_even_null("merge_mode").unwrap_or_else(|| "concat".into());
        let (merge, apart) = merged(&merge)?;
        self.check_recurrent(config, &forward)?;
        let (time, features) = self.steps()?;
        let biases = usize::from(forward.bias != Bias::None);
        let within = [Within::Backward { before: 1 }, Within::Backward { before: biases }];
        let one = CellVariables::of(&forward, features, &mut self.variables, place, [Within::Forward; 2])?;
        let other = CellVariables::of(&backward, Some(one.input_size()), &mut self.variables, place, within)?;
        let mut stack = forward.stack(one.input_size()).merge(merge).bidirectional();
        stack.functions[1] = backward.functions;
        if forward.bias == Bias::None {
            stack.bias = backward.bias;
        }
        let prefix = format!("{}.", place.name);
        one.insert(&stack, &prefix, Way::Forward, &mut self.tensors);
        other.insert(&stack, &prefix, Way::Reverse, &mut self.tensors);
        let features = stack.output().len();
        self.push(&place.name, stack);
        self.stacks.push(Stack { name: place.name.clone(), settings: forward, direction: Direction::Both, apart });
        self.after_recurrent(forward.sequences, time, features);
        Ok(())
    }

    pub(super) fn dense(&mut self, config: &mut Config, place: &Place, within: Within) -> Result<()> {
        let units = config.size("units")?;
        let activation = activations::take(config, "activation", Activation::Linear, self.version)?;
        let biased = config.flag("use_bias", true)?;
        config.only("quantization_config", &Value::Null)?;
        let features = match self.flow {
            Flow::Rows(features) => Some(features),
            _ => self.steps()?.1,
        };
        let kernel = self.variables.read(place, within, Variable::Kernel, &[features.unwrap_or(0), units])?;
        let mut linear = Linear::new(kernel.shape()[0], units).activation(activation);
        self.tensors.insert(format!("{}.{WEIGHT}", place.name), variables::kernel(kernel));
        if biased {
            let bias = self.variables.read(place, within, Variable::Bias, &[units])?;
            self.tensors.insert(format!("{}.{BIAS}", place.name), variables::table(bias));
        } else {
            linear = linear.no_bias();
        }
        self.push(&place.name, linear);
        self.flow = match self.flow {
            Flow::Steps { time, .. } => Flow::Steps { time, features: Some(units), bare: false },
            _ => Flow::Rows(units),
        };
        Ok(())
    }

    pub(super) fn time_distributed(&mut self, config: &mut Config, place: &Place) -> Result<()> {
        let layer = config.take("layer").ok_or_else(|| wrong("layer: expected a layer, got nothing".into()))?;
        let mut inner = Config::of(&layer)?;
        self.steps()?;
        let at = inner.place();
        let mut read = || {
            inner.dtype()?;
            drop(inner.take("batch_input_shape"));
            match inner.class() {
                "Dense" => self.dense(&mut inner, place, Within::Wrapped),
                // Those that look further than a step.
                "SimpleRNN" | "LSTM" | "GRU" | "Bidirectional" | "SpatialDropout1D" | "Embedding" | "Masking"
                | "TimeDistributed" | "InputLayer" | "Flatten" | "Reshape" | "Permute" => {
                    Err(wrong("expected a Dense, an activation or what is left out at inference".into()))
                }
                _ => self.elementwise(&mut inner),
            }
        };
        read().and_then(|()| inner.finish()).map_err(|e| e.at(at))
    }

    /// Activations, and what is left out at inference.
    pub(super) fn elementwise(&mut self, config: &mut Config) -> Result<()> {
        if config.class() == "Softmax" {
            self.softmax_axis(config)?;
        }
        if let Some(activation) = activations::layer(config, self.version)? {
            if self.model.layers.is_empty() {
                return Err(wrong("expected a layer before it that takes a sequence".into()));
            }
            if matches!(self.flow, Flow::Steps { bare: true, .. }) && !activation.is_elementwise() {
                return Err(wrong("expected an axis of features, got one of time".into()));
            }
            if activation != Activation::Linear {
                self.push("", activation);
            }
            return Ok(());
        }
        let drops = match config.class() {
            "Dropout" => Drops::Elements,
            "SpatialDropout1D" => Drops::Features,
            // Nothing at inference, and nothing to keep.
            "GaussianDropout" | "AlphaDropout" | "GaussianNoise" | "ActivityRegularization" | "Identity" => {
                return Ok(());
            }
            _ => return Err(wrong("expected a layer, got a model inside the model, which is not read".into())),
        };
        let rate = config.number("rate")?.unwrap_or(0.0);
        // A model begins with a layer that takes a sequence.
        if !self.model.layers.is_empty() {
            self.push("", Dropout { rate: rate.into(), drops });
        }
        Ok(())
    }

    fn softmax_axis(&mut self, config: &mut Config) -> Result<()> {
        let axis = config.take("axis").unwrap_or_else(|| (-1).into());
        let one = axis.as_array().filter(|axes| axes.len() == 1).map_or(&axis, |axes| &axes[0]);
        let last = if matches!(self.flow, Flow::Rows(_)) { 1 } else { 2 };
        if !matches!(one.as_i64(), Some(n) if n == -1 || n == last) {
            return Err(wrong(format!("axis: expected -1 (the features), got {}", short(&axis))));
        }
        if matches!(self.mask, Mask::Flows | Mask::Aside(_)) {
            return Err(wrong("expected no mask, got one of time, which Keras would lay over the features".into()));
        }
        Ok(())
    }
}

/// A layer inside a Bidirectional, which sets what a dead step gives.
fn wrapped(config: &mut Config, version: Version) -> Result<Settings> {
    config.dtype()?;
    drop(config.take("batch_input_shape"));
    let mut settings = Settings::of(config, version)?;
    settings.padding = if settings.sequences == Sequences::Every { Padding::Zero } else { Padding::Held };
    Ok(settings)
}

/// How outputs are merged, and whether they stay apart.
fn merged(mode: &Value) -> Result<(Merge, bool)> {
    match mode {
        Value::Null => Ok((Merge::Concat, true)),
        mode => match mode.as_str() {
            Some("concat") => Ok((Merge::Concat, false)),
            Some("sum") => Ok((Merge::Sum, false)),
            Some("ave") => Ok((Merge::Average, false)),
            Some("mul") => Ok((Merge::Product, false)),
            _ => Err(wrong(format!("merge_mode: expected concat, sum, ave, mul or null, got {}", short(mode)))),
        },
    }
}

impl Settings {
    /// Unrolled, Keras lays the mask of the wrong steps over zeros.
    fn check_unroll(&self, masked: bool) -> Result<()> {
        let zeros = self.padding == Padding::Zero && self.sequences == Sequences::Every;
        if self.unrolled && masked && zeros && self.direction != Direction::Forward {
            return Err(wrong(
                "unroll: expected false with go_backwards and zeros under a mask; Keras mixes up the steps".into(),
            ));
        }
        Ok(())
    }

    /// Whether the layer's final states are outputs.
    pub(super) fn gives_states(&self) -> bool {
        self.states == States::Given
    }
}
