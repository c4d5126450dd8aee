//! The states that a decoder's layers begin with → which stack of the encoder begins which of the decoder.
//!
//! Knows which tensors a recurrent layer gives; knows neither graphs nor configurations.

use super::builder::Stack;
use super::calls::Tensor;
use super::config::wrong;
use super::recurrent::Sequences;
use crate::error::Result;
use crate::model::{Direction, Memory, Padding};

/// A layer that begins with states, and the tensors that they are.
pub(super) type Begun = (String, Vec<Tensor>);

/// The links from the stacks of the encoder to those of the decoder, of which some begin with states.
pub(super) fn links(from: &[Stack], to: &[Stack], begun: &[Begun]) -> Result<Vec<(usize, usize)>> {
    let one = |(layer, states): &Begun| link(from, to, layer, states).map_err(|e| e.at(format!("layer {layer}")));
    begun.iter().map(one).collect()
}

fn link(from: &[Stack], to: &[Stack], layer: &str, states: &[Tensor]) -> Result<(usize, usize)> {
    let place = |stacks: &[Stack], name: &str| stacks.iter().position(|stack| stack.name == name);
    let to = place(to, layer).ok_or_else(|| wrong("initial_state: expected a recurrent layer to take it".into()))?;
    let name = states.first().map_or("", |(name, _)| name);
    let Some(index) = place(from, name) else {
        let text = "initial_state: expected the final states of a recurrent layer of the encoder, got a tensor of";
        return Err(wrong(format!("{text} {name}")));
    };
    let stack = &from[index];
    let wanted = given(stack);
    let alike = states.len() == wanted.len()
        && states.iter().zip(&wanted).enumerate().all(|(place, ((layer, got), wanted))| {
            *layer == stack.name && (got == wanted || place == 0 && *got == 0 && ends_with_hidden(stack))
        });
    if !alike {
        let words = |tensors: &[usize]| tensors.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let got: Vec<_> = states.iter().map(|(layer, place)| format!("{place} of {layer}")).collect();
        return Err(wrong(format!(
            "initial_state: expected all final states of {name} in their order (its tensors {}), got tensors {}",
            words(&wanted),
            got.join(", ")
        )));
    }
    Ok((index, to))
}

/// The places of a layer's final states among its tensors: behind its outputs, all of a direction before the other's.
fn given(stack: &Stack) -> Vec<usize> {
    let outputs = if stack.apart { 2 } else { 1 };
    let directions = if stack.direction == Direction::Both { 2 } else { 1 };
    (outputs..outputs + directions * stack.settings.cell.states()).collect()
}

/// Whether the one output of a layer is its final hidden state.
fn ends_with_hidden(stack: &Stack) -> bool {
    let settings = &stack.settings;
    stack.direction != Direction::Both
        && settings.sequences == Sequences::Last
        && settings.padding == Padding::Held
        && settings.memory == Memory::Call
}
