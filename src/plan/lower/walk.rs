//! Recurrent layers: which way each direction walks through time, and the dispatches of a chunk of its steps.
//!
//! A walk is rows and steps alone: which step comes when, which row of the hidden state it reads and writes, which
//! rows of gates and mask are its own. No kernel knows which way it goes.

use super::emit::{Gather, HoistedProduct, pair, word};
use super::ops::{Input, Recurrence, Sequence, Span};
use super::slots::Stage;
use super::{Chunk, Lowering};
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::kernel::{Kernel, LANES, Mask, Params, Program, StateKind};
use crate::layout::{Form, Place, depth};
use crate::model::Direction;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};

/// How one direction of a layer goes through time, and where its outputs stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walk {
    /// First step to last.
    Forward,
    /// Last step to first; each output stands at its own step.
    Reverse,
    /// Last step to first; the outputs stand in the order of the walk.
    Backwards,
}

impl Walk {
    /// The walks of a layer's directions; of one direction, twice the same.
    pub(super) fn of(direction: Direction) -> [Self; 2] {
        match direction {
            Direction::Forward => [Self::Forward; 2],
            Direction::Reverse => [Self::Reverse; 2],
            Direction::Backwards => [Self::Backwards; 2],
            Direction::Both => [Self::Forward, Self::Reverse],
        }
    }

    /// The first of the `len` steps, counted in time, that are `start .. start + len` of the walk.
    fn first_step(self, start: usize, len: usize, time: usize) -> usize {
        match self {
            Self::Forward => start,
            Self::Reverse | Self::Backwards => time - start - len,
        }
    }

    /// The rows of the hidden state that the walk's `index`-th step reads and writes, where `first` is the row of the
    /// first output. The initial state is in the row before it, or past the last: there is no first step.
    fn rows(self, index: usize, first: usize, time: usize) -> (usize, usize) {
        match self {
            Self::Forward | Self::Backwards => (first + index - 1, first + index),
            Self::Reverse => (first + time - index, first + time - 1 - index),
        }
    }

    /// The lowest row of the hidden state that steps `start .. start + len` of the walk touch; they touch `len + 1`.
    fn lowest_row(self, start: usize, len: usize, first: usize, time: usize) -> usize {
        match self {
            Self::Forward | Self::Backwards => first + start - 1,
            Self::Reverse => first + time - start - len,
        }
    }
}

/// The directions of a layer that go in one dispatch: `count` from `first` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Side {
    /// Both directions together, or each alone.
    fn of(directions: usize, together: bool) -> &'static [Self] {
        match (directions, together) {
            (1, _) => &[Self { first: 0, count: 1 }],
            (_, true) => &[Self { first: 0, count: 2 }],
            (_, false) => &[Self { first: 0, count: 1 }, Self { first: 1, count: 1 }],
        }
    }
}

/// A recurrent layer with its buffers.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) stage: &'a Stage<'a>,
    pub(super) r: &'a Recurrence,
    pub(super) hidden: Sequence,
    pub(super) gates: SlotId,
}

