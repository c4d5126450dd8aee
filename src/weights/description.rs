//! The description of a model as JSON, in PyTorch's words: JSON and the tensors' shapes → `Model`, and back.
//!
//! Sizes may be left out where the tensors tell them. Knows no element of a tensor.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::dialect::{Part, WEIGHT, Way, cell_tensor};
use super::infer::{Under, agree};
use super::keys::Keys;
use super::tensors::Tensors;
use crate::cell::{Activation, Cell, Reset};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Axes, Bias, Direction, Embedding, Layer, LayerKind, Linear, Model, OneHot, Recurrent, Select};

/// The version of the format.
const VERSION: usize = 1;

const TYPES: [&str; 8] = ["embedding", "one_hot", "rnn", "lstm", "gru", "select", "linear", "activation"];

const SELECTS: [(&str, Select); 4] = [
    ("all_steps", Select::AllSteps),
    ("last_step", Select::LastStep),
    ("final_hidden", Select::FinalHidden),
    ("last_output", Select::LastOutput),
];

const NONLINEARITIES: [(&str, Activation); 2] = [("tanh", Activation::Tanh), ("relu", Activation::Relu)];

/// The model that `json` describes; sizes that it leaves out are those of `tensors`.
///
/// # Errors
///
/// Kind `Model` where the description is wrong or contradicts itself or the tensors; `Weights` where a size is left
/// out and the tensor that would tell it is not there.
pub fn from_json(json: &str, tensors: &Tensors) -> Result<Model> {
    let value: Value = serde_json::from_str(json).map_err(|e| wrong(format!("expected JSON, got {e}")).because(e))?;
    let mut keys = Keys::of(value)?;
    match keys.take("gatewave") {
        Some(version) if version == json!(VERSION) => {}
        Some(other) => return Err(wrong(format!("gatewave: expected {VERSION} (the format's version), got {other}"))),
        None => return Err(wrong(format!("gatewave: expected {VERSION} (the format's version), got nothing"))),
    }
    let axes = if keys.flag("batch_first")?.unwrap_or(false) { Axes::BatchFirst } else { Axes::TimeMajor };
    let vocabulary: Option<Vec<char>> = keys.text("vocabulary")?.map(|text| text.chars().collect());
    let layers = match keys.take("layers") {
        Some(Value::Array(layers)) => layers,
        Some(other) => return Err(wrong(format!("layers: expected a list, got {other}"))),
        None => return Err(wrong("layers: expected a list, got nothing".into())),
    };
    keys.finish()?;
    let mut model = Model { axes, vocabulary, layers: Vec::with_capacity(layers.len()), interface: None };
    for (index, value) in layers.into_iter().enumerate() {
        let place = match value.get("type").and_then(Value::as_str) {
            Some(name) => format!("layer {index} {name}"),
            None => format!("layer {index}"),
        };
        model.layers.push(layer(value, tensors).map_err(|e| e.at(place))?);
    }
    tell_classes(&mut model)?;
    model.check()?;
    Ok(model)
}

/// A one-hot layer that leaves out its size, until the vocabulary or the next layer tells it.
const UNTOLD: usize = 0;

fn tell_classes(model: &mut Model) -> Result<()> {
    for index in 0..model.layers.len() {
        let next = model.layers.get(index + 1).and_then(|layer| match &layer.kind {
            LayerKind::Recurrent(stack) => Some(stack.input_size),
            LayerKind::Linear(linear) => Some(linear.in_features),
            _ => None,
        });
        if let LayerKind::OneHot(OneHot { num_classes }) = &mut model.layers[index].kind
            && *num_classes == UNTOLD
        {
            *num_classes = model.vocabulary.as_ref().map(Vec::len).or(next).ok_or_else(|| {
                wrong(format!(
                    "layer {index} one_hot: num_classes: left out, and neither a vocabulary nor the next layer tells it"
                ))
            })?;
        }
    }
    Ok(())
}

fn layer(value: Value, tensors: &Tensors) -> Result<Layer> {
    let mut keys = Keys::of(value)?;
    let known: Vec<(Value, &str)> = TYPES.iter().map(|&name| (json!(name), name)).collect();
    let name = keys.needed_word("type", &known)?;
    let weights = keys.text("weights")?.unwrap_or_default();
    let under = Under { tensors, prefix: &weights };
    let kind = match name {
        "embedding" => embedding(keys, &under)?,
        "one_hot" => one_hot(keys)?,
        "select" => select(keys)?,
        "linear" => linear(keys, &under)?,
        "activation" => activation(keys)?,
        cell => recurrent(cell, keys, &under)?,
    };
    Ok(Layer { kind, weights })
}

