//! What each layer of a functional model was called with: the nodes of the graph, in Keras 3's words and in Keras 2's.
//!
//! Knows how calls are written; knows nothing of how layers follow each other.

use serde_json::{Map, Value};

use super::config::{Config, short, word, wrong};
use super::graph::Counter;
use super::variables::Place;
use crate::error::Result;

/// A tensor of a graph: a layer's output of this number.
pub(super) type Tensor = (String, usize);

/// A layer of a graph.
pub(super) struct Node {
    /// None, of an operation.
    pub(super) config: Option<Config>,
    pub(super) place: Place,
    pub(super) class: String,
    pub(super) inputs: Vec<Tensor>,
    /// What stands beside the inputs: constants of operations.
    pub(super) constants: Vec<Value>,
    /// The states that it begins with.
    pub(super) initial: Vec<Tensor>,
    pub(super) mask: Option<Option<Tensor>>,
    /// An operation's own keys.
    pub(super) keys: Map<String, Value>,
}

impl Node {
    /// Whether it is a layer that may be called with states.
    fn takes_states(&self) -> bool {
        matches!(self.class.as_str(), "SimpleRNN" | "LSTM" | "GRU" | "Bidirectional")
    }
}

pub(super) fn at(node: &Node) -> String {
    format!("layer {} ({})", node.place.name, node.class)
}

pub(super) fn node(layer: &Value, counter: &mut Counter) -> Result<Node> {
    let Value::Object(keys) = layer else {
        return Err(wrong(format!("expected a layer, got {}", short(layer))));
    };
    let class = word(keys, "class_name")?.to_owned();
    let name = keys.get("name").or_else(|| keys.get("config").and_then(|config| config.get("name")));
    let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
    let place = Place { name, path: counter.path(&class) };
    if class == "Concatenate" {
        let text = "this layer is not read: the states of a bidirectional encoder can begin a bidirectional decoder, and not \
                    one of a single direction";
        return Err(wrong(text.into()).at(format!("layer {} ({class})", place.name)));
    }
    let operation = matches!(class.as_str(), "NotEqual" | "Any");
    let mut node = Node {
        config: if operation { None } else { Some(Config::of(layer)?) },
        place,
        class,
        inputs: Vec::new(),
        initial: Vec::new(),
        constants: Vec::new(),
        mask: None,
        keys: if operation {
            keys.get("config").and_then(Value::as_object).cloned().unwrap_or_default()
        } else {
            Map::new()
        },
    };
    match keys.get("inbound_nodes") {
        None => {}
        Some(Value::Array(calls)) if calls.is_empty() => {}
        Some(Value::Array(calls)) if calls.len() == 1 => called(&mut node, &calls[0]).map_err(|e| e.at(at(&node)))?,
        Some(other) => {
            let text = format!(
                "inbound_nodes: expected one call, got {}; a layer that is used twice is not read",
                short(other)
            );
            return Err(wrong(text).at(at(&node)));
        }
    }
    Ok(node)
}

/// What a layer was called with: Keras 3 writes an object, Keras 2 a list.
fn called(node: &mut Node, call: &Value) -> Result<()> {
    let unread = |value: &Value| Err(wrong(format!("inbound_nodes: expected tensors, got {}", short(value))));
    match call {
        Value::Object(call) => {
            let arguments = call.get("args").and_then(Value::as_array).cloned().unwrap_or_default();
            for argument in &arguments {
                match keras_tensor(argument) {
                    Some(tensor) => node.inputs.push(tensor),
                    None if node.config.is_none() => node.constants.push(argument.clone()),
                    // States may stand behind the input without their name.
                    None if node.takes_states() && argument.is_array() => initial_state(node, argument)?,
                    None => return unread(argument),
                }
            }
            let none = Map::new();
            arguments_by_name(node, call.get("kwargs").and_then(Value::as_object).unwrap_or(&none))
        }
        Value::Array(call) => {
            for argument in call {
                let Value::Array(parts) = argument else { return unread(argument) };
                match (tensor(parts), parts.get(3)) {
                    (Some(tensor), Some(Value::Object(keys))) => {
                        node.inputs.push(tensor);
                        arguments_by_name(node, keys)?;
                    }
                    (Some(tensor), None) => node.inputs.push(tensor),
                    _ => return unread(argument),
                }
            }
            // Keras 2 lists the states behind the input.
            if node.takes_states() && node.inputs.len() > 1 {
                node.initial = node.inputs.split_off(1);
            }
            Ok(())
        }
        other => unread(other),
    }
}

fn arguments_by_name(node: &mut Node, keys: &Map<String, Value>) -> Result<()> {
    for (key, value) in keys {
        match (key.as_str(), value) {
            ("mask", Value::Null) => node.mask = Some(None),
            ("mask", mask) => match keras_tensor(mask) {
                Some(tensor) => node.mask = Some(Some(tensor)),
                None => return Err(wrong(format!("mask: expected a tensor, got {}", short(mask)))),
            },
            ("training", Value::Null | Value::Bool(false)) | (_, Value::Null) => {}
            ("initial_state", states) if node.takes_states() => initial_state(node, states)?,
            _ => return Err(wrong(format!("{key}: expected nothing beside the input, got {}", short(value)))),
        }
    }
    Ok(())
}

/// The states that a layer begins with: a tensor or a list of them, as either Keras writes them.
fn initial_state(node: &mut Node, value: &Value) -> Result<()> {
    let unread = || wrong(format!("initial_state: expected tensors of the graph, got {}", short(value)));
    if !node.initial.is_empty() {
        return Err(wrong("initial_state: expected it once, got it twice".into()));
    }
    let one = |value: &Value| keras_tensor(value).or_else(|| tensor(value.as_array()?));
    node.initial = match (one(value), value) {
        (Some(tensor), _) => vec![tensor],
        (None, Value::Array(values)) => {
            values.iter().map(|value| one(value).ok_or_else(unread)).collect::<Result<_>>()?
        }
        (None, _) => return Err(unread()),
    };
    Ok(())
}

/// A tensor as Keras 3 writes it.
fn keras_tensor(value: &Value) -> Option<Tensor> {
    let class = value.get("class_name").and_then(Value::as_str);
    let history = value.get("config").and_then(|config| config.get("keras_history"));
    match (class, history) {
        (Some("__keras_tensor__"), Some(Value::Array(parts))) => tensor(parts),
        _ => None,
    }
}

/// A tensor by layer, call and place; of the first call, since a layer is called once.
fn tensor(parts: &[Value]) -> Option<Tensor> {
    match parts {
        [Value::String(name), call, place, ..] if call.as_u64() == Some(0) => {
            Some((name.clone(), usize::try_from(place.as_u64()?).ok()?))
        }
        _ => None,
    }
}

/// A tensor, or a list of them.
pub(super) fn tensors(value: &Value) -> Result<Vec<Tensor>> {
    let unread = || wrong(format!("expected tensors of the graph, got {}", short(value)));
    let Value::Array(parts) = value else { return Err(unread()) };
    if let Some(tensor) = tensor(parts) {
        return Ok(vec![tensor]);
    }
    parts.iter().map(|part| part.as_array().and_then(|parts| tensor(parts)).ok_or_else(unread)).collect()
}
