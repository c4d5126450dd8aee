//! The parts of the programs of training.
//!
//! Knows which files make up a backward pass, a loss and an update. What
//! they share with the programs of a forward pass is linked as there.

use super::product::{hold, panel, slices, sums, weight};
use super::{FUNCTIONS, live, norm_parts};
use crate::cell::{Activation, Cell, Peepholes, Reset, Variant};
use crate::kernel::{Loads, Mask, Medium, Outer, Program, RowLoss, StepBack, Training};
use crate::rule::{Method, Rule};

/// The parts of a training program, without its kernel.
pub(super) fn parts(program: &Program, training: Training) -> Vec<&'static str> {
    match training {
        Training::StepBack(back) => step_parts(program, back, &[]),
        Training::ScanBack(back) => {
            let scan = [&hold(back.tile)[..], &["part/steps.wgsl"]].concat();
            step_parts(program, back, &scan)
        }
        Training::CellBack(back) => {
            let mut parts = curve_parts(program, Cell::Lstm, back.variant);
            parts.extend(["back/unit.wgsl", live(back.mask), peephole_back(back.variant)]);
            parts.push(cell_back(program, Cell::Lstm));
            parts
        }
        Training::ResetRows(_) if program.is_plain() => vec!["part/activation.wgsl", "function/plain.wgsl"],
        Training::ResetRows(_) => {
            [&FUNCTIONS[..], &["function/clip.wgsl", "function/f.wgsl", "function/g.wgsl"]].concat()
        }
        Training::NewBack(variant, mask) => {
            let mut parts = curve_parts(program, Cell::Gru(Reset::Before), variant);
            parts.extend(["back/unit.wgsl", live(mask), "back/state_direct.wgsl"]);
            parts
        }
        Training::ResetBack(variant) => {
            let mut parts = curve_parts(program, Cell::Gru(Reset::Before), variant);
            parts.extend(["back/unit.wgsl", live(Mask::All)]);
            parts
        }
        Training::StateBack(mask) => vec!["back/unit.wgsl", live(mask), "back/state_direct.wgsl"],
        Training::ActivateBack(_) => {
            [&FUNCTIONS[..], &["function/derivative.wgsl", "function/chosen_slope.wgsl"]].concat()
        }
        Training::SoftmaxBack { .. } => vec!["part/activation.wgsl", "part/lanes.wgsl"],
        Training::Drop => vec!["part/activation.wgsl", "part/logarithm.wgsl", "part/random.wgsl"],
        Training::Spread { .. } | Training::SpreadBack { .. } => {
            vec!["part/activation.wgsl", "part/logarithm.wgsl", "part/random.wgsl", "part/copies.wgsl"]
        }
        Training::Loss(loss) => loss_parts(loss),
        Training::Outer(Outer { loads, medium, .. }) => {
            let multiplied = match medium {
                Medium::Buffer => "outer/buffers.wgsl",
                Medium::Texture => "outer/textures.wgsl",
            };
            let tile = match loads {
                Loads::Lane => "outer/lane.wgsl",
                Loads::Subgroup => "outer/subgroup.wgsl",
            };
            vec![multiplied, tile]
        }
        Training::PeepholeBack { .. }
        | Training::Transpose { .. }
        | Training::MaximumBack
        | Training::SumSteps { .. }
        | Training::Scatter { .. }
        | Training::Zero
        | Training::ToTexture => Vec::new(),
        Training::Total { .. } => vec!["part/lanes.wgsl"],
        Training::NormalizeBack(norm) => norm_parts(norm),
        Training::Tie { .. } => vec!["update/place.wgsl"],
        Training::Squares => vec!["update/scalars.wgsl", "part/lanes.wgsl"],
        Training::Update(rule) => rule_parts(rule),
    }
}

