//! Losses and gradients worked out on paper: what counts, and what a mean divides by.

use gatewave::interface::Axes;
use gatewave::layer::Join;
use gatewave::oracle::{TrueGradients, gradients};
use gatewave::train::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets};
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Embedding, Gru, Input, Linear, Lstm, Model, Select, Weights};
use ndarray::{Array2, Array3, arr0, arr1, array};

/// A model with `y = x` of two features.
fn same() -> (Model, Weights) {
    let weights = LayerWeights::Linear { w: Array2::eye(2), b: None };
    (Model::new().layer(Linear::new(2, 2).no_bias()), Weights::new(vec![weights]))
}

fn x() -> Array3<f32> {
    array![[[0.0, 1.0], [2.0, 4.0], [9.0, 9.0]], [[3.0, 0.0], [1.0, 1.0], [0.5, 0.0]]]
}

fn of(input: &Input, objective: impl Into<Objective>, targets: Targets) -> TrueGradients {
    let (model, weights) = same();
    gradients(&model, &weights, input, &objective.into(), &[targets]).expect("targets fit")
}

#[track_caller]
fn near(got: f64, want: f64) {
    assert!((got - want).abs() < 1e-6, "{got}, expected {want}");
}

/// `−ln p` of the first and the second of two classes whose logits are `d` apart.
fn ce(d: f64) -> f64 {
    d.exp().ln_1p()
}

#[test]
fn a_mean_is_over_live_steps_and_features() {
    let input = Input::features(x()).lengths([2, 3]);
    let zeros = || Targets::values(Array3::<f32>::zeros((2, 3, 2)));
    // Squares 0 + 1 + 4 + 16 and 9 + 1 + 1 + 0.25 of five steps of two features.
    let truth = of(&input, Loss::MeanSquared, zeros());
    near(truth.loss, 32.25 / 10.0);
    near(truth.inputs["x"][[0, 1, 1]], 2.0 * 4.0 / 10.0);
    assert_eq!(truth.inputs["x"][[0, 2, 0]], 0.0, "a dead step");
    near(of(&input, Loss::MeanAbsolute, zeros()).loss, 12.5 / 10.0);
    near(of(&input, Huber::default().delta(2.0), zeros()).loss, (0.5 + 2.0 + 6.0 + 4.0 + 0.5 + 0.5 + 0.125) / 10.0);
    near(of(&input, Loss::SumOfSquares, Targets::none()).loss, 32.25);
}

#[test]
fn a_dead_step_may_have_any_target() {
    let input = Input::features(x()).lengths([2, 3]);
    let mut values = Array3::<f32>::zeros((2, 3, 2));
    values[[0, 2, 0]] = f32::NAN;
    near(of(&input, Loss::MeanSquared, Targets::values(values)).loss, 32.25 / 10.0);
    let classes = Targets::classes(array![[0, 1, 77], [0, 0, 0]]);
    near(of(&input, CrossEntropy::default(), classes).loss, (ce(1.0) + ce(-2.0) + ce(-3.0) + ce(0.0) + ce(-0.5)) / 5.0);
}

#[test]
fn ignored_targets_and_class_weights_divide_as_pytorchs() {
    let input = Input::features(x());
    let classes = || Targets::classes(array![[0, 1, -100], [0, 0, -100]]);
    let truth = of(&input, CrossEntropy::default(), classes());
    near(truth.loss, (ce(1.0) + ce(-2.0) + ce(-3.0) + ce(0.0)) / 4.0);
    assert_eq!(truth.inputs["x"][[1, 2, 0]], 0.0, "an ignored step");
    let weighted = CrossEntropy::default().class_weights([0.5, 2.0]);
    near(
        of(&input, weighted, classes()).loss,
        (0.5 * (ce(1.0) + ce(-3.0) + ce(0.0)) + 2.0 * ce(-2.0)) / (0.5 + 2.0 + 0.5 + 0.5),
    );
    let other = CrossEntropy::default().ignore(1);
    near(of(&input, other, Targets::classes(array![[0, 1, 1], [1, 0, 1]])).loss, (ce(1.0) + ce(0.0)) / 2.0);
}

