//! Slots: which buffers a plan has, and the windows of them that a dispatch binds.

use super::ops::{Axis, Begin, Op, OpKind, Ops, Recurrence, Sequence, Source, Span};
use super::walk::Walk;
use super::{CHUNK_ALIGN, HostInput, Lowering, Use, needed};
use crate::error::{Error, Result};
use crate::kernel::{Draw, LANES, Mask, Medium};
use crate::layout::{Form, Layout, Place, depth};
use crate::model::{Features, Flow, State};
use crate::plan::tune::Product;
use crate::plan::{Feed, Goal, Shape, Slot, SlotId, SlotKind, WINDOW_ALIGN, Window};

/// An operation with its slots.
pub(super) struct Stage<'a> {
    pub(super) op: &'a Op,
    /// The first value that it takes, where it is one of features.
    pub(super) source: Option<Sequence>,
    /// All of them.
    pub(super) sources: Vec<Sequence>,
    /// The tokens that it takes.
    pub(super) tokens: Option<SlotId>,
    pub(super) result: Option<Sequence>,
    /// Whether something takes the result chunk by chunk.
    pub(super) in_group: bool,
    /// What its states begin with, hidden and cell, where the host does not write it.
    pub(super) begin: [Option<Sequence>; 2],
    /// What a recurrent layer keeps beside its hidden state.
    pub(super) memory: Option<SlotId>,
    /// Where the final hidden states of two directions meet, if something takes them both.
    pub(super) meeting: Option<SlotId>,
    /// Where the final hidden state of a recurrent layer is.
    pub(super) last: Option<Sequence>,
    /// Where its final cell state is.
    pub(super) last_cell: Option<Sequence>,
}

impl Axis {
    /// The number of its rows of the batch.
    pub(super) fn time(self, shape: Shape) -> usize {
        match self {
            Self::Steps(clock) => shape.steps(clock).time,
            Self::Rows => 1,
        }
    }
}

