//! Metrics, compared with counts from a model's outputs.

use super::*;
use gatewave::Activation;
use gatewave::interface::Axes;
use gatewave::train::{BinaryCrossEntropy, Metric};

fn trainer(model: &Model, objective: impl Into<Objective>) -> Trainer {
    let weights = Weights::random(model, 3).expect("weights");
    let update = Update::by(Adam::like(Convention::Torch).learning_rate(0.05));
    Trainer::new(model, &weights, objective, update, Device::Cpu).expect("a trainer")
}

/// Returns the share of correct predictions of a model.
fn accuracy(trainer: &Trainer, data: &Dataset, batch_size: usize) -> f64 {
    let measures = trainer.measure(data, batch_size, &[Metric::Accuracy]).expect("measures");
    assert!((measures.loss - trainer.evaluate(data, batch_size).expect("a loss")).abs() < 1e-12);
    let confusion = measures.confusion.expect("classes");
    let share = confusion.diag().sum() as f64 / confusion.sum() as f64;
    assert_eq!(measures.metrics, [(Metric::Accuracy, share)]);
    share
}

#[test]
fn steps_that_count_are_counted_in_either_order_of_axes() {
    let (rows, steps) = (7, 5);
    let tokens = Array2::from_shape_fn((rows, steps), |(b, t)| ((b * 5 + t * 3) % 9) as i64);
    // The model is right about every second target, every fifth is ignored, and so are all in a row of one step.
    let lengths: Vec<i64> = (0..rows).map(|b| 1 + (b as i64 * 2) % 5).collect();
    let plain = trainer(&tagger(), CrossEntropy::default());
    let output = plain.run(&Input::tokens(tokens.clone()).lengths(lengths.clone())).expect("an output").output;
    let (mut right, mut all) = (0, 0);
    let targets = Array2::from_shape_fn((rows, steps), |(b, t)| {
        let best =
            (0..9).fold(0, |best, class| if output[[b, t, class]] > output[[b, t, best]] { class } else { best });
        let place = b * steps + t;
        let live = (t as i64) < lengths[b];
        match (place % 5 == 1, place % 2 == 0) {
            (true, _) => -100,
            (false, same) => {
                (right, all) = (right + usize::from(live && same), all + usize::from(live));
                if same { best as i64 } else { (best as i64 + 1) % 9 }
            }
        }
    });
    assert!(right > 3 && all > right + 3);
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        let turned = |array: &Array2<i64>| match axes {
            Axes::BatchFirst => array.clone(),
            Axes::TimeMajor => array.t().to_owned(),
        };
        let model = tagger().axes(axes);
        let tensors = NamedTensors::from([
            ("x".to_owned(), turned(&tokens).into()),
            ("lengths".to_owned(), Array1::from(lengths.clone()).into()),
            ("y".to_owned(), turned(&targets).into()),
        ]);
        let data = Dataset::new(&model, CrossEntropy::default(), tensors).expect("examples");
        let trainer = trainer(&model, CrossEntropy::default());
        for batch_size in [1, 3, 100] {
            let got = accuracy(&trainer, &data, batch_size);
            assert!((got - right as f64 / all as f64).abs() < 1e-12, "{axes:?} {batch_size}: {got}");
        }
    }
}

/// Rows whose first feature decides the answer, and a model of one or two outputs.
fn task(outputs: usize, activation: Activation) -> (Model, Dataset) {
    let model = Model::new().layer(Gru::new(2, 8)).layer(Select::LastStep);
    let model = model.layer(Linear::new(8, outputs).activation(activation));
    let yes = |row: usize| (row * 5).is_multiple_of(3);
    let x = Array3::from_shape_fn((40, 4, 2), |(b, t, n)| if n == 0 && yes(b) { 1.0 } else { 0.1 * t as f32 });
    let y = Array1::from_shape_fn(40, |b| i64::from(yes(b)));
    let tensors = NamedTensors::from([("x".to_owned(), x.into()), ("y".to_owned(), y.into())]);
    let objective: Objective = match outputs {
        1 => BinaryCrossEntropy::default().into(),
        _ => CrossEntropy::default().into(),
    };
    (model.clone(), Dataset::new(&model, objective, tensors).expect("examples"))
}