fn embedding(mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let (rows, columns) = (keys.size("num_embeddings")?, keys.size("embedding_dim")?);
    let padding_idx = keys.size("padding_idx")?;
    keys.finish()?;
    let (seen_rows, seen_columns) = under.matrix(WEIGHT)?.map(|[rows, columns]| (rows, columns)).unzip();
    let size = |key, said, seen| agree(key, said, seen, usize::clone)?.ok_or_else(|| under.untold_by_weight(key));
    Ok(LayerKind::Embedding(Embedding {
        num_embeddings: size("num_embeddings", rows, seen_rows)?,
        embedding_dim: size("embedding_dim", columns, seen_columns)?,
        padding_idx,
        mask_token: None,
    }))
}

fn one_hot(mut keys: Keys) -> Result<LayerKind> {
    let num_classes = keys.size("num_classes")?;
    keys.finish()?;
    match num_classes {
        Some(0) => Err(wrong("num_classes: expected at least 1, got 0".into())),
        other => Ok(LayerKind::OneHot(OneHot { num_classes: other.unwrap_or(UNTOLD) })),
    }
}

fn select(mut keys: Keys) -> Result<LayerKind> {
    let select = keys.needed_word("what", &SELECTS.map(|(word, select)| (json!(word), select)))?;
    keys.finish()?;
    Ok(LayerKind::Select(select))
}

fn activations() -> [(Value, Activation); 29] {
    Activation::ALL.map(|activation| (json!(activation.name()), activation))
}

fn activation(mut keys: Keys) -> Result<LayerKind> {
    let activation = keys.needed_word("activation", &activations())?;
    keys.finish()?;
    Ok(LayerKind::Activation(activation))
}

fn linear(mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let (columns, rows) = (keys.size("in_features")?, keys.size("out_features")?);
    let bias = keys.word("bias", &[(json!(true), Bias::One), (json!(false), Bias::None)])?;
    let activation = keys.word("activation", &activations())?;
    keys.finish()?;
    let (seen_rows, seen_columns) = under.matrix(WEIGHT)?.map(|[rows, columns]| (rows, columns)).unzip();
    let seen_bias = seen_rows.is_some().then(|| under.linear_bias());
    let size = |key, said, seen| agree(key, said, seen, usize::clone)?.ok_or_else(|| under.untold_by_weight(key));
    Ok(LayerKind::Linear(Linear {
        in_features: size("in_features", columns, seen_columns)?,
        out_features: size("out_features", rows, seen_rows)?,
        bias: agree("bias", bias, seen_bias, |&bias| bias != Bias::None)?.unwrap_or(Bias::One),
        activation: activation.unwrap_or(Activation::Linear),
    }))
}

/// The biases of a recurrent layer, as descriptions write them.
fn biases() -> [(Value, Bias); 3] {
    [(json!(true), Bias::Two), (json!(false), Bias::None), (json!("single"), Bias::One)]
}

fn recurrent(name: &str, mut keys: Keys, under: &Under<'_>) -> Result<LayerKind> {
    let mut nonlinearity = None;
    let cell = match name {
        "lstm" => Cell::Lstm,
        "gru" => match keys.flag("reset_after")? {
            Some(false) => Cell::Gru(Reset::Before),
            Some(true) | None => Cell::Gru(Reset::After),
        },
        _ => {
            let words = NONLINEARITIES.map(|(word, nonlinearity)| (json!(word), nonlinearity));
            nonlinearity = keys.word("nonlinearity", &words)?;
            Cell::Rnn
        }
    };
    let (input_size, hidden_size) = (keys.size("input_size")?, keys.size("hidden_size")?);
    let (num_layers, proj_size) = (keys.size("num_layers")?, keys.size("proj_size")?);
    let directions = [(json!(false), Direction::Forward), (json!(true), Direction::Both)];
    let direction = keys.word("bidirectional", &directions)?;
    let bias = keys.word("bias", &biases())?;
    keys.finish()?;

    let seen = under.stack()?;
    let seen = seen.as_ref();
    let size = |key, said, seen| agree(key, said, seen, usize::clone);
    let bias_word = |bias: &Bias| bias_json(*bias);
    let untold = |key, part| {
        move || match under.lacks_only_hidden() {
            true => under.untold("hidden_size", &cell_tensor(Part::WH, 0, Way::Forward)),
            false => under.untold(key, &cell_tensor(part, 0, Way::Forward)),
        }
    };
    let mut functions = cell.functions();
    functions.f = nonlinearity.unwrap_or(functions.f);
    let plain = Recurrent::new(cell, 1, 1).functions(functions);
    Ok(LayerKind::Recurrent(Recurrent {
        cell,
        input_size: size("input_size", input_size, seen.map(|s| s.input_size.clone()))?
            .ok_or_else(untold("input_size", Part::WX))?,
        hidden_size: size("hidden_size", hidden_size, seen.map(|s| s.hidden_size.clone()))?
            .ok_or_else(untold("hidden_size", Part::WH))?,
        num_layers: size("num_layers", num_layers, seen.map(|s| s.num_layers.clone()))?.unwrap_or(1),
        direction: agree("bidirectional", direction, seen.map(|s| s.direction.clone()), |&d| d == Direction::Both)?
            .unwrap_or(Direction::Forward),
        bias: agree("bias", bias, seen.map(|s| s.bias.clone()), bias_word)?.unwrap_or(Bias::Two),
        proj_size: size("proj_size", proj_size, seen.map(|s| s.proj_size.clone()))?.filter(|&p| p > 0),
        ..plain
    }))
}

