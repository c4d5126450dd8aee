//! What every number means: the oracle against examples worked by hand, against PyTorch, and against itself turned
//! around; and the table of cases against bugs planted on purpose.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use gatewave::conformance::{self, Bug, Case, InitialStates, Tolerance, cases, compare};
use gatewave::oracle::{self, TrueStates, Truth};
use gatewave::weights::{CellWeights, LayerWeights, description, safetensors};
use gatewave::{
    Activation, Axes, Bias, Cell, Embedding, ErrorKind, Gru, Input, Linear, Lstm, Model, Nonlinearity, OneHot, Output,
    Recurrent, Reset, Rnn, Select, States, Storage, Weights,
};
use ndarray::{Array2, ArrayD, ArrayView, Axis, Dimension, IxDyn, Slice, arr1, array, concatenate, s};
use support::fixtures::{self, Fixture};

/// A cell of one feature and one unit: a weight of x, a weight of h and both biases for each gate.
fn one_unit(gates: &[[f32; 4]]) -> Weights {
    let column = |index: usize| gates.iter().map(|gate| gate[index]).collect::<Vec<_>>();
    let matrix = |index| arr1(&column(index)).insert_axis(Axis(1));
    Weights {
        layers: vec![LayerWeights::Recurrent(vec![CellWeights {
            w_x: matrix(0),
            w_h: matrix(1),
            b_x: Some(arr1(&column(2))),
            b_h: Some(arr1(&column(3))),
            w_r: None,
        }])],
    }
}

/// One sequence of one feature through one unit, without a batch.
fn run_one(model: Model, weights: &Weights, x: [f32; 2], states: States) -> Truth {
    oracle::run(&model, weights, &Input::features(arr1(&x).insert_axis(Axis(1))).states(states)).unwrap()
}

#[track_caller]
fn assert_near<D: Dimension>(got: ArrayView<'_, f64, D>, want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-9, "{what}: got {got:.12}, want {want:.12}");
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

// ---- by hand ----------------------------------------------------------------------------------------------------

#[test]
fn rnn_adds_both_products_and_both_biases() {
    let weights = one_unit(&[[0.5, -0.25, 0.125, 0.0625]]);
    let truth = run_one(Model::new().layer(Rnn::new(1, 1)), &weights, [1.0, -2.0], States::hidden(array![[0.5_f32]]));
    // 0.5·1 − 0.25·0.5 + 0.125 + 0.0625 = 0.5625, then 0.5·(−2) − 0.25·h + 0.1875
    let h_0 = 0.5625_f64.tanh();
    let h_1 = (-0.8125 - 0.25 * h_0).tanh();
    assert_near(truth.output.view(), &[h_0, h_1], "output");
    assert_near(truth.states[0].h.view(), &[h_1], "h");
    assert_eq!((truth.output.shape(), truth.states[0].h.shape()), (&[2, 1][..], &[1, 1][..]));
}

#[test]
fn rnn_relu_cuts_at_zero() {
    let weights = one_unit(&[[0.5, -0.25, 0.125, 0.0625]]);
    let model = Model::new().layer(Rnn::new(1, 1).cell(Cell::Rnn(Nonlinearity::Relu)));
    let truth = run_one(model, &weights, [1.0, -2.0], States::hidden(array![[0.5_f32]]));
    assert_near(truth.output.view(), &[0.5625, 0.0], "output");
}

#[test]
fn lstm_gates_are_input_forget_cell_output() {
    // Constant gates i = σ(1), f = σ(2), o = σ(−1), and g = tanh(x + h / 2): each gate is told from the others.
    let weights = one_unit(&[[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 0.0, -1.0]]);
    let states = States::with_cell(array![[0.25_f32]], array![[-0.5_f32]]);
    let truth = run_one(Model::new().layer(Lstm::new(1, 1)), &weights, [0.75, -0.5], states);
    let (i, f, o) = (0.731_058_578_630_005, 0.880_797_077_977_882, 0.268_941_421_369_995);
    let c_0: f64 = f * -0.5 + i * 0.875_f64.tanh();
    let h_0 = o * c_0.tanh();
    let c_1 = f * c_0 + i * (-0.5 + 0.5 * h_0).tanh();
    let h_1 = o * c_1.tanh();
    assert_near(truth.output.view(), &[h_0, h_1], "output");
    assert_near(truth.states[0].c.as_ref().unwrap().view(), &[c_1], "c");
    assert_near(ArrayView::from(&[h_0, c_1]), &[0.019918293929, -0.266729413763], "worked out beforehand");
}

#[test]
fn gru_reset_acts_after_the_product() {
    // r = σ(x), z = σ(h), n = tanh(x/2 + 0.25 + r · (2h − 1)), worked by hand for x = 1, h = 0.5.
    let weights = one_unit(&[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 2.0, 0.25, -1.0]]);
    let truth = run_one(Model::new().layer(Gru::new(1, 1)), &weights, [1.0, -1.0], States::hidden(array![[0.5_f32]]));
    let step = |x: f64, h: f64| {
        let (r, z) = (sigmoid(x), sigmoid(h));
        let n = (0.5 * x + 0.25 + r * (2.0 * h - 1.0)).tanh();
        (1.0 - z) * n + z * h
    };
    // 2h − 1 = 0, so that n = tanh(0.75) whatever r is.
    let h_0 = step(1.0, 0.5);
    assert!((h_0 - (0.377_540_668_798_145 * 0.635_148_952_387_287 + 0.622_459_331_201_855 * 0.5)).abs() < 1e-12);
    assert_near(truth.output.view(), &[h_0, step(-1.0, h_0)], "output");
}

