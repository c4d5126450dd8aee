//! The first noun of the road: what the user asks for. Layers one after the other, and whether they fit.
//!
//! A `Model` is a description: it holds no weights and knows no device. `layer` has a file for each layer, `flow` what
//! one layer hands to the next, `ports` the named tensors of a call, `graph` the values that layers hand to
//! each other, `edges` whether those are in order, `takers` who takes each value, `clocks` the time axes of
//! values, `builder` how one writes them down.

mod builder;
mod clocks;
mod edges;
mod ends;
mod flow;
mod graph;
mod layer;
mod ports;
mod takers;

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};

pub use builder::{Graph, Node, Sources};
pub(crate) use clocks::{Clocks, OTHER_CLOCKS, TimeAxis};
pub(crate) use edges::check_names;
pub(crate) use ends::TimeEnd;
pub use flow::{Features, Flow};
pub(crate) use graph::Begun;
pub use graph::{InputKind, ModelInput, ModelOutput, Pin, Value};
pub use layer::*;
pub use ports::{Dim, InputPort, InputValue, OutputPort, OutputValue, Ports, Required, State, WeightPart};
pub(crate) use takers::Takers;

/// A recurrent model: layers one after the other.
///
/// # Example
///
/// ```
/// use gatewave::{Activation, Embedding, Linear, Lstm, Model, Select};
///
/// let model = Model::new()
///     .layer(Embedding::new(500, 16))
///     .layer(Lstm::new(16, 8).num_layers(2).bidirectional())
///     .layer(Select::FinalHidden)
///     .layer(Linear::new(16, 1).activation(Activation::Sigmoid));
/// model.check()?;
/// println!("{}", model.summary());
/// # Ok::<(), gatewave::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Which axis of an input is the batch.
    pub axes: Axes,
    /// The characters of a character model, in token order.
    pub vocabulary: Option<Vec<char>>,
    /// The layers in topological order: each takes values of those before it.
    pub layers: Vec<Layer>,
    /// What the model takes, where it names that; none is the one sequence that the first layer takes.
    pub inputs: Vec<ModelInput>,
    /// What the model gives, where it names that; none is what the last layer gives, and the final states.
    pub outputs: Vec<ModelOutput>,
    /// The named tensors of a call, where a file has names or axes of its own for them.
    pub ports: Ports,
}

