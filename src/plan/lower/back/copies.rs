//! The backward pass of products of copies of rows: one copy for each gate, with elements dropped.
//!
//! δ of each gate, times that gate's matrix transposed, is the gradient of its copy. The kept
//! elements of a copy's gradient are added to that of the copied rows. So a step back has no product
//! of its own. The gradient from the next timestep is beside the one that bypasses the products.

use super::recurrent::Way;
use super::steps::{exchanged, past};
use super::{Back, GradientOf};
use crate::error::Result;
use crate::kernel::{LANES, PAST_HIDDEN};
use crate::layout::depth;
use crate::plan::lower::Chunk;
use crate::plan::lower::copies::{Copies, Copying, Rows};
use crate::plan::lower::dispatch::InputGemm;
use crate::plan::lower::ops::{Drop, Sequence};
use crate::plan::lower::walk::Side;
use crate::plan::lower::windows::Panels;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};

impl Back<'_, '_> {
    /// Emits the backward pass of copies that a layer takes as its input: adds up the gradients of all copies.
    pub(super) fn each_copy(
        &mut self,
        given: GradientOf,
        drop: (Drop, SlotId),
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let (target, first) = self.begin(given, true)?;
        let chunks = self.chunks(time);
        chunks.into_iter().try_for_each(|chunk| self.low.copy_rows_back(drop, delta, (target, first), chunk))
    }

    /// Returns the rows that the first recurrent product multiplied in a chunk,
    /// ascending in time. They are a window and its first row, the elements of a row,
    /// and the first element that is taken. Elements of copies count within one copy.
    pub(super) fn multiplied(
        &mut self,
        way: &Way<'_>,
        chunk: Chunk,
        direction: usize,
    ) -> Result<((Window, usize), usize, usize)> {
        let (before, units) = (self.before(way, chunk, direction), way.state_units());
        let Some(copies) = way.states.copies else { return Ok((before, way.r.directions * units, direction * units)) };
        let copying = self.copying((way, copies, 0), Side { first: direction, count: 1 }, chunk.len);
        let width = units * copying.gates.len();
        let slot = self.handed(&format!("copied.{width}"), &[self.low.chunk, self.low.shape.batch, width]);
        let rows = Rows { window: before.0, first: [before.1; 2], parts: way.r.directions };
        let window = self.low.whole(slot);
        self.low.spread(&copying, rows, Rows { window, first: [0; 2], parts: 1 })?;
        Ok(((window, 0), units, 0))
    }

    /// Drops elements of r ∘ h in the rows of a chunk: those that the second product did not see. The cell is a GRU
    /// with the reset before the product.
    pub(super) fn copy_reset_rows(
        &mut self,
        way: &Way<'_>,
        (direction, chunk): (usize, Chunk),
        (whole, reset): (Window, Window),
    ) -> Result<()> {
        let Some(copies) = way.states.copies else { return Ok(()) };
        let copying = self.copying((way, copies, 1), Side { first: direction, count: 1 }, chunk.len);
        let block = direction * chunk.len * self.low.shape.batch;
        let [from, to] = [whole, reset].map(|window| Rows { window, first: [block; 2], parts: 1 });
        self.low.spread(&copying, from, to)
    }

    /// Returns a slot for r ∘ h before dropout, `[D][C][B][H]`.
    pub(super) fn reset_slot(&mut self, way: &Way<'_>) -> SlotId {
        let dims = [way.r.directions * self.low.chunk, self.low.shape.batch, way.r.units()];
        self.handed(&format!("reset_whole.{}.{}", dims[0], dims[2]), &dims)
    }

    fn copying(&self, (way, copies, product): (&Way<'_>, Copies, usize), side: Side, steps: usize) -> Copying {
        let Copies { drop, draws, .. } = copies;
        let gates = way.r.product_gates(product);
        Copying { drop, draws, gates, features: way.hidden.features, side, rows: steps * self.low.shape.batch }
    }

    /// Sets `target` to the gradient of the rows whose copies product `product` of a step multiplied,
    /// or adds to it unless it is the `first`. δ of the product's gates is in `source`, `[D][C][B]`.
    pub(super) fn copies_back(
        &mut self,
        (way, copies, product): (&Way<'_>, Copies, usize),
        (chunk, step, side): (Chunk, usize, Side),
        source: SlotId,
        (target, first): (Rows, bool),
    ) -> Result<()> {
        let (r, batch) = (way.r, self.low.shape.batch);
        let copying = self.copying((way, copies, product), side, 1);
        let width = way.state_units() * copying.gates.len();
        let slot = self.handed(&format!("copy_gradients.{width}"), &[2, batch, width]);
        let block = |d: usize| d * chunk.len + r.walks[d].step(step, chunk.len);
        let (source, result) = (self.low.whole(source), self.low.whole(slot));
        let sources = [0, 1].map(|d| block(d) * batch);
        let plain = InputGemm::plain(batch, (source, sources), (result, [0, batch]), width);
        self.gemm_transposed((r.hidden[product], side.first, side.count), &InputGemm { per_gate: true, ..plain })?;
        let gradients = Rows { window: result, first: [side.first, side.first + 1].map(|d| d * batch), parts: 1 };
        self.low.spread_back(&copying, gradients, target, first)
    }

    /// Adds what a step back of one product hands to the timestep before to what bypasses the product.
    pub(super) fn hand_copies(&mut self, way: &Way<'_>, copies: Copies, place: (Chunk, usize, Side)) -> Result<()> {
        let first = [PAST_HIDDEN * self.low.shape.batch; 2];
        let target = Rows { window: self.low.whole(past(way)?), first, parts: way.r.directions };
        self.copies_back((way, copies, 0), place, exchanged(way), (target, false))
    }

    /// Returns panels of a matrix without depth, instead of a transposed one: a step back then adds no product.
    pub(super) fn nothing_panels(&mut self, way: &Way<'_>, side: Side) -> Result<(SlotId, Vec<Panels>, Product)> {
        let panels = way.r.units() / LANES;
        let size = Product { rows: 0, depth: 0, panels: panels * side.count, gates: 1 };
        let slot = self.nothing(way)?;
        Ok((slot, self.low.panels_of((slot, panels, None), way.r.hidden[0].first, side.first, side.count), size))
    }

    /// Writes zeros to that matrix' slot.
    pub(super) fn zero_nothing(&mut self, way: &Way<'_>) -> Result<()> {
        let slot = self.nothing(way)?;
        let dims = self.low.plan.slots[slot].dims.clone();
        self.zero_rows(self.low.whole(slot), 0..dims[0], dims[1])
    }

    fn nothing(&mut self, way: &Way<'_>) -> Result<SlotId> {
        let dims = [self.shaped(way.r.hidden[0].buffer)?.matrices, depth(way.hidden.features) / way.r.directions];
        Ok(self.handed(&format!("nothing.{}.{}", dims[0], dims[1]), &dims))
    }
}