#[test]
fn smoothing_spreads_the_target_by_class_weights() {
    let input = Input::features(x().slice_move(ndarray::s![..1, ..2, ..]));
    let smooth = CrossEntropy::default().class_weights([0.5, 2.0]).smoothing(0.2);
    let spread = |d: f64| 0.1 * (0.5 * ce(d) + 2.0 * ce(-d));
    let want = 0.8 * (0.5 * ce(1.0) + 2.0 * ce(-2.0)) + spread(1.0) + spread(2.0);
    near(of(&input, smooth, Targets::classes(array![[0, 1]])).loss, want / 2.5);
    let binary = BinaryCrossEntropy::default().smoothing(0.2);
    let yes = |z: f64, t: f64| z.exp().ln_1p() - t * z;
    let targets = Targets::values(array![[[1.0_f32, 0.0], [0.5, 1.0]]]);
    near(of(&input, binary, targets).loss, (yes(0.0, 0.9) + yes(1.0, 0.1) + yes(2.0, 0.5) + yes(4.0, 0.9)) / 4.0);
}

#[test]
fn sample_weights_multiply_and_do_not_divide() {
    let input = Input::features(x()).lengths([2, 3]);
    let zeros = || Targets::values(Array3::<f32>::zeros((2, 3, 2)));
    near(of(&input, Loss::MeanSquared, zeros().sample_weights(arr1(&[3.0_f32, 0.0]))).loss, 3.0 * 21.0 / 10.0);
    let each = zeros().sample_weights(array![[0.0_f32, 2.0, f32::NAN], [0.0, 0.0, 1.0]]);
    near(of(&input, Loss::MeanSquared, each).loss, (2.0 * 20.0 + 0.25) / 10.0);
}

#[test]
fn weights_of_yes_and_no_multiply_rows_and_do_not_divide() {
    // The first feature: logits 0 and 2, and 3, 1 and 0.5.
    let model = Model::new().layer(Linear::new(2, 1).no_bias());
    let weights = Weights::new(vec![LayerWeights::Linear { w: array![[1.0, 0.0]], b: None }]);
    let input = Input::features(x()).lengths([2, 3]);
    let of = |loss: BinaryCrossEntropy, targets: Targets| {
        gradients(&model, &weights, &input, &Objective::new(loss), &[targets]).expect("targets fit")
    };
    let targets = || Targets::values(array![[1.0_f32, 0.0, f32::NAN], [1.0, 0.25, 0.0]]);
    let (loss, yes) = (BinaryCrossEntropy::default(), |z: f64, t: f64| z.exp().ln_1p() - t * z);
    let weighted = of(loss.clone().class_weights([0.5, 3.0]), targets());
    let rows = 3.0 * (yes(0.0, 1.0) + yes(3.0, 1.0)) + 0.5 * (yes(2.0, 0.0) + yes(0.5, 0.0)) + 1.125 * yes(1.0, 0.25);
    near(weighted.loss, rows / 5.0);
    // ∂ℓ/∂z = σ(z) − t.
    near(weighted.inputs["x"][[0, 1, 0]], 0.5 / (1.0 + (-2.0_f64).exp()) / 5.0);
    // Smoothing changes targets, but not their weights.
    for loss in [loss.clone(), loss.smoothing(0.2)] {
        let each = array![[3.0_f32, 0.5, 0.0], [3.0, 1.125, 0.5]];
        let want = of(loss.clone(), targets().sample_weights(each));
        let got = of(loss.class_weights([0.5, 3.0]), targets());
        assert_eq!((got.loss, &got.weights), (want.loss, &want.weights));
    }
}

