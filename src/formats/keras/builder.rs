//! A model that grows layer by layer: what Keras keeps for itself along a chain.
//!
//! The shape that flows, how far a mask goes, which layers begin with states; an encoder grows first, its decoder after it.
//! Knows chains; what each layer means, `layers` says.

use std::collections::HashSet;

use serde_json::Value;

use super::activations::Version;
use super::calls::Tensor;
use super::config::{Config, wrong};
use super::graph::{Chain, Entry};
use super::links::{Begun, links};
use super::outputs::{self, Given};
use super::recurrent::{Order, Settings};
use super::variables::{Variables, Within};
use crate::error::Result;
use crate::formats::encoder as pair;
use crate::model::{Axes, Direction, LayerKind, Model, Select};
use crate::weights::Tensors;

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
    pub(super) variables: Variables,
    pub(super) version: Version,
    pub(super) mask: Mask,
    /// The order of the axes, and the layer that first said it.
    pub(super) order: Option<(Order, String)>,
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
        builder.model.check()?;
        outputs::name(&mut builder, &last, outputs.as_deref())?;
        let decoder = std::mem::take(&mut builder.model);
        let ports = [pair::ports(&decoder, ""), pair::ports(&model, pair::PREFIX)];
        builder.model = pair::begin(decoder, model, &states, ports)?;
    } else {
        builder.begins_alone()?;
        builder.model.check()?;
        outputs::name(&mut builder, &last, outputs.as_deref())?;
    }
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

    pub(super) fn push(&mut self, name: &str, layer: impl Into<LayerKind>) {
        let prefix = if name.is_empty() { String::new() } else { format!("{name}.") };
        self.model = std::mem::take(&mut self.model).named_layer(prefix, layer);
    }

    /// The sequence that flows: its length, and its features where they are known.
    pub(super) fn steps(&mut self) -> Result<(Option<usize>, Option<usize>)> {
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
