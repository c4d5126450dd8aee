//! Models: what the user asks for. A model is a list of layers with the values that they take.
//!
//! A `Model` is a description: it holds no weights and knows no device. `layer` has a file for each
//! layer, and `flow` what one layer hands to the next. `ports` has the named tensors of a call, and
//! `graph` the values that layers hand to each other. `edges` checks those values. `consumers` finds
//! which layers take each value, and `clocks` the time axes. `builder` builds a model value by value.

mod builder;
mod clocks;
mod consumers;
mod edges;
mod ends;
mod flow;
mod graph;
mod layer;
mod ports;
mod steps;

use std::collections::{HashMap, HashSet};

use crate::error::{Error, ErrorKind, Result};

pub use builder::{Graph, Node, Sources};
pub(crate) use clocks::{Clocks, OTHER_CLOCKS, TimeAxis};
pub(crate) use consumers::Consumers;
pub(crate) use edges::check_names;
pub(crate) use ends::TimeEnd;
pub use flow::{Features, Flow};
pub(crate) use graph::Begun;
pub use graph::{InputKind, ModelInput, ModelOutput, Pin, Value};
pub use layer::*;
pub(crate) use ports::groups_of;
pub use ports::{Dim, InputPort, InputValue, OutputPort, OutputValue, Ports, Required, State, WeightPart};
pub(crate) use steps::Misfit;
#[cfg(feature = "testing")]
pub use steps::{check_steps, steps_over};

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
#[non_exhaustive]
pub struct Model {
    /// The model's name, which a summary shows.
    pub name: Option<String>,
    /// Which axis of an input is the batch.
    pub axes: Axes,
    /// The characters of a character model, in token order.
    pub vocabulary: Option<Vec<char>>,
    /// The layers in topological order: each takes only values of the layers before it.
    pub layers: Vec<Layer>,
    /// The inputs of the model, if it names them. If empty, the only input is the sequence that the first layer takes.
    pub inputs: Vec<ModelInput>,
    /// The outputs of the model, if it names them. If empty, the
    /// model gives the last layer's output and the final states.
    pub outputs: Vec<ModelOutput>,
    /// The named tensors of a call, if the model's file has names or axes of its own for them.
    pub ports: Ports,
    /// The name of the layer that is the only input, if the model's file has such a layer. A summary has a row for it.
    pub input_layer: Option<String>,
    /// The rows of a batch, if the model was made for a fixed number. A summary shows it; calls may have any other.
    pub batch_size: Option<usize>,
    /// The steps that the model was made for, one entry for each input, or no
    /// entry at all. A summary shows them; calls may have any other number.
    pub steps: Vec<Option<usize>>,
}

/// The order of the axes of sequences, for inputs and outputs.
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

impl From<&Self> for Model {
    /// Copies the model, so that an engine or a trainer can be built from `&model`.
    fn from(model: &Self) -> Self {
        model.clone()
    }
}