#[test]
fn gru_reset_before_acts_on_the_state_and_not_on_the_bias() {
    let weights = one_unit(&[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 2.0, 0.25, -1.0]]);
    let model = Model::new().layer(Gru::new(1, 1).cell(Cell::Gru(Reset::Before)));
    let truth = run_one(model, &weights, [1.0, -1.0], States::hidden(array![[0.5_f32]]));
    let step = |x: f64, h: f64| {
        let (r, z) = (sigmoid(x), sigmoid(h));
        let n = (0.5 * x + 0.25 + 2.0 * (r * h) - 1.0).tanh();
        (1.0 - z) * n + z * h
    };
    let h_0 = step(1.0, 0.5);
    assert_near(truth.output.view(), &[h_0, step(-1.0, h_0)], "output");
}

#[test]
fn lstm_projection_shrinks_the_hidden_state_and_not_the_cell() {
    let (w_x, w_h) = (Array2::zeros((8, 1)), Array2::zeros((8, 1)));
    let cell = CellWeights { w_x, w_h, b_x: None, b_h: None, w_r: Some(array![[2.0, -4.0]]) };
    let weights = Weights { layers: vec![LayerWeights::Recurrent(vec![cell])] };
    // Every gate is σ(0) = ½ and the candidate tanh(0) = 0: c' = c / 2, h' = (2 tanh c'_0 − 4 tanh c'_1) / 2.
    let states = States::with_cell(array![[0.0_f32]], array![[1.0_f32, -2.0]]);
    let truth =
        run_one(Model::new().layer(Lstm::new(1, 2).proj_size(1).bias(Bias::None)), &weights, [1.0, 1.0], states);
    let h = |c: [f64; 2]| c[0].tanh() - 2.0 * c[1].tanh();
    assert_near(truth.output.view(), &[h([0.5, -1.0]), h([0.25, -0.5])], "output");
    assert_near(truth.states[0].c.as_ref().unwrap().view(), &[0.25, -0.5], "c");
}

#[test]
fn a_dead_step_keeps_the_state_and_gives_zero() {
    let weights = one_unit(&[[0.5, -0.25, 0.125, 0.0625]]);
    let input = Input::features(array![[[1.0_f32], [f32::NAN], [-2.0]]]).mask(array![[true, false, true]]);
    let truth = oracle::run(&Model::new().layer(Rnn::new(1, 1)), &weights, &input).unwrap();
    let h_0 = 0.6875_f64.tanh();
    let h_2 = (-0.8125 - 0.25 * h_0).tanh();
    assert_near(truth.output.view(), &[h_0, 0.0, h_2], "output");
    assert_near(truth.states[0].h.view(), &[h_2], "h");
}

