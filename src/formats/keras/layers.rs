//! The meaning of each layer: its configuration and its variables → layers of the model and their tensors.
//!
//! Knows one layer at a time, and its input; knows neither containers nor graphs.

use serde_json::Value;

use super::activations;
use super::builder::Builder;
use super::config::{Config, short, wrong};
use super::masks::{Makers, Mask};
use super::norms;
use super::values::{Flow, Source};
use super::variables::{self, Variable, VariablePath, Within};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{Dropout, DropoutUnit, Embedding, InputKind, Linear, Masking, Value as Edge};
use crate::weights::dialect::{BIAS, WEIGHT};

impl Builder {
    pub(super) fn embedding(&mut self, config: &mut Config, place: &VariablePath) -> Result<()> {
        let first = || wrong("expected it first, where it takes tokens: one axis of time".into());
        let input = self.now.is_input().filter(|_| self.now.flow == Flow::Input).ok_or_else(first)?;
        let time = match self.inputs[input].shape.as_deref() {
            None => None,
            Some([time]) => *time,
            _ => return Err(first()),
        };
        let (rows, columns) = (config.size("input_dim")?, config.size("output_dim")?);
        config.only("quantization_config", &Value::Null)?;
        let mut table = Embedding::new(rows, columns);
        (self.now.mask, self.now.held) = (Mask::None, Makers::new());
        if config.flag("mask_zero", false)? {
            table = table.mask_token(0);
            self.take_out(input, 0.0);
        }
        let stored = self.variables.read(place, Within::Layer, Variable::Embeddings, &[rows, columns])?;
        let prefix = self.prefix(place)?;
        self.tensors.insert(format!("{prefix}.{WEIGHT}"), variables::table(stored));
        self.claim(input, InputKind::Tokens(rows))?;
        self.now.source = Source::Whole(self.add(&prefix, table, vec![Edge::Input(input)], [None; 2]));
        self.now.flow = Flow::Steps { time, features: Some(columns), bare: false };
        Ok(())
    }

    pub(super) fn masking(&mut self, config: &mut Config) -> Result<()> {
        let value = config.number("mask_value")?.unwrap_or(0.0);
        let (_, features) = self.steps()?;
        let features = features.ok_or_else(|| wrong("expected an input whose features are told".into()))?;
        let input = self.now.is_input().filter(|_| self.now.mask == Mask::None);
        let input = input.ok_or_else(|| wrong("expected it first, where it sees the input itself".into()))?;
        self.push("", Masking::new(features, value))?;
        self.take_out(input, value);
        Ok(())
    }

    /// Masks the current value wherever input `input` is `value`.
    fn take_out(&mut self, input: usize, value: f32) {
        self.now.mask = Mask::of(input, value);
        if let Mask::Of(makers) = &self.now.mask {
            self.now.held.clone_from(makers);
        }
    }

    pub(super) fn dense(&mut self, config: &mut Config, place: &VariablePath, within: Within) -> Result<()> {
        let units = config.size("units")?;
        let activation = activations::take(config, "activation", Activation::Linear, self.version)?;
        let biased = config.flag("use_bias", true)?;
        config.only("quantization_config", &Value::Null)?;
        // An input of one axis is a row of features.
        let one_axis =
            self.now.is_input().and_then(|index| self.inputs[index].shape.as_ref()).is_some_and(|s| s.len() == 1);
        if self.now.flow == Flow::Input && one_axis {
            self.now = self.settled(&self.now)?;
        }
        let features = match self.now.flow {
            Flow::Rows(features) => Some(features),
            _ => self.steps()?.1,
        };
        let kernel = self.variables.read(place, within, Variable::Kernel, &[features.unwrap_or(0), units])?;
        let size = kernel.shape()[0];
        let mut linear = Linear::new(size, units).activation(activation);
        let prefix = self.prefix(place)?;
        self.tensors.insert(format!("{prefix}.{WEIGHT}"), variables::kernel(kernel));
        if biased {
            let bias = self.variables.read(place, within, Variable::Bias, &[units])?;
            self.tensors.insert(format!("{prefix}.{BIAS}"), variables::table(bias));
        } else {
            linear = linear.no_bias();
        }
        if let Flow::Steps { features, .. } = &mut self.now.flow {
            *features = Some(size);
        }
        self.push(&prefix, linear)?;
        self.now.flow = match self.now.flow {
            Flow::Steps { time, .. } => Flow::Steps { time, features: Some(units), bare: false },
            _ => Flow::Rows(units),
        };
        Ok(())
    }

