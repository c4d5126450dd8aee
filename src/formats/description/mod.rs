//! The description of a model as JSON, in PyTorch's words: JSON and the tensors' shapes → `Model`, and back.
//!
//! Sizes may be left out if they can be inferred from tensors. `layers` has the plain
//! layers, `recurrent` the stacks, and `edges` their names for each other. `ports` has the
//! named tensors of a call, and `words` the meaning of each word. Knows no element of a tensor.

mod across;
mod attention;
mod conv;
mod edges;
mod layers;
mod norms;
mod numbers;
mod ordered;
mod own;
mod ports;
mod recurrent;
mod words;

use serde_json::Value;

use super::encoder;
use super::keys::{Keys, parse, wrong};
use crate::error::{Error, Result};
use crate::model::{Axes, InputKind, LayerKind, Model, Pin, Ports, Value as Source};
use crate::weights::Tensors;

use edges::Names;
use ordered::Json;
pub(crate) use own::{layers_of, own_names};

/// The version of the format.
const VERSION: usize = 1;

/// A size that is left out, until the vocabulary or the next layer gives it.
const UNTOLD: usize = 0;

/// Reads the model that `json` describes. Sizes that are left out are inferred from `tensors`.
///
/// A layer whose `weights` are names of their own takes the names that
/// [`read_with`](super::read_with) gives to its tensors.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the description is
/// wrong, or contradicts itself or the tensors. Returns an error of kind
/// [`ErrorKind::Weights`](crate::ErrorKind::Weights) if a size is left out and its tensor is missing.
pub fn from_json(json: &str, tensors: &Tensors) -> Result<Model> {
    let mut keys = Keys::of(parse(json)?)?;
    match keys.take("gatewave") {
        Some(version) if version == VERSION => {}
        other => {
            let got = other.map_or_else(|| "nothing".to_owned(), |other| other.to_string());
            let error = wrong(format!("gatewave: expected {VERSION} (the format's version), got {got}"));
            // Keras names a class first.
            return Err(match keys.take("class_name") {
                Some(_) => error.hint("Keras' own description goes with its weights (model.save_weights)"),
                None => error,
            });
        }
    }
    let model = model(keys, tensors, "")?;
    model.check()?;
    Ok(model)
}

/// Reads the model of a description, or its encoder. The usual names of its inputs begin with `prefix`.
fn model(mut keys: Keys, tensors: &Tensors, prefix: &str) -> Result<Model> {
    let name = keys.text("name")?;
    let input_layer = keys.text("input_layer")?;
    let batch_size = keys.size("batch_size")?;
    let steps = steps(&mut keys)?;
    let axes = if keys.flag("batch_first")?.unwrap_or(false) { Axes::BatchFirst } else { Axes::TimeMajor };
    let vocabulary: Option<Vec<char>> = keys.text("vocabulary")?.map(|text| text.chars().collect());
    let inputs = edges::read_inputs(named(&mut keys, "inputs")?)?;
    let layers = keys.needed_list("layers")?;
    let outputs = named(&mut keys, "outputs")?;
    let names = Names::of_json(&inputs, &layers)?;
    let (inputs, begun) = inputs.into_iter().unzip();
    let mut model = Model { name, axes, vocabulary, inputs, input_layer, batch_size, steps, ..Model::new() };
    let main = model.main_input();
    model.ports = ports::take(&mut keys, main)?;
    let encoder = keys.take(encoder::KEY);
    keys.finish()?;
    let none = Tensors::new();
    for (index, mut value) in layers.into_iter().enumerate() {
        let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
        let place = match (value.get("type").and_then(Value::as_str), &name) {
            (Some(kind), Some(name)) => format!("layer {index} {name} ({kind})"),
            (Some(kind), None) => format!("layer {index} {kind}"),
            (None, _) => format!("layer {index}"),
        };
        let at_layer = |e: Error| e.of_layer(name.unwrap_or_else(|| index.to_string())).at(place);
        // Tensors that the caller supplies are missing here, which does not make the layer wrong.
        let supplied = model.ports.supplies(index);
        let told_by = if supplied { &none } else { tensors };
        let layer = own::shorten(&mut value, index, prefix).and_then(|()| layers::read(value, told_by));
        let layer = layer.and_then(|(kind, prefix, edges)| edges.layer(&model, &names, kind, prefix));
        model.layers.push(layer.map_err(at_layer)?);
    }
    edges::begin(&mut model, &names, begun)?;
    model.outputs = edges::read_outputs(outputs, &names)?;
    tell_sizes(&mut model)?;
    edges::tell_inputs(&mut model)?;
    match encoder {
        None => Ok(model),
        Some(encoder) => begun_by(model, encoder, tensors, prefix),
    }
}

