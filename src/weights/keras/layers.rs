//! The layers of a chain, one after the other → a `Model` and its tensors.
//!
//! Keeps what Keras keeps for itself: the shape that flows, and how far a mask goes. Knows what each layer means; knows
//! neither containers nor graphs.

use std::collections::HashSet;

use serde_json::Value;

use super::activations::{self, Version};
use super::calls::Tensor;
use super::config::{Config, short, wrong};
use super::graph::{Chain, Entry};
use super::links::{Begun, links};
use super::outputs::{self, Given};
use super::recurrent::{CellVariables, Order, Sequences, Settings, States, pair};
use super::variables::{self, Place, Variable, Variables, Within};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{
    Axes, Bias, Direction, Dropout, Drops, Embedding, Encoder, LayerKind, Linear, Masking, Merge, Model, Padding,
    Select,
};
use crate::weights::Tensors;
use crate::weights::dialect::{BIAS, WEIGHT, Way};

/// What flows between two layers, without the batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Flow {
    /// The input, with its shape where a layer has told it.
    Input(Option<Vec<Option<usize>>>),
    /// A sequence; `time` where the model fixes it. `bare`: its one feature has no axis.
    Steps { time: Option<usize>, features: Option<usize>, bare: bool },
    /// No time axis.
    Rows(usize),
}

/// How far a mask has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    None,
    Flows,
    /// This layer hands it to none that follows.
    Lost(String),
    /// This layer hands it on, and is not under it itself.
    Aside(String),
}

/// A recurrent layer of the model.
pub(super) struct Stack {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) direction: Direction,
    /// Whether the outputs of its directions stay apart.
    pub(super) apart: bool,
}

/// A model that grows layer by layer.
pub(super) struct Builder {
    pub(super) model: Model,
    pub(super) tensors: Tensors,
    pub(super) flow: Flow,
    pub(super) stacks: Vec<Stack>,
    /// Whether the input's one feature has no axis, or each feature an axis of its own behind it.
    pub(super) input: Given,
    variables: Variables,
    version: Version,
    pub(super) mask: Mask,
    /// The order of the axes, and the layer that first said it.
    order: Option<(Order, String)>,
    /// A layer that renamed axes.
    pub(super) renamed: Option<String>,
    names: HashSet<String>,
    /// The layers that begin with states.
    begun: Vec<Begun>,
    /// The name of the input layer, where there is another beside it.
    pub(super) called: Option<String>,
}

/// The model that `chain` is, its tensors still in the file.
pub(super) fn build(mut chain: Chain, version: Version, variables: Variables) -> Result<(Model, Tensors)> {
    let mut builder = Builder::new(version, variables);
    let mut encoder = None;
    if let Some(inner) = chain.encoder.take() {
        builder.grow(*inner)?;
        builder.begins_alone()?;
        outputs::name_encoder(&mut builder);
        let next = Builder::after(builder);
        encoder = Some(next.0);
        builder = next.1;
    }
    let outputs = chain.outputs.take();
    let last = builder.grow(chain)?;
    if let Some((model, stacks)) = encoder {
        let states = links(&stacks, &builder.stacks, &builder.begun)?;
        builder.model.encoder = Some(Box::new(Encoder { model, states }));
    } else {
        builder.begins_alone()?;
    }
    builder.model.check()?;
    outputs::name(&mut builder, &last, outputs.as_deref())?;
    builder.model.check()?;
    Ok((builder.model, builder.tensors))
}

/// A shape `[batch, …]` without its batch; null is any length.
fn shape(value: &Value) -> Option<Vec<Option<usize>>> {
    let axes = value.as_array()?;
    axes.iter()
        .skip(1)
        .map(|n| if n.is_null() { Some(None) } else { Some(Some(usize::try_from(n.as_u64()?).ok()?)) })
        .collect()
}

impl Builder {
    fn new(version: Version, variables: Variables) -> Self {
        Self {
            model: Model::new(),
            tensors: Tensors::new(),
            flow: Flow::Input(None),
            stacks: Vec::new(),
            input: Given::WithFeatures,
            variables,
            version,
            mask: Mask::None,
            order: None,
            renamed: None,
            names: HashSet::new(),
            begun: Vec::new(),
            called: None,
        }
    }

    /// Whether no layer begins with states.
    fn begins_alone(&self) -> Result<()> {
        match self.begun.first() {
            None => Ok(()),
            Some((layer, _)) => {
                let text = format!(
                    "layer {layer}: initial_state: expected the final states of an encoder with an input of its own"
                );
                Err(wrong(text))
            }
        }
    }

