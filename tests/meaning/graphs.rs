//! Models that are no chain against examples worked out on paper: joins, several inputs and
//! outputs, states that begin at values. Also why calls with several inputs are refused.

use gatewave::interface::{Axes, Graph, State};
use gatewave::layer::{Join, Masking, Padding, SliceSteps};
use gatewave::oracle::{self, Truth};
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{Embedding, ErrorKind, Gru, Input, Linear, Lstm, Model, Rnn, States, Weights};
use ndarray::{Array2, Array3, ArrayD, arr1, array, s};

use crate::assert_near;
use crate::support::noise::noise;

/// The model that `build` makes.
fn model(build: impl FnOnce(&mut Graph)) -> Model {
    let mut graph = Model::graph();
    build(&mut graph);
    graph.finish().unwrap()
}

fn run(model: &Model, layers: Vec<LayerWeights>, input: &Input) -> Truth {
    oracle::run(model, &Weights::new(layers), input).unwrap()
}

/// `y = w·x` of one feature.
fn times(w: f32) -> LayerWeights {
    LayerWeights::Linear { w: array![[w]], b: None }
}

/// Cells `tanh(w_x·x + w_h·h)` of one unit.
fn units(cells: &[[f32; 2]]) -> LayerWeights {
    let cell =
        |&[w_x, w_h]: &[f32; 2]| CellWeights::new(array![[w_x]], array![[w_h]]).b_x(arr1(&[0.0])).b_h(arr1(&[0.0]));
    LayerWeights::Recurrent(cells.iter().map(cell).collect())
}

/// Returns the result of joining a sequence and a row, for two rows of two steps.
fn meeting(join: Join, axes: Axes, swapped: bool) -> Vec<f64> {
    let mut graph = Model::graph().axes(axes);
    // The first input with a time axis is the main one, at any index.
    let row = graph.row("row", 1);
    let x = graph.sequence("x", 1);
    graph.add("joined", join, if swapped { [row, x] } else { [x, row] });
    let mut steps = array![[[1.0_f32], [-2.0]], [[3.0], [4.0]]];
    if axes == Axes::TimeMajor {
        steps.swap_axes(0, 1);
    }
    let input = Input::features(steps).with_features("row", array![[10.0_f32], [-1.0]]);
    let mut truth = run(&graph.finish().unwrap(), vec![LayerWeights::None], &input);
    assert_eq!(truth.output.shape()[..2], [2, 2]);
    if axes == Axes::TimeMajor {
        truth.output.swap_axes(0, 1);
    }
    truth.output.iter().copied().collect()
}

#[test]
fn a_row_meets_every_step_of_its_own_sequence() {
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        assert_eq!(meeting(Join::Add, axes, false), [11.0, 8.0, 2.0, 3.0]);
        assert_eq!(meeting(Join::Subtract, axes, false), [-9.0, -12.0, 4.0, 5.0]);
        assert_eq!(meeting(Join::Subtract, axes, true), [9.0, 12.0, -4.0, -5.0]);
        assert_eq!(meeting(Join::Multiply, axes, false), [10.0, -20.0, -3.0, -4.0]);
        assert_eq!(meeting(Join::Average, axes, true), [5.5, 4.0, 1.0, 1.5]);
        assert_eq!(meeting(Join::Maximum, axes, true), [10.0, 10.0, 3.0, 4.0]);
        assert_eq!(meeting(Join::Concat, axes, false), [1.0, 10.0, -2.0, 10.0, 3.0, -1.0, 4.0, -1.0]);
        assert_eq!(meeting(Join::Concat, axes, true), [10.0, 1.0, 10.0, -2.0, -1.0, 3.0, -1.0, 4.0]);
    }
}

