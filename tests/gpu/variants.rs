//! Variants of cells on the adapter, against the oracle: every function, clip, coupled gates,
//! peepholes. The conformance table combines them with sizes and masks; here each occurs at least once.

use gatewave::conformance::{Tolerance, compare_outputs};
use gatewave::layer::{Cell, Constant, Functions, Peepholes, Recurrent, Reset};
use gatewave::weights::LayerWeights;
use gatewave::{Activation, Input, Model, Precision, States, Weights, oracle};
use ndarray::Array2;

use crate::support::devices::adapter;
use crate::support::executor::engine;
use crate::support::noise::noise;

const BATCH: usize = 3;
const TIME: usize = 4;
const INPUT: usize = 5;
/// Two panels, the second of them not full.
const UNITS: usize = 20;

/// Some sums of gates are larger than this.
const CLIP: f32 = 0.4;

/// Functions that no cell has by default, each with its own constants.
const FUNCTIONS: Functions = Functions {
    f: Activation::HardSigmoid { alpha: Constant::new(0.3), beta: Constant::new(0.4) },
    g: Activation::ScaledTanh { alpha: Constant::new(1.5), beta: Constant::new(0.7) },
    h: Activation::Softsign,
};

/// Runs `stack` on the adapter and compares it with the oracle.
/// The result of `without`, which lacks an option, must differ.
#[track_caller]
fn check(what: &str, stack: Recurrent, without: Option<Recurrent>) {
    let cell = stack.cell;
    let (peepholes, state) = (stack.peepholes != Peepholes::None, stack.state_size());
    let model = Model::new().layer(stack);
    let mut weights = Weights::random(&model, 7).expect("the model is right");
    let LayerWeights::Recurrent(of_cells) = &mut weights.layers[0] else { panic!("a recurrent layer") };
    of_cells[0].peepholes = peepholes.then(|| noise(&[3, UNITS], 9).into_dimensionality().expect("two axes"));
    let h = noise(&[1, BATCH, state], 1);
    let states =
        if cell == Cell::Lstm { States::with_cell(h, noise(&[1, BATCH, UNITS], 2)) } else { States::hidden(h) };
    // A row with a hole, and one that ends early.
    let live = Array2::from_shape_fn((BATCH, TIME), |(b, t)| !(b == 0 && t == 1 || b == 1 && t > 2));
    let input = Input::features(noise(&[BATCH, TIME, INPUT], 3)).mask(live).stack_states(0, states);
    let got = engine(&adapter(), Precision::F32, &model, &weights).and_then(|engine| engine.run(&input));
    let got = got.unwrap_or_else(|error| panic!("{what}: {error}"));
    let used = |model: &Model, weights: &Weights| {
        let want = oracle::run(model, weights, &input).expect("the oracle runs");
        let parts = compare_outputs(&got, &want, Tolerance::executor(model, TIME)).expect("one shape");
        parts.iter().map(|part| part.comparison.used).fold(0.0, f64::max)
    };
    let own = used(&model, &weights);
    assert!(own <= 1.0, "{what}: {own:.1} tolerances");
    if let Some(without) = without {
        if without.peepholes == Peepholes::None {
            let LayerWeights::Recurrent(of_cells) = &mut weights.layers[0] else { panic!("a recurrent layer") };
            of_cells[0].peepholes = None;
        }
        let other = used(&Model::new().layer(without), &weights);
        assert!(other > 10.0, "{what}: it makes no difference, {other:.1} tolerances");
    }
}

#[test]
fn a_simple_rnn_of_every_function_gives_the_truth() {
    for function in Activation::ALL.into_iter().filter(|function| function.is_elementwise() && function.is_total()) {
        check(&function.to_string(), Recurrent::new(Cell::Rnn, INPUT, UNITS).nonlinearity(function), None);
    }
}

#[test]
fn functions_and_clip_of_every_cell_give_the_truth_and_make_a_difference() {
    for cell in Cell::ALL {
        let plain = || Recurrent::new(cell, INPUT, UNITS);
        let mut functions = FUNCTIONS;
        for (at, function) in [&mut functions.f, &mut functions.g, &mut functions.h].into_iter().enumerate() {
            if at >= cell.function_count() {
                *function = Activation::Linear;
            }
        }
        check(&format!("{cell} of other functions"), plain().functions(functions), Some(plain()));
        check(&format!("{cell} clipped"), plain().clip(CLIP), Some(plain()));
        let both = plain().functions(functions).clip(CLIP);
        check(&format!("{cell} of both"), both, Some(plain().functions(functions)));
    }
}

#[test]
fn coupled_gates_and_peepholes_give_the_truth_and_make_a_difference() {
    let plain = || Recurrent::new(Cell::Lstm, INPUT, UNITS);
    check("coupled", plain().coupled(), Some(plain()));
    check("peepholes", plain().peepholes(), Some(plain()));
    check("both, clipped", plain().peepholes().coupled().clip(CLIP), Some(plain().peepholes().clip(CLIP)));
    let all = |stack: Recurrent| stack.functions(FUNCTIONS).clip(CLIP).peepholes().proj_size(18);
    check("all, projected", all(plain()).coupled(), Some(all(plain())));
}

#[test]
fn a_gru_that_resets_before_has_its_functions_in_both_halves() {
    let stack = |f, g| {
        let functions = Functions { f, g, ..Functions::NONE };
        Recurrent::new(Cell::Gru(Reset::Before), INPUT, UNITS).functions(functions)
    };
    let (sigmoid, tanh, hard) = (Activation::Sigmoid, Activation::Tanh, FUNCTIONS.f);
    check("the gates", stack(hard, tanh), Some(stack(sigmoid, tanh)));
    check("the new state", stack(sigmoid, hard), Some(stack(sigmoid, tanh)));
}