impl Model {
    /// Sets the named tensors of a call.
    #[must_use]
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = ports;
        self
    }

    /// Creates a model without layers, batch first.
    pub fn new() -> Self {
        Self {
            name: None,
            axes: Axes::BatchFirst,
            vocabulary: None,
            layers: Vec::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            ports: Ports::default(),
            input_layer: None,
            batch_size: None,
            steps: Vec::new(),
        }
    }

    /// Adds `layer` after the last one. Its tensors get the prefix that `nn.Sequential` gives them: `0.`, `1.`, …
    #[must_use]
    pub fn layer(self, layer: impl Into<LayerKind>) -> Self {
        let prefix = format!("{}.", self.layers.len());
        self.named_layer(prefix, layer)
    }

    /// Adds `layer` after the last one, with `prefix` before the names of its tensors.
    #[must_use]
    pub fn named_layer(mut self, prefix: impl Into<String>, layer: impl Into<LayerKind>) -> Self {
        self.push(layer.into(), prefix.into());
        self
    }

    /// Adds a layer that takes its [usual source](Self::usual_source):
    /// the last layer's output, or a result of the last stack.
    pub(crate) fn push(&mut self, kind: LayerKind, prefix: String) {
        let from = vec![self.usual_source(&kind)];
        self.layers.push(Layer { kind, prefix, name: None, from, initial: [None; 2] });
    }

    /// Sets how sequences are laid out.
    #[must_use]
    pub fn axes(mut self, axes: Axes) -> Self {
        self.axes = axes;
        self
    }

    /// Sets the characters of a character model, in token order.
    #[must_use]
    pub fn vocabulary(mut self, characters: impl IntoIterator<Item = char>) -> Self {
        self.vocabulary = Some(characters.into_iter().collect());
        self
    }

    /// Returns a one-line summary: the first layers, and how many more there are.
    pub(crate) fn in_few_words(&self) -> String {
        const SHOWN: usize = 4;
        let mut words: Vec<_> = self.layers.iter().take(SHOWN).map(|layer| layer.kind.to_string()).collect();
        if self.layers.len() > SHOWN {
            words.push(format!("{} more", self.layers.len() - SHOWN));
        }
        words.join(" → ")
    }

    /// Sets the model's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the number of batch rows that a summary shows.
    #[must_use]
    pub fn batch_size(mut self, rows: usize) -> Self {
        self.batch_size = Some(rows);
        self
    }

    /// Sets the number of steps that a summary shows for each input with a time axis.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        let has_time = |input: usize| self.inputs.get(input).is_none_or(|input| input.kind.has_time());
        self.steps = (0..self.inputs.len().max(1)).map(|input| has_time(input).then_some(steps)).collect();
        self
    }

    /// Returns the recurrent stacks, first to last.
    pub fn stacks(&self) -> impl Iterator<Item = &Recurrent> {
        self.layers.iter().filter_map(|layer| match &layer.kind {
            LayerKind::Recurrent(stack) => Some(stack),
            _ => None,
        })
    }

    /// Returns the flow of the main input: the first one with a time axis.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`] if there is no layer, or if the first one takes no sequence.
    pub fn input(&self) -> Result<Flow> {
        match self.inputs.get(self.main_input()).and_then(|input| input.kind.flow()) {
            Some(flow) => Ok(flow),
            None => self.first_takes(),
        }
    }

    /// Returns what the first layer takes.
    fn first_takes(&self) -> Result<Flow> {
        let first = self.layers.first().ok_or_else(|| Error::new(ErrorKind::Model, "the model has no layers"))?;
        first.kind.takes().ok_or_else(|| {
            Error::new(
                ErrorKind::Model,
                format!(
                    "layer 0 {}: expected a layer that takes a sequence (embedding, one_hot, rnn, lstm, gru, linear, conv1d) first",
                    first.kind.name()
                ),
            )
        })
    }

    /// Returns what flows out of each layer, first to last.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`] if a layer
    /// cannot take the values that it names, or has a size of zero.
    pub fn flows(&self) -> Result<Vec<Flow>> {
        let inputs = self.all_inputs()?;
        let mut flows = Vec::with_capacity(self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            let flow = self.flow_at(layer, &inputs, &flows).map_err(|e| self.at_layer(index, e))?;
            flows.push(flow);
        }
        Ok(flows)
    }

    /// Returns what flows out of `layer`. `flows` are the flows of the layers before it.
    fn flow_at(&self, layer: &Layer, inputs: &[ModelInput], flows: &[Flow]) -> Result<Flow> {
        let taken = layer.from.iter().map(|&value| self.flow_of(value, inputs, flows)).collect::<Result<Vec<_>>>()?;
        self.check_join(layer, &taken, inputs)?;
        let index = flows.len();
        let named = |e: Error| match layer.from[..] {
            // The number of a join's values is checked first. In a chain it is plain which value a layer takes.
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

    /// Returns what each layer takes; for a join, its first value.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows).
    pub(crate) fn taken(&self) -> Result<Vec<Flow>> {
        let (inputs, flows) = (self.all_inputs()?, self.flows()?);
        let first = |layer: &Layer| self.flow_of(layer.from[0], &inputs, &flows);
        self.layers.iter().map(first).collect()
    }

    /// Returns what each output of the model gives, except final states.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows).
    pub(crate) fn output_flows(&self) -> Result<Vec<Flow>> {
        let (inputs, flows) = (self.all_inputs()?, self.flows()?);
        self.feature_outputs().into_iter().map(|value| self.flow_of(value, &inputs, &flows)).collect()
    }

    /// Checks that the layers fit each other.
    ///
    /// # Errors
    ///
    /// As [`flows`](Self::flows); also of kind [`ErrorKind::Model`]
    /// if the length of the vocabulary is not the number of tokens.
    pub fn check(&self) -> Result<()> {
        self.flows()?;
        self.check_graph()?;
        let inputs = self.inputs.len().max(1);
        if !self.steps.is_empty() && self.steps.len() != inputs {
            let text = format!("steps: expected as many as inputs, {inputs}, got {}", self.steps.len());
            return Err(Error::new(ErrorKind::Model, text));
        }
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

    /// Returns the number of trainable parameters. Shared parameters count once.
    pub fn parameters(&self) -> usize {
        self.own_parameters().into_iter().fold(0, usize::saturating_add)
    }

    /// Returns, for each of [`layers`](Self::layers), the number of means and variances that no earlier layer has.
    pub(crate) fn own_statistics(&self) -> Vec<usize> {
        let mut earlier = HashSet::new();
        let mut own = |layer: &Layer| {
            let statistics = layer.kind.statistics();
            if statistics > 0 && earlier.insert(layer.prefix.clone()) { statistics } else { 0 }
        };
        self.layers.iter().map(&mut own).collect()
    }

    /// Returns, for each of [`layers`](Self::layers), the number of parameters that no earlier layer has.
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
            let kinds = earlier.entry(layer.prefix.as_str()).or_default();
            let has_tensors = layer.kind.tensors().next().is_some();
            counts.push(if has_tensors { own(layer, kinds) } else { 0 });
            kinds.extend(has_tensors.then_some(&layer.kind));
        }
        counts
    }
}
