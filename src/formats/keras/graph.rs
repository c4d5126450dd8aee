//! A model's description → its layers, the arguments of their calls, and the order of these calls.
//!
//! A `Sequential` is a graph in which each layer takes the output of the one before it. A
//! model used as a layer is a node with a graph. `calls` reads the arguments of a call.
//! Knows graphs; knows no layer, except those that take states and those that hold models.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::activations::Version;
use super::attention::is_attention;
use super::calls::{Argument, Call, Takes, Tensor, calls, tensors};
use super::config::{Config, short, word, wrong};
use super::counter::Counter;
use super::operations::Operation;
use crate::error::{Error, Result};

/// The most layers that are read: far more than a model has.
pub(super) const MOST_LAYERS: usize = 4096;

/// The kind of a node.
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
    /// The layer's class and number, which `.keras` archives use as its name: `lstm_1`.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) calls: Vec<Call>,
    /// The number of the first call in the file's tensors.
    first_call: usize,
}

/// The layers of a model.
#[derive(Debug)]
pub(super) struct Graph {
    /// The name of the model.
    pub(super) name: Option<String>,
    pub(super) nodes: Vec<Node>,
    /// The names of its inputs.
    pub(super) inputs: Vec<String>,
    /// Its outputs; if there is no list, all outputs of the last layer.
    outputs: Option<Vec<Tensor>>,
    /// The shape of the input, if no layer has it.
    pub(super) input_shape: Option<Value>,
    /// The node with each name.
    index: HashMap<String, usize>,
}

impl Node {
    /// Returns the layer for error messages.
    pub(super) fn place(&self) -> String {
        place(&self.name, &self.class)
    }

    /// Returns `error` with the layer.
    pub(super) fn error(&self, error: Error) -> Error {
        error.of_layer(&self.name).at(self.place())
    }
}

fn place(name: &str, class: &str) -> String {
    format!("layer {name} ({class})")
}

/// Reads the graph that `description` serializes, in the form of Keras `version`.
pub(super) fn graph(description: &Value, version: Version) -> Result<Graph> {
    let Value::Object(model) = description else {
        return Err(wrong(format!("expected a model, got {}", short(description))));
    };
    let none = Map::new();
    let (keys, layers) = match model.get("config") {
        Some(Value::Object(config)) => (config, config.get("layers")),
        // The first versions of Keras 2 wrote only the layers.
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
            return Err(node.error(wrong("name: another layer has the same".into())));
        }
    }
    let name = keys.get("name").and_then(Value::as_str).map(str::to_owned);
    let mut graph = Graph { name, nodes, inputs: Vec::new(), outputs: None, input_shape: None, index };
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
                let takes = match &*class {
                    class if is_recurrent(class) => Takes::States,
                    class if is_attention(class) => Takes::Query,
                    _ => Takes::Tensors,
                };
                (Kind::Layer(Config::of(layer)?), takes)
            }
        };
        Ok((kind, calls(keys.get("inbound_nodes"), takes)?))
    };
    let at = place(&name, &class);
    // The error of a layer's configuration already names the layer.
    let named = |e: Error| if e.to_string().starts_with(&at) { e } else { e.at(&at) }.of_layer(&name);
    let (kind, calls) = read().map_err(named)?;
    let counted = if class == "Model" { "Functional" } else { &class };
    Ok(Node { path: counter.path(counted), name, class, kind, calls, first_call: 0 })
}

/// Whether layers of `class` go from step to step.
pub(super) fn is_recurrent(class: &str) -> bool {
    matches!(class, "SimpleRNN" | "LSTM" | "GRU" | "RNN" | "CuDNNLSTM" | "CuDNNGRU" | "Bidirectional")
}

/// Whether `layer` is a model.
fn is_model(layer: &Value) -> bool {
    matches!(layer.get("class_name").and_then(Value::as_str), Some("Sequential" | "Functional" | "Model"))
}

impl Graph {
    /// Makes each layer take the output of the one before it.
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

    /// Sets its input layers, which are `inputs`.
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

    /// Corrects the numbers of calls of inner models. The creation of such a model
    /// may count as its first call, so that the calls in the file count from 1. In
    /// Keras 3 that is so only in `output_layers`, and only for functional models.
    fn count_calls(&mut self, version: Version) {
        let outputs = self.outputs.as_deref_mut().unwrap_or_default();
        if version == Version::Three {
            for tensor in outputs {
                let node = self.index.get(&tensor.layer).map(|&node| &self.nodes[node]);
                if node.is_some_and(|node| matches!(node.kind, Kind::Model(_)) && node.class != "Sequential") {
                    // 0 becomes a number that names no call.
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

    /// Returns the node with the name `name`.
    pub(super) fn find(&self, name: &str) -> Result<usize> {
        self.index.get(name).copied().ok_or_else(|| wrong(format!("expected a layer named {name}, got none")))
    }

    /// Returns its outputs; `None` means all outputs of the last layer.
    pub(super) fn outputs(&self) -> Option<&[Tensor]> {
        self.outputs.as_deref()
    }

    /// Returns the calls that its outputs need, each after those
    /// that it needs, and otherwise close to the order of the file.
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
                        return Err(self.nodes[call.0].error(wrong(text.into())));
                    }
                    stack.push((call, true));
                    let before = self.needs(call)?.into_iter().rev().filter(|call| !done.contains(call));
                    stack.extend(before.map(|call| (call, false)));
                }
            }
        }
        Ok(order)
    }

    /// Returns the calls whose results `call` takes.
    fn needs(&self, (node, call): (usize, usize)) -> Result<Vec<(usize, usize)>> {
        let node = &self.nodes[node];
        node.calls[call].tensors().map(|tensor| self.call(tensor)).collect::<Result<_>>().map_err(|e| node.error(e))
    }

    /// Returns the call that gives `tensor`.
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