#[test]
fn one_number_is_right_on_its_side_of_one_half() {
    for activation in [Activation::Sigmoid, Activation::Linear] {
        let (model, data) = task(1, activation);
        let trainer = trainer(&model, BinaryCrossEntropy::default());
        let batch = data.batch(&(0..40).collect::<Vec<_>>()).expect("a batch");
        let output = trainer.run(&batch.input).expect("an output").output;
        let half = if activation == Activation::Sigmoid { 0.5 } else { 0.0 };
        let right = (0..40).filter(|&b| (output[[b, 0]] > half) == (b * 5).is_multiple_of(3)).count();
        assert!((0.1..0.9).contains(&(right as f64 / 40.0)), "untrained: {right}");
        assert_eq!(accuracy(&trainer, &data, 7), right as f64 / 40.0, "{activation}");
    }
}

#[test]
fn a_fit_tells_what_it_was_asked_to_measure() {
    for (outputs, objective) in
        [(1, Objective::from(BinaryCrossEntropy::default())), (2, CrossEntropy::default().into())]
    {
        let (model, data) = task(outputs, Activation::Linear);
        let [training, validation] = data.split(0.25).expect("two parts");
        let metrics = [Metric::Accuracy, Metric::Precision, Metric::Recall, Metric::F1, Metric::Auc];
        for (metrics, of_training) in [(&metrics[..0], true), (&metrics, false), (&metrics, true)] {
            let mut trainer = trainer(&model, objective.clone());
            let settings = Fit::default().epochs(25).batch_size(8).metrics(metrics).measure_training(of_training);
            let epochs = trainer.fit(&training, Some(&validation), &settings, |_| {}).expect("epochs");
            let last = &epochs[24];
            let all = metrics.iter().map(|metric| (*metric, 1.0)).collect::<Vec<_>>();
            assert_eq!(last.validation_metrics, all);
            assert_eq!(last.metrics, if of_training { all } else { Vec::new() });
            assert_eq!(trainer.measure(&training, 5, metrics).expect("measures").metrics.len(), metrics.len());
        }
    }
}

/// With an untrained model, so that no number is 0 or 1: counted from its outputs.
#[test]
fn of_numbers_the_mean_error_is_told() {
    let model = Model::new().layer(Gru::new(2, 3));
    let x = Array3::from_shape_fn((5, 4, 2), |(b, t, n)| 0.1 * (b + 2 * t + n) as f32);
    let y = Array3::from_shape_fn((5, 4, 3), |(b, t, n)| 0.2 * (b * t) as f32 - 0.3 * n as f32);
    let lengths: [i64; 5] = [4, 1, 3, 2, 4];
    let tensors = NamedTensors::from([
        ("x".to_owned(), x.clone().into()),
        ("lengths".to_owned(), Array1::from(lengths.to_vec()).into()),
        ("y".to_owned(), y.clone().into()),
    ]);
    let data = Dataset::new(&model, Loss::MeanSquared, tensors).expect("examples");
    let trainer = trainer(&model, Loss::MeanSquared);
    let output = trainer.run(&Input::features(x).lengths(lengths)).expect("an output").output;
    let live = y.indexed_iter().filter(|((b, t, _), _)| (*t as i64) < lengths[*b]);
    let errors: Vec<f64> = live.map(|((b, t, n), y)| (f64::from(output[[b, t, n]]) - f64::from(*y)).abs()).collect();
    let wanted = errors.iter().sum::<f64>() / errors.len() as f64;
    let measures = trainer.measure(&data, 2, &[Metric::MeanAbsoluteError]).expect("measures");
    let (metric, got) = measures.metrics[0];
    assert!(metric == Metric::MeanAbsoluteError && (got - wanted).abs() < 1e-9, "{got} {wanted}");
    assert_eq!(measures.confusion, None);
}

