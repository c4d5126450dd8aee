//! The edges of a description: the names by which layers, inputs
//! and outputs refer to values; from JSON to values and back.
//!
//! A value has the name of an input or a layer. A result of a stack has the layer's
//! name and a word after a dot. A layer without a name has its number: `#3`.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Raw;

use super::UNTOLD;
use super::numbers::told;
use super::ordered::Json;
use crate::error::Result;
use crate::formats::keys::{Keys, wrong};
use crate::model::{InputKind, Layer, LayerKind, Model, ModelInput, ModelOutput, Pin, State, Value, check_names};

/// The name of the only input of a model that names none.
const USUAL_INPUT: &str = "x";

/// The most names that an error lists.
const LISTED: usize = 20;

const FROM: &str = "from";
const STATES: [State; 2] = [State::Hidden, State::Cell];

/// The edges of a layer, by names.
pub(super) struct Edges {
    pub(super) name: Option<String>,
    from: Option<Vec<String>>,
    initial: [Option<String>; 2],
}

/// An input, and the name of the stack that begins at it.
pub(super) type NamedInput = (ModelInput, Option<String>);

impl Edges {
    /// Takes the edges of a layer from `keys`. A stack may also have initial states.
    pub(super) fn take(keys: &mut Keys, is_stack: bool) -> Result<Self> {
        let name = keys.text("name")?;
        let from = match keys.take(FROM) {
            None => None,
            Some(Raw::String(name)) => Some(vec![name]),
            Some(Raw::Array(list)) => Some(list.into_iter().map(text).collect::<Result<_>>()?),
            Some(other) => return Err(wrong(format!("{FROM}: expected a name or a list of names, got {other}"))),
        };
        let mut initial = [None, None];
        if is_stack {
            for (state, slot) in STATES.into_iter().zip(&mut initial) {
                *slot = keys.text(state.key())?;
            }
        }
        Ok(Self { name, from, initial })
    }

    /// Creates the layer of `kind` that comes after those of `model`.
    pub(super) fn layer(self, model: &Model, names: &Names, kind: LayerKind, prefix: String) -> Result<Layer> {
        let at = model.layers.len();
        let from = match self.from {
            None => vec![model.usual_source(&kind)],
            Some(list) => {
                let value = |name: &String| {
                    let value = names.value(name, at).map_err(|e| e.at(FROM))?;
                    // The selection's own `what` says which result of a stack it takes.
                    if let (LayerKind::Select(_), Value::Layer(stack, pin)) = (&kind, value)
                        && pin != Pin::Output
                    {
                        let stack = names.called(stack);
                        let hint = format!("select takes {stack}; whoever takes its result may name {name} itself");
                        return Err(wrong(format!("{FROM}: expected a layer, got its result {name}")).hint(hint));
                    }
                    Ok(model.meant(&kind, value))
                };
                list.iter().map(value).collect::<Result<_>>()?
            }
        };
        let mut initial = [None, None];
        for ((state, slot), name) in STATES.into_iter().zip(&mut initial).zip(self.initial) {
            *slot = name.map(|name| names.value(&name, at).map_err(|e| e.at(state.key()))).transpose()?;
        }
        Ok(Layer { kind, prefix, name: self.name, from, initial })
    }
}

fn text(value: Raw) -> Result<String> {
    match value {
        Raw::String(name) => Ok(name),
        other => Err(wrong(format!("{FROM}: expected names, got {other}"))),
    }
}

/// The names in a description.
pub(super) struct Names {
    inputs: Vec<String>,
    layers: Vec<Option<String>>,
    /// The indices of inputs and layers by name.
    places: [HashMap<String, usize>; 2],
    /// The names that each layer takes, if it has any.
    takes: Vec<Option<Vec<String>>>,
}

impl Names {
    /// Collects the names of a description.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if they are not unique among inputs and layers.
    pub(super) fn of_json(inputs: &[NamedInput], layers: &[Raw]) -> Result<Self> {
        let layer_names =
            layers.iter().enumerate().filter_map(|(index, layer)| Some((index, layer.get("name")?.as_str()?)));
        check_names(inputs.iter().map(|(input, _)| input.name.as_str()), layer_names)?;
        let inputs = inputs.iter().map(|(input, _)| input.name.clone());
        let name = |layer: &Raw| layer.get("name").and_then(Raw::as_str).map(str::to_owned);
        let takes = |layer: &Raw| {
            let from = layer.get(FROM).filter(|from| !from.is_null())?;
            let list = from.as_array().map_or(std::slice::from_ref(from), |list| list);
            let states = STATES.iter().filter_map(|state| layer.get(state.key()));
            Some(list.iter().chain(states).filter_map(|name| Some(name.as_str()?.to_owned())).collect())
        };
        Ok(Self::new(inputs.collect(), layers.iter().map(name).collect(), layers.iter().map(takes).collect()))
    }

