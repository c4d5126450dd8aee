//! The recurrent kernels: `step`, `step_reset`, `step_new`,
//! `step_project`, and `step_back`, whose rules are in `training`.
//!
//! Each is one product and one pointwise rule. They differ in the places of their operands and results. The
//! new states of a part are computed into a separate buffer, from states that nothing writes meanwhile.
//! They are copied to their rows afterwards. `team` decides which thread computes which part, and when.

mod back;
mod forward;

use std::ops::Range;

use pulp::Arch;

use super::buffers::{Bound, Buffer, Floats, View, bound, cut_mut};
use super::cells::{GruNew, GruReset, Projection, Rnn};
use super::functions::{General, Plain, Relu, Tanh};
use super::product::{Product, Rows};
use super::threads;
use crate::cell::{self, Activation, Cell, Reset, Variant};
use crate::kernel::{
    CELL_UNPROJECTED, Half, LANES, Mask, PAST_CELL, PAST_HIDDEN, Params, Program, Role, SCRATCH_RESET, SCRATCH_UPDATE,
    StateKind, Step, StepBack, Training, kept_gates,
};
use crate::plan::Window;

/// The other variant with its own rule: a simple RNN with `max(0, x)`.
const RELU: Variant =
    Variant { functions: cell::Functions { f: Activation::Relu, ..cell::Functions::NONE }, ..Variant::NONE };

/// The cell whose step has two halves.
const BEFORE: Cell = Cell::Gru(Reset::Before);

/// What a recurrent kernel computes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timestep<'a> {
    /// A whole step, without a projection.
    Whole(&'a Step),
    /// The first half of a GRU with the reset before the product.
    Reset(&'a Half),
    /// The second half of such a GRU.
    New(&'a Half),
    /// The projection of a hidden state.
    Project,
    /// The backward pass of a step.
    Back(&'a StepBack),
}

impl<'a> Timestep<'a> {
    /// Returns what `program` computes, if it is one of a recurrent kernel.
    pub(super) fn of(program: &'a Program) -> Option<Self> {
        match program {
            Program::Step(step) => Some(Self::Whole(step)),
            Program::StepReset(half) => Some(Self::Reset(half)),
            Program::StepNew(half, _) => Some(Self::New(half)),
            Program::StepProject(_) => Some(Self::Project),
            Program::Training(Training::StepBack(back)) => Some(Self::Back(back)),
            Program::Gemm(_)
            | Program::Wavefront(_)
            | Program::Scan(_)
            | Program::Persistent(_)
            | Program::ResetMailbox
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
            | Program::Convolve(_)
            | Program::Training(_) => None,
        }
    }
}

/// A dispatch of a recurrent kernel, without the states.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    timestep: Timestep<'a>,
    pub(super) params: &'a Params,
    /// How many directions the dispatch computes.
    pub(super) sides: usize,
    /// Rows of a panel after those of the depth.
    after_depth: usize,
    weights: &'a [f32],
    gates: &'a [f32],
    /// Copies of the state, one for each gate of the product, if these are multiplied.
    copies: Option<&'a [f32]>,
    live: &'a [u32],
    pub(super) back: BackOperands<'a>,
}

/// The other operands of a step back. Those without a binding are empty.
#[derive(Clone, Copy, Default)]
pub(super) struct BackOperands<'a> {
    pub(super) kept: &'a [f32],
    pub(super) delta: &'a [f32],
    /// States that the forward step had: hidden states of a GRU, cell states of an LSTM.
    pub(super) states: &'a [f32],
    pub(super) peepholes: &'a [f32],
}

/// The states that a kernel reads and writes.
pub(super) struct States<'a> {
    /// What each step takes from the one before it: the hidden state, or δ in the backward pass.
    pub(super) hidden: &'a mut [f32],
    /// What is beside it: cell states, a GRU's scratch, or what bypasses the products in the backward pass.
    pub(super) beside: &'a mut [f32],
    /// What no step reads. A worker has none of it.
    pub(super) left: &'a mut [f32],
    pub(super) span: Span,
}

