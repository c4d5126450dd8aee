//! The edges of a model: the values that flow between layers, and the model's inputs and outputs by name.
//!
//! A model is a list of layers in topological order. Each layer names the values that it takes. In a
//! chain, every layer takes the output of the layer before it. Knows layers; knows no weights and no call.

use super::Model;
use super::flow::{Features, Flow};
use super::layer::{Layer, LayerKind, Recurrent, Select};
use super::ports::State;
use crate::error::{Error, ErrorKind, Result};

/// A value of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Value {
    /// An input of the model, counted from 0.
    Input(usize),
    /// A result of a layer: the layer, counted from 0, and which of its results.
    Layer(usize, Pin),
}

/// A result of a layer. A recurrent stack has all of them; any other layer has only its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pin {
    /// The layer's output, at every step if it takes a sequence.
    Output,
    /// The last layer's final hidden state as features, forward then reverse.
    FinalHidden,
    /// The output that the last layer computes last, as features (see [`Select::LastOutput`]).
    LastOutput,
    /// An LSTM's final cell state of the last layer as features, forward then reverse.
    FinalCell,
    /// The final hidden states of all layers and directions, `[L·D, B, state_size]`.
    Hidden,
    /// The final cell states of all layers and directions, `[L·D, B, H]`.
    Cell,
}

/// A named input of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelInput {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: InputKind,
}

/// The kind of an input of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InputKind {
    /// `[B, T, size]` features.
    Sequence(usize),
    /// `[B, T]` tokens below this bound.
    Tokens(usize),
    /// `[B, size]` features without a time axis.
    Row(usize),
    /// Initial states, `[L·D, B, …]`, of the stacks that name this input.
    State(State),
}

/// Which states of a stack begin at values of the model. The caller cannot set those.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    pub(crate) hidden: bool,
    pub(crate) cell: bool,
}

impl Begun {
    pub(crate) fn has(self, state: State) -> bool {
        match state {
            State::Hidden => self.hidden,
            State::Cell => self.cell,
        }
    }

    /// Whether any state begins at a value.
    pub(crate) fn any(self) -> bool {
        self.hidden || self.cell
    }

    /// Whether all states of `stack` begin at values.
    pub(crate) fn all(self, stack: &Recurrent) -> bool {
        self.hidden && (self.cell || !State::Cell.is_of(stack))
    }
}

/// A named output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelOutput {
    /// The name.
    pub name: String,
    /// The value.
    pub from: Value,
}

impl ModelInput {
    /// Creates an input with this name.
    pub fn new(name: impl Into<String>, kind: InputKind) -> Self {
        Self { name: name.into(), kind }
    }
}

impl ModelOutput {
    /// Creates an output that gives `from` as `name`.
    pub fn new(name: impl Into<String>, from: impl Into<Value>) -> Self {
        Self { name: name.into(), from: from.into() }
    }
}

impl Pin {
    /// The word for each in a description, after the layer's name and a dot.
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("final_hidden", Self::FinalHidden),
        ("last_output", Self::LastOutput),
        ("final_cell", Self::FinalCell),
        ("hidden", Self::Hidden),
        ("cell", Self::Cell),
    ];
}

impl InputKind {
    /// Returns what flows from the input; `None` for a state.
    pub(crate) fn flow(self) -> Option<Flow> {
        match self {
            Self::Sequence(size) => Some(Flow::Steps(Features::one(size))),
            Self::Tokens(tokens) => Some(Flow::Tokens(tokens)),
            Self::Row(size) => Some(Flow::Rows(Features::one(size))),
            Self::State(_) => None,
        }
    }

    pub(crate) fn has_time(self) -> bool {
        matches!(self, Self::Sequence(_) | Self::Tokens(_))
    }
}

impl Model {
    /// Returns the value that the next layer of a chain takes: the last layer's output, or the first input.
    pub fn last_value(&self) -> Value {
        match self.layers.len() {
            0 => Value::Input(0),
            layers => Value::Layer(layers - 1, Pin::Output),
        }
    }

    /// Returns the value that a layer of `kind` takes by default: the last value, or a result of the last stack.
    pub(crate) fn usual_source(&self, kind: &LayerKind) -> Value {
        self.usual_source_at(self.layers.len(), kind)
    }

