//! Joins an encoder and a decoder, which a file holds as two models, into one graph.
//!
//! The encoder's layers come first, and its inputs after those of the decoder. Knows models and ports; knows no file.

use std::collections::HashSet;

use super::keys::wrong;
use crate::error::Result;
use crate::model::{
    InputPort, InputValue, LayerKind, Model, ModelInput, OutputPort, OutputValue, Pin, Ports, State, Value,
};

/// The key of a description that has an encoder.
pub(super) const KEY: &str = "encoder";

/// The beginning of the usual names of an encoder's inputs and layers.
pub(super) const PREFIX: &str = "encoder_";

/// Returns the ports of `model`. The usual names of its inputs begin with `prefix`.
pub(super) fn ports(model: &Model, prefix: &str) -> Ports {
    let mut ports = model.all_ports().into_owned();
    if model.ports.inputs.is_empty() {
        ports.inputs.iter_mut().for_each(|port| port.name.insert_str(0, prefix));
    }
    ports
}

/// Begins stacks of `decoder` at the final states of stacks of `encoder`. Each
/// pair of `states` is a stack of the encoder, and the stack of the decoder that
/// begins there. The ports name the inputs of the decoder and of the encoder.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if there is
/// no such stack, or if one would begin twice. The model is not checked otherwise.
pub(super) fn begin(
    decoder: Model,
    encoder: Model,
    states: &[(usize, usize)],
    [own, others]: [Ports; 2],
) -> Result<Model> {
    if states.is_empty() {
        return Err(wrong("states: expected at least one stack that begins another, got none".into()));
    }
    let before = encoder.layers.len();
    let stacks_before = encoder.stacks().count();
    let stacks = |model: &Model| -> Vec<usize> {
        let is_stack = |&layer: &usize| matches!(model.layers[layer].kind, LayerKind::Recurrent(_));
        (0..model.layers.len()).filter(is_stack).collect()
    };
    let (from, to) = (stacks(&encoder), stacks(&decoder));
    let inputs = inputs(&decoder, &encoder)?;
    let count = decoder.inputs.len().max(1);
    let main = count + encoder.main_input();
    let mut model = Model {
        inputs,
        outputs: Vec::new(),
        layers: encoder.layers,
        input_layer: None,
        steps: Vec::new(),
        ..decoder.clone()
    };
    for layer in &mut model.layers {
        let values = layer.from.iter_mut().chain(layer.initial.iter_mut().flatten());
        values.for_each(|value| *value = shifted(*value, count, 0));
        layer.name = layer.name.take().map(|name| format!("{PREFIX}{name}"));
    }
    for mut layer in decoder.layers {
        let values = layer.from.iter_mut().chain(layer.initial.iter_mut().flatten());
        values.for_each(|value| *value = shifted(*value, 0, before));
        model.layers.push(layer);
    }
    model.outputs = decoder.outputs;
    model.outputs.iter_mut().for_each(|output| output.from = shifted(output.from, 0, before));
    let mut begun = HashSet::new();
    for (index, &(first, second)) in states.iter().enumerate() {
        let stack = |stacks: &[usize], stack: usize, whose: &str| match stacks.get(stack) {
            Some(&layer) => Ok(layer),
            None => {
                let text =
                    format!("states {index}: expected a stack of the {whose} below {}, got {stack}", stacks.len());
                Err(wrong(text))
            }
        };
        let (first, layer) = (stack(&from, first, "encoder")?, before + stack(&to, second, "decoder")?);
        if !begun.insert(second) {
            return Err(wrong(format!(
                "states {index}: expected a stack of its own, got stack {second} of the decoder again"
            )));
        }
        let LayerKind::Recurrent(stack) = &model.layers[layer].kind else { continue };
        let has_cells = State::Cell.is_of(stack);
        model.layers[layer].initial =
            [Some(Value::Layer(first, Pin::Hidden)), has_cells.then_some(Value::Layer(first, Pin::Cell))];
    }
    let begun = |port: &InputPort| match port.value {
        InputValue::State { stack, .. } => begun.contains(&stack),
        _ => false,
    };
    let own_inputs = own.inputs.into_iter().filter(|port| !begun(port)).map(|port| after(port, stacks_before, before));
    let others = others.inputs.into_iter().map(|port| behind(port, count, main)).collect::<Result<Vec<_>>>()?;
    let outputs = own.outputs.into_iter().map(|port| given_after(port, stacks_before)).collect();
    let inputs = own_inputs.chain(others).collect();
    model.ports = Ports { inputs, outputs, required: own.required };
    Ok(model)
}

/// Returns the inputs of both, each name once.
fn inputs(decoder: &Model, encoder: &Model) -> Result<Vec<ModelInput>> {
    let mut inputs = decoder.all_inputs()?;
    let names: HashSet<String> = inputs.iter().map(|input| input.name.clone()).collect();
    for mut input in encoder.all_inputs()? {
        if encoder.inputs.is_empty() || names.contains(&input.name) {
            input.name.insert_str(0, PREFIX);
        }
        inputs.push(input);
    }
    Ok(inputs)
}

/// Returns `value` with its index moved by a number of inputs and layers.
fn shifted(value: Value, inputs: usize, layers: usize) -> Value {
    match value {
        Value::Input(input) => Value::Input(inputs + input),
        Value::Layer(layer, pin) => Value::Layer(layers + layer, pin),
    }
}

/// Moves a port of the decoder, whose layers and stacks come after the encoder's.
fn after(port: InputPort, stacks: usize, layers: usize) -> InputPort {
    let value = match port.value {
        InputValue::State { stack, state, first } => InputValue::State { stack: stacks + stack, state, first },
        InputValue::Weights { layer, part } => InputValue::Weights { layer: layers + layer, part },
        value => value,
    };
    InputPort { value, ..port }
}

fn given_after(port: OutputPort, stacks: usize) -> OutputPort {
    let value = match port.value {
        OutputValue::States { state, stacks: own } => {
            OutputValue::States { state, stacks: own.into_iter().map(|stack| stacks + stack).collect() }
        }
        value => value,
    };
    OutputPort { value, ..port }
}

/// Moves a port of the encoder, whose inputs come after the decoder's. `main` is the new index of its main input.
fn behind(port: InputPort, inputs: usize, main: usize) -> Result<InputPort> {
    let value = match port.value {
        InputValue::Sequence => InputValue::Input(main),
        InputValue::Input(input) => InputValue::Input(inputs + input),
        InputValue::Lengths(input) => InputValue::Lengths(inputs + input),
        InputValue::Mask(input) => InputValue::Mask(inputs + input),
        value @ InputValue::State { .. } => value,
        InputValue::Weights { .. } => {
            let text = "encoder: ports: expected no weights among the inputs of an encoder, which has its own";
            return Err(wrong(text.into()));
        }
    };
    Ok(InputPort { value, ..port })
}
