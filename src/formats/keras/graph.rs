//! A model's description → its layers in the order in which they are applied, and which of their tensors it gives.
//!
//! A functional model is read where its graph is a plain chain, or two of them: an encoder, and a decoder that begins at its
//! final states. `calls` has what each layer was called with, `masks` the operations that Keras writes for a mask. Knows
//! graphs; knows no layer but those that take states.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::calls::{self, Node, Tensor, at, tensors};
use super::config::{Config, short, wrong};
use super::masks;
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
    /// The tensors that it begins with, of the encoder.
    pub(super) initial: Vec<Tensor>,
}

/// What a model is.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) entries: Vec<Entry>,
    /// The shape of the input, where no layer tells it.
    pub(super) input_shape: Option<Value>,
    /// The tensors that the model gives, by layer and place; all of the last layer's where nothing is said.
    pub(super) outputs: Option<Vec<Tensor>>,
    /// The name of the input layer, where a caller needs it to tell inputs apart.
    pub(super) input: Option<String>,
    /// The chain that runs before this one.
    pub(super) encoder: Option<Box<Self>>,
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
            let input_shape = config.take("build_input_shape");
            Chain { entries: sequential(&layers)?, input_shape, outputs: None, input: None, encoder: None }
        }
        "Functional" => functional(&layers, &mut config)?,
        other => return Err(wrong(format!("expected a Sequential or a Functional model, got {other}"))),
    };
    config.finish()?;
    Ok(chain)
}

/// Counts layers by class, as the paths of archives do.
#[derive(Default)]
pub(super) struct Counter(HashMap<String, usize>);

impl Counter {
    pub(super) fn path(&mut self, class: &str) -> String {
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
        Ok(Entry { config, place, takes: 0, masked: None, initial: Vec::new() })
    };
    layers.iter().map(one).collect()
}

fn functional(layers: &[Value], config: &mut Config) -> Result<Chain> {
    let mut counter = Counter::default();
    let nodes = layers.iter().map(|layer| calls::node(layer, &mut counter)).collect::<Result<Vec<_>>>()?;
    let mut listed = |key| config.take(key).map(|value| tensors(&value)).transpose();
    let inputs = listed("input_layers")?.unwrap_or_default();
    let outputs = listed("output_layers")?.unwrap_or_default();
    if !matches!(inputs.len(), 1 | 2) {
        let text = "input_layers: expected one, or those of an encoder and a decoder, got";
        return Err(wrong(format!("{text} {}; a model of other inputs is not read", inputs.len())));
    }
    let paths = inputs.iter().map(|(input, _)| follow(&nodes, input)).collect::<Result<Vec<_>>>()?;
    let in_order = |i: &usize| paths.iter().any(|path| path.contains(i));
    if let Some(stray) = (0..nodes.len()).find(|i| nodes[*i].config.is_some() && !in_order(i)) {
        return Err(wrong("expected it in the chain of layers from the input on".into()).at(at(&nodes[stray])));
    }
    masks::check(&nodes, &paths)?;
    let mut left: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let mut chains = Vec::new();
    for path in paths {
        let input = left[path[0]].as_ref().map(|node| node.place.name.clone());
        let entries = path.into_iter().map(|index| entry(left[index].take()));
        let entries = entries.collect::<Result<Vec<_>>>()?;
        chains.push(Chain { entries, input_shape: None, outputs: None, input, encoder: None });
    }
    join(chains, outputs)
}

/// The layers from the input of a graph to where nothing takes what the last gives, but as its first states.
fn follow(nodes: &[Node], input: &str) -> Result<Vec<usize>> {
    let mut path = vec![index(nodes, input)?];
    loop {
        let last = &nodes[*path.last().expect("the input")];
        let takes = |node: &Node| node.inputs.iter().any(|(name, _)| *name == last.place.name);
        let next: Vec<usize> = (0..nodes.len()).filter(|&i| nodes[i].config.is_some() && takes(&nodes[i])).collect();
        match next[..] {
            [] => return Ok(path),
            [next] if nodes[next].inputs.len() == 1 && path.len() < nodes.len() => path.push(next),
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
}

fn entry(node: Option<Node>) -> Result<Entry> {
    let node =
        node.ok_or_else(|| wrong("expected chains of layers apart from each other, got a layer in both".into()))?;
    let place = at(&node);
    let Node { config: Some(config), place: own, inputs, initial, mask, .. } = node else {
        return Err(wrong("expected a layer, got an operation".into()).at(place));
    };
    let takes = inputs.first().map_or(0, |(_, takes)| *takes);
    Ok(Entry { config, place: own, takes, masked: mask.map(|mask| mask.is_some()), initial })
}

/// One chain, or that of the decoder with the encoder's in it: the encoder's final states are where the decoder begins.
fn join(mut chains: Vec<Chain>, outputs: Vec<Tensor>) -> Result<Chain> {
    let begins = |chain: &Chain, with: &Chain| {
        let has = |(name, _): &Tensor| with.entries.iter().any(|entry| entry.place.name == *name);
        chain.entries.iter().flat_map(|entry| &entry.initial).any(has)
    };
    let mut chain = match &chains[..] {
        [one] if begins(one, one) => {
            return Err(wrong(
                "initial_state: expected the final states of an encoder with an input of its own".into(),
            ));
        }
        [_] => Chain { input: None, ..chains.remove(0) },
        [one, other] => {
            let decoder = usize::from(begins(other, one));
            if begins(one, other) == begins(other, one) {
                let text =
                    "input_layers: expected one, or an encoder whose final states are where a decoder begins, got 2";
                return Err(wrong(text.into()));
            }
            let chain = chains.remove(decoder);
            Chain { encoder: chains.pop().map(Box::new), ..chain }
        }
        _ => return Err(wrong("input_layers: expected one or two".into())),
    };
    chain.outputs = Some(outputs);
    Ok(chain)
}

fn index(nodes: &[Node], name: &str) -> Result<usize> {
    let found = nodes.iter().position(|node| node.place.name == name);
    found.ok_or_else(|| wrong(format!("expected a layer named {name}, got none")))
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