/// Returns the windows of [`States`] in a dispatch of `program`: hidden, beside, left.
pub(super) fn written(program: &Program, windows: &[Window]) -> [Option<Window>; 3] {
    let roles = match Timestep::of(program) {
        Some(Timestep::Back(StepBack { cell: Cell::Gru(_), .. })) => {
            [Some(Role::Recurrent), Some(Role::Past), Some(Role::Gates)]
        }
        Some(Timestep::Back(_)) => [Some(Role::Gates), Some(Role::Past), None],
        Some(Timestep::Reset(_) | Timestep::New(_)) => [Some(Role::Hidden), Some(Role::Scratch), None],
        _ => [Some(Role::Hidden), Some(Role::CellState), Some(Role::Kept)],
    };
    roles.map(|role| bound(program, windows, role?))
}

/// The state rows in `hidden`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Span {
    /// All rows that the dispatch binds.
    Bound,
    /// A single row, which is read and then overwritten.
    Current,
}

/// The thread that computed what is copied to its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The copying thread, or any thread if all values are needed.
    All,
    /// Another thread: values that only that thread reads are left out.
    Others,
}

/// A share of a dispatch: rows × panels of some of its directions.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) sides: Range<usize>,
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
}

/// Computes a dispatch on one thread, as a part of another dispatch.
pub(super) fn run(arch: Arch, dispatch: &mut Bound<'_>) {
    let windows = written(dispatch.program, dispatch.windows);
    let mut floats = windows.map(|w| w.map_or_else(Floats::default, |window| dispatch.buffers.take(window.slot)));
    let mut states = States::bound(&mut floats, windows);
    let job = Job::new(dispatch.view(), dispatch.params, dispatch.sides);
    let part = job.whole();
    let mut given = Floats::zeros(job.given(&part));
    job.compute(arch, &states, &part, &mut given);
    job.commit(&mut states, &part, &given, Owner::All);
    for (window, floats) in windows.into_iter().zip(floats) {
        if let Some(window) = window {
            dispatch.buffers.slots[window.slot] = Buffer::Floats(floats);
        }
    }
}

/// The computation of a part.
struct Work<'a> {
    arch: Arch,
    job: &'a Job<'a>,
    states: &'a States<'a>,
    part: &'a Part,
    given: &'a mut [f32],
}

impl<'a> States<'a> {
    /// Returns all states that a dispatch binds.
    pub(super) fn bound(floats: &'a mut [Floats; 3], windows: [Option<Window>; 3]) -> Self {
        let cut = |floats: &'a mut Floats, window: Option<Window>| {
            window.map_or_else(Default::default, |window| cut_mut(floats, window))
        };
        let [hidden, beside, left] = floats;
        Self {
            hidden: cut(hidden, windows[0]),
            beside: cut(beside, windows[1]),
            left: cut(left, windows[2]),
            span: Span::Bound,
        }
    }
}

impl<'a> Job<'a> {
    pub(super) fn new(view: View<'a>, params: &'a Params, sides: usize) -> Self {
        let program = view.program;
        let timestep = Timestep::of(program).expect("a dispatch of a recurrent kernel");
        let masked = program.mask() == Mask::Live;
        let or_none = |role| bound(program, view.windows, role).map_or(&[][..], |_| view.floats(role));
        let back = match timestep {
            Timestep::Back(back) => BackOperands {
                kept: view.floats(Role::Kept),
                delta: view.floats(Role::Delta),
                states: if back.cell == Cell::Lstm { or_none(Role::CellState) } else { or_none(Role::Hidden) },
                peepholes: or_none(Role::Peepholes),
            },
            Timestep::Whole(_) | Timestep::Reset(_) | Timestep::New(_) | Timestep::Project => BackOperands::default(),
        };
        Self {
            timestep,
            params,
            sides,
            after_depth: program.rows_after_depth() as usize,
            weights: view.floats(Role::Weights),
            gates: if matches!(timestep, Timestep::Project | Timestep::Back(_)) {
                &[]
            } else {
                view.floats(Role::Gates)
            },
            copies: program.is_per_gate().then(|| view.floats(Role::Source)),
            live: if masked { view.indices(Role::Live) } else { &[] },
            back,
        }
    }

