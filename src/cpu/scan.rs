//! `scan`, `scan_back` and `persistent`: many steps of a layer, one after
//! the other. No other thread shares them, so nothing is exchanged.
//!
//! Fewer dispatches do not make the host faster: these kernels exist to compare
//! a GPU with. Knows `step` as the plan does, by its program and params.

use pulp::Arch;

use super::buffers::Bound;
use super::step;
use crate::kernel::{Params, Program, Role, StateKind, Step, StepBack, Training};

/// Runs a scan.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, step: Step) {
    let p = *bound.params;
    let program = Program::Step(step);
    // A program that keeps leaves the states of each step, and the others only those of the last step.
    let mut params = if step.keeps { p } else { Params { cell_in: p.cell_out, ..p } };
    if step.states == StateKind::Cell && !step.keeps {
        keep_cell_state(bound);
    }
    for _ in 0..p.steps {
        one(arch, bound, &program, &params);
        params = next(params);
        if step.keeps {
            params = Params { cell_in: params.cell_in + 1, cell_out: params.cell_out + 1, ..params };
        }
    }
}

/// Runs a scan back.
pub(super) fn run_back(arch: Arch, bound: &mut Bound<'_>, back: StepBack) {
    let program = Program::Training(Training::StepBack(back));
    let mut params = *bound.params;
    for _ in 0..params.steps {
        one(arch, bound, &program, &params);
        params = before(params);
    }
}

/// Runs a step of a scan.
fn one(arch: Arch, bound: &mut Bound<'_>, program: &Program, params: &Params) {
    let Bound { sides, windows, weights, .. } = *bound;
    step::run(arch, &mut Bound { program, params, sides, windows, weights, buffers: &mut *bound.buffers });
}

/// Returns the params of the step after that of `p`.
fn next(p: Params) -> Params {
    Params {
        source_0: p.target_0,
        source_1: p.target_1,
        target_0: p.target_0.wrapping_add(p.hidden_step_0),
        target_1: p.target_1.wrapping_add(p.hidden_step_1),
        ..in_time(p)
    }
}

/// Returns the params of the step before that of `p`, for the backward pass.
fn before(p: Params) -> Params {
    Params {
        source_0: p.gates_0,
        source_1: p.gates_1,
        target_0: p.target_0.wrapping_add(p.time_step_0),
        target_1: p.target_1.wrapping_add(p.time_step_1),
        before_0: p.before_0.wrapping_add(p.hidden_step_0),
        before_1: p.before_1.wrapping_add(p.hidden_step_1),
        cell_in: p.cell_in.wrapping_sub(1),
        cell_out: p.cell_out.wrapping_sub(1),
        ..in_time(p)
    }
}

/// Advances `p` in everything that has one row for each timestep, in either direction of time.
fn in_time(p: Params) -> Params {
    Params {
        gates_0: p.gates_0.wrapping_add(p.time_step_0),
        gates_1: p.gates_1.wrapping_add(p.time_step_1),
        live_0: p.live_0.wrapping_add(p.time_step_0),
        live_1: p.live_1.wrapping_add(p.time_step_1),
        kept_0: p.kept_0.wrapping_add(p.time_step_0),
        kept_1: p.kept_1.wrapping_add(p.time_step_1),
        ..p
    }
}

/// Copies the cell states of the dispatch's directions to the row
/// of its last step: a step may overwrite the row that it reads.
fn keep_cell_state(bound: &mut Bound<'_>) {
    let p = *bound.params;
    let [batch, units, directions] = [p.batch, p.units, p.directions].map(|n| n as usize);
    let (width, column) = (directions * units, p.direction as usize * units);
    let each = bound.sides * units;
    bound.write(Role::CellState, |_, cell_state| {
        for b in 0..batch {
            let [from, to] = [p.cell_in, p.cell_out].map(|row| (row as usize * batch + b) * width + column);
            cell_state.copy_within(from..from + each, to);
        }
    });
}