#[test]
fn terms_are_weighted_and_added() {
    let mut graph = Model::graph();
    let x = graph.sequence("x", 2);
    let first = graph.add_with_weights("first", "a.", Linear::new(2, 2).no_bias(), x);
    let twin = graph.add_with_weights("twin", "a.", Linear::new(2, 2).no_bias(), x);
    graph.output("first", first);
    graph.output("twin", twin);
    let model = graph.finish().unwrap();
    let eye = LayerWeights::Linear { w: Array2::eye(2), b: None };
    let weights = Weights::new(vec![eye.clone(), eye]);
    let objective = Objective::new(Loss::SumOfSquares).and(1, Loss::SumOfSquares, 0.5);
    let input = Input::features(array![[[1.0_f32, 3.0]]]);
    let truth = gradients(&model, &weights, &input, &objective, &[Targets::none(), Targets::none()]).unwrap();
    near(truth.loss, 15.0);
    // Shared weights have the sum of both gradients: δW = 2 (1 + 0.5) y xᵀ.
    assert_eq!(truth.weights["a.weight"], array![[3.0, 9.0], [9.0, 27.0]].into_dyn());
    assert_eq!(truth.inputs["x"], array![[[3.0, 9.0]]].into_dyn());
}

/// Compares a model with an activation at its end and the same model without.
fn ends(end: impl Fn(Model, Activation) -> Model, activation: Activation, loss: Loss, targets: &Targets) {
    let input = Input::features(x()).lengths([2, 3]);
    let at = |activation| {
        let model = end(Model::new().layer(Gru::new(2, 3)), activation);
        let weights = Weights::random(&model, 4).expect("the model is right");
        gradients(&model, &weights, &input, &Objective::new(loss.clone()), std::slice::from_ref(targets))
            .expect("targets fit")
    };
    let (with, without) = (at(activation), at(Activation::Linear));
    near(with.loss, without.loss);
    for (name, want) in &without.weights {
        let (got, want) = (&with.weights[name], want);
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-9), "{name}: {got}, expected {want}");
    }
}

#[test]
fn a_last_softmax_or_sigmoid_is_part_of_the_loss() {
    let linear = |model: Model, f| model.layer(Linear::new(3, 2).activation(f));
    let alone = |model: Model, f: Activation| model.layer(Linear::new(3, 2)).layer(f);
    let behind = |model: Model, f| {
        model.layer(Linear::new(3, 2).activation(f)).layer(gatewave::layer::Dropout::new(0.0)).layer(Select::LastStep)
    };
    let steps = Targets::classes(array![[0, 1, 0], [1, 0, 1]]);
    let rows = Targets::classes(arr1(&[1, 0]));
    for f in [Activation::Softmax, Activation::LogSoftmax] {
        ends(linear, f, CrossEntropy::default().into(), &steps);
        ends(alone, f, CrossEntropy::default().into(), &steps);
        ends(behind, f, CrossEntropy::default().into(), &rows);
    }
    let values = Targets::values(array![[1.0_f32, 0.0], [0.0, 0.25]]);
    ends(behind, Activation::Sigmoid, BinaryCrossEntropy::default().into(), &values);
}

#[test]
fn a_padding_row_of_a_table_does_not_train() {
    let mut table = Embedding::new(4, 2);
    table.padding_idx = Some(1);
    let model = Model::new().layer(table).layer(Lstm::new(2, 3));
    let weights = Weights::random(&model, 1).unwrap();
    let input = Input::tokens(array![[1_i64, 2, 1, 3]]);
    let truth = gradients(&model, &weights, &input, &Objective::new(Loss::SumOfSquares), &[Targets::none()]).unwrap();
    let table = &truth.weights["0.weight"];
    assert!(table.index_axis(ndarray::Axis(0), 1).iter().all(|&d| d == 0.0));
    assert!(table.index_axis(ndarray::Axis(0), 2).iter().all(|&d| d != 0.0));
    assert!(truth.inputs.is_empty(), "tokens have no gradient");
}

