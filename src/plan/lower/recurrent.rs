//! Recurrent layers: the dispatches of a chunk of their steps, one after the other, in the order of each walk.

use super::dispatch::{Gather, InputGemm, pair, word};
use super::ops::{Recurrence, Sequence, Span};
use super::stage::{States, Taken};
use super::walk::Side;
use super::windows::product;
use super::{Chunk, Lowering};
use crate::cell::{Cell, Reset};
use crate::error::{Error, Result};
use crate::kernel::{Half, LANES, Mask, Matrix, Params, Program, Role, StateKind, Step, StepProject, Tile};
use crate::layout::MatrixRef;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};

/// A recurrent layer with its slots.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) r: &'a Recurrence,
    pub(super) states: &'a States,
    pub(super) hidden: Sequence,
}

impl Lowering<'_> {
    /// Emits the dispatches of a recurrent layer for `chunk` of its walk.
    pub(super) fn recurrent(&mut self, layer: Layer<'_>, chunk: Chunk) -> Result<()> {
        let Layer { r, states, hidden } = layer;
        // Both directions go in one dispatch if one binding reaches the rows of both. A step also
        // needs one program that computes both, but the hoisted product does not depend on functions.
        let (source, of_each) = match states.taken {
            Taken::Tokens { .. } => (None, false),
            Taken::Features { sources: [first, second], .. } => (Some(first.slot), first.slot != second.slot),
        };
        let bound: Vec<SlotId> = source.into_iter().chain([hidden.slot]).collect();
        let reach = self.fit_whole(&bound);
        for &side in Side::of(r.directions, reach && !of_each) {
            self.hoisted(r, states, chunk, side)?;
        }
        let fused = self.fused_walk(r)?;
        let together = reach && r.variants[0] == r.variants[1] && fused.is_none_or(|fused| fused.paired);
        let sides = Side::of(r.directions, together);
        if let Some(fused) = fused {
            for &side in sides {
                self.walk_fused(layer, chunk, side, fused)?;
            }
            return Ok(());
        }
        for step in 0..chunk.len {
            for &side in sides {
                self.timestep(layer, chunk, step, side)?;
            }
        }
        Ok(())
    }

    /// Emits the input product of a chunk into the gates, ascending in time for every walk.
    pub(super) fn hoisted(&mut self, r: &Recurrence, states: &States, chunk: Chunk, side: Side) -> Result<()> {
        let (time, batch) = (self.shape.steps(r.clock).time, self.shape.batch);
        let gates = self.whole(states.gates);
        let targets = [0, chunk.len * batch];
        let starts = r.walks.map(|walk| walk.first_step(chunk.start, chunk.len, time));
        match states.taken {
            Taken::Tokens { buffer, tokens } => {
                let sources = starts.map(|start| start * batch);
                let gather = Gather { buffer, tokens, rows: chunk.len * batch, sources, result: gates, targets };
                self.gather(&gather, side.first, side.count)
            }
            Taken::Features { matrix, sources, per_gate } => {
                let source = sources[side.first];
                let row = |d: usize| match source.span {
                    Span::Whole => source.first + starts[d],
                    Span::Chunk => source.first + chunk.at,
                };
                let (window, base) = if side.count == 2 {
                    (self.whole(source.slot), 0)
                } else {
                    self.rows(source, row(side.first), chunk.len)
                };
                let source = (window, [0, 1].map(|d| row(d).saturating_sub(base) * batch));
                let plain = InputGemm::plain(chunk.len * batch, source, (gates, targets), r.gates_width());
                let product = InputGemm { cell: Some(r.cell), units: r.hidden_size, per_gate, ..plain };
                self.gemm(matrix, &product, side.first, side.count)
            }
        }
    }

    /// Emits the dispatches of step `step` of `chunk`.
    fn timestep(&mut self, layer: Layer<'_>, chunk: Chunk, step: usize, side: Side) -> Result<()> {
        let Layer { r, states, hidden } = layer;
        let features = hidden.features;
        let (hidden, base) = self.hidden_window(r, hidden, chunk, side);
        let params = self.step_params(layer, chunk, step, side, base);
        let before = [params.source_0, params.source_1].map(|row| row as usize);
        let copies = states.copies;
        let copied = copies.map(|copies| self.copy_state(r, copies, (hidden, before), (features, side))).transpose()?;
        let (per_gate, copied) = (copied.is_some(), (Role::Source, copied));
        let (cell, variant, mask) = (r.cell, r.variants[side.first], self.shape.steps(r.clock).mask);
        let gates = (Role::Gates, Some(self.whole(states.gates)));
        let live = (Role::Live, self.live(r.clock).map(|slot| self.whole(slot)));
        let hidden = (Role::Hidden, Some(hidden));
        let cell_state = (Role::CellState, states.cell_state.map(|slot| self.whole(slot)));
        let scratch = (Role::Scratch, states.scratch.map(|slot| self.whole(slot)));
        let kept = (Role::Kept, states.kept.map(|kept| self.whole(kept.slot)));
        let keeps = states.kept.is_some();
        let of = |states| {
            move |matrix, tile| Program::Step(Step { cell, variant, states, mask, keeps, per_gate, matrix, tile })
        };
        let part = |low: &mut Self, place: MatrixRef, program: &dyn Fn(Matrix, Tile) -> Program, windows: &[_]| {
            low.step_part(place, program, params, side, windows)
        };
        match (cell, r.projection) {
            (Cell::Gru(Reset::Before), _) => {
                let (first, second) = halves(r)?;
                let half = |matrix, tile| Half { variant, per_gate, matrix, tile };
                let reset = |matrix, tile| Program::StepReset(half(matrix, tile));
                part(self, first, &reset, &[gates, hidden, scratch, copied])?;
                let copied = match (copies, scratch.1) {
                    (Some(copies), Some(scratch)) => Some(self.copy_reset(r, copies, scratch, (features, side))?),
                    _ => None,
                };
                let new = |matrix, tile| Program::StepNew(half(matrix, tile), mask);
                part(self, second, &new, &[gates, live, scratch, hidden, (Role::Source, copied)])
            }
            (Cell::Rnn | Cell::Lstm | Cell::Gru(Reset::After), Some(projection)) => {
                // The projection writes the hidden state later: here only a product reads it.
                let multiplied = (Role::Hidden, hidden.1.filter(|_| !per_gate));
                part(self, r.hidden[0], &of(StateKind::Projected), &[gates, live, multiplied, cell_state, copied])?;
                let project = |matrix, tile| Program::StepProject(StepProject { mask, matrix, tile });
                part(self, projection, &project, &[cell_state, live, hidden])
            }
            (Cell::Lstm, None) => {
                part(self, r.hidden[0], &of(StateKind::Cell), &[gates, live, hidden, cell_state, kept, copied])
            }
            (Cell::Rnn | Cell::Gru(Reset::After), None) => {
                part(self, r.hidden[0], &of(StateKind::Hidden), &[gates, live, hidden, kept, copied])
            }
        }
    }

    /// Returns the rows that a step reads and writes: the params that all its dispatches share.
    pub(super) fn step_params(&self, layer: Layer<'_>, chunk: Chunk, step: usize, side: Side, base: usize) -> Params {
        let Layer { r, states, hidden } = layer;
        let (time, batch) = (self.shape.steps(r.clock).time, self.shape.batch);
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
        let (live_0, live_1) = match self.shape.steps(r.clock).mask {
            Mask::All => (0, 0),
            Mask::Live => of_each(&|d| r.walks[d].first_step(index, 1, time)),
        };
        let (kept_0, kept_1) = match states.kept {
            Some(kept) if kept.whole => of_each(&|d| d * time + r.walks[d].step(index, time)),
            Some(_) => (gates_0, gates_1),
            None => (0, 0),
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
            kept_0,
            kept_1,
            cell_in: word(self.cell_row(r, index)),
            cell_out: word(self.cell_row(r, index + 1)),
            ..Params::default()
        }
    }

    /// Emits a part of a timestep, with one dispatch for each window
    /// of the weights at `place`. `others` are the other windows.
    fn step_part(
        &mut self,
        place: MatrixRef,
        program: &dyn Fn(Matrix, Tile) -> Program,
        params: Params,
        side: Side,
        others: &[(Role, Option<Window>)],
    ) -> Result<()> {
        let one = product(self.layout, place.buffer, self.shape.batch)?;
        let Product { depth, panels: all, .. } = one;
        let tile = self.tuning.step(Product { panels: all * side.count, ..one }, self.limits);
        let tile = tile.own_loads(program(self.matrix(place.buffer), tile).is_per_gate());
        let program = program(self.matrix(place.buffer), tile);
        let mut windows = vec![(Role::Weights, None)];
        windows.extend(others);
        for panels in self.panels(place, side.first, side.count)? {
            // If the dispatch has only the second of a pair, that value moves to the first place.
            let own = if panels.direction == side.first { params } else { params.second() };
            let Params { direction, panel, panels: count, weight_panel, weight_panels, .. } = panels.params();
            let params = Params {
                depth: word(depth),
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
            windows[0].1 = Some(panels.window);
            self.dispatch(program, params, grid, &windows)?;
        }
        Ok(())
    }

    /// Returns the window with the rows of the hidden state that the steps of a chunk touch, and its first row.
    pub(super) fn hidden_window(&self, r: &Recurrence, hidden: Sequence, chunk: Chunk, side: Side) -> (Window, usize) {
        if side.count == 2 {
            return (self.whole(hidden.slot), 0);
        }
        let lowest =
            r.walks[side.first].lowest_row(chunk.start, chunk.len, hidden.first, self.shape.steps(r.clock).time);
        self.rows(hidden, lowest, chunk.len + 1)
    }
}

/// Returns the matrices of the two halves of a GRU's step, if the reset comes before the product.
fn halves(r: &Recurrence) -> Result<(MatrixRef, MatrixRef)> {
    match r.hidden[..] {
        [first, second] => Ok((first, second)),
        _ => Err(Error::internal(format!("{}: expected two products, got {}", r.cell, r.hidden.len()))),
    }
}
