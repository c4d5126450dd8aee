//! The recurrent stacks of a description: a JSON object → `Recurrent`, and back.

use serde_json::Value;

use super::numbers::share;
use super::ordered::Json;
use super::words::{function, function_json, function_of, word};
use crate::cell::{Cell, Coupling, Functions, Peepholes, Reset};
use crate::error::Result;
use crate::formats::infer::{Under, agree};
use crate::formats::keys::{Keys, wrong};
use crate::model::{Bias, Direction, Initial, Merge, Padding, Recurrent, StateLifetime};
use crate::weights::dialect::{Part, Way};

/// The keys of the functions: for both directions, and for the reverse one if it has its own.
const NONLINEARITIES: [&str; 2] = ["nonlinearity", "reverse_nonlinearity"];
const ACTIVATIONS: [&str; 2] = ["activations", "reverse_activations"];

/// The keys of dropout rates.
const DROPOUTS: [&str; 3] = ["dropout", "input_dropout", "recurrent_dropout"];

/// The values of the keys that are there.
struct Said {
    input_size: Option<usize>,
    hidden_size: Option<usize>,
    num_layers: Option<usize>,
    proj_size: Option<usize>,
    direction: Option<Direction>,
    bias: Option<Bias>,
    functions: [Option<Functions>; 2],
    peepholes: Option<Peepholes>,
    merge: Option<Merge>,
    initial: Option<Initial>,
}

/// Reads the stack of cell `name` that `keys` describe. Sizes that are left out are inferred from the tensors.
pub(super) fn read(name: &str, mut keys: Keys, under: &Under<'_>) -> Result<Recurrent> {
    let cell = match name {
        "lstm" => Cell::Lstm,
        "gru" => match keys.flag("reset_after")? {
            Some(false) => Cell::Gru(Reset::Before),
            Some(true) | None => Cell::Gru(Reset::After),
        },
        _ => Cell::Rnn,
    };
    let mut plain = Recurrent::new(cell, 1, 1);
    let said = Said {
        input_size: keys.size("input_size")?,
        hidden_size: keys.size("hidden_size")?,
        num_layers: keys.size("num_layers")?,
        proj_size: keys.size("proj_size")?,
        direction: direction(&mut keys)?,
        bias: keys.word("bias", &biases())?,
        functions: functions(cell, &mut keys)?,
        peepholes: match cell {
            Cell::Lstm => keys.word("peepholes", &[(true, Peepholes::Diagonal), (false, Peepholes::None)])?,
            Cell::Rnn | Cell::Gru(_) => None,
        },
        merge: keys.word("merge_mode", &Merge::WORDS)?,
        initial: keys.word("initial_states", &Initial::WORDS)?,
    };
    if cell == Cell::Lstm {
        let couplings = [(true, Coupling::InputForget), (false, Coupling::Apart)];
        plain.coupling = keys.word("input_forget", &couplings)?.unwrap_or_default();
    }
    plain.clip = keys.number("clip")?;
    plain.padding = keys.word("padding", &Padding::WORDS)?.unwrap_or_default();
    plain.state_lifetime =
        keys.word("stateful", &[(true, StateLifetime::Engine), (false, StateLifetime::Call)])?.unwrap_or_default();
    let Recurrent { dropout, input_dropout, recurrent_dropout, .. } = &mut plain;
    for (key, rate) in DROPOUTS.into_iter().zip([dropout, input_dropout, recurrent_dropout]) {
        *rate = share(&mut keys, key)?.unwrap_or(*rate);
    }
    keys.finish()?;
    complete(plain, said, under)
}