#[test]
fn three_values_become_one() {
    let three = |join| {
        let model = model(|g| {
            let x = g.sequence("x", 1);
            let [double, minus] = ["double", "minus"].map(|name| g.add(name, Linear::new(1, 1).no_bias(), x));
            g.add("joined", join, [x, double.y(), minus.y()]);
        });
        let layers = vec![times(2.0), times(-1.0), LayerWeights::None];
        // One sequence without a batch.
        let truth = run(&model, layers, &Input::features(array![[3.0_f32], [-5.0]]));
        truth.output.iter().copied().collect::<Vec<_>>()
    };
    // 3, 6, −3 and −5, −10, 5
    assert_eq!(three(Join::Add), [6.0, -10.0]);
    assert_eq!(three(Join::Multiply), [-54.0, 250.0]);
    assert_eq!(three(Join::Maximum), [6.0, 5.0]);
    assert_eq!(three(Join::Concat), [3.0, 6.0, -3.0, -5.0, -10.0, 5.0]);
    let third = 10.0 / 3.0;
    assert_near(ndarray::aview1(&three(Join::Average)), &[2.0, -third], "average");
}

#[test]
fn rows_alone_join_without_a_time_axis() {
    let model = model(|g| {
        let x = g.sequence("x", 1);
        let row = g.row("row", 2);
        let rnn = g.add("rnn", Rnn::new(1, 1), x);
        g.add("joined", Join::Concat, [row, rnn.final_hidden()]);
    });
    let input = Input::features(array![[[0.5_f32]], [[-0.5]]]).with_features("row", array![[1.0_f32, 2.0], [3.0, 4.0]]);
    let truth = run(&model, vec![units(&[[1.0, 0.0]]), LayerWeights::None], &input);
    assert_eq!(truth.output.shape(), [2, 3]);
    assert_near(truth.output.view(), &[1.0, 2.0, 0.5_f64.tanh(), 3.0, 4.0, -0.5_f64.tanh()], "output");
}

#[test]
fn a_join_takes_of_a_dead_step_what_its_values_give_there() {
    let sum = |padding| {
        let model = model(|g| {
            let x = g.sequence("x", 1);
            let other = g.sequence("other", 1);
            let rnn = g.add("rnn", Rnn::new(1, 1).padding(padding), x);
            g.add("sum", Join::Add, [x, other, rnn.y()]);
        });
        let nan = f32::NAN;
        let input = Input::features(array![[[0.5_f32], [nan], [nan]]])
            .with_features("other", array![[[2.0_f32], [nan], [nan]]])
            .lengths([1]);
        run(&model, vec![units(&[[1.0, 0.0]]), LayerWeights::None], &input)
    };
    let y = 0.5_f64.tanh();
    assert_near(sum(Padding::Zero).output.view(), &[2.5 + y, 0.0, 0.0], "zero");
    assert_near(sum(Padding::Held).output.view(), &[2.5 + y, y, y], "held");
}

#[test]
fn outputs_come_in_the_order_of_their_names_without_final_states() {
    let model = model(|g| {
        let x = g.sequence("x", 1);
        let rnn = g.add("rnn", Rnn::new(1, 1), x);
        let [a, b] = ["a", "b"].map(|name| g.add(name, Linear::new(1, 1).no_bias(), rnn));
        g.output("h", rnn.hidden());
        g.output("b", b);
        g.output("last", rnn.final_hidden());
        g.output("a", a);
    });
    let layers = vec![units(&[[1.0, 0.0]]), times(2.0), times(3.0)];
    let truth = run(&model, layers, &Input::features(array![[[0.5_f32], [0.25]]]));
    let [first, second] = [0.5_f64.tanh(), 0.25_f64.tanh()];
    assert_near(truth.output.view(), &[3.0 * first, 3.0 * second], "b");
    assert_eq!(truth.others.len(), 2);
    assert_near(truth.others[0].view(), &[second], "last");
    assert_near(truth.others[1].view(), &[2.0 * first, 2.0 * second], "a");
    assert_near(truth.states[0].h.view(), &[second], "h");
}

