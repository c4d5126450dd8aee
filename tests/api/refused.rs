//! Models, weights and inputs that do not fit: each error says where, what was expected, and what it got.

use super::*;

#[test]
fn a_constant_that_is_no_number_is_refused() {
    let nan = Activation::Elu { alpha: f32::NAN.into() };
    let refused = |model: Model| model.check().unwrap_err().to_string();
    let gates = refused(Model::new().layer(Rnn::new(2, 2).nonlinearity(nan)));
    assert_eq!(gates, "layer 0 rnn: function f: alpha of elu: expected a number, got NaN");
    let layer = refused(Model::new().layer(Rnn::new(2, 2)).layer(nan));
    assert_eq!(layer, "layer 1 activation: alpha of elu: expected a number, got NaN");
}

#[test]
fn a_model_or_weights_that_do_not_fit_are_refused_when_the_engine_is_made() {
    let model = Model::new().layer(Rnn::new(3, 4)).layer(Linear::new(4, 2));
    let other = Weights::random(&Model::new().layer(Rnn::new(3, 5)).layer(Linear::new(5, 2)), 1).unwrap();
    let refused = Engine::new(model, &other, Device::Cpu).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Weights);
    assert_eq!(refused.to_string(), "weights of layer 0 rnn: cell 0: w_x: expected [4, 3], got [5, 3]");
    let refused = Engine::new(Model::new(), &Weights::new(Vec::new()), Device::Cpu).unwrap_err();
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Model, "the model has no layers"));
}

#[track_caller]
#[test]
fn features_that_do_not_fit_are_refused_with_what_was_expected() {
    let model = Model::new().layer(Lstm::new(32, 4));
    let (engine, time_major) = (cpu(&model), cpu(&model.axes(Axes::TimeMajor)));
    let zeros = |dims: &[usize]| Input::features(ArrayD::zeros(dims));
    assert_refused(&engine, &zeros(&[3, 5, 31]), "input: expected [B, T, 32], got [3, 5, 31]");
    assert_refused(&time_major, &zeros(&[3, 5, 31]), "input: expected [T, B, 32], got [3, 5, 31]");
    assert_refused(&engine, &zeros(&[5, 31]), "input: expected [B, T, 32] or [T, 32] for one sequence, got [5, 31]");
    assert_refused(&engine, &zeros(&[32]), "input: expected [B, T, 32] or [T, 32] for one sequence, got [32]");
    assert_refused(&engine, &zeros(&[]), "input: expected [B, T, 32] or [T, 32] for one sequence, got []");
    assert_refused(
        &engine,
        &zeros(&[2, 3, 5, 32]),
        "input: expected [B, T, 32] or [T, 32] for one sequence, got [2, 3, 5, 32]",
    );
    assert_refused(
        &engine,
        &zeros(&[3, 0, 32]),
        "input: expected at least one step and one row, got [3, 0, 32] (T = 0, B = 3)",
    );
    assert_refused(
        &engine,
        &zeros(&[0, 5, 32]),
        "input: expected at least one step and one row, got [0, 5, 32] (T = 5, B = 0)",
    );
    assert_refused(
        &engine,
        &Input::tokens(Array2::zeros((3, 5))),
        "input: expected a sequence of 32 features, got integers [3, 5], which are tokens; give floats, or begin the model \
         with an embedding or one_hot",
    );
}

#[test]
fn tokens_that_do_not_fit_are_refused_with_what_was_expected() {
    let model = Model::new().layer(Embedding::new(500, 4)).layer(Rnn::new(4, 3));
    let (engine, time_major) = (cpu(&model), cpu(&model.axes(Axes::TimeMajor)));
    let outside = array![[1_i64, 2], [3, 500], [5, -1]];
    assert_refused(
        &engine,
        &Input::tokens(array![[1_i64, 2], [3, 500]]),
        "input: expected tokens from 0 to 499, got 500 at [1, 1]",
    );
    assert_refused(
        &engine,
        &Input::tokens(outside.clone()).lengths([2, 1, 2]),
        "input: expected tokens from 0 to 499, got -1 at [2, 1]",
    );
    assert_refused(
        &time_major,
        &Input::tokens(outside).lengths([3, 2]),
        "input: expected tokens from 0 to 499, got 500 at [1, 1]",
    );
    assert_refused(
        &engine,
        &Input::tokens(array![7_i64, 1 << 40]),
        "input: expected tokens from 0 to 499, got 1099511627776 at [1]",
    );
    assert_refused(
        &engine,
        &Input::tokens(Array3::zeros((2, 3, 4))),
        "input: expected [B, T] or [T] for one sequence, got [2, 3, 4]",
    );
    assert_refused(
        &engine,
        &Input::features(Array3::zeros((3, 5, 4))),
        "input: expected integer tokens [B, T] (the model begins with embedding), got features [3, 5, 4]",
    );
}

