//! A model's description → its layers, what they are called with, and the order of these calls.
//!
//! A `Sequential` is the graph in which each layer takes what the one before it gives. A model that stands as a layer is a
//! graph in its node. `calls` has what each layer was called with. Knows graphs; knows no layer but those that take states
//! and those that hold models.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::activations::Version;
use super::calls::{Argument, Call, Takes, Tensor, calls, tensors};
use super::config::{Config, short, word, wrong};
use super::operations::Operation;
use crate::error::Result;

/// The most layers that are read: far more than a model has.
pub(super) const MOST_LAYERS: usize = 4096;

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Layer(Config),
    /// A function of tensors that Keras writes as a layer.
    Operation(Operation),
    /// A model.
    Model(Graph),
    /// A model that is applied to each step.
    EachStep(Graph),
}

/// A layer of a graph and its calls.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) class: String,
    /// The layer's class and number, by which `.keras` archives know it: `lstm_1`.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) calls: Vec<Call>,
    /// The number by which tensors name the first call.
    first_call: usize,
}

/// The layers of a model.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    /// The names of its inputs.
    pub(super) inputs: Vec<String>,
    /// What it gives; all that the last layer gives where nothing is said.
    outputs: Option<Vec<Tensor>>,
    /// The shape of the input, where no layer tells it.
    pub(super) input_shape: Option<Value>,
    /// The node of each name.
    index: HashMap<String, usize>,
}

impl Node {
    /// Where an error is.
    pub(super) fn place(&self) -> String {
        place(&self.name, &self.class)
    }
}

fn place(name: &str, class: &str) -> String {
    format!("layer {name} ({class})")
}