#[test]
fn final_states_of_one_stack_begin_another() {
    let model = model(|g| {
        let x = g.sequence("x", 1);
        let first = g.add("first", Rnn::new(1, 1).bidirectional(), x);
        let second = g.add("second", Rnn::new(1, 1).bidirectional(), x);
        g.begin(second, State::Hidden, first.hidden());
    });
    let layers = vec![units(&[[1.0, 0.5], [-1.0, 0.5]]), units(&[[0.0, 2.0], [0.0, 3.0]])];
    let truth = run(&model, layers, &Input::features(array![[0.5_f32], [0.25]]));
    let forward = (0.25 + 0.5 * 0.5_f64.tanh()).tanh();
    let reverse = (-0.5 + 0.5 * (-0.25_f64).tanh()).tanh();
    let (up, down) = ((2.0 * forward).tanh(), (3.0 * reverse).tanh());
    let [up_again, down_again] = [(2.0 * up).tanh(), (3.0 * down).tanh()];
    assert_near(truth.states[0].h.view(), &[forward, reverse], "first");
    assert_near(truth.output.view(), &[up, down_again, up_again, down], "second");
}

#[test]
fn a_row_begins_each_direction_with_its_own_part() {
    let model = model(|g| {
        let x = g.sequence("x", 1);
        let row = g.row("row", 2);
        let rnn = g.add("rnn", Rnn::new(1, 1).bidirectional(), x);
        g.begin(rnn, State::Hidden, row);
    });
    let input =
        Input::features(array![[[0.0_f32]], [[0.0]]]).with_features("row", array![[0.5_f32, -0.25], [1.0, 2.0]]);
    let truth = run(&model, vec![units(&[[1.0, 1.0], [1.0, 1.0]])], &input);
    assert_near(truth.output.view(), &[0.5, -0.25, 1.0, 2.0].map(f64::tanh), "output");
}

#[test]
fn a_final_state_and_the_last_output_differ_where_the_last_step_is_dead() {
    let model = model(|g| {
        let x = g.sequence("x", 1);
        let rnn = g.add("rnn", Rnn::new(1, 1).bidirectional(), x);
        let ends = g.add("ends", Join::Concat, [rnn.final_hidden(), rnn.last_output()]);
        g.output("ends", ends);
        g.output("steps", rnn);
    });
    let layers = vec![units(&[[1.0, 0.0], [2.0, 0.0]]), LayerWeights::None];
    let truth = run(&model, layers, &Input::features(array![[[0.5_f32], [f32::NAN]]]).lengths([1]));
    let (up, down) = (0.5_f64.tanh(), 1.0_f64.tanh());
    assert_near(truth.output.view(), &[up, down, 0.0, down], "ends");
    assert_near(truth.others[0].view(), &[up, down, 0.0, 0.0], "steps");
}

#[test]
fn each_input_of_tokens_goes_through_its_own_table() {
    let model = model(|g| {
        let words = g.tokens("words", 3);
        let tags = g.tokens("tags", 2);
        let [words, tags] =
            [("w", 3, words), ("t", 2, tags)].map(|(name, tokens, from)| g.add(name, Embedding::new(tokens, 1), from));
        g.add("both", Join::Concat, [tags, words]);
    });
    let layers = vec![
        LayerWeights::Embedding(array![[1.0], [2.0], [3.0]]),
        LayerWeights::Embedding(array![[10.0], [20.0]]),
        LayerWeights::None,
    ];
    // What the caller masks is not read, so it may be no token at all.
    let input = Input::tokens(array![[2_i64, 0, 99]]).with_tokens("tags", array![[0_i64, 1, -7]]).lengths([2]);
    assert_near(run(&model, layers, &input).output.view(), &[10.0, 3.0, 20.0, 1.0, 10.0, 1.0], "both");
}