/// Completes `plain` with the values in `said`, or else those inferred from the tensors.
fn complete(plain: Recurrent, said: Said, under: &Under<'_>) -> Result<Recurrent> {
    let seen = under.stack(said.direction)?;
    let seen = seen.as_ref();
    let size = |key, said, seen| agree(key, said, seen, usize::clone);
    let way = match said.direction {
        Some(Direction::Reverse | Direction::Backwards) => Way::Reverse,
        Some(Direction::Forward | Direction::Both) | None => Way::Forward,
    };
    let untold = |key| {
        move || match under.lacking(way) {
            Ok((Part::WH, local)) => under.untold("hidden_size", &local),
            Ok((_, local)) => under.untold(key, &local),
            Err(e) => e,
        }
    };
    let direction =
        agree("bidirectional", said.direction, seen.map(|s| s.direction.clone()), |&d| d == Direction::Both)?
            .unwrap_or(Direction::Forward);
    let [both, reverse] = said.functions;
    for (key, is_said) in [(reverse_key(plain.cell), reverse.is_some()), ("merge_mode", said.merge.is_some())] {
        if is_said && direction != Direction::Both {
            return Err(wrong(format!("{key}: expected a bidirectional stack, got one of one direction")));
        }
    }
    let both = both.unwrap_or(plain.functions[0]);
    Ok(Recurrent {
        input_size: size("input_size", said.input_size, seen.map(|s| s.input_size.clone()))?
            .ok_or_else(untold("input_size"))?,
        hidden_size: size("hidden_size", said.hidden_size, seen.map(|s| s.hidden_size.clone()))?
            .ok_or_else(untold("hidden_size"))?,
        num_layers: size("num_layers", said.num_layers, seen.map(|s| s.num_layers.clone()))?.unwrap_or(1),
        direction,
        bias: agree("bias", said.bias, seen.map(|s| s.bias.clone()), |&bias| bias_json(bias))?.unwrap_or(Bias::Two),
        proj_size: size("proj_size", said.proj_size, seen.map(|s| s.proj_size.clone()))?.filter(|&p| p > 0),
        functions: [both, reverse.unwrap_or(both)],
        peepholes: agree("peepholes", said.peepholes, seen.map(|s| s.peepholes.clone()), |&p| p != Peepholes::None)?
            .unwrap_or_default(),
        merge: said.merge.unwrap_or_default(),
        initial: agree("initial_states", said.initial, seen.map(|s| s.initial.clone()), initial_word)?
            .unwrap_or_default(),
        ..plain
    })
}

/// Takes the direction from `bidirectional` and `direction`, which must not contradict each other.
fn direction(keys: &mut Keys) -> Result<Option<Direction>> {
    let bidirectional = keys.word("bidirectional", &[(false, Direction::Forward), (true, Direction::Both)])?;
    let direction = keys.word("direction", &Direction::WORDS)?;
    match (bidirectional, direction) {
        (Some(Direction::Both), Some(_)) => {
            Err(wrong("direction: expected none of a bidirectional stack, which goes both ways".into()))
        }
        (bidirectional, direction) => Ok(direction.or(bidirectional)),
    }
}

/// Takes the functions of both directions, and of the reverse one if it has its own.
fn functions(cell: Cell, keys: &mut Keys) -> Result<[Option<Functions>; 2]> {
    let mut of = |rnn, other| match cell {
        Cell::Rnn => Ok(function_of(keys, rnn)?.map(|f| Functions { f, ..Functions::NONE })),
        Cell::Lstm | Cell::Gru(_) => {
            keys.list(other)?.map(|list| each(cell, list).map_err(|e| e.at(other))).transpose()
        }
    };
    Ok([of(NONLINEARITIES[0], ACTIVATIONS[0])?, of(NONLINEARITIES[1], ACTIVATIONS[1])?])
}

/// Reads a list of functions: as many as the cell has, in the order f, g, h.
fn each(cell: Cell, list: Vec<Value>) -> Result<Functions> {
    let (wanted, got) = (cell.function_count(), list.len());
    if wanted != got {
        let what = if wanted == 3 { "gates, cell, output" } else { "gates, new" };
        return Err(wrong(format!("expected {wanted} functions ({what}), got {got}")));
    }
    let mut functions = Functions::NONE;
    for (place, value) in [&mut functions.f, &mut functions.g, &mut functions.h].into_iter().zip(list) {
        *place = function(value)?;
    }
    Ok(functions)
}

