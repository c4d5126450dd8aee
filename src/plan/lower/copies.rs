//! Copies of rows, one for each gate of a product, each with its own elements dropped (Keras' `recurrent_dropout`).
//!
//! A row of copies is laid out like a row of gates. So a product reads the copy of each gate at the place of that gate
//! in its result. In the backward pass, it writes the gradient of each copy at the place from which it reads δ of that
//! gate. All steps of a call drop the same elements: only rows differ between them.

use std::ops::Range;

use super::dispatch::{lanes, word};
use super::ops::{Drop, Recurrence, Sequence};
use super::walk::Side;
use super::{Chunk, Lowering};
use crate::cell::{Cell, Reset};
use crate::dropout;
use crate::error::Result;
use crate::kernel::{Params, Program, Role, SCRATCH_RESET, Training};
use crate::layout::depth;
use crate::model::Features;
use crate::plan::{Feed, SlotId, SlotKind, Window};

/// Words that describe a draw of dropped elements.
const DROP_WORDS: usize = 4;

/// Copies of the hidden state before a step.
#[derive(Clone, Copy)]
pub(super) struct Copies {
    pub(super) drop: Drop,
    /// The slot of the draw's words.
    pub(super) draws: SlotId,
    /// `[D][B][K / 16][G][16]`, one slot for each product of a step.
    slots: [SlotId; 2],
}

/// How rows are copied: which copies are made, and of which part.
#[derive(Clone)]
pub(super) struct Copying {
    pub(super) drop: Drop,
    pub(super) draws: SlotId,
    /// The gates that have a copy.
    pub(super) gates: Range<usize>,
    /// The true features of a row, which the counters count.
    pub(super) features: Features,
    /// The parts of a row that are copied.
    pub(super) side: Side,
    pub(super) rows: usize,
}

/// Where rows are: the window, the first row of each part, and how many parts a row has.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) window: Window,
    pub(super) first: [usize; 2],
    pub(super) parts: usize,
}

impl Drop {
    /// The word below which an element is dropped.
    pub(super) fn threshold(self) -> u32 {
        dropout::threshold(self.rate.get())
    }

    /// The bits of the factor of kept elements.
    #[expect(clippy::cast_possible_truncation, reason = "rounded once")]
    pub(super) fn scale(self) -> u32 {
        (dropout::scale(self.rate.get()) as f32).to_bits()
    }
}