#[test]
fn a_masking_layer_is_found_behind_others_that_take_the_same_input() {
    let masked = model(|g| {
        let words = g.tokens("words", 3);
        let plain = g.add("plain", Embedding::new(3, 1), words);
        let masking = g.add("masking", Embedding::new(3, 1).mask_token(1), words);
        let sum = g.add("sum", Join::Add, [plain, masking]);
        g.add("rnn", Rnn::new(1, 1), sum);
    });
    let table = || LayerWeights::Embedding(array![[0.5], [0.25], [-0.5]]);
    let layers = vec![table(), table(), LayerWeights::None, units(&[[1.0, 1.0]])];
    let truth = run(&masked, layers, &Input::tokens(array![[0_i64, 1, 2]]));
    let first = 1.0_f64.tanh();
    assert_near(truth.output.view(), &[first, 0.0, (first - 1.0).tanh()], "output");
}

#[test]
fn layers_of_one_prefix_are_one_layer() {
    let model = model(|g| {
        let x = g.sequence("x", 3);
        let y = g.sequence("y", 3);
        let [a, b] = [("a", x), ("b", y)].map(|(name, from)| g.add_with_weights(name, "w.", Gru::new(3, 4), from));
        g.add("difference", Join::Subtract, [a, b]);
    });
    let weights = Weights::random(&model, 7).unwrap();
    assert_eq!(weights.layers[0], weights.layers[1]);
    assert_eq!(model.parameters(), Model::new().layer(Gru::new(3, 4)).parameters());
    let back = Weights::from_tensors(&model, weights.to_tensors(&model).unwrap()).unwrap();
    assert_eq!(back, weights);
    let x = noise(&[2, 4, 3], 5);
    let truth = oracle::run(&model, &weights, &Input::features(x.clone()).with_features("y", x)).unwrap();
    assert!(truth.output.iter().all(|&difference| difference == 0.0));
}

/// A model of every kind of input.
fn four_inputs() -> Model {
    model(|g| {
        let x = g.sequence("x", 3);
        let other = g.sequence("other", 2);
        let words = g.tokens("words", 5);
        let facts = g.row("facts", 4);
        let words = g.add("embedding", Embedding::new(5, 2), words);
        let all = g.add("all", Join::Concat, [x, other, words.y(), facts]);
        let gru = g.add("gru", Gru::new(11, 4), all);
        g.begin(gru, State::Hidden, facts);
    })
}

#[track_caller]
fn assert_refused(model: &Model, input: &Input, message: &str) {
    let error = oracle::run(model, &Weights::random(model, 1).unwrap(), input).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Shape, message));
}