    /// Collects the names of a model.
    pub(super) fn of_model(model: &Model) -> Self {
        let inputs = model.inputs.iter().map(|input| input.name.clone()).collect();
        Self::new(inputs, model.layers.iter().map(|layer| layer.name.clone()).collect(), Vec::new())
    }

    fn new(mut inputs: Vec<String>, layers: Vec<Option<String>>, takes: Vec<Option<Vec<String>>>) -> Self {
        if inputs.is_empty() {
            inputs.push(USUAL_INPUT.into());
        }
        let mut places = [HashMap::new(), HashMap::new()];
        for (place, name) in inputs.iter().enumerate() {
            places[0].entry(name.clone()).or_insert(place);
        }
        for (place, name) in layers.iter().enumerate().filter_map(|(place, name)| Some((place, name.as_ref()?))) {
            places[1].entry(name.clone()).or_insert(place);
        }
        Self { inputs, layers, places, takes }
    }

    /// Returns the layer with the name or the number `name`.
    fn layer(&self, name: &str) -> Option<usize> {
        let named = self.places[1].get(name).copied();
        // A number is written in only one way: #0, and neither #00 nor #+0.
        let is_plain = |layer: &usize| *layer < self.layers.len() && name == format!("#{layer}");
        named.or_else(|| name.strip_prefix('#')?.parse().ok().filter(is_plain))
    }

    /// Returns the name of layer `layer`, or its number.
    fn called(&self, layer: usize) -> String {
        let named = self.layers.get(layer).cloned().flatten();
        named.unwrap_or_else(|| format!("#{layer}"))
    }

    /// Returns the value with the name `name`.
    fn find(&self, name: &str) -> Option<Value> {
        if let Some(&input) = self.places[0].get(name) {
            return Some(Value::Input(input));
        }
        if let Some(layer) = self.layer(name) {
            return Some(Value::Layer(layer, Pin::Output));
        }
        let (layer, word) = name.rsplit_once('.')?;
        let (_, pin) = Pin::WORDS.into_iter().find(|(other, _)| *other == word)?;
        Some(Value::Layer(self.layer(layer)?, pin))
    }

    /// Returns the value with the name `name`, for the layer at index
    /// `at`. It must be an input or a result of an earlier layer.
    fn value(&self, name: &str, at: usize) -> Result<Value> {
        match self.find(name) {
            None => {
                let is_result = name.rsplit_once('.').is_some_and(|(layer, _)| self.layer(layer).is_some());
                let results = Pin::WORDS.map(|(word, _)| format!(".{word}")).join(", ");
                let hint =
                    if is_result { format!("; results of a recurrent layer are {results}") } else { String::new() };
                Err(wrong(format!("expected one of {}, got {name}{hint}", self.known())))
            }
            Some(Value::Layer(layer, _)) if layer == at => {
                Err(wrong(format!("expected a value of a layer before this one, got its own, {name}")))
            }
            Some(Value::Layer(layer, _)) if layer > at => Err(wrong(if self.needs(layer, at) {
                format!("expected a value of a layer before this one, got {name}, which itself needs this one: a cycle")
            } else {
                format!(
                    "expected a value of a layer before this one, got {name}, which is defined after (layer {layer}); list it \
                     before"
                )
            })),
            Some(value) => Ok(value),
        }
    }

    /// Whether layer `layer` depends on layer `other`, directly or through other layers.
    fn needs(&self, layer: usize, other: usize) -> bool {
        let (mut seen, mut left) = (HashSet::from([layer]), vec![layer]);
        while let Some(layer) = left.pop() {
            let sources = match self.takes.get(layer) {
                Some(Some(names)) => names.iter().filter_map(|name| self.find(name)).collect(),
                _ => {
                    layer.checked_sub(1).map(|before| Value::Layer(before, Pin::Output)).into_iter().collect::<Vec<_>>()
                }
            };
            for source in sources {
                let Value::Layer(source, _) = source else { continue };
                if source == other {
                    return true;
                }
                if seen.insert(source) {
                    left.push(source);
                }
            }
        }
        false
    }

