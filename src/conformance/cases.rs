//! The table itself: single stacks by pairs of sizes and kinds, whole
//! models built one by one, and all other options in `options`.
//!
//! Whole engines have shipped wrong because their tests used one step, zero states and one direction. So every cell
//! is combined with every H around a tile's edge, over several steps from nonzero states. And **every two levels of
//! any two axes are combined in some case**. A full product would have a million rows; this has about a hundred.

mod across;
mod attention;
mod conv;
mod graphs;
mod norms;
mod options;

use std::collections::BTreeSet;

use super::{Case, InitialStates, MaskKind};
use crate::cell::{Activation, Cell, Functions, Reset};
use crate::model::{
    Axes, Bias, Direction, Dropout, Embedding, Gru, Linear, Lstm, Model, OneHot, Recurrent, Rnn, Select,
};
use crate::precision::Precision;

/// Every case, in a stable order.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = points().into_iter().map(stack_case).collect();
    cases.extend(whole_models());
    cases.extend(options::options());
    cases.extend(rows_of_layers());
    cases.extend(edges());
    cases.extend(graphs::graphs());
    cases.extend(norms::norms());
    cases.extend(across::across());
    cases.extend(attention::attention());
    cases.extend(conv::conv());
    cases.extend(across::padded());
    cases.push(options::root());
    for (seed, case) in (1..).zip(&mut cases) {
        case.seed = seed;
    }
    cases
}

// The axes of the table, with the levels of each from the cheapest on.
const CELLS: [(Cell, Functions, Projection); 6] = [
    (Cell::Rnn, Cell::Rnn.functions(), Projection::None),
    (Cell::Rnn, Functions { f: Activation::Relu, ..Functions::NONE }, Projection::None),
    (Cell::Gru(Reset::After), Cell::Gru(Reset::After).functions(), Projection::None),
    (Cell::Gru(Reset::Before), Cell::Gru(Reset::Before).functions(), Projection::None),
    (Cell::Lstm, Cell::Lstm.functions(), Projection::None),
    (Cell::Lstm, Cell::Lstm.functions(), Projection::ToTwoThirds),
];
const HIDDEN: [usize; 11] = [1, 15, 16, 17, 31, 32, 33, 64, 65, 130, 257];
const INPUT: [usize; 7] = [1, 3, 16, 17, 33, 65, 130];
const TIME: [usize; 4] = [1, 2, 7, 33];
const BATCH: [usize; 3] = [1, 3, 17];
const LAYERS: [usize; 3] = [1, 2, 3];
const DIRECTIONS: [Direction; 2] = [Direction::Forward, Direction::Both];
const BIAS: [Bias; 3] = [Bias::Two, Bias::One, Bias::None];
const PRECISION: &[Precision] = Precision::ALL;
const MASK: [MaskKind; 3] = [MaskKind::All, MaskKind::Lengths, MaskKind::Holes];
const STATES: [InitialStates; 2] = [InitialStates::Given, InitialStates::Zero];
const ORDER: [Axes; 2] = [Axes::BatchFirst, Axes::TimeMajor];

/// The number of levels of each axis, in the order of a [`Point`].
const LEVELS: [usize; 12] = [
    CELLS.len(),
    HIDDEN.len(),
    INPUT.len(),
    TIME.len(),
    BATCH.len(),
    LAYERS.len(),
    DIRECTIONS.len(),
    BIAS.len(),
    PRECISION.len(),
    MASK.len(),
    STATES.len(),
    ORDER.len(),
];
const CELL_AXIS: usize = 0;
const HIDDEN_AXIS: usize = 1;
const TIME_AXIS: usize = 3;
const STATES_AXIS: usize = 10;

/// The most multiplications of a case, so that a slow software GPU finishes the table in a minute.
const BUDGET: usize = 40_000_000;

/// Whether an LSTM's hidden state is projected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Projection {
    None,
    /// To two thirds of H, rounded up.
    ToTwoThirds,
}

/// A level for each axis.
type Point = [usize; LEVELS.len()];

/// A level for some axes.
type Partial = [Option<usize>; LEVELS.len()];

/// Two axes with a level each, the smaller axis first.
type Pair = ((usize, usize), (usize, usize));