    pub(super) fn time_distributed(&mut self, config: &mut Config, place: &VariablePath) -> Result<()> {
        let layer = config.take("layer").ok_or_else(|| wrong("layer: expected a layer, got nothing".into()))?;
        let mut inner = Config::of(&layer)?;
        self.steps()?;
        let at = inner.place();
        let mut read = || {
            inner.dtype()?;
            drop(inner.take("batch_input_shape"));
            match inner.class() {
                "Dense" => self.dense(&mut inner, place, Within::Wrapped),
                class if norms::CLASSES.contains(&class) => self.norm(&mut inner, place, Within::Wrapped),
                // These depend on more than one step.
                "Conv1D" | "DepthwiseConv1D" | "SeparableConv1D" | "SimpleRNN" | "LSTM" | "GRU" | "RNN"
                | "CuDNNLSTM" | "CuDNNGRU" | "Bidirectional" | "SpatialDropout1D" | "Embedding" | "Masking"
                | "TimeDistributed" | "InputLayer" | "Flatten" | "Reshape" | "Permute" | "Cropping1D" => {
                    Err(wrong("expected a Dense, an activation or what is left out at inference".into()))
                }
                _ => self.elementwise(&mut inner),
            }
        };
        read().and_then(|()| inner.finish()).map_err(|e| e.at(at))
    }

    /// Reads activations, and layers that are the identity at inference.
    pub(super) fn elementwise(&mut self, config: &mut Config) -> Result<()> {
        if config.class() == "Softmax" {
            if self.softmax_of_scores(config)? {
                return Ok(());
            }
            self.softmax_axis(config)?;
        }
        if let Some(activation) = activations::layer(config, self.version)? {
            if self.softened(activation)? {
                return Ok(());
            }
            self.now = self.settled(&self.now)?;
            if matches!(self.now.flow, Flow::Steps { bare: true, .. }) && !activation.is_elementwise() {
                return Err(wrong("expected an axis of features, got one of time".into()));
            }
            if activation != Activation::Linear {
                self.push("", activation)?;
            }
            return Ok(());
        }
        let drops = match config.class() {
            "Dropout" => DropoutUnit::Elements,
            "SpatialDropout1D" => DropoutUnit::Features,
            // The identity at inference, with nothing to keep.
            "GaussianDropout" | "AlphaDropout" | "GaussianNoise" | "ActivityRegularization" | "Identity" => {
                return Ok(());
            }
            _ => return Err(wrong("expected a layer of one input that is read here".into())),
        };
        let rate = config.number("rate")?.unwrap_or(0.0);
        // A model begins with a layer that takes a sequence.
        if self.now.is_input().is_none() && !matches!(self.now.flow, Flow::Scores(_)) {
            self.push("", Dropout { rate: rate.into(), drops })?;
        }
        Ok(())
    }

    fn softmax_axis(&mut self, config: &mut Config) -> Result<()> {
        let axis = config.take("axis").unwrap_or_else(|| (-1).into());
        let one = axis.as_array().filter(|axes| axes.len() == 1).map_or(&axis, |axes| &axes[0]);
        let last = if matches!(self.settled(&self.now)?.flow, Flow::Rows(_)) { 1 } else { 2 };
        if !matches!(one.as_i64(), Some(n) if n == -1 || n == last) {
            return Err(wrong(format!("axis: expected -1 (the features), got {}", short(&axis))));
        }
        if self.now.mask != Mask::None {
            return Err(wrong("expected no mask, got one of time, which Keras would lay over the features".into()));
        }
        Ok(())
    }
}
