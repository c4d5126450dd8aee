//! Fused walks: many timesteps of a layer in one dispatch, by workgroups that keep their states. In
//! a scan, each workgroup has all units of some rows of the batch, so that it hands nothing to
//! others. Persistent workgroups have some of the units each, and hand each other the hidden state.
//!
//! The steps of a chunk are one dispatch, or several if a device's loops are not trusted with
//! all of them. Rows are those of `walk`, and go up or down from step to step as the walk does.

use super::dispatch::{lanes, word};
use super::ops::{Op, OpKind, Recurrence};
use super::recurrent::Layer;
use super::walk::Side;
use super::windows::product;
use super::{Chunk, Lowering, needed};
use crate::cell::{Cell, Reset};
use crate::error::Result;
use crate::kernel::{LANES, Params, Program, Role, StateKind, Step, Tile};
use crate::plan::tune::{LayerShape, Product};
use crate::plan::{SlotId, Strategy};

/// Returns the value of each direction of a dispatch, with 0 for one that it does not have.
pub(super) fn of_each(side: Side, of: impl Fn(usize) -> u32) -> [u32; 2] {
    [of(side.first), if side.count == 2 { of(side.first + 1) } else { 0 }]
}

/// How a layer goes through many timesteps in one dispatch.
#[derive(Clone, Copy)]
pub(super) struct FusedWalk {
    /// Whether workgroups share the layer (persistent) or not (scan).
    shared: bool,
    tile: Tile,
    /// Whether both directions may go in one dispatch.
    pub(super) paired: bool,
}

impl Lowering<'_> {
    /// Returns how a layer's forward pass is fused, or `None` if it is not. It is fused
    /// if that pays, its step is one product, and its weights can be bound whole.
    pub(super) fn fused_walk(&self, r: &Recurrence) -> Result<Option<FusedWalk>> {
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
            self.tuning.strategy(LayerShape { layers: 1, time: self.shape.steps(r.clock).time, product }, self.limits);
        Ok(match strategy {
            // A shared layer keeps nothing for a backward pass.
            Strategy::Persistent if !self.keeps => self.persistent(r, product),
            Strategy::Scan | Strategy::Persistent => {
                let tile = self.tuning.scan(product, self.limits);
                tile.map(|tile| FusedWalk { shared: false, tile, paired: true })
            }
            Strategy::Step | Strategy::Wavefront => None,
        })
    }

    /// Returns both directions side by side if there are enough workgroups, else one after the other.
    fn persistent(&self, r: &Recurrence, product: Product) -> Option<FusedWalk> {
        let words = [self.chunk + 1, self.shape.batch, r.directions * r.units()];
        let bytes = words.iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
        let tile_of =
            |sides| self.tuning.persistent(product, sides, self.limits).map(|tile| (tile, sides == r.directions));
        let (tile, together) = tile_of(r.directions).or_else(|| tile_of(1))?;
        (bytes <= self.limits.binding_bytes).then_some(FusedWalk { shared: true, tile, paired: together })
    }

    /// Returns how the operation is fused, if it is.
    fn op_fused_walk(&self, op: &Op) -> Result<Option<FusedWalk>> {
        if let OpKind::Recurrent(r) = &op.kind { self.fused_walk(r) } else { Ok(None) }
    }

    /// Whether the operation is fused.
    pub(super) fn goes_fused(&self, op: &Op) -> Result<bool> {
        Ok(self.op_fused_walk(op)?.is_some())
    }

    /// Whether workgroups share a layer of the operation.
    pub(super) fn is_shared(&self, op: &Op) -> Result<bool> {
        Ok(self.op_fused_walk(op)?.is_some_and(|how| how.shared))
    }

    /// Emits the dispatches of a chunk of a layer's walk.
    pub(super) fn walk_fused(&mut self, layer: Layer<'_>, chunk: Chunk, side: Side, how: FusedWalk) -> Result<()> {
        let Layer { r, states, hidden } = layer;
        let tile = how.tile;
        let step = Step {
            cell: r.cell,
            variant: r.variants[side.first],
            states: if r.cell.states() == 2 { StateKind::Cell } else { StateKind::Hidden },
            mask: self.shape.steps(r.clock).mask,
            keeps: states.kept.is_some(),
            per_gate: false,
            matrix: self.matrix(r.hidden[0].buffer),
            tile,
        };
        let program = if how.shared { Program::Persistent(step) } else { Program::Scan(step) };
        let panels = needed(self.panels(r.hidden[0], side.first, side.count)?.pop(), "panels of a walk")?;
        let groups = panels.panels.div_ceil(tile.panels as usize);
        let grid = [groups, self.shape.batch.div_ceil(tile.rows as usize), side.count];
        let (window, base) = self.hidden_window(r, hidden, chunk, side);
        let mailbox = if how.shared { Some(needed(self.mailbox, "a slot of a mailbox")?) } else { None };
        let whole = |slot: Option<SlotId>| slot.map(|slot| self.whole(slot));
        let windows = [
            (Role::Weights, Some(panels.window)),
            (Role::Gates, whole(Some(states.gates))),
            (Role::Live, whole(self.live(r.clock))),
            (Role::Hidden, Some(window)),
            (Role::CellState, whole(states.cell_state)),
            (Role::Mailbox, whole(mailbox)),
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
            // A walk that keeps leaves the state of every step, and the others that of the last.
            let last = if step.keeps { 1 } else { steps };
            let cell_out = word(self.cell_row(r, chunk.start + start + last));
            if let Some(mailbox) = mailbox {
                self.reset_mailbox(mailbox, panels.panels * LANES, side.count * steps * self.shape.batch)?;
            }
            self.dispatch(program, Params { steps: word(steps), cell_out, ..first }, grid, &windows)?;
            start += steps;
        }
        Ok(())
    }

    /// Resets `rows` rows of `units` words of the mailbox. The first reset of a
    /// run also resets the row before them, which tells whether the run stalled.
    fn reset_mailbox(&mut self, mailbox: SlotId, units: usize, rows: usize) -> Result<()> {
        let first = usize::from(self.plan.programs.contains(&Program::ResetMailbox));
        for (row, rows) in self.pieces(1 + rows - first, 1) {
            let params =
                Params { rows: word(rows), units: word(units), target_0: word(first + row), ..Params::default() };
            let windows = [(Role::Mailbox, Some(self.whole(mailbox)))];
            self.dispatch(Program::ResetMailbox, params, [lanes(units), rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Returns the most steps that a dispatch may take within the device's
    /// loop limit, but at least one, so that `check` can refuse it.
    pub(super) fn most_steps(&self, program: &Program, params: &Params) -> usize {
        let iterations = |steps| program.loop_iterations(&Params { steps, ..*params });
        let (fixed, each) = (iterations(0), iterations(1) - iterations(0));
        let most = u64::from(self.limits.loop_iterations).saturating_sub(fixed) / each;
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }
}
