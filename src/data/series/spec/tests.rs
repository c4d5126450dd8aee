//! Windows, scales and forecasts, compared with values worked out by hand.

use std::path::Path;

use ndarray::{ArrayD, IxDyn};

use super::*;
use crate::call::Output;
use crate::data::{Series, SourceLocation, TargetError};
use crate::loss::Loss;
use crate::model::{Axes, Gru, Linear, Select};
use crate::named::Values;
use crate::recipe::Convention;
use crate::trainer::Dataset;
use crate::{Device, Embedding, Engine, Weights};

/// Makes a series whose row t holds `t` and `100 + 10 t`.
fn ramp(rows: usize) -> Series {
    #[expect(clippy::cast_precision_loss, reason = "a few rows")]
    let numbers = |scale: f64, offset: f64| (0..rows).map(|row| scale * row as f64 + offset).collect();
    let columns = [("a", numbers(1.0, 0.0)), ("b", numbers(10.0, 100.0))];
    Series::new(columns, SourceLocation::of_file(Path::new("ramp.csv"))).unwrap()
}

/// Makes a model with a row for each window.
fn of_rows(features: usize, outputs: usize) -> Model {
    Model::new().layer(Gru::new(features, 4)).layer(Select::FinalHidden).layer(Linear::new(4, outputs))
}

/// Makes a model with an output for each step.
fn of_steps(features: usize, outputs: usize) -> Model {
    Model::new().layer(Gru::new(features, 4)).layer(Linear::new(4, outputs))
}

fn real(values: &Values) -> &ArrayD<f32> {
    let Values::F32(array) = values else { panic!("expected reals, got {values:?}") };
    array
}

/// Turns scaled numbers of column `a` back into row numbers.
fn rows_of(scale: &Scale, seen: &ArrayD<f32>) -> Vec<f64> {
    seen.iter().map(|seen| scale.own(*seen).round()).collect()
}

