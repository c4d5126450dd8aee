//! The work of a plan's dispatches, counted: operations, and bytes from and to memory.
//!
//! It serves measurements: next to a time, it shows which of the two limits a kernel. It decides nothing.

use std::collections::{BTreeMap, HashSet};
use std::ops::AddAssign;
use std::time::Duration;

use super::{Dispatch, Plan, SlotKind};
use crate::kernel::{Across, Attend, Convolve, Kernel, LANES, Params, Program, StateKind, Step, Training, kept_gates};

/// The time of a run, by programs. A key with several programs has the time of all of them together.
pub(crate) type Spent = BTreeMap<Vec<usize>, Duration>;

/// The work of some dispatches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The number of dispatches.
    pub dispatches: u64,
    /// Multiplications and additions of their products: 0 for a kernel without a product.
    pub operations: u64,
    /// Bytes of the weights, and of the rows that are read and
    /// written, each counted once in a dispatch. Masks are left out.
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
    /// Returns the work of the dispatches of program `program`.
    pub fn work(&self, program: usize) -> Work {
        let mut work = Work::default();
        for step in self.steps.iter().filter(|step| step.program == program) {
            work += self.work_of(step);
        }
        work
    }

    /// Returns the bytes that a plan of gradients keeps for the
    /// backward pass: written before the first loss and read after it.
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
        // A walk counts its source with its values.
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

/// Returns how many matrices a dispatch multiplies.
fn products(program: &Program, p: &Params, sides: u64) -> u64 {
    match program {
        // Every layer of a wavefront but the first has an input product as well.
        Program::Wavefront(_) => 2 * sides - u64::from(p.direction == 0),
        Program::Gemm(_)
        | Program::Step(_)
        | Program::Scan(_)
        | Program::Persistent(_)
        | Program::StepReset(_)
        | Program::StepNew(..)
        | Program::StepProject(_)
        | Program::Convolve(Convolve::Forward { .. }) => sides,
        Program::ResetMailbox
        | Program::Gather(_)
        | Program::OneHot
        | Program::FinalState
        | Program::MaskOutputs
        | Program::Merge(_)
        | Program::Join(_)
        | Program::Softmax { .. }
        | Program::Activate(_)
        | Program::Normalize(_)
        | Program::Across(_)
        | Program::Sample
        | Program::Attend(_)
        | Program::Convolve(_) => 0,
        Program::Training(Training::StepBack(_) | Training::ScanBack(_)) => sides,
        // Each training program counts its own.
        Program::Training(_) => 0,
    }
}

/// Returns how many numbers of the states a step reads and writes for one unit.
fn states(step: &Step) -> u64 {
    match step.states {
        StateKind::Hidden => 1,
        StateKind::Cell | StateKind::Projected => 3,
    }
}

