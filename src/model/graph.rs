//! The edges of a model: which values flow from where to where, and what the model takes and gives by name.
//!
//! A model is a list of layers in topological order. Each layer names the values that it takes. A chain is the case in
//! which every layer takes what the one before it gives. Knows layers; knows no weights and no call.

use super::Model;
use super::flow::{Features, Flow};
use super::layer::{Layer, LayerKind, Recurrent, Select};
use super::ports::State;
use crate::error::{Error, ErrorKind, Result};

/// A value of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// An input of the model, counted from 0.
    Input(usize),
    /// What a layer gives: which layer, counted from 0, and which of its results.
    Layer(usize, Pin),
}

/// A result of a layer. A recurrent stack has all of them, any other layer has its output alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// What the layer gives, at every step where it takes a sequence.
    Output,
    /// The last layer's final hidden state as features, forward then reverse.
    FinalHidden,
    /// The output that the last layer computes last, as features (see [`Select::LastOutput`]).
    LastOutput,
    /// The last layer's final cell state as features, forward then reverse; of an LSTM.
    FinalCell,
    /// The final hidden states of all layers and directions, `[L·D, B, state_size]`.
    Hidden,
    /// The final cell states of all layers and directions, `[L·D, B, H]`.
    Cell,
}

/// What a model takes under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInput {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: InputKind,
}

/// What an input of a model is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InputKind {
    /// `[B, T, size]` features.
    Sequence(usize),
    /// `[B, T]` tokens below the bound.
    Tokens(usize),
    /// `[B, size]` features without a time axis.
    Row(usize),
    /// Initial states of the stacks that name this input, `[L·D, B, …]`.
    State(State),
}

/// Which states of a stack begin at values of the model, and not where the caller says.
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

    /// Whether one of them does.
    pub(crate) fn any(self) -> bool {
        self.hidden || self.cell
    }

    /// Whether all states of `stack` do.
    pub(crate) fn all(self, stack: &Recurrent) -> bool {
        self.hidden && (self.cell || !State::Cell.is_of(stack))
    }
}

/// What a model gives under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOutput {
    /// The name.
    pub name: String,
    /// The value.
    pub from: Value,
}

impl Pin {
    /// The word of each in a description, after the layer's name and a dot.
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("final_hidden", Self::FinalHidden),
        ("last_output", Self::LastOutput),
        ("final_cell", Self::FinalCell),
        ("hidden", Self::Hidden),
        ("cell", Self::Cell),
    ];
}

impl InputKind {
    /// What flows from it; none of a state.
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
    /// The value that the next layer of a chain takes: what the last layer gives, or the first input.
    pub fn last_value(&self) -> Value {
        match self.layers.len() {
            0 => Value::Input(0),
            layers => Value::Layer(layers - 1, Pin::Output),
        }
    }

    /// What a layer of `kind` takes where nothing else is said: the last value, or a result of the last stack.
    pub(crate) fn usual_source(&self, kind: &LayerKind) -> Value {
        self.usual_source_at(self.layers.len(), kind)
    }

    /// The same for layer `index`.
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

    /// What a layer of `kind` means that names `value`: a selection that names a stack takes that result of it.
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

    /// Whether every layer takes what a chain's would, and nothing has a name of its own.
    pub fn is_chain(&self) -> bool {
        let usual = |(index, layer): (usize, &Layer)| {
            layer.from == [self.usual_source_at(index, &layer.kind)] && layer.initial == [None, None]
        };
        self.inputs.is_empty() && self.outputs.is_empty() && self.layers.iter().enumerate().all(usual)
    }

    /// The inputs of the model; of one that names none, the sequence that its first layer takes, as `x`.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where there is no layer or the first one takes no sequence.
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

    /// Which input tells the batch and the steps of a call: the first one with a time axis.
    pub(crate) fn main_input(&self) -> usize {
        self.inputs.iter().position(|input| input.kind.has_time()).unwrap_or(0)
    }

    /// The values that a call gives as arrays of features, the first one as [`Output::output`](crate::Output::output):
    /// the outputs but for final states; of a model that names none, what its last layer gives.
    pub(crate) fn feature_outputs(&self) -> Vec<Value> {
        let states = |value: &Value| matches!(value, Value::Layer(_, Pin::Hidden | Pin::Cell));
        let named: Vec<_> = self.outputs.iter().map(|output| output.from).filter(|value| !states(value)).collect();
        if named.is_empty() { vec![self.last_value()] } else { named }
    }

    /// Which stack of the model, counted from 0 among its recurrent layers, layer `layer` is.
    pub(crate) fn stack_of(&self, layer: usize) -> usize {
        self.layers[..layer].iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_))).count()
    }

    /// Which states of stack `stack`, counted from 0 among the recurrent layers, begin at a value that a layer gives or that
    /// is given as features. The caller may say where the others begin.
    pub(crate) fn begun(&self, stack: usize) -> Begun {
        let is_stack = |layer: &&Layer| matches!(layer.kind, LayerKind::Recurrent(_));
        let initial = self.layers.iter().filter(is_stack).nth(stack).map_or([None; 2], |layer| layer.initial);
        let [hidden, cell] = initial.map(|value| value.is_some_and(|value| !is_state(value, &self.inputs)));
        Begun { hidden, cell }
    }

    /// Where `value` comes from, behind layers that only pass it on.
    pub(crate) fn origin(&self, value: Value) -> Value {
        match value {
            Value::Layer(layer, Pin::Output) if self.layers[layer].kind.passes_on() => {
                self.origin(self.layers[layer].from[0])
            }
            _ => value,
        }
    }

    /// The flow of `value`, where `flows` are those of the layers before.
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

    /// `value` in messages, as a description names it; a layer without a name goes by its number.
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

    /// Layer `layer` in messages: its index, and its name where it has one.
    pub(crate) fn place(&self, layer: usize) -> String {
        let Some(of) = self.layers.get(layer) else { return layer.to_string() };
        match &of.name {
            Some(name) => format!("{layer} {name} ({})", of.kind.name()),
            None => format!("{layer} {}", of.kind.name()),
        }
    }
}

/// Whether `value` is an input of initial states.
pub(super) fn is_state(value: Value, inputs: &[ModelInput]) -> bool {
    let Value::Input(index) = value else { return false };
    inputs.get(index).is_some_and(|input| matches!(input.kind, InputKind::State(_)))
}