    /// Returns the same dispatch with other params.
    pub(super) fn with(self, params: &'a Params) -> Self {
        Self { params, ..self }
    }

    /// Returns the part that is the whole dispatch.
    pub(super) fn whole(&self) -> Part {
        Part { sides: 0..self.sides, rows: 0..self.params.batch as usize, panels: 0..self.params.panels as usize }
    }

    /// Returns the cell whose step keeps what its backward pass needs, if it does.
    fn keeps(&self) -> Option<Cell> {
        match self.timestep {
            Timestep::Whole(step) if step.keeps => Some(step.cell),
            Timestep::Whole(_) | Timestep::Reset(_) | Timestep::New(_) | Timestep::Project | Timestep::Back(_) => None,
        }
    }

    /// Returns the rows of the mask of direction `z` of the dispatch, if there is one.
    pub(super) fn live(&self, z: usize) -> Option<&'a [u32]> {
        let (row, batch) = ([self.params.live_0, self.params.live_1][z] as usize, self.params.batch as usize);
        (!self.live.is_empty()).then(|| &self.live[row * batch..][..batch])
    }

    /// Returns the product of direction `z` of a step back, with rows of δ from `source` on.
    pub(super) fn transposed(&self, z: usize, source: Rows<'a>) -> Product<'a> {
        let p = self.params;
        let (depth, panel_rows) = (p.depth as usize, p.depth as usize + self.after_depth);
        let first = p.weight_panel as usize + z * p.weight_panels as usize;
        let size = panel_rows * LANES;
        let panels = &self.weights[first * size..][..p.panels as usize * size];
        Product { panels, gates: 1, depth, panel_rows, source, per_gate: false }
    }

    /// Returns the number of floats that `part` gives.
    pub(super) fn given(&self, part: &Part) -> usize {
        let values: usize = places(self).iter().flatten().map(|place| place.gates).sum();
        values * part.sides.len() * part.rows.len() * part.panels.len() * LANES
    }

    /// Computes the new states of `part` into `given`, `[sides]` of each value's `[rows][panels][gates][16]`.
    pub(super) fn compute(&self, arch: Arch, states: &States<'_>, part: &Part, given: &mut [f32]) {
        let work = Work { arch, job: self, states, part, given };
        match self.timestep {
            Timestep::Back(back) => work.run_back(back),
            Timestep::Project => work.run(Projection),
            Timestep::Reset(half) if is_plain(BEFORE, half.variant) => work.run(GruReset(Plain)),
            Timestep::Reset(half) => work.run(GruReset(General(half.variant))),
            Timestep::New(half) if is_plain(BEFORE, half.variant) => work.run(GruNew(Plain)),
            Timestep::New(half) => work.run(GruNew(General(half.variant))),
            Timestep::Whole(step) => match step.cell {
                Cell::Rnn if is_plain(step.cell, step.variant) => work.run(Rnn(Tanh)),
                Cell::Rnn if step.variant == RELU => work.run(Rnn(Relu)),
                Cell::Rnn => work.run(Rnn(General(step.variant))),
                Cell::Lstm | Cell::Gru(_) if is_plain(step.cell, step.variant) => work.run_gated(step, Plain),
                Cell::Lstm | Cell::Gru(_) => work.run_gated(step, General(step.variant)),
            },
        }
    }

    /// Copies the results of [`compute`](Self::compute) to their
    /// rows, except values that the copying thread does not need.
    pub(super) fn commit(&self, states: &mut States<'_>, part: &Part, given: &[f32], owner: Owner) {
        let [batch, panel] = [self.params.batch, self.params.panel].map(|n| n as usize);
        let (rows, mut rest) = (part.rows.len(), given);
        for side in part.sides.clone() {
            for place in places(self).into_iter().flatten() {
                let len = part.panels.len() * LANES * place.gates;
                let (given, after) = rest.split_at(rows * len);
                rest = after;
                // With fewer panels than threads, some threads have none.
                if given.is_empty() {
                    continue;
                }
                let (target, row) = match (place.target, states.span) {
                    (Target::Own, _) if owner == Owner::Others => continue,
                    (Target::Left, Span::Current) => continue,
                    (Target::Left, Span::Bound) => (&mut *states.left, place.row[side]),
                    (Target::Hidden, Span::Bound) => (&mut *states.hidden, place.row[side]),
                    (Target::Hidden, Span::Current) => (&mut *states.hidden, place.current[side]),
                    (Target::Beside | Target::Own, _) => (&mut *states.beside, place.row[side]),
                };
                let column = place.column[side] + (panel + part.panels.start) * LANES * place.gates;
                let target = &mut target[(row * batch + part.rows.start) * place.width + column..];
                if len == place.width {
                    target[..given.len()].copy_from_slice(given);
                } else {
                    for (target, given) in target.chunks_mut(place.width).zip(given.chunks_exact(len)) {
                        target[..len].copy_from_slice(given);
                    }
                }
            }
        }
    }

    /// Copies the states that `part` of the dispatch reads: its rows
    /// of the batch, of the hidden state and of what is beside it.
    pub(super) fn copy_newest(&self, states: &States<'_>, part: &Part, hidden: &mut Floats, beside: &mut Floats) {
        let p = self.params;
        let [batch, directions, direction] = [p.batch, p.directions, p.direction].map(|n| n as usize);
        let (size, has_cell_state) = match self.timestep {
            Timestep::Whole(step) => (p.depth as usize, step.states != StateKind::Hidden),
            Timestep::Reset(_) | Timestep::New(_) | Timestep::Project => (p.units as usize, false),
            Timestep::Back(_) => {
                let (width, rows) = (p.depth as usize, [p.source_0 as usize, p.source_1 as usize]);
                let target = hidden.reserve(self.sides * batch * width);
                for side in part.sides.clone() {
                    let [from, to] = [rows[side], side].map(|row| (row * batch + part.rows.start) * width);
                    let len = part.rows.len() * width;
                    target[to..to + len].copy_from_slice(&states.hidden[from..from + len]);
                }
                beside.reserve(states.beside.len()).copy_from_slice(states.beside);
                return;
            }
        };
        let (width, rows) = (directions * size, [p.source_0 as usize, p.source_1 as usize]);
        let target = hidden.reserve(batch * width);
        // A step that multiplies copies may have no hidden state of its own.
        let sides = if states.hidden.is_empty() { 0..0 } else { part.sides.clone() };
        for side in sides {
            let column = (direction + side) * size;
            for b in part.rows.clone() {
                let source = &states.hidden[(rows[side] * batch + b) * width + column..][..size];
                target[b * width + column..][..size].copy_from_slice(source);
            }
        }
        // An LSTM has rows before the one that it reads. The other kernels read what they wrote.
        let (row, target) = (p.cell_in as usize, beside.reserve(states.beside.len()));
        if has_cell_state {
            let width = directions * p.units as usize;
            let rows = (row * batch + part.rows.start) * width..(row * batch + part.rows.end) * width;
            target[rows.clone()].copy_from_slice(&states.beside[rows]);
        } else {
            target.copy_from_slice(states.beside);
        }
    }
}

