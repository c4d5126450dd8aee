//! What a model takes and gives, by name: one output has the usual names; several have a number each. An encoder and a
//! decoder take what their input layers are called.
//!
//! Knows interfaces; knows no configuration.

use super::config::wrong;
use super::layers::{Builder, Flow, Stack};
use crate::cell::Cell;
use crate::error::Result;
use crate::model::{Axes, Dim, Direction, InputPort, InputValue, Interface, OutputPort, OutputValue, State};

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

/// Names what the model takes and gives where it is not the usual.
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
    if values == [OutputValue::Output] && !bare && builder.input == Given::WithFeatures && builder.called.is_none() {
        return Ok(());
    }
    let mut outputs = Vec::new();
    for (place, value) in values.iter().enumerate() {
        let axes = match value {
            // A stack of one direction has one row of states, whose axis is left out.
            OutputValue::States { .. } => vec![Dim::Batch, Dim::Features],
            _ if matches!(builder.flow, Flow::Rows(_)) => vec![Dim::Batch, Dim::Features],
            _ => sequence(builder, if bare { Given::WithoutFeatures } else { Given::WithFeatures }),
        };
        let mut names = if place == 0 { vec!["y".to_owned(), "output".into()] } else { Vec::new() };
        if values.len() > 1 {
            names.push(format!("y_{place}"));
        }
        outputs.extend(names.into_iter().map(|name| OutputPort { name, value: value.clone(), axes: axes.clone() }));
    }
    let inputs = inputs(builder, "");
    builder.model.interface = Some(Interface { inputs, outputs });
    Ok(())
}

/// Names what an encoder takes. It gives nothing but states.
pub(super) fn name_inputs(builder: &mut Builder) {
    builder.model.interface = Some(Interface { inputs: inputs(builder, "encoder_"), outputs: Vec::new() });
}

/// What a model takes: lengths and mask have the usual names behind `prefix`.
fn inputs(builder: &Builder, prefix: &str) -> Vec<InputPort> {
    let tokens = builder.model.input().is_ok_and(|flow| flow.tokens().is_some());
    let x = sequence(builder, if tokens { Given::WithoutFeatures } else { builder.input });
    let mask = sequence(builder, Given::WithoutFeatures);
    vec![
        InputPort { name: builder.called.clone().unwrap_or_else(|| "x".into()), value: InputValue::Sequence, axes: x },
        InputPort { name: format!("{prefix}lengths"), value: InputValue::Lengths, axes: vec![Dim::Batch] },
        InputPort { name: format!("{prefix}mask"), value: InputValue::Mask, axes: mask },
    ]
}

fn sequence(builder: &Builder, given: Given) -> Vec<Dim> {
    let mut axes = match builder.model.axes {
        Axes::BatchFirst => vec![Dim::Batch, Dim::Time],
        Axes::TimeMajor => vec![Dim::Time, Dim::Batch],
    };
    match given {
        Given::WithFeatures => axes.push(Dim::Features),
        Given::WithoutFeatures => {}
        Given::WithOneMore => axes.extend([Dim::Features, Dim::One]),
    }
    axes
}

/// How many final states a layer gives as tensors of their own. Those of two directions are h_n and c_n alone.
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