#[test]
fn inputs_that_do_not_fit_the_main_one_are_refused() {
    let model = four_inputs();
    let input = || {
        Input::features(Array3::zeros((2, 6, 3)))
            .with_features("other", Array3::<f32>::zeros((2, 6, 2)))
            .with_tokens("words", Array2::<i64>::zeros((2, 6)))
            .with_features("facts", Array2::<f32>::zeros((2, 4)))
    };
    let weights = Weights::random(&model, 1).unwrap();
    assert_eq!(oracle::run(&model, &weights, &input()).unwrap().output.shape(), [2, 6, 4]);
    let longer = Array3::<f32>::zeros((2, 7, 2));
    let expected = "other: expected [2, 6, 2], as x is [2, 6, 3], got [2, 7, 2]";
    assert_refused(&model, &input().with_features("other", longer), expected);
    let more_rows = Array2::<f32>::zeros((3, 4));
    let expected = "facts: expected [2, 4], as x is [2, 6, 3], got [3, 4]";
    assert_refused(&model, &input().with_features("facts", more_rows), expected);
    let one = Array2::<i64>::zeros((6, 2));
    let expected = "words: expected [2, 6], as x is [2, 6, 3], got [6, 2]";
    assert_refused(&model, &input().with_tokens("words", one), expected);
    let features = Array3::<f32>::zeros((2, 6, 5));
    let expected = "words: expected integer tokens [2, 6], got features [2, 6, 5]";
    assert_refused(&model, &input().with_features("words", features), expected);
    let tokens = Array2::<i64>::zeros((2, 6));
    let expected = "other: expected features [2, 6, 2], got tokens [2, 6]";
    assert_refused(&model, &input().with_tokens("other", tokens), expected);
    let mut tokens = Array2::<i64>::zeros((2, 6));
    tokens[[1, 4]] = 5;
    let expected = "words: expected tokens from 0 to 4, got 5 at [1, 4]";
    assert_refused(&model, &input().with_tokens("words", tokens.clone()), expected);
    oracle::run(&model, &weights, &input().with_tokens("words", tokens).lengths([6, 4])).unwrap();
    let unknown = input().with_features("fact", Array2::<f32>::zeros((2, 4)));
    let expected = "fact: expected an input of the model (other, words, facts), got another name";
    assert_refused(&model, &unknown, expected);
    let missing = Input::features(Array3::zeros((2, 6, 3)));
    assert_refused(&model, &missing, "other: expected an input of this name beside x, got none");
    let wide = Input::features(Array3::zeros((2, 6, 4)));
    assert_refused(&model, &wide, "x: expected [B, T, 3], got [2, 6, 4]");
    let states = input().states(States::hidden(Array3::<f32>::zeros((1, 2, 4))));
    let expected = "states of stack 0 (gru): expected none, since a value of the model begins it";
    assert_refused(&model, &states, expected);
    let single = Input::features(Array2::zeros((6, 3)))
        .with_features("other", Array2::<f32>::zeros((6, 2)))
        .with_tokens("words", arr1(&[0_i64; 6]))
        .with_features("facts", arr1(&[0.0_f32; 4]));
    assert_eq!(oracle::run(&model, &weights, &single).unwrap().output.shape(), [6, 4]);
    // A chain takes no input but its sequence.
    let chain = Model::new().layer(Gru::new(3, 4));
    let expected = "facts: expected an input of the model (none beside its sequence), got another name";
    let input = Input::features(Array3::zeros((2, 6, 3))).with_features("facts", Array2::<f32>::zeros((2, 4)));
    assert_refused(&chain, &input, expected);
}

#[track_caller]
fn assert_unsound(build: impl FnOnce(&mut Graph), message: &str) {
    let mut graph = Model::graph();
    build(&mut graph);
    let error = graph.finish().unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Model, message));
}

#[test]
fn values_of_different_time_that_meet_are_both_named() {
    let mut g = Model::graph();
    let (x, other) = (g.sequence("x", 3), g.sequence("other", 3));
    let short = g.add("short", SliceSteps::from(0).to(4), x);
    let rnn = g.add("rnn", Rnn::new(3, 3), short);
    let less = g.add("less", SliceSteps::from(0).to(2), other);
    let ends = g.add("ends", Rnn::new(3, 3), less);
    g.add("sum", Join::Add, [rnn, ends]);
    let model = g.finish().unwrap();
    let call = |x: &[usize], other: &[usize]| {
        Input::features(ArrayD::<f32>::zeros(x)).with_features("other", ArrayD::<f32>::zeros(other))
    };
    let expected = "layer 4 sum (add): expected values of equal T, got rnn [2, 4, 3] and ends [2, 2, 3]";
    assert_refused(&model, &call(&[2, 5, 3], &[2, 6, 3]), expected);
    let expected = "layer 4 sum (add): expected values of equal T, got rnn [4, 3] and ends [2, 3]";
    assert_refused(&model, &call(&[5, 3], &[6, 3]), expected);
    let turned = model.axes(Axes::TimeMajor);
    let expected = "layer 4 sum (add): expected values of equal T, got rnn [4, 2, 3] and ends [2, 2, 3]";
    assert_refused(&turned, &call(&[5, 2, 3], &[6, 2, 3]), expected);
}

