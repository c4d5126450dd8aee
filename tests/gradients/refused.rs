//! Targets and losses that are refused: where, what was expected, and what it got.

use gatewave::oracle::gradients;
use gatewave::train::{BinaryCrossEntropy, CrossEntropy, Huber, Loss, Objective, Targets};
use gatewave::{Activation, ErrorKind, Gru, Input, Linear, Model, Select, Weights};
use ndarray::{Array2, Array3, arr1, array};

fn steps(activation: Activation) -> Model {
    Model::new().layer(Gru::new(1, 2)).layer(Linear::new(2, 3).activation(activation))
}

/// Returns the error for two rows of three steps; the first row has two.
fn error(model: &Model, objective: impl Into<Objective>, targets: &[Targets]) -> (ErrorKind, String) {
    let weights = Weights::random(model, 0).expect("the model is right");
    let input = Input::features(Array3::ones((2, 3, 1))).lengths([2, 3]);
    let error = gradients(model, &weights, &input, &objective.into(), targets).expect_err("this is refused");
    (error.kind(), error.to_string())
}

fn shape(objective: impl Into<Objective>, targets: Targets) -> String {
    refused(ErrorKind::Shape, objective, targets)
}

fn refused(kind: ErrorKind, objective: impl Into<Objective>, targets: Targets) -> String {
    let (got, text) = error(&steps(Activation::Linear), objective, &[targets]);
    assert_eq!(got, kind, "{text}");
    text
}

#[test]
fn targets_that_do_not_fit_the_output() {
    let ce = CrossEntropy::default;
    assert_eq!(shape(ce(), Targets::classes(arr1(&[0, 1]))), "targets: expected classes [2, 3] (B, T), got [2]");
    assert_eq!(
        shape(ce(), Targets::values(Array3::zeros((2, 3, 3)))),
        "targets: expected integer classes [2, 3] (B, T), got numbers [2, 3, 3]"
    );
    assert_eq!(
        shape(Loss::MeanSquared, Targets::values(Array2::<f32>::zeros((2, 3)))),
        "targets: expected [2, 3, 3] (B, T, F), got [2, 3]"
    );
    assert_eq!(
        shape(Loss::MeanAbsolute, Targets::classes(Array2::<i64>::zeros((2, 3)))),
        "targets: expected numbers [2, 3, 3] for mae, got integers [2, 3]"
    );
    assert_eq!(
        shape(Loss::SumOfSquares, Targets::classes(arr1(&[0]))),
        "targets: expected none for sum_of_squares, got integers [1]"
    );
    let rows = Model::new().layer(Gru::new(1, 2)).layer(Select::LastStep).layer(Linear::new(2, 1));
    let targets = Targets::values(array![[0.0_f32, 1.0]]);
    assert_eq!(
        error(&rows, BinaryCrossEntropy::default(), &[targets]).1,
        "targets: expected [2, 1] (B, F), got [1, 2]"
    );
    let (kind, text) = error(&rows, ce(), &[]);
    assert_eq!(kind, ErrorKind::Shape);
    assert_eq!(text, "targets: expected 1, one for each loss of the objective, got 0");
}

#[test]
fn targets_that_cannot_be() {
    let ce = CrossEntropy::default;
    assert_eq!(
        shape(ce(), Targets::classes(array![[0, 1, 9], [0, 3, 1]])),
        "targets: expected classes from 0 to 2, or -100 for one that does not count, got 3 at [1, 1]"
    );
    assert_eq!(
        refused(ErrorKind::Training, ce(), Targets::classes(array![[-100, -100, 0], [-100, -100, -100]])),
        "targets: expected a class that counts, got -100 at every step that there is"
    );
    assert_eq!(
        refused(
            ErrorKind::Training,
            ce().class_weights([0.0, 1.0, 1.0]),
            Targets::classes(Array2::<i64>::zeros((2, 3))),
        ),
        "targets: expected a class of a weight above 0, got none"
    );
    let mut values = Array3::<f32>::zeros((2, 3, 3));
    values[[1, 2, 0]] = f32::INFINITY;
    assert_eq!(
        shape(Loss::MeanSquared, Targets::values(values.clone())),
        "targets: expected finite numbers, got inf at [1, 2, 0]"
    );
    values[[1, 2, 0]] = -0.5;
    assert_eq!(
        shape(BinaryCrossEntropy::default(), Targets::values(values)),
        "targets: expected numbers from 0 to 1, got -0.5 at [1, 2, 0]"
    );
}