/// The order of the axes of sequences, in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axes {
    /// `[B, T, …]`: PyTorch's `batch_first=True`, and Keras.
    BatchFirst,
    /// `[T, B, …]`: PyTorch's default.
    TimeMajor,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A model with no layers yet, batch first.
    pub fn new() -> Self {
        Self {
            axes: Axes::BatchFirst,
            vocabulary: None,
            layers: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            ports: Ports::default(),
        }
    }

    /// The model with `layer` after its last. Its tensors get the prefix of `nn.Sequential`: `0.`, `1.`, …
    #[must_use]
    pub fn layer(self, layer: impl Into<LayerKind>) -> Self {
        let weights = format!("{}.", self.layers.len());
        self.named_layer(weights, layer)
    }

    /// The model with `layer` after its last, its tensors named with the prefix `weights`.
    #[must_use]
    pub fn named_layer(mut self, weights: impl Into<String>, layer: impl Into<LayerKind>) -> Self {
        self.push(layer.into(), weights.into());
        self
    }

    /// Adds a layer that takes what a chain's would: what the last layer gives, or a result of the last stack.
    pub(crate) fn push(&mut self, kind: LayerKind, weights: String) {
        let from = vec![self.usual_source(&kind)];
        self.layers.push(Layer { kind, weights, name: None, from, initial: [None; 2] });
    }

    /// The model with its sequences laid out as `axes`.
    #[must_use]
    pub fn axes(mut self, axes: Axes) -> Self {
        self.axes = axes;
        self
    }

    /// The recurrent stacks, first to last.
    pub fn stacks(&self) -> impl Iterator<Item = &Recurrent> {
        self.layers.iter().filter_map(|layer| match &layer.kind {
            LayerKind::Recurrent(stack) => Some(stack),
            _ => None,
        })
    }

    /// What the model takes: of several inputs, the first one with a time axis.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where there is no layer or the first one takes no sequence.
    pub fn input(&self) -> Result<Flow> {
        match self.inputs.get(self.main_input()).and_then(|input| input.kind.flow()) {
            Some(flow) => Ok(flow),
            None => self.first_takes(),
        }
    }

    /// What the first layer takes.
    fn first_takes(&self) -> Result<Flow> {
        let first = self.layers.first().ok_or_else(|| Error::new(ErrorKind::Model, "the model has no layers"))?;
        first.kind.takes().ok_or_else(|| {
            Error::new(
                ErrorKind::Model,
                format!(
                    "layer 0 {}: expected a layer that takes a sequence (embedding, one_hot, rnn, lstm, gru, linear) first",
                    first.kind.name()
                ),
            )
        })
    }

    /// What flows out of each layer, first to last.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where a layer cannot take what the values that it names give, or has a size of zero.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        let inputs = self.all_inputs()?;
        let mut flows = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let flow =
                self.flow_at(layer, &inputs, &flows).map_err(|e| e.at(format!("layer {}", self.place(index))))?;
            flows.push(flow);
        }
        Ok(flows)
    }

    /// What flows out of `layer`, where `flows` flow out of those before it.
    fn flow_at(&self, layer: &Layer, inputs: &[ModelInput], flows: &[Flow]) -> Result<Flow> {
        let taken = layer.from.iter().map(|&value| self.flow_of(value, inputs, flows)).collect::<Result<Vec<_>>>()?;
        self.check_join(layer, &taken, inputs)?;
        let index = flows.len();
        let named = |e: Error| match layer.from[..] {
            // A join counts its values first; of a chain it is plain which one is taken.
            _ if matches!(layer.kind, LayerKind::Join(_)) => e,
            [value @ Value::Input(_)] if !self.inputs.is_empty() => {
                e.at(format!("from {}", self.called(value, inputs)))
            }
            [value] if value != self.usual_source_at(index, &layer.kind) => {
                e.at(format!("from {}", self.called(value, inputs)))
            }
            _ => e,
        };
        let flow = layer.kind.flow(&taken).map_err(named)?;
        self.check_select(layer, inputs)?;
        match &layer.kind {
            LayerKind::Recurrent(stack) => self.check_initial(stack, layer.initial, inputs, flows)?,
            LayerKind::Masking(_) if !matches!(layer.from[..], [Value::Input(_)]) => {
                return Err(Error::new(ErrorKind::Model, "expected it first, where it sees the input itself"));
            }
            _ => {}
        }
        Ok(flow)
    }

    /// What each layer takes, the first value of a join.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows).
    pub(crate) fn taken(&self) -> Result<Vec<Flow>> {
        let (inputs, flows) = (self.all_inputs()?, self.flows()?);
        let first = |layer: &Layer| self.flow_of(layer.from[0], &inputs, &flows);
        self.layers.iter().map(first).collect()
    }

    /// What flows out of the model: the first of its outputs that is no final state.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows).
    pub(crate) fn output_flows(&self) -> Result<Vec<Flow>> {
        let (inputs, flows) = (self.all_inputs()?, self.flows()?);
        self.feature_outputs().into_iter().map(|value| self.flow_of(value, &inputs, &flows)).collect()
    }

    /// Whether the layers fit each other.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows), and where the vocabulary's length is not the number of tokens.
    pub fn check(&self) -> Result<()> {
        self.flows()?;
        self.check_graph()?;
        self.ports.check(self).map_err(|e| e.at("ports"))?;
        if let (Some(vocabulary), Flow::Tokens(tokens)) = (&self.vocabulary, self.input()?)
            && vocabulary.len() != tokens
        {
            return Err(Error::new(
                ErrorKind::Model,
                format!("vocabulary: expected {tokens} characters, one for each token, got {}", vocabulary.len()),
            ));
        }
        Ok(())
    }

    /// The number of trainable parameters. What layers share counts once.
    pub fn parameters(&self) -> usize {
        self.own_parameters().into_iter().fold(0, usize::saturating_add)
    }

    /// The number of parameters of each of [`layers`](Self::layers) that no layer before it has.
    pub(crate) fn own_parameters(&self) -> Vec<usize> {
        // A description may claim more tensors than memory could list.
        const MOST: usize = 1 << 16;
        let mut earlier: HashMap<&str, Vec<&LayerKind>> = HashMap::new();
        let own = |layer: &Layer, kinds: &[&LayerKind]| {
            let twins = kinds.iter().any(|kind| **kind == layer.kind);
            if twins || kinds.is_empty() {
                return if twins { 0 } else { layer.kind.parameters() };
            }
            let names = kinds.iter().flat_map(|kind| kind.tensors().take(MOST)).map(|param| param.name);
            let names: HashSet<_> = names.collect();
            let shared = layer.kind.tensors().take(MOST).filter(|param| names.contains(&param.name));
            let shared = shared.map(|param| param.shape.into_iter().fold(1, usize::saturating_mul));
            layer.kind.parameters().saturating_sub(shared.fold(0, usize::saturating_add))
        };
        let mut counts = Vec::new();
        for layer in &self.layers {
            let kinds = earlier.entry(layer.weights.as_str()).or_default();
            let has_tensors = layer.kind.tensors().next().is_some();
            counts.push(if has_tensors { own(layer, kinds) } else { 0 });
            kinds.extend(has_tensors.then_some(&layer.kind));
        }
        counts
    }
}