/// Returns points that cover every allowed pair of levels, chosen greedily to be few.
fn points() -> Vec<Point> {
    let mut missing = pairs();
    let mut used: [Vec<usize>; LEVELS.len()] = LEVELS.map(|levels| vec![0; levels]);
    let mut points = Vec::new();
    let mut add = |start: Partial, several_steps: bool, missing: &mut BTreeSet<Pair>| {
        let point = complete(start, several_steps, missing, &used);
        missing.retain(|&((a, x), (b, y))| point[a] != x || point[b] != y);
        for (used, level) in used.iter_mut().zip(point) {
            used[level] += 1;
        }
        points.push(point);
    };
    for hidden in 0..HIDDEN.len() {
        for cell in 0..CELLS.len() {
            let mut start = Partial::default();
            start[CELL_AXIS] = Some(cell);
            start[HIDDEN_AXIS] = Some(hidden);
            start[STATES_AXIS] = Some(0);
            if allowed(&start) {
                add(start, true, &mut missing);
            }
        }
    }
    while let Some(&((a, x), (b, y))) = missing.first() {
        let mut start = Partial::default();
        start[a] = Some(x);
        start[b] = Some(y);
        add(start, false, &mut missing);
    }
    points
}

/// Returns every allowed pair of levels.
fn pairs() -> BTreeSet<Pair> {
    let levels =
        || LEVELS.into_iter().enumerate().flat_map(|(axis, levels)| (0..levels).map(move |level| (axis, level)));
    let pairs = levels().flat_map(|a| levels().filter(move |b| a.0 < b.0).map(move |b| (a, b)));
    let possible = |&((a, x), (b, y)): &Pair| {
        let mut partial = Partial::default();
        partial[a] = Some(x);
        partial[b] = Some(y);
        allowed(&partial)
    };
    pairs.filter(possible).collect()
}

/// Completes `start` with a level for every axis: the one that
/// covers most missing pairs, and among those the least used.
fn complete(start: Partial, several_steps: bool, missing: &BTreeSet<Pair>, used: &[Vec<usize>]) -> Point {
    let mut partial = start;
    for axis in 0..LEVELS.len() {
        if partial[axis].is_some() {
            continue;
        }
        let gain = |level: usize| {
            let chosen = partial.iter().enumerate().filter_map(|(other, level)| level.map(|level| (other, level)));
            chosen
                .filter(|&other| {
                    let one = (axis, level);
                    missing.contains(&(one.min(other), one.max(other)))
                })
                .count()
        };
        let fits = |&level: &usize| {
            let mut next = partial;
            next[axis] = Some(level);
            allowed(&next) && !(several_steps && axis == TIME_AXIS && TIME[level] == 1)
        };
        let best = (0..LEVELS[axis]).filter(fits).min_by_key(|&level| (usize::MAX - gain(level), used[axis][level]));
        partial[axis] = Some(best.expect("the cheapest level of an axis is always allowed"));
    }
    partial.map(|level| level.expect("every axis has its level"))
}

/// Whether the chosen levels can be combined, with all other axes at their cheapest.
fn allowed(partial: &Partial) -> bool {
    let cheapest = partial.map(|level| level.unwrap_or(0));
    let impossible =
        CELLS[cheapest[CELL_AXIS]].2 == Projection::ToTwoThirds && partial[HIDDEN_AXIS].is_some_and(|h| HIDDEN[h] == 1);
    !impossible && cost(&cheapest) <= BUDGET
}

/// Returns the number of multiplications of a point.
fn cost(point: &Point) -> usize {
    let [cell, hidden, input, time, batch, layers, directions, ..] = *point;
    let directions = directions + 1;
    let width = INPUT[input].max(directions * HIDDEN[hidden]) + HIDDEN[hidden];
    TIME[time] * BATCH[batch] * LAYERS[layers] * directions * CELLS[cell].0.gates() * HIDDEN[hidden] * width
}

