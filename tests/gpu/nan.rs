//! A NaN in the weights gives NaN wherever the equations carry it, on the adapter as on the CPU, and
//! nowhere else. A shader's `max` or `clamp` that swallowed NaN would make a broken model look well.

use gatewave::conformance::{Tolerance, compare};
use gatewave::layer::{Cell, Recurrent, Reset};
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Device, Input, Linear, Model, Output, Precision, Weights};
use ndarray::{ArrayD, Axis};

use crate::support::devices::adapter;
use crate::support::executor::engine;
use crate::support::noise::noise;

const BATCH: usize = 3;
const TIME: usize = 3;
const INPUT: usize = 5;
/// Two panels and a part of a third, so that there are units in other panels than that of the NaN.
const UNITS: usize = 40;
/// The unit with the NaN.
const HIT: usize = 7;

/// Returns the result of `model` on the adapter. Its NaNs must
/// be the CPU's, and all else must be near the CPU's results.
fn run(what: &str, model: &Model, weights: &Weights) -> Output {
    let input = Input::features(noise(&[BATCH, TIME, INPUT], 4));
    let [got, want] = [adapter(), Device::Cpu].map(|device| {
        engine(&device, Precision::F32, model, weights).and_then(|engine| engine.run(&input)).expect("it runs")
    });
    assert_same(what, model, &got.output, &want.output);
    for (got, want) in got.states.iter().zip(&want.states) {
        assert_same(what, model, &got.h, &want.h);
        assert_eq!(got.c.is_some(), want.c.is_some());
        if let (Some(got), Some(want)) = (&got.c, &want.c) {
            assert_same(what, model, got, want);
        }
    }
    got
}

fn assert_same(what: &str, model: &Model, got: &ArrayD<f32>, want: &ArrayD<f32>) {
    assert_eq!(got.mapv(f32::is_nan), want.mapv(f32::is_nan), "{what}");
    let zero = |x: f32| if x.is_nan() { 0.0 } else { x };
    let (got, want) = (got.mapv(zero), want.mapv(|x| f64::from(zero(x))));
    let comparison = compare(got.view(), want.view(), Tolerance::executors(model, TIME)).expect("one shape");
    assert!(comparison.passed(), "{what}: {comparison}");
}

#[test]
fn a_nan_weight_of_a_linear_layer_gives_nan_through_every_elementwise_activation() {
    of_a_linear_layer(true);
}

#[test]
fn a_nan_weight_of_a_linear_layer_gives_nan_to_all_that_a_softmax_adds_up() {
    of_a_linear_layer(false);
}

/// For the elementwise activations, or for the others.
fn of_a_linear_layer(elementwise: bool) {
    let total = Activation::ALL.into_iter().filter(|activation| activation.is_total());
    for activation in total.filter(|activation| activation.is_elementwise() == elementwise) {
        let model = Model::new().layer(Linear::new(INPUT, UNITS).activation(activation));
        let mut weights = Weights::random(&model, 5).expect("the model is right");
        let LayerWeights::Linear { w, .. } = &mut weights.layers[0] else { panic!("a linear layer") };
        w[[HIT, 2]] = f32::NAN;
        let what = format!("{activation:?}");
        let output = run(&what, &model, &weights).output;
        // A sum over the features carries it to all of them.
        for (unit, column) in output.axis_iter(Axis(2)).enumerate() {
            assert!(column.iter().all(|y| y.is_nan() == (!elementwise || unit == HIT)), "{what}: unit {unit}");
        }
    }
}

#[test]
fn a_nan_weight_of_a_cell_gives_nan_in_the_hidden_states_it_reaches() {
    for cell in Cell::ALL {
        for gate in 0..cell.gates() {
            let model = Model::new().layer(Recurrent::new(cell, INPUT, UNITS));
            let mut weights = Weights::random(&model, 5).unwrap();
            let LayerWeights::Recurrent(of_cells) = &mut weights.layers[0] else { panic!("a recurrent layer") };
            of_cells[0].w_x[[gate * UNITS + HIT, 2]] = f32::NAN;
            let what = format!("{cell:?}, gate {gate}");
            let got = run(&what, &model, &weights);
            // In the first step the NaN is in one unit, and through the
            // recurrent product it is in all units of the next steps.
            assert!(got.output.index_axis(Axis(1), 0).index_axis(Axis(1), HIT).iter().all(|h| h.is_nan()), "{what}");
            assert!(got.output.index_axis(Axis(1), 1).iter().all(|h| h.is_nan()), "{what}");
            assert!(got.states[0].h.iter().all(|h| h.is_nan()), "{what}");
            // With the reset before the product, it reaches every unit at once.
            let at_once = cell == Cell::Gru(Reset::Before) && gate == 0;
            let other = got.output.index_axis(Axis(1), 0).index_axis(Axis(1), HIT + 1).to_owned();
            assert!(other.iter().all(|h| h.is_nan() == at_once), "{what}");
        }
    }
}

#[test]
fn infinities_end_in_the_limits_of_the_gates() {
    crate::support::executor::infinities(&adapter());
}