/// Steps that a call gives without a name apply to every time axis without steps of its own.
#[test]
fn lengths_and_a_mask_are_those_of_all_inputs_of_equal_time() {
    let mut g = Model::graph();
    let (x, other) = (g.sequence("x", 3), g.tokens("other", 5));
    let a = g.add("a", Gru::new(3, 4), x);
    let vectors = g.add("vectors", Embedding::new(5, 2), other);
    let b = g.add("b", Rnn::new(2, 3), vectors);
    g.add("ends", Join::Concat, [a.final_hidden(), b.final_hidden()]);
    let model = g.finish().unwrap();
    let weights = Weights::random(&model, 3).unwrap();
    let input = |time: usize| {
        let x = Array3::from_shape_fn((2, 5, 3), |(b, t, n)| (b + 2 * t + n) as f32 * 0.1);
        let other = Array2::from_shape_fn((2, time), |(b, t)| ((b + t * t) % 5) as i64);
        Input::features(x).with_tokens("other", other)
    };
    let run = |input: Input| oracle::run(&model, &weights, &input).unwrap().output;
    let each = run(input(5).lengths_of("x", [5, 2]).lengths_of("other", [5, 2]));
    assert_eq!(run(input(5).lengths([5, 2])), each);
    assert_ne!(run(input(5).lengths_of("x", [5, 2])), each);
    assert_ne!(run(input(5).lengths_of("other", [5, 2])), each);
    let live = Array2::from_shape_fn((2, 5), |(b, t)| b == 0 || t < 2);
    assert_eq!(run(input(5).mask(live.clone())), each);
    // An axis with steps of its own need not have the T of the others.
    let apart = run(input(7).lengths_of("x", [5, 2]).lengths_of("other", [6, 3]));
    assert_eq!(run(input(7).lengths([5, 2]).lengths_of("other", [6, 3])), apart);
    assert_eq!(run(input(7).mask(live.clone()).lengths_of("other", [6, 3])), apart);

    let expected = "lengths: expected inputs of equal T, since it is told of all, got x of 5 steps and other of 7; x_lengths and \
                    other_lengths (Input::lengths_of) are told of one";
    assert_refused(&model, &input(7).lengths([5, 2]), expected);
    let expected = "mask: expected inputs of equal T, since it is told of all, got x of 5 steps and other of 4; x_mask and \
                    other_mask (Input::mask_of) are told of one";
    assert_refused(&model, &input(4).mask(live), expected);
    let twice = input(5).lengths([5, 2]).lengths_of("x", [5, 2]).lengths_of("other", [5, 2]);
    assert_refused(&model, &twice, "x: expected lengths or a mask, got two of them; a mask says it all");
    let wrong = input(7).lengths([5, 6]).lengths_of("x", [5, 2]);
    oracle::run(&model, &weights, &wrong).unwrap();
    let wrong = input(7).lengths([5, 8]).lengths_of("x", [5, 2]);
    assert_refused(&model, &wrong, "other: lengths: expected 0 to 7 (T) for row 1, got 8");
}

/// A mask takes steps out of the values computed from it, and of nothing else.
#[test]
fn masks_belong_to_values() {
    let mut g = Model::graph();
    let (x, other) = (g.sequence("x", 2), g.sequence("other", 2));
    let masked = g.add("masking", Masking::new(2, 0.0), other);
    let plain = g.add("plain", Gru::new(2, 3), x);
    let holed = g.add("holed", Gru::new(2, 3), masked);
    let raw = g.add("raw", Gru::new(2, 3), other);
    g.add("joined", Join::Concat, [plain, holed, raw]);
    let model = g.finish().unwrap();
    let weights = Weights::random(&model, 3).unwrap();
    let x = Array3::from_shape_fn((1, 4, 2), |(_, t, n)| 0.1 + t as f32 - n as f32);
    let mut other = x.mapv(|x| x / 2.0);
    other.slice_mut(s![0, 1..3, ..]).fill(0.0);
    let got = oracle::run(&model, &weights, &Input::features(x.clone()).with_features("other", other.clone())).unwrap();
    let alone = |layer: usize, input: Input| {
        let weights = Weights::new(vec![weights.layers[layer].clone()]);
        oracle::run(&Model::new().layer(Gru::new(2, 3)), &weights, &input).unwrap().output
    };
    let part = |first: usize| got.output.slice(s![.., .., first..first + 3]).into_dyn().to_owned();
    assert_eq!(part(0), alone(1, Input::features(x)));
    let holes = Input::features(other.clone()).mask(ndarray::array![[true, false, false, true]]);
    assert_eq!(part(3), alone(2, holes));
    assert_eq!(part(6), alone(3, Input::features(other)));
}

