//! A model's description → its layers in the order in which they are applied, and which of their tensors it gives.
//!
//! A functional model is read where its graph is a plain chain. Beside the chain stand only the operations that Keras
//! writes for a mask, which must be the mask that the layers themselves make. Knows graphs; knows no layer but those
//! that make masks.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::config::{Config, short, word, wrong};
use super::variables::Place;
use crate::error::Result;

/// The most layers that are read: far more than a model has, and few enough to look at every pair of them.
const MOST_LAYERS: usize = 4096;

/// A layer of a chain.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) config: Config,
    pub(super) place: Place,
    /// Which tensor of the layer before it takes: 0 is its output, what follows its final states.
    pub(super) takes: usize,
    /// Whether it is given a mask, where the file says so.
    pub(super) masked: Option<bool>,
}

/// What a model is.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) entries: Vec<Entry>,
    /// The shape of the input, where no layer tells it.
    pub(super) input_shape: Option<Value>,
    /// The tensors that the model gives, by layer and place; all of the last layer's where nothing is said.
    pub(super) outputs: Option<Vec<(String, usize)>>,
}

/// The chain that `description` serializes.
pub(super) fn chain(description: &Value) -> Result<Chain> {
    let Value::Object(model) = description else {
        return Err(wrong(format!("expected a model, got {}", short(description))));
    };
    let config = match model.get("config") {
        Some(Value::Object(config)) => config.clone(),
        // The first Keras 2 wrote the layers alone.
        Some(Value::Array(layers)) => Map::from_iter([("layers".to_owned(), Value::Array(layers.clone()))]),
        _ => return Err(wrong("config: expected an object, got something else".into())),
    };
    let mut named = model.clone();
    let mut inner = config;
    inner.entry("name").or_insert_with(|| "model".into());
    let layers = match inner.get("layers") {
        Some(Value::Array(layers)) => layers.clone(),
        _ => return Err(wrong("layers: expected a list".into())),
    };
    if layers.len() > MOST_LAYERS {
        return Err(wrong(format!("layers: expected at most {MOST_LAYERS}, got {}", layers.len())));
    }
    named.insert("config".into(), Value::Object(inner));
    let mut config = Config::of(&Value::Object(named))?;
    drop(config.take("layers"));
    let chain = match config.class() {
        "Sequential" => {
            Chain { entries: sequential(&layers)?, input_shape: config.take("build_input_shape"), outputs: None }
        }
        "Functional" => functional(&layers, &mut config)?,
        other => return Err(wrong(format!("expected a Sequential or a Functional model, got {other}"))),
    };
    config.finish()?;
    Ok(chain)
}

/// Counts layers by class, as the paths of archives do.
#[derive(Default)]
struct Counter(HashMap<String, usize>);

impl Counter {
    fn path(&mut self, class: &str) -> String {
        let class = snake_case(class);
        let number = self.0.entry(class.clone()).and_modify(|n| *n += 1).or_insert(0);
        if *number == 0 { class } else { format!("{class}_{number}") }
    }
}