impl Lowering<'_> {
    /// Makes the slot of the words that place `place` of layer `layer` draws from.
    pub(super) fn dropped(&mut self, layer: usize, place: usize) -> SlotId {
        let draws = self.slot(format!("{layer}.draws.{place}"), SlotKind::Index, &[1, DROP_WORDS]);
        self.write(Feed::Dropped { layer, place }, draws, 0, 1);
        draws
    }

    /// Makes the slots of copies of the state of `r`, whose rows have `features`.
    pub(super) fn copies(&mut self, r: &Recurrence, drop: Drop, layer: usize, features: Features) -> Copies {
        let draws = self.dropped(layer, drop.place);
        let mut slot = |gates: Range<usize>| {
            let dims = [r.directions, self.shape.batch, depth(features) / r.directions * gates.len()];
            self.slot(format!("{layer}.copies.{}", r.stacked), SlotKind::Scratch, &dims)
        };
        let first = slot(r.product_gates(0));
        let second = if r.cell == Cell::Gru(Reset::Before) { slot(r.product_gates(1)) } else { first };
        Copies { drop, draws, slots: [first, second] }
    }

    /// Copies the state before a step of a side, for its first product: rows `first` of the hidden state.
    pub(super) fn copy_state(
        &mut self,
        r: &Recurrence,
        copies: Copies,
        (hidden, first): (Window, [usize; 2]),
        (features, side): (Features, Side),
    ) -> Result<Window> {
        self.copy_for(r, copies, (0, features, side), (hidden, first))
    }

    /// Copies r ∘ h in the scratch rows of a GRU, for its second product, if the reset comes before the product.
    pub(super) fn copy_reset(
        &mut self,
        r: &Recurrence,
        copies: Copies,
        scratch: Window,
        (features, side): (Features, Side),
    ) -> Result<Window> {
        self.copy_for(r, copies, (1, features, side), (scratch, [SCRATCH_RESET; 2]))
    }

    fn copy_for(
        &mut self,
        r: &Recurrence,
        copies: Copies,
        (product, features, side): (usize, Features, Side),
        (window, first): (Window, [usize; 2]),
    ) -> Result<Window> {
        let batch = self.shape.batch;
        let Copies { drop, draws, slots } = copies;
        let gates = r.product_gates(product);
        let copying = Copying { drop, draws, gates, features, side, rows: batch };
        let target = self.whole(slots[product]);
        let rows = Rows { window, first: first.map(|row| row * batch), parts: features.parts };
        let into = Rows { window: target, first: [side.first, side.first + 1].map(|d| d * batch), parts: 1 };
        self.spread(&copying, rows, into)?;
        Ok(target)
    }

    /// Copies all rows of a chunk of a layer's input, with all their parts.
    pub(super) fn copy_rows(
        &mut self,
        dropped: (Drop, SlotId),
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let (copying, [rows, copies]) = self.copying_rows(dropped, source, result, chunk);
        self.spread(&copying, rows, copies)
    }

    /// Backward pass: sets the gradient of the rows from that of the copies, or adds to it.
    pub(super) fn copy_rows_back(
        &mut self,
        dropped: (Drop, SlotId),
        delta: Sequence,
        (target, first): (Sequence, bool),
        chunk: Chunk,
    ) -> Result<()> {
        let (copying, [rows, copies]) = self.copying_rows(dropped, target, delta, chunk);
        self.spread_back(&copying, copies, rows, first)
    }

    fn copying_rows(
        &self,
        (drop, draws): (Drop, SlotId),
        plain: Sequence,
        copies: Sequence,
        chunk: Chunk,
    ) -> (Copying, [Rows; 2]) {
        let batch = self.shape.batch;
        let features = plain.features;
        let side = Side { first: 0, count: features.parts };
        let copying = Copying { drop, draws, gates: 0..drop.gates, features, side, rows: chunk.len * batch };
        let rows = [plain, copies].map(|sequence| {
            let (window, first) = self.rows_of_chunk(sequence, chunk);
            Rows { window, first: [first; 2], parts: features.parts }
        });
        (copying, rows)
    }

    /// Copies `rows`.
    pub(super) fn spread(&mut self, copying: &Copying, rows: Rows, copies: Rows) -> Result<()> {
        let gates = word(copying.gates.len());
        self.spread_rows(copying, Training::Spread { gates }, rows, copies)
    }

    /// Backward pass: adds gradients of copies to those of `rows`, or sets them.
    pub(super) fn spread_back(&mut self, copying: &Copying, copies: Rows, rows: Rows, first: bool) -> Result<()> {
        let gates = word(copying.gates.len());
        self.spread_rows(copying, Training::SpreadBack { gates, first }, copies, rows)
    }

    fn spread_rows(&mut self, copying: &Copying, program: Training, from: Rows, to: Rows) -> Result<()> {
        let Copying { drop, draws, features, side, .. } = *copying;
        let units = depth(features) / features.parts;
        for (row, rows) in self.pieces(copying.rows, 1) {
            let params = Params {
                rows: word(rows),
                batch: word(self.shape.batch),
                directions: word(features.parts),
                direction: word(side.first),
                units: word(units),
                features: word(features.size),
                source_0: word(from.first[0] + row),
                source_1: word(from.first[1] + row),
                target_0: word(to.first[0] + row),
                target_1: word(to.first[1] + row),
                source_directions: word(from.parts),
                tokens: word(to.parts),
                source_offset: word(copying.gates.start * features.len()),
                offset: word(row),
                token: drop.threshold(),
                scale: drop.scale(),
                ..Params::default()
            };
            let windows = [
                (Role::Source, Some(from.window)),
                (Role::Draws, Some(self.whole(draws))),
                (Role::Result, Some(to.window)),
            ];
            self.dispatch(Program::Training(program), params, [lanes(units), rows, side.count], &windows)?;
        }
        Ok(())
    }
}