#[test]
fn the_reverse_direction_begins_at_each_rows_own_last_step() {
    let forward = one_unit(&[[0.0, 0.0, 0.0, 0.0]]);
    let reverse = one_unit(&[[0.5, -0.25, 0.125, 0.0625]]);
    let cells = [forward, reverse].map(|weights| match weights.layers.into_iter().next() {
        Some(LayerWeights::Recurrent(mut cells)) => cells.remove(0),
        _ => panic!("a recurrent layer"),
    });
    let weights = Weights { layers: vec![LayerWeights::Recurrent(cells.to_vec())] };
    let input = Input::features(array![[[1.0_f32], [-2.0], [f32::NAN]]]).lengths([2]);
    let model = Model::new().layer(Rnn::new(1, 1).bidirectional());
    let truth = oracle::run(&model, &weights, &input).unwrap();
    let h_1 = (-0.8125_f64).tanh();
    let h_0 = (0.6875 - 0.25 * h_1).tanh();
    assert_near(truth.output.view(), &[0.0, h_0, 0.0, h_1, 0.0, 0.0], "output: forward and reverse of each step");
    assert_near(truth.states[0].h.view(), &[0.0, h_0], "h");
}

#[test]
fn tokens_become_rows_and_features_become_odds() {
    let model = Model::new()
        .layer(Embedding::new(3, 2))
        .layer(Linear::new(2, 2).activation(Activation::Softmax))
        .layer(Select::LastStep);
    let weights = Weights {
        layers: vec![
            LayerWeights::Embedding(array![[9.0, 9.0], [9.0, 9.0], [1.0, 2.0]]),
            LayerWeights::Linear { w: array![[1.0, 2.0], [3.0, 0.5]], b: Some(array![0.5, -0.5]) },
            LayerWeights::None,
        ],
    };
    let truth = oracle::run(&model, &weights, &Input::tokens(array![[0_i64, 2]])).unwrap();
    // 1 + 4 + 0.5 = 5.5 and 3 + 1 − 0.5 = 3.5: odds of e² to 1.
    assert_near(truth.output.view(), &[sigmoid(2.0), sigmoid(-2.0)], "output");
    assert_eq!(truth.output.shape(), [1, 2]);
}

#[test]
fn a_softmax_of_huge_numbers_does_not_overflow() {
    let weights = Weights { layers: vec![LayerWeights::Linear { w: array![[1e4], [-1e4]], b: None }] };
    for (activation, want) in [(Activation::Softmax, [1.0, 0.0]), (Activation::LogSoftmax, [0.0, -2e4])] {
        let model = Model::new().layer(Linear::new(1, 2).no_bias().activation(activation));
        let truth = oracle::run(&model, &weights, &Input::features(array![[[1.0_f32]]])).unwrap();
        assert_near(truth.output.view(), &want, activation.name());
    }
}