/// Returns how many numbers a dispatch reads and writes besides its weights and the rows that it multiplies.
fn values(program: &Program, p: &Params, sides: u64) -> u64 {
    let (rows, batch, units) = (u64::from(p.rows), u64::from(p.batch), u64::from(p.units));
    let part = u64::from(p.panels) * LANES as u64;
    let gates = program.cell().map_or(1, |(cell, _)| cell.gates() as u64);
    match program {
        Program::Gemm(_) => sides * rows * part * u64::from(program.product_gates()),
        Program::Step(step) => {
            let kept = if step.keeps { u64::from(kept_gates(step.cell)) } else { 0 };
            sides * batch * part * (gates + states(step) + kept)
        }
        // Every step reads its gates and writes its state. States
        // are read before the first step and written after the last.
        Program::Scan(step) => {
            // A program that keeps writes the states of each step.
            let kept = if step.keeps { u64::from(kept_gates(step.cell)) + (states(step) - 1) / 2 } else { 0 };
            sides * batch * part * (u64::from(p.steps) * (gates + 1 + kept) + states(step) + 1)
        }
        // It also hands its state on, and takes those of all steps but the last.
        Program::Persistent(step) => sides * batch * part * (u64::from(p.steps) * (gates + 3) + states(step)),
        Program::ResetMailbox => rows * units,
        // The first layer reads its gates, and the last one writes the outputs as well.
        Program::Wavefront(step) => {
            let (first, last) = (p.direction == 0, u64::from(p.direction) + sides == u64::from(p.directions));
            batch * part * (sides * states(step) + if first { gates } else { 0 } + u64::from(last))
        }
        // First half: two gates, and what waits for the second. Second half: one gate, what waited, and the states
        // before and after.
        Program::StepReset(_) | Program::StepNew(..) => sides * batch * part * 4,
        Program::StepProject(_) => sides * batch * part,
        Program::Gather(_) => sides * rows * units * 2,
        Program::OneHot | Program::Sample => rows * units,
        Program::Attend(Attend::Scores(_)) => (rows + u64::from(p.steps) * batch) * units + rows * u64::from(p.steps),
        Program::Attend(Attend::Shares { .. }) => rows * units * 2,
        Program::Attend(Attend::Blend { .. } | Attend::ScoresBack { .. }) => {
            (2 * rows + u64::from(p.steps) * batch) * units
        }
        // What was kept, δ, the gradient from above and the two of `past`.
        Program::Training(Training::StepBack(back)) => {
            sides * batch * part * (u64::from(kept_gates(back.cell)) + gates + 5)
        }
        // The gradients of `past` are read before the first step and written after the last.
        Program::Training(Training::ScanBack(back)) => {
            sides * batch * part * (u64::from(p.steps) * (u64::from(kept_gates(back.cell)) + gates + 1) + 4)
        }
        Program::Training(_) => rows * units * u64::from(p.directions.max(1)),
        // Each step is read once, and the result with its counts is read and written.
        Program::Across(Across::Pool(_)) => rows * units * u64::from(p.directions) * (u64::from(p.steps) + 4),
        Program::Across(Across::PoolBack(..)) => (rows * 2 + batch * 3) * units * u64::from(p.directions),
        Program::Across(Across::Rearrange) => rows * units * u64::from(p.directions) * 2,
        Program::Convolve(Convolve::Forward { .. }) => rows * part,
        // A gradient reads the rows of one side of the convolution, and those of the other.
        Program::Convolve(Convolve::Back { .. } | Convolve::Outer { .. }) => rows * (units + u64::from(p.source_units)),
        // Each row of the source counts once, whatever windows share it.
        Program::Across(Across::WindowPool(..)) => {
            rows * units * u64::from(p.directions) * (1 + u64::from(p.time_step_0.min(p.steps)))
        }
        Program::Across(Across::WindowBack(..)) => {
            let windows = rows.div_ceil(u64::from(p.time_step_0.max(1)));
            (rows * 2 + windows * 2) * units * u64::from(p.directions)
        }
        Program::FinalState => sides * batch * units * 2,
        Program::MaskOutputs => sides * rows * units * 2,
        Program::Merge(_) => rows * units * 3,
        Program::Join(join) => {
            let width = units * u64::from(p.directions);
            let taken = u64::from(p.count) * if join.broadcast { batch.min(rows) } else { rows };
            rows * width * if join.first { 1 } else { 2 } + taken
        }
        Program::Softmax { .. } | Program::Activate(_) | Program::Normalize(_) => {
            rows * units * u64::from(p.directions) * 2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::{Cell, Reset};
    use crate::kernel::{Kernel, Mask};
    use crate::layout::Layout;
    use crate::model::{Lstm, Model, Recurrent};
    use crate::plan::tune::{Target, Tuning};
    use crate::plan::{Limits, Shape, Strategy, lower};
    use crate::precision::Precision;

    fn plan(model: &Model, (time, batch): (usize, usize), strategy: Strategy) -> Plan {
        let (layout, tuning) = (Layout::of(model, Precision::F32).unwrap(), Tuning::of(Target::Gpu));
        let shape = Shape::new(time, batch, Mask::All);
        let limits = Limits { co_resident_workgroups: 8, ..Limits::WEBGPU };
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
        // The depth and the bias, by four gates. Each row has the state, four gates, and the cell states before and
        // after.
        let bytes = 4 * (17 * 4 * 16 + 2 * 16 * (1 + 4 + 3));
        assert_eq!(plan.work(step), Work { dispatches: 5, operations: 5 * 2 * 2 * 16 * 64, bytes: 5 * bytes });
    }
}
