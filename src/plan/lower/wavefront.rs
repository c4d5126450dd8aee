//! The layers of a layer run together: layer l at time t − l. So the steps of a wavefront do not
//! depend on each other, and go in one dispatch. There are T + L − 1 dispatches instead of T · L.
//!
//! Only the first layer's input product is hoisted; the others compute theirs in the step. Each layer's states
//! have two rows that alternate. A layer reads the same row of the layer below that this one reads of itself.

use super::dispatch::word;
use super::ops::{Recurrence, Sequence, Span};
use super::stage::States;
use super::walk::Side;
use super::windows::product;
use super::{Chunk, Lowering, needed};
use crate::error::Result;
use crate::kernel::{LANES, Mask, Params, Program, Role, StateKind, Step};
use crate::layout::{self, Layout, MatrixRef};
use crate::plan::tune::{LayerShape, Product, Tuning};
use crate::plan::{Limits, Shape, SlotId, Strategy};

/// Returns the sizes of layer run `run` of `layout` in a call of a shape.
/// Its layers are like `r`, and its matrices are in packed buffer `buffer`.
fn layers_shape(layout: &Layout, run: usize, r: &Recurrence, buffer: usize, shape: Shape) -> Result<LayerShape> {
    let (time, batch) = (shape.steps(r.clock).time, shape.batch);
    Ok(LayerShape { layers: layout.layer_runs[run].layers.len(), time, product: product(layout, buffer, batch)? })
}

/// Whether layer run `run`, of layers like `r`, uses wavefronts:
/// if that pays, and each of its buffers can be bound whole.
pub(super) fn pays(
    layout: &Layout,
    run: usize,
    r: &Recurrence,
    shape: Shape,
    limits: &Limits,
    tuning: &Tuning,
) -> Result<bool> {
    let buffer = needed(layout.find(layout::Role::LayerRun { run }), format_args!("the matrices of run {run}"))?;
    let layers_shape = layers_shape(layout, run, r, buffer, shape)?;
    let states = [2 * layers_shape.layers, shape.batch, r.units()]
        .iter()
        .fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
    let bound = layout.bytes_of(&layout.buffers[buffer]).max(states);
    Ok(bound <= limits.binding_bytes && tuning.strategy(layers_shape, limits) == Strategy::Wavefront)
}

impl Lowering<'_> {
    /// Emits the dispatches of a layer run for `chunk` of its first layer's steps.
    ///
    /// If a consumer takes the outputs chunk by chunk, the other layers end their
    /// steps with the chunk. Otherwise they stay behind, and end with the last chunk.
    pub(super) fn wavefront(
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
        for wavefront in chunk.start..end + if ends { behind } else { 0 } {
            // The layers that have a step here: layer l has that of time `wavefront − l`.
            let lowest = (wavefront + 1).saturating_sub(end);
            let highest = behind.min(wavefront - start);
            self.wavefront_step((r, states), output, chunk, (wavefront, lowest, highest))?;
        }
        Ok(())
    }

    /// Emits one dispatch: a step of each layer from `lowest` to `highest`.
    fn wavefront_step(
        &mut self,
        (r, states): (&Recurrence, &States),
        output: Sequence,
        chunk: Chunk,
        (wavefront, lowest, highest): (usize, usize, usize),
    ) -> Result<()> {
        let (run, _) = needed(r.run, format_args!("a run of stack {}", r.stack))?;
        let MatrixRef { buffer, .. } = r.hidden[0];
        let layers_shape = layers_shape(self.layout, run, r, buffer, self.shape)?;
        let Product { rows: batch, depth, panels, .. } = layers_shape.product;
        let behind = layers_shape.layers - 1;
        let first = chunk.start.saturating_sub(behind);
        let (window, base) = self.rows(output, first, chunk.start + chunk.len - first);
        let written = match output.span {
            Span::Whole => wavefront.saturating_sub(behind).saturating_sub(base),
            Span::Chunk => wavefront.saturating_sub(behind + chunk.start),
        };
        let tile = self.tuning.wavefront(layers_shape, self.limits);
        let params = Params {
            rows: word(batch),
            batch: word(batch),
            directions: word(layers_shape.layers),
            direction: word(lowest),
            depth: word(depth),
            units: word(panels * LANES),
            panels: word(panels),
            weight_panel: word(2 * lowest * panels),
            weight_panels: word(2 * panels),
            target_0: if highest == behind { word(written) } else { 0 },
            gates_0: if lowest == 0 { word(wavefront - chunk.start) } else { 0 },
            live_0: if self.shape.steps(r.clock).mask == Mask::Live { word(wavefront - lowest) } else { 0 },
            cell_in: word(wavefront % 2),
            cell_out: word((wavefront + 1) % 2),
            ..Params::default()
        };
        let program = Program::Wavefront(Step {
            cell: r.cell,
            variant: r.variants[0],
            states: if r.cell.states() == 2 { StateKind::Cell } else { StateKind::Hidden },
            mask: self.shape.steps(r.clock).mask,
            keeps: false,
            per_gate: false,
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
            (Role::CellState, whole(states.cell_state)),
            (Role::Output, Some(window)),
        ];
        self.dispatch(program, params, grid, &windows)
    }
}