impl Lowering<'_> {
    /// The dispatches of a recurrent layer for `chunk` of its walk.
    pub(super) fn recurrent(&mut self, stage: &Stage<'_>, r: &Recurrence, hidden: Sequence, chunk: Chunk) {
        let Some(gates) = self.gates else { return };
        let layer = Layer { stage, r, hidden, gates };
        // Both directions go in one dispatch where one binding reaches the rows of both, and a step also where one
        // program computes both: the hoisted product knows no function.
        let bound: Vec<SlotId> = stage.source.map(|source| source.slot).into_iter().chain([hidden.slot]).collect();
        let reach = self.fit_whole(&bound);
        for &side in Side::of(r.directions, reach) {
            self.hoisted(stage, r, gates, chunk, side);
        }
        let at_once = self.at_once(r);
        let together = reach && r.variants[0] == r.variants[1] && at_once.is_none_or(|at_once| at_once.together);
        let sides = Side::of(r.directions, together);
        if let Some(at_once) = at_once {
            for &side in sides {
                self.walk_at_once(layer, chunk, side, at_once);
            }
            return;
        }
        for step in 0..chunk.len {
            for &side in sides {
                self.timestep(layer, chunk, step, side);
            }
        }
    }

    /// The input product of a chunk, into the gates: ascending in time whichever way the walk goes.
    pub(super) fn hoisted(&mut self, stage: &Stage<'_>, r: &Recurrence, gates: SlotId, chunk: Chunk, side: Side) {
        let (time, batch) = (self.shape.time, self.shape.batch);
        let gates = self.whole(gates);
        let targets = [0, chunk.len * batch];
        let starts = r.walks.map(|walk| walk.first_step(chunk.start, chunk.len, time));
        match (r.input, stage.source) {
            (Input::Table(buffer), _) => {
                let sources = starts.map(|start| start * batch);
                let gather = Gather { buffer, rows: chunk.len * batch, sources, result: gates, targets };
                self.gather(&gather, side.first, side.count);
            }
            (Input::Matrix(matrix), Some(source)) => {
                let row = |d: usize| match source.span {
                    Span::Whole => source.first + starts[d],
                    Span::Chunk => source.first + chunk.at,
                };
                let (window, base) = if side.count == 2 {
                    (self.whole(source.slot), 0)
                } else {
                    self.rows(source, row(side.first), chunk.len)
                };
                let product = HoistedProduct {
                    matrix,
                    cell: Some(r.cell),
                    activation: Activation::Linear,
                    rows: chunk.len * batch,
                    source: window,
                    sources: [0, 1].map(|d| row(d).saturating_sub(base) * batch),
                    result: gates,
                    targets,
                };
                self.project(&product, side.first, side.count);
            }
            (Input::Matrix(_), None) => {}
        }
    }

    /// The dispatches of step `step` of `chunk`.
    fn timestep(&mut self, layer: Layer<'_>, chunk: Chunk, step: usize, side: Side) {
        let Layer { stage, r, hidden, gates } = layer;
        let (hidden, base) = self.hidden_window(r, hidden, chunk, side);
        let params = self.step_params(layer, chunk, step, side, base);
        let program = Program {
            cell: Some(r.cell),
            variant: r.variants[side.first],
            storage: self.layout.storage,
            mask: self.shape.mask,
            ..Program::plain(Kernel::Step)
        };
        let (gates, hidden) = (Some(self.whole(gates)), Some(hidden));
        let memory = stage.memory.map(|slot| self.whole(slot));
        let live = self.live.map(|slot| self.whole(slot));
        let mut half = |program: Program, matrix, windows: [Option<Window>; 4]| {
            self.step_half(program, params, matrix, side, windows.into_iter().flatten().collect());
        };
        match (r.cell, r.projection) {
            (Cell::Gru(Reset::Before), _) => {
                let reset = Program { kernel: Kernel::StepReset, mask: Mask::All, ..program };
                half(reset, r.hidden[0], [gates, hidden, memory, None]);
                let new = Program { kernel: Kernel::StepNew, ..program };
                half(new, r.hidden[1], [gates, live, memory, hidden]);
            }
            (_, Some(projection)) => {
                let step = Program { states: StateKind::Projected, ..program };
                half(step, r.hidden[0], [gates, live, hidden, memory]);
                let project = Program { kernel: Kernel::StepProject, cell: None, variant: Variant::NONE, ..program };
                half(project, projection, [memory, live, hidden, None]);
            }
            (Cell::Lstm, None) => {
                let step = Program { states: StateKind::Memory, ..program };
                half(step, r.hidden[0], [gates, live, hidden, memory]);
            }
            (Cell::Rnn | Cell::Gru(Reset::After), None) => half(program, r.hidden[0], [gates, live, hidden, None]),
        }
    }

    /// Which rows a step reads and writes: the params that all its dispatches share.
    pub(super) fn step_params(&self, layer: Layer<'_>, chunk: Chunk, step: usize, side: Side, base: usize) -> Params {
        let Layer { r, hidden, .. } = layer;
        let (time, batch) = (self.shape.time, self.shape.batch);
        let index = chunk.start + step;
        let of_each = |of: &dyn Fn(usize) -> usize| pair(side.first, side.count, of);
        let rows = |d: usize| match hidden.span {
            Span::Whole => {
                let (read, written) = r.walks[d].rows(index, hidden.first, time);
                (read - base, written - base)
            }
            // The slot holds one chunk: its first step reads the last row of the chunk before.
            Span::Chunk => match chunk.at + step {
                0 if chunk.index > 0 => (self.chunk, 1),
                row => (row, row + 1),
            },
        };
        let (source_0, source_1) = of_each(&|d| rows(d).0);
        let (target_0, target_1) = of_each(&|d| rows(d).1);
        let (gates_0, gates_1) = of_each(&|d| d * chunk.len + r.walks[d].first_step(step, 1, chunk.len));
        let (live_0, live_1) = match self.shape.mask {
            Mask::All => (0, 0),
            Mask::Live => of_each(&|d| r.walks[d].first_step(index, 1, time)),
        };
        Params {
            rows: word(batch),
            batch: word(batch),
            directions: word(r.directions),
            source_0,
            source_1,
            target_0,
            target_1,
            gates_0,
            gates_1,
            live_0,
            live_1,
            memory_in: word(index % 2),
            memory_out: word((index + 1) % 2),
            ..Params::default()
        }
    }

    /// One dispatch of a timestep for each window of its weights; `windows` are those after the weights.
    fn step_half(&mut self, program: Program, params: Params, matrix: Place, side: Side, windows: Vec<Window>) {
        let Form::Matrix { panels: all, source, gates, .. } = self.layout.buffers[matrix.buffer].form else { return };
        let size = Product { rows: self.shape.batch, depth: depth(source), panels: all * side.count, gates };
        let tile = self.tuning.step(size, self.limits);
        let program = Program { tile, medium: self.layout.medium_of(matrix.buffer), ..program };
        for panels in self.panels(matrix, side.first, side.count) {
            // Values of a pair that this dispatch alone has in its first place.
            let own = if panels.direction == side.first { params } else { params.second() };
            let Params { direction, panel, panels: count, weight_panel, weight_panels, .. } = panels.params();
            let params = Params {
                depth: word(depth(source)),
                units: word(all * LANES),
                direction,
                panel,
                panels: count,
                weight_panel,
                weight_panels,
                ..own
            };
            let grid = [
                panels.panels.div_ceil(tile.panels as usize),
                self.shape.batch.div_ceil(tile.rows as usize),
                panels.directions,
            ];
            let mut bound = vec![panels.window];
            bound.extend(&windows);
            self.dispatch(program, params, grid, bound);
        }
    }

    /// The rows of the hidden state that the steps of a chunk touch, and the row that the window starts at.
    pub(super) fn hidden_window(&self, r: &Recurrence, hidden: Sequence, chunk: Chunk, side: Side) -> (Window, usize) {
        if side.count == 2 {
            return (self.whole(hidden.slot), 0);
        }
        let lowest = r.walks[side.first].lowest_row(chunk.start, chunk.len, hidden.first, self.shape.time);
        self.rows(hidden, lowest, chunk.len + 1)
    }
}