#[test]
fn scales_are_those_of_the_training_part_alone() {
    let spec = SeriesSpec::learn(&of_rows(2, 1), &ramp(10), 5, &SeriesOptions::window(3)).unwrap();
    let [a, b] = spec.scales() else { panic!("two columns") };
    assert_eq!((a.mean, a.std), (2.0, 2.0_f64.sqrt()));
    assert_eq!((b.mean, b.std), (120.0, 200.0_f64.sqrt()));
    assert_eq!(spec.targets().map(|scale| scale.column.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn targets_are_the_steps_behind_each_window() {
    let options = SeriesOptions::window(3).horizon(2).targets(["a", "b"]);
    let (model, series) = (of_rows(2, 4), ramp(8));
    let spec = SeriesSpec::learn(&model, &series, 8, &options).unwrap();
    let tensors = spec.tensors(&model, &series, 0..8).unwrap();
    let (x, y) = (real(&tensors["x"]), real(&tensors["y"]));
    assert_eq!((x.shape(), y.shape()), (&[4, 3, 2][..], &[4, 4][..]));
    let [a, b] = spec.scales() else { panic!("two columns") };
    for window in 0..4 {
        let at = |place: usize| (a.own(y[[window, place]]).round(), b.own(y[[window, place + 1]]).round());
        let wanted = |row: usize| (series.column("a").unwrap()[row], series.column("b").unwrap()[row]);
        assert_eq!((at(0), at(2)), (wanted(window + 3), wanted(window + 4)), "step-major");
        assert_eq!(a.own(x[[window, 2, 0]]).round(), wanted(window + 2).0);
    }
    // A data set takes the tensors.
    assert_eq!(Dataset::new(&model, Loss::MeanSquared, tensors).unwrap().rows(), 4);
}

#[test]
fn a_model_of_steps_has_targets_shifted_by_the_horizon() {
    let options = SeriesOptions::window(3).horizon(2).stride(2).columns(["a"]);
    for axes in [Axes::BatchFirst, Axes::TimeMajor] {
        let (model, series) = (of_steps(1, 1).axes(axes), ramp(9));
        let spec = SeriesSpec::learn(&model, &series, 9, &options).unwrap();
        let tensors = spec.tensors(&model, &series, 0..9).unwrap();
        let (mut x, mut y) = (real(&tensors["x"]).clone(), real(&tensors["y"]).clone());
        if axes == Axes::TimeMajor {
            x.swap_axes(0, 1);
            y.swap_axes(0, 1);
        }
        assert_eq!((x.shape(), y.shape()), (&[3, 3, 1][..], &[3, 3, 1][..]));
        let a = &spec.scales()[0];
        assert_eq!(rows_of(a, &x), [0.0, 1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 5.0, 6.0]);
        assert_eq!(rows_of(a, &y), [2.0, 3.0, 4.0, 4.0, 5.0, 6.0, 6.0, 7.0, 8.0]);
        assert_eq!(Dataset::new(&model, Loss::MeanSquared, tensors).unwrap().rows(), 3);
    }
}

#[test]
fn what_validates_begins_behind_the_last_target_that_was_trained_on() {
    let series = ramp(20);
    let first = series.rows_before(0.25).unwrap();
    for (model, horizon, validated) in [(of_rows(1, 2), 2, 4), (of_steps(1, 1), 2, 3)] {
        let options = SeriesOptions::window(3).horizon(horizon).columns(["a"]);
        let spec = SeriesSpec::learn(&model, &series, first, &options).unwrap();
        let targets = |range| {
            let tensors = spec.tensors(&model, &series, range).unwrap();
            rows_of(&spec.scales()[0], real(&tensors["y"]))
        };
        let (trained, validates) = (targets(0..first), targets(first..20));
        let last = trained.iter().copied().fold(0.0, f64::max);
        let next = validates.iter().copied().fold(f64::INFINITY, f64::min);
        assert_eq!((last, next), (14.0, 15.0));
        assert_eq!(validates.iter().copied().fold(0.0, f64::max), 19.0);
        let windows = spec.tensors(&model, &series, first..20).unwrap()["x"].shape()[0];
        assert_eq!(windows, validated);
    }
}

#[test]
fn the_last_value_is_off_by_what_a_ramp_climbs() {
    let (model, series) = (of_rows(2, 4), ramp(12));
    let options = SeriesOptions::window(3).horizon(2).targets(["a", "b"]);
    let spec = SeriesSpec::learn(&model, &series, 8, &options).unwrap();
    // The first step behind the window is off by one step of the ramp, the second by two.
    assert_eq!(spec.last_value(&model, &series, 8..12).unwrap(), [1.5, 15.0]);
    let steps = of_steps(2, 2);
    assert_eq!(spec.last_value(&steps, &series, 8..12).unwrap(), [2.0, 20.0]);
    // A model whose scaled outputs are 0 predicts the mean.
    let run = |input: &crate::Input| {
        let rows = input.check(&model)?.form.batch;
        Ok(Output { output: ArrayD::zeros(IxDyn(&[rows, 4])), states: Vec::new(), others: Vec::new() })
    };
    let errors = spec.errors(&model, &series, 8..12, run).unwrap();
    // The targets are rows 8 to 11, in windows of two: 8 9, 9 10, 10 11. The mean is 3.5.
    let wanted = [("a", 6.0, 1.5), ("b", 60.0, 15.0)];
    for (TargetError { column, model, last_value }, wanted) in errors.iter().zip(wanted) {
        assert_eq!((column.as_str(), *model, *last_value), wanted);
    }
}

#[test]
fn forecasts_are_of_the_steps_behind_the_last_row_in_own_units() {
    let series = ramp(12);
    let options = SeriesOptions::window(3).horizon(2).targets(["a", "b"]);
    let output = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        #[expect(clippy::cast_precision_loss, reason = "a few numbers")]
        let numbers = (0..count).map(|at| at as f32).collect();
        let output = ArrayD::from_shape_vec(IxDyn(shape), numbers).unwrap();
        Output { output, states: Vec::new(), others: Vec::new() }
    };
    let spec = SeriesSpec::learn(&of_rows(2, 4), &series, 12, &options).unwrap();
    let [a, b] = spec.scales() else { panic!("two columns") };
    let own = |at: f32| vec![a.own(at), b.own(at + 1.0)];
    let told = |model: &Model, shape: &[usize]| {
        let forecasts = spec.forecasts(model, &output(shape)).unwrap();
        forecasts.into_iter().map(|forecast| (forecast.step, forecast.values)).collect::<Vec<_>>()
    };
    assert_eq!(told(&of_rows(2, 4), &[1, 4]), [(1, own(0.0)), (2, own(2.0))]);
    // Of three steps the last two predict rows behind the window.
    assert_eq!(told(&of_steps(2, 2), &[1, 3, 2]), [(1, own(2.0)), (2, own(4.0))]);
    assert_eq!(told(&of_steps(2, 2).axes(Axes::TimeMajor), &[3, 1, 2]), [(1, own(2.0)), (2, own(4.0))]);
    let far = SeriesSpec::learn(&of_steps(2, 2), &series, 12, &options.clone().horizon(5)).unwrap();
    let forecasts = far.forecasts(&of_steps(2, 2), &output(&[1, 3, 2])).unwrap();
    assert_eq!(forecasts.iter().map(|forecast| forecast.step).collect::<Vec<_>>(), [3, 4, 5]);
    let error = spec.forecasts(&of_rows(2, 4), &output(&[1, 3])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
}

#[test]
fn the_last_window_goes_through_a_model() {
    for model in [of_rows(2, 2), of_steps(2, 1)] {
        let options = SeriesOptions::window(3).horizon(2);
        let spec = SeriesSpec::learn(&model, &ramp(12), 9, &options).unwrap();
        let weights = Weights::initial(&model, Convention::Torch, 0).unwrap();
        let engine = Engine::new(&model, &weights, Device::Cpu).unwrap();
        let output = engine.run(&spec.input(&model, &ramp(12)).unwrap()).unwrap();
        let forecasts = spec.forecasts(&model, &output).unwrap();
        assert_eq!(forecasts.iter().map(|forecast| forecast.step).collect::<Vec<_>>(), [1, 2]);
        let errors = spec.errors(&model, &ramp(12), 9..12, |input| engine.run(input)).unwrap();
        assert!(errors[0].model.is_finite() && errors[0].last_value > 0.0, "{errors:?}");
        let short = spec.input(&model, &ramp(2)).unwrap_err().to_string();
        assert_eq!(short, "ramp.csv: expected 3 rows or more, the model's window, got 2");
    }
}

#[test]
fn what_does_not_fit_is_told_with_its_numbers() {
    let learn = |model: &Model, series: &Series, training: usize, options: &SeriesOptions| {
        SeriesSpec::learn(model, series, training, options).unwrap_err().to_string()
    };
    let window = SeriesOptions::window;
    let (model, series) = (of_rows(2, 1), ramp(10));
    for (options, said) in [
        (window(0), "window: expected 1 or more, got 0"),
        (window(3).horizon(0), "horizon: expected 1 or more, got 0"),
        (window(3).stride(0), "stride: expected 1 or more, got 0"),
        (window(8), "ramp.csv: window 8 and horizon 1: expected at least 9 rows, got 8; try a smaller window"),
        (window(usize::MAX).horizon(9), "ramp.csv: window 18446744073709551615 and horizon 9: expected at least"),
        (window(3).columns(["a"]), "expected a model of 1 features (a), got one of 2; --columns names"),
        (window(3).columns(["a", "a"]), "columns: expected each column once, got \"a\" twice"),
        (window(3).targets(["c"]), "ramp.csv: expected a column \"c\", got \"a\", \"b\""),
        (window(3).targets([""; 0]), "targets: expected at least one column, got none"),
        (window(3).horizon(2), "expected a model that gives 2 numbers for each window (horizon 2 × targets 1), got 1"),
    ] {
        let error = learn(&model, &series, 8, &options);
        assert!(error.starts_with(said), "{error}");
    }
    let steps = learn(&of_steps(2, 3), &series, 8, &window(3));
    assert!(steps.starts_with("expected a model that gives 1 numbers for each step (targets 1), got 3"), "{steps}");
    let both = Model::new().layer(Gru::new(2, 4).bidirectional()).layer(Linear::new(8, 1));
    let both = learn(&both, &series, 8, &window(3));
    assert!(both.starts_with("layer 0: expected a forward stack, got a bidirectional one; "), "{both}");
    let tokens = Model::new().layer(Embedding::new(9, 4)).layer(Gru::new(4, 4)).layer(Linear::new(4, 1));
    let tokens = learn(&tokens, &series, 8, &window(3));
    assert!(tokens.starts_with("expected a model that takes features, got one that takes tokens; "), "{tokens}");
    let spec = SeriesSpec::learn(&model, &series, 8, &window(3)).unwrap();
    let late = spec.tensors(&model, &series, 10..10).unwrap_err().to_string();
    assert!(late.starts_with("ramp.csv: window 3 and horizon 1: expected at least 1 rows, got 0"), "{late}");
    let words = Series::new([("a", vec![f64::NAN; 9])], series.source().clone()).unwrap();
    let none = learn(&model, &words, 8, &window(3));
    assert!(none.starts_with("ramp.csv: expected at least one column of numbers, got none among a"), "{none}");
}

#[test]
fn numbers_far_from_what_was_trained_on_are_told_with_their_line() {
    let series = Series::new([("a", vec![1e-30, 0.0, 1e-30, 0.0, 1e-30, 1e30])], ramp(1).source().clone()).unwrap();
    let model = of_rows(1, 1);
    let spec = SeriesSpec::learn(&model, &series, 5, &SeriesOptions::window(2)).unwrap();
    let error = spec.tensors(&model, &series, 0..5).unwrap_err().to_string();
    assert!(
        error.starts_with("ramp.csv: line 6: column \"a\": expected a number not too far from the mean "),
        "{error}"
    );
}
