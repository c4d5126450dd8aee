//! Sample weights as named tensors: the factors of the loss of each row or step, with their names and axes.

use super::*;
use gatewave::Values;
use gatewave::interface::{Axes, Dim, InputPort, InputValue, OutputPort, OutputValue};
use gatewave::train::BinaryCrossEntropy;

const ROWS: usize = 6;
const STEPS: usize = 8;

fn tokens(seed: usize) -> Array2<i64> {
    Array2::from_shape_fn((ROWS, STEPS), |(b, t)| ((b * 5 + t * 3 + seed) % 9) as i64)
}

fn of_steps() -> Array2<f32> {
    Array2::from_shape_fn((ROWS, STEPS), |(b, t)| ((b * 3 + t * 5) % 4) as f32 * 0.5)
}

fn of_rows() -> Array1<f32> {
    Array1::from_shape_fn(ROWS, |b| (b % 3) as f32 * 0.75)
}

fn lengths() -> Array1<i64> {
    Array1::from_shape_fn(ROWS, |b| 1 + (b as i64 * 5) % 3)
}

fn tensors(more: &[(&str, Values)]) -> NamedTensors {
    let tensors = [("x", tokens(0).into()), ("lengths", lengths().into()), ("y", tokens(1).into())];
    let all = tensors.into_iter().chain(more.iter().cloned());
    all.map(|(name, values)| (name.to_owned(), values)).collect()
}

fn trainer(model: &Model, objective: impl Into<Objective>) -> Trainer {
    let weights = Weights::random(model, 5).expect("weights");
    let update = Update::by(Sgd::like(Convention::Torch).learning_rate(0.1));
    Trainer::new(model, &weights, objective, update, Device::Cpu).expect("a trainer")
}

#[test]
fn they_are_those_of_targets_in_either_order_of_axes() {
    let dataset = |model: &Model, weights: Values| {
        Dataset::new(model, CrossEntropy::default(), tensors(&[("sample_weight", weights)])).expect("examples")
    };
    let plain = Batch::new(Input::tokens(tokens(0)).lengths(lengths().to_vec()), Targets::classes(tokens(1)));
    let trainer = trainer(&tagger(), CrossEntropy::default());
    let without = trainer.gradients(&plain).unwrap();
    for by_row in [false, true] {
        let (weights, named): (_, Values) = match by_row {
            false => (of_steps().into_dyn(), of_steps().into()),
            true => (of_rows().into_dyn(), of_rows().into()),
        };
        let targets = Targets::classes(tokens(1)).sample_weights(weights);
        let want = trainer.gradients(&Batch::new(plain.input.clone(), targets)).unwrap();
        assert_ne!(want.loss, without.loss);
        let data = dataset(&tagger(), named.clone());
        let got = trainer.gradients(&data.batch(&[0, 1, 2, 3, 4, 5]).unwrap()).unwrap();
        assert_eq!((got.loss, &got.weights), (want.loss, &want.weights), "by row {by_row}");
        // Another order of the rows changes the order of the sums.
        near(&trainer.gradients(&data.batch(&[3, 1, 5, 0, 2, 4]).unwrap()).unwrap(), &want, 1e-5);

        // Time first; and a model in which only the ports have time first.
        let turned = |values: Values| match values {
            Values::F32(array) => Values::F32(array.reversed_axes()),
            Values::I64(array) => Values::I64(array.reversed_axes()),
            other => panic!("expected reals or integers, got {other:?}"),
        };
        let port = |name: &str, value, axes: &[Dim]| InputPort::new(name, value, axes);
        let mut own = tagger();
        own.ports.inputs = vec![
            port("x", InputValue::Sequence, &[Dim::Time, Dim::Batch]),
            port("lengths", InputValue::Lengths(0), &[Dim::Batch]),
        ];
        let axes = vec![Dim::Time, Dim::Batch, Dim::Features];
        own.ports.outputs = vec![OutputPort::new("output", OutputValue::Output, axes)];
        for model in [tagger().axes(Axes::TimeMajor), own] {
            let tensors = tensors(&[("sample_weight", named.clone())]);
            let tensors = tensors.into_iter().map(|(name, values)| (name, turned(values))).collect();
            let data = Dataset::new(&model, CrossEntropy::default(), tensors).expect("examples");
            let batch = data.batch(&[0, 1, 2, 3, 4, 5]).unwrap();
            near(&self::trainer(&model, CrossEntropy::default()).gradients(&batch).unwrap(), &want, 1e-5);
        }
    }
}

/// Weights of steps are cut like the steps.
#[test]
fn short_batches_have_the_weights_of_their_steps() {
    for weights in [Values::from(of_steps()), of_rows().into()] {
        let tensors = tensors(&[("sample_weight", weights)]);
        let data = Dataset::new(&tagger(), CrossEntropy::default(), tensors).expect("examples");
        let [whole, short] = [false, true].map(|buckets| {
            let mut trainer = trainer(&tagger(), CrossEntropy::default());
            let settings = Fit::default().epochs(3).batch_size(ROWS).buckets(buckets);
            let epochs = trainer.fit(&data, None, &settings, |_| {}).expect("epochs");
            epochs.iter().map(|epoch| epoch.loss).collect::<Vec<_>>()
        });
        for (whole, short) in whole.iter().zip(&short) {
            assert!((whole - short).abs() < 1e-5 * whole, "{whole} and {short}");
        }
    }
}

