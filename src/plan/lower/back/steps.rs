//! Steps back of one dispatch: the product of the next timestep's δ with the recurrent matrix transposed,
//! and the cell's backward pass. If the forward pass scans, a dispatch has all steps of a chunk.
//!
//! A step has kept what its backward pass needs. If there is no room for what all steps keep, those
//! of a chunk are computed once more. The programs are the same, so the gradients are the same bits.

use std::ops::Range;

use super::Back;
use super::recurrent::{Handed, Way};
use crate::cell::{Cell, Peepholes};
use crate::error::{Error, Result};
use crate::kernel::{LANES, Matrix, Params, Program, Role, StepBack, Tile, Training};
use crate::layout::depth;
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::{InputGemm, pair, word};
use crate::plan::lower::needed;
use crate::plan::lower::ops::{Recurrence, Sequence};
use crate::plan::lower::recurrent::Layer;
use crate::plan::lower::scan::of_each;
use crate::plan::lower::stage::{Kept, States};
use crate::plan::lower::walk::Side;
use crate::plan::lower::windows::Panels;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};

/// The parts of a dispatch of steps back, without its tile.
struct Parts {
    panels: Panels,
    size: Product,
    matrix: Matrix,
    params: Params,
    windows: Vec<(Role, Option<Window>)>,
}