    /// Returns a list of the known names.
    fn known(&self) -> String {
        let mut names: Vec<_> = self.inputs.iter().chain(self.layers.iter().flatten()).map(String::as_str).collect();
        if names.len() > LISTED {
            names.truncate(LISTED);
            names.push("…");
        }
        names.join(", ")
    }

    /// Returns the word for `value`: its name, or its number if it has no name.
    fn word(&self, value: Value) -> Json {
        let (layer, pin) = match value {
            Value::Input(input) => return Json::from(self.inputs.get(input).map_or(USUAL_INPUT, |name| name)),
            Value::Layer(layer, pin) => (layer, pin),
        };
        let word = |name: &str| match Pin::WORDS.iter().find(|(_, other)| *other == pin) {
            Some((word, _)) => format!("{name}.{word}"),
            None => name.to_owned(),
        };
        let named = self.layers.get(layer).and_then(|name| name.as_deref()).map(word);
        Json::from(named.filter(|name| self.find(name) == Some(value)).unwrap_or_else(|| word(&format!("#{layer}"))))
    }
}

/// Reads the inputs that a description names.
pub(super) fn read_inputs(list: Vec<Raw>) -> Result<Vec<NamedInput>> {
    let one = |(index, value): (usize, Raw)| {
        let place = value.get("name").and_then(Raw::as_str).map_or(index.to_string(), str::to_owned);
        read_input(value).map_err(|e| e.at(format!("inputs: {place}")))
    };
    list.into_iter().enumerate().map(one).collect()
}

fn read_input(value: Raw) -> Result<NamedInput> {
    const TYPES: [&str; 5] = ["sequence", "tokens", "row", "hidden", "cell"];
    let mut keys = Keys::of(value)?;
    let name = keys.needed_text("name")?;
    let word = keys.needed_word("type", &TYPES.map(|word| (word, word)))?;
    let (kind, stack) = match word {
        "hidden" => (InputKind::State(State::Hidden), keys.text("stack")?),
        "cell" => (InputKind::State(State::Cell), keys.text("stack")?),
        of_size => {
            let size = told(keys.size("size")?, "size")?;
            let kind = match of_size {
                "sequence" => InputKind::Sequence(size),
                "tokens" => InputKind::Tokens(size),
                _ => InputKind::Row(size),
            };
            (kind, None)
        }
    };
    keys.finish()?;
    Ok((ModelInput { name, kind }, stack))
}

/// Begins the stacks of `model` that its inputs name.
pub(super) fn begin(model: &mut Model, names: &Names, stacks: Vec<Option<String>>) -> Result<()> {
    for (index, stack) in stacks.into_iter().enumerate() {
        let (Some(stack), InputKind::State(state)) = (stack, model.inputs[index].kind) else { continue };
        let place = format!("inputs: {}: stack", model.inputs[index].name);
        let Some(layer) = names.layer(&stack) else {
            return Err(wrong(format!("expected one of {}, got {stack}", names.known())).at(place));
        };
        if !matches!(model.layers[layer].kind, LayerKind::Recurrent(_)) {
            let got = model.layers[layer].kind.name();
            return Err(wrong(format!("expected a recurrent layer, got {stack} ({got})")).at(place));
        }
        let slot = &mut model.layers[layer].initial[usize::from(state == State::Cell)];
        if slot.is_some_and(|value| value != Value::Input(index)) {
            let key = state.key();
            return Err(
                wrong(format!("expected a stack that nothing else begins, got {stack}, which has {key}")).at(place)
            );
        }
        *slot = Some(Value::Input(index));
    }
    Ok(())
}

/// Reads the outputs that a description names.
pub(super) fn read_outputs(list: Vec<Raw>, names: &Names) -> Result<Vec<ModelOutput>> {
    let one = |(index, value): (usize, Raw)| {
        let place = value.get("name").and_then(Raw::as_str).map_or(index.to_string(), str::to_owned);
        let output = || {
            let mut keys = Keys::of(value)?;
            let (name, from) = (keys.needed_text("name")?, keys.needed_text(FROM)?);
            keys.finish()?;
            Ok(ModelOutput { name, from: names.value(&from, names.layers.len()).map_err(|e| e.at(FROM))? })
        };
        output().map_err(|e: crate::error::Error| e.at(format!("outputs: {place}")))
    };
    list.into_iter().enumerate().map(one).collect()
}