#[test]
fn lengths_and_masks_that_do_not_fit_are_refused_with_what_was_expected() {
    let model = Model::new().layer(Gru::new(4, 3));
    let (engine, time_major) = (cpu(&model), cpu(&model.axes(Axes::TimeMajor)));
    let x = || Input::features(Array3::zeros((3, 5, 4)));
    assert_refused(&engine, &x().lengths([1, 2]), "lengths: expected 3, one for each row of the batch, got 2");
    assert_refused(&engine, &x().lengths([1, -2, 3]), "lengths: expected 0 to 5 (T) for row 1, got -2");
    assert_refused(&engine, &x().lengths([1, 2, 6]), "lengths: expected 0 to 5 (T) for row 2, got 6");
    assert_refused(
        &engine,
        &x().lengths([1, 2, 3]).mask(Array2::from_elem((3, 5), true)),
        "lengths and mask: expected one of them, got both; a mask says it all",
    );
    let swapped = Array2::from_elem((5, 3), true);
    assert_refused(&engine, &x().mask(swapped), "mask: expected [3, 5] (B, T), got [5, 3]");
    let alone = Input::features(Array2::zeros((5, 4)));
    let batched = Array2::from_elem((1, 5), true);
    assert_refused(&engine, &alone.mask(batched), "mask: expected [5] (T), got [1, 5]");
    let as_the_sequence = Array2::from_elem((3, 5), true);
    assert_refused(&time_major, &x().mask(as_the_sequence), "mask: expected [5, 3] (B, T), got [3, 5]");
}

#[test]
fn states_that_do_not_fit_are_refused_with_what_was_expected() {
    let model = Model::new().layer(Lstm::new(4, 6).num_layers(2).bidirectional().proj_size(3)).layer(Gru::new(6, 5));
    let engine = cpu(&model);
    let x = || Input::features(Array3::zeros((3, 5, 4)));
    let zeros = |dims: &[usize]| ArrayD::zeros(dims);
    assert_refused(
        &engine,
        &x().states(States::with_cell(zeros(&[4, 3, 6]), zeros(&[4, 3, 6]))),
        "states of stack 0 (lstm): h: expected [4, 3, 3] (layers · directions, B, size), got [4, 3, 6]",
    );
    assert_refused(
        &engine,
        &x().states(States::with_cell(zeros(&[4, 3, 3]), zeros(&[4, 3, 3]))),
        "states of stack 0 (lstm): c: expected [4, 3, 6] (layers · directions, B, size), got [4, 3, 3]",
    );
    assert_refused(
        &engine,
        &x().states(States::hidden(zeros(&[4, 3, 3]))),
        "states of stack 0 (lstm): c: expected cell states beside h, got none; zeros will do",
    );
    assert_refused(
        &engine,
        &x().stack_states(1, States::with_cell(zeros(&[1, 3, 5]), zeros(&[1, 3, 5]))),
        "states of stack 1 (gru): c: expected none (only an lstm has cell states), got [1, 3, 5]",
    );
    assert_refused(
        &engine,
        &x().stack_states(2, States::hidden(zeros(&[1, 3, 5]))),
        "states of stack 2: the model has 2 recurrent stack(s), counted from 0",
    );
    assert_refused(
        &engine,
        &Input::features(Array2::zeros((5, 4))).stack_states(1, States::hidden(zeros(&[1, 1, 5]))),
        "states of stack 1 (gru): h: expected [1, 5] (layers · directions, size), got [1, 1, 5]",
    );
}

#[test]
fn weights_that_no_memory_holds_are_an_error() {
    for layers in [1, 2_147_483_647] {
        let model = Model::new().layer(Lstm::new(4, 2_147_483_647).num_layers(layers));
        let error = Weights::random(&model, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limits);
        assert!(error.to_string().ends_with("which this machine does not give; try a smaller model"), "{error}");
    }
}