fn initial_word(initial: &Initial) -> &'static str {
    let (word, _) =
        Initial::WORDS.iter().find(|(_, meaning)| meaning == initial).expect("the table holds every variant");
    word
}

fn reverse_key(cell: Cell) -> &'static str {
    if cell == Cell::Rnn { NONLINEARITIES[1] } else { ACTIVATIONS[1] }
}

/// Returns the biases of a recurrent layer with their words.
fn biases() -> [(Value, Bias); 3] {
    [Bias::Two, Bias::None, Bias::One].map(|bias| (bias_json(bias), bias))
}

fn bias_json(bias: Bias) -> Value {
    match bias {
        Bias::None => false.into(),
        Bias::One => "single".into(),
        Bias::Two => true.into(),
    }
}

/// Returns the JSON that [`read`] reads. Options at their defaults
/// are left out, unless every description has a word for them.
pub(super) fn json(stack: &Recurrent) -> Vec<(&'static str, Json)> {
    let mut keys = vec![
        match stack.cell {
            Cell::Rnn => (NONLINEARITIES[0], function_json(stack.functions[0].f)),
            Cell::Gru(reset) => ("reset_after", Json::from(reset == Reset::After)),
            Cell::Lstm => ("proj_size", Json::from(stack.proj_size.unwrap_or(0))),
        },
        ("input_size", Json::from(stack.input_size)),
        ("hidden_size", Json::from(stack.hidden_size)),
        ("num_layers", Json::from(stack.num_layers)),
        ("bidirectional", Json::from(stack.direction == Direction::Both)),
        ("bias", Json::from(bias_json(stack.bias))),
    ];
    if matches!(stack.direction, Direction::Reverse | Direction::Backwards) {
        keys.push(("direction", word(&Direction::WORDS, &stack.direction)));
    }
    keys.extend(functions_json(stack));
    keys.extend(stack.clip.map(|clip| ("clip", Json::number(clip))));
    if stack.coupling != Coupling::Apart {
        keys.push(("input_forget", Json::from(true)));
    }
    if stack.peepholes != Peepholes::None {
        keys.push(("peepholes", Json::from(true)));
    }
    if stack.is_merged() {
        keys.push(("merge_mode", word(&Merge::WORDS, &stack.merge)));
    }
    if stack.padding != Padding::Zero {
        keys.push(("padding", word(&Padding::WORDS, &stack.padding)));
    }
    if stack.state_lifetime != StateLifetime::Call {
        keys.push(("stateful", Json::from(true)));
    }
    if stack.initial != Initial::Zero {
        keys.push(("initial_states", word(&Initial::WORDS, &stack.initial)));
    }
    let rates = [stack.dropout, stack.input_dropout, stack.recurrent_dropout];
    let dropped = DROPOUTS.into_iter().zip(rates).filter(|(_, rate)| rate.get() != 0.0);
    keys.extend(dropped.map(|(key, rate)| (key, Json::number(rate))));
    keys
}

/// Returns the functions that are not the cell's defaults. An RNN's first is written with the cell.
fn functions_json(stack: &Recurrent) -> Vec<(&'static str, Json)> {
    let cell = stack.cell;
    let list =
        |functions: Functions| Json::list(functions.each().into_iter().take(cell.function_count()), function_json);
    let [both, reverse] = stack.functions;
    let mut keys = Vec::new();
    if cell != Cell::Rnn && both != cell.functions() {
        keys.push((ACTIVATIONS[0], list(both)));
    }
    if stack.direction == Direction::Both && reverse != both {
        let own = if cell == Cell::Rnn { function_json(reverse.f) } else { list(reverse) };
        keys.push((reverse_key(cell), own));
    }
    keys
}