    /// The encoder that has grown, and a builder of what comes after it: of another model in the same file.
    fn after(encoder: Self) -> ((Model, Vec<Stack>), Self) {
        let Self { model, tensors, stacks, variables, version, names, .. } = encoder;
        ((model, stacks), Self { tensors, names, ..Self::new(version, variables) })
    }

    /// Adds the layers of a chain; the name of the last.
    fn grow(&mut self, chain: Chain) -> Result<String> {
        self.flow = Flow::Input(chain.input_shape.as_ref().and_then(shape));
        self.called = chain.input;
        let mut last = None;
        for entry in chain.entries {
            let place = entry.config.place();
            last = Some(entry.place.name.clone());
            self.add(entry).map_err(|e| e.at(place))?;
        }
        let last = last.ok_or_else(|| wrong("expected layers, got none".into()))?;
        self.order_axes()?;
        Ok(last)
    }

    fn add(&mut self, entry: Entry) -> Result<()> {
        let Entry { mut config, place, takes, masked, initial } = entry;
        if !self.names.insert(place.name.clone()) {
            return Err(wrong("name: another layer has the same".into()));
        }
        if let Some(masked) = masked
            && masked != (self.mask == Mask::Flows)
            && !matches!(self.flow, Flow::Rows(_))
        {
            return Err(wrong("mask: expected the one that the layer before it hands on, and where it does".into()));
        }
        let aside = self.put_aside(&initial, masked, &config)?;
        if !initial.is_empty() {
            self.begun.push((place.name.clone(), initial));
        }
        self.take_state(takes)?;
        self.take_shape(&mut config);
        if config.class() != "InputLayer" {
            config.dtype()?;
        }
        match config.class() {
            "InputLayer" => {
                // Tokens are integers of any type, and features are read as float32.
                drop(config.take("dtype"));
                config.only("sparse", &Value::Bool(false))?;
                config.only("ragged", &Value::Bool(false))?;
            }
            "Embedding" => self.embedding(&mut config, &place)?,
            "Masking" => self.masking(&mut config)?,
            "SimpleRNN" | "LSTM" | "GRU" => self.recurrent(&mut config, &place)?,
            "Bidirectional" => self.bidirectional(&mut config, &place)?,
            "Dense" => self.dense(&mut config, &place, Within::Layer)?,
            "TimeDistributed" => self.time_distributed(&mut config, &place)?,
            "Flatten" | "Reshape" | "Permute" => self.rename_axes(&mut config)?,
            _ => self.elementwise(&mut config)?,
        }
        if let (Some(mask), Flow::Steps { .. }) = (aside, &self.flow) {
            self.mask = mask;
        }
        config.finish()
    }

    /// Keras 3 lays no mask over a layer that is called with states, unless it is told to, but hands it on behind it. A mask
    /// here is of the whole model: it is taken away, and what is left of it goes on.
    fn put_aside(&mut self, initial: &[Tensor], masked: Option<bool>, config: &Config) -> Result<Option<Mask>> {
        if initial.is_empty() || self.version == Version::Two || masked == Some(true) || self.mask == Mask::None {
            return Ok(None);
        }
        if self.mask == Mask::Flows {
            match self.model.layers.first_mut().map(|layer| &mut layer.kind) {
                Some(LayerKind::Embedding(table)) if self.stacks.is_empty() => table.mask_token = None,
                _ => {
                    let text = "expected no mask: Keras 3 lays none over a layer that is called with states, and here a mask is \
                                of the whole model";
                    return Err(wrong(text.into()));
                }
            }
        }
        let lost = matches!(self.mask, Mask::Lost(_));
        let before = std::mem::replace(&mut self.mask, Mask::None);
        Ok(Some(if lost { before } else { Mask::Aside(config.place()) }))
    }

    /// The shape of the input, which the first layer tells.
    fn take_shape(&mut self, config: &mut Config) {
        let told = [config.take("batch_shape"), config.take("batch_input_shape")]
            .into_iter()
            .flatten()
            .find_map(|v| shape(&v));
        // A layer that is wrapped around the first may say less than the input itself.
        if let (Flow::Input(known), Some(told)) = (&mut self.flow, told)
            && (config.class() == "InputLayer" || known.is_none())
        {
            *known = Some(told);
        }
    }

