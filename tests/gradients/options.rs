//! Each layer, each option and each loss by itself: slopes are compared
//! with the gradients of all of them, whatever random models are drawn.

use std::collections::{BTreeMap, BTreeSet};

use gatewave::conformance::{Case, InitialStates, MaskKind};
use gatewave::interface::{Axes, Value};
use gatewave::layer::{
    Attention, BatchNorm, Bias, Cell, Conv1d, ConvPadding, Direction, Dropout, Flatten, Functions, GlobalPool, Initial,
    Join, L2Norm, LayerKind, LayerNorm, Masking, Merge, PRelu, PadMode, PadSteps, Padding, Permute, PoolPadding,
    Recurrent, Reduce, Repeat, Reset, Reshape, RmsNorm, Slice, SliceSteps, WindowPool,
};
use gatewave::oracle::{Along, differences};
use gatewave::train::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Activation, Embedding, Error, Linear, Lstm, Model, OneHot, Precision, Select, Weights};
use ndarray::{ArrayD, IxDyn};

use crate::{TOLERANCE, slopes};

const TIME: usize = 6;
const BATCH: usize = 3;
const INPUT: usize = 3;
const HIDDEN: usize = 4;

const CELLS: [Cell; 4] = [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)];

fn case(model: Model, mask: MaskKind, states: InitialStates) -> Case {
    let name = model.summary().to_string();
    Case { name, model, time: TIME, batch: BATCH, precision: Precision::F32, mask, states, seed: 5 }
}

fn weights(model: &Model, scale: f32) -> Result<Weights, Error> {
    let drawn = Weights::random(model, 5)?.to_tensors(model)?;
    let mut scaled = Tensors::new();
    for name in drawn.names() {
        let tensor = drawn.get(name).expect("a tensor of this name");
        let data: Vec<f32> = tensor.read()?.iter().map(|w| scale * w).collect();
        scaled.insert(name.to_owned(), Tensor::new(tensor.shape().to_vec(), data));
    }
    Weights::from_tensors(model, scaled)
}

/// Compares the slopes of a model along each of its tensors, inputs and states,
/// and returns their number. Rows are whole, end early, and have holes. Each slope
/// moves the loss in some case. Weights are `scale` times as large as PyTorch's.
fn compared(model: &Model, scale: f32) -> usize {
    let weights = weights(model, scale).unwrap_or_else(|error| panic!("{error}\n{}", model.summary()));
    let learns = model.stacks().any(|stack| stack.initial == Initial::Learned);
    let given = if learns { InitialStates::Zero } else { InitialStates::Given };
    let mut count = 0;
    let mut most: BTreeMap<String, f64> = BTreeMap::new();
    for (mask, states) in [(MaskKind::All, given), (MaskKind::Lengths, InitialStates::Zero), (MaskKind::Holes, given)] {
        let case = case(model.clone(), mask, states);
        let all = slopes(&case, &weights, Along::Each);
        for one in all.unwrap_or_else(|error| panic!("{error}: {mask:?}\n{}", case.name)) {
            assert!(one.corner || one.error < TOLERANCE, "{one:?}: {mask:?}\n{}", case.name);
            count += usize::from(!one.corner);
            let most = most.entry(one.name).or_default();
            *most = most.max(one.slope.abs());
        }
    }
    let still: Vec<_> = most.iter().filter(|(_, slope)| **slope < 1e-9).collect();
    assert!(still.is_empty(), "{still:?}\n{}", model.summary());
    count
}