#[test]
fn equal_values_of_a_maximum_share_its_gradient() {
    let mut graph = Model::graph();
    let x = graph.sequence("x", 1);
    let same = graph.add("same", gatewave::layer::Dropout::new(0.5), x);
    let most = graph.add("most", Join::Maximum, [same.y(), x, x]);
    graph.output("y", most);
    let model = graph.finish().unwrap();
    let weights = Weights::new(vec![LayerWeights::None; 2]);
    let input = Input::features(array![[[3.0_f32]]]);
    let truth = gradients(&model, &weights, &input, &Objective::new(Loss::SumOfSquares), &[Targets::none()]).unwrap();
    assert_eq!(truth.inputs["x"], array![[[6.0]]].into_dyn());
}

#[test]
fn gradients_come_in_the_axes_of_the_call() {
    let model = Model::new().layer(Lstm::new(2, 3)).layer(Select::LastStep).layer(Linear::new(3, 2));
    let weights = Weights::random(&model, 1).unwrap();
    let objective = Objective::new(CrossEntropy::default());
    let rows =
        gradients(&model, &weights, &Input::features(x()), &objective, &[Targets::classes(arr1(&[1, 0]))]).unwrap();
    let major = model.clone().axes(Axes::TimeMajor);
    let swapped = Input::features(x().permuted_axes([1, 0, 2]));
    let steps = gradients(&major, &weights, &swapped, &objective, &[Targets::classes(arr1(&[1, 0]))]).unwrap();
    assert_eq!(steps.inputs["x"].clone().permuted_axes(ndarray::IxDyn(&[1, 0, 2])), rows.inputs["x"]);
    assert_eq!(steps.weights, rows.weights);
    let single = Input::features(x().index_axis_move(ndarray::Axis(0), 0));
    let single = gradients(&model, &weights, &single, &objective, &[Targets::classes(arr0(1))]).unwrap();
    assert_eq!((single.inputs["x"].shape(), single.states[&0].h.shape()), (&[3, 2][..], &[1, 3][..]));
    near(single.inputs["x"][[0, 0]], 2.0 * rows.inputs["x"][[0, 0, 0]]);
    assert_eq!(rows.states[&0].c.as_ref().map(|c| c.shape().to_vec()), Some(vec![1, 2, 3]));
}

/// A hidden state affects the loss like the initial state of a call that begins there: only later steps are read.
#[test]
fn hidden_states_have_the_gradients_of_a_call_that_begins_at_them() {
    for (model, features, has_cell) in
        [(Model::new().layer(Gru::new(2, 3)), 3, false), (Model::new().layer(Lstm::new(2, 3).proj_size(2)), 2, true)]
    {
        let model = model.layer(Select::LastStep).layer(Linear::new(features, 1));
        let weights = Weights::random(&model, 5).expect("the model is right");
        let x = Array3::from_shape_fn((2, 6, 2), |(b, t, n)| ((b * 5 + t * 3 + n) as f32).sin());
        let objective: Objective = Loss::MeanSquared.into();
        let targets = [Targets::values(array![[0.3], [-0.7]])];
        let of = |input: &Input| gradients(&model, &weights, input, &objective, &targets).expect("targets fit");
        let whole = of(&Input::features(x.clone()));
        assert_eq!(whole.hidden[&0].shape(), [1, 6, 2, features]);
        for step in 0..5 {
            let before = x.slice(ndarray::s![.., ..=step, ..]).to_owned();
            let states = gatewave::oracle::run(&model, &weights, &Input::features(before)).expect("it runs").states;
            #[expect(clippy::cast_possible_truncation, reason = "states are 32-bit floats")]
            let narrow = |states: &ndarray::ArrayD<f64>| states.mapv(|x| x as f32);
            let from = gatewave::States { h: narrow(&states[0].h), c: states[0].c.as_ref().map(narrow) };
            assert_eq!(from.c.is_some(), has_cell);
            let behind = x.slice(ndarray::s![.., step + 1.., ..]).to_owned();
            let rest = of(&Input::features(behind).states(from));
            for (got, want) in whole.hidden[&0].index_axis(ndarray::Axis(1), step).iter().zip(&rest.states[&0].h) {
                near(*got, *want);
            }
        }
        assert_eq!(whole.states[&0].h.shape(), [1, 2, features]);
    }
}
