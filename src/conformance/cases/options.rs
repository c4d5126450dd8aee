//! The table's cases of every option that changes the numbers of a stack: functions,
//! clip, coupled gates, peepholes, directions, merges, padding, and layers that mask.
//!
//! Small models, each with something that a plain stack does not have. Sizes cross a
//! tile's edge, states are not zero, masks have holes. The name says what differs.

use super::whole;
use crate::cell::{Activation, Cell, Constant, Functions, Reset};
use crate::conformance::{Case, InitialStates, MaskKind};
use crate::model::{
    Axes, Bias, Direction, Dropout, Embedding, Gru, Linear, Lstm, Masking, Merge, Model, OneHot, Padding, Recurrent,
    Rnn, Select,
};
use crate::precision::Precision;

/// Every case of an option, in a stable order.
pub(super) fn options() -> Vec<Case> {
    let mut cases = functions();
    cases.extend(clips());
    cases.extend(lstms());
    cases.extend(directions());
    cases.extend(merges());
    cases.extend(paddings());
    cases.extend(last_outputs());
    cases.extend(own_masks());
    cases
}

/// Returns the case of a single stack, over five steps of three rows from states, with holes.
fn stack(name: impl Into<String>, stack: Recurrent) -> Case {
    model(name, Model::new().layer(stack))
}

/// Returns the case of a model over five steps of three rows from states, with holes.
fn model(name: impl Into<String>, model: Model) -> Case {
    whole(name, model, 5, 3).mask(MaskKind::Holes).states(InitialStates::Given)
}

/// Returns the functions of `cell` with `function` at index `place`, modulo their number.
fn replaced(cell: Cell, place: usize, function: Activation) -> Functions {
    let mut functions = cell.functions();
    match place % cell.function_count() {
        0 => functions.f = function,
        1 => functions.g = function,
        _ => functions.h = function,
    }
    functions
}

/// Each function with unusual constants: in a cell, at another index for each
/// direction; by itself; and after a linear layer. The cells take turns.
fn functions() -> Vec<Case> {
    let case = |(index, function): (usize, Activation)| {
        let (cell, place) = (Cell::ALL[index % Cell::ALL.len()], index / Cell::ALL.len());
        let other: Vec<Constant> = function.constants().iter().map(|(_, c)| (0.5 * c.get() + 0.05).into()).collect();
        let inside = function.with_constants(&other);
        let ways = Recurrent {
            functions: [replaced(cell, place, inside), replaced(cell, place + 1, inside)],
            ..Recurrent::new(cell, 5, 17).bidirectional()
        };
        // Exponentials of exponentials overflow.
        let (bound, stacks) = match function {
            Activation::Exponential => (" clip", Model::new().layer(ways.clip(0.25)).layer(Activation::Tanh)),
            _ => ("", Model::new().layer(ways)),
        };
        let layers = stacks.layer(inside).layer(Linear::new(34, 18).activation(inside));
        model(format!("{inside} in {cell}{bound} both ways, by itself, after a linear"), layers)
    };
    let functions = Activation::ALL.into_iter().filter(|function| function.is_elementwise() && function.is_total());
    functions.enumerate().map(case).collect()
}

/// The function that has no value below 0, of what an exponential gives.
pub(super) fn root() -> Case {
    let layers = Model::new().layer(Gru::new(5, 17)).layer(Linear::new(17, 18).activation(Activation::Exponential));
    model("the root of what an exponential gives", layers.layer(Activation::Sqrt).layer(Linear::new(18, 3)))
}

/// Clips that take effect: most sums of gates are larger.
fn clips() -> Vec<Case> {
    let gru = |reset| Gru::new(5, 17).cell(Cell::Gru(reset));
    vec![
        stack("rnn clip", Rnn::new(5, 33).clip(0.75)),
        stack("rnn relu clip both ways, f16", Rnn::new(5, 17).nonlinearity(Activation::Relu).clip(1.0).bidirectional())
            .precision(Precision::F16),
        stack("gru clip both ways", gru(Reset::After).clip(0.5).bidirectional()),
        stack("gru reset before clip L=2", gru(Reset::Before).clip(0.5).num_layers(2)),
        stack("lstm clip H=33", Lstm::new(5, 33).clip(0.5)),
        stack("lstm clip projected to 9, f16", Lstm::new(5, 17).clip(0.5).proj_size(9)).precision(Precision::F16),
    ]
}