#[test]
fn metrics_of_nothing_are_refused() {
    let tensors = tensors(&[("sample_weight", Array1::<f32>::zeros(ROWS).into())]);
    let data = Dataset::new(&tagger(), CrossEntropy::default(), tensors).expect("examples");
    let trainer = trainer(&tagger(), CrossEntropy::default());
    assert_eq!(trainer.measure(&data, 4, &[]).expect("a loss").loss, 0.0);
    let error = trainer.measure(&data, 4, &[gatewave::train::Metric::F1]).expect_err("nothing counts");
    assert_eq!(error.kind(), ErrorKind::Training);
    assert_eq!(error.to_string(), "metrics: expected a row or step that counts, got sample weights of 0 alone");
}

/// A model with two outputs, one of rows, with an input that has the name of its weights.
fn two() -> Model {
    let mut graph = Model::graph();
    let x = graph.sequence("sample_weight", 2);
    let gru = graph.add("gru", Gru::new(2, 4), x);
    let steps = graph.add("steps", Linear::new(4, 2), gru);
    let score = graph.add("score", Linear::new(4, 1), gru.final_hidden());
    graph.output("score", score);
    graph.output("steps", steps);
    graph.finish().expect("a model")
}

#[test]
fn each_output_has_weights_of_its_own() {
    let objective = || Objective::new(BinaryCrossEntropy::default()).and(1, Loss::MeanSquared, 1.0);
    let (yes, values) = (Array2::from_shape_fn((ROWS, 1), |(b, _)| (b % 2) as f32), features((ROWS, STEPS, 2), 3));
    let x = features((ROWS, STEPS, 2), 1);
    let tensors = NamedTensors::from(
        [
            ("sample_weight", x.clone().into()),
            ("y_score", yes.clone().into()),
            ("y_steps", values.clone().into()),
            ("sample_weight_score", of_rows().into()),
            ("sample_weight_steps", of_steps().into()),
        ]
        .map(|(name, values): (_, Values)| (name.to_owned(), values)),
    );
    let got = Batch::named(&two(), objective(), &tensors).expect("a batch");
    let targets = [Targets::values(yes).sample_weights(of_rows()), Targets::values(values).sample_weights(of_steps())];
    assert_eq!(got.targets, targets);
    let input = Input::features(x);
    let trainer = trainer(&two(), objective());
    let want = trainer.gradients(&Batch::of_several(input, targets)).unwrap();
    assert_eq!(trainer.gradients(&got).unwrap().loss, want.loss);
    assert_eq!(Dataset::row_axis(&two(), &objective(), "sample_weight_steps", 2), Some(0));
    assert_eq!(Dataset::row_axis(&two(), &objective(), "sample_weight_other", 1), None);
}

#[test]
fn what_is_wrong_with_them_is_told_by_its_place() {
    let refused = |more: &[(&str, Values)]| {
        let error = Dataset::new(&tagger(), CrossEntropy::default(), tensors(more)).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    let (mut bad_row, mut bad_step) = (of_rows(), of_steps());
    (bad_row[4], bad_step[[2, 0]]) = (-1.0, f32::NAN);
    for (more, said) in [
        (
            vec![("sample_weight", Values::from(bad_row))],
            "targets: sample_weights: expected finite numbers from 0 on, got -1 at [4]",
        ),
        (
            vec![("sample_weight_output", bad_step.into())],
            "targets: sample_weights: expected finite numbers from 0 on, got NaN at [2, 0]",
        ),
        (
            vec![("sample_weight", Array1::<f32>::ones(ROWS - 1).into())],
            "targets: sample_weights: expected [6, 8] (B, T) or one for each row [B], got [5]",
        ),
        (
            vec![("sample_weight", Array3::<f32>::ones((ROWS, STEPS, 9)).into())],
            "targets: sample_weights: expected [6, 8] (B, T) or one for each row [B], got [6, 8, 9]",
        ),
        (
            vec![("sample_weight", of_rows().into()), ("sample_weight_output", of_rows().into())],
            "sample_weight and sample_weight_output: expected one of them, got both",
        ),
    ] {
        assert_eq!(refused(&more), said);
    }
    // A dead step may have any weight.
    let mut dead = of_steps();
    dead[[0, STEPS - 1]] = f32::NAN;
    assert!(Dataset::new(&tagger(), CrossEntropy::default(), tensors(&[("sample_weight", dead.into())])).is_ok());

    let mut graph = Model::graph();
    let x = graph.sequence("x", 2);
    let gru = graph.add("gru", Gru::new(2, 4), x);
    let score = graph.add("score", Linear::new(4, 1), gru.final_hidden());
    graph.output("score", score);
    graph.output("steps", gru);
    let model = graph.finish().expect("a model");
    let tensors = NamedTensors::from(
        [
            ("x", features((ROWS, STEPS, 2), 1).into()),
            ("y_score", Array2::<f32>::zeros((ROWS, 1)).into()),
            ("sample_weight", of_rows().into()),
        ]
        .map(|(name, values): (_, Values)| (name.to_owned(), values)),
    );
    let error = Batch::named(&model, Loss::MeanSquared, &tensors).expect_err("it is refused").to_string();
    assert_eq!(error, "sample_weight: expected weights for each output (sample_weight_score), got some for all");
}
