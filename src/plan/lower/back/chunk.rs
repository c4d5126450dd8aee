//! The gradients that a chunk of a recurrent layer gives outside of its loop: those of its
//! matrices and peepholes, and that of its input. Each is a product over all rows of the chunk.

use super::Back;
use super::recurrent::Way;
use super::weights::Outside;
use crate::cell::Peepholes;
use crate::error::Result;
use crate::kernel::{Params, Program, Role, Training};
use crate::layout::depth;
use crate::plan::SlotId;
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::{lanes, word};
use crate::plan::lower::ops::Sequence;
use crate::plan::lower::stage::Taken;
use crate::plan::lower::walk::Walk;

impl Back<'_, '_> {
    /// Adds the gradients of a direction's matrices from the steps of a chunk.
    pub(super) fn gradients_of_chunk(&mut self, way: &Way<'_>, chunk: Chunk, direction: usize) -> Result<()> {
        let (r, states, batch) = (way.r, way.states, self.low.shape.batch);
        let (rows, block) = (chunk.len * batch, direction * chunk.len * batch);
        let gates = self.low.whole(way.gates);
        if let Taken::Features { matrix, sources, per_gate } = states.taken {
            let (source, copies) = (sources[direction], if per_gate { r.cell.gates() } else { 1 });
            let (window, first_source) = self.low.rows_of_chunk(source, self.steps_of(way, chunk, direction));
            self.outer(
                matrix,
                direction,
                &Outside {
                    rows,
                    source: window,
                    first_source,
                    width: depth(source.features) / copies,
                    column: 0,
                    delta: gates,
                    first_delta: block,
                    per_gate,
                },
            )?;
        }
        let (before, source_width, column) = self.multiplied(way, chunk, direction)?;
        let outside = Outside {
            rows,
            source: before.0,
            first_source: before.1,
            width: source_width,
            column,
            delta: self.low.whole(way.recurrent.unwrap_or(way.gates)),
            first_delta: block,
            per_gate: states.copies.is_some(),
        };
        self.outer(r.hidden[0], direction, &outside)?;
        let by_itself = |source: SlotId, width: usize, delta: SlotId, back: &Self| Outside {
            rows,
            source: back.low.whole(source),
            first_source: block,
            width,
            column: 0,
            delta: back.low.whole(delta),
            first_delta: block,
            per_gate: false,
        };
        if let Some([new, reset, _]) = way.new {
            let outside = by_itself(reset, r.units(), new, self);
            self.outer(r.hidden[1], direction, &outside)?;
        }
        if let (Some(projection), Some([projected, unprojected, _])) = (r.projection, way.projected) {
            let outside = by_itself(unprojected, r.units(), projected, self);
            self.outer(projection, direction, &outside)?;
        }
        if r.variants[direction].peepholes == Peepholes::Diagonal {
            self.peepholes(way, chunk, direction)?;
        }
        Ok(())
    }

    /// Returns the steps of a direction in a chunk of the walk, as a chunk of time.
    fn steps_of(&self, way: &Way<'_>, chunk: Chunk, direction: usize) -> Chunk {
        let time = self.low.shape.steps(way.r.clock).time;
        Chunk { start: way.r.walks[direction].first_step(chunk.start, chunk.len, time), ..chunk }
    }

    /// Adds the gradient of a direction's peepholes from the steps of a chunk.
    fn peepholes(&mut self, way: &Way<'_>, chunk: Chunk, direction: usize) -> Result<()> {
        let (r, batch) = (way.r, self.low.shape.batch);
        let place = r.hidden[0];
        let shaped = self.shaped(place.buffer)?;
        let matrix = place.first + direction;
        let (slot, first) = self.peepholes_of(place.buffer, matrix);
        // The walk's index of the first step in time, and the way in which rows of the cell states advance from there.
        let forward = r.walks[direction] == Walk::Forward;
        let index = chunk.start + if forward { 0 } else { chunk.len - 1 };
        let most = (self.low.limits.loop_iterations as usize / batch).saturating_sub(1).max(1);
        for (piece, start) in (0..chunk.len).step_by(most).enumerate() {
            let index = if forward { index + start } else { index - start };
            let params = Params {
                rows: word(most.min(chunk.len - start) * batch),
                batch: word(batch),
                directions: word(r.directions),
                direction: word(direction),
                depth: word(way.state_units()),
                panels: word(shaped.panels),
                count: word(r.hidden_size),
                weight_panel: word(matrix * shaped.panels),
                target_0: word((direction * chunk.len + start) * batch),
                cell_in: word(self.low.cell_row(r, index)),
                cell_out: word(self.low.cell_row(r, index + 1)),
                hidden_step_0: if forward { 1 } else { u32::MAX },
                ..Params::default()
            };
            let windows = [
                (Role::CellState, way.states.cell_state.map(|slot| self.low.whole(slot))),
                (Role::Gates, Some(self.low.whole(way.gates))),
                (Role::Result, Some(self.low.whole(slot))),
            ];
            let program = Program::Training(Training::PeepholeBack { first: first && piece == 0 });
            self.low.dispatch(program, params, [lanes(r.units()), 1, 1], &windows)?;
        }
        Ok(())
    }

    /// Emits the gradient of the layer's input from the steps of a chunk of one direction.
    pub(super) fn input_of_chunk(
        &mut self,
        way: &Way<'_>,
        chunk: Chunk,
        direction: usize,
        (target, first): (Sequence, bool),
    ) -> Result<()> {
        let Taken::Features { matrix, per_gate, .. } = way.states.taken else { return Ok(()) };
        let batch = self.low.shape.batch;
        let gates = (self.low.whole(way.gates), direction * chunk.len * batch);
        let steps = self.steps_of(way, chunk, direction);
        self.times_transposed((matrix, per_gate, direction), gates, chunk.len * batch, (target, steps, first))
    }
}