/// Takes the steps that the model was made for: a number, or a list with an entry for each input.
fn steps(keys: &mut Keys) -> Result<Vec<Option<usize>>> {
    const KEY: &str = "steps";
    let number = |value: &Value| match value {
        Value::Null => Ok(None),
        value => match value.as_u64().and_then(|n| usize::try_from(n).ok()) {
            Some(steps) => Ok(Some(steps)),
            None => Err(wrong(format!("{KEY}: expected a whole number or a list of them, got {value}"))),
        },
    };
    match keys.take(KEY) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => list.iter().map(number).collect(),
        Some(value) => Ok(vec![number(&value)?]),
    }
}

/// Takes the list `key`. It may be left out, but not be empty.
fn named(keys: &mut Keys, key: &'static str) -> Result<Vec<Value>> {
    match keys.list(key)? {
        Some(list) if list.is_empty() => {
            Err(wrong(format!("{key}: expected at least one, got none; leave the key out for the usual ones")))
        }
        list => Ok(list.unwrap_or_default()),
    }
}

/// Joins `decoder` and the encoder that `value` describes into one model. Descriptions had this
/// before there were graphs. `states` are pairs of stacks, the encoder's and the decoder's.
fn begun_by(decoder: Model, value: Value, tensors: &Tensors, prefix: &str) -> Result<Model> {
    let read = || {
        let mut keys = Keys::of(value)?;
        let pair = |value: Value| {
            let pair = value.as_array().and_then(|pair| match &pair[..] {
                [from, to] => Some((from.as_u64()?, to.as_u64()?)),
                _ => None,
            });
            match pair.map(|(from, to)| (usize::try_from(from), usize::try_from(to))) {
                Some((Ok(from), Ok(to))) => Ok((from, to)),
                _ => Err(wrong(format!("states: expected [stack of the encoder, stack of the decoder], got {value}"))),
            }
        };
        let states = keys.needed_list("states")?.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
        let under = format!("{prefix}{}", encoder::PREFIX);
        let encoder = model(keys, tensors, &under)?;
        encoder.check()?;
        let ports = [encoder::ports(&decoder, prefix), encoder::ports(&encoder, &under)];
        encoder::begin(decoder, encoder, &states, ports)
    };
    read().map_err(|e| e.at(encoder::KEY))
}

/// Fills in the sizes that are [`UNTOLD`].
fn tell_sizes(model: &mut Model) -> Result<()> {
    for index in 0..model.layers.len() {
        let next = || edges::taken_size(model, Source::Layer(index, Pin::Output));
        let given = || match model.layers[index].from[..] {
            [Source::Input(input)] => model.inputs.get(input).and_then(|input| match input.kind {
                InputKind::Sequence(size) | InputKind::Tokens(size) | InputKind::Row(size) => Some(size),
                _ => None,
            }),
            _ => None,
        };
        let given = || given().filter(|&size| size != UNTOLD);
        let untold = |key, tellers| wrong(format!("layer {index} {key}: left out, and {tellers} tells it"));
        let size = match &model.layers[index].kind {
            LayerKind::OneHot(one_hot) if one_hot.num_classes == UNTOLD => {
                let vocabulary = given().or(model.vocabulary.as_ref().map(Vec::len));
                let tellers = "neither a vocabulary nor the next layer";
                vocabulary.or_else(next).ok_or_else(|| untold("one_hot: num_classes", tellers))?
            }
            LayerKind::Masking(masking) if masking.features == UNTOLD => {
                given().or_else(next).ok_or_else(|| untold("masking: features", "no next layer"))?
            }
            _ => continue,
        };
        match &mut model.layers[index].kind {
            LayerKind::OneHot(one_hot) => one_hot.num_classes = size,
            LayerKind::Masking(masking) => masking.features = size,
            _ => {}
        }
    }
    Ok(())
}