/// Returns the case of a point: one stack of recurrent layers.
fn stack_case(point: Point) -> Case {
    let [cell, hidden, input, time, batch, layers, directions, bias, precision, mask, states, order] = point;
    let (cell, functions, projection) = CELLS[cell];
    let stack = Recurrent {
        cell,
        input_size: INPUT[input],
        hidden_size: HIDDEN[hidden],
        num_layers: LAYERS[layers],
        direction: DIRECTIONS[directions],
        bias: BIAS[bias],
        proj_size: (projection == Projection::ToTwoThirds).then(|| (2 * HIDDEN[hidden]).div_ceil(3)),
        ..Recurrent::new(cell, INPUT[input], HIDDEN[hidden]).functions(functions)
    };
    let (time, batch, precision, mask, states) =
        (TIME[time], BATCH[batch], PRECISION[precision], MASK[mask], STATES[states]);
    let mut words = vec![cell.to_string()];
    words.extend((functions != cell.functions()).then(|| functions.f.to_string()));
    words.extend(stack.proj_size.map(|p| format!("projected to {p}")));
    words.push(format!("I={} H={} L={}", stack.input_size, stack.hidden_size, stack.num_layers));
    words.push(format!("T={time} B={batch}"));
    words.push(match stack.direction {
        Direction::Forward => "forward".to_owned(),
        Direction::Both => "both ways".to_owned(),
        Direction::Reverse => "reverse".to_owned(),
        Direction::Backwards => "backwards".to_owned(),
    });
    words.push(match stack.bias {
        Bias::None => "no bias".to_owned(),
        Bias::One => "one bias".to_owned(),
        Bias::Two => "two biases".to_owned(),
    });
    words.extend((precision != Precision::F32).then(|| precision.name().to_owned()));
    words.extend(match mask {
        MaskKind::All | MaskKind::Own => None,
        MaskKind::Lengths => Some("lengths".to_owned()),
        MaskKind::Holes => Some("holes".to_owned()),
    });
    words.extend((states == InitialStates::Given).then(|| "from states".to_owned()));
    let model = Model::new().layer(stack).axes(ORDER[order]);
    Case { name: words.join(" "), model, time, batch, precision, mask, states, seed: 0 }
}

/// Returns a case of a whole model in f32, with all steps live and zero states.
fn whole(name: impl Into<String>, model: Model, time: usize, batch: usize) -> Case {
    let (precision, mask, states) = (Precision::F32, MaskKind::All, InitialStates::Zero);
    Case { name: name.into(), model, time, batch, precision, mask, states, seed: 0 }
}

impl Case {
    fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    fn mask(self, mask: MaskKind) -> Self {
        Self { mask, ..self }
    }

    fn batch(self, batch: usize) -> Self {
        Self { batch, ..self }
    }

    fn states(self, states: InitialStates) -> Self {
        Self { states, ..self }
    }
}

/// Models as users build them, with transitions between layers that a single stack does not have.
fn whole_models() -> Vec<Case> {
    let mut cases = language_models();
    cases.extend(one_hot_models());
    cases.extend(classifiers());
    cases.extend(joints());
    for activation in [
        Activation::Linear,
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Relu,
        Activation::Softmax,
        Activation::LogSoftmax,
    ] {
        let name = activation.name();
        let head = Model::new()
            .layer(Lstm::new(5, 17))
            .layer(Select::LastStep)
            .layer(Linear::new(17, 19).activation(activation));
        cases.push(whole(format!("linear with {name} after the last step"), head, 7, 3));
        let over_time =
            Model::new().layer(Gru::new(5, 17).bidirectional()).layer(Linear::new(34, 33).activation(activation));
        cases.push(
            whole(format!("linear with {name} over time after both ways"), over_time, 7, 3).precision(Precision::F16),
        );
        let alone = Model::new().layer(Rnn::new(5, 17).bidirectional()).layer(activation);
        cases.push(whole(format!("{name} by itself over both ways"), alone, 7, 3).mask(MaskKind::Lengths));
    }
    cases
}

/// Models that take characters and give the probabilities of the next one.
fn language_models() -> Vec<Case> {
    let small = || {
        Model::new()
            .layer(Embedding::new(65, 20))
            .layer(Lstm::new(20, 48).num_layers(2))
            .layer(Select::AllSteps)
            .layer(Linear::new(48, 65).activation(Activation::Softmax))
    };
    let wide = |activation| {
        Model::new()
            .layer(Embedding::new(1000, 33))
            .layer(Gru::new(33, 40))
            .layer(Linear::new(40, 1000).activation(activation))
    };
    vec![
        whole("characters: embedding, lstm, softmax", small(), 33, 3).states(InitialStates::Given),
        whole("characters: embedding, lstm, softmax, f16", small(), 7, 1).precision(Precision::F16),
        whole("characters: time-major with holes", small().axes(Axes::TimeMajor), 7, 3).mask(MaskKind::Holes),
        whole("vocabulary of 1000: softmax", wide(Activation::Softmax), 7, 3),
        whole("vocabulary of 1000: log_softmax, f16", wide(Activation::LogSoftmax), 7, 3).precision(Precision::F16),
        whole("vocabulary of 1000: one step of one row", wide(Activation::LogSoftmax), 1, 1),
    ]
}

