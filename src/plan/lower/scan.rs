//! Many timesteps of a layer in one dispatch, whose workgroups have all units of some rows of the batch each and keep their
//! states: what one step hands to the next never leaves the workgroup.
//!
//! The steps of a chunk are one dispatch, or some where a device's loops are not trusted with all of them. Rows are those
//! of `walk`, and go up or down from step to step as the walk does.

use super::emit::word;
use super::ops::{Op, OpKind, Recurrence};
use super::walk::{Layer, Side, Walk};
use super::{Chunk, Lowering};
use crate::cell::{Cell, Reset};
use crate::kernel::{Kernel, LANES, Params, Program, StateKind, Tile};
use crate::layout::{Form, depth};
use crate::plan::Strategy;
use crate::plan::tune::{Product, Wave};

impl Walk {
    /// Rows from the output of a step to that of the next, modulo 2³².
    fn hidden_step(self) -> u32 {
        match self {
            Self::Forward | Self::Backwards => 1,
            Self::Reverse => u32::MAX,
        }
    }

    /// Timesteps from a step to the next, modulo 2³².
    fn time_step(self) -> u32 {
        match self {
            Self::Forward => 1,
            Self::Reverse | Self::Backwards => u32::MAX,
        }
    }
}

/// The value of each direction of a dispatch; 0 for one that is not in it.
fn of_each(side: Side, of: impl Fn(usize) -> u32) -> [u32; 2] {
    [of(side.first), if side.count == 2 { of(side.first + 1) } else { 0 }]
}

impl Lowering<'_> {
    /// The tile of a layer that goes by scans: where that pays, its step is one product, and its weights can be bound whole.
    pub(super) fn scanned(&self, r: &Recurrence) -> Option<Tile> {
        if r.cell == Cell::Gru(Reset::Before) || r.projection.is_some() {
            return None;
        }
        let buffer = &self.layout.buffers[r.hidden[0].buffer];
        let Form::Matrix { panels, source, gates, .. } = buffer.form else { return None };
        let product = Product { rows: self.shape.batch, depth: depth(source), panels, gates };
        let pays = self.tuning.strategy(Wave { layers: 1, time: self.shape.time, product }) == Strategy::Scan;
        let bound = self.layout.bytes_of(buffer) <= self.limits.binding_bytes;
        if pays && bound { self.tuning.scan(product, self.limits) } else { None }
    }

    /// Whether the operation goes through time by scans.
    pub(super) fn is_scanned(&self, op: &Op) -> bool {
        matches!(&op.kind, OpKind::Recurrent(r) if self.scanned(r).is_some())
    }

    /// The dispatches of a chunk of a layer's walk.
    pub(super) fn scan(&mut self, layer: Layer<'_>, chunk: Chunk, side: Side, tile: Tile) {
        let Layer { stage, r, hidden, gates } = layer;
        let states = if r.cell.states() == 2 { StateKind::Memory } else { StateKind::Hidden };
        let program = Program {
            cell: Some(r.cell),
            variant: r.variants[side.first],
            states,
            storage: self.layout.storage,
            medium: self.layout.medium_of(r.hidden[0].buffer),
            mask: self.shape.mask,
            tile,
            ..Program::plain(Kernel::Scan)
        };
        let grid = [1, self.shape.batch.div_ceil(tile.rows as usize), side.count];
        let Some(panels) = self.panels(r.hidden[0], side.first, side.count).pop() else { return };
        let (window, base) = self.hidden_window(r, hidden, chunk, side);
        let whole = [Some(gates), self.live].map(|slot| slot.map(|slot| self.whole(slot)));
        let memory = stage.memory.map(|slot| self.whole(slot));
        let windows: Vec<_> =
            [Some(panels.window), whole[0], whole[1], Some(window), memory].into_iter().flatten().collect();
        let Params { direction, panel, panels: count, weight_panel, weight_panels, .. } = panels.params();
        let units = word(panels.panels * LANES);
        let [hidden_step_0, hidden_step_1] = of_each(side, |d| r.walks[d].hidden_step());
        let [time_step_0, time_step_1] = of_each(side, |d| r.walks[d].time_step());
        let mut start = 0;
        while start < chunk.len {
            let first = Params {
                depth: units,
                units,
                direction,
                panel,
                panels: count,
                weight_panel,
                weight_panels,
                hidden_step_0,
                hidden_step_1,
                time_step_0,
                time_step_1,
                ..self.step_params(layer, chunk, start, side, base)
            };
            let steps = self.most_steps(&program, &first).min(chunk.len - start);
            let memory_out = word((chunk.start + start + steps) % 2);
            self.dispatch(program, Params { steps: word(steps), memory_out, ..first }, grid, windows.clone());
            start += steps;
        }
    }

    /// Steps that a dispatch may take within what loops are trusted with; one at least, for `check` to refuse.
    fn most_steps(&self, program: &Program, params: &Params) -> usize {
        let iterations = |steps| program.loop_iterations(&Params { steps, ..*params });
        let (fixed, each) = (iterations(0), iterations(1) - iterations(0));
        let most = u64::from(self.limits.loop_iterations).saturating_sub(fixed) / each;
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }
}