/// The parts of the backward pass of one step or of many, linked with `more`.
fn step_parts(program: &Program, back: StepBack, more: &[&'static str]) -> Vec<&'static str> {
    // The cell comes before an array whose size depends on a constant of it: naga 30 requires it.
    let mut parts = vec![weight(back.matrix), panel(back.matrix), "part/place.wgsl"];
    parts.extend(curve_parts(program, back.cell, back.variant));
    parts.extend(["back/place.wgsl", live(back.mask), peephole_back(back.variant)]);
    parts.extend([cell_back(program, back.cell), "back/timestep.wgsl"]);
    parts.extend(sums(program, back.tile));
    parts.extend(["peephole/none.wgsl", slices(back.tile)]);
    parts.extend(more);
    parts.extend(match back.cell {
        Cell::Rnn => ["back/deltas.wgsl", "back/no_states.wgsl"],
        Cell::Lstm => ["back/deltas.wgsl", "back/cell_state.wgsl"],
        Cell::Gru(_) => ["back/deltas_gru.wgsl", "back/hidden.wgsl"],
    });
    parts
}

/// The equations of an update: the direction of each weight's change, and how far it moves.
fn rule_parts(rule: Rule) -> Vec<&'static str> {
    let (way, moments) = match rule.method {
        Method::Gradient => ("update/gradient.wgsl", 0),
        Method::RmsProp { centered: false } => ("update/over_root.wgsl", 1),
        Method::RmsProp { centered: true } => ("update/over_deviation.wgsl", 2),
        Method::Adam { amsgrad: false } => ("update/adam.wgsl", 2),
        Method::Adam { amsgrad: true } => ("update/amsgrad.wgsl", 3),
    };
    let moved = match moments {
        _ if !rule.momentum => "update/moved.wgsl",
        0 => "update/pushed.wgsl",
        1 => "update/pushed_second.wgsl",
        _ => "update/pushed_third.wgsl",
    };
    vec!["update/scalars.wgsl", way, moved]
}

fn loss_parts(loss: RowLoss) -> Vec<&'static str> {
    let [kind, of_target] = match loss {
        RowLoss::CrossEntropy { weighted: true, .. } => ["loss/classes.wgsl", "loss/weighted.wgsl"],
        RowLoss::CrossEntropy { .. } => ["loss/classes.wgsl", "loss/even.wgsl"],
        RowLoss::SumOfSquares => ["loss/elementwise.wgsl", "loss/none.wgsl"],
        RowLoss::BinaryCrossEntropy { .. } | RowLoss::Squared | RowLoss::Absolute | RowLoss::Huber { .. } => {
            ["loss/elementwise.wgsl", "loss/values.wgsl"]
        }
    };
    vec!["part/activation.wgsl", "part/logarithm.wgsl", "part/lanes.wgsl", of_target, kind]
}

/// The functions of a cell with their derivatives.
fn curve_parts(program: &Program, cell: Cell, variant: Variant) -> Vec<&'static str> {
    if program.is_plain() {
        let file = match cell {
            Cell::Rnn if variant.functions.f == Activation::Relu => "curve/relu.wgsl",
            Cell::Rnn => "curve/tanh.wgsl",
            Cell::Lstm | Cell::Gru(_) => "curve/plain.wgsl",
        };
        return vec!["part/activation.wgsl", "curve/curve.wgsl", file];
    }
    let letters = ["function/f.wgsl", "function/g.wgsl", "function/h.wgsl"];
    let curves = ["curve/f.wgsl", "curve/g.wgsl", "curve/h.wgsl"];
    let count = cell.function_count();
    let shared = ["function/derivative.wgsl", "function/clip.wgsl", "curve/curve.wgsl", "curve/clip.wgsl"];
    [&FUNCTIONS[..], &shared, &letters[..count], &curves[..count]].concat()
}

/// The equations of a cell's backward pass.
fn cell_back(program: &Program, cell: Cell) -> &'static str {
    match cell {
        Cell::Rnn => "back/rnn.wgsl",
        Cell::Gru(_) => "back/gru.wgsl",
        Cell::Lstm if program.is_plain() => "back/lstm.wgsl",
        Cell::Lstm => "back/lstm_general.wgsl",
    }
}

fn peephole_back(variant: Variant) -> &'static str {
    match variant.peepholes {
        Peepholes::None => "back/no_peephole.wgsl",
        Peepholes::Diagonal => "back/peephole.wgsl",
    }
}
