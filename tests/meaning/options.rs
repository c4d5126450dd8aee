//! Every option that changes the numbers of a stack, against an example worked out on paper.

use gatewave::layer::{Cell, Direction, Dropout, Functions, Masking, Merge, Padding, Recurrent, Reset};
use gatewave::oracle::{self, Truth};
use gatewave::weights::{LayerWeights, LearnedStates};
use gatewave::{Activation, Embedding, Gru, Input, Linear, Lstm, Model, Rnn, Select, States, Weights};
use ndarray::{ArrayView, Axis, arr1, array};

use crate::assert_near;
use crate::by_hand::{one_unit, run_one, sigmoid};

/// `h' = x + h`: the output is the sum of the steps so far.
fn summing() -> Recurrent {
    Rnn::new(1, 1).nonlinearity(Activation::Linear)
}

/// The weights of [`summing`] in each of its directions.
fn summing_weights(model: &Model) -> Weights {
    let layer = |directions| match one_unit(&[[1.0, 1.0, 0.0, 0.0]]).layers.remove(0) {
        LayerWeights::Recurrent(cells) => LayerWeights::Recurrent(vec![cells[0].clone(); directions]),
        _ => panic!("a recurrent layer"),
    };
    let mut stacks = model.stacks().map(|stack| layer(stack.directions()));
    let layers =
        model.layers.iter().map(|l| if l.kind.parameters() > 0 { stacks.next().unwrap() } else { LayerWeights::None });
    Weights::new(layers.collect())
}

/// Steps 1, 2, 4 and 8 of one row, live as in `live`, from an initial state of 16.
fn sums(stack: Recurrent, select: Option<Select>, live: [bool; 4]) -> Truth {
    let states = States::hidden(ndarray::Array3::from_elem((stack.directions(), 1, 1), 16.0_f32));
    let model = Model::new().layer(stack);
    let model = match select {
        Some(select) => model.layer(select),
        None => model,
    };
    let x = array![[[1.0_f32], [2.0], [4.0], [8.0]]];
    let mask = arr1(&live).insert_axis(Axis(0));
    oracle::run(&model, &summing_weights(&model), &Input::features(x).mask(mask).states(states)).unwrap()
}

const ALL: [bool; 4] = [true; 4];
const HOLES: [bool; 4] = [false, true, false, true];

#[test]
fn reverse_outputs_stand_at_their_steps_and_backwards_in_the_order_computed() {
    let reverse = sums(summing().direction(Direction::Reverse), None, ALL);
    assert_near(reverse.output.view(), &[31.0, 30.0, 28.0, 24.0], "reverse");
    let backwards = sums(summing().direction(Direction::Backwards), None, ALL);
    assert_near(backwards.output.view(), &[24.0, 28.0, 30.0, 31.0], "backwards");
    for truth in [reverse, backwards] {
        assert_near(truth.states[0].h.view(), &[31.0], "h");
    }
}

#[test]
fn learned_states_are_where_each_row_begins_that_brings_none() {
    let model = Model::new().layer(summing().learned_states());
    let mut weights = summing_weights(&Model::new().layer(summing()));
    weights.initial.insert(0, LearnedStates { h: array![[32.0]], c: None });
    let x = || Input::features(array![[[1.0_f32], [2.0]], [[4.0], [8.0]]]);
    let learned = oracle::run(&model, &weights, &x()).unwrap();
    assert_near(learned.output.view(), &[33.0, 35.0, 36.0, 44.0], "learned");
    let given = States::hidden(ndarray::Array3::<f32>::zeros((1, 2, 1)));
    let given = oracle::run(&model, &weights, &x().states(given)).unwrap();
    assert_near(given.output.view(), &[1.0, 3.0, 4.0, 12.0], "given");
}

#[test]
fn dead_steps_give_zero_or_what_the_walk_gave_before_them() {
    let outputs = |direction, padding| sums(summing().direction(direction).padding(padding), None, HOLES).output;
    assert_near(outputs(Direction::Forward, Padding::Zero).view(), &[0.0, 18.0, 0.0, 26.0], "zero");
    // Before the first live step there is no output to repeat: zero, not the initial state.
    assert_near(outputs(Direction::Forward, Padding::Held).view(), &[0.0, 18.0, 18.0, 26.0], "held");
    assert_near(outputs(Direction::Reverse, Padding::Zero).view(), &[0.0, 26.0, 0.0, 24.0], "zero, reverse");
    assert_near(outputs(Direction::Reverse, Padding::Held).view(), &[26.0, 26.0, 24.0, 24.0], "held, reverse");
    assert_near(outputs(Direction::Backwards, Padding::Held).view(), &[24.0, 24.0, 26.0, 26.0], "held, backwards");
}