/// Models with one-hot tokens directly before a cell: the product becomes a table.
fn one_hot_models() -> Vec<Case> {
    let mut cases = Vec::new();
    for cell in Cell::ALL {
        let forward = Model::new().layer(OneHot::new(40)).layer(Recurrent::new(cell, 40, 33)).layer(Select::LastStep);
        cases.push(
            whole(format!("one-hot into {cell}, int8"), forward, 7, 3)
                .states(InitialStates::Given)
                .precision(Precision::I8),
        );
        let both =
            Model::new().layer(OneHot::new(19)).layer(Recurrent::new(cell, 19, 17).num_layers(2).bidirectional());
        cases.push(
            whole(format!("one-hot into {cell} both ways, f16"), both, 7, 3)
                .mask(MaskKind::Lengths)
                .precision(Precision::F16),
        );
    }
    let plain = Model::new().layer(OneHot::new(1000)).layer(Lstm::new(1000, 16).bias(Bias::None));
    cases.push(whole("one-hot of 1000 into lstm without bias", plain, 7, 3));
    let dense = Model::new().layer(OneHot::new(21)).layer(Linear::new(21, 18)).layer(Rnn::new(18, 17));
    cases.push(whole("one-hot into linear into rnn, int8", dense, 7, 3).precision(Precision::I8));
    cases
}

/// Models that take sequences and give a class for each row or each step.
fn classifiers() -> Vec<Case> {
    let sentences = |stack: Recurrent, select| {
        let features = stack.output().len();
        Model::new()
            .layer(Embedding::new(50, 12))
            .layer(stack)
            .layer(select)
            .layer(Linear::new(features, 4).activation(Activation::Softmax))
    };
    let tagger = || {
        Model::new()
            .layer(Embedding::new(80, 10))
            .layer(Gru::new(10, 14).num_layers(2).bidirectional())
            .layer(Linear::new(28, 7).activation(Activation::LogSoftmax))
    };
    let bilstm = || Lstm::new(12, 16).bidirectional();
    let projected = || Lstm::new(12, 20).num_layers(2).bidirectional().proj_size(7);
    vec![
        whole("classifier: final hidden of both ways, lengths", sentences(bilstm(), Select::FinalHidden), 11, 5)
            .mask(MaskKind::Lengths),
        whole("classifier: final hidden of a projection, holes", sentences(projected(), Select::FinalHidden), 11, 5)
            .mask(MaskKind::Holes)
            .states(InitialStates::Given),
        whole("classifier: last step, which may be dead", sentences(bilstm(), Select::LastStep), 11, 5)
            .mask(MaskKind::Lengths),
        whole("classifier: rnn, last step, f16", sentences(Rnn::new(12, 8), Select::LastStep), 25, 3)
            .precision(Precision::F16),
        whole("tagger: lengths", tagger(), 9, 4).mask(MaskKind::Lengths),
        whole("tagger: holes, f16, from states", tagger(), 9, 4)
            .mask(MaskKind::Holes)
            .precision(Precision::F16)
            .states(InitialStates::Given),
    ]
}

/// Models with special transitions between layers.
fn joints() -> Vec<Case> {
    let two_stacks = Model::new().layer(Gru::new(5, 17).bidirectional()).layer(Lstm::new(34, 18));
    let through_linear = Model::new()
        .layer(Lstm::new(5, 17).bidirectional().proj_size(9))
        .layer(Linear::new(18, 21).activation(Activation::Relu))
        .layer(Rnn::new(21, 16).num_layers(2))
        .layer(Select::FinalHidden);
    let final_past_linear = Model::new()
        .layer(Gru::new(5, 17))
        .layer(Linear::new(17, 6))
        .layer(Select::FinalHidden)
        .layer(Activation::Tanh);
    let linear_first = Model::new()
        .layer(Linear::new(5, 33).activation(Activation::Tanh))
        .layer(Activation::Softmax)
        .layer(Gru::new(33, 17).cell(Cell::Gru(Reset::Before)));
    let dense = Model::new()
        .layer(Linear::new(5, 33).activation(Activation::Sigmoid))
        .layer(Linear::new(33, 2).no_bias())
        .layer(Select::LastStep);
    vec![
        whole("two stacks from states", two_stacks, 7, 3).mask(MaskKind::Lengths).states(InitialStates::Given),
        whole("two stacks through a linear, int8", through_linear, 7, 3)
            .precision(Precision::I8)
            .states(InitialStates::Given),
        whole("final hidden past a linear", final_past_linear, 7, 3).mask(MaskKind::Lengths),
        whole("linear and softmax before gru", linear_first, 7, 3).mask(MaskKind::Holes),
        whole("no recurrent layer at all", dense, 7, 3),
    ]
}