/// Stacks of `cell`, each with one departure from the plain one.
fn stacks(cell: Cell) -> Vec<Recurrent> {
    let plain = || Recurrent::new(cell, INPUT, HIDDEN);
    let mut all = vec![plain(), plain().num_layers(3), plain().clip(0.4), plain().learned_states()];
    all.extend([Direction::Reverse, Direction::Backwards, Direction::Both].map(|d| plain().num_layers(2).direction(d)));
    all.extend([Bias::None, Bias::One, Bias::Two].map(|bias| plain().bias(bias)));
    all.extend([Merge::Sum, Merge::Average, Merge::Product].map(|merge| plain().bidirectional().merge(merge)));
    all.extend([plain().padding(Padding::Held), plain().bidirectional().padding(Padding::Held)]);
    all.extend([plain().num_layers(2).dropout(0.5), plain().input_dropout(0.4)]);
    if cell == Cell::Lstm {
        all.extend([plain().peepholes(), plain().peepholes().clip(0.4), plain().coupled()]);
        all.extend([plain().peepholes().coupled(), plain().proj_size(2), plain().proj_size(2).peepholes()]);
        all.push(plain().proj_size(3).num_layers(2).bidirectional().learned_states());
    }
    all
}

/// The functions of `cell` with `f` at each index in turn.
fn functions(cell: Cell, f: Activation) -> Vec<Functions> {
    let own = cell.functions();
    let mut all = vec![Functions { f, ..own }];
    if cell != Cell::Rnn {
        all.push(Functions { g: f, ..own });
    }
    if cell == Cell::Lstm {
        all.push(Functions { h: f, ..own });
    }
    all
}

#[test]
fn slopes_of_every_option_of_a_stack_are_those_of_the_gradients() {
    for cell in CELLS {
        for stack in stacks(cell) {
            // Weights of both products, both biases, and states, three times.
            assert!(compared(&Model::new().layer(stack.clone()), 1.0) >= 9, "{stack:?}");
        }
    }
}

/// Returns the function with its threshold near zero, since sums of small weights are small.
fn near_zero(f: Activation) -> Activation {
    let alpha = 0.03.into();
    match f {
        Activation::ThresholdedRelu { .. } => Activation::ThresholdedRelu { alpha },
        Activation::HardShrink { .. } => Activation::HardShrink { alpha },
        Activation::SoftShrink { .. } => Activation::SoftShrink { alpha },
        f => f,
    }
}

#[test]
fn slopes_of_every_function_in_every_place_are_those_of_the_gradients() {
    for cell in CELLS {
        for f in Activation::ALL.into_iter().filter(|f| f.is_elementwise() && f.is_total()) {
            for functions in functions(cell, near_zero(f)) {
                let stack = Recurrent::new(cell, INPUT, HIDDEN).functions(functions);
                // Unbounded functions would let the states grow with each step.
                assert!(compared(&Model::new().layer(stack), 0.25) >= 9, "{cell} {functions:?}");
            }
        }
    }
}

/// A model with `layer` between a stack and a linear layer.
fn between(layer: impl Into<LayerKind>, size: usize) -> Model {
    Model::new().layer(Lstm::new(INPUT, HIDDEN)).layer(layer).layer(Linear::new(size, 2))
}