#[test]
fn a_row_without_a_step_gives_zero_and_ends_where_it_began() {
    for padding in [Padding::Zero, Padding::Held] {
        let truth = sums(summing().bidirectional().padding(padding), None, [false; 4]);
        assert_near(truth.output.view(), &[0.0; 8], "output");
        assert_near(truth.states[0].h.view(), &[16.0, 16.0], "h");
    }
}

#[test]
fn outputs_are_padded_before_they_are_merged_and_states_are_not_merged() {
    let merged = |merge, padding| sums(summing().bidirectional().merge(merge).padding(padding), None, HOLES);
    // Forward, held: 0 18 18 26; reverse, held: 26 26 24 24.
    for (merge, want) in [
        (Merge::Sum, [26.0, 44.0, 42.0, 50.0]),
        (Merge::Average, [13.0, 22.0, 21.0, 25.0]),
        (Merge::Product, [0.0, 468.0, 432.0, 624.0]),
    ] {
        let truth = merged(merge, Padding::Held);
        assert_near(truth.output.view(), &want, &format!("{merge:?}"));
        assert_near(truth.states[0].h.view(), &[26.0, 26.0], "h");
    }
    assert_near(merged(Merge::Sum, Padding::Zero).output.view(), &[0.0, 44.0, 0.0, 50.0], "padded with zero");
}

#[test]
fn the_last_output_is_the_one_computed_last() {
    let last = |stack: Recurrent, padding, live| sums(stack.padding(padding), Some(Select::LastOutput), live).output;
    let end = [true, true, false, false];
    assert_near(last(summing(), Padding::Zero, end).view(), &[0.0], "forward, dead");
    assert_near(last(summing(), Padding::Held, end).view(), &[19.0], "forward, held");
    let (reverse, backwards) = (Direction::Reverse, Direction::Backwards);
    for direction in [reverse, backwards] {
        assert_near(last(summing().direction(direction), Padding::Zero, end).view(), &[19.0], "of the first step");
        assert_near(last(summing().direction(direction), Padding::Zero, HOLES).view(), &[0.0], "dead");
        assert_near(last(summing().direction(direction), Padding::Held, HOLES).view(), &[26.0], "held");
    }
    let both = || summing().bidirectional();
    assert_near(last(both(), Padding::Zero, end).view(), &[0.0, 19.0], "both ways");
    assert_near(last(both().merge(Merge::Product), Padding::Held, end).view(), &[361.0], "merged");
}

#[test]
fn each_direction_has_its_own_functions() {
    let mut stack = Rnn::new(1, 1).bidirectional();
    stack.functions[1].f = Activation::Relu;
    let weights = |w: &Weights| match &w.layers[0] {
        LayerWeights::Recurrent(cells) => cells[0].clone(),
        _ => panic!("a recurrent layer"),
    };
    let cell = weights(&one_unit(&[[0.5, -0.25, 0.125, 0.0625]]));
    let weights = Weights::new(vec![LayerWeights::Recurrent(vec![cell.clone(), cell])]);
    let model = Model::new().layer(stack);
    let truth = oracle::run(&model, &weights, &Input::features(array![[1.0_f32], [-2.0]])).unwrap();
    let forward = [0.6875_f64.tanh(), (-0.8125 - 0.25 * 0.6875_f64.tanh()).tanh()];
    assert_near(truth.output.view(), &[forward[0], 0.6875, forward[1], 0.0], "output");
}

#[test]
fn clip_bounds_what_goes_into_a_gate_and_not_the_cell_state() {
    // i: 1 + x, f: 2, g: −3, o: 0.25, clipped to ½: i = f = σ(½), g = tanh(−½), o = σ(¼).
    let weights = one_unit(&[[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, -3.0, 0.0], [0.0, 0.0, 0.25, 0.0]]);
    let model = Model::new().layer(Lstm::new(1, 1).clip(0.5));
    let states = || States::with_cell(array![[0.0_f32]], array![[4.0_f32]]);
    let truth = run_one(model, &weights, [1.0, -3.0], states());
    let c_0 = sigmoid(0.5) * 4.0 - sigmoid(0.5) * 0.5_f64.tanh();
    // 1 − 3 = −2, clipped to −½.
    let c_1 = sigmoid(0.5) * c_0 - sigmoid(-0.5) * 0.5_f64.tanh();
    assert!(c_0 > 2.0, "larger than the clip");
    assert_near(truth.output.view(), &[sigmoid(0.25) * c_0.tanh(), sigmoid(0.25) * c_1.tanh()], "output");
    assert_near(truth.states[0].c.as_ref().unwrap().view(), &[c_1], "c");
}

