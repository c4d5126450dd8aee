//! What the dispatches of a plan take, counted: operations, and bytes from and to memory.
//!
//! For whoever measures: beside a time they say which of the two a kernel meets. Nothing is decided by them.

use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;
use std::time::Duration;

use super::{Dispatch, Plan, SlotKind};
use crate::kernel::{Kernel, LANES, Params, Program, StateKind, Step, Training, kept_gates};

/// What a run took, by programs: more than one together, where they were not told apart.
pub(crate) type Spent = BTreeMap<Vec<usize>, Duration>;

/// What some dispatches take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// How many dispatches.
    pub dispatches: u64,
    /// Multiplications and additions of their products; none of a kernel that has no product.
    pub operations: u64,
    /// Bytes of the weights, and of the rows that are read and written, each once a dispatch. Masks are left out.
    pub bytes: u64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.dispatches += other.dispatches;
        self.operations += other.operations;
        self.bytes += other.bytes;
    }
}

impl Plan {
    /// What the dispatches of program `program` take.
    pub fn work(&self, program: usize) -> Work {
        let mut work = Work::default();
        for step in self.steps.iter().filter(|step| step.program == program) {
            work += self.work_of(step);
        }
        work
    }

    /// Bytes that a plan of gradients keeps for the way back: of what is computed before the first loss and read after it.
    pub fn kept_bytes(&self) -> u64 {
        let is_loss = |step: &Dispatch| self.programs[step.program].kernel() == Kernel::Loss;
        let Some(loss) = self.steps.iter().position(is_loss) else { return 0 };
        let (before, after) = self.steps.split_at(loss);
        let touched = |steps: &[Dispatch]| -> HashSet<_> {
            steps.iter().flat_map(|step| step.windows.iter().map(|window| window.slot)).collect()
        };
        let (before, after) = (touched(before), touched(after));
        let kept = before.intersection(&after).map(|&slot| &self.slots[slot]);
        kept.filter(|slot| slot.kind.is_scratch() || slot.kind == SlotKind::Output).map(|slot| slot.bytes).sum()
    }

    fn work_of(&self, step: &Dispatch) -> Work {
        let (program, p) = (&self.programs[step.program], &self.params[step.params]);
        let sides = u64::from(step.grid[2]);
        let kernel = program.kernel();
        let products = products(program, p, sides);
        let is_walk = kernel.is_walk();
        let steps = u64::from(if is_walk { p.steps } else { 1 });
        let rows = steps * u64::from(if kernel.is_step() { p.batch } else { p.rows });
        // A walk has its source beside it.
        let loaded = if is_walk { 0 } else { products * rows * u64::from(p.depth) };
        let gates = u64::from(program.product_gates());
        let width = u64::from(p.panels) * LANES as u64 * gates;
        let panel = program
            .matrix()
            .map_or(0, |matrix| matrix.storage.panel_bytes(p.depth.into(), program.rows_after_depth().into(), gates));
        Work {
            dispatches: 1,
            operations: 2 * products * rows * u64::from(p.depth) * width,
            bytes: products * u64::from(p.panels) * panel + 4 * (loaded + values(program, p, sides)),
        }
    }
}

/// How many matrices a dispatch multiplies with.
fn products(program: &Program, p: &Params, sides: u64) -> u64 {
    match program {
        // Every layer of a run but the first has an input product besides.
        Program::Diagonal(_) => 2 * sides - u64::from(p.direction == 0),
        Program::Project(_)
        | Program::Step(_)
        | Program::Scan(_)
        | Program::Persistent(_)
        | Program::StepReset(_)
        | Program::StepNew(..)
        | Program::StepProject(_) => sides,
        Program::Clear
        | Program::Gather(_)
        | Program::OneHot
        | Program::Pick
        | Program::Blank
        | Program::Merge(_)
        | Program::Join(_)
        | Program::Softmax { .. }
        | Program::Activate(_)
        | Program::Sample => 0,
        Program::Training(Training::StepBack(_) | Training::ScanBack(_)) => sides,
        // Each counts its own.
        Program::Training(_) => 0,
    }
}

/// How many numbers a step reads and writes of the states of a unit.
fn states(step: &Step) -> u64 {
    match step.states {
        StateKind::Hidden => 1,
        StateKind::Memory | StateKind::Projected => 3,
    }
}