fn bias_json(bias: Bias) -> Value {
    match bias {
        Bias::None => json!(false),
        Bias::One => json!("single"),
        Bias::Two => json!(true),
    }
}

/// An object whose keys stay in order.
struct Object<V>(Vec<(&'static str, V)>);

impl<V: Serialize> Serialize for Object<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// The description of `model`: [`from_json`] makes the same model of it.
pub fn to_json(model: &Model) -> String {
    /// The top level holds words and the list of layers.
    enum Entry {
        Word(Value),
        Layers(Vec<Object<Value>>),
    }
    impl Serialize for Entry {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            match self {
                Self::Word(value) => value.serialize(serializer),
                Self::Layers(layers) => layers.serialize(serializer),
            }
        }
    }
    let mut top = vec![
        ("gatewave", Entry::Word(json!(VERSION))),
        ("batch_first", Entry::Word(json!(model.axes == Axes::BatchFirst))),
    ];
    if let Some(vocabulary) = &model.vocabulary {
        top.push(("vocabulary", Entry::Word(json!(vocabulary.iter().collect::<String>()))));
    }
    top.push(("layers", Entry::Layers(model.layers.iter().map(layer_json).collect())));
    serde_json::to_string(&Object(top)).expect("strings, numbers and lists are JSON")
}

fn layer_json(layer: &Layer) -> Object<Value> {
    let mut keys = vec![("type", json!(layer.kind.name()))];
    match &layer.kind {
        LayerKind::Embedding(e) => keys.extend([
            ("num_embeddings", json!(e.num_embeddings)),
            ("embedding_dim", json!(e.embedding_dim)),
            ("padding_idx", json!(e.padding_idx)),
        ]),
        LayerKind::OneHot(o) => keys.push(("num_classes", json!(o.num_classes))),
        LayerKind::Recurrent(r) => keys.extend([
            match r.cell {
                Cell::Rnn => ("nonlinearity", json!(word_of(&NONLINEARITIES, r.functions[0].f))),
                Cell::Gru(reset) => ("reset_after", json!(reset == Reset::After)),
                Cell::Lstm => ("proj_size", json!(r.proj_size.unwrap_or(0))),
            },
            ("input_size", json!(r.input_size)),
            ("hidden_size", json!(r.hidden_size)),
            ("num_layers", json!(r.num_layers)),
            ("bidirectional", json!(r.direction == Direction::Both)),
            ("bias", bias_json(r.bias)),
        ]),
        LayerKind::Select(select) => keys.push(("what", json!(word_of(&SELECTS, *select)))),
        LayerKind::Linear(l) => keys.extend([
            ("in_features", json!(l.in_features)),
            ("out_features", json!(l.out_features)),
            ("bias", json!(l.bias != Bias::None)),
            ("activation", json!(l.activation.name())),
        ]),
        LayerKind::Activation(activation) => keys.push(("activation", json!(activation.name()))),
        LayerKind::Masking(_) | LayerKind::Dropout(_) => {}
    }
    keys.push(("weights", json!(layer.weights)));
    Object(keys)
}

fn word_of<T: PartialEq>(words: &[(&'static str, T)], meaning: T) -> &'static str {
    words.iter().find(|(_, m)| *m == meaning).map(|&(word, _)| word).expect("the table holds every variant")
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Model, message)
}