/// `SimpleRNN` → `simple_rnn`, by Keras' two rules: before a capital that lower letters follow, and after a lower letter.
fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().filter(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut text = String::new();
    for (i, &c) in letters.iter().enumerate() {
        let follows = letters.get(i + 1).is_some_and(char::is_ascii_lowercase);
        let after = i > 0 && letters[i - 1].is_ascii_lowercase();
        if i > 0 && c.is_ascii_uppercase() && (follows || after) {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn sequential(layers: &[Value]) -> Result<Vec<Entry>> {
    let mut counter = Counter::default();
    let one = |layer| {
        let config = Config::of(layer)?;
        let place = Place { name: config.name().to_owned(), path: counter.path(config.class()) };
        Ok(Entry { config, place, takes: 0, masked: None })
    };
    layers.iter().map(one).collect()
}

/// A tensor of a graph: a layer's output of this number.
type Tensor = (String, usize);

/// A layer of a graph.
struct Node {
    /// None, of an operation.
    config: Option<Config>,
    place: Place,
    class: String,
    inputs: Vec<Tensor>,
    /// What stands beside the inputs: constants of operations.
    constants: Vec<Value>,
    mask: Option<Option<Tensor>>,
    /// An operation's own keys.
    keys: Map<String, Value>,
}

fn functional(layers: &[Value], config: &mut Config) -> Result<Chain> {
    let mut counter = Counter::default();
    let nodes = layers.iter().map(|layer| node(layer, &mut counter)).collect::<Result<Vec<_>>>()?;
    let inputs = config.take("input_layers").map(|value| tensors(&value)).transpose()?.unwrap_or_default();
    let outputs = config.take("output_layers").map(|value| tensors(&value)).transpose()?.unwrap_or_default();
    let [input] = &inputs[..] else {
        return Err(wrong(format!(
            "input_layers: expected one, got {}; a model of several inputs is not read",
            inputs.len()
        )));
    };
    let mut order = vec![index(&nodes, &input.0)?];
    let mut takes = vec![0];
    loop {
        let last = &nodes[*order.last().expect("the input")];
        let next: Vec<usize> = (0..nodes.len())
            .filter(|&i| nodes[i].config.is_some() && nodes[i].inputs.iter().any(|(name, _)| *name == last.place.name))
            .collect();
        match next[..] {
            [] => break,
            [next] if nodes[next].inputs.len() == 1 && order.len() < nodes.len() => {
                takes.push(nodes[next].inputs[0].1);
                order.push(next);
            }
            // An encoder-decoder's place: the decoder takes its sequence and the encoder's states.
            [next] => {
                let text = format!(
                    "expected one input, got {}; only a plain chain of layers is read",
                    nodes[next].inputs.len()
                );
                return Err(wrong(text).at(at(&nodes[next])));
            }
            [_, next, ..] => {
                let text = format!(
                    "expected {} to go on to one layer alone; only a plain chain of layers is read",
                    last.place.name
                );
                return Err(wrong(text).at(at(&nodes[next])));
            }
        }
    }
    if let Some(stray) = (0..nodes.len()).find(|i| nodes[*i].config.is_some() && !order.contains(i)) {
        return Err(wrong("expected it in the chain of layers from the input on".into()).at(at(&nodes[stray])));
    }
    check_masks(&nodes)?;
    let mut by_index: HashMap<usize, Node> = nodes.into_iter().enumerate().collect();
    let entries = order.into_iter().zip(takes).map(|(index, takes)| {
        let node = by_index.remove(&index).expect("each once");
        let config = node.config.expect("operations are not in the order");
        Entry { config, place: node.place, takes, masked: node.mask.map(|mask| mask.is_some()) }
    });
    Ok(Chain { entries: entries.collect(), input_shape: None, outputs: Some(outputs) })
}

fn at(node: &Node) -> String {
    format!("layer {} ({})", node.place.name, node.class)
}

fn index(nodes: &[Node], name: &str) -> Result<usize> {
    let found = nodes.iter().position(|node| node.place.name == name);
    found.ok_or_else(|| wrong(format!("expected a layer named {name}, got none")))
}

fn node(layer: &Value, counter: &mut Counter) -> Result<Node> {
    let Value::Object(keys) = layer else {
        return Err(wrong(format!("expected a layer, got {}", short(layer))));
    };
    let class = word(keys, "class_name")?.to_owned();
    let name = keys.get("name").or_else(|| keys.get("config").and_then(|config| config.get("name")));
    let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
    let place = Place { name, path: counter.path(&class) };
    let operation = matches!(class.as_str(), "NotEqual" | "Any");
    let mut node = Node {
        config: if operation { None } else { Some(Config::of(layer)?) },
        place,
        class,
        inputs: Vec::new(),
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
            // An encoder-decoder's place: the encoder's final states.
            _ => return Err(wrong(format!("{key}: expected nothing beside the input, got {}", short(value)))),
        }
    }
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
fn tensors(value: &Value) -> Result<Vec<Tensor>> {
    let unread = || wrong(format!("expected tensors of the graph, got {}", short(value)));
    let Value::Array(parts) = value else { return Err(unread()) };
    if let Some(tensor) = tensor(parts) {
        return Ok(vec![tensor]);
    }
    parts.iter().map(|part| part.as_array().and_then(|parts| tensor(parts)).ok_or_else(unread)).collect()
}

/// Every operation must compute the mask that an Embedding or a Masking makes of the same tensor.
fn check_masks(nodes: &[Node]) -> Result<()> {
    let by_name = |name: &str| nodes.iter().find(|node| node.place.name == name);
    for node in nodes.iter().filter(|node| node.config.is_none()) {
        let only = |text: &str| Err(wrong(format!("{text}; only the operations of a mask are read")).at(at(node)));
        let [(input, 0)] = &node.inputs[..] else { return only("expected one tensor") };
        if node.class == "Any" {
            let of_unequal = by_name(input).is_some_and(|from| from.class == "NotEqual");
            let last_axis = node.keys.get("axis").is_some_and(|axis| *axis == -1 || *axis == serde_json::json!([-1]));
            let keeps = node.keys.get("keepdims").is_some_and(|keeps| *keeps == true);
            if !of_unequal || !last_axis || keeps {
                return only("expected any unequal feature");
            }
            continue;
        }
        let [value] = &node.constants[..] else { return only("expected one value") };
        let maker = nodes.iter().find(|other| {
            let value_of = |key: &str| other.config.as_ref().and_then(|config| config.peek(key)).cloned();
            let same = |masked: Option<Value>| masked.and_then(|v| v.as_f64()) == value.as_f64();
            other.inputs.first().is_some_and(|(from, _)| from == input)
                && match other.class.as_str() {
                    "Embedding" => value.as_f64() == Some(0.0) && value_of("mask_zero") == Some(Value::Bool(true)),
                    "Masking" => same(value_of("mask_value")),
                    _ => false,
                }
        });
        if maker.is_none() {
            return only("expected what an Embedding or a Masking of the same tensor makes");
        }
    }
    for node in nodes {
        if let Some(Some((mask, _))) = &node.mask
            && by_name(mask).is_none_or(|mask| mask.config.is_some())
        {
            return Err(wrong(format!("mask: expected the model's own, got {mask}")).at(at(node)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_paths_as_keras_writes_them() {
        for (class, path) in [
            ("LSTM", "lstm"),
            ("SimpleRNN", "simple_rnn"),
            ("TimeDistributed", "time_distributed"),
            ("SpatialDropout1D", "spatial_dropout1d"),
            ("ReLU", "re_lu"),
            ("LeakyReLU", "leaky_re_lu"),
            ("InputLayer", "input_layer"),
        ] {
            assert_eq!(snake_case(class), path);
        }
        let mut counter = Counter::default();
        assert_eq!(["LSTM", "Dense", "LSTM"].map(|class| counter.path(class)), ["lstm", "dense", "lstm_1"]);
    }
}