/// Returns the state rows that each direction reads, and those that it leaves as the newest.
pub(super) fn rows(timestep: Timestep<'_>, p: &Params) -> [[u32; 2]; 2] {
    let source = [p.source_0, p.source_1];
    let writes_hidden = match timestep {
        Timestep::Reset(_) => false,
        Timestep::Whole(step) => step.states != StateKind::Projected,
        Timestep::New(_) | Timestep::Project => true,
        Timestep::Back(_) => return [source, [p.gates_0, p.gates_1]],
    };
    [source, if writes_hidden { [p.target_0, p.target_1] } else { source }]
}

fn is_plain(cell: Cell, variant: Variant) -> bool {
    variant == Variant::plain(cell)
}

/// Returns how long one thread takes for a dispatch of a recurrent kernel.
pub(super) fn ns(program: &Program, params: &Params, sides: usize) -> usize {
    let each = params.panels as usize * LANES * program.product_gates() as usize * sides;
    let batch = params.batch as usize;
    // In the backward pass, each function has its derivative.
    let functions = program.training().and_then(|back| back.cell()).map_or(1, |(cell, _)| 2 * cell.gates());
    threads::product_ns(batch, params.depth as usize * each) + threads::pointwise_ns(batch * each * functions)
}

/// The place of a value: a row of the states, by direction of the dispatch.
#[derive(Clone, Copy)]
struct CopyTarget {
    target: Target,
    row: [usize; 2],
    /// The row in a worker's own states.
    current: [usize; 2],
    /// Elements of a row, and the first element of each direction.
    width: usize,
    column: [usize; 2],
    /// Numbers of each unit.
    gates: usize,
}