/// Fills in the sizes of inputs that are [`UNTOLD`], from the first layer that takes each.
pub(super) fn tell_inputs(model: &mut Model) -> Result<()> {
    for index in 0..model.inputs.len() {
        let told = taken_size(model, Value::Input(index));
        let input = &mut model.inputs[index];
        let (InputKind::Sequence(size) | InputKind::Tokens(size) | InputKind::Row(size)) = &mut input.kind else {
            continue;
        };
        if *size == UNTOLD {
            *size = told.ok_or_else(|| {
                wrong(format!("inputs: {}: size: left out, and no layer that takes it tells it", input.name))
            })?;
        }
    }
    Ok(())
}

/// Returns the size of `value` from the first layer that takes it and has one.
pub(super) fn taken_size(model: &Model, value: Value) -> Option<usize> {
    let size = |layer: &Layer| match &layer.kind {
        LayerKind::Recurrent(stack) => Some(stack.input_size),
        LayerKind::Linear(linear) => Some(linear.in_features),
        LayerKind::Conv1d(conv) => Some(conv.in_features),
        LayerKind::Embedding(embedding) => Some(embedding.num_embeddings),
        LayerKind::OneHot(one_hot) => Some(one_hot.num_classes),
        LayerKind::Masking(masking) => Some(masking.features),
        _ => None,
    };
    let consumers = model.layers.iter().filter(|layer| layer.from.contains(&value));
    consumers.filter_map(size).find(|&size| size != UNTOLD)
}

/// Returns the keys of a layer's name and edges that [`Edges::take`] reads. A chain's layer has none.
pub(super) fn layer_json(model: &Model, names: &Names, index: usize) -> [Vec<(&'static str, Json)>; 2] {
    let layer = &model.layers[index];
    let mut first: Vec<_> = layer.name.iter().map(|name| ("name", Json::from(name.as_str()))).collect();
    // The selection's own `what` says which result of a stack it takes.
    let said = |value: Value| match value {
        Value::Layer(stack, _) if matches!(layer.kind, LayerKind::Select(_)) => Value::Layer(stack, Pin::Output),
        _ => value,
    };
    match layer.from[..] {
        [value] if value == model.usual_source_at(index, &layer.kind) => {}
        [value] => first.push((FROM, names.word(said(value)))),
        ref list => first.push((FROM, Json::list(list, |&value| names.word(value)))),
    }
    let begun = |(state, value): (State, Option<Value>)| {
        let value = value.filter(|&value| !is_told_by_input(model, value, index))?;
        Some((state.key(), names.word(value)))
    };
    [first, STATES.into_iter().zip(layer.initial).filter_map(begun).collect()]
}

/// Returns the first stack that begins at `value`.
fn begun_by(model: &Model, value: Value) -> Option<usize> {
    model.layers.iter().position(|layer| layer.initial.contains(&Some(value)))
}

/// Whether the input itself says that layer `index` begins at it.
fn is_told_by_input(model: &Model, value: Value, index: usize) -> bool {
    let Value::Input(input) = value else { return false };
    let state = model.inputs.get(input).is_some_and(|input| matches!(input.kind, InputKind::State(_)));
    state && begun_by(model, value) == Some(index)
}

/// Returns the JSON that [`read_inputs`] reads.
pub(super) fn inputs_json(model: &Model, names: &Names) -> Json {
    Json::list(model.inputs.iter().enumerate(), |(index, input)| {
        let (word, size) = match input.kind {
            InputKind::Sequence(size) => ("sequence", Some(size)),
            InputKind::Tokens(size) => ("tokens", Some(size)),
            InputKind::Row(size) => ("row", Some(size)),
            InputKind::State(State::Hidden) => ("hidden", None),
            InputKind::State(State::Cell) => ("cell", None),
        };
        let mut keys = vec![("name", Json::from(input.name.as_str())), ("type", Json::from(word))];
        match size {
            Some(size) => keys.push(("size", Json::from(size))),
            None => {
                let stack = begun_by(model, Value::Input(index));
                keys.extend(stack.map(|stack| ("stack", names.word(Value::Layer(stack, Pin::Output)))));
            }
        }
        Json::Object(keys)
    })
}

/// Returns the JSON that [`read_outputs`] reads.
pub(super) fn outputs_json(model: &Model, names: &Names) -> Json {
    Json::list(&model.outputs, |output| {
        Json::Object(vec![("name", Json::from(output.name.as_str())), (FROM, names.word(output.from))])
    })
}