#[test]
fn one_hot_picks_a_column_of_the_product() {
    let one_hot = Model::new().layer(OneHot::new(3)).layer(Linear::new(3, 2).no_bias());
    let w = array![[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let weights = Weights { layers: vec![LayerWeights::None, LayerWeights::Linear { w, b: None }] };
    let truth = oracle::run(&one_hot, &weights, &Input::tokens(array![2_i64, 0])).unwrap();
    assert_near(truth.output.view(), &[3.0, 6.0, 1.0, 4.0], "output");
}

#[test]
fn weights_of_another_model_are_an_error() {
    let weights = one_unit(&[[0.5, -0.25, 0.125, 0.0625]]);
    let input = Input::features(array![[[1.0_f32]]]);
    for model in [
        Model::new().layer(Gru::new(1, 1)),
        Model::new().layer(Rnn::new(1, 1).bias(Bias::One)),
        Model::new().layer(Linear::new(1, 1)),
        Model::new().layer(Rnn::new(1, 1)).layer(Activation::Tanh),
    ] {
        assert_eq!(oracle::run(&model, &weights, &input).unwrap_err().kind(), ErrorKind::Weights);
    }
}

// ---- against PyTorch --------------------------------------------------------------------------------------------

fn load(fixture: &Fixture) -> (Model, Weights) {
    let tensors = safetensors::read(&fixture.weights).unwrap().tensors;
    let model = description::from_json(&fixture.description_json, &tensors).unwrap();
    let weights = Weights::from_tensors(&model, tensors).unwrap();
    (model, weights)
}

fn input_of(fixture: &Fixture) -> Input {
    let mut input = match (fixture.inputs.get("x"), fixture.inputs.get("ids")) {
        (Some(x), None) => Input::features(x.f32().clone()),
        (None, Some(ids)) => Input::tokens(ids.i64()),
        other => panic!("{}: x or ids, got {other:?}", fixture.id),
    };
    if let Some(lengths) = fixture.inputs.get("lengths") {
        input = input.lengths(lengths.i64());
    }
    if let Some(h) = fixture.inputs.get("h_0") {
        let c = fixture.inputs.get("c_0").map(|c| c.f32().clone());
        input = input.states(States { h: h.f32().clone(), c });
    }
    input
}

/// The nearest f32, so that a truth can stand in for an executor's output.
#[allow(clippy::cast_possible_truncation, reason = "the nearest f32 is meant")]
fn nearest(x: &ArrayD<f64>) -> ArrayD<f32> {
    x.mapv(|x| x as f32)
}

fn as_output(truth: &Truth) -> Output {
    let states = |states: &TrueStates| States { h: nearest(&states.h), c: states.c.as_ref().map(nearest) };
    Output { output: nearest(&truth.output), states: truth.states.iter().map(states).collect() }
}

#[test]
fn the_oracle_gives_what_pytorch_gives() {
    let mut compared = 0;
    for fixture in fixtures::all() {
        let (model, weights) = load(&fixture);
        let truth = oracle::run(&model, &weights, &input_of(&fixture)).unwrap();
        let states = &truth.states[0];
        for (name, want) in &fixture.wanted {
            let got = match name.as_str() {
                "output" | "logits" => &truth.output,
                "h_n" => &states.h,
                "c_n" => states.c.as_ref().expect("an lstm has a cell state"),
                other => panic!("{}: {other} is not compared", fixture.id),
            };
            let comparison = compare(nearest(got).view(), want.view(), Tolerance::FIXTURE)
                .unwrap_or_else(|error| panic!("{} {name}: {error}", fixture.id));
            assert!(comparison.passed(), "{} {name}: {comparison}", fixture.id);
            compared += 1;
        }
    }
    assert_eq!(compared, 136);
}

#[test]
fn the_fixtures_tolerance_finds_planted_bugs() {
    let mut planted = [0; Bug::ALL.len()];
    let mut found = planted;
    for fixture in fixtures::all() {
        let (model, weights) = load(&fixture);
        for (index, bug) in Bug::ALL.into_iter().enumerate() {
            let Some(wrong) = bug.plant(&model, &weights) else { continue };
            let truth = oracle::run(&model, &wrong, &input_of(&fixture)).unwrap();
            let got = nearest(&truth.states[0].h);
            let comparison = compare(got.view(), fixture.wanted["h_n"].view(), Tolerance::FIXTURE).unwrap();
            planted[index] += 1;
            found[index] += usize::from(comparison.used > 10.0);
        }
    }
    // The rest have one step from zero, a relu unit that is off, a projection that lets next to nothing through, or
    // weights that are halves already.
    assert_eq!((found, planted), ([32, 31, 38, 51], [32, 34, 58, 58]));
}

// ---- the table --------------------------------------------------------------------------------------------------

#[test]
fn the_oracle_passes_its_own_table() {
    let mut passed = 0;
    for case in cases() {
        let result = conformance::run(&case, &mut |case, _, weights, _| Ok(as_output(&case.truth(weights)?)));
        assert!(result.passed(), "{result}");
        passed += 1;
    }
    assert_eq!(passed, 129);
}

#[test]
fn every_case_says_something() {
    for case in cases() {
        let truth = case.truth(&case.weights()).unwrap();
        let largest = truth.output.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        assert!(largest.is_finite() && largest > 1000.0 * case.tolerance().abs, "{}: {largest:e}", case.name);
    }
}

/// Whether there are relu units with no bias to keep them on: those that are off say nothing.
fn has_idle_units(case: &Case) -> bool {
    case.model.stacks().any(|stack| stack.cell == Cell::Rnn(Nonlinearity::Relu) && stack.bias == Bias::None)
}

#[test]
fn the_tables_tolerance_finds_every_planted_bug() {
    let mut planted = [0; Bug::ALL.len()];
    for case in cases() {
        for (count, bug) in planted.iter_mut().zip(Bug::ALL) {
            let hidden = match bug {
                // From zero, one step multiplies the recurrent weights by nothing.
                Bug::RowOffByOne => case.time == 1 && case.states == InitialStates::Zero || has_idle_units(&case),
                // A handful of weights may all happen to be near a half.
                Bug::RoundedToHalf => {
                    case.storage == Storage::F16 || case.model.stacks().any(|stack| stack.hidden_size < 8)
                }
                Bug::GatesSwapped | Bug::BiasDropped => false,
            };
            let weights = case.weights();
            let Some(wrong) = bug.plant(&case.model, &weights).filter(|_| !hidden) else { continue };
            let result = conformance::run(&case, &mut |case, _, _, _| Ok(as_output(&case.truth(&wrong)?)));
            assert!(result.used() > 10.0, "{bug:?}: {result}");
            *count += 1;
        }
    }
    assert_eq!(planted, [87, 100, 108, 66]);
}

#[test]
fn a_wrong_shape_or_a_missing_state_is_a_failed_case() {
    let case = cases().into_iter().find(|case| case.model.stacks().any(|stack| stack.cell == Cell::Lstm)).unwrap();
    let spoiled = |spoil: fn(&mut Output)| {
        let result = conformance::run(&case, &mut |case, _, weights, _| {
            let mut output = as_output(&case.truth(weights)?);
            spoil(&mut output);
            Ok(output)
        });
        assert!(!result.passed() && result.used().is_infinite());
        result.outcome.unwrap_err().to_string()
    };
    assert_eq!(spoiled(|output| output.states[0].c = None), "c: expected one, got none");
    assert_eq!(spoiled(|output| output.states.clear()), "states: expected those of 1 stacks, got 0");
    assert!(spoiled(|output| output.output = ArrayD::zeros(vec![1])).starts_with("output: expected ["));
}

#[test]
fn a_number_that_is_none_is_a_failed_case() {
    for case in cases() {
        let result = conformance::run(&case, &mut |case, _, weights, _| {
            let mut output = as_output(&case.truth(weights)?);
            *output.output.last_mut().expect("a case has an output") = f32::NAN;
            Ok(output)
        });
        assert!(!result.passed() && result.used().is_infinite(), "{result}");
    }
}

// ---- properties -------------------------------------------------------------------------------------------------

const TIME: usize = 7;
const BATCH: usize = 5;

/// Every cell and a projected LSTM in a stack of two layers, with its weights.
fn stacks() -> Vec<(Recurrent, Weights)> {
    let mut stacks = Cell::ALL.map(|cell| Recurrent::new(cell, 6, 9).num_layers(2)).to_vec();
    stacks.push(Lstm::new(6, 9).num_layers(2).proj_size(4));
    stacks.extend(stacks.clone().into_iter().map(Recurrent::bidirectional));
    assert_eq!(stacks.len(), 12);
    stacks.into_iter().map(|stack| (stack.clone(), Weights::random(&model(&stack), 3).unwrap())).collect()
}

fn model(stack: &Recurrent) -> Model {
    Model::new().layer(stack.clone()).axes(Axes::TimeMajor)
}

/// Numbers between −1 and 1 without a pattern.
#[allow(clippy::cast_precision_loss, reason = "small indices")]
fn noise(shape: &[usize], seed: usize) -> ArrayD<f32> {
    let mut index = 1000 * seed;
    ArrayD::from_shape_simple_fn(shape, || {
        index += 1;
        (index as f32 * 12.9898).sin()
    })
}

fn states_for(stack: &Recurrent, batch: usize) -> States {
    let rows = stack.num_layers * stack.directions();
    let c = (stack.cell == Cell::Lstm).then(|| noise(&[rows, batch, stack.hidden_size], 2));
    States { h: noise(&[rows, batch, stack.state_size()], 1), c }
}

/// Row `b` of the batch axis, which is the second of a sequence and of a state.
fn row<T: Clone>(array: &ArrayD<T>, b: usize) -> ArrayD<T> {
    array.index_axis(Axis(1), b).to_owned()
}

fn row_states(states: &States, b: usize) -> States {
    States { h: row(&states.h, b), c: states.c.as_ref().map(|c| row(c, b)) }
}

/// Compares a row of a batch with what the row gives alone, at the steps in `steps`.
#[track_caller]
fn assert_row(batch: &Truth, b: usize, alone: &Truth, steps: &[usize]) {
    let of_row = row(&batch.output, b).select(Axis(0), steps);
    assert_near(of_row.view(), alone.output.as_standard_layout().as_slice().unwrap(), "output");
    let (states, own) = (&batch.states[0], &alone.states[0]);
    assert_near(row(&states.h, b).view(), own.h.as_standard_layout().as_slice().unwrap(), "h");
    assert_eq!(states.c.is_some(), own.c.is_some());
    if let (Some(c), Some(own)) = (&states.c, &own.c) {
        assert_near(row(c, b).view(), own.as_standard_layout().as_slice().unwrap(), "c");
    }
}

#[test]
fn rows_of_a_batch_are_independent() {
    let x = noise(&[TIME, BATCH, 6], 0);
    for (stack, weights) in stacks() {
        let states = states_for(&stack, BATCH);
        let input = Input::features(x.clone()).states(states.clone());
        let all = oracle::run(&model(&stack), &weights, &input).unwrap();
        for b in 0..BATCH {
            let input = Input::features(row(&x, b)).states(row_states(&states, b));
            let alone = oracle::run(&model(&stack), &weights, &input).unwrap();
            assert_row(&all, b, &alone, &(0..TIME).collect::<Vec<_>>());
        }
    }
}

#[test]
fn padding_and_holes_change_no_live_step() {
    let mut x = noise(&[TIME, BATCH, 6], 0);
    let live = Array2::from_shape_fn((TIME, BATCH), |(t, b)| match b {
        0 => t < 3,
        1 => t >= 2,
        2 => t % 2 == 0,
        3 => t != 4,
        _ => true,
    });
    for ((t, b), _) in live.indexed_iter().filter(|(_, live)| !**live) {
        x.slice_mut(s![t, b, ..]).fill(f32::NAN);
    }
    for (stack, weights) in stacks() {
        let states = states_for(&stack, BATCH);
        let input = Input::features(x.clone()).mask(live.clone()).states(states.clone());
        let all = oracle::run(&model(&stack), &weights, &input).unwrap();
        for b in 0..BATCH {
            let steps: Vec<usize> = (0..TIME).filter(|&t| live[[t, b]]).collect();
            let own = row(&x, b).select(Axis(0), &steps);
            let input = Input::features(own).states(row_states(&states, b));
            let alone = oracle::run(&model(&stack), &weights, &input).unwrap();
            assert_row(&all, b, &alone, &steps);
            for t in (0..TIME).filter(|&t| !live[[t, b]]) {
                assert!(all.output.slice(s![t, b, ..]).iter().all(|&y| y == 0.0));
            }
        }
    }
}

#[test]
fn lengths_are_the_mask_of_each_rows_first_steps() {
    let x = noise(&[TIME, BATCH, 6], 0);
    let lengths = [3, 7, 0, 1, 5];
    let live = Array2::from_shape_fn((TIME, BATCH), |(t, b)| t < lengths[b]);
    for (stack, weights) in stacks() {
        let run =
            |input: Input| oracle::run(&model(&stack), &weights, &input.states(states_for(&stack, BATCH))).unwrap();
        let by_length = run(Input::features(x.clone()).lengths(lengths.map(|n| i64::try_from(n).unwrap())));
        assert_eq!(by_length, run(Input::features(x.clone()).mask(live.clone())));
        assert_ne!(by_length, run(Input::features(x.clone())));
    }
}

#[test]
fn a_sequence_in_two_halves_with_the_state_carried_equals_the_whole() {
    let x = noise(&[TIME, BATCH, 6], 0);
    for (stack, weights) in stacks().into_iter().filter(|(stack, _)| stack.directions() == 1) {
        let run = |x: &ArrayD<f32>, from: usize, to: usize, states: States| {
            let part = x.slice_axis(Axis(0), Slice::from(from..to)).to_owned();
            oracle::run(&model(&stack), &weights, &Input::features(part).states(states)).unwrap()
        };
        let whole = run(&x, 0, TIME, states_for(&stack, BATCH));
        let first = run(&x, 0, 3, states_for(&stack, BATCH));
        let carried = as_output(&first).states.remove(0);
        let second = run(&x, 3, TIME, carried);
        // The state is carried as f32, as every executor carries it.
        let output = concatenate(Axis(0), &[first.output.view(), second.output.view()]).unwrap();
        let near = |a: &ArrayD<f64>, b: &ArrayD<f64>| (a - b).iter().all(|x| x.abs() < 2e-7);
        assert!(near(&output, &whole.output), "{}", stack.cell);
        assert!(near(&second.states[0].h, &whole.states[0].h), "{}", stack.cell);
    }
}

#[test]
fn reverse_is_flip_forward_flip() {
    let x = noise(&[TIME, BATCH, 6], 0);
    let mut flipped = x.clone();
    flipped.invert_axis(Axis(0));
    for cell in Cell::ALL {
        let both = Recurrent::new(cell, 6, 9).bidirectional();
        let weights = Weights::random(&model(&both), 3).unwrap();
        let LayerWeights::Recurrent(cells) = &weights.layers[0] else { panic!("a recurrent layer") };
        let reverse = Weights { layers: vec![LayerWeights::Recurrent(vec![cells[1].clone()])] };
        let truth = oracle::run(&model(&both), &weights, &Input::features(x.clone())).unwrap();
        let mut alone =
            oracle::run(&model(&Recurrent::new(cell, 6, 9)), &reverse, &Input::features(flipped.clone())).unwrap();
        alone.output.invert_axis(Axis(0));
        assert_eq!(truth.output.slice(s![.., .., 9..]), alone.output.view().into_dimensionality().unwrap(), "{cell}");
        assert_eq!(truth.states[0].h.index_axis(Axis(0), 1), alone.states[0].h.index_axis(Axis(0), 0), "{cell}");
    }
}

#[test]
fn axes_change_where_numbers_stand_and_not_what_they_are() {
    let x = noise(&[TIME, BATCH, 6], 0);
    for (stack, weights) in stacks() {
        let time_major = oracle::run(&model(&stack), &weights, &Input::features(x.clone())).unwrap();
        let swapped = x.view().permuted_axes(IxDyn(&[1, 0, 2])).to_owned();
        let batch_first =
            oracle::run(&model(&stack).axes(Axes::BatchFirst), &weights, &Input::features(swapped)).unwrap();
        assert_eq!(batch_first.output, time_major.output.permuted_axes(IxDyn(&[1, 0, 2])));
        assert_eq!(batch_first.states, time_major.states);
    }
}
