//! The description of a model as JSON, in PyTorch's words: JSON and the tensors' shapes → `Model`, and back.
//!
//! Sizes may be left out where the tensors tell them. `layers` has the plain layers, `recurrent` the stacks, `edges` what
//! they call each other, `ports` the named tensors of a call, `words` what each word means. Knows no element of a tensor.

mod edges;
mod layers;
mod numbers;
mod ordered;
mod ports;
mod recurrent;
mod words;

use serde_json::Value;

use super::encoder;
use super::keys::{Keys, parse, wrong};
use crate::error::Result;
use crate::model::{Axes, InputKind, LayerKind, Model, Pin, Ports, Value as Source};
use crate::weights::Tensors;

use edges::Names;
use ordered::Json;

/// The version of the format.
const VERSION: usize = 1;

/// A size that is left out, until the vocabulary or the next layer tells it.
const UNTOLD: usize = 0;

/// The model that `json` describes; sizes that it leaves out are those of `tensors`.
///
/// # Errors
///
/// Kind `Model` where the description is wrong or contradicts itself or the tensors; `Weights` where a size is left
/// out and the tensor that would tell it is not there.
pub fn from_json(json: &str, tensors: &Tensors) -> Result<Model> {
    let mut keys = Keys::of(parse(json)?)?;
    match keys.take("gatewave") {
        Some(version) if version == VERSION => {}
        other => {
            let got = other.map_or_else(|| "nothing".to_owned(), |other| other.to_string());
            return Err(wrong(format!("gatewave: expected {VERSION} (the format's version), got {got}")));
        }
    }
    let model = model(keys, tensors, "")?;
    model.check()?;
    Ok(model)
}

/// The model of a description, or of the encoder in one, the standard names of whose inputs begin with `prefix`.
fn model(mut keys: Keys, tensors: &Tensors, prefix: &str) -> Result<Model> {
    let axes = if keys.flag("batch_first")?.unwrap_or(false) { Axes::BatchFirst } else { Axes::TimeMajor };
    let vocabulary: Option<Vec<char>> = keys.text("vocabulary")?.map(|text| text.chars().collect());
    let inputs = edges::read_inputs(named(&mut keys, "inputs")?)?;
    let layers = keys.needed_list("layers")?;
    let outputs = named(&mut keys, "outputs")?;
    let names = Names::of_json(&inputs, &layers)?;
    let (inputs, begun) = inputs.into_iter().unzip();
    let mut model = Model { axes, vocabulary, inputs, ..Model::new() };
    let main = model.main_input();
    model.ports = ports::take(&mut keys, main)?;
    let encoder = keys.take("encoder");
    keys.finish()?;
    let none = Tensors::new();
    for (index, value) in layers.into_iter().enumerate() {
        let place = match value.get("type").and_then(Value::as_str) {
            Some(kind) => match value.get("name").and_then(Value::as_str) {
                Some(name) => format!("layer {index} {name} ({kind})"),
                None => format!("layer {index} {kind}"),
            },
            None => format!("layer {index}"),
        };
        // Tensors that the caller brings are missing here, which says nothing of the layer.
        let supplied = model.ports.supplies(index);
        let told_by = if supplied { &none } else { tensors };
        let layer = layers::read(value, told_by);
        let layer = layer.and_then(|(kind, weights, edges)| edges.layer(&model, &names, kind, weights));
        model.layers.push(layer.map_err(|e| e.at(place))?);
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

/// What `keys` list under `key`: at least one, where they list any.
fn named(keys: &mut Keys, key: &'static str) -> Result<Vec<Value>> {
    match keys.list(key)? {
        Some(list) if list.is_empty() => {
            Err(wrong(format!("{key}: expected at least one, got none; leave the key out for the usual ones")))
        }
        list => Ok(list.unwrap_or_default()),
    }
}

/// `decoder` and the encoder that `value` describes, as one model: what descriptions had before there were graphs. Its
/// `states` are pairs of stacks, the encoder's and the decoder's.
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
    read().map_err(|e| e.at("encoder"))
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

/// The description of `model`: [`from_json`] makes the same model of it.
///
/// What a model leaves at its usual value and older descriptions had no word for is left out.
pub fn to_json(model: &Model) -> String {
    let mut keys = vec![("gatewave", Json::from(VERSION))];
    keys.extend(model_keys(model));
    serde_json::to_string(&Json::Object(keys)).expect("strings, numbers and lists are JSON")
}

/// What [`model`] reads.
fn model_keys(model: &Model) -> Vec<(&'static str, Json)> {
    let mut keys = vec![("batch_first", Json::from(model.axes == Axes::BatchFirst))];
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
