//! Slots: which buffers a plan has, and the windows of them that a dispatch binds.

use super::ops::{Axis, Op, OpKind, Recurrence, Sequence, Span};
use super::walk::Walk;
use super::{CHUNK_ALIGN, Lowering, needed};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Draw, LANES, Mask, Medium};
use crate::layout::{Form, Layout, Place, depth};
use crate::plan::tune::Product;
use crate::plan::{Feed, Goal, Shape, Slot, SlotId, SlotKind, WINDOW_ALIGN, Window};

/// An operation with its slots.
pub(super) struct Stage<'a> {
    pub(super) op: &'a Op,
    pub(super) source: Option<Sequence>,
    pub(super) result: Option<Sequence>,
    /// What a recurrent layer keeps beside its hidden state.
    pub(super) memory: Option<SlotId>,
    /// Where the final hidden states of two directions meet, if something takes them both.
    pub(super) meeting: Option<SlotId>,
    /// Where the final hidden state of a recurrent layer is.
    pub(super) last: Option<Sequence>,
}

impl Stage<'_> {
    pub(super) fn result(&self) -> Option<Sequence> {
        self.result
    }

    pub(super) fn streams(&self) -> bool {
        self.op.streams()
    }

    /// The length of the time axis that the stage runs over.
    pub(super) fn time(&self, shape: Shape) -> usize {
        match self.op.axis {
            Axis::Steps => shape.time,
            Axis::Rows => 1,
        }
    }
}

/// Panels of a weight matrix, as they are bound.
pub(super) struct Panels {
    pub(super) window: Window,
    pub(super) direction: usize,
    pub(super) directions: usize,
    /// The first panel among the direction's, and how many.
    pub(super) panel: usize,
    pub(super) panels: usize,
    /// Where `panel` of `direction` is in the window, and panels from one direction to the next.
    pub(super) at: usize,
    pub(super) stride: usize,
}

/// Rows of a table by token, as they are bound.
pub(super) struct Table {
    pub(super) window: Window,
    pub(super) direction: usize,
    pub(super) directions: usize,
    /// The first token, and how many.
    pub(super) token: usize,
    pub(super) tokens: usize,
    /// Where `token` of `direction` is in the window, and rows from one direction to the next.
    pub(super) at: usize,
    pub(super) stride: usize,
}

/// The product of `rows` rows with a matrix of packed buffer `buffer`.
///
/// # Errors
///
/// Kind `Internal`, where that holds a table.
pub(super) fn product(layout: &Layout, buffer: usize, rows: usize) -> Result<Product> {
    match layout.buffers[buffer].form {
        Form::Matrix { panels, source, gates, .. } => Ok(Product { rows, depth: depth(source), panels, gates }),
        Form::Table { .. } => Err(Error::internal(format!("{}: expected a matrix", layout.buffers[buffer].name))),
    }
}

/// The rows of a direction of the table in packed buffer `buffer`, and their width.
///
/// # Errors
///
/// Kind `Internal`, where that holds a matrix.
pub(super) fn table(layout: &Layout, buffer: usize) -> Result<(usize, usize)> {
    match layout.buffers[buffer].form {
        Form::Table { rows, width, .. } => Ok((rows, width)),
        Form::Matrix { .. } => Err(Error::internal(format!("{}: expected a table", layout.buffers[buffer].name))),
    }
}

/// Whether one of `later` takes the final hidden state of the recurrent layer before them.
fn finals_taken(later: &[Op]) -> bool {
    later.iter().take_while(|op| op.layers() == 0).any(|op| matches!(op.kind, OpKind::FinalHidden))
}