#[derive(Clone, Copy)]
enum Target {
    Hidden,
    Beside,
    /// Beside the hidden state, if a unit reads only its own value. Then the values of other threads are not needed.
    Own,
    Left,
}

/// Returns the places of the values of a kernel, first to last.
fn places(job: &Job<'_>) -> [Option<CopyTarget>; 4] {
    let p = job.params;
    let [direction, directions, units] = [p.direction, p.directions, p.units].map(|n| n as usize);
    let state = |target, row| {
        let column = [direction * units, (direction + 1) * units];
        CopyTarget { target, row, current: [0; 2], width: directions * units, column, gates: 1 }
    };
    // Rows of gates have one direction.
    let gates = |target, row, gates: usize| {
        Some(CopyTarget { target, row, current: [0, 1], width: units * gates, column: [0; 2], gates })
    };
    let hidden = Some(state(Target::Hidden, [p.target_0 as usize, p.target_1 as usize]));
    let beside = |target, row| Some(state(target, [row; 2]));
    let own = |row| beside(Target::Own, row);
    let [first, second] = match job.timestep {
        Timestep::Reset(_) => [beside(Target::Beside, SCRATCH_RESET), own(SCRATCH_UPDATE)],
        Timestep::New(_) | Timestep::Project => [hidden, None],
        Timestep::Whole(step) => match step.states {
            StateKind::Projected => [beside(Target::Beside, CELL_UNPROJECTED), own(p.cell_out as usize)],
            StateKind::Cell => [hidden, own(p.cell_out as usize)],
            StateKind::Hidden => [hidden, None],
        },
        Timestep::Back(back) => {
            let (row, own_gates) = ([p.gates_0 as usize, p.gates_1 as usize], back.cell.gates());
            let is_gru = matches!(back.cell, Cell::Gru(_));
            return [
                gates(Target::Hidden, row, own_gates),
                own(PAST_HIDDEN),
                if back.cell == Cell::Lstm { own(PAST_CELL) } else { None },
                if is_gru { gates(Target::Left, row, own_gates) } else { None },
            ];
        }
    };
    let kept = job
        .keeps()
        .and_then(|cell| gates(Target::Left, [p.kept_0 as usize, p.kept_1 as usize], kept_gates(cell) as usize));
    [first, second, kept, None]
}
