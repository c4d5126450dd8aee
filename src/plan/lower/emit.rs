//! Dispatches: what each operation does with a chunk of time; a recurrent layer's are in `walk`.

use super::ops::{Axis, OpKind, Sequence, Shows, Span};
use super::slots::{Panels, Stage};
use super::{Chunk, Lowering};
use crate::cell::{Activation, Cell};
use crate::kernel::{Kernel, LANES, Params, Program, WORKGROUP};
use crate::layout::{Form, Place, depth};
use crate::plan::tune::Product;
use crate::plan::{Fetch, SlotId, Window};

/// The value of each direction of a dispatch, as a pair of `Params`: 0 for a direction that is not in it.
pub(super) fn pair(first: usize, directions: usize, of: impl Fn(usize) -> usize) -> (u32, u32) {
    (word(of(first)), if directions == 2 { word(of(first + 1)) } else { 0 })
}

/// A size as `Params` hold it. One past 32 bits saturates: no slot is that large, so `check` refuses the plan.
pub(super) fn word(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl Lowering<'_> {
    /// The dispatches of `stage` for `chunk`.
    pub(super) fn emit(&mut self, stage: &Stage<'_>, chunk: Chunk) {
        let (Some(result), source) = (stage.result, stage.source) else { return };
        match (&stage.op.kind, source) {
            (OpKind::Recurrent(r), _) => self.recurrent(stage, r, result, chunk),
            (OpKind::Diagonal(layers), _) => self.diagonal(stage, layers, result, chunk),
            (OpKind::Gather { buffer }, _) => {
                let to = self.row_of(result, chunk, 0);
                let (window, base) = self.rows(result, to, chunk.len);
                let batch = self.shape.batch;
                let gather = Gather {
                    buffer: *buffer,
                    rows: chunk.len * batch,
                    sources: [chunk.start * batch; 2],
                    result: window,
                    targets: [(to - base) * batch; 2],
                };
                self.gather(&gather, 0, 1);
            }
            (OpKind::OneHot, _) => self.one_hot(result, chunk),
            (OpKind::Linear { matrix, activation }, Some(source)) => {
                self.linear(*matrix, *activation, source, result, chunk);
            }
            (OpKind::Blank(shows), Some(source)) => {
                self.rowwise(Program::plain(Kernel::Blank), source, result, chunk, Some(*shows));
            }
            (OpKind::Merge(combine), Some(source)) => {
                let program = Program { combine: *combine, ..Program::plain(Kernel::Merge) };
                self.rowwise(program, source, result, chunk, None);
            }
            (OpKind::Rowwise { kernel, activation }, Some(source)) => {
                let program = Program { activation: *activation, ..Program::plain(*kernel) };
                self.rowwise(program, source, result, chunk, None);
            }
            (OpKind::Sample, Some(source)) => self.sample(source, result, chunk),
            (OpKind::LastStep | OpKind::FinalHidden, _) | (_, None) => {}
        }
    }

    /// The row of step `chunk.start + step` of a sequence in its slot.
    pub(super) fn row_of(&self, sequence: Sequence, chunk: Chunk, step: usize) -> usize {
        match (sequence.axis, sequence.span) {
            (Axis::Steps, Span::Whole) => sequence.first + chunk.start + step,
            (Axis::Steps, Span::Chunk) => sequence.first + chunk.at + step,
            (Axis::Rows, _) => sequence.first + step,
        }
    }

    /// The tile-high pieces of `rows` rows that a grid's y can hold: first row and count.
    pub(super) fn pieces(&self, rows: usize, tile_rows: u32) -> impl Iterator<Item = (usize, usize)> + use<> {
        let most = (self.limits.workgroups as usize).saturating_mul(tile_rows as usize);
        (0..rows).step_by(most).map(move |first| (first, most.min(rows - first)))
    }

    /// What the host reads of `stage` after its last chunk.
    pub(super) fn finals(&mut self, stage: &Stage<'_>) {
        if let (OpKind::Diagonal(layers), Some(last)) = (&stage.op.kind, stage.last) {
            for (index, r) in layers.iter().enumerate() {
                let (stack, layer, row) = (r.stack, r.stacked, 2 * index + self.shape.time % 2);
                self.read(Fetch::Hidden { stack, layer }, last.slot, row, 1);
                if let Some(memory) = stage.memory {
                    self.read(Fetch::Memory { stack, layer }, memory, row, 1);
                }
            }
        }
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
        if r.directions == 2 && stage.meeting.is_none() {
            // Forward ends in the row of the last step, reverse in that of the first.
            for (direction, row) in [self.shape.time, 1].into_iter().enumerate() {
                self.read(Fetch::HiddenPart { stack, layer, direction }, hidden.slot, row, 1);
            }
        } else {
            self.read(Fetch::Hidden { stack, layer }, last.slot, last.first, 1);
        }
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

    /// Rows of the tables of `directions` directions from `first` on.
    pub(super) fn gather(&mut self, gather: &Gather, first: usize, directions: usize) {
        let Some(tokens) = self.tokens else { return };
        let Form::Table { width, .. } = self.layout.buffers[gather.buffer].form else { return };
        let tokens = self.whole(tokens);
        for table in self.table(gather.buffer, first, directions) {
            for (row, rows) in self.pieces(gather.rows, 1) {
                let (source_0, source_1) = pair(table.direction, table.directions, |d| gather.sources[d] + row);
                let (target_0, target_1) = pair(table.direction, table.directions, |d| gather.targets[d] + row);
                let params = Params {
                    rows: word(rows),
                    units: word(width),
                    weight_panel: word(table.at),
                    weight_panels: word(table.stride),
                    source_0,
                    source_1,
                    target_0,
                    target_1,
                    token: word(table.token),
                    tokens: word(table.tokens),
                    ..Params::default()
                };
                let storage = self.layout.storage.of_tables();
                let program = Program { storage, ..Program::plain(Kernel::Gather) };
                let grid = [lanes(width), rows, table.directions];
                self.dispatch(program, params, grid, vec![table.window, tokens, gather.result]);
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

    fn linear(&mut self, matrix: Place, activation: Activation, source: Sequence, result: Sequence, chunk: Chunk) {
        let batch = self.shape.batch;
        let (read, written) = (self.row_of(source, chunk, 0), self.row_of(result, chunk, 0));
        let (source, source_base) = self.rows(source, read, chunk.len);
        let (result, result_base) = self.rows(result, written, chunk.len);
        let product = HoistedProduct {
            matrix,
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

    /// `Blank`, `Merge`, `Softmax`, `Activate`: a row in, a row out. `shows` is what a `Blank` goes by.
    fn rowwise(&mut self, program: Program, source: Sequence, result: Sequence, chunk: Chunk, shows: Option<Shows>) {
        let batch = self.shape.batch;
        let features = result.features;
        let (read, written) = (self.row_of(source, chunk, 0), self.row_of(result, chunk, 0));
        let (source, source_base) = self.rows(source, read, chunk.len);
        let (result, result_base) = self.rows(result, written, chunk.len);
        let units = depth(features) / features.parts;
        let (x, z) = match program.kernel {
            Kernel::Softmax => (1, 1),
            Kernel::Blank => (lanes(units), features.parts),
            _ => (lanes(depth(features)), 1),
        };
        let live = shows.and_then(|shows| self.masks.get(&shows.feed).map(|&slot| self.whole(slot)));
        for (first, rows) in self.pieces(chunk.len * batch, 1) {
            let (live_0, live_1) = shows
                .map_or((0, 0), |shows| pair(0, features.parts, |d| (shows.rows[d] + chunk.start) * batch + first));
            let params = Params {
                rows: word(rows),
                directions: word(features.parts),
                units: word(units),
                features: word(features.size),
                source_0: word((read - source_base) * batch + first),
                target_0: word((written - result_base) * batch + first),
                live_0,
                live_1,
                ..Params::default()
            };
            let windows = [Some(source), live, Some(result)].into_iter().flatten().collect();
            self.dispatch(program, params, [x, rows, z], windows);
        }
    }

    /// The hoisted product of `directions` directions from `first` on.
    pub(super) fn project(&mut self, product: &HoistedProduct, first: usize, directions: usize) {
        let Form::Matrix { panels: all, source, gates, .. } = self.layout.buffers[product.matrix.buffer].form else {
            return;
        };
        for panels in self.panels(product.matrix, first, directions) {
            let size = Product { rows: product.rows, depth: depth(source), panels: all * directions, gates };
            let tile = self.tuning.project(size, self.limits);
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
                    medium: self.layout.medium_of(product.matrix.buffer),
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
}

/// Rows of a table by token, many at once.
pub(super) struct Gather {
    pub(super) buffer: usize,
    pub(super) rows: usize,
    /// The first token, by direction.
    pub(super) sources: [usize; 2],
    pub(super) result: Window,
    /// The first row written, by direction.
    pub(super) targets: [usize; 2],
}

/// A product of many rows with a packed matrix.
pub(super) struct HoistedProduct {
    pub(super) matrix: Place,
    /// The cell whose gates it gives; none for a linear layer.
    pub(super) cell: Option<Cell>,
    pub(super) activation: Activation,
    pub(super) rows: usize,
    pub(super) source: Window,
    /// The first row read, and the first row written, by direction.
    pub(super) sources: [usize; 2],
    pub(super) result: Window,
    pub(super) targets: [usize; 2],
}

impl Panels {
    pub(super) fn params(&self) -> Params {
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
pub(super) fn lanes(elems: usize) -> usize {
    elems.div_ceil(4 * WORKGROUP as usize)
}
