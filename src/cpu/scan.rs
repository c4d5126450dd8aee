//! `scan` and `persistent`: many steps of a layer, one after the other. Nobody shares them here, so nothing is exchanged.
//!
//! The host has nothing to win from fewer dispatches: this is what the kernel means, for comparing a GPU with. Knows `step`
//! as the plan does, by its program and params.

use pulp::Arch;

use super::buffers::Bound;
use super::step;
use crate::kernel::{Params, Program, Role, StateKind, Step};

/// Runs a scan.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, step: Step) {
    let p = *bound.params;
    let program = Program::Step(step);
    let mut params = Params { memory_in: p.memory_out, ..p };
    if step.states == StateKind::Memory {
        keep_memory(bound);
    }
    for _ in 0..p.steps {
        let Bound { sides, windows, weights, .. } = *bound;
        let (program, buffers) = (&program, &mut *bound.buffers);
        step::run(arch, &mut Bound { program, params: &params, sides, windows, weights, buffers });
        params = next(params);
    }
}

/// The params of the step after that of `p`.
fn next(p: Params) -> Params {
    Params {
        source_0: p.target_0,
        source_1: p.target_1,
        target_0: p.target_0.wrapping_add(p.hidden_step_0),
        target_1: p.target_1.wrapping_add(p.hidden_step_1),
        gates_0: p.gates_0.wrapping_add(p.time_step_0),
        gates_1: p.gates_1.wrapping_add(p.time_step_1),
        live_0: p.live_0.wrapping_add(p.time_step_0),
        live_1: p.live_1.wrapping_add(p.time_step_1),
        ..p
    }
}

/// Copies the cell states of the dispatch's directions to the row that its last step leaves them in: a step may write over
/// the row that it reads.
fn keep_memory(bound: &mut Bound<'_>) {
    let p = *bound.params;
    let [batch, units, directions] = [p.batch, p.units, p.directions].map(|n| n as usize);
    let (width, column) = (directions * units, p.direction as usize * units);
    let each = bound.sides * units;
    bound.write(Role::Memory, |_, memory| {
        for b in 0..batch {
            let [from, to] = [p.memory_in, p.memory_out].map(|row| (row as usize * batch + b) * width + column);
            memory.copy_within(from..from + each, to);
        }
    });
}