/// Coupled gates and peepholes, and their combinations in a step.
fn lstms() -> Vec<Case> {
    let lstm = || Lstm::new(5, 17);
    let hard = Activation::HardSigmoid { alpha: Constant::new(1.0 / 6.0), beta: Constant::new(0.5) };
    let one_hot = |options: Recurrent| Model::new().layer(OneHot::new(19)).layer(options);
    vec![
        stack("lstm coupled H=33", Lstm::new(5, 33).coupled()),
        stack("lstm coupled both ways L=2, f16", lstm().coupled().bidirectional().num_layers(2))
            .precision(Precision::F16),
        stack("lstm coupled projected to 9, one bias", lstm().coupled().proj_size(9).bias(Bias::One)),
        stack("lstm peepholes H=16", Lstm::new(5, 16).peepholes()),
        stack("lstm peepholes H=33 L=2", Lstm::new(5, 33).peepholes().num_layers(2)),
        stack("lstm peepholes H=1", Lstm::new(3, 1).peepholes()),
        stack("lstm peepholes both ways, no bias", lstm().peepholes().bidirectional().bias(Bias::None)),
        stack("lstm peepholes projected to 9", lstm().peepholes().proj_size(9)),
        stack("lstm peepholes projected to 11 both ways L=2, int8", {
            lstm().peepholes().proj_size(11).bidirectional().num_layers(2)
        })
        .precision(Precision::I8),
        whole("lstm peepholes H=130 B=17", Model::new().layer(Lstm::new(9, 130).peepholes()), 7, 17)
            .states(InitialStates::Given),
        whole("lstm peepholes H=32 T=33, int8", Model::new().layer(Lstm::new(5, 32).peepholes()), 33, 2)
            .precision(Precision::I8)
            .states(InitialStates::Given),
        model("one-hot into lstm peepholes", one_hot(Lstm::new(19, 17).peepholes())),
        stack("lstm coupled peepholes", lstm().coupled().peepholes()),
        stack("lstm coupled peepholes clip hard_sigmoid reverse projected to 9", {
            let functions = Functions { f: hard, ..Cell::Lstm.functions() };
            lstm().coupled().peepholes().clip(0.75).functions(functions).direction(Direction::Reverse).proj_size(9)
        }),
    ]
}

/// Reverse and backwards: each cell, each kind of first layer, and the layers after it.
fn directions() -> Vec<Case> {
    let mut cases = Vec::new();
    for (cell, hidden) in Cell::ALL.into_iter().zip([17, 33, 16, 31]) {
        let one = |direction| Recurrent::new(cell, 5, hidden).num_layers(2).direction(direction);
        cases.push(stack(format!("{cell} reverse L=2"), one(Direction::Reverse)));
        cases.push(stack(format!("{cell} backwards L=2, lengths"), one(Direction::Backwards)).mask(MaskKind::Lengths));
    }
    let lstm = |direction| Lstm::new(12, 17).direction(direction);
    let tokens = |direction, select| Model::new().layer(Embedding::new(30, 12)).layer(lstm(direction)).layer(select);
    let one_hot = Model::new().layer(OneHot::new(12)).layer(lstm(Direction::Backwards).proj_size(9));
    let twice = Model::new().layer(lstm(Direction::Backwards)).layer(Gru::new(17, 18).direction(Direction::Backwards));
    cases.extend([
        model("one-hot into lstm backwards projected to 9, f16", one_hot).precision(Precision::F16),
        model("lstm backwards into gru backwards", twice),
        model("lstm reverse, last step", tokens(Direction::Reverse, Select::LastStep)).mask(MaskKind::All),
        model("lstm backwards, last step", tokens(Direction::Backwards, Select::LastStep)).mask(MaskKind::Lengths),
        model("lstm reverse, final hidden", tokens(Direction::Reverse, Select::FinalHidden)),
        model("lstm backwards, final hidden", tokens(Direction::Backwards, Select::FinalHidden)),
    ]);
    cases
}

/// All merges of two directions.
fn merges() -> Vec<Case> {
    let both = |merge| Gru::new(5, 17).bidirectional().merge(merge);
    let mut cases = Vec::new();
    for (merge, word) in [(Merge::Sum, "sum"), (Merge::Average, "average"), (Merge::Product, "product")] {
        cases.push(stack(format!("gru merged by {word}"), both(merge)));
        cases.push(stack(format!("gru merged by {word} L=3, held, f16"), {
            both(merge).num_layers(3).padding(Padding::Held)
        }));
    }
    for case in cases.iter_mut().filter(|case| case.name.ends_with("f16")) {
        case.precision = Precision::F16;
    }
    let tagger = Model::new()
        .layer(Embedding::new(30, 12))
        .layer(Lstm::new(12, 20).proj_size(17).bidirectional().merge(Merge::Sum))
        .layer(Linear::new(17, 7).activation(Activation::LogSoftmax));
    let hidden = Model::new().layer(both(Merge::Average)).layer(Select::FinalHidden);
    let two = Model::new().layer(both(Merge::Product)).layer(Rnn::new(17, 33).bidirectional().merge(Merge::Average));
    cases.extend([
        model("projection merged by sum into a linear", tagger).mask(MaskKind::Lengths),
        model("merged by average, final hidden of both ways", hidden),
        model("merged by product into rnn merged by average", two).mask(MaskKind::All),
    ]);
    cases
}

