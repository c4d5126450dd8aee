//! Negative controls: minimal bugs of a backward pass, planted in the
//! values that the forward pass kept. Finite differences must find them.

use ndarray::Array2;

use super::back::{Back, back};
use super::differences::{Along, Slopes};
use super::forward::{Forward, forward};
use super::params::LayerParams;
use super::stack::Keep;
use super::start;
use crate::cell::{Cell, Reset};
use crate::conformance::{Case, InitialStates, MaskKind};
use crate::loss::{Loss, Objective, Targets};
use crate::model::{Linear, Model, Padding, Recurrent};
use crate::precision::Precision;

/// A correct backward pass stays far below this error.
const TOLERANCE: f64 = 1e-6;

fn case(cell: Cell) -> Case {
    let mut stack = Recurrent::new(cell, 3, 4).num_layers(2).bidirectional().padding(Padding::Held);
    if cell == Cell::Lstm {
        stack = stack.peepholes();
    }
    let (precision, mask, states) = (Precision::F32, MaskKind::Holes, InitialStates::Given);
    let model = Model::new().layer(stack).layer(Linear::new(8, 2));
    Case { name: cell.to_string(), model, time: 6, batch: 4, precision, mask, states, seed: 7 }
}

/// Returns the largest distance of slopes from gradients, with
/// one bug in the forward values and another in the gradients.
fn error(cell: Cell, in_forward: impl FnOnce(&mut Forward), in_gradients: impl FnOnce(&mut Back)) -> f64 {
    let case = case(cell);
    let (weights, input) = (case.weights(), case.input());
    let (objective, targets) = (Objective::new(Loss::SumOfSquares), [Targets::none()]);
    let (call, aims, point) = start(&case.model, &weights, &input, &objective, &targets).unwrap();
    let mut forward = forward(&case.model, &call, &point, Keep::Steps).unwrap();
    in_forward(&mut forward);
    let mut back = back(&case.model, &call, &point, &forward, &aims);
    in_gradients(&mut back);
    let slopes = Slopes { model: &case.model, call: &call, aims: &aims, point };
    let all = slopes.against(back, Along::Each, 3).unwrap();
    all.iter().map(|difference| difference.error).fold(0.0, f64::max)
}

/// Does the same with a bug in each forward step of the last layer.
fn in_steps(cell: Cell, bug: impl Fn(&mut super::cell::Step)) -> f64 {
    error(cell, |forward| forward.kept[0][2].steps.iter_mut().for_each(&bug), |_| {})
}

#[test]
fn gradients_without_a_bug_are_within_the_tolerance() {
    for cell in Cell::ALL {
        let error = error(cell, |_| {}, |_| {});
        assert!(error < TOLERANCE, "{cell}: {error:e}");
    }
}

fn found(what: &str, error: f64) {
    assert!(error > 1e3 * TOLERANCE, "{what}: only {error:e}");
}

#[test]
fn a_gate_without_its_gradient_is_found() {
    for cell in Cell::ALL {
        for gate in 0..cell.gates() {
            // So far from 0, every function of a plain cell is flat.
            let error = in_steps(cell, |step| step.gates[gate].sum.fill(1e3));
            found(&format!("{cell}, gate {gate}"), error);
        }
    }
}

#[test]
fn another_state_than_that_before_the_step_is_found() {
    for cell in Cell::ALL {
        found(&format!("{cell}: h for h before"), in_steps(cell, |step| step.h = step.h_next.clone()));
    }
    found("c for c before", in_steps(Cell::Lstm, |step| step.c.clone_from(&step.c_next)));
    let tanh = |c: &Array2<f64>| c.mapv(f64::tanh);
    found("tanh c for c before", in_steps(Cell::Lstm, |step| step.c = step.c.as_ref().map(tanh)));
    found("tanh c for c", in_steps(Cell::Lstm, |step| step.c_next = step.c_next.as_ref().map(tanh)));
    let after = Cell::Gru(Reset::After);
    found("h for the product of h", in_steps(after, |step| step.q = Some(step.h.clone())));
}

#[test]
fn a_bias_that_counts_twice_is_found() {
    for cell in Cell::ALL {
        let twice = |back: &mut Back| {
            let LayerParams::Recurrent(cells) = &mut back.params.layers[0] else { unreachable!() };
            if let Some(b) = &mut cells[0].b_x {
                *b *= 2.0;
            }
        };
        found(&cell.to_string(), error(cell, |_| {}, twice));
    }
}

#[test]
fn a_mask_that_one_direction_forgets_is_found() {
    for cell in Cell::ALL {
        for row in 0..4 {
            let forgets = |forward: &mut Forward| forward.kept[0][row].live = None;
            found(&format!("{cell}, row {row}"), error(cell, forgets, |_| {}));
        }
    }
}