impl Back<'_, '_> {
    pub(super) fn way_by_steps<'a>(
        &mut self,
        r: &'a Recurrence,
        states: &'a States,
        hidden: Sequence,
        delta: Sequence,
    ) -> Way<'a> {
        let (batch, d, width) = (self.low.shape.batch, r.directions, r.gates_width());
        // Behind the steps of a chunk is a row of zeros: δ after its last step.
        let rows = d * self.low.chunk + 1;
        let mut handed = |name: &str, dims: [usize; 3]| self.handed(&format!("{name}.{}.{}", dims[0], dims[2]), &dims);
        let gates = handed("delta", [rows, batch, width]);
        let recurrent = matches!(r.cell, Cell::Gru(_)).then(|| handed("recurrent", [rows, batch, width]));
        let past = handed("past", [2, batch, d * r.units()]);
        Way { r, states, hidden, delta, gates, recurrent, handed: Handed::Past(past), new: None, projected: None }
    }

    /// Writes zeros to the row behind the steps of a chunk, which nothing else writes.
    pub(super) fn zero_behind(&mut self, way: &Way<'_>) -> Result<()> {
        let (batch, behind) = (self.low.shape.batch, way.r.directions * self.low.chunk);
        self.zero_rows(self.low.whole(exchanged(way)), behind * batch..(behind + 1) * batch, way.r.gates_width())
    }

    /// Emits the steps of `chunk` back, the last one first, and what they hand to the chunk before, if it is `wanted`.
    pub(super) fn steps_of_chunk(&mut self, way: &Way<'_>, chunk: Chunk, wanted: bool) -> Result<()> {
        let Way { r, hidden, .. } = *way;
        let batch = self.low.shape.batch;
        let kept = match way.states.kept {
            Some(kept) => kept,
            None => {
                let dims = [r.directions * self.low.chunk, batch, r.kept_width()];
                let slot = self.handed(&format!("kept.{}.{}", dims[0], dims[2]), &dims);
                Kept { slot, whole: false }
            }
        };
        let states = States { kept: Some(kept), ..*way.states };
        if !kept.whole {
            self.low.recurrent(Layer { r, states: &states, hidden }, chunk)?;
        }
        let way = &Way { states: &states, ..*way };
        let sides = self.sides(way);
        if let Some(tile) = self.scanned(way)? {
            for &side in sides {
                self.scan_back(way, chunk, side, tile)?;
            }
        } else {
            for (step, &side) in (0..chunk.len).rev().flat_map(|step| sides.iter().map(move |side| (step, side))) {
                self.step_back(way, chunk, step, side)?;
                if let Some(copies) = way.states.copies.filter(|_| step > 0 || wanted) {
                    self.hand_copies(way, copies, (chunk, step, side))?;
                }
            }
        }
        if wanted && way.states.copies.is_none() {
            for direction in 0..r.directions {
                self.hand_on(way, chunk, direction)?;
            }
        }
        Ok(())
    }

    /// Emits one of the steps back as one dispatch.
    fn step_back(&mut self, way: &Way<'_>, chunk: Chunk, step: usize, side: Side) -> Result<()> {
        let Parts { panels, size, matrix, params, windows } = self.parts(way, chunk, step..step + 1, side)?;
        let alone = std::slice::from_ref(&panels);
        let tile = self.low.wide(alone, true, size, |size| self.low.tuning.step(size, self.low.limits));
        let back = self.program(way, side, matrix, tile);
        let grid = [
            panels.panels.div_ceil((tile.panels * tile.wide) as usize),
            size.rows.div_ceil(tile.rows as usize),
            panels.directions,
        ];
        self.low.dispatch(Program::Training(Training::StepBack(back)), params, grid, &windows)
    }

    /// Emits the steps of `chunk` back in one dispatch, or in several if loops are not trusted with all of them.
    fn scan_back(&mut self, way: &Way<'_>, chunk: Chunk, side: Side, tile: Tile) -> Result<()> {
        let walks = &way.r.walks;
        let [hidden_step_0, hidden_step_1] = of_each(side, |d| walks[d].hidden_step().wrapping_neg());
        let [time_step_0, time_step_1] = of_each(side, |d| walks[d].time_step().wrapping_neg());
        let mut end = chunk.len;
        while end > 0 {
            let Parts { panels, size, matrix, params, windows } = self.parts(way, chunk, 0..end, side)?;
            let program = Program::Training(Training::ScanBack(self.program(way, side, matrix, tile)));
            let params = Params { hidden_step_0, hidden_step_1, time_step_0, time_step_1, ..params };
            let steps = self.low.most_steps(&program, &params).min(end);
            let grid = [1, size.rows.div_ceil(tile.rows as usize), panels.directions];
            self.low.dispatch(program, Params { steps: word(steps), ..params }, grid, &windows)?;
            end -= steps;
        }
        Ok(())
    }

    /// Returns the tile of a scan back, if the forward pass scans and a workgroup of the device has room for it.
    fn scanned(&mut self, way: &Way<'_>) -> Result<Option<Tile>> {
        let Way { r, .. } = *way;
        if self.low.fused_walk(r)?.is_none() {
            return Ok(None);
        }
        let (transposed, _, size) = self.transposed_panels((r.hidden[0], false), 0, 1)?;
        let is_bound = self.low.fit_whole(&[transposed]);
        let size = Product { rows: self.low.shape.batch, ..size };
        Ok(self.low.tuning.scan(size, self.low.limits).filter(|_| is_bound))
    }

    fn program(&self, way: &Way<'_>, side: Side, matrix: Matrix, tile: Tile) -> StepBack {
        let r = way.r;
        let mask = self.low.shape.steps(r.clock).mask;
        StepBack { cell: r.cell, variant: r.variants[side.first], mask, matrix, tile }
    }

    /// Returns the parts of a dispatch of `steps` of `chunk`. It begins with the last of them.
    fn parts(&mut self, way: &Way<'_>, chunk: Chunk, steps: Range<usize>, side: Side) -> Result<Parts> {
        let Way { r, states, hidden, .. } = *way;
        let (batch, step) = (self.low.shape.batch, steps.end - 1);
        let (window, base) = self.low.hidden_window(r, hidden, chunk, side);
        let forward = self.low.step_params(Layer { r, states, hidden }, chunk, step, side, base);
        let indices = chunk.start + steps.start..chunk.start + steps.end;
        let (above, (target_0, target_1)) = self.above(way, indices, side);
        let row = |d: usize, step: usize| d * chunk.len + r.walks[d].step(step, chunk.len);
        let (source_0, source_1) = pair(side.first, side.count, |d| match step + 1 {
            after if after == chunk.len => r.directions * self.low.chunk,
            after => row(d, after),
        });
        let (gates_0, gates_1) = pair(side.first, side.count, |d| row(d, step));
        // If copies were multiplied, their gradients have already been added to those of the state before.
        let (transposed, mut panels, size) = match states.copies {
            Some(_) => self.nothing_panels(way, side)?,
            None => self.transposed_panels((r.hidden[0], false), side.first, side.count)?,
        };
        let (Some(panels), true) = (panels.pop(), panels.is_empty()) else {
            return Err(Error::internal("a transposed matrix: expected it in one binding"));
        };
        let size = Product { rows: batch, ..size };
        let params = Params {
            rows: word(batch),
            depth: word(size.depth),
            units: word(r.units()),
            features: word(r.hidden_size),
            source_0,
            source_1,
            gates_0,
            gates_1,
            target_0,
            target_1,
            before_0: forward.source_0,
            before_1: forward.source_1,
            batch: forward.batch,
            directions: forward.directions,
            live_0: forward.live_0,
            live_1: forward.live_1,
            kept_0: forward.kept_0,
            kept_1: forward.kept_1,
            cell_in: forward.cell_in,
            cell_out: forward.cell_out,
            ..panels.params()
        };
        let whole = |slot: SlotId| Some(self.low.whole(slot));
        let mut windows = vec![
            (Role::Weights, Some(panels.window)),
            (Role::Gates, whole(way.gates)),
            (Role::Live, self.low.live(r.clock).and_then(whole)),
            (Role::Recurrent, way.recurrent.and_then(whole)),
            (Role::Delta, Some(above)),
            (Role::Kept, whole(needed(states.kept, "what steps keep")?.slot)),
            (Role::Past, whole(past(way)?)),
        ];
        match r.cell {
            Cell::Rnn => {}
            Cell::Lstm => windows.push((Role::CellState, states.cell_state.and_then(whole))),
            Cell::Gru(_) => windows.push((Role::Hidden, Some(window))),
        }
        if r.variants[side.first].peepholes == Peepholes::Diagonal {
            windows.push((Role::Peepholes, Some(self.peepholes_at(way, side, &params)?)));
        }
        Ok(Parts { panels, size, matrix: self.low.matrix_in(transposed), params, windows })
    }

    /// Returns the recurrent matrices with their peepholes. Their panels have the places of the transposed ones.
    fn peepholes_at(&mut self, way: &Way<'_>, side: Side, params: &Params) -> Result<Window> {
        let panels = self.low.packed_panels(way.r.hidden[0], side.first, side.count)?;
        match &panels[..] {
            [panels] if panels.params().weight_panel == params.weight_panel => Ok(panels.window),
            _ => {
                Err(Error::internal("peepholes: expected the panels of a matrix where those of the transposed one are"))
            }
        }
    }

    /// Adds the product of δ of a chunk's first step to what bypasses the products.
    fn hand_on(&mut self, way: &Way<'_>, chunk: Chunk, direction: usize) -> Result<()> {
        let Way { r, .. } = *way;
        let batch = self.low.shape.batch;
        let row = direction * chunk.len + r.walks[direction].step(0, chunk.len);
        let source = (self.low.whole(exchanged(way)), [row * batch; 2]);
        let result = (self.low.whole(past(way)?), [0; 2]);
        let plain = InputGemm::plain(batch, source, result, depth(way.hidden.features));
        let product = InputGemm { panel: direction * r.units() / LANES, add: true, ..plain };
        self.gemm_transposed((r.hidden[0], direction, 1), &product)
    }
}

/// Returns the slot of the δ that a step multiplies, which the next timestep left.
pub(super) fn exchanged(way: &Way<'_>) -> SlotId {
    way.recurrent.unwrap_or(way.gates)
}

pub(super) fn past(way: &Way<'_>) -> Result<SlotId> {
    match way.handed {
        Handed::Past(slot) => Ok(slot),
        Handed::Separate(_) => Err(Error::internal("a step back: expected gradients of states in one slot")),
    }
}