/// Models with consecutive recurrent layers of the same shape.
fn rows_of_layers() -> Vec<Case> {
    let tokens = Model::new()
        .layer(Embedding::new(40, 9))
        .layer(Dropout::new(0.2))
        .layer(Lstm::new(9, 17))
        .layer(Dropout::new(0.2))
        .layer(Lstm::new(17, 17).num_layers(2))
        .layer(Linear::new(17, 5));
    let characters =
        Model::new().layer(Embedding::new(65, 20)).layer(Lstm::new(20, 48).num_layers(2)).layer(Linear::new(48, 65));
    let integers = Model::new()
        .layer(Gru::new(5, 33).bias(Bias::One))
        .layer(Gru::new(33, 33))
        .layer(Gru::new(33, 33).bias(Bias::None))
        .layer(Select::FinalHidden);
    vec![
        whole("lstms in a row on an embedding", tokens, 9, 5).mask(MaskKind::Holes).states(InitialStates::Given),
        whole("grus in a row, int8", integers, 7, 3)
            .precision(Precision::I8)
            .mask(MaskKind::Lengths)
            .states(InitialStates::Given),
        whole("characters: embedding, lstms, linear, int8", characters, 7, 1).precision(Precision::I8),
    ]
}

/// Stacks with sizes around a panel's edge and many options,
/// so that every strategy is tested with all of them together.
fn edges() -> Vec<Case> {
    let case = |cell, units| {
        let stack = Recurrent::new(cell, 5, units).num_layers(2);
        whole(format!("two layers of {cell} at an edge: {units} units"), Model::new().layer(stack), 7, 3)
            .mask(MaskKind::Holes)
            .states(InitialStates::Given)
    };
    let cells = [Cell::Lstm, Cell::Gru(Reset::After)];
    cells.into_iter().flat_map(|cell| [17, 32, 33].map(|units| case(cell, units))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    #[test]
    fn every_two_levels_of_any_two_axes_meet() {
        let points = points();
        let pairs = pairs();
        assert_eq!((points.len(), pairs.len()), (82, 1060));
        for pair @ ((a, x), (b, y)) in pairs {
            assert!(points.iter().any(|point| point[a] == x && point[b] == y), "{pair:?}");
        }
    }

    #[test]
    fn every_cell_meets_every_size_over_several_steps_from_states() {
        let mut met: BTreeMap<(String, bool), HashSet<usize>> = BTreeMap::new();
        let plain = points().into_iter().map(stack_case);
        for case in plain.filter(|case| case.time > 1 && case.states == InitialStates::Given) {
            for stack in case.model.stacks() {
                let cell = (format!("{} {}", stack.cell, stack.functions[0].f), stack.proj_size.is_some());
                met.entry(cell).or_default().insert(stack.hidden_size);
            }
        }
        assert_eq!(met.len(), CELLS.len());
        for ((cell, projected), sizes) in met {
            let wanted = HIDDEN.into_iter().filter(|&hidden| hidden > 1 || !projected);
            let missing: Vec<usize> = wanted.filter(|hidden| !sizes.contains(hidden)).collect();
            assert!(missing.is_empty(), "{cell}, projected {projected}: {missing:?}");
        }
    }

    #[test]
    fn every_case_has_a_name_of_its_own_and_a_sound_model() {
        let cases = cases();
        assert_eq!(cases.len(), 371);
        let names: HashSet<_> = cases.iter().map(|case| &case.name).collect();
        assert_eq!(names.len(), cases.len());
        for case in &cases {
            case.model.check().unwrap_or_else(|error| panic!("{}: {error}", case.name));
        }
    }
}