    /// Returns the value that layer `index`, of `kind`, takes by default.
    pub(crate) fn usual_source_at(&self, index: usize, kind: &LayerKind) -> Value {
        let result = match kind {
            LayerKind::Select(Select::FinalHidden) => Some(Pin::FinalHidden),
            LayerKind::Select(Select::LastOutput) => Some(Pin::LastOutput),
            _ => None,
        };
        let is_stack = |layer: &Layer| matches!(layer.kind, LayerKind::Recurrent(_));
        let of_stack = result.and_then(|pin| Some(Value::Layer(self.layers[..index].iter().rposition(is_stack)?, pin)));
        of_stack.unwrap_or(match index.checked_sub(1) {
            None => Value::Input(0),
            Some(before) => Value::Layer(before, Pin::Output),
        })
    }

    /// Returns the value that a layer of `kind` takes if it names `value`.
    /// A selection that names a stack takes that result of the stack.
    pub(crate) fn meant(&self, kind: &LayerKind, value: Value) -> Value {
        let Value::Layer(layer, Pin::Output) = value else { return value };
        match (kind, self.layers.get(layer).map(|layer| &layer.kind)) {
            (LayerKind::Select(Select::FinalHidden), Some(LayerKind::Recurrent(_))) => {
                Value::Layer(layer, Pin::FinalHidden)
            }
            (LayerKind::Select(Select::LastOutput), Some(LayerKind::Recurrent(_))) => {
                Value::Layer(layer, Pin::LastOutput)
            }
            _ => value,
        }
    }

    /// Whether every layer takes its default value, and the model names no inputs and no outputs.
    pub fn is_chain(&self) -> bool {
        let usual = |(index, layer): (usize, &Layer)| {
            layer.from == [self.usual_source_at(index, &layer.kind)] && layer.initial == [None, None]
        };
        self.inputs.is_empty() && self.outputs.is_empty() && self.layers.iter().enumerate().all(usual)
    }

    /// Returns the inputs of the model. If it names none, that is `x`: the sequence that its first layer takes.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`] if there is no layer, or if the first one takes no sequence.
    pub fn all_inputs(&self) -> Result<Vec<ModelInput>> {
        if !self.inputs.is_empty() {
            return Ok(self.inputs.clone());
        }
        let kind = match self.first_takes()? {
            Flow::Tokens(tokens) => InputKind::Tokens(tokens),
            Flow::Steps(features) | Flow::Rows(features) => InputKind::Sequence(features.len()),
        };
        Ok(vec![ModelInput { name: "x".into(), kind }])
    }

    /// Returns the index of the input that decides the batch and the steps of a call: the first one with a time axis.
    /// If the model itself makes its steps, that is the first one of features.
    pub(crate) fn main_input(&self) -> usize {
        let first = |is: fn(InputKind) -> bool| self.inputs.iter().position(|input| is(input.kind));
        first(InputKind::has_time).or_else(|| first(|kind| kind.flow().is_some())).unwrap_or(0)
    }

    /// Returns the values that a call gives as arrays of features; the first is
    /// [`Output::output`](crate::Output::output). They are the outputs except
    /// final states. A model that names no outputs gives its last layer's output.
    pub(crate) fn feature_outputs(&self) -> Vec<Value> {
        let states = |value: &Value| matches!(value, Value::Layer(_, Pin::Hidden | Pin::Cell));
        let named: Vec<_> = self.outputs.iter().map(|output| output.from).filter(|value| !states(value)).collect();
        if named.is_empty() { vec![self.last_value()] } else { named }
    }

