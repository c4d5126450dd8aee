//! The inputs and outputs of a model, as the package lists them.

use gatewave::Model;
use gatewave::interface::{Dim, InputKind, InputPort, InputValue, OutputPort, OutputValue, Required, State};

/// An input: its name, kind and type, the letters and the lengths of its axes, whether a call must have it, and a word
/// that is the same for all names of one value.
pub(crate) type Input = (String, &'static str, &'static str, String, Vec<Option<usize>>, bool, String);

/// An output: its name, kind and type, the letters and the lengths of its axes, and a word for its value.
pub(crate) type Output = (String, &'static str, &'static str, String, Vec<Option<usize>>, String);

/// Returns the inputs of `model`.
pub(crate) fn inputs(model: &Model) -> gatewave::Result<Vec<Input>> {
    let (ports, all) = (model.all_ports(), model.all_inputs()?);
    let one = |port: &InputPort| {
        let tokens = match port.value {
            InputValue::Sequence => model.input()?.tokens().is_some(),
            InputValue::Input(index) => all.get(index).is_some_and(|input| matches!(input.kind, InputKind::Tokens(_))),
            _ => false,
        };
        let (kind, dtype) = match port.value {
            InputValue::Sequence | InputValue::Input(_) if tokens => ("tokens", "int64"),
            InputValue::Sequence | InputValue::Input(_) => ("features", "float32"),
            InputValue::Lengths(_) => ("lengths", "int64"),
            InputValue::Mask(_) => ("mask", "float32"),
            InputValue::State { .. } => ("state", "float32"),
            InputValue::Weights { .. } => ("weights", "float32"),
            _ => ("features", "float32"),
        };
        let is_data = matches!(port.value, InputValue::Sequence | InputValue::Input(_) | InputValue::Weights { .. });
        let required = is_data || ports.required == Required::All;
        let value = match port.value {
            // Several stacks may take parts of one tensor.
            InputValue::State { .. } => format!("state {}", port.name),
            value => format!("{value:?}"),
        };
        Ok((port.name.clone(), kind, dtype, letters(&port.axes), model.input_dims(port)?, required, value))
    };
    ports.inputs.iter().map(one).collect()
}

/// Returns the outputs of `model`.
pub(crate) fn outputs(model: &Model) -> gatewave::Result<Vec<Output>> {
    let one = |port: &OutputPort| {
        let (kind, dtype) = match &port.value {
            OutputValue::Largest(_) => ("largest", "int64"),
            OutputValue::States { state: State::Hidden, .. } => ("hidden state", "float32"),
            OutputValue::States { .. } => ("cell state", "float32"),
            _ => ("output", "float32"),
        };
        let value = format!("{:?}", port.value);
        Ok((port.name.clone(), kind, dtype, letters(&port.axes), model.output_dims(port)?, value))
    };
    model.all_ports().outputs.iter().map(one).collect()
}

/// Returns the index of the output called `name`, among those that are no final states, and the names of all.
pub(crate) fn output_index(model: &Model, name: &str) -> Result<usize, Vec<String>> {
    let ports = model.all_ports();
    let index = |port: &OutputPort| match port.value {
        OutputValue::Output => Some(0),
        OutputValue::Another(index) => Some(index),
        _ => None,
    };
    let found = ports.outputs.iter().filter(|port| port.name == name).find_map(index);
    found.ok_or_else(|| ports.outputs.iter().filter(|port| index(port).is_some()).map(|p| p.name.clone()).collect())
}

/// The letters of the documentation.
fn letters(axes: &[Dim]) -> String {
    let letter = |dim: &Dim| match dim {
        Dim::Time => 'T',
        Dim::Batch => 'B',
        Dim::Features => 'F',
        Dim::Directions => 'D',
        Dim::Layers => 'L',
        _ => '1',
    };
    axes.iter().map(letter).collect()
}
