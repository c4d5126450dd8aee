//! Many timesteps of a layer in one dispatch, by workgroups that keep their states: those of a scan have all units of some
//! rows of the batch each, and what one step hands to the next never leaves one; persistent ones have some of the units,
//! and hand each other the hidden state.
//!
//! The steps of a chunk are one dispatch, or some where a device's loops are not trusted with all of them. Rows are those
//! of `walk`, and go up or down from step to step as the walk does.

use super::dispatch::{lanes, word};
use super::ops::{Op, OpKind, Recurrence};
use super::recurrent::Layer;
use super::walk::Side;
use super::windows::product;
use super::{Chunk, Lowering, needed};
use crate::cell::{Cell, Reset};
use crate::error::Result;
use crate::kernel::{LANES, Params, Program, Role, StateKind, Step, Tile};
use crate::plan::tune::{Product, Wave};
use crate::plan::{SlotId, Strategy};

/// The value of each direction of a dispatch; 0 for one that is not in it.
pub(super) fn of_each(side: Side, of: impl Fn(usize) -> u32) -> [u32; 2] {
    [of(side.first), if side.count == 2 { of(side.first + 1) } else { 0 }]
}

/// How a layer goes through many timesteps in a dispatch.
#[derive(Clone, Copy)]
pub(super) struct AtOnce {
    /// Whether workgroups share the layer: it is persistent, and otherwise a scan.
    shared: bool,
    tile: Tile,
    /// Whether both directions may go in one dispatch.
    pub(super) together: bool,
}

impl Lowering<'_> {
    /// How a layer goes that does so at once, forward: where that pays, its step is one product, and its weights can be bound whole.
    pub(super) fn at_once(&self, r: &Recurrence) -> Result<Option<AtOnce>> {
        // Copies of the state are made between two steps.
        if r.cell == Cell::Gru(Reset::Before) || r.projection.is_some() || r.drop.is_some() {
            return Ok(None);
        }
        let buffer = &self.layout.buffers[r.hidden[0].buffer];
        if self.layout.bytes_of(buffer) > self.limits.binding_bytes {
            return Ok(None);
        }
        let product = product(self.layout, r.hidden[0].buffer, self.shape.batch)?;
        let strategy =
            self.tuning.strategy(Wave { layers: 1, time: self.shape.steps(r.clock).time, product }, self.limits);
        Ok(match strategy {
            // Who shares a layer keeps nothing for a way back.
            Strategy::Persistent if !self.keeps => self.persistent(r, product),
            Strategy::Scan | Strategy::Persistent => {
                let tile = self.tuning.scan(product, self.limits);
                tile.map(|tile| AtOnce { shared: false, tile, together: true })
            }
            Strategy::Step | Strategy::Diagonal => None,
        })
    }

    /// Both directions side by side where there are workgroups enough, else one after the other.
    fn persistent(&self, r: &Recurrence, product: Product) -> Option<AtOnce> {
        let words = [self.chunk + 1, self.shape.batch, r.directions * r.units()];
        let bytes = words.iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
        let tile_of =
            |sides| self.tuning.persistent(product, sides, self.limits).map(|tile| (tile, sides == r.directions));
        let (tile, together) = tile_of(r.directions).or_else(|| tile_of(1))?;
        (bytes <= self.limits.binding_bytes).then_some(AtOnce { shared: true, tile, together })
    }

    /// How the operation goes through time at once, where it does.
    fn op_at_once(&self, op: &Op) -> Result<Option<AtOnce>> {
        if let OpKind::Recurrent(r) = &op.kind { self.at_once(r) } else { Ok(None) }
    }

    /// Whether the operation goes through time at once.
    pub(super) fn goes_at_once(&self, op: &Op) -> Result<bool> {
        Ok(self.op_at_once(op)?.is_some())
    }

    /// Whether workgroups share a layer of the operation.
    pub(super) fn is_shared(&self, op: &Op) -> Result<bool> {
        Ok(self.op_at_once(op)?.is_some_and(|how| how.shared))
    }

    /// The dispatches of a chunk of a layer's walk.
    pub(super) fn walk_at_once(&mut self, layer: Layer<'_>, chunk: Chunk, side: Side, how: AtOnce) -> Result<()> {
        let Layer { r, states, hidden } = layer;
        let tile = how.tile;
        let step = Step {
            cell: r.cell,
            variant: r.variants[side.first],
            states: if r.cell.states() == 2 { StateKind::Memory } else { StateKind::Hidden },
            mask: self.shape.steps(r.clock).mask,
            keeps: states.kept.is_some(),
            apart: false,
            matrix: self.matrix(r.hidden[0].buffer),
            tile,
        };
        let program = if how.shared { Program::Persistent(step) } else { Program::Scan(step) };
        let panels = needed(self.panels(r.hidden[0], side.first, side.count)?.pop(), "panels of a walk")?;
        let groups = panels.panels.div_ceil(tile.panels as usize);
        let grid = [groups, self.shape.batch.div_ceil(tile.rows as usize), side.count];
        let (window, base) = self.hidden_window(r, hidden, chunk, side);
        let exchange = if how.shared { Some(needed(self.exchange, "a slot of an exchange")?) } else { None };
        let whole = |slot: Option<SlotId>| slot.map(|slot| self.whole(slot));
        let windows = [
            (Role::Weights, Some(panels.window)),
            (Role::Gates, whole(Some(states.gates))),
            (Role::Live, whole(self.live(r.clock))),
            (Role::Hidden, Some(window)),
            (Role::Memory, whole(states.memory)),
            (Role::Exchange, whole(exchange)),
            (Role::Kept, whole(states.kept.map(|kept| kept.slot))),
        ];
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
            // Who keeps leaves the state of every step, the others that of the last.
            let last = if step.keeps { 1 } else { steps };
            let memory_out = word(self.cell_row(r, chunk.start + start + last));
            if let Some(exchange) = exchange {
                self.clear(exchange, panels.panels * LANES, side.count * steps * self.shape.batch)?;
            }
            self.dispatch(program, Params { steps: word(steps), memory_out, ..first }, grid, &windows)?;
            start += steps;
        }
        Ok(())
    }

    /// Clears `rows` rows of `units` words of the exchange; the row before them, which tells of the whole run, at first alone.
    fn clear(&mut self, exchange: SlotId, units: usize, rows: usize) -> Result<()> {
        let first = usize::from(self.plan.programs.contains(&Program::Clear));
        for (row, rows) in self.pieces(1 + rows - first, 1) {
            let params =
                Params { rows: word(rows), units: word(units), target_0: word(first + row), ..Params::default() };
            let windows = [(Role::Exchange, Some(self.whole(exchange)))];
            self.dispatch(Program::Clear, params, [lanes(units), rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Steps that a dispatch may take within what loops are trusted with; one at least, for `check` to refuse.
    pub(super) fn most_steps(&self, program: &Program, params: &Params) -> usize {
        let iterations = |steps| program.loop_iterations(&Params { steps, ..*params });
        let (fixed, each) = (iterations(0), iterations(1) - iterations(0));
        let most = u64::from(self.limits.loop_iterations).saturating_sub(fixed) / each;
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }
}