/// Models of every layer but stacks, with every option of each layer.
fn layers() -> Vec<Model> {
    let stack = |model: Model| model.layer(Lstm::new(INPUT, HIDDEN));
    let mut all = vec![between(Linear::new(HIDDEN, 3).no_bias(), 3)];
    all.push(stack(Model::new().layer(Embedding::new(5, INPUT))));
    all.push(stack(Model::new().layer(Embedding::new(5, INPUT).mask_token(2))));
    all.push(stack(Model::new().layer(Embedding::new(5, INPUT).padding_idx(1))));
    all.push(stack(Model::new().layer(OneHot::new(INPUT))));
    all.push(stack(Model::new().layer(Masking::new(INPUT, 0.55))));
    all.extend(
        [Select::LastStep, Select::AllSteps, Select::FinalHidden, Select::LastOutput].map(|s| between(s, HIDDEN)),
    );
    all.extend([Dropout::new(0.4), Dropout::new(0.4).features()].map(|dropout| between(dropout, HIDDEN)));
    all.push(between(Slice::features(1, 2), 2));
    for (scale, bias) in [(true, true), (true, false), (false, true), (false, false)] {
        all.push(between(LayerNorm::new(HIDDEN).eps(0.1).scale(scale).bias(bias), HIDDEN));
        all.push(between(BatchNorm::new(HIDDEN).scale(scale).bias(bias).frozen(), HIDDEN));
    }
    all.extend([true, false].map(|scale| between(RmsNorm::new(HIDDEN).eps(0.1).scale(scale), HIDDEN)));
    all.extend([1e-12, 10.0].map(|eps| between(L2Norm::new(HIDDEN).eps(eps), HIDDEN)));
    all.extend([PRelu::new(HIDDEN), PRelu::new(HIDDEN).shared()].map(|slopes| between(slopes, HIDDEN)));
    let all_reduced = [Reduce::Max, Reduce::Mean, Reduce::Min, Reduce::Sum].map(GlobalPool::new);
    all.extend(all_reduced.into_iter().flat_map(|pool| [pool, pool.all_steps()]).map(|pool| between(pool, HIDDEN)));
    all.push(between(Flatten::new(TIME), TIME * HIDDEN));
    all.push(between(Reshape::new(HIDDEN, TIME), TIME));
    all.push(between(Permute::new(TIME, HIDDEN), TIME));
    let last = || Model::new().layer(Lstm::new(INPUT, HIDDEN)).layer(Select::FinalHidden);
    all.push(last().layer(Repeat::new(5)).layer(Lstm::new(HIDDEN, 2)));
    let scores = [Attention::dot(HIDDEN).scale(0.7), Attention::dot(HIDDEN).causal(true), Attention::additive(HIDDEN)];
    for attention in scores {
        let mut graph = Model::graph();
        let x = graph.sequence("x", INPUT);
        let query = graph.add("query", Lstm::new(INPUT, HIDDEN), x);
        let value = graph.add("value", Recurrent::new(Cell::Gru(Reset::After), INPUT, HIDDEN), x);
        let sums = graph.add("sums", attention, [query, value]);
        graph.output("y", sums);
        all.push(graph.finish().expect("the graph is right"));
    }
    let pools = [Reduce::Max, Reduce::Mean, Reduce::Min, Reduce::Sum].map(|reduce| WindowPool::new(reduce, 2));
    let around = PoolPadding::Around { before: 1, after: 1 };
    all.extend(pools.map(|pool| between(pool.stride(1).dilation(2).padding(around), HIDDEN)));
    all.extend(
        [pools[1].padding(around).ceil().counts_padding(), pools[1].padding(PoolPadding::Same)]
            // Rows that begin anywhere, or end early, have no such windows of their own.
            .map(|pool| between(pool.all_steps(), HIDDEN)),
    );
    let convs = [
        Conv1d::new(HIDDEN, 4, 2).padding(ConvPadding::Causal).activation(Activation::Tanh),
        Conv1d::new(HIDDEN, 4, 2).stride(2).padding(ConvPadding::Explicit(1, 0)).no_bias().all_steps(),
        Conv1d::new(HIDDEN, 4, 1),
    ];
    all.extend(convs.map(|conv| between(conv, 4)));
    let slices = [SliceSteps::from(1), SliceSteps::from(-2), SliceSteps::from(0).to(-1), SliceSteps::from(0).every(2)];
    all.extend(slices.map(|slice| between(slice, HIDDEN)));
    let modes = [PadMode::Reflect, PadMode::Replicate, PadMode::Circular];
    all.extend(modes.map(|mode| between(PadSteps::new(mode, 2, 1), HIDDEN)));
    let joins =
        [Join::Concat, Join::Add, Join::Subtract, Join::Multiply, Join::Average, Join::Maximum, Join::ConcatSteps];
    // Joins of sequences, of a value with itself, and of a row with steps.
    for join in joins {
        let mut graph = Model::graph().axes(Axes::TimeMajor);
        let x = graph.sequence("x", INPUT);
        let row = graph.row("row", HIDDEN);
        let first = graph.add("first", Lstm::new(INPUT, HIDDEN), x);
        let second = graph.add("second", Recurrent::new(Cell::Gru(Reset::After), INPUT, HIDDEN), x);
        let taken: Vec<Value> = match join {
            Join::Subtract => vec![graph.add("sum", Join::Add, vec![first.y(), second.y()]).y(), row],
            _ => vec![first.y(), second.y(), first.y(), row],
        };
        let joined = graph.add("joined", join, taken);
        graph.output("y", joined);
        all.push(graph.finish().expect("the graph is right"));
    }
    all
}

