//! The way back where products multiply copies of rows, one for each gate, of which elements were dropped.
//!
//! δ of each gate times that gate's matrix turned is the gradient of its copy; what of a copy was kept comes down to the rows that
//! were copied. So a step back takes no product: what comes of the step after stands beside what goes past the products.

use super::recurrent::Way;
use super::steps::{exchanged, past};
use super::{Back, Given};
use crate::error::Result;
use crate::kernel::{LANES, PAST_HIDDEN};
use crate::layout::depth;
use crate::plan::lower::Chunk;
use crate::plan::lower::copies::{Copies, Copying, Rows};
use crate::plan::lower::dispatch::HoistedProduct;
use crate::plan::lower::ops::{Drop, Sequence};
use crate::plan::lower::walk::Side;
use crate::plan::lower::windows::Panels;
use crate::plan::tune::Product;
use crate::plan::{SlotId, Window};

impl Back<'_, '_> {
    /// What layers take as copies: the gradients of all copies.
    pub(super) fn each_copy(&mut self, given: Given, drop: (Drop, SlotId), delta: Sequence, time: usize) -> Result<()> {
        let (target, first) = self.begin(given, true)?;
        let chunks = self.chunks(time);
        chunks.into_iter().try_for_each(|chunk| self.low.copy_rows_back(drop, delta, (target, first), chunk))
    }

    /// The rows that the first recurrent product multiplied in a chunk, ascending in time: their window and the first of them, the
    /// elements of a row, and the first that is taken. Of copies both count in one of them.
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

    /// Drops of r ∘ h, in the rows of a chunk of a GRU that resets before the product, what its second product has not seen.
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

    /// A slot for r ∘ h before anything of it is dropped, `[D][C][B][H]`.
    pub(super) fn reset_slot(&mut self, way: &Way<'_>) -> SlotId {
        let dims = [way.r.directions * self.low.chunk, self.low.shape.batch, way.r.units()];
        self.handed(&format!("reset_whole.{}.{}", dims[0], dims[2]), &dims)
    }

    fn copying(&self, (way, copies, product): (&Way<'_>, Copies, usize), side: Side, steps: usize) -> Copying {
        let Copies { drop, draws, .. } = copies;
        let gates = way.r.product_gates(product);
        Copying { drop, draws, gates, features: way.hidden.features, side, rows: steps * self.low.shape.batch }
    }

    /// The gradient of what product `product` of a step multiplied copies of, by δ of its gates in `source`, `[D][C][B]`: added to
    /// `target`, or set where it is the `first`.
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
        let plain = HoistedProduct::plain(batch, (source, sources), (result, [0, batch]), width);
        self.project_turned((r.hidden[product], side.first, side.count), &HoistedProduct { apart: true, ..plain })?;
        let gradients = Rows { window: result, first: [side.first, side.first + 1].map(|d| d * batch), parts: 1 };
        self.low.spread_back(&copying, gradients, target, first)
    }

    /// What a step back of one product hands to the step before it, added to what goes past the product.
    pub(super) fn hand_copies(&mut self, way: &Way<'_>, copies: Copies, place: (Chunk, usize, Side)) -> Result<()> {
        let first = [PAST_HIDDEN * self.low.shape.batch; 2];
        let target = Rows { window: self.low.whole(past(way)?), first, parts: way.r.directions };
        self.copies_back((way, copies, 0), place, exchanged(way), (target, false))
    }

    /// Panels of a matrix of no depth, in the place of one that is turned: a step back then adds no product.
    pub(super) fn nothing_panels(&mut self, way: &Way<'_>, side: Side) -> Result<(SlotId, Vec<Panels>, Product)> {
        let panels = way.r.units() / LANES;
        let size = Product { rows: 0, depth: 0, panels: panels * side.count, gates: 1 };
        let slot = self.nothing(way)?;
        Ok((slot, self.low.panels_of((slot, panels, None), way.r.hidden[0].first, side.first, side.count), size))
    }

    /// Zeros in its slot.
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
