//! What a model takes and gives, by name: `y` beside the usual names, and a number for each of several outputs. An
//! encoder and a decoder take what their input layers are called.
//!
//! Knows interfaces; knows no configuration.

use super::builder::{Builder, Flow, Stack};
use super::config::wrong;
use crate::cell::Cell;
use crate::error::Result;
use crate::formats::encoder;
use crate::model::{Dim, Direction, InputPort, InputValue, Interface, OutputPort, OutputValue, State};

/// How the axes of the input stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Batch, time and, but for tokens, features.
    WithFeatures,
    /// Batch and time: one feature has no axis.
    WithoutFeatures,
    /// An axis of length 1 behind the features.
    WithOneMore,
}

/// Names what the model takes and gives: as usual, and its outputs by numbers where there are several.
pub(super) fn name(builder: &mut Builder, last: &str, listed: Option<&[(String, usize)]>) -> Result<()> {
    let all: Vec<usize> = match builder.stacks.last().filter(|stack| stack.name == last) {
        Some(stack) => (0..1 + usize::from(stack.apart) + states(stack)).collect(),
        None => vec![0],
    };
    let listed = match listed {
        Some(listed) => listed.to_vec(),
        None => all.into_iter().map(|place| (last.to_owned(), place)).collect(),
    };
    let values = listed.iter().map(|tensor| value(builder, last, tensor)).collect::<Result<Vec<_>>>()?;
    let bare = matches!(builder.flow, Flow::Steps { bare: true, .. });
    let mut interface = Interface::standard(&builder.model);
    name_sequence(builder, &mut interface);
    let standard = interface.outputs.iter().find(|port| port.value == OutputValue::Output);
    let mut axes = standard.map(|port| port.axes.clone()).unwrap_or_default();
    axes.retain(|dim| !bare || *dim != Dim::Features);
    interface.outputs.retain(|port| port.value != OutputValue::Output);
    let mut outputs = Vec::new();
    for (place, value) in values.iter().enumerate() {
        let axes = match value {
            // A stack of one direction has one row of states, whose axis is left out.
            OutputValue::States { .. } => vec![Dim::Batch, Dim::Features],
            _ => axes.clone(),
        };
        let first = ["y", "output"].into_iter().filter(|_| place == 0).map(str::to_owned);
        let numbered = (values.len() > 1).then(|| format!("y_{place}"));
        let port = |name| OutputPort { name, value: value.clone(), axes: axes.clone() };
        outputs.extend(first.chain(numbered).map(port));
    }
    interface.outputs.splice(0..0, outputs);
    builder.model.interface = Some(interface);
    Ok(())
}

/// Names what an encoder takes. It gives nothing but states.
pub(super) fn name_encoder(builder: &mut Builder) {
    let mut interface = encoder::ports(&builder.model, encoder::PREFIX);
    interface.outputs.clear();
    name_sequence(builder, &mut interface);
    builder.model.interface = Some(interface);
}

/// Gives the sequence the axes that the file says, and the name of its input layer where there are two of them.
fn name_sequence(builder: &Builder, interface: &mut Interface) {
    let sequence = |port: &InputPort| port.value == InputValue::Sequence;
    if let Some(called) = &builder.called {
        let first = interface.inputs.iter().position(sequence);
        let mut index = 0..;
        interface.inputs.retain(|port| index.next() == first || !sequence(port));
        if let Some(first) = first {
            interface.inputs[first].name.clone_from(called);
        }
    }
    for port in interface.inputs.iter_mut().filter(|port| sequence(port)) {
        match builder.input {
            Given::WithFeatures => {}
            Given::WithoutFeatures => port.axes.retain(|dim| *dim != Dim::Features),
            Given::WithOneMore => port.axes.push(Dim::One),
        }
    }
}

/// How many final states a layer gives as tensors of their own. Those of two directions are `h_n` and `c_n` alone.
fn states(stack: &Stack) -> usize {
    if stack.settings.gives_states() && stack.direction != Direction::Both { stack.settings.cell.states() } else { 0 }
}

/// What tensor `place` of layer `name` is.
fn value(builder: &Builder, last: &str, (name, place): &(String, usize)) -> Result<OutputValue> {
    let of_last = name == last;
    let Some((index, stack)) = builder.stacks.iter().enumerate().find(|(_, stack)| stack.name == *name) else {
        return match (of_last, place) {
            (true, 0) => Ok(OutputValue::Output),
            _ => Err(wrong(format!("output_layers: expected what the last layer gives, got tensor {place} of {name}"))),
        };
    };
    let outputs = if stack.apart { 2 } else { 1 };
    if *place < outputs && of_last {
        return Ok(if stack.apart { OutputValue::Direction(*place) } else { OutputValue::Output });
    }
    let state = match place.checked_sub(outputs) {
        Some(0) if states(stack) > 0 => State::Hidden,
        Some(1) if states(stack) > 1 && stack.settings.cell == Cell::Lstm => State::Cell,
        _ => {
            return Err(wrong(format!(
                "output_layers: expected what the last layer gives or the final states of one direction, got tensor {place} of {name}"
            )));
        }
    };
    Ok(OutputValue::States { state, stacks: vec![index] })
}
