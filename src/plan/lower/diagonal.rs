//! The layers of a run together: layer l at time t − l, so that the steps of a diagonal need nothing of each other and go
//! in one dispatch. T + L − 1 of them in place of T · L.
//!
//! Only the first layer's input product is hoisted; the others take theirs in the step. Each layer's states have two rows
//! that take turns: what a layer reads of the one below is what that one reads of itself.

use super::dispatch::word;
use super::ops::{Recurrence, Sequence, Span};
use super::stage::States;
use super::walk::Side;
use super::windows::product;
use super::{Chunk, Lowering, needed};
use crate::error::Result;
use crate::kernel::{LANES, Mask, Params, Program, Role, StateKind, Step};
use crate::layout::{self, Layout, Place};
use crate::plan::tune::{Product, Tuning, Wave};
use crate::plan::{Limits, Shape, SlotId, Strategy};

/// The sizes of run `run` of `layout`, whose layers are like `r`, in a call of a shape; its matrices are in packed buffer
/// `buffer`.
fn wave(layout: &Layout, run: usize, r: &Recurrence, buffer: usize, shape: Shape) -> Result<Wave> {
    let (time, batch) = (shape.steps(r.clock).time, shape.batch);
    Ok(Wave { layers: layout.runs[run].layers.len(), time, product: product(layout, buffer, batch)? })
}

/// Whether run `run`, of layers like `r`, goes by diagonals: where it pays, and each of its buffers can be bound whole.
pub(super) fn pays(
    layout: &Layout,
    run: usize,
    r: &Recurrence,
    shape: Shape,
    limits: &Limits,
    tuning: &Tuning,
) -> Result<bool> {
    let buffer = needed(layout.find(layout::Role::Run { run }), format_args!("the matrices of run {run}"))?;
    let wave = wave(layout, run, r, buffer, shape)?;
    let states =
        [2 * wave.layers, shape.batch, r.units()].iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
    let bound = layout.bytes_of(&layout.buffers[buffer]).max(states);
    Ok(bound <= limits.binding_bytes && tuning.strategy(wave, limits) == Strategy::Diagonal)
}

impl Lowering<'_> {
    /// The dispatches of a run for `chunk` of its first layer's steps.
    ///
    /// Where something takes the outputs chunk by chunk, the other layers end theirs with it; otherwise they stay behind,
    /// and end with the last chunk.
    pub(super) fn diagonal(
        &mut self,
        layers: &[Recurrence],
        states: &States,
        output: Sequence,
        by_chunk: bool,
        chunk: Chunk,
    ) -> Result<()> {
        let (r, behind) = (&layers[0], layers.len() - 1);
        self.hoisted(r, states, chunk, Side { first: 0, count: 1 })?;
        let end = chunk.start + chunk.len;
        let ends = by_chunk || end == self.shape.steps(r.clock).time;
        let start = if by_chunk { chunk.start } else { 0 };
        for diagonal in chunk.start..end + if ends { behind } else { 0 } {
            // The layers that have a step here: layer l that of time `diagonal − l`.
            let lowest = (diagonal + 1).saturating_sub(end);
            let highest = behind.min(diagonal - start);
            self.wavefront((r, states), output, chunk, (diagonal, lowest, highest))?;
        }
        Ok(())
    }

    /// One dispatch: a step of each layer from `lowest` to `highest`.
    fn wavefront(
        &mut self,
        (r, states): (&Recurrence, &States),
        output: Sequence,
        chunk: Chunk,
        (diagonal, lowest, highest): (usize, usize, usize),
    ) -> Result<()> {
        let (run, _) = needed(r.run, format_args!("a run of stack {}", r.stack))?;
        let Place { buffer, .. } = r.hidden[0];
        let wave = wave(self.layout, run, r, buffer, self.shape)?;
        let Product { rows: batch, depth, panels, .. } = wave.product;
        let behind = wave.layers - 1;
        let first = chunk.start.saturating_sub(behind);
        let (window, base) = self.rows(output, first, chunk.start + chunk.len - first);
        let written = match output.span {
            Span::Whole => diagonal.saturating_sub(behind).saturating_sub(base),
            Span::Chunk => diagonal.saturating_sub(behind + chunk.start),
        };
        let tile = self.tuning.diagonal(wave, self.limits);
        let params = Params {
            rows: word(batch),
            batch: word(batch),
            directions: word(wave.layers),
            direction: word(lowest),
            depth: word(depth),
            units: word(panels * LANES),
            panels: word(panels),
            weight_panel: word(2 * lowest * panels),
            weight_panels: word(2 * panels),
            target_0: if highest == behind { word(written) } else { 0 },
            gates_0: if lowest == 0 { word(diagonal - chunk.start) } else { 0 },
            live_0: if self.shape.steps(r.clock).mask == Mask::Live { word(diagonal - lowest) } else { 0 },
            memory_in: word(diagonal % 2),
            memory_out: word((diagonal + 1) % 2),
            ..Params::default()
        };
        let program = Program::Diagonal(Step {
            cell: r.cell,
            variant: r.variants[0],
            states: if r.cell.states() == 2 { StateKind::Memory } else { StateKind::Hidden },
            mask: self.shape.steps(r.clock).mask,
            keeps: false,
            apart: false,
            matrix: self.matrix(buffer),
            tile,
        });
        let grid = [panels.div_ceil(tile.panels as usize), batch.div_ceil(tile.rows as usize), highest - lowest + 1];
        let weights = self.weights(buffer);
        let whole = |slot: Option<SlotId>| slot.map(|slot| self.whole(slot));
        let windows = [
            (Role::Weights, whole(Some(weights))),
            (Role::Gates, whole(Some(states.gates))),
            (Role::Live, whole(self.live(r.clock))),
            (Role::Hidden, whole(Some(states.last.slot))),
            (Role::Memory, whole(states.memory)),
            (Role::Output, Some(window)),
        ];
        self.dispatch(program, params, grid, &windows)
    }
}
