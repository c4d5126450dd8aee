//! Every elementwise function on the adapter, over a range of numbers:
//! near zero, where exp overflows f32, the infinities and NaN.

use gatewave::layer::Constant;
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Input, Linear, Model, Precision, Weights, oracle};
use ndarray::{Array3, arr2};

use crate::support::devices::adapter;
use crate::support::executor::engine;

/// The allowed error relative to the true value: the functions' own errors are a few 1e-7.
const REL: f64 = 2e-6;
/// The allowed error at any size: terms of size 1 may cancel.
const ABS: f64 = 5e-7;
/// The least normal number: smaller ones may be flushed to zero.
const LEAST: f64 = 1.2e-38;

/// Both signs of numbers of every size.
fn sweep() -> Vec<f32> {
    let sizes = [0.0, 1e-30, 1e-12, 1e-5, 3e-4, 0.349, 0.351, 0.624, 0.626];
    let grid = (1_u16..=240).map(|n| f32::from(n) / 16.0);
    let large = [17.5, 20.5, 40.0, 50.0, 80.0, 86.9, 88.1, 88.8, 95.0, 104.5, 1e4, 1e12, 2e18, 1e20, 1e30, f32::MAX];
    let sizes = sizes.into_iter().chain(grid).chain(large).chain([f32::INFINITY, f32::NAN]);
    sizes.flat_map(|x| [x, -x]).collect()
}

/// The functions with their usual constants, and with others.
fn functions() -> Vec<Activation> {
    let known = Activation::ALL.into_iter().filter(|f| f.is_elementwise());
    let other = known.clone().filter(|f| !f.constants().is_empty());
    let constants = [0.3, 0.7].map(Constant::new);
    let functions: Vec<_> = known.chain(other.map(|f| f.with_constants(&constants))).collect();
    assert_eq!(functions.len(), 28 + 13);
    functions
}

/// Returns the results of the adapter and of the oracle for `model`.
/// Its first layer, `Linear::new(1, 1)`, is set to the identity.
fn both(model: &Model) -> (Vec<f32>, Vec<f64>) {
    let mut weights = Weights::random(model, 5).expect("the model is right");
    weights.layers[0] = LayerWeights::Linear { w: arr2(&[[1.0]]), b: None };
    let x = sweep();
    let input = Input::features(Array3::from_shape_vec((1, x.len(), 1), x).expect("one number a step"));
    let got = engine(&adapter(), Precision::F32, model, &weights).and_then(|engine| engine.run(&input));
    let want = oracle::run(model, &weights, &input).expect("the oracle runs");
    (got.expect("the adapter runs").output.into_iter().collect(), want.output.into_iter().collect())
}

/// Whether `function` keeps its digits where it is small: left of zero it is a tail, not a difference.
fn keeps_its_digits(function: Activation) -> bool {
    use Activation as A;
    matches!(
        function,
        A::Sigmoid
            | A::Tanh
            | A::Elu { .. }
            | A::Selu { .. }
            | A::Softplus
            | A::Exponential
            | A::Silu
            | A::Gelu
            | A::GeluTanh
            | A::Mish
            | A::LogSigmoid
    )
}

/// Returns how many times the tolerance `got` is away from `want`.
fn used(got: f32, want: f64, abs: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, reason = "what is past f32 is an infinity")]
    let rounded = want as f32;
    if rounded.is_finite() && got.is_finite() {
        return (f64::from(got) - want).abs() / (abs + REL * want.abs());
    }
    let same = got == rounded || got.is_nan() && rounded.is_nan();
    if same { 0.0 } else { f64::INFINITY }
}

#[test]
fn every_function_gives_the_truth_for_numbers_of_every_size() {
    let mut wrong = Vec::new();
    for function in functions() {
        let linear = || Linear::new(1, 1).no_bias();
        let fused = Model::new().layer(linear().activation(function));
        let apart = Model::new().layer(linear()).layer(function);
        // Compiling takes most of the time, so a product has every function, and only some of the other constants.
        let known = Activation::ALL.contains(&function);
        for (model, place) in [(apart, "by itself"), (fused, "in a product")].into_iter().take(2 - usize::from(known)) {
            let (got, want) = both(&model);
            for ((x, got), want) in sweep().into_iter().zip(got).zip(want) {
                // Further out, the oracle's own cancellation becomes visible.
                let abs = if keeps_its_digits(function) && x.abs() <= 4.0 { LEAST } else { ABS };
                if used(got, want, abs) > 1.0 {
                    wrong.push(format!("{function} {place} of {x:e}: expected {want:e}, got {got:e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