#[test]
fn clip_bounds_the_sum_of_both_products_and_both_biases() {
    let weights = one_unit(&[[0.5, -0.25, 0.125, 0.0625]]);
    let model = Model::new().layer(Rnn::new(1, 1).clip(0.625));
    let truth = run_one(model, &weights, [1.0, -2.0], States::hidden(array![[0.5_f32]]));
    // 0.5 − 0.125 + 0.1875 = 0.5625 passes; −1 − 0.25·h + 0.1875 is cut.
    assert_near(truth.output.view(), &[0.5625_f64.tanh(), (-0.625_f64).tanh()], "output");
}

#[test]
fn clip_bounds_a_grus_candidate_after_its_reset() {
    let weights = one_unit(&[[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 2.0, 0.25, -1.0]]);
    for reset in [Reset::After, Reset::Before] {
        let model = Model::new().layer(Gru::new(1, 1).cell(Cell::Gru(reset)).clip(0.25));
        let truth = run_one(model, &weights, [1.0, -1.0], States::hidden(array![[-0.125_f32]]));
        let step = |x: f64, h: f64| {
            let cut = |x: f64| x.clamp(-0.25, 0.25);
            let (r, z) = (sigmoid(cut(x)), sigmoid(cut(h)));
            let recurrent = match reset {
                Reset::After => r * (2.0 * h - 1.0),
                Reset::Before => 2.0 * (r * h) - 1.0,
            };
            let n = cut(0.5 * x + 0.25 + recurrent).tanh();
            (1.0 - z) * n + z * h
        };
        let h_0 = step(1.0, -0.125);
        assert_near(truth.output.view(), &[h_0, step(-1.0, h_0)], "output");
    }
}

#[test]
fn a_coupled_forget_gate_is_what_the_input_gate_leaves() {
    // i = σ(x), g = tanh(1), o = σ(0); whatever the forget gate's weights are, f = 1 − σ(x).
    let weights = one_unit(&[[1.0, 0.0, 0.0, 0.0], [7.0, -3.0, 9.0, 5.0], [0.0, 0.0, 1.0, 0.0], [0.0; 4]]);
    let model = Model::new().layer(Lstm::new(1, 1).coupled());
    let truth = run_one(model, &weights, [0.5, -2.0], States::with_cell(array![[0.25_f32]], array![[-0.5_f32]]));
    let c_0 = (1.0 - sigmoid(0.5)) * -0.5 + sigmoid(0.5) * 1.0_f64.tanh();
    let c_1 = sigmoid(2.0) * c_0 + sigmoid(-2.0) * 1.0_f64.tanh();
    assert_near(truth.output.view(), &[0.5 * c_0.tanh(), 0.5 * c_1.tanh()], "output");
    assert_near(truth.states[0].c.as_ref().unwrap().view(), &[c_1], "c");
}

#[test]
fn input_and_forget_see_the_old_cell_state_and_output_the_new_one() {
    // i = σ(½ c), f = σ(1 − 2c), g = tanh(x), o = σ(4 c').
    let mut weights = one_unit(&[[0.0; 4], [0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0; 4]]);
    let LayerWeights::Recurrent(cells) = &mut weights.layers[0] else { panic!("a recurrent layer") };
    cells[0].peepholes = Some(array![[0.5], [-2.0], [4.0]]);
    let model = Model::new().layer(Lstm::new(1, 1).peepholes());
    let truth = run_one(model, &weights, [0.75, -0.5], States::with_cell(array![[0.0_f32]], array![[0.25_f32]]));
    let c_0 = sigmoid(0.5) * 0.25 + sigmoid(0.125) * 0.75_f64.tanh();
    let c_1 = sigmoid(1.0 - 2.0 * c_0) * c_0 + sigmoid(0.5 * c_0) * (-0.5_f64).tanh();
    let h = |c: f64| sigmoid(4.0 * c) * c.tanh();
    assert_near(truth.output.view(), &[h(c_0), h(c_1)], "output");
    assert_near(ArrayView::from(&[c_0]), &[0.493_011_909_797], "worked out beforehand");
}

