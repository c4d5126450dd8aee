//! A recurrent stack in words: a few for a line, and its class for a summary.

use std::fmt;

use super::{Direction, Initial, Recurrent};
use crate::cell::{Cell, Coupling, Peepholes};

/// Writes the stack in a few words: `lstm(64→256)×2 bidirectional`.
pub(super) fn short(stack: &Recurrent, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}({}→{}", stack.cell, stack.input_size, stack.hidden_size)?;
    if let Some(p) = stack.proj_size {
        write!(f, "→{p}")?;
    }
    f.write_str(")")?;
    if stack.num_layers > 1 {
        write!(f, "×{}", stack.num_layers)?;
    }
    match stack.direction {
        Direction::Forward => Ok(()),
        Direction::Reverse => f.write_str(" reverse"),
        Direction::Backwards => f.write_str(" backwards"),
        Direction::Both => f.write_str(" bidirectional"),
    }
}

/// Returns the Keras class: that of the cell, or of the wrapper around a bidirectional layer.
pub(super) fn class(stack: &Recurrent) -> &'static str {
    if stack.direction == Direction::Both { "Bidirectional" } else { cell_class(stack.cell) }
}

fn cell_class(cell: Cell) -> &'static str {
    match cell {
        Cell::Rnn => "SimpleRNN",
        Cell::Lstm => "LSTM",
        Cell::Gru(_) => "GRU",
    }
}

/// Returns the class, and in words what no Keras layer has: `LSTM, 2 layers, projected to 3, clip 3`.
///
/// Functions, dropouts and merges have no word here: Keras supports them, and its summary does not show them.
pub(super) fn summary(stack: &Recurrent) -> String {
    let mut words = Vec::new();
    if stack.num_layers > 1 {
        words.push(format!("{} layers", stack.num_layers));
    }
    words.extend(stack.proj_size.map(|size| format!("projected to {size}")));
    words.extend(stack.clip.map(|clip| format!("clip {clip}")));
    let rest = [
        (stack.direction == Direction::Reverse, "reverse"),
        (stack.coupling == Coupling::InputForget, "coupled gates"),
        (stack.peepholes == Peepholes::Diagonal, "peepholes"),
        (stack.initial == Initial::Learned, "learned states"),
    ];
    words.extend(rest.into_iter().filter(|(has, _)| *has).map(|(_, word)| word.to_owned()));
    if stack.direction == Direction::Both && !words.is_empty() {
        // The wrapper's class does not name the cell.
        words.insert(0, cell_class(stack.cell).into());
    }
    words.insert(0, class(stack).into());
    words.join(", ")
}