#[test]
fn sample_weights_that_cannot_be() {
    let zeros = || Targets::classes(Array2::<i64>::zeros((2, 3)));
    let ce = CrossEntropy::default;
    assert_eq!(
        shape(ce(), zeros().sample_weights(arr1(&[1.0_f32, -1.0]))),
        "targets: sample_weights: expected finite numbers from 0 on, got -1 at [1]"
    );
    assert_eq!(
        shape(ce(), zeros().sample_weights(arr1(&[1.0_f32]))),
        "targets: sample_weights: expected [2, 3] (B, T) or one for each row [B], got [1]"
    );
}

#[test]
fn losses_that_do_not_fit_the_model() {
    let zeros = || [Targets::classes(Array2::<i64>::zeros((2, 3)))];
    let model = |activation, objective: Objective| {
        let (kind, text) = error(&steps(activation), objective, &zeros());
        assert_eq!(kind, ErrorKind::Model, "{text}");
        text
    };
    assert_eq!(
        model(Activation::Sigmoid, CrossEntropy::default().into()),
        "loss: expected a loss that fits the last layer, got cross_entropy after sigmoid of layer 1 linear; try softmax or none \
         in the layer, or the loss binary_cross_entropy"
    );
    assert_eq!(
        model(Activation::Softmax, BinaryCrossEntropy::default().into()),
        "loss: expected a loss that fits the last layer, got binary_cross_entropy after softmax of layer 1 linear; try sigmoid \
         or none in the layer, or the loss cross_entropy"
    );
    let plain = |objective| model(Activation::Linear, objective);
    let weights = CrossEntropy::default().class_weights([1.0]);
    assert_eq!(plain(weights.into()), "loss: class_weights: expected 3, one for each class, got 1");
    let weights = BinaryCrossEntropy::default().class_weights([1.0, 2.0]);
    assert_eq!(plain(weights.into()), "loss: class_weights: expected an output of one feature, got 3");
    let one = Model::new().layer(Gru::new(1, 2)).layer(Linear::new(2, 1));
    for (loss, bad) in [
        (Loss::from(BinaryCrossEntropy::default().class_weights([1.0, -2.0])), "-2"),
        (CrossEntropy::default().class_weights([f32::INFINITY]).into(), "inf"),
    ] {
        let (kind, text) = error(&one, loss, &zeros());
        assert_eq!(text, format!("loss: class_weights: expected finite numbers from 0 on, got {bad}"));
        assert_eq!(kind, ErrorKind::Model);
    }
    assert_eq!(plain(CrossEntropy::default().smoothing(1.5).into()), "loss: smoothing: expected 0 to 1, got 1.5");
    assert_eq!(plain(Huber::default().delta(0.0).into()), "loss: delta: expected a number above 0, got 0");
    assert_eq!(plain(Objective::of_terms([])), "objective: expected at least one loss, got none");
    let two = Objective::new(Loss::MeanSquared).and(1, Loss::MeanSquared, 1.0);
    let targets = || Targets::values(Array3::zeros((2, 3, 3)));
    assert_eq!(
        error(&steps(Activation::Linear), two, &[targets(), targets()]).1,
        "loss 1: expected an output below 1, got 1"
    );
}

#[test]
fn names_of_losses_are_those_of_the_command_line() {
    for name in Loss::NAMES {
        assert_eq!(Loss::of_name(name).map(|loss| loss.name()), Some(name));
    }
    assert_eq!(Loss::of_name("hinge"), None);
}
