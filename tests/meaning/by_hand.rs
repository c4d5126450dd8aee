//! Every cell and layer against an example worked out on paper.

use gatewave::layer::{Bias, Cell, Reset};
use gatewave::oracle::{self, Truth};
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{
    Activation, Embedding, ErrorKind, Gru, Input, Linear, Lstm, Model, OneHot, Rnn, Select, States, Weights,
};
use ndarray::{Array2, ArrayView, Axis, arr1, array};

use crate::assert_near;

/// A cell of one feature and one unit: a weight of x, a weight of h and both biases for each gate.
pub(crate) fn one_unit(gates: &[[f32; 4]]) -> Weights {
    let column = |index: usize| gates.iter().map(|gate| gate[index]).collect::<Vec<_>>();
    let matrix = |index| arr1(&column(index)).insert_axis(Axis(1));
    let cell = CellWeights::new(matrix(0), matrix(1)).b_x(arr1(&column(2))).b_h(arr1(&column(3)));
    Weights::new(vec![LayerWeights::Recurrent(vec![cell])])
}

/// One sequence of one feature through one unit, without a batch.
pub(crate) fn run_one(model: Model, weights: &Weights, x: [f32; 2], states: States) -> Truth {
    oracle::run(&model, weights, &Input::features(arr1(&x).insert_axis(Axis(1))).states(states)).unwrap()
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

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
    let model = Model::new().layer(Rnn::new(1, 1).nonlinearity(Activation::Relu));
    let truth = run_one(model, &weights, [1.0, -2.0], States::hidden(array![[0.5_f32]]));
    assert_near(truth.output.view(), &[0.5625, 0.0], "output");
}

#[test]
fn lstm_gates_are_input_forget_cell_output() {
    // Constant gates i = σ(1), f = σ(2), o = σ(−1), and g = tanh(x + h / 2): all gates differ.
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
    // r = σ(x), z = σ(h), n = tanh(x/2 + 0.25 + r · (2h − 1)), worked out for x = 1, h = 0.5.
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
    let cell = CellWeights::new(w_x, w_h).w_r(array![[2.0, -4.0]]);
    let weights = Weights::new(vec![LayerWeights::Recurrent(vec![cell])]);
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
    let weights = Weights::new(vec![LayerWeights::Recurrent(cells.to_vec())]);
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
    let weights = Weights::new(vec![
        LayerWeights::Embedding(array![[9.0, 9.0], [9.0, 9.0], [1.0, 2.0]]),
        LayerWeights::Linear { w: array![[1.0, 2.0], [3.0, 0.5]], b: Some(array![0.5, -0.5]) },
        LayerWeights::None,
    ]);
    let truth = oracle::run(&model, &weights, &Input::tokens(array![[0_i64, 2]])).unwrap();
    // 1 + 4 + 0.5 = 5.5 and 3 + 1 − 0.5 = 3.5: odds of e² to 1.
    assert_near(truth.output.view(), &[sigmoid(2.0), sigmoid(-2.0)], "output");
    assert_eq!(truth.output.shape(), [1, 2]);
}

#[test]
fn a_softmax_of_huge_numbers_does_not_overflow() {
    let weights = Weights::new(vec![LayerWeights::Linear { w: array![[1e4], [-1e4]], b: None }]);
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
    let weights = Weights::new(vec![LayerWeights::None, LayerWeights::Linear { w, b: None }]);
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