impl Lowering<'_> {
    pub(super) fn slot(&mut self, name: impl Into<String>, kind: SlotKind, dims: &[usize]) -> SlotId {
        let bytes = dims.iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
        self.plan.slots.push(Slot { name: name.into(), dims: dims.to_vec(), bytes, kind });
        self.plan.slots.len() - 1
    }

    /// The slot of packed buffer `buffer`.
    pub(super) fn weights(&mut self, buffer: usize) -> SlotId {
        if let Some(&slot) = self.weights.get(&buffer) {
            return slot;
        }
        self.plan.slots.push(self.weights_slot(buffer));
        let slot = self.plan.slots.len() - 1;
        self.weights.insert(buffer, slot);
        slot
    }

    /// The slot that packed buffer `buffer` would have.
    pub(super) fn weights_slot(&self, buffer: usize) -> Slot {
        let packed = &self.layout.buffers[buffer];
        let dims = match packed.form {
            Form::Matrix { matrices, panels, source, gates, extra, .. } => {
                vec![matrices, panels, depth(source) + 1 + extra, gates, LANES]
            }
            Form::Table { directions, rows, width } => vec![directions, rows, width],
        };
        let bytes = self.layout.bytes_of(packed);
        Slot { name: packed.name.clone(), dims, bytes, kind: SlotKind::Weights(buffer) }
    }

    /// The host's slots, and the hoisted gates that all layers share.
    pub(super) fn inputs(&mut self, ops: &[Op]) -> Result<()> {
        let Shape { time, batch, mask } = self.shape;
        if let Some(features) = super::input_features(self.model)? {
            let slot = self.slot("input", SlotKind::Input, &[time, batch, depth(features)]);
            self.write(Feed::Features, slot, 0, time);
        } else {
            // Those that are drawn come behind the first.
            let (rows, written) = match self.goal {
                Goal::Outputs | Goal::Frames => (time, time),
                Goal::Tokens => (time.saturating_add(1), 1),
            };
            let slot = self.slot("tokens", SlotKind::Index, &[rows, batch]);
            self.write(Feed::Tokens, slot, 0, written);
            self.tokens = Some(slot);
        }
        if self.goal == Goal::Tokens {
            let slot = self.slot("draws", SlotKind::Index, &[batch, size_of::<Draw>() / 4]);
            self.write(Feed::Draws, slot, 0, batch);
            self.draws = Some(slot);
        }
        if mask == Mask::Live {
            self.live = Some(self.mask(Feed::Live));
        }
        for op in ops {
            if let OpKind::Blank(shows) = op.kind {
                self.mask(shows.feed);
            }
        }
        let widest = ops.iter().map(Op::gates_width).filter(|&width| width > 0);
        if let Some(widest) = widest.max() {
            self.gates = Some(self.slot("gates", SlotKind::Scratch, &[self.chunk, batch, widest]));
        }
        let mut shared = Vec::new();
        for op in ops {
            if self.is_shared(op)? {
                shared.push(depth(op.features));
            }
        }
        if let Some(widest) = shared.into_iter().max() {
            let rows = self.chunk.saturating_mul(batch).saturating_add(1);
            self.exchange = Some(self.slot("exchange", SlotKind::Exchange, &[rows, widest]));
        }
        Ok(())
    }

    /// The slot of a mask, made where there is none yet.
    fn mask(&mut self, feed: Feed) -> SlotId {
        if let Some(&slot) = self.masks.get(&feed) {
            return slot;
        }
        let Shape { time, batch, .. } = self.shape;
        let (dims, rows): (&[usize], usize) =
            if feed == Feed::Seen { (&[2, time, batch], 2) } else { (&[time, batch], time) };
        let slot = self.slot(feed.to_string().replace(' ', "."), SlotKind::Index, dims);
        self.write(feed, slot, 0, rows);
        self.masks.insert(feed, slot);
        slot
    }

    /// The features that the host wrote, if it wrote features.
    pub(super) fn features(&self) -> Result<Option<Sequence>> {
        let Some(features) = super::input_features(self.model)? else { return Ok(None) };
        let input = self.plan.slots.iter().position(|slot| slot.kind == SlotKind::Input);
        let slot = needed(input, "a slot of the input")?;
        Ok(Some(Sequence { slot, first: 0, features, axis: Axis::Steps, span: Span::Whole }))
    }

    /// How much of the sequence that operation `index` gives must be there at once.
    pub(super) fn span(&self, ops: &[Op], index: usize) -> Span {
        let op = &ops[index];
        let streams = match ops.get(index + 1) {
            Some(Op { kind: OpKind::LastStep | OpKind::FinalHidden, .. }) => op.streams(),
            Some(next) => op.streams() && next.streams(),
            None => false,
        };
        if streams && op.axis == Axis::Steps && self.shape.time > self.chunk { Span::Chunk } else { Span::Whole }
    }

    /// The first of `ops` with the slots it needs, its input in `source`; the others come after it.
    pub(super) fn stage<'a>(&mut self, ops: &'a [Op], source: Option<Sequence>, span: Span) -> Result<Stage<'a>> {
        let (op, later) = ops.split_first().expect("there is an operation");
        let mut stage = Stage { op, source, result: None, memory: None, meeting: None, last: None };
        let Shape { time, batch, .. } = self.shape;
        let rows = match (op.axis, span) {
            (Axis::Rows, _) => 1,
            (Axis::Steps, Span::Whole) => time,
            (Axis::Steps, Span::Chunk) => self.chunk,
        };
        let width = depth(op.features);
        let name = match &op.kind {
            OpKind::Recurrent(r) => {
                self.recurrent_slots(&mut stage, r, span, rows, finals_taken(later));
                return Ok(stage);
            }
            OpKind::Diagonal(layers) => {
                self.diagonal_slots(&mut stage, layers, span, rows);
                return Ok(stage);
            }
            OpKind::LastStep | OpKind::FinalHidden => {
                stage.result = Some(self.selected(op, source)?);
                return Ok(stage);
            }
            OpKind::Sample => {
                stage.result = Some(self.drawn(needed(self.tokens, "a slot of tokens")?));
                return Ok(stage);
            }
            OpKind::Gather { .. } | OpKind::OneHot => "vectors",
            OpKind::Blank(_) => "blanked",
            OpKind::Merge(_) => "merged",
            OpKind::Linear { .. } => "product",
            OpKind::Rowwise { .. } => "activated",
        };
        let name = match op.stacked {
            Some(stacked) => format!("{}.{name}.{stacked}", op.layer),
            None => format!("{}.{name}", op.layer),
        };
        let slot = self.slot(name, SlotKind::Scratch, &[rows, batch, width]);
        stage.result = Some(Sequence { slot, first: 0, features: op.features, axis: op.axis, span });
        Ok(stage)
    }

    fn recurrent_slots(&mut self, stage: &mut Stage<'_>, r: &Recurrence, span: Span, rows: usize, taken: bool) {
        let batch = self.shape.batch;
        let (layer, features, width) = (stage.op.layer, stage.op.features, depth(stage.op.features));
        // The initial state is in the row before the outputs; a reverse direction starts from the row past them.
        let first = usize::from(r.walks[0] != Walk::Reverse);
        let hidden = self.slot(
            format!("{layer}.hidden.{}", r.stacked),
            SlotKind::Scratch,
            &[rows.saturating_add(r.directions), batch, width],
        );
        let (stack, stacked) = (r.stack, r.stacked);
        for walk in &r.walks[..r.directions] {
            let row = if *walk == Walk::Reverse { rows.saturating_add(first) } else { 0 };
            self.write(Feed::Hidden { stack, layer: stacked }, hidden, row, 1);
        }
        if r.directions == 2 && taken {
            let meeting = self.slot(format!("{layer}.final.{stacked}"), SlotKind::Scratch, &[1, batch, width]);
            stage.meeting = Some(meeting);
        }
        if r.memory_rows() > 0 {
            let memory = self.slot(
                format!("{layer}.memory.{stacked}"),
                SlotKind::Scratch,
                &[r.memory_rows(), batch, r.directions * r.units()],
            );
            if r.cell.states() == 2 {
                self.write(Feed::Memory { stack, layer: stacked }, memory, 0, 1);
            }
            stage.memory = Some(memory);
        }
        let sequence = Sequence { slot: hidden, first, features, axis: Axis::Steps, span };
        let last = match (stage.meeting, r.walks[0]) {
            (Some(slot), _) => Sequence { slot, first: 0, ..sequence },
            (None, Walk::Reverse) => sequence,
            (None, _) => Sequence { first: first + self.last_row(sequence), ..sequence },
        };
        stage.result = Some(sequence);
        stage.last = Some(last);
        self.last_final = Some(Sequence { axis: Axis::Rows, span: Span::Whole, ..last });
    }

    /// Two rows of each layer's states, which take turns; the outputs are the last layer's alone.
    fn diagonal_slots(&mut self, stage: &mut Stage<'_>, layers: &[Recurrence], span: Span, rows: usize) {
        let (batch, layer, features) = (self.shape.batch, stage.op.layer, stage.op.features);
        let (width, stacked) = (depth(features), layers[0].stacked);
        let dims = [2 * layers.len(), batch, width];
        let hidden = self.slot(format!("{layer}.hidden.{stacked}"), SlotKind::Scratch, &dims);
        for (index, r) in layers.iter().enumerate() {
            self.write(Feed::Hidden { stack: r.stack, layer: r.stacked }, hidden, 2 * index, 1);
        }
        if layers[0].memory_rows() > 0 {
            let memory = self.slot(format!("{layer}.memory.{stacked}"), SlotKind::Scratch, &dims);
            for (index, r) in layers.iter().enumerate() {
                self.write(Feed::Memory { stack: r.stack, layer: r.stacked }, memory, 2 * index, 1);
            }
            stage.memory = Some(memory);
        }
        let output = self.slot(format!("{layer}.output.{stacked}"), SlotKind::Scratch, &[rows, batch, width]);
        let sequence = Sequence { slot: output, first: 0, features, axis: Axis::Steps, span };
        let first = 2 * (layers.len() - 1) + self.shape.time % 2;
        let last = Sequence { slot: hidden, first, features, axis: Axis::Rows, span: Span::Whole };
        stage.result = Some(sequence);
        stage.last = Some(last);
        self.last_final = Some(last);
    }

    /// The one row of the batch that a selection gives: a view of a slot that is there already.
    fn selected(&self, op: &Op, source: Option<Sequence>) -> Result<Sequence> {
        let source = source.ok_or_else(|| Error::new(ErrorKind::Model, "select: there is no sequence before it"))?;
        if matches!(op.kind, OpKind::LastStep) {
            let first = source.first + self.last_row(source);
            return Ok(Sequence { first, axis: Axis::Rows, span: Span::Whole, ..source });
        }
        self.last_final
            .ok_or_else(|| Error::new(ErrorKind::Model, "final_hidden: there is no recurrent layer before it"))
    }

    /// The row of the last step, counted from the first.
    pub(super) fn last_row(&self, sequence: Sequence) -> usize {
        match sequence.span {
            Span::Whole => self.shape.time - 1,
            Span::Chunk => (self.shape.time - 1) % self.chunk,
        }
    }

    /// Bytes of a row `[B][width]` of a slot.
    pub(super) fn row_bytes(&self, slot: SlotId) -> u64 {
        self.plan.slots[slot].dims[1..].iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64))
    }

    /// All of a slot.
    pub(super) fn whole(&self, slot: SlotId) -> Window {
        Window { slot, offset: 0, bytes: self.plan.slots[slot].bytes }
    }

    /// Rows `first .. first + rows` of a slot, and the row that the window starts at.
    ///
    /// A call in one chunk binds whole slots, and so does a slot that holds one chunk: one bind group serves all
    /// dispatches. Otherwise each chunk binds its own rows: the params of all chunks are then the same.
    pub(super) fn rows(&self, sequence: Sequence, first: usize, rows: usize) -> (Window, usize) {
        let in_one = sequence.axis == Axis::Steps && self.shape.time == self.chunk;
        if in_one || sequence.span == Span::Chunk {
            return (self.whole(sequence.slot), 0);
        }
        let start = first / CHUNK_ALIGN * CHUNK_ALIGN;
        let bytes = self.row_bytes(sequence.slot);
        let window =
            Window { slot: sequence.slot, offset: start as u64 * bytes, bytes: (first + rows - start) as u64 * bytes };
        (window, start)
    }

    /// Whether slots can be bound whole, so that both directions of a layer can be in one dispatch.
    pub(super) fn fit_whole(&self, slots: &[SlotId]) -> bool {
        slots.iter().all(|&slot| self.plan.slots[slot].bytes <= self.limits.binding_bytes)
    }

    /// The panels of a packed matrix, in as few windows as the binding limit allows, for the directions of a side.
    pub(super) fn panels(&mut self, matrix: Place, first: usize, directions: usize) -> Result<Vec<Panels>> {
        let slot = self.weights(matrix.buffer);
        let form = self.layout.buffers[matrix.buffer].form;
        let Product { panels, .. } = product(self.layout, matrix.buffer, 0)?;
        let panel_bytes = self.layout.panel_bytes(form);
        if self.layout.medium_of(matrix.buffer) == Medium::Texture || self.fit_whole(&[slot]) {
            let window = self.whole(slot);
            return Ok(vec![Panels {
                window,
                direction: first,
                directions,
                panel: 0,
                panels,
                at: (matrix.first + first) * panels,
                stride: panels,
            }]);
        }
        let mut windows = Vec::new();
        let (fit, aligned) = self.cuts(panel_bytes);
        for direction in first..first + directions {
            let base = (matrix.first + direction) * panels;
            let mut panel = 0;
            while panel < panels {
                let start = (base + panel) / aligned * aligned;
                // One panel at least: where even that is too much, `check` refuses the plan.
                let end = (start + fit).min(base + panels).max(base + panel + 1);
                windows.push(Panels {
                    window: Window {
                        slot,
                        offset: start as u64 * panel_bytes,
                        bytes: (end - start) as u64 * panel_bytes,
                    },
                    direction,
                    directions: 1,
                    panel,
                    panels: end - base - panel,
                    at: base + panel - start,
                    stride: 0,
                });
                panel = end - base;
            }
        }
        Ok(windows)
    }

    /// The rows of a packed table, in as few windows as the binding limit allows, for `directions` directions from `first`
    /// on.
    pub(super) fn table(&mut self, buffer: usize, first: usize, directions: usize) -> Result<Vec<Table>> {
        let slot = self.weights(buffer);
        let (rows, width) = table(self.layout, buffer)?;
        if self.fit_whole(&[slot]) {
            let window = self.whole(slot);
            let at = first * rows;
            return Ok(vec![Table { window, direction: first, directions, token: 0, tokens: rows, at, stride: rows }]);
        }
        let row_bytes = width as u64 * self.layout.storage.of_tables().bytes();
        let (fit, aligned) = self.cuts(row_bytes);
        let mut windows = Vec::new();
        for direction in first..first + directions {
            let (base, mut row) = (direction * rows, 0);
            while row < rows {
                let start = (base + row) / aligned * aligned;
                let end = (start + fit).min(base + rows).max(base + row + 1);
                windows.push(Table {
                    window: Window { slot, offset: start as u64 * row_bytes, bytes: (end - start) as u64 * row_bytes },
                    direction,
                    directions: 1,
                    token: row,
                    tokens: end - base - row,
                    at: base + row - start,
                    stride: 0,
                });
                row = end - base;
            }
        }
        Ok(windows)
    }

    /// How pieces of `bytes` are cut into windows: how many fit one, and the multiples of how many start one.
    fn cuts(&self, bytes: u64) -> (usize, usize) {
        let fit = usize::try_from(self.limits.binding_bytes / bytes).unwrap_or(usize::MAX);
        // The alignment is a power of two, and so is what of it `bytes` lack.
        let aligned = WINDOW_ALIGN >> bytes.trailing_zeros().min(WINDOW_ALIGN.trailing_zeros());
        (fit, usize::try_from(aligned).expect("at most the alignment"))
    }
}