    /// Turns to the final hidden state of the layer before, where that is what this layer takes.
    fn take_state(&mut self, takes: usize) -> Result<()> {
        let apart = self.stacks.last().is_some_and(|stack| stack.apart);
        if takes == 0 && !apart {
            return Ok(());
        }
        let select = matches!(self.model.layers.last().map(|layer| &layer.kind), Some(LayerKind::Select(_)));
        let before = self.model.layers.len().checked_sub(1 + usize::from(select)).map(|i| &self.model.layers[i].kind);
        match (before, takes) {
            (Some(LayerKind::Recurrent(stack)), 1) if stack.direction != Direction::Both => {
                let hidden = stack.hidden_size;
                if select {
                    self.model.layers.pop();
                }
                self.push("", Select::FinalHidden);
                self.flow = Flow::Rows(hidden);
                self.mask = Mask::None;
                Ok(())
            }
            _ => Err(wrong(format!(
                "expected the output of the layer before it or the hidden state of one direction, got its tensor {takes}{}",
                if apart { " of two that are not merged" } else { "" }
            ))),
        }
    }

    fn push(&mut self, name: &str, layer: impl Into<LayerKind>) {
        let prefix = if name.is_empty() { String::new() } else { format!("{name}.") };
        self.model = std::mem::take(&mut self.model).named_layer(prefix, layer);
    }

    /// The sequence that flows: its length, and its features where they are known.
    fn steps(&mut self) -> Result<(Option<usize>, Option<usize>)> {
        let (time, features) = match &self.flow {
            Flow::Input(None) => (None, None),
            Flow::Input(Some(shape)) => match shape[..] {
                [time, features] => (time, features),
                _ => return Err(wrong(format!("expected an input of time and features, got {} axes", shape.len()))),
            },
            Flow::Steps { time, features, bare: false } => (*time, *features),
            Flow::Steps { bare: true, .. } | Flow::Rows(_) => {
                return Err(wrong("expected a sequence of features, got features without a time axis".into()));
            }
        };
        self.flow = Flow::Steps { time, features, bare: false };
        Ok((time, features))
    }

    fn embedding(&mut self, config: &mut Config, place: &Place) -> Result<()> {
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

    fn masking(&mut self, config: &mut Config) -> Result<()> {
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

    fn recurrent(&mut self, config: &mut Config, place: &Place) -> Result<()> {
        let settings = Settings::of(config, self.version)?;
        self.check_recurrent(config, &settings)?;
        let masked = self.mask == Mask::Flows;
        settings.check_unroll(config.flag("unroll", false)?, masked)?;
        let (time, features) = self.steps()?;
        let cell = CellVariables::of(&settings, features, &mut self.variables, place, [Within::Cell; 2])?;
        let stack = settings.stack(cell.input_size(), masked);
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

    fn bidirectional(&mut self, config: &mut Config, place: &Place) -> Result<()> {
        let layer = config.take("layer").ok_or_else(|| wrong("layer: expected a layer, got nothing".into()))?;
        let masked = self.mask == Mask::Flows;
        let of = |value: &Value, key: &str| -> Result<Settings> {
            let mut inner = Config::of(value)?;
            let settings = wrapped(&mut inner, self.version, masked);
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
        let (time, features) = self.steps()?;
        let biases = usize::from(forward.bias != Bias::None);
        let within = [Within::Backward { before: 1 }, Within::Backward { before: biases }];
        let one = CellVariables::of(&forward, features, &mut self.variables, place, [Within::Forward; 2])?;
        let other = CellVariables::of(&backward, Some(one.input_size()), &mut self.variables, place, within)?;
        let mut stack = forward.stack(one.input_size(), masked).merge(merge).bidirectional();
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

    fn dense(&mut self, config: &mut Config, place: &Place, within: Within) -> Result<()> {
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

    fn time_distributed(&mut self, config: &mut Config, place: &Place) -> Result<()> {
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
    fn elementwise(&mut self, config: &mut Config) -> Result<()> {
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

    /// Whether all recurrent layers put time first.
    fn order_axes(&mut self) -> Result<()> {
        if let Some((Order::TimeMajor, at)) = &self.order {
            if let Some(renamed) = &self.renamed {
                return Err(wrong(format!("{renamed}: expected the batch's axis first, got time first from {at}")));
            }
            self.model.axes = Axes::TimeMajor;
        }
        Ok(())
    }
}

/// A layer inside a Bidirectional, which sets what a dead step gives.
fn wrapped(config: &mut Config, version: Version, masked: bool) -> Result<Settings> {
    config.dtype()?;
    drop(config.take("batch_input_shape"));
    let mut settings = Settings::of(config, version)?;
    settings.padding = if settings.sequences == Sequences::Every { Padding::Zero } else { Padding::Held };
    settings.check_unroll(config.flag("unroll", false)?, masked)?;
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
    fn check_unroll(&self, unrolled: bool, masked: bool) -> Result<()> {
        let zeros = self.padding == Padding::Zero && self.sequences == Sequences::Every;
        if unrolled && masked && zeros && self.direction != Direction::Forward {
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
