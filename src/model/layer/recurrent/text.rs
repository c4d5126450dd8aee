//! A recurrent stack in words: a few for a line, and all for a summary.

use std::fmt;

use super::{Direction, Initial, Memory, Merge, Padding, Recurrent};
use crate::cell::{Cell, Coupling, Peepholes, Reset};

/// `lstm(64→256)×2 bidirectional`.
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

/// The cell, and in words whatever a stack of it alone has not: `GRU, reset before, reverse, clip 3, held outputs`.
pub(super) fn summary(stack: &Recurrent) -> String {
    let mut words = vec![stack.cell.name().to_uppercase()];
    if stack.cell == Cell::Gru(Reset::Before) {
        words.push("reset before".into());
    }
    words.extend(function_words(stack));
    if stack.num_layers > 1 {
        words.push(format!("{} layers", stack.num_layers));
    }
    let direction = match stack.direction {
        Direction::Forward => None,
        Direction::Reverse => Some("reverse"),
        Direction::Backwards => Some("backwards"),
        Direction::Both => Some("bidirectional"),
    };
    let merge = match stack.merge {
        Merge::Concat => None,
        _ if !stack.is_merged() => None,
        Merge::Sum => Some("merged by sum"),
        Merge::Average => Some("merged by average"),
        Merge::Product => Some("merged by product"),
    };
    words.extend([direction, merge].into_iter().flatten().map(str::to_owned));
    words.extend(stack.proj_size.map(|size| format!("projected to {size}")));
    words.extend(stack.clip.map(|clip| format!("clip {clip}")));
    let rest = [
        (stack.coupling == Coupling::InputForget, "coupled gates"),
        (stack.peepholes == Peepholes::Diagonal, "peepholes"),
        (stack.padding == Padding::Held, "held outputs"),
        (stack.memory == Memory::Engine, "stateful"),
        (stack.initial == Initial::Learned, "learned states"),
    ];
    words.extend(rest.into_iter().filter(|(has, _)| *has).map(|(_, word)| word.to_owned()));
    let rates = [
        ("dropout", stack.dropout),
        ("input dropout", stack.input_dropout),
        ("recurrent dropout", stack.recurrent_dropout),
    ];
    words.extend(rates.into_iter().filter(|(_, rate)| rate.get() > 0.0).map(|(name, rate)| format!("{name} {rate}")));
    words.join(", ")
}

/// The functions that are not the cell's own, by letter where it has several: `f hard_sigmoid`, `reverse g relu`.
fn function_words(stack: &Recurrent) -> Vec<String> {
    let [forward, reverse] = stack.functions;
    let ways: &[_] = match stack.directions() {
        2 if forward != reverse => &[("forward ", forward), ("reverse ", reverse)],
        _ => &[("", forward)],
    };
    let count = stack.cell.function_count();
    let own = stack.cell.functions().each();
    let words = ways.iter().flat_map(|(way, functions)| {
        let each = ["f ", "g ", "h "].into_iter().zip(functions.each()).zip(own).take(count);
        each.filter(|((_, function), own)| function != own).map(move |((letter, function), _)| {
            let letter = if count == 1 { "" } else { letter };
            format!("{way}{letter}{function}")
        })
    });
    words.collect()
}