/// Returns the description of `model`: [`from_json`] reads the same model from it.
///
/// Options at their defaults are left out if older descriptions had no word for them.
pub fn to_json(model: &Model) -> String {
    let mut keys = vec![("gatewave", Json::from(VERSION))];
    keys.extend(model_keys(model));
    serde_json::to_string(&Json::Object(keys)).expect("strings, numbers and lists are JSON")
}

/// Returns the same description for people to read: one key, layer, input or output on each line.
pub fn to_json_by_lines(model: &Model) -> String {
    let text = |json: &Json| serde_json::to_string(json).expect("strings, numbers and lists are JSON");
    let version = [("gatewave", Json::from(VERSION))];
    let keys = version.into_iter().chain(model_keys(model)).map(|(key, value)| match &value {
        Json::List(items) if items.iter().any(|item| matches!(item, Json::Object(_))) => {
            let items: Vec<_> = items.iter().map(|item| format!("    {}", text(item))).collect();
            format!("  \"{key}\": [\n{}\n  ]", items.join(",\n"))
        }
        value => format!("  \"{key}\": {}", text(value)),
    });
    format!("{{\n{}\n}}\n", keys.collect::<Vec<_>>().join(",\n"))
}

/// Returns the layer of type `kind` with its sizes inferred from the
/// tensors under `prefix`. For a stack, `direction` may be given.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`](crate::ErrorKind::Weights)
/// if the tensors are not those of such a layer.
pub(super) fn layer_of(kind: &str, prefix: &str, direction: Option<&str>, tensors: &Tensors) -> Result<LayerKind> {
    let mut value = serde_json::json!({"type": kind, "weights": prefix});
    if let Some(direction) = direction {
        value["direction"] = direction.into();
    }
    layers::read(value, tensors).map(|(kind, ..)| kind)
}

/// Returns the keys that [`model`] reads.
fn model_keys(model: &Model) -> Vec<(&'static str, Json)> {
    let mut keys = Vec::new();
    keys.extend(model.name.as_deref().map(|name| ("name", Json::from(name))));
    keys.push(("batch_first", Json::from(model.axes == Axes::BatchFirst)));
    keys.extend(model.input_layer.as_deref().map(|name| ("input_layer", Json::from(name))));
    keys.extend(model.batch_size.map(|rows| ("batch_size", Json::from(rows))));
    match model.steps[..] {
        [] => {}
        [steps] => keys.push(("steps", Json::from(steps))),
        _ => keys.push(("steps", Json::list(model.steps.iter(), |steps| Json::from(*steps)))),
    }
    if let Some(vocabulary) = &model.vocabulary {
        keys.push(("vocabulary", Json::from(vocabulary.iter().collect::<String>())));
    }
    let names = Names::of_model(model);
    if !model.inputs.is_empty() {
        keys.push(("inputs", edges::inputs_json(model, &names)));
    }
    let layer = |(index, layer)| layers::json(layer, edges::layer_json(model, &names, index));
    keys.push(("layers", Json::list(model.layers.iter().enumerate(), layer)));
    if !model.outputs.is_empty() {
        keys.push(("outputs", edges::outputs_json(model, &names)));
    }
    if model.ports != Ports::default() {
        keys.push((ports::KEY, ports::json(&model.ports, model.main_input())));
    }
    keys
}