#[test]
fn a_model_has_few_clocks() {
    assert_unsound(
        |g| {
            let towers: Vec<_> = (0..17)
                .map(|n| {
                    let x = g.sequence(format!("x{n}"), 2);
                    g.add(format!("tower{n}"), Gru::new(2, 3), x).final_hidden()
                })
                .collect();
            g.add("sum", Join::Add, towers);
        },
        "expected at most 16 time axes, counted with each way to mask them, got 17",
    );
}

/// One state of a stack may begin as the call says, and the other at a value.
#[test]
fn a_call_says_only_of_states_that_no_value_begins() {
    let lstm = |state: State| {
        let mut g = Model::graph();
        let (x, facts, given) = (g.sequence("x", 2), g.row("facts", 3), g.state("given", state));
        let lstm = g.add("lstm", Lstm::new(2, 3), x);
        let other = if state == State::Hidden { State::Cell } else { State::Hidden };
        g.begin(lstm, state, given);
        g.begin(lstm, other, facts);
        g.finish().unwrap()
    };
    let (h, c) = (Array3::from_elem((1, 2, 3), 0.3), Array3::from_elem((1, 2, 3), -0.4));
    let row = |state: &Array3<f32>| state.index_axis(ndarray::Axis(0), 0).to_owned();
    let x = Array3::from_shape_fn((2, 5, 2), |(b, t, n)| (b + t + n) as f32 * 0.1);
    let input = |facts: &Array3<f32>| Input::features(x.clone()).with_features("facts", row(facts));
    let (cell, hidden) = (lstm(State::Cell), lstm(State::Hidden));
    let weights = Weights::random(&cell, 7).unwrap();
    let plain = Input::features(x.clone()).states(States::with_cell(h.clone(), c.clone()));
    let plain = oracle::run(&Model::new().layer(Lstm::new(2, 3)), &weights, &plain).unwrap();
    let got = oracle::run(&cell, &weights, &input(&h).states(States::cell(c.clone()))).unwrap();
    assert_eq!(got.output, plain.output);
    let got = oracle::run(&hidden, &weights, &input(&c).states(States::hidden(h.clone()))).unwrap();
    assert_eq!(got.output, plain.output);

    let both = States::with_cell(h.clone(), c.clone());
    let expected = "states of stack 0 (lstm): h: expected none, since a value of the model begins it, got [1, 2, 3]; \
                    States::cell has cell states alone";
    assert_refused(&cell, &input(&h).states(both.clone()), expected);
    let expected = "states of stack 0 (lstm): c: expected none, since a value of the model begins it, got [1, 2, 3]; \
                    States::hidden has hidden states alone";
    assert_refused(&hidden, &input(&c).states(both), expected);
    let expected = "states of stack 0 (lstm): c: expected cell states beside h, got none; zeros will do";
    assert_refused(&cell, &input(&h).states(States { c: None, ..States::cell(c.clone()) }), expected);
    let expected = "states of stack 0 (lstm): h: expected [1, 2, 3] (layers · directions, B, size), got [0]";
    assert_refused(&hidden, &input(&c).states(States::cell(c)), expected);
}