/// How many numbers a dispatch reads and writes beside its weights and what they are multiplied with.
fn values(program: &Program, p: &Params, sides: u64) -> u64 {
    let (rows, batch, units) = (u64::from(p.rows), u64::from(p.batch), u64::from(p.units));
    let part = u64::from(p.panels) * LANES as u64;
    let gates = program.cell().map_or(1, |(cell, _)| cell.gates() as u64);
    match program {
        Program::Project(_) => sides * rows * part * u64::from(program.product_gates()),
        Program::Step(step) => {
            let kept = if step.keeps { u64::from(kept_gates(step.cell)) } else { 0 };
            sides * batch * part * (gates + states(step) + kept)
        }
        // Every step takes its gates and gives its state; states go in at the first and out after the last.
        Program::Scan(step) => {
            // Who keeps gives the states of each.
            let kept = if step.keeps { u64::from(kept_gates(step.cell)) + (states(step) - 1) / 2 } else { 0 };
            sides * batch * part * (u64::from(p.steps) * (gates + 1 + kept) + states(step) + 1)
        }
        // And hands it on, to be taken but for the last.
        Program::Persistent(step) => sides * batch * part * (u64::from(p.steps) * (gates + 3) + states(step)),
        Program::Clear => rows * units,
        // The first layer takes its gates, and the last gives the outputs besides.
        Program::Diagonal(step) => {
            let (first, last) = (p.direction == 0, u64::from(p.direction) + sides == u64::from(p.directions));
            batch * part * (sides * states(step) + if first { gates } else { 0 } + u64::from(last))
        }
        // Two gates, and what waits for the second product; then one gate, what waited, and the state before and after.
        Program::StepReset(_) | Program::StepNew(..) => sides * batch * part * 4,
        Program::StepProject(_) => sides * batch * part,
        Program::Gather(_) => sides * rows * units * 2,
        Program::OneHot | Program::Sample => rows * units,
        // What was kept, δ, the gradients above and past.
        Program::Training(Training::StepBack(back)) => {
            sides * batch * part * (u64::from(kept_gates(back.cell)) + gates + 5)
        }
        // But for the gradients past, which go in at the first and out after the last.
        Program::Training(Training::ScanBack(back)) => {
            sides * batch * part * (u64::from(p.steps) * (u64::from(kept_gates(back.cell)) + gates + 1) + 4)
        }
        Program::Training(_) => rows * units * u64::from(p.directions.max(1)),
        Program::Pick => sides * batch * units * 2,
        Program::Blank => sides * rows * units * 2,
        Program::Merge(_) => rows * units * 3,
        Program::Join(join) => {
            let width = units * u64::from(p.directions);
            let taken = u64::from(p.count) * if join.broadcast { batch.min(rows) } else { rows };
            rows * width * if join.first { 1 } else { 2 } + taken
        }
        Program::Softmax { .. } | Program::Activate(_) => rows * units * u64::from(p.directions) * 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Cell, Reset};
    use crate::kernel::{Kernel, Mask, Storage};
    use crate::layout::Layout;
    use crate::model::{Lstm, Model, Recurrent};
    use crate::plan::tune::{Target, Tuning};
    use crate::plan::{Limits, Shape, Strategy, lower};

    fn plan(model: &Model, (time, batch): (usize, usize), strategy: Strategy) -> Plan {
        let (layout, tuning) = (Layout::of(model, Storage::F32).unwrap(), Tuning::of(Target::Gpu));
        let shape = Shape::new(time, batch, Mask::All);
        let limits = Limits { resident_workgroups: 8, ..Limits::WEBGPU };
        lower::lower(model, &layout, shape, &limits, &tuning.with_strategy(Some(strategy))).unwrap()
    }

    #[test]
    fn a_model_takes_as_many_operations_by_whatever_strategy() {
        for (cell, gates) in
            [(Cell::Rnn, 1), (Cell::Lstm, 4), (Cell::Gru(Reset::After), 3), (Cell::Gru(Reset::Before), 3)]
        {
            let stack = |stack: Recurrent| Model::new().layer(stack.num_layers(3));
            let forward = stack(Recurrent::new(cell, 32, 48));
            let both = stack(Recurrent::new(cell, 32, 48).bidirectional());
            let sizes = [(forward, 32 + 48 + 2 * (48 + 48)), (both, 2 * (32 + 48 + 2 * (2 * 48 + 48)))];
            for ((model, depth), strategy) in
                sizes.iter().flat_map(|size| Strategy::ALL.map(|strategy| (size, strategy)))
            {
                let plan = plan(model, (7, 3), strategy);
                let operations: u64 = (0..plan.programs.len()).map(|program| plan.work(program).operations).sum();
                assert_eq!(operations, 2 * 7 * 3 * gates * 48 * depth, "{} by {strategy}", plan.title);
            }
        }
    }

    #[test]
    fn a_step_reads_its_weights_and_states_each_time() {
        let plan = plan(&Model::new().layer(Lstm::new(16, 16)), (5, 2), Strategy::Step);
        let step = plan.programs.iter().position(|program| program.kernel() == Kernel::Step).unwrap();
        // Depth and bias by four gates; of each row the state, four gates, and the memory before and after.
        let bytes = 4 * (17 * 4 * 16 + 2 * 16 * (1 + 4 + 3));
        assert_eq!(plan.work(step), Work { dispatches: 5, operations: 5 * 2 * 2 * 16 * 64, bytes: 5 * bytes });
    }
}