/// Dead steps that repeat the output before them.
fn paddings() -> Vec<Case> {
    let held = |stack: Recurrent| stack.padding(Padding::Held);
    let joined = Model::new()
        .layer(held(Lstm::new(5, 17).bidirectional()))
        .layer(Linear::new(34, 18).activation(Activation::Tanh))
        .layer(held(Gru::new(18, 16).direction(Direction::Reverse)));
    vec![
        stack("rnn held", held(Rnn::new(5, 33))),
        stack("gru held reverse", held(Gru::new(5, 17).direction(Direction::Reverse))),
        stack("gru reset before held backwards L=2", {
            held(Gru::new(5, 17).cell(Cell::Gru(Reset::Before)).direction(Direction::Backwards).num_layers(2))
        }),
        stack("lstm held both ways, lengths", held(Lstm::new(5, 17).bidirectional())).mask(MaskKind::Lengths),
        stack(
            "lstm held projected to 9 both ways L=2",
            held(Lstm::new(5, 17).proj_size(9).bidirectional().num_layers(2)),
        ),
        stack("lstm held H=32 from zero, f16", held(Lstm::new(5, 32)))
            .states(InitialStates::Zero)
            .precision(Precision::F16),
        model("held through a linear into held reverse", joined),
        model("held, last step", Model::new().layer(held(Gru::new(5, 17))).layer(Select::LastStep))
            .mask(MaskKind::Lengths),
    ]
}

/// The output that is computed last.
fn last_outputs() -> Vec<Case> {
    let last = |stack: Recurrent| Model::new().layer(stack).layer(Select::LastOutput);
    let lstm = || Lstm::new(5, 17);
    let past_linear = Model::new().layer(lstm().bidirectional()).layer(Linear::new(34, 6)).layer(Select::LastOutput);
    let classifier = Model::new()
        .layer(Embedding::new(30, 12))
        .layer(Gru::new(12, 20).bidirectional().merge(Merge::Product).padding(Padding::Held))
        .layer(Select::LastOutput)
        .layer(Linear::new(20, 4).activation(Activation::Softmax));
    vec![
        model("last output of lstm, which may be dead", last(lstm())),
        model("last output of lstm held, lengths", last(lstm().padding(Padding::Held))).mask(MaskKind::Lengths),
        model("last output of gru reverse", last(Gru::new(5, 33).direction(Direction::Reverse))),
        model("last output of rnn held reverse L=2", {
            last(Rnn::new(5, 17).direction(Direction::Reverse).padding(Padding::Held).num_layers(2))
        })
        .batch(6),
        model("last output of lstm held backwards, f16", {
            last(lstm().direction(Direction::Backwards).padding(Padding::Held))
        })
        .precision(Precision::F16),
        model("last output of lstm both ways, time-major", last(lstm().bidirectional()).axes(Axes::TimeMajor)),
        model("last output of lstm merged by sum L=2, held", {
            last(lstm().bidirectional().merge(Merge::Sum).num_layers(2).padding(Padding::Held))
        }),
        model("last output of both ways past a linear", past_linear).mask(MaskKind::All),
        model("classifier: last output merged by product, held", classifier).mask(MaskKind::Lengths),
    ]
}

/// Models that mask by their input, and layers that change no number.
fn own_masks() -> Vec<Case> {
    let embedding = || Model::new().layer(Embedding::new(30, 12).mask_token(0));
    let masking = |value| Model::new().layer(Masking::new(5, value));
    let held = |stack: Recurrent| stack.padding(Padding::Held);
    let classifier = embedding()
        .layer(Dropout::new(0.5))
        .layer(held(Lstm::new(12, 17)))
        .layer(Select::LastOutput)
        .layer(Dropout::new(0.25))
        .layer(Linear::new(17, 4).activation(Activation::Sigmoid));
    let tagger = embedding()
        .layer(held(Gru::new(12, 17).bidirectional()))
        .layer(Linear::new(34, 7).activation(Activation::Softmax));
    let other_token = Model::new()
        .layer(Embedding::new(30, 12).mask_token(29))
        .layer(Linear::new(12, 16).activation(Activation::Tanh))
        .layer(Rnn::new(16, 17).direction(Direction::Reverse));
    let first_linear = masking(-1.0).layer(Linear::new(5, 16)).layer(Gru::new(16, 17)).layer(Select::LastStep);
    vec![
        model("mask_token: classifier by the last output, dropout", classifier).mask(MaskKind::Own).batch(6),
        model("mask_token: tagger of held outputs, lengths as well", tagger).mask(MaskKind::Lengths),
        model("mask_token 29 through a linear into rnn reverse", other_token).mask(MaskKind::Own),
        model("mask_token and holes into lstm", embedding().layer(Lstm::new(12, 33))).batch(6),
        model("masking 0 into lstm both ways", masking(0.0).layer(Lstm::new(5, 17).bidirectional()))
            .mask(MaskKind::Own),
        model("masking -1 and lengths into gru held", masking(-1.0).layer(held(Gru::new(5, 33))))
            .mask(MaskKind::Lengths),
        model("masking -1 into a linear into gru, last step", first_linear).mask(MaskKind::Own),
        model("masking 0 that takes nothing out", masking(0.0).layer(Rnn::new(5, 16))).mask(MaskKind::All),
    ]
}