/// The graph that `description` serializes, as Keras of `version` writes it.
pub(super) fn graph(description: &Value, version: Version) -> Result<Graph> {
    let Value::Object(model) = description else {
        return Err(wrong(format!("expected a model, got {}", short(description))));
    };
    let none = Map::new();
    let (keys, layers) = match model.get("config") {
        Some(Value::Object(config)) => (config, config.get("layers")),
        // The first Keras 2 wrote the layers alone.
        layers @ Some(Value::Array(_)) => (&none, layers),
        _ => return Err(wrong("config: expected an object, got something else".into())),
    };
    let Some(Value::Array(layers)) = layers else { return Err(wrong("layers: expected a list".into())) };
    if layers.len() > MOST_LAYERS {
        return Err(wrong(format!("layers: expected at most {MOST_LAYERS}, got {}", layers.len())));
    }
    let without = |keys: &Map<String, Value>, left_out: &str| -> Map<String, Value> {
        keys.iter().filter(|(key, _)| *key != left_out).map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let mut own = without(keys, "layers");
    own.entry("name").or_insert_with(|| "model".into());
    let mut named = without(model, "config");
    named.insert("config".into(), Value::Object(own));
    let mut config = Config::of(&Value::Object(named))?;
    let sequential = match config.class() {
        "Sequential" => true,
        "Functional" => false,
        other => return Err(wrong(format!("expected a Sequential or a Functional model, got {other}"))),
    };
    let mut counter = Counter::default();
    let nodes = layers.iter().map(|layer| node(layer, version, &mut counter)).collect::<Result<Vec<_>>>()?;
    let mut index = HashMap::new();
    for (place, node) in nodes.iter().enumerate() {
        if index.insert(node.name.clone(), place).is_some() {
            return Err(wrong("name: another layer has the same".into()).at(node.place()));
        }
    }
    let mut graph = Graph { nodes, inputs: Vec::new(), outputs: None, input_shape: None, index };
    if sequential {
        graph.input_shape = config.take("build_input_shape");
        graph.chain()?;
    } else {
        let mut listed = |key| config.take(key).map(|value| tensors(&value).map_err(|e| e.at(key))).transpose();
        let (inputs, outputs) = (listed("input_layers")?.unwrap_or_default(), listed("output_layers")?);
        graph.begin(inputs)?;
        graph.outputs = Some(outputs.unwrap_or_default());
        graph.count_calls(version);
    }
    config.finish()?;
    Ok(graph)
}

fn node(layer: &Value, version: Version, counter: &mut Counter) -> Result<Node> {
    let Value::Object(keys) = layer else {
        return Err(wrong(format!("expected a layer, got {}", short(layer))));
    };
    let class = word(keys, "class_name")?.to_owned();
    let inner = keys.get("config");
    let name = inner.and_then(|config| config.get("name")).or_else(|| keys.get("name"));
    let name = name.and_then(Value::as_str).unwrap_or_default().to_owned();
    let read = || {
        let wrapped = inner.and_then(|config| config.get("layer")).filter(|_| class == "TimeDistributed");
        let (kind, takes) = match wrapped {
            _ if Operation::is(keys) => (Kind::Operation(Operation::of(keys)), Takes::Constants),
            _ if is_model(layer) => (Kind::Model(graph(layer, version)?), Takes::Tensors),
            Some(wrapped) if is_model(wrapped) => {
                Config::of(layer)?;
                (Kind::EachStep(graph(wrapped, version).map_err(|e| e.at("layer"))?), Takes::Tensors)
            }
            _ => {
                let takes = if is_recurrent(&class) { Takes::States } else { Takes::Tensors };
                (Kind::Layer(Config::of(layer)?), takes)
            }
        };
        Ok((kind, calls(keys.get("inbound_nodes"), takes)?))
    };
    let at = place(&name, &class);
    // A layer's configuration names the layer itself.
    let named = |e: crate::error::Error| if e.to_string().starts_with(&at) { e } else { e.at(&at) };
    let (kind, calls) = read().map_err(named)?;
    let counted = if class == "Model" { "Functional" } else { &class };
    Ok(Node { path: counter.path(counted), name, class, kind, calls, first_call: 0 })
}

/// Whether layers of `class` go from step to step.
pub(super) fn is_recurrent(class: &str) -> bool {
    matches!(class, "SimpleRNN" | "LSTM" | "GRU" | "Bidirectional")
}

/// Whether `layer` is a model.
fn is_model(layer: &Value) -> bool {
    matches!(layer.get("class_name").and_then(Value::as_str), Some("Sequential" | "Functional" | "Model"))
}

impl Graph {
    /// Each layer takes what the one before it gives.
    fn chain(&mut self) -> Result<()> {
        let mut takes = Argument::Input(0);
        for node in &mut self.nodes {
            node.calls = vec![Call::of(takes)];
            takes = Argument::Tensor(Tensor { layer: node.name.clone(), call: 0, place: 0 });
        }
        let first = self.nodes.first().ok_or_else(|| wrong("expected layers, got none".into()))?;
        self.inputs = vec![first.name.clone()];
        Ok(())
    }

    /// Its input layers are `inputs`.
    fn begin(&mut self, inputs: Vec<Tensor>) -> Result<()> {
        if inputs.is_empty() {
            return Err(wrong("input_layers: expected one or more, got none".into()));
        }
        for (place, input) in inputs.into_iter().enumerate() {
            let node = self.find(&input.layer).map_err(|e| e.at("input_layers"))?;
            let node = &mut self.nodes[node];
            if node.class != "InputLayer" || !node.calls.is_empty() {
                let text = format!("input_layers: expected input layers, each once, got {}", node.place());
                return Err(wrong(text));
            }
            node.calls = vec![Call::of(Argument::Input(place))];
            self.inputs.push(input.layer);
        }
        Ok(())
    }

    /// Of a model in the model, its own making may count as the first call; then those of the file count from 1. Keras 3
    /// counts so in `output_layers` alone, and for functional models alone.
    fn count_calls(&mut self, version: Version) {
        let outputs = self.outputs.as_deref_mut().unwrap_or_default();
        if version == Version::Three {
            for tensor in outputs {
                let node = self.index.get(&tensor.layer).map(|&node| &self.nodes[node]);
                if node.is_some_and(|node| matches!(node.kind, Kind::Model(_)) && node.class != "Sequential") {
                    // None is left of 0, which names no call.
                    tensor.call = tensor.call.checked_sub(1).unwrap_or(usize::MAX);
                }
            }
            return;
        }
        let mut named: HashMap<usize, (usize, usize)> = HashMap::new();
        let tensors = self.nodes.iter().flat_map(|node| &node.calls).flat_map(Call::tensors);
        for tensor in tensors.chain(outputs.iter()) {
            if let Some(&node) = self.index.get(&tensor.layer) {
                let (least, most) = named.entry(node).or_insert((tensor.call, tensor.call));
                (*least, *most) = ((*least).min(tensor.call), (*most).max(tensor.call));
            }
        }
        for (node, (least, most)) in named {
            let node = &mut self.nodes[node];
            if matches!(node.kind, Kind::Model(_)) && least > 0 && most == node.calls.len() {
                node.first_call = 1;
            }
        }
    }

    /// The node that is called `name`.
    pub(super) fn find(&self, name: &str) -> Result<usize> {
        self.index.get(name).copied().ok_or_else(|| wrong(format!("expected a layer named {name}, got none")))
    }

    /// What it gives: tensors, or all that the last layer gives.
    pub(super) fn outputs(&self) -> Option<&[Tensor]> {
        self.outputs.as_deref()
    }

    /// The calls that its outputs need, each after those that it needs, as near to the order of the file as may be.
    pub(super) fn order(&self) -> Result<Vec<(usize, usize)>> {
        let Some(outputs) = &self.outputs else { return Ok((0..self.nodes.len()).map(|node| (node, 0)).collect()) };
        let mut needed = HashSet::new();
        let mut left = outputs.iter().map(|tensor| self.call(tensor)).collect::<Result<Vec<_>>>()?;
        while let Some(call) = left.pop() {
            if needed.insert(call) {
                left.extend(self.needs(call)?);
            }
        }
        let mut roots: Vec<_> = needed.into_iter().collect();
        roots.sort_unstable();
        let (mut order, mut done, mut open) = (Vec::new(), HashSet::new(), HashSet::new());
        for root in roots {
            let mut stack = vec![(root, false)];
            while let Some((call, after)) = stack.pop() {
                if after {
                    open.remove(&call);
                    done.insert(call);
                    order.push(call);
                } else if !done.contains(&call) {
                    if !open.insert(call) {
                        let text = "inbound_nodes: expected layers that come before this one, got a cycle";
                        return Err(wrong(text.into()).at(self.nodes[call.0].place()));
                    }
                    stack.push((call, true));
                    let before = self.needs(call)?.into_iter().rev().filter(|call| !done.contains(call));
                    stack.extend(before.map(|call| (call, false)));
                }
            }
        }
        Ok(order)
    }

    /// The calls that `call` takes tensors of.
    fn needs(&self, (node, call): (usize, usize)) -> Result<Vec<(usize, usize)>> {
        let node = &self.nodes[node];
        node.calls[call]
            .tensors()
            .map(|tensor| self.call(tensor))
            .collect::<Result<_>>()
            .map_err(|e| e.at(node.place()))
    }

    /// The call that gives `tensor`.
    pub(super) fn call(&self, tensor: &Tensor) -> Result<(usize, usize)> {
        let node = self.find(&tensor.layer)?;
        let Node { calls, first_call, .. } = &self.nodes[node];
        match tensor.call.checked_sub(*first_call) {
            _ if calls.is_empty() => {
                Err(wrong(format!("expected a layer that is called, got {}", self.nodes[node].place())))
            }
            Some(call) if call < calls.len() => Ok((node, call)),
            _ => {
                let text =
                    format!("expected one of {} calls of {}, got call {}", calls.len(), tensor.layer, tensor.call);
                Err(wrong(text))
            }
        }
    }
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