impl Stage<'_> {
    /// The length of the time axis that the stage runs over.
    pub(super) fn time(&self, shape: Shape) -> usize {
        self.op.axis.time(shape)
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

impl Lowering<'_> {
    pub(super) fn slot(&mut self, name: impl Into<String>, kind: SlotKind, dims: &[usize]) -> SlotId {
        let bytes = dims.iter().fold(4, |bytes: u64, &n| bytes.saturating_mul(n as u64));
        let name = self.free_name(name.into());
        self.plan.slots.push(Slot { name, dims: dims.to_vec(), bytes, kind });
        self.plan.slots.len() - 1
    }

    /// `name`, or that and a number where a slot has it already: a layer may take several last outputs.
    fn free_name(&self, name: String) -> String {
        let taken = |name: &str| self.plan.slots.iter().any(|slot| slot.name == name);
        let mut numbered = (2..).map(|number| format!("{name}.{number}"));
        if taken(&name) { numbered.find(|name| !taken(name)).expect("there are more numbers than slots") } else { name }
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
    pub(super) fn inputs(&mut self, all: &Ops) -> Result<()> {
        let (ops, batch) = (&all.ops, self.shape.batch);
        let main = self.model.main_input();
        for (index, input) in self.model.all_inputs()?.into_iter().enumerate() {
            let clock = all.inputs.get(index).copied().flatten();
            let axis = clock.map_or(Axis::Rows, Axis::Steps);
            let input = input.kind.flow().map(|flow| self.host_input(index, index == main, flow, axis));
            self.inputs.push(input);
        }
        if self.goal == Goal::Tokens {
            let slot = self.slot("draws", SlotKind::Index, &[batch, size_of::<Draw>() / 4]);
            self.write(Feed::Draws, slot, 0, batch);
            self.draws = Some(slot);
        }
        if self.shape.mask == Mask::Live {
            self.mask(Feed::Live(0));
        }
        for op in ops {
            match &op.kind {
                OpKind::Blank(shows) => drop(self.mask(shows.feed)),
                OpKind::Recurrent(r) => self.mask_of(r),
                OpKind::Diagonal(layers) => self.mask_of(&layers[0]),
                _ => {}
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

    /// The slot of input `index` of the model.
    fn host_input(&mut self, index: usize, is_main: bool, flow: Flow, axis: Axis) -> HostInput {
        let (time, batch) = (axis.time(self.shape), self.shape.batch);
        let named = |name: &str| if is_main { name.to_owned() } else { format!("{name}.{index}") };
        let (Flow::Steps(features) | Flow::Rows(features)) = flow else {
            // Those that are drawn come behind the first.
            let (rows, written) = match self.goal {
                Goal::Outputs | Goal::Frames => (time, time),
                Goal::Tokens => (time.saturating_add(1), 1),
            };
            let slot = self.slot(named("tokens"), SlotKind::Index, &[rows, batch]);
            self.write(if is_main { Feed::Tokens } else { Feed::Other(index) }, slot, 0, written);
            return HostInput::Tokens(slot);
        };
        let slot = self.slot(named("input"), SlotKind::Input, &[time, batch, depth(features)]);
        self.write(if is_main { Feed::Features } else { Feed::Other(index) }, slot, 0, time);
        HostInput::Features(Sequence { slot, first: 0, features, axis, span: Span::Whole })
    }

    /// The features in `source`, where it has features.
    fn sequence(&self, source: Source, stages: &[Stage<'_>]) -> Option<Sequence> {
        match source {
            Source::Op(op) => stages[op].result,
            Source::Input(input) => match self.inputs.get(input).copied().flatten()? {
                HostInput::Features(sequence) => Some(sequence),
                HostInput::Tokens(_) => None,
            },
        }
    }

    /// The slot of a mask, made where there is none yet.
    fn mask(&mut self, feed: Feed) -> SlotId {
        if let Some(&slot) = self.masks.get(&feed) {
            return slot;
        }
        let (time, batch) = (self.shape.steps(feed.clock()).time, self.shape.batch);
        let (dims, rows): (&[usize], usize) = match feed {
            Feed::Seen(_) => (&[2, time, batch], 2),
            _ => (&[time, batch], time),
        };
        let slot = self.slot(feed.to_string().replace(' ', "."), SlotKind::Index, dims);
        self.write(feed, slot, 0, rows);
        self.masks.insert(feed, slot);
        slot
    }

    /// The slot of the mask that a recurrent layer goes by, where it goes by one.
    fn mask_of(&mut self, r: &Recurrence) {
        if self.shape.steps(r.clock).mask == Mask::Live {
            self.mask(Feed::Live(r.clock));
        }
    }

    /// The slot of the mask by `clock`, where rows differ in their steps.
    pub(super) fn live(&self, clock: usize) -> Option<SlotId> {
        let masked = self.shape.steps(clock).mask == Mask::Live;
        self.masks.get(&Feed::Live(clock)).copied().filter(|_| masked)
    }

    /// `op` with the slots it needs; `stages` are those before it.
    pub(super) fn stage<'a>(&mut self, op: &'a Op, used: Use, stages: &[Stage<'_>]) -> Result<Stage<'a>> {
        let time = op.axis.time(self.shape);
        let by_chunk = used.by_chunk && op.streams() && op.axis != Axis::Rows && time > self.chunk;
        let span = if by_chunk { Span::Chunk } else { Span::Whole };
        let sources: Vec<Sequence> = op.from.iter().filter_map(|&source| self.sequence(source, stages)).collect();
        let tokens = op.from.first().and_then(|source| match source {
            Source::Input(input) => self.inputs.get(*input).copied().flatten(),
            Source::Op(_) => None,
        });
        let mut stage = Stage {
            op,
            source: sources.first().copied(),
            sources,
            tokens: tokens.and_then(|input| if let HostInput::Tokens(slot) = input { Some(slot) } else { None }),
            result: None,
            in_group: used.in_group,
            begin: [None; 2],
            memory: None,
            meeting: None,
            last: None,
            last_cell: None,
        };
        let batch = self.shape.batch;
        let rows = match span {
            Span::Whole => time,
            Span::Chunk => self.chunk,
        };
        let width = depth(op.features);
        let name = match &op.kind {
            OpKind::Recurrent(r) => {
                for (begin, of) in stage.begin.iter_mut().zip(r.begin) {
                    *begin = of.map(|of| self.begin_of(of, stages)).transpose()?;
                }
                self.recurrent_slots(&mut stage, r, span, rows, used.finals);
                return Ok(stage);
            }
            OpKind::Diagonal(layers) => {
                self.diagonal_slots(&mut stage, layers, span, rows);
                return Ok(stage);
            }
            OpKind::LastStep | OpKind::Final(_) => {
                stage.result = Some(self.selected(&stage, stages)?);
                return Ok(stage);
            }
            OpKind::Sample => {
                stage.result = Some(self.drawn(self.main_tokens()?));
                return Ok(stage);
            }
            OpKind::Gather { .. } | OpKind::OneHot => "vectors",
            OpKind::Blank(_) => "blanked",
            OpKind::Merge(_) => "merged",
            OpKind::Linear { .. } => "product",
            OpKind::Rowwise { .. } => "activated",
            OpKind::Join(_) => "joined",
            OpKind::Slice(_) => "slice",
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
        let all = rows.saturating_add(r.directions);
        let hidden = self.slot(format!("{layer}.hidden.{}", r.stacked), SlotKind::Scratch, &[all, batch, width]);
        let (stack, stacked) = (r.stack, r.stacked);
        if stage.begin[0].is_none() {
            for walk in &r.walks[..r.directions] {
                self.write(Feed::Hidden { stack, layer: stacked }, hidden, walk.initial_row(all), 1);
            }
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
            if r.cell.states() == 2 && stage.begin[1].is_none() {
                self.write(Feed::Memory { stack, layer: stacked }, memory, 0, 1);
            }
            stage.memory = Some(memory);
            let size = r.hidden_size;
            stage.last_cell = (r.cell.states() == 2).then_some(Sequence {
                slot: memory,
                first: stage.time(self.shape) % 2,
                features: Features { parts: r.directions, size },
                axis: Axis::Rows,
                span: Span::Whole,
            });
        }
        let sequence = Sequence { slot: hidden, first, features, axis: stage.op.axis, span };
        let last = match (stage.meeting, r.walks[0]) {
            (Some(slot), _) => Sequence { slot, first: 0, ..sequence },
            (None, Walk::Reverse) => sequence,
            (None, _) => Sequence { first: first + self.last_row(sequence), ..sequence },
        };
        stage.result = Some(sequence);
        stage.last = Some(Sequence { axis: Axis::Rows, span: Span::Whole, ..last });
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
        let sequence = Sequence { slot: output, first: 0, features, axis: stage.op.axis, span };
        let first = 2 * (layers.len() - 1) + stage.time(self.shape) % 2;
        let last = Sequence { slot: hidden, first, features, axis: Axis::Rows, span: Span::Whole };
        stage.result = Some(sequence);
        stage.last = Some(last);
        stage.last_cell = stage.memory.map(|slot| Sequence { slot, ..last });
    }

    /// The one row of the batch that a selection gives: a view of a slot that is there already.
    fn selected(&self, stage: &Stage<'_>, stages: &[Stage<'_>]) -> Result<Sequence> {
        if matches!(stage.op.kind, OpKind::LastStep) {
            let source = needed(stage.source, "a sequence to select of")?;
            let first = source.first + self.last_row(source);
            return Ok(Sequence { first, axis: Axis::Rows, span: Span::Whole, ..source });
        }
        match (&stage.op.kind, &stage.op.from[..]) {
            (OpKind::Final(State::Hidden), &[Source::Op(op)]) => needed(stages[op].last, "a final hidden state"),
            (OpKind::Final(State::Cell), &[Source::Op(op)]) => needed(stages[op].last_cell, "a final cell state"),
            _ => Err(Error::internal("a final state: expected a recurrent layer that it is of, got none")),
        }
    }

    /// The row that a state begins with.
    fn begin_of(&self, begin: Begin, stages: &[Stage<'_>]) -> Result<Sequence> {
        let row = match begin {
            Begin::Row(source) => self.sequence(source, stages),
            Begin::Final(op, State::Hidden) => stages[op].last,
            Begin::Final(op, State::Cell) => stages[op].last_cell,
        };
        needed(row, "a value that a state begins with")
    }

    /// The slot of the tokens that the model takes.
    pub(super) fn main_tokens(&self) -> Result<SlotId> {
        match self.inputs.get(self.model.main_input()).copied().flatten() {
            Some(HostInput::Tokens(slot)) => Ok(slot),
            _ => Err(Error::internal("a plan: expected a slot of tokens, got none")),
        }
    }

    /// The row of the last step, counted from the first.
    pub(super) fn last_row(&self, sequence: Sequence) -> usize {
        let last = sequence.axis.time(self.shape) - 1;
        match sequence.span {
            Span::Whole => last,
            Span::Chunk => last % self.chunk,
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
        let in_one = sequence.axis != Axis::Rows && sequence.axis.time(self.shape) <= self.chunk;
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
