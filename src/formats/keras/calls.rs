//! The arguments of layer calls in a functional model, as Keras 3 and Keras 2 write them.
//!
//! Knows how calls are written; knows no order of layers.

use serde_json::{Map, Value};

use super::config::{short, wrong};
use crate::error::Result;

/// A tensor of a graph: an output of a layer in one of its calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tensor {
    /// The layer's name.
    pub(super) layer: String,
    /// The index of the call.
    pub(super) call: usize,
    /// The index of the output.
    pub(super) place: usize,
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub(super) enum Argument {
    Tensor(Tensor),
    /// An input of the model that contains the layer.
    Input(usize),
    /// A constant, which only operations take.
    Constant(Value),
}

/// A call of a layer.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) inputs: Vec<Argument>,
    /// The initial states of a recurrent layer.
    pub(super) initial: Vec<Tensor>,
    /// The mask of each input, if the file has them.
    pub(super) mask: Option<Vec<Option<Tensor>>>,
    /// The axis of an operation of Keras 2.
    pub(super) axis: Option<Value>,
    /// Whether a step of an attention's query sees no later step.
    pub(super) causal: bool,
}

/// The kind of arguments that a layer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Tensors.
    Tensors,
    /// A sequence, followed by states.
    States,
    /// Query, value and key: an attention.
    Query,
    /// Tensors and numbers: an operation.
    Constants,
}

impl Call {
    /// Creates a call with only `argument`.
    pub(super) fn of(argument: Argument) -> Self {
        Self { inputs: vec![argument], ..Self::default() }
    }

    /// Returns every tensor that the call needs.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let inputs = self.inputs.iter().filter_map(|argument| match argument {
            Argument::Tensor(tensor) => Some(tensor),
            Argument::Input(_) | Argument::Constant(_) => None,
        });
        inputs.chain(&self.initial).chain(self.mask.iter().flatten().flatten())
    }
}

/// Reads the calls that `inbound_nodes` lists.
pub(super) fn calls(nodes: Option<&Value>, takes: Takes) -> Result<Vec<Call>> {
    match nodes {
        None => Ok(Vec::new()),
        Some(Value::Array(calls)) => calls.iter().map(|node| call(node, takes)).collect(),
        Some(other) => Err(wrong(format!("inbound_nodes: expected a list of calls, got {}", short(other)))),
    }
}

/// Reads a call. Keras 3 writes an object; Keras 2 writes a list of tensors, each with its keyword arguments.
fn call(node: &Value, takes: Takes) -> Result<Call> {
    let mut call = Call::default();
    match node {
        Value::Object(node) => {
            for argument in node.get("args").and_then(Value::as_array).into_iter().flatten() {
                call.add(argument, takes)?;
            }
            call.named(node.get("kwargs").and_then(Value::as_object), takes)?;
        }
        Value::Array(parts) => {
            // A single argument may have no list around it.
            let parts =
                if parts.first().is_some_and(Value::is_string) { std::slice::from_ref(node) } else { &parts[..] };
            for part in parts {
                match (tensor(part), part.get(0).and_then(Value::as_str), part.get(2)) {
                    (Some(tensor), ..) => call.inputs.push(Argument::Tensor(tensor)),
                    (None, Some("_CONSTANT_VALUE"), Some(value)) if takes == Takes::Constants => {
                        call.inputs.push(Argument::Constant(value.clone()));
                    }
                    // The states of one cell of several are a list of their own.
                    (None, None, _) if takes == Takes::States && part.is_array() => {
                        call.inputs.extend(tensors(part)?.into_iter().map(Argument::Tensor));
                        continue;
                    }
                    _ => return Err(unread(part)),
                }
                call.named(part.get(3).and_then(Value::as_object), takes)?;
            }
        }
        other => return Err(unread(other)),
    }
    // States may follow the input without a name.
    if takes == Takes::States && call.inputs.len() > 1 {
        if !call.initial.is_empty() {
            return Err(wrong("initial_state: expected it once, got it twice".into()));
        }
        let states = call.inputs.split_off(1);
        let states = states.into_iter().map(|argument| match argument {
            Argument::Tensor(tensor) => Ok(tensor),
            other => Err(wrong(format!("initial_state: expected tensors of the graph, got {other:?}"))),
        });
        call.initial = states.collect::<Result<_>>()?;
    }
    Ok(call)
}