    /// Returns which recurrent stack layer `layer` is, counted from 0.
    pub(crate) fn stack_of(&self, layer: usize) -> usize {
        self.layers[..layer].iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_))).count()
    }

    /// Returns which states of stack `stack`, counted from 0, begin at values. Such a value
    /// is a layer's result or given as features. The caller may set the other states.
    pub(crate) fn begun(&self, stack: usize) -> Begun {
        let is_stack = |layer: &&Layer| matches!(layer.kind, LayerKind::Recurrent(_));
        let initial = self.layers.iter().filter(is_stack).nth(stack).map_or([None; 2], |layer| layer.initial);
        let [hidden, cell] = initial.map(|value| value.is_some_and(|value| !is_state(value, &self.inputs)));
        Begun { hidden, cell }
    }

    /// Returns where `value` comes from, past layers that only pass it on.
    pub(crate) fn origin(&self, value: Value) -> Value {
        match value {
            Value::Layer(layer, Pin::Output) if self.layers[layer].kind.passes_on() => {
                self.origin(self.layers[layer].from[0])
            }
            _ => value,
        }
    }

    /// Returns the flow of `value`. `flows` are the flows of the layers before.
    pub(crate) fn flow_of(&self, value: Value, inputs: &[ModelInput], flows: &[Flow]) -> Result<Flow> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Model, text));
        let (layer, pin) = match value {
            Value::Input(index) => {
                let Some(input) = inputs.get(index) else {
                    return wrong(format!("from: expected an input below {}, got {index}", inputs.len()));
                };
                return match input.kind.flow() {
                    Some(flow) => Ok(flow),
                    None => wrong(format!("{}: expected features or tokens, got initial states", input.name)),
                };
            }
            Value::Layer(layer, pin) => (layer, pin),
        };
        let Some(&flow) = flows.get(layer) else {
            return wrong(format!("from: expected a layer before this one, got layer {}", self.place(layer)));
        };
        match (pin, &self.layers[layer].kind) {
            (Pin::Output, _) => Ok(flow),
            (Pin::FinalHidden, LayerKind::Recurrent(stack)) => Ok(Flow::Rows(stack.hidden())),
            (Pin::LastOutput, LayerKind::Recurrent(stack)) => Ok(Flow::Rows(stack.output())),
            (Pin::FinalCell, LayerKind::Recurrent(stack)) if State::Cell.is_of(stack) => {
                Ok(Flow::Rows(Features { parts: stack.directions(), size: stack.hidden_size }))
            }
            (Pin::FinalCell, LayerKind::Recurrent(stack)) => {
                let cell = stack.cell.name();
                wrong(format!(
                    "from: expected features, got the cell state of layer {}, a {cell}, which has none",
                    self.place(layer)
                ))
            }
            (Pin::Hidden | Pin::Cell, LayerKind::Recurrent(_)) => {
                wrong(format!("from: expected features, got final states, {}", self.called(value, inputs)))
            }
            _ => wrong(format!("from: expected a recurrent stack, got layer {}", self.place(layer))),
        }
    }

    /// Returns `value` for messages, as a description names it. A layer without a name has its number.
    pub(crate) fn called(&self, value: Value, inputs: &[ModelInput]) -> String {
        let (layer, pin) = match value {
            Value::Input(index) => return inputs.get(index).map_or(format!("input {index}"), |i| i.name.clone()),
            Value::Layer(layer, pin) => (layer, pin),
        };
        let name = self.layers.get(layer).and_then(|of| of.name.clone());
        let name = name.unwrap_or_else(|| format!("layer {}", self.place(layer)));
        match Pin::WORDS.iter().find(|(_, other)| *other == pin) {
            Some((word, _)) => format!("{name}.{word}"),
            None => name,
        }
    }

    /// Returns layer `layer` for messages: its index, and its name if it has one.
    pub(crate) fn place(&self, layer: usize) -> String {
        let Some(of) = self.layers.get(layer) else { return layer.to_string() };
        match &of.name {
            Some(name) => format!("{layer} {name} ({})", of.kind.name()),
            None => format!("{layer} {}", of.kind.name()),
        }
    }

    /// Marks `error` as one of layer `layer`: see [`Error::layer`].
    pub(crate) fn of_layer(&self, layer: usize, error: Error) -> Error {
        let name = self.layers.get(layer).and_then(|of| of.name.clone());
        error.of_layer(name.unwrap_or_else(|| layer.to_string()))
    }

    /// Marks `error` as one of layer `layer`, and writes the layer before its message.
    pub(crate) fn at_layer(&self, layer: usize, error: Error) -> Error {
        self.of_layer(layer, error).at(format!("layer {}", self.place(layer)))
    }
}

/// Whether `value` is an input of initial states.
pub(super) fn is_state(value: Value, inputs: &[ModelInput]) -> bool {
    let Value::Input(index) = value else { return false };
    inputs.get(index).is_some_and(|input| matches!(input.kind, InputKind::State(_)))
}