#[test]
fn an_lstms_functions_are_of_the_gates_the_candidate_and_the_cell_state() {
    // Gates: i = 1·½ + ½ = 1, f = 0, o = ¾; g = relu(2x); h = softsign.
    let weights = one_unit(&[[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, -4.0, 0.0], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]]);
    let hard = Activation::HardSigmoid { alpha: 0.5.into(), beta: 0.5.into() };
    let functions = Functions { f: hard, g: Activation::Relu, h: Activation::Softsign };
    let model = Model::new().layer(Lstm::new(1, 1).functions(functions));
    let truth = run_one(model, &weights, [1.5, -1.0], States::with_cell(array![[9.0_f32]], array![[9.0_f32]]));
    assert_near(truth.output.view(), &[0.75 * 3.0 / 4.0, 0.0], "output");
}

#[test]
fn a_grus_functions_are_of_the_gates_and_the_candidate() {
    // r = 2x, z = −x, n = relu(1 + r · h).
    let weights = one_unit(&[[2.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0]]);
    let functions = Functions { f: Activation::Linear, g: Activation::Relu, ..Functions::NONE };
    let model = Model::new().layer(Gru::new(1, 1).functions(functions));
    let truth = run_one(model, &weights, [0.5, -2.0], States::hidden(array![[2.0_f32]]));
    // r = 1, z = −½, n = 3: 1.5·3 − ½·2 = 3.5; then r = −4, z = 2, n = relu(−13) = 0: 2·3.5.
    assert_near(truth.output.view(), &[3.5, 7.0], "output");
}

#[test]
fn a_token_that_masks_is_no_step_of_any_stack_after_it() {
    let model = Model::new().layer(Embedding::new(3, 1).mask_token(1)).layer(summing()).layer(summing());
    let mut weights = summing_weights(&Model::new().layer(summing()).layer(summing()));
    weights.layers.insert(0, LayerWeights::Embedding(array![[1.0], [100.0], [4.0]]));
    let truth = oracle::run(&model, &weights, &Input::tokens(array![[0_i64, 1, 2, 1]])).unwrap();
    assert_near(truth.output.view(), &[1.0, 0.0, 6.0, 0.0], "output");
    assert_near(truth.states[1].h.view(), &[6.0], "h");
    let unmasked = oracle::run(
        &Model::new().layer(Embedding::new(3, 1)),
        &Weights::new(vec![weights.layers[0].clone()]),
        &Input::tokens(array![[1_i64]]),
    );
    assert_near(unmasked.unwrap().output.view(), &[100.0], "what the token is a row of, without a mask");
}

#[test]
fn a_token_that_masks_still_has_its_row() {
    let model = Model::new().layer(Embedding::new(3, 1).mask_token(1));
    let weights = Weights::new(vec![LayerWeights::Embedding(array![[1.0], [100.0], [4.0]])]);
    let truth = oracle::run(&model, &weights, &Input::tokens(array![[2_i64, 1]])).unwrap();
    assert_near(truth.output.view(), &[4.0, 100.0], "output");
}

#[test]
fn masking_takes_out_the_steps_whose_features_are_all_its_value() {
    let model = Model::new().layer(Masking::new(2, -1.0)).layer(Linear::new(2, 1)).layer(summing());
    let mut weights = summing_weights(&Model::new().layer(summing()));
    weights.layers.insert(0, LayerWeights::Linear { w: array![[1.0, 1.0]], b: Some(array![0.5]) });
    weights.layers.insert(0, LayerWeights::None);
    let x = array![[[-1.0_f32, 2.0], [-1.0, -1.0], [3.0, 4.0]]];
    let truth = oracle::run(&model, &weights, &Input::features(x.clone())).unwrap();
    assert_near(truth.output.view(), &[1.5, 0.0, 9.0], "output");
    // As in Keras, a masked step is zero from there on.
    let mut linear = model;
    linear.layers.truncate(2);
    let truth = oracle::run(&linear, &Weights::new(weights.layers[..2].to_vec()), &Input::features(x)).unwrap();
    assert_near(truth.output.view(), &[1.5, 0.5, 7.5], "output of the linear");
}

#[test]
fn dropout_changes_no_number() {
    let with = Model::new().layer(summing()).layer(Dropout::new(0.5)).layer(Select::LastStep).layer(Dropout::new(1.0));
    let x = Input::features(array![[[1.0_f32], [2.0]]]);
    let truth = oracle::run(&with, &summing_weights(&with), &x).unwrap();
    assert_near(truth.output.view(), &[3.0], "output");
}