#[test]
fn slopes_of_every_function_of_a_layer_are_those_of_the_gradients() {
    for f in Activation::ALL.into_iter().filter(|f| f.is_total()) {
        let (plain, linear) = (Linear::new(INPUT, 3), Linear::new(INPUT, 3).activation(f));
        for model in [Model::new().layer(plain).layer(f), Model::new().layer(linear)] {
            // Some inputs are far from zero, where shrinking functions begin.
            assert!(compared(&model.layer(Lstm::new(3, 2)), 2.0) >= 9, "{f}");
        }
    }
}

#[test]
fn slopes_of_every_layer_are_those_of_the_gradients() {
    let mut seen = BTreeSet::new();
    for model in layers() {
        assert!(compared(&model, 1.0) >= 9, "{}", model.summary());
        seen.extend(model.layers.iter().map(|layer| layer.kind.name()));
    }
    // Stacks and functions have tests of their own.
    seen.extend(["rnn", "gru", "activation"]);
    let missing: Vec<_> = LayerKind::NAMES.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn slopes_of_every_loss_are_those_of_the_gradients() {
    let outputs = [Activation::Linear, Activation::Softmax, Activation::LogSoftmax, Activation::Sigmoid];
    let classes = Targets::classes(ArrayD::from_shape_fn(IxDyn(&[BATCH, TIME]), |at| {
        if at[0] == at[1] { -100 } else { (at[0] + at[1]) as i64 % 3 }
    }));
    let values = Targets::values(ArrayD::from_shape_fn(IxDyn(&[BATCH, TIME, 3]), |at| {
        0.5 + 0.45 * ((at[0] * 7 + at[1] * 3 + at[2]) as f32).sin()
    }));
    let weighted = |targets: &Targets| {
        targets.clone().sample_weights(ArrayD::from_shape_fn(IxDyn(&[BATCH, TIME]), |at| (at[0] + at[1]) as f32 / 4.0))
    };
    let ce = CrossEntropy::default;
    let losses: Vec<(Loss, &Targets)> = vec![
        (ce().into(), &classes),
        (ce().smoothing(0.2).into(), &classes),
        (ce().class_weights([0.5, 2.0, 1.0]).into(), &classes),
        (ce().class_weights([0.5, 2.0, 1.0]).smoothing(0.2).into(), &classes),
        (BinaryCrossEntropy::default().into(), &values),
        (BinaryCrossEntropy::default().smoothing(0.2).into(), &values),
        (Loss::MeanSquared, &values),
        (Loss::MeanAbsolute, &values),
        (Huber::default().delta(0.3).into(), &values),
    ];
    let mut compared = 0;
    for (loss, targets) in &losses {
        for activation in outputs {
            for targets in [(*targets).clone(), weighted(targets)] {
                let model =
                    Model::new().layer(Lstm::new(INPUT, HIDDEN)).layer(Linear::new(HIDDEN, 3).activation(activation));
                let case = case(model, MaskKind::Holes, InitialStates::Given);
                let aims = (&Objective::new(loss.clone()), &[targets][..]);
                // A softmax and a sigmoid each refuse the other's loss.
                let Ok(all) = differences(&case.model, &case.weights(), &case.input(), aims, Along::Each, case.seed)
                else {
                    continue;
                };
                for one in all {
                    assert!(one.corner || one.error < TOLERANCE, "{loss:?} {activation}: {one:?}");
                    compared += 1;
                }
            }
        }
    }
    // Seven slopes each, of nine losses on two outputs at least.
    assert!(compared >= 7 * 9 * 2 * 2, "only {compared}");
}
