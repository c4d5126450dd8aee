//! The meaning of every number: the oracle against examples worked out on paper, against
//! PyTorch, and against itself with time reversed; and the table of cases against planted bugs.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

#[path = "meaning/by_hand.rs"]
mod by_hand;
#[path = "meaning/controls.rs"]
mod controls;
#[path = "meaning/functions.rs"]
mod functions;
#[path = "meaning/graphs.rs"]
mod graphs;
#[path = "meaning/options.rs"]
mod options;
#[path = "meaning/properties.rs"]
mod properties;
#[path = "meaning/turned.rs"]
mod turned;

use gatewave::conformance::{self, Bug, Tolerance, cases, compare};
use gatewave::layer::Cell;
use gatewave::oracle::{self, TrueStates, Truth};
use gatewave::{Output, States};
use ndarray::{ArrayD, ArrayView, Dimension};
use support::{fixtures, pytorch};

#[track_caller]
fn assert_near<D: Dimension>(got: ArrayView<'_, f64, D>, want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-9, "{what}: got {got:.12}, want {want:.12}");
    }
}

/// Returns the nearest f32, so that true results can replace an executor's.
#[allow(clippy::cast_possible_truncation, reason = "the nearest f32 is meant")]
fn nearest(x: &ArrayD<f64>) -> ArrayD<f32> {
    x.mapv(|x| x as f32)
}

fn as_output(truth: &Truth) -> Output {
    let states = |states: &TrueStates| States { h: nearest(&states.h), c: states.c.as_ref().map(nearest) };
    let mut output = Output::new(nearest(&truth.output), truth.states.iter().map(states).collect());
    output.others = truth.others.iter().map(nearest).collect();
    output
}

#[test]
fn the_oracle_gives_what_pytorch_gives() {
    let mut compared = 0;
    for fixture in fixtures::all() {
        let (model, weights) = pytorch::load(&fixture);
        let truth = oracle::run(&model, &weights, &pytorch::input_of(&fixture)).unwrap();
        for (name, comparison) in pytorch::compare_wanted(&fixture, &as_output(&truth), Tolerance::FIXTURE) {
            assert!(comparison.passed(), "{} {name}: {comparison}", fixture.id);
            compared += 1;
        }
    }
    assert_eq!(compared, 136);
}

#[test]
fn the_fixtures_tolerance_finds_planted_bugs() {
    let mut planted = [0; Bug::ALL.len()];
    let mut found = planted;
    for fixture in fixtures::all() {
        let (model, weights) = pytorch::load(&fixture);
        for (index, bug) in Bug::ALL.into_iter().enumerate() {
            let Some(wrong) = bug.plant(&model, &weights) else { continue };
            let truth = oracle::run(&model, &wrong, &pytorch::input_of(&fixture)).unwrap();
            let got = nearest(&truth.states[0].h);
            let comparison = compare(got.view(), fixture.wanted["h_n"].view(), Tolerance::FIXTURE).unwrap();
            planted[index] += 1;
            found[index] += usize::from(comparison.used > 10.0);
        }
    }
    // The others have one step from zero, a relu unit that is off, a projection
    // that passes almost nothing, or weights that are already halves.
    assert_eq!((found, planted), ([32, 31, 38, 51, 58, 38], [32, 34, 58, 58, 58, 52]));
}

#[test]
fn the_oracle_passes_its_own_table() {
    let mut passed = 0;
    for case in cases() {
        let result = conformance::run(&case, &mut |case, _, weights, _| Ok(as_output(&case.truth(weights)?)));
        assert!(result.passed(), "{result}");
        passed += 1;
    }
    assert_eq!(passed, 371);
}

#[test]
fn every_case_says_something() {
    for case in cases() {
        let truth = case.truth(&case.weights()).unwrap();
        let largest = truth.output.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        assert!(largest.is_finite() && largest > 1000.0 * case.tolerance().abs, "{}: {largest:e}", case.name);
    }
}

#[test]
fn a_wrong_shape_or_a_missing_state_is_a_failed_case() {
    let case = cases().into_iter().find(|case| case.model.stacks().any(|stack| stack.cell == Cell::Lstm)).unwrap();
    let spoiled = |spoil: fn(&mut Output)| {
        let result = conformance::run(&case, &mut |case, _, weights, _| {
            let mut output = as_output(&case.truth(weights)?);
            spoil(&mut output);
            Ok(output)
        });
        assert!(!result.passed() && result.used().is_infinite());
        result.outcome.unwrap_err().to_string()
    };
    assert_eq!(spoiled(|output| output.states[0].c = None), "c: expected one, got none");
    assert_eq!(spoiled(|output| output.states.clear()), "states: expected those of 1 stacks, got 0");
    assert!(spoiled(|output| output.output = ArrayD::zeros(vec![1])).starts_with("output: expected ["));
}

#[test]
fn a_number_that_is_none_is_a_failed_case() {
    for case in cases() {
        let result = conformance::run(&case, &mut |case, _, weights, _| {
            let mut output = as_output(&case.truth(weights)?);
            *output.output.last_mut().expect("a case has an output") = f32::NAN;
            Ok(output)
        });
        assert!(!result.passed() && result.used().is_infinite(), "{result}");
    }
}
