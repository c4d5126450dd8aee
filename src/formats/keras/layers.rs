//! The meaning of each layer: its configuration and its variables → layers of the model and their tensors.
//!
//! Knows one layer at a time, and its input; knows neither containers nor graphs.

use serde_json::Value;

use super::activations::{self, Version};
use super::builder::{Builder, Stack};
use super::config::{Config, short, wrong};
use super::masks::{Makers, Mask};
use super::norms;
use super::recurrent::{CellVariables, Sequences, Settings, States, pair};
use super::values::{Flow, Known, Source, unlike};
use super::variables::{self, Variable, VariablePath, Within};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{
    Bias, Direction, Dropout, DropoutUnit, Embedding, InputKind, Linear, Masking, Merge, Padding, Pin, Recurrent,
    Value as Edge,
};
use crate::weights::dialect::{BIAS, WEIGHT, Way};

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

    /// Checks what all recurrent layers have in common.
    fn check_recurrent(&mut self, config: &Config, settings: &Settings) -> Result<()> {
        let (order, said_by) = self.order.get_or_insert_with(|| (settings.order, config.place()));
        if *order != settings.order {
            return Err(wrong(format!(
                "time_major: expected the same in all recurrent layers, got another than in {said_by}"
            )));
        }
        Ok(())
    }

    /// Applies the mask to a recurrent layer, and returns whether there is one.
    fn lay_over(&mut self, initial: &[Known], told: bool) -> Result<bool> {
        // Keras 3 applies no mask to a layer that is called with
        // states, unless the call has one. It still passes the mask on.
        let aside = !initial.is_empty() && self.version == Version::Three && !told;
        let mask = if aside { Mask::None } else { self.now.mask.clone() };
        self.lay(&mask)?;
        // A layer under the mask does not see the masked steps.
        match self.now.unlike.take() {
            Some(layer) if mask == Mask::None => Err(unlike(&layer)),
            _ => Ok(mask != Mask::None),
        }
    }

    pub(super) fn recurrent(
        &mut self,
        config: &mut Config,
        place: &VariablePath,
        initial: &[Known],
        told: bool,
    ) -> Result<Vec<Known>> {
        let settings = Settings::of(config, self.version)?;
        self.check_recurrent(config, &settings)?;
        let (_, features) = self.steps()?;
        let masked = self.lay_over(initial, told)?;
        settings.check_unroll(masked)?;
        let cell = CellVariables::of(&settings, features, &mut self.variables, place, [Within::Cell; 2])?;
        let stack = settings.stack(cell.input_size());
        let way = if settings.direction == Direction::Forward { Way::Forward } else { Way::Reverse };
        cell.insert(&stack, &format!("{}.", self.prefix(place)?), way, &mut self.tensors);
        self.stack(place, stack, settings, initial, false)
    }

    /// Adds a stack. Returns its outputs, and its final states if
    /// they are wanted: all of one direction before the other's.
    fn stack(
        &mut self,
        place: &VariablePath,
        stack: Recurrent,
        settings: Settings,
        initial: &[Known],
        apart: bool,
    ) -> Result<Vec<Known>> {
        let (hidden, directions, width) = (stack.hidden_size, stack.directions(), stack.output().len());
        let (time, _) = self.steps()?;
        self.now.flow = Flow::Steps { time, features: Some(stack.input_size), bare: false };
        let begins = self.begin(&settings, directions, initial).map_err(|e| e.at("initial_state"))?;
        let from = vec![self.edge(&self.now.clone())?];
        let (direction, prefix) = (stack.direction, self.prefix(place)?);
        let Edge::Layer(layer, _) = self.add(&prefix, stack, from, begins) else { return Ok(Vec::new()) };
        self.stacks.push(Stack { layer, direction });
        let parts = if apart { directions } else { 1 };
        let one = |part: usize| {
            let features = width / parts;
            let source = |pin| Source::part(Edge::Layer(layer, pin), part * features, features, width);
            if settings.sequences == Sequences::Last {
                return Known::rows(source(Pin::LastOutput), features, &self.place);
            }
            let flow = Flow::Steps { time, features: Some(features), bare: false };
            Known { flow, source: source(Pin::Output), from: self.place.clone(), ..self.now.clone() }
        };
        let mut gives: Vec<Known> = (0..parts).map(one).collect();
        if settings.states == States::Given {
            let pins = [Pin::FinalHidden, Pin::FinalCell].into_iter().take(settings.cell.states());
            let state = |direction: usize, pin| {
                let source = Source::part(Edge::Layer(layer, pin), direction * hidden, hidden, directions * hidden);
                Known::rows(source, hidden, &self.place)
            };
            gives.extend(
                (0..directions)
                    .flat_map(|direction| pins.clone().map(move |pin| (direction, pin)))
                    .map(|(d, pin)| state(d, pin)),
            );
        }
        Ok(gives)
    }

    pub(super) fn bidirectional(
        &mut self,
        config: &mut Config,
        place: &VariablePath,
        initial: &[Known],
        told: bool,
    ) -> Result<Vec<Known>> {
        let layer = config.take("layer").ok_or_else(|| wrong("layer: expected a layer, got nothing".into()))?;
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
        let merge = config.take_even_null("merge_mode").unwrap_or_else(|| "concat".into());
        let (merge, apart) = merged(&merge)?;
        self.check_recurrent(config, &forward)?;
        let (_, features) = self.steps()?;
        let masked = self.lay_over(initial, told)?;
        backward.check_unroll(masked)?;
        let biases = usize::from(forward.bias != Bias::None);
        let within = [Within::Backward { before: 1 }, Within::Backward { before: biases }];
        let one = CellVariables::of(&forward, features, &mut self.variables, place, [Within::Forward; 2])?;
        let other = CellVariables::of(&backward, Some(one.input_size()), &mut self.variables, place, within)?;
        let mut stack = forward.stack(one.input_size()).merge(merge).bidirectional();
        stack.functions[1] = backward.functions;
        let most = |of: usize| forward.dropouts[of].max(backward.dropouts[of]);
        // A stack has one rate for both directions, each of which draws its own elements.
        (stack.input_dropout, stack.recurrent_dropout) = (most(0).into(), most(1).into());
        if forward.bias == Bias::None {
            stack.bias = backward.bias;
        }
        let prefix = format!("{}.", self.prefix(place)?);
        one.insert(&stack, &prefix, Way::Forward, &mut self.tensors);
        other.insert(&stack, &prefix, Way::Reverse, &mut self.tensors);
        self.stack(place, stack, forward, initial, apart)
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
                "SimpleRNN" | "LSTM" | "GRU" | "Bidirectional" | "SpatialDropout1D" | "Embedding" | "Masking"
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
            self.softmax_axis(config)?;
        }
        if let Some(activation) = activations::layer(config, self.version)? {
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
        if self.now.is_input().is_none() {
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

/// Reads a layer inside a Bidirectional, which decides what a dead step gives.
fn wrapped(config: &mut Config, version: Version) -> Result<Settings> {
    config.dtype()?;
    drop(config.take("batch_input_shape"));
    let mut settings = Settings::of(config, version)?;
    settings.padding = if settings.sequences == Sequences::Every { Padding::Zero } else { Padding::Held };
    Ok(settings)
}

/// Returns how outputs are merged, and whether they stay separate.
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
    /// Refuses an unrolled layer for which Keras zeroes the wrong steps under a mask.
    fn check_unroll(&self, masked: bool) -> Result<()> {
        let zeros = self.padding == Padding::Zero && self.sequences == Sequences::Every;
        if self.unrolled && masked && zeros && self.direction != Direction::Forward {
            return Err(wrong(
                "unroll: expected false with go_backwards and zeros under a mask; Keras mixes up the steps".into(),
            ));
        }
        Ok(())
    }
}