impl Call {
    fn add(&mut self, argument: &Value, takes: Takes) -> Result<()> {
        match (tensor(argument), argument) {
            (Some(tensor), _) => self.inputs.push(Argument::Tensor(tensor)),
            (None, Value::Null) if takes != Takes::Constants => {}
            (None, Value::Array(list))
                if takes != Takes::Constants || list.iter().any(|item| tensor(item).is_some()) =>
            {
                for argument in list {
                    self.add(argument, takes)?;
                }
            }
            // Inputs by name, in the order in which Keras flattens them.
            (None, Value::Object(named))
                if named.values().all(|value| tensor(value).is_some()) && !named.is_empty() =>
            {
                for argument in named.values() {
                    self.add(argument, takes)?;
                }
            }
            (None, constant) if takes == Takes::Constants => self.inputs.push(Argument::Constant(constant.clone())),
            (None, other) => return Err(unread(other)),
        }
        Ok(())
    }

    fn named(&mut self, keys: Option<&Map<String, Value>>, takes: Takes) -> Result<()> {
        for (key, value) in keys.into_iter().flatten() {
            match (key.as_str(), value) {
                (_, Value::Null) | ("training", Value::Bool(false)) => {}
                ("y" | "slice_spec", operand) if takes == Takes::Constants => self.inputs.push(match tensor(operand) {
                    Some(tensor) => Argument::Tensor(tensor),
                    None => Argument::Constant(operand.clone()),
                }),
                ("axis", Value::Number(_)) if takes == Takes::Constants => self.axis = Some(value.clone()),
                ("use_causal_mask", Value::Bool(causal)) if takes == Takes::Query => self.causal = *causal,
                ("return_attention_scores", Value::Bool(false)) if takes == Takes::Query => {}
                ("return_attention_scores", _) if takes == Takes::Query => {
                    let got = short(value);
                    return Err(wrong(format!(
                        "{key}: expected false, got {got}; the weights of steps are no output here"
                    )));
                }
                ("mask", mask) => self.mask = Some(optional(mask).map_err(|e| e.at("mask"))?),
                ("initial_state", states) if takes == Takes::States => {
                    if !self.initial.is_empty() {
                        return Err(wrong("initial_state: expected it once, got it twice".into()));
                    }
                    self.initial = tensors(states).map_err(|e| e.at("initial_state"))?;
                }
                ("training", _) => {
                    return Err(wrong(format!(
                        "training: expected false, got {}; what training drops is not dropped here",
                        short(value)
                    )));
                }
                _ => return Err(wrong(format!("{key}: expected nothing beside the input, got {}", short(value)))),
            }
        }
        Ok(())
    }
}

/// Reads a tensor of either Keras: an object with its history, or a list of layer, call and output.
fn tensor(value: &Value) -> Option<Tensor> {
    let parts = match value {
        Value::Object(_) if value.get("class_name").and_then(Value::as_str) == Some("__keras_tensor__") => {
            value.get("config")?.get("keras_history")?.as_array()?
        }
        Value::Array(parts) => parts,
        _ => return None,
    };
    match &parts[..] {
        [Value::String(layer), call, place, ..] => {
            let number = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
            Some(Tensor { layer: layer.clone(), call: number(call)?, place: number(place)? })
        }
        _ => None,
    }
}

/// Reads a tensor, or a list or an object of tensors, nested to any depth.
pub(super) fn tensors(value: &Value) -> Result<Vec<Tensor>> {
    match (tensor(value), value) {
        (Some(tensor), _) => Ok(vec![tensor]),
        (None, Value::Array(values)) => Ok(values.iter().map(tensors).collect::<Result<Vec<_>>>()?.concat()),
        (None, Value::Object(values)) if !values.is_empty() => {
            Ok(values.values().map(tensors).collect::<Result<Vec<_>>>()?.concat())
        }
        _ => Err(unread(value)),
    }
}

/// Reads a tensor or none, or a list of such.
fn optional(value: &Value) -> Result<Vec<Option<Tensor>>> {
    match (tensor(value), value) {
        (Some(tensor), _) => Ok(vec![Some(tensor)]),
        (None, Value::Array(values)) => Ok(values.iter().map(optional).collect::<Result<Vec<_>>>()?.concat()),
        (None, Value::Null) => Ok(vec![None]),
        _ => Err(unread(value)),
    }
}

fn unread(value: &Value) -> crate::error::Error {
    wrong(format!("expected tensors of the graph, got {}", short(value)))
}
