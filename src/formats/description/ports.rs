//! The ports of a description: the names of inputs and outputs, and the order of their axes; from JSON and back.

use serde_json::Value;

use super::ordered::Json;
use super::words::{DIMS, PARTS, REQUIRED, word};
use crate::error::Result;
use crate::formats::keys::{Keys, word_of, wrong};
use crate::model::{Dim, InputPort, InputValue, OutputPort, OutputValue, Ports, Required, State};

const INPUTS: [&str; 7] = ["sequence", "input", "lengths", "mask", "hidden", "cell", "weights"];
const OUTPUTS: [&str; 6] = ["output", "another", "direction", "largest", "hidden", "cell"];

/// The key of the ports.
pub(super) const KEY: &str = "ports";

/// The key in older descriptions.
const OLD_KEY: &str = "interface";

/// Takes the ports from `keys`; `main` is the main input of the model. Ports that are left out are the usual ones.
pub(super) fn take(keys: &mut Keys, main: usize) -> Result<Ports> {
    match (keys.take(KEY), keys.take(OLD_KEY)) {
        (None, None) => Ok(Ports::default()),
        (Some(value), None) => read(value, main).map_err(|e| e.at(KEY)),
        (None, Some(value)) => read(value, main).map_err(|e| e.at(OLD_KEY)),
        (Some(_), Some(_)) => Err(wrong(format!("{OLD_KEY}: expected nothing beside {KEY}, which replaces it"))),
    }
}

fn read(value: Value, main: usize) -> Result<Ports> {
    let mut keys = Keys::of(value)?;
    let (inputs, outputs) = (keys.list("inputs")?.unwrap_or_default(), keys.list("outputs")?.unwrap_or_default());
    let required = keys.word("required", &REQUIRED)?.unwrap_or_default();
    keys.finish()?;
    Ok(Ports {
        inputs: ports("input", inputs, |keys| input(keys, main))?,
        outputs: ports("output", outputs, output)?,
        required,
    })
}

fn ports<T>(place: &str, list: Vec<Value>, port: impl Fn(Keys) -> Result<T>) -> Result<Vec<T>> {
    let one = |(index, value)| Keys::of(value).and_then(&port).map_err(|e| e.at(format!("{place} {index}")));
    list.into_iter().enumerate().map(one).collect()
}

fn input(mut keys: Keys, main: usize) -> Result<InputPort> {
    let name = keys.needed_text("name")?;
    let value = match keys.needed_word("value", &INPUTS.map(|word| (word, word)))? {
        "sequence" => InputValue::Sequence,
        "input" => InputValue::Input(keys.needed_size("input")?),
        "lengths" => InputValue::Lengths(keys.size("input")?.unwrap_or(main)),
        "mask" => InputValue::Mask(keys.size("input")?.unwrap_or(main)),
        "hidden" => state(State::Hidden, &mut keys)?,
        "cell" => state(State::Cell, &mut keys)?,
        _ => InputValue::Weights { layer: keys.needed_size("layer")?, part: keys.needed_word("part", &PARTS)? },
    };
    let axes = axes(&mut keys)?;
    keys.finish()?;
    Ok(InputPort { name, value, axes })
}

fn state(state: State, keys: &mut Keys) -> Result<InputValue> {
    Ok(InputValue::State { stack: keys.needed_size("stack")?, state, first: keys.size("first")?.unwrap_or(0) })
}

fn output(mut keys: Keys) -> Result<OutputPort> {
    let name = keys.needed_text("name")?;
    let value = match keys.needed_word("value", &OUTPUTS.map(|word| (word, word)))? {
        "output" => OutputValue::Output,
        "another" => OutputValue::Another(keys.needed_size("another")?),
        "direction" => OutputValue::Direction(keys.needed_size("direction")?),
        "largest" => OutputValue::Largest(keys.size("another")?.unwrap_or(0)),
        "hidden" => OutputValue::States { state: State::Hidden, stacks: stacks(&mut keys)? },
        _ => OutputValue::States { state: State::Cell, stacks: stacks(&mut keys)? },
    };
    let axes = axes(&mut keys)?;
    keys.finish()?;
    Ok(OutputPort { name, value, axes })
}

fn stacks(keys: &mut Keys) -> Result<Vec<usize>> {
    let stack = |value: Value| {
        let whole = value.as_u64().and_then(|n| usize::try_from(n).ok());
        whole.ok_or_else(|| wrong(format!("stacks: expected whole numbers, got {value}")))
    };
    keys.needed_list("stacks")?.into_iter().map(stack).collect()
}

fn axes(keys: &mut Keys) -> Result<Vec<Dim>> {
    let words = keys.needed_list("axes")?;
    words.iter().map(|value| word_of(value, &DIMS).map_err(|e| e.at("axes"))).collect()
}

/// Returns the JSON that [`take`] reads under [`KEY`].
pub(super) fn json(own: &Ports, main: usize) -> Json {
    let mut keys = Vec::new();
    if !own.inputs.is_empty() {
        keys.push(("inputs", Json::list(&own.inputs, |port| input_json(port, main))));
    }
    if !own.outputs.is_empty() {
        keys.push(("outputs", Json::list(&own.outputs, output_json)));
    }
    if own.required != Required::Sequence {
        keys.push(("required", word(&REQUIRED, &own.required)));
    }
    Json::Object(keys)
}

fn input_json(port: &InputPort, main: usize) -> Json {
    let value = |word: &str| ("value", Json::from(word));
    let mut keys = vec![("name", Json::from(port.name.as_str()))];
    match port.value {
        InputValue::Sequence => keys.push(value("sequence")),
        InputValue::Input(index) => keys.extend([value("input"), ("input", Json::from(index))]),
        InputValue::Lengths(input) => {
            keys.push(value("lengths"));
            keys.extend((input != main).then(|| ("input", Json::from(input))));
        }
        InputValue::Mask(input) => {
            keys.push(value("mask"));
            keys.extend((input != main).then(|| ("input", Json::from(input))));
        }
        InputValue::State { stack, state, first } => {
            keys.extend([value(state_word(state)), ("stack", Json::from(stack)), ("first", Json::from(first))]);
        }
        InputValue::Weights { layer, part } => {
            keys.extend([value("weights"), ("layer", Json::from(layer)), ("part", word(&PARTS, &part))]);
        }
    }
    keys.push(("axes", axes_json(&port.axes)));
    Json::Object(keys)
}

fn output_json(port: &OutputPort) -> Json {
    let value = |word: &str| ("value", Json::from(word));
    let mut keys = vec![("name", Json::from(port.name.as_str()))];
    match &port.value {
        OutputValue::Output => keys.push(value("output")),
        OutputValue::Another(index) => keys.extend([value("another"), ("another", Json::from(*index))]),
        OutputValue::Direction(direction) => {
            keys.extend([value("direction"), ("direction", Json::from(*direction))]);
        }
        OutputValue::Largest(0) => keys.push(value("largest")),
        OutputValue::Largest(index) => keys.extend([value("largest"), ("another", Json::from(*index))]),
        OutputValue::States { state, stacks } => {
            keys.extend([value(state_word(*state)), ("stacks", Json::list(stacks, |&stack| Json::from(stack)))]);
        }
    }
    keys.push(("axes", axes_json(&port.axes)));
    Json::Object(keys)
}

fn state_word(state: State) -> &'static str {
    match state {
        State::Hidden => "hidden",
        State::Cell => "cell",
    }
}

fn axes_json(axes: &[Dim]) -> Json {
    Json::list(axes, |dim| word(&DIMS, dim))
}