#[test]
fn a_metric_of_another_loss_is_refused() {
    let (model, _) = task(1, Activation::Linear);
    let tensors = NamedTensors::from([
        ("x".to_owned(), Array3::<f32>::ones((4, 3, 2)).into()),
        ("y".to_owned(), Array2::<f32>::ones((4, 1)).into()),
    ]);
    let data = Dataset::new(&model, Loss::MeanSquared, tensors).expect("examples");
    let mut trainer = trainer(&model, Loss::MeanSquared);
    let said = "accuracy: expected one loss, cross_entropy or binary_cross_entropy, got mse";
    let measured = trainer.measure(&data, 4, &[Metric::MeanAbsoluteError, Metric::Accuracy]);
    assert_eq!(measured.expect_err("numbers").to_string(), said);
    let settings = Fit::default().metrics([Metric::Accuracy]);
    assert_eq!(trainer.fit(&data, None, &settings, |_| {}).expect_err("numbers").to_string(), said);
    let settings = Fit::default().metrics([Metric::Perplexity]);
    let said = "perplexity: expected one loss, cross_entropy without smoothing, got mse";
    assert_eq!(trainer.fit(&data, None, &settings, |_| {}).expect_err("numbers").to_string(), said);
    // With smoothed targets, the loss is no logarithm of a perplexity.
    let (model, _) = task(2, Activation::Linear);
    let classes = ndarray::Array1::from(vec![0_i64, 1, 1, 0]);
    let tensors =
        NamedTensors::from([("x".to_owned(), Array3::<f32>::ones((4, 3, 2)).into()), ("y".to_owned(), classes.into())]);
    let smoothed = CrossEntropy::default().smoothing(0.1);
    let data = Dataset::new(&model, smoothed.clone(), tensors).expect("examples");
    let refused = self::trainer(&model, smoothed).measure(&data, 4, &[Metric::Perplexity]).expect_err("smoothed");
    assert!(refused.to_string().ends_with("got cross_entropy with smoothing"), "{refused}");
}

#[test]
fn perplexity_is_told_without_another_metric() {
    let tokens = Array2::from_shape_fn((6, 5), |(b, t)| ((b * 5 + t * 3) % 9) as i64);
    let tensors = NamedTensors::from([
        ("x".to_owned(), tokens.clone().into()),
        ("y".to_owned(), tokens.into()),
        ("lengths".to_owned(), ndarray::Array1::from(vec![5_i64; 6]).into()),
    ]);
    let plain = trainer(&tagger(), CrossEntropy::default());
    let data = Dataset::new(&tagger(), CrossEntropy::default(), tensors).expect("data");
    let measures = plain.measure(&data, 4, &[Metric::Perplexity]).expect("measures");
    assert_eq!(measures.metrics, [(Metric::Perplexity, measures.loss.exp())]);
    assert!(plain.measure(&data, 4, &[]).expect("measures").metrics.is_empty());
}

#[test]
fn carried_states_are_carried_where_it_is_measured() {
    let model = Model::new().layer(Gru::new(2, 3)).layer(Lstm::new(3, 2));
    // Two rows of twelve steps at once, and the same in three windows.
    let x = |b: usize, t: usize, f: usize| ((b * 7 + t * 3 + f * 5) % 11) as f32 / 5.0 - 1.0;
    let data = |windows: usize| {
        let steps = 12 / windows;
        let features = Array3::from_shape_fn((2 * windows, steps, 2), |(row, t, f)| x(row % 2, row / 2 * steps + t, f));
        let targets = Array3::<f32>::zeros((2 * windows, steps, 2));
        let tensors = NamedTensors::from([("x".to_owned(), features.into()), ("y".to_owned(), targets.into())]);
        Dataset::new(&model, Loss::MeanSquared, tensors).expect("data")
    };
    let mut trainer = trainer(&model, Loss::MeanSquared);
    let measured = |trainer: &Trainer, windows: usize| {
        let measures = trainer.measure(&data(windows), 2, &[Metric::MeanAbsoluteError]).expect("measures");
        (measures.loss, measures.metrics[0].1)
    };
    let whole = measured(&trainer, 1);
    let apart = measured(&trainer, 3);
    assert!((apart.0 - whole.0).abs() > 1e-4);
    trainer.carry(true).expect("stacks");
    for _ in 0..2 {
        let (loss, off) = measured(&trainer, 3);
        assert!((loss - whole.0).abs() < 1e-6 && (off - whole.1).abs() < 1e-6, "{loss} {off} {whole:?}");
    }
}
