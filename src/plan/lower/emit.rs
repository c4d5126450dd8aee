//! Dispatches: what each operation does with a chunk of time.

use super::ops::{Axis, Input, OpKind, Recurrence, Sequence, Span};
use super::slots::{Panels, Stage};
use super::{Chunk, Lowering};
use crate::cell::{Activation, Cell, Reset, Variant};
use crate::kernel::{Kernel, LANES, Mask, Params, Program, StateKind, WORKGROUP};
use crate::layout::{Form, depth};
use crate::plan::tune::Product;
use crate::plan::{Fetch, SlotId, Window};

/// The value of each direction of a dispatch, as a pair of `Params`: 0 for a direction that is not in it.
fn pair(first: usize, directions: usize, of: impl Fn(usize) -> usize) -> (u32, u32) {
    (word(of(first)), if directions == 2 { word(of(first + 1)) } else { 0 })
}

/// A size as `Params` hold it. One past 32 bits saturates: no slot is that large, so `check` refuses the plan.
fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl Lowering<'_> {
    /// The dispatches of `stage` for `chunk`.
    pub(super) fn emit(&mut self, stage: &Stage<'_>, chunk: Chunk) {
        let (Some(result), source) = (stage.result, stage.source) else { return };
        match (&stage.op.kind, source) {
            (OpKind::Recurrent(r), _) => self.recurrent(stage, r, result, chunk),
            (OpKind::Gather { buffer }, _) => {
                let to = self.row_of(result, chunk, 0);
                let (window, base) = self.rows(result, to, chunk.len);
                let batch = self.shape.batch;
                self.gather(*buffer, chunk.start * batch, window, (to - base) * batch, 0, chunk.len * batch);
            }
            (OpKind::OneHot, _) => self.one_hot(result, chunk),
            (OpKind::Linear { buffer, activation }, Some(source)) => {
                self.linear(*buffer, *activation, source, result, chunk);
            }
            (OpKind::Blank, Some(source)) => self.rowwise(Program::plain(Kernel::Blank), source, result, chunk),
            (OpKind::Rowwise { kernel, activation }, Some(source)) => {
                let program = Program { activation: *activation, ..Program::plain(*kernel) };
                self.rowwise(program, source, result, chunk);
            }
            (OpKind::LastStep | OpKind::FinalHidden, _) | (_, None) => {}
        }
    }

    /// The row of step `chunk.start + step` of a sequence in its slot.
    fn row_of(&self, sequence: Sequence, chunk: Chunk, step: usize) -> usize {
        match (sequence.axis, sequence.span) {
            (Axis::Steps, Span::Whole) => sequence.first + chunk.start + step,
            (Axis::Steps, Span::Chunk) | (Axis::Rows, _) => sequence.first + step,
        }
    }

    /// The tile-high pieces of `rows` rows that a grid's y can hold: first row and count.
    fn pieces(&self, rows: usize, tile_rows: u32) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = (self.limits.workgroups as usize).saturating_mul(tile_rows as usize);
        (0..rows).step_by(most).map(move |first| (first, most.min(rows - first)))
    }

    /// What the host reads of `stage` after its last chunk.
    pub(super) fn finals(&mut self, stage: &Stage<'_>) {
        let (OpKind::Recurrent(r), Some(hidden), Some(last)) = (&stage.op.kind, stage.result, stage.last) else {
            return;
        };
        if let Some(meeting) = stage.meeting {
            // Forward ends in the row of the last step, reverse in that of the first.
            let units = depth(stage.op.features) / r.directions;
            let params = Params {
                rows: word(self.shape.batch),
                batch: word(self.shape.batch),
                directions: 2,
                units: word(units),
                source_0: word(self.shape.time),
                source_1: 1,
                ..Params::default()
            };
            if self.fit_whole(&[hidden.slot]) {
                let windows = vec![self.whole(hidden.slot), self.whole(meeting)];
                self.pick(params, windows, 2);
            } else {
                self.pick_apart(params, hidden, meeting);
            }
        }
        let (stack, layer) = (r.stack, r.stacked);
        self.read(Fetch::Hidden { stack, layer }, last.slot, last.first, 1);
        if let (Some(memory), 2) = (stage.memory, r.cell.states()) {
            self.read(Fetch::Memory { stack, layer }, memory, self.shape.time % 2, 1);
        }
    }

    fn pick(&mut self, params: Params, windows: Vec<Window>, directions: usize) {
        let grid = [lanes(params.units as usize), self.shape.batch, directions];
        self.dispatch(Program::plain(Kernel::Pick), params, grid, windows);
    }

    /// The final hidden state of both directions where the sequence does not fit one binding.
    fn pick_apart(&mut self, params: Params, hidden: Sequence, meeting: SlotId) {
        for (direction, row) in [self.shape.time, 1].into_iter().enumerate() {
            let (window, base) = self.rows(hidden, row, 1);
            let params = Params { direction: word(direction), source_0: word(row - base), source_1: 0, ..params };
            let windows = vec![window, self.whole(meeting)];
            self.pick(params, windows, 1);
        }
    }

    /// Rows of a table, by the tokens from `source` on.
    fn gather(&mut self, buffer: usize, source: usize, result: Window, target: usize, direction: usize, rows: usize) {
        let Some(tokens) = self.tokens else { return };
        let Form::Table { width, .. } = self.layout.buffers[buffer].form else { return };
        let tokens = self.whole(tokens);
        for (window, token, count, at) in self.table(buffer, direction) {
            for (first, rows) in self.pieces(rows, 1) {
                let params = Params {
                    rows: word(rows),
                    units: word(width),
                    weight_panel: word(at),
                    source_0: word(source + first),
                    target_0: word(target + first),
                    token: word(token),
                    tokens: word(count),
                    ..Params::default()
                };
                let program = Program { storage: self.layout.storage, ..Program::plain(Kernel::Gather) };
                self.dispatch(program, params, [lanes(width), rows, 1], vec![window, tokens, result]);
            }
        }
    }

    fn one_hot(&mut self, result: Sequence, chunk: Chunk) {
        let Some(tokens) = self.tokens else { return };
        let (batch, units) = (self.shape.batch, depth(result.features));
        let to = self.row_of(result, chunk, 0);
        let (window, base) = self.rows(result, to, chunk.len);
        for (first, rows) in self.pieces(chunk.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                units: word(units),
                source_0: word(chunk.start * batch + first),
                target_0: word((to - base) * batch + first),
                ..Params::default()
            };
            let windows = vec![self.whole(tokens), window];
            self.dispatch(Program::plain(Kernel::OneHot), params, [lanes(units), rows, 1], windows);
        }
    }

    fn linear(&mut self, buffer: usize, activation: Activation, source: Sequence, result: Sequence, chunk: Chunk) {
        let batch = self.shape.batch;
        let (read, written) = (self.row_of(source, chunk, 0), self.row_of(result, chunk, 0));
        let (source, source_base) = self.rows(source, read, chunk.len);
        let (result, result_base) = self.rows(result, written, chunk.len);
        let product = HoistedProduct {
            buffer,
            cell: None,
            activation,
            rows: chunk.len * batch,
            source,
            sources: [(read - source_base) * batch; 2],
            result,
            targets: [(written - result_base) * batch; 2],
        };
        self.project(&product, 0, 1);
    }

    /// `Blank`, `Softmax`, `Activate`: a row in, a row out.
    fn rowwise(&mut self, program: Program, source: Sequence, result: Sequence, chunk: Chunk) {
        let batch = self.shape.batch;
        let features = result.features;
        let (read, written) = (self.row_of(source, chunk, 0), self.row_of(result, chunk, 0));
        let (source, source_base) = self.rows(source, read, chunk.len);
        let (result, result_base) = self.rows(result, written, chunk.len);
        let live = (program.kernel == Kernel::Blank).then_some(self.live).flatten();
        for (first, rows) in self.pieces(chunk.len * batch, 1) {
            let units = depth(features) / features.parts;
            let params = Params {
                rows: word(rows),
                directions: word(features.parts),
                units: word(units),
                features: word(features.size),
                source_0: word((read - source_base) * batch + first),
                target_0: word((written - result_base) * batch + first),
                live_0: word(chunk.start * batch + first),
                ..Params::default()
            };
            let mut windows = vec![source];
            windows.extend(live.map(|slot| self.whole(slot)));
            windows.push(result);
            let x = if program.kernel == Kernel::Softmax { 1 } else { lanes(depth(features)) };
            self.dispatch(program, params, [x, rows, 1], windows);
        }
    }

    /// The hoisted product of `directions` directions from `first` on.
    fn project(&mut self, product: &HoistedProduct, first: usize, directions: usize) {
        let Form::Matrix { panels: all, source, gates, .. } = self.layout.buffers[product.buffer].form else { return };
        for panels in self.panels(product.buffer, first, directions) {
            let size = Product { rows: product.rows, depth: depth(source), panels: all * directions, gates };
            let tile = self.tuning.project(size);
            let tile_rows = tile.rows * tile.slices;
            for (row, rows) in self.pieces(product.rows, tile_rows) {
                let (source_0, source_1) = pair(panels.direction, panels.directions, |d| product.sources[d] + row);
                let (target_0, target_1) = pair(panels.direction, panels.directions, |d| product.targets[d] + row);
                let params = Params {
                    rows: word(rows),
                    depth: word(depth(source)),
                    units: word(all * gates * LANES),
                    source_0,
                    source_1,
                    target_0,
                    target_1,
                    ..panels.params()
                };
                let program = Program {
                    cell: product.cell,
                    storage: self.layout.storage,
                    activation: product.activation,
                    tile,
                    ..Program::plain(Kernel::Project)
                };
                let grid = [
                    panels.panels.div_ceil(tile.panels as usize),
                    rows.div_ceil(tile_rows as usize),
                    panels.directions,
                ];
                self.dispatch(program, params, grid, vec![panels.window, product.source, product.result]);
            }
        }
    }

    fn recurrent(&mut self, stage: &Stage<'_>, r: &Recurrence, hidden: Sequence, chunk: Chunk) {
        let bound: Vec<SlotId> = stage.source.map(|source| source.slot).into_iter().chain([hidden.slot]).collect();
        // Both directions go in one dispatch where one binding reaches the rows of both.
        let sides: &[(usize, usize)] = match r.directions {
            1 => &[(0, 1)],
            _ if self.fit_whole(&bound) => &[(0, 2)],
            _ => &[(0, 1), (1, 1)],
        };
        for &(first, directions) in sides {
            self.hoisted(stage, r, chunk, first, directions);
        }
        for step in 0..chunk.len {
            for &(first, directions) in sides {
                self.timestep(stage, r, hidden, chunk, step, first, directions);
            }
        }
    }

    /// The input product of a chunk, into the gates.
    fn hoisted(&mut self, stage: &Stage<'_>, r: &Recurrence, chunk: Chunk, first: usize, directions: usize) {
        let Some(gates) = self.gates else { return };
        let (time, batch) = (self.shape.time, self.shape.batch);
        let gates = self.whole(gates);
        let targets = [0, chunk.len * batch];
        // The reverse direction takes its chunk from the end.
        let starts = [chunk.start, time - chunk.start - chunk.len];
        match (r.input, stage.source) {
            (Input::Table(buffer), _) => {
                for d in first..first + directions {
                    self.gather(buffer, starts[d] * batch, gates, targets[d], d, chunk.len * batch);
                }
            }
            (Input::Matrix(buffer), Some(source)) => {
                let row = |d: usize| match source.span {
                    Span::Whole => source.first + starts[d],
                    Span::Chunk => source.first,
                };
                let (window, base) = if directions == 2 {
                    (self.whole(source.slot), 0)
                } else {
                    self.rows(source, row(first), chunk.len)
                };
                let product = HoistedProduct {
                    buffer,
                    cell: Some(r.cell),
                    activation: Activation::Linear,
                    rows: chunk.len * batch,
                    source: window,
                    sources: [0, 1].map(|d| row(d).saturating_sub(base) * batch),
                    result: gates,
                    targets,
                };
                self.project(&product, first, directions);
            }
            (Input::Matrix(_), None) => {}
        }
    }

    #[allow(clippy::too_many_arguments, reason = "a timestep is the meeting of all of them")]
    fn timestep(
        &mut self,
        stage: &Stage<'_>,
        r: &Recurrence,
        hidden: Sequence,
        chunk: Chunk,
        step: usize,
        first: usize,
        directions: usize,
    ) {
        let Some(gates) = self.gates else { return };
        let (time, batch) = (self.shape.time, self.shape.batch);
        let (window, base) = self.hidden_window(hidden, chunk, first, directions);
        let t = chunk.start + step;
        let rows = |d: usize| match (d, hidden.span) {
            (0, Span::Whole) => (t - base, t + 1 - base),
            // The slot holds one chunk: its first step reads the last row of the chunk before.
            (0, Span::Chunk) => (if step == 0 && chunk.index > 0 { self.chunk } else { step }, step + 1),
            // Reverse: rows counted down from the initial state, past the end.
            _ => (time + 1 - t - base, time - t - base),
        };
        let (source_0, source_1) = pair(first, directions, |d| rows(d).0);
        let (target_0, target_1) = pair(first, directions, |d| rows(d).1);
        let (gates_0, gates_1) = pair(first, directions, |d| if d == 0 { step } else { 2 * chunk.len - 1 - step });
        let masked = self.shape.mask == Mask::Live;
        let (live_0, live_1) = pair(first, directions, |d| match (masked, d) {
            (false, _) => 0,
            (true, 0) => t,
            (true, _) => time - 1 - t,
        });
        let params = Params {
            rows: word(batch),
            batch: word(batch),
            directions: word(r.directions),
            source_0,
            source_1,
            target_0,
            target_1,
            gates_0,
            gates_1,
            live_0,
            live_1,
            memory_in: word(t % 2),
            memory_out: word((t + 1) % 2),
            ..Params::default()
        };
        let program = Program {
            cell: Some(r.cell),
            variant: r.variants[first],
            storage: self.layout.storage,
            mask: self.shape.mask,
            ..Program::plain(Kernel::Step)
        };
        let gates = self.whole(gates);
        let memory = stage.memory.map(|slot| self.whole(slot));
        let live = self.live.map(|slot| self.whole(slot));
        let mut half = |program: Program, buffer, windows: Vec<Option<Window>>| {
            self.step_half(program, params, buffer, first, directions, windows.into_iter().flatten().collect());
        };
        match (r.cell, r.projection) {
            (Cell::Gru(Reset::Before), _) => {
                let reset = Program { kernel: Kernel::StepReset, mask: Mask::All, ..program };
                half(reset, r.hidden[0], vec![Some(gates), Some(window), memory]);
                let new = Program { kernel: Kernel::StepNew, ..program };
                half(new, r.hidden[1], vec![Some(gates), live, memory, Some(window)]);
            }
            (_, Some(projection)) => {
                let step = Program { states: StateKind::Projected, ..program };
                half(step, r.hidden[0], vec![Some(gates), live, Some(window), memory]);
                let project = Program { kernel: Kernel::StepProject, cell: None, variant: Variant::NONE, ..program };
                half(project, projection, vec![memory, live, Some(window)]);
            }
            (Cell::Lstm, None) => {
                let step = Program { states: StateKind::Memory, ..program };
                half(step, r.hidden[0], vec![Some(gates), live, Some(window), memory]);
            }
            (Cell::Rnn | Cell::Gru(Reset::After), None) => {
                half(program, r.hidden[0], vec![Some(gates), live, Some(window)]);
            }
        }
    }

    /// One dispatch of a timestep for each window of its weights; `windows` are those after the weights.
    fn step_half(
        &mut self,
        program: Program,
        params: Params,
        buffer: usize,
        first: usize,
        directions: usize,
        windows: Vec<Window>,
    ) {
        let Form::Matrix { panels: all, source, gates, .. } = self.layout.buffers[buffer].form else { return };
        let size = Product { rows: self.shape.batch, depth: depth(source), panels: all * directions, gates };
        let tile = self.tuning.step(size, self.limits);
        let program = Program { tile, ..program };
        for panels in self.panels(buffer, first, directions) {
            // Values of a pair that this dispatch alone has in its first place.
            let own = if panels.direction == first { params } else { params.second() };
            let Params { direction, panel, panels: count, weight_panel, weight_panels, .. } = panels.params();
            let params = Params {
                depth: word(depth(source)),
                units: word(all * LANES),
                direction,
                panel,
                panels: count,
                weight_panel,
                weight_panels,
                ..own
            };
            let grid = [
                panels.panels.div_ceil(tile.panels as usize),
                self.shape.batch.div_ceil(tile.rows as usize),
                panels.directions,
            ];
            let mut bound = vec![panels.window];
            bound.extend(&windows);
            self.dispatch(program, params, grid, bound);
        }
    }

    /// The rows of the hidden state that the steps of a chunk touch.
    fn hidden_window(&self, hidden: Sequence, chunk: Chunk, first: usize, directions: usize) -> (Window, usize) {
        if directions == 2 {
            return (self.whole(hidden.slot), 0);
        }
        let lowest = if first == 0 { chunk.start } else { self.shape.time - chunk.start - chunk.len + 1 };
        self.rows(hidden, lowest, chunk.len + 1)
    }
}

/// A product of many rows with a packed matrix.
struct HoistedProduct {
    buffer: usize,
    /// The cell whose gates it gives; none for a linear layer.
    cell: Option<Cell>,
    activation: Activation,
    rows: usize,
    source: Window,
    /// The first row read, and the first row written, by direction.
    sources: [usize; 2],
    result: Window,
    targets: [usize; 2],
}

impl Panels {
    fn params(&self) -> Params {
        Params {
            direction: word(self.direction),
            panel: word(self.panel),
            panels: word(self.panels),
            weight_panel: word(self.at),
            weight_panels: word(self.stride),
            ..Params::default()
        }
    }
}

/// Workgroups for `elems` elements, four an invocation.
fn lanes(elems: usize) -> usize {
    elems.div_ceil(4 * WORKGROUP as usize)
}
