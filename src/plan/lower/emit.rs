//! Dispatches: what each operation does with a chunk of time. Those of a recurrent layer are in `recurrent` and `scan`.

use super::dispatch::{Gather, InputGemm, lanes, pair, word};
use super::ops::{Drop, Sequence, Span, VisibleSteps};
use super::recurrent::Layer;
use super::stage::{Stage, Work};
use super::{Chunk, Lowering, needed};
use crate::cell::Activation;
use crate::error::Result;
use crate::kernel::{Params, Program, Role, Training};
use crate::layout::{MatrixRef, depth};
use crate::plan::{Fetch, SlotId, Window};

impl Lowering<'_> {
    /// Emits the dispatches of `stage` for `chunk`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Internal` if the stage lacks what its operation needs.
    pub(super) fn emit(&mut self, stage: &Stage<'_>, chunk: Chunk) -> Result<()> {
        let result = stage.result;
        match &stage.work {
            Work::Recurrent { r, states, .. } => self.recurrent(Layer { r, states, hidden: result }, chunk),
            Work::Wavefront { layers, states, in_group } => {
                // If a consumer takes the outputs chunk by chunk, they must be whole at the end of each chunk.
                let by_chunk = result.span == Span::Chunk || *in_group;
                self.wavefront(layers, states, result, by_chunk, chunk)
            }
            Work::Gather { buffer, tokens } => {
                let (window, target) = self.rows_of_chunk(result, chunk);
                let batch = self.shape.batch;
                let gather = Gather {
                    buffer: *buffer,
                    tokens: *tokens,
                    rows: chunk.len * batch,
                    sources: [chunk.start * batch; 2],
                    result: window,
                    targets: [target; 2],
                };
                self.gather(&gather, 0, 1)
            }
            Work::OneHot { tokens } => self.one_hot(*tokens, result, chunk),
            Work::Linear { matrix, activation, source, panel } => {
                self.linear((*matrix, *activation), *source, (result, *panel, stage.op.features.len()), chunk)
            }
            Work::Convolve { conv, activation, source } => self.convolve((conv, *activation), *source, result, chunk),
            Work::MaskOutputs { visible, source } => self.mask_outputs(*visible, *source, result, chunk),
            Work::Merge { combine, source } => {
                let grid = [lanes(depth(result.features)), 1];
                self.rowwise(Program::Merge(*combine), grid, *source, result, chunk)
            }
            Work::Drop { drop, draws, source } if drop.gates > 1 => {
                self.copy_rows((*drop, *draws), *source, result, chunk)
            }
            Work::Drop { drop, draws, source } => self.drop((*drop, *draws), *source, result, chunk),
            Work::Rowwise { activation, source } => {
                let program = Program::of_activation(*activation);
                let x = if activation.is_elementwise() { lanes(depth(result.features)) } else { 1 };
                self.rowwise(program, [x, 1], *source, result, chunk)
            }
            Work::Normalize { of, source } => self.normalize(*of, *source, result, chunk),
            Work::Join { join, values } => self.join(*join, values, result, chunk),
            Work::Slice { slice, source } => self.slice(*slice, *source, result, chunk),
            Work::Pieces(pieces) => self.pieces_of_time(pieces, result, chunk),
            Work::Across(taking) => self.across(*taking, result, chunk),
            Work::Attention(attended) => self.attention(attended, result, chunk),
            Work::Sample { source } => self.sample(*source, result, chunk),
            Work::View => Ok(()),
        }
    }

    /// Adds the host's reads of `stage`, after its last chunk.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`emit`](Self::emit).
    pub(super) fn finals(&mut self, stage: &Stage<'_>) -> Result<()> {
        match &stage.work {
            Work::Wavefront { layers, states, .. } => {
                for (index, r) in layers.iter().enumerate() {
                    let (stack, layer, row) = (r.stack, r.stacked, 2 * index + self.shape.steps(r.clock).time % 2);
                    self.read(Fetch::Hidden { stack, layer }, states.last.slot, row, 1);
                    if let Some(cell_state) = states.cell_state {
                        self.read(Fetch::Cell { stack, layer }, cell_state, row, 1);
                    }
                }
                Ok(())
            }
            Work::Recurrent { r, states, meeting, .. } => {
                self.finals_of_layer(Layer { r, states, hidden: stage.result }, *meeting)
            }
            Work::Gather { .. }
            | Work::OneHot { .. }
            | Work::MaskOutputs { .. }
            | Work::Merge { .. }
            | Work::Drop { .. }
            | Work::Linear { .. }
            | Work::Convolve { .. }
            | Work::Rowwise { .. }
            | Work::Normalize { .. }
            | Work::Join { .. }
            | Work::Slice { .. }
            | Work::Pieces(_)
            | Work::Across(_)
            | Work::Attention(_)
            | Work::Sample { .. }
            | Work::View => Ok(()),
        }
    }

    fn finals_of_layer(&mut self, Layer { r, states, hidden }: Layer<'_>, meeting: Option<SlotId>) -> Result<()> {
        let time = self.shape.steps(r.clock).time;
        if let Some(meeting) = meeting {
            // Forward ends in the row of the last step, and reverse in that of the first.
            let units = depth(hidden.features) / r.directions;
            let params = Params {
                rows: word(self.shape.batch),
                batch: word(self.shape.batch),
                directions: 2,
                units: word(units),
                source_0: word(time),
                source_1: 1,
                ..Params::default()
            };
            if self.fit_whole(&[hidden.slot]) {
                self.final_state(params, self.whole(hidden.slot), meeting, 2)?;
            } else {
                self.final_state_separate(params, time, hidden, meeting)?;
            }
        }
        let (stack, layer) = (r.stack, r.stacked);
        if r.directions == 2 && meeting.is_none() {
            // Forward ends in the row of the last step, and reverse in that of the first.
            for (direction, row) in [time, 1].into_iter().enumerate() {
                self.read(Fetch::HiddenPart { stack, layer, direction }, hidden.slot, row, 1);
            }
        } else {
            self.read(Fetch::Hidden { stack, layer }, states.last.slot, states.last.first, 1);
        }
        if r.cell.states() == 2 {
            let cell_state = needed(states.cell_state, "the cell states of a layer")?;
            self.read(Fetch::Cell { stack, layer }, cell_state, self.cell_row(r, time), 1);
        }
        Ok(())
    }

    fn final_state(&mut self, params: Params, source: Window, meeting: SlotId, directions: usize) -> Result<()> {
        let grid = [lanes(params.units as usize), self.shape.batch, directions];
        let windows = [(Role::Source, Some(source)), (Role::Result, Some(self.whole(meeting)))];
        self.dispatch(Program::FinalState, params, grid, &windows)
    }

    /// Gathers the final hidden state of both directions, if the sequence does not fit one binding.
    fn final_state_separate(&mut self, params: Params, time: usize, hidden: Sequence, meeting: SlotId) -> Result<()> {
        for (direction, row) in [time, 1].into_iter().enumerate() {
            let (window, base) = self.rows(hidden, row, 1);
            let params = Params { direction: word(direction), source_0: word(row - base), source_1: 0, ..params };
            self.final_state(params, window, meeting, 1)?;
        }
        Ok(())
    }

    fn one_hot(&mut self, tokens: SlotId, result: Sequence, chunk: Chunk) -> Result<()> {
        let tokens = self.whole(tokens);
        let (batch, units) = (self.shape.batch, depth(result.features));
        let (window, target) = self.rows_of_chunk(result, chunk);
        for (first, rows) in self.pieces(chunk.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                units: word(units),
                source_0: word(chunk.start * batch + first),
                target_0: word(target + first),
                ..Params::default()
            };
            let windows = [(Role::Tokens, Some(tokens)), (Role::Result, Some(window))];
            self.dispatch(Program::OneHot, params, [lanes(units), rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Emits the product of a linear layer, into the columns of `result` from `panel` on.
    fn linear(
        &mut self,
        (matrix, activation): (MatrixRef, Activation),
        source: Sequence,
        (result, panel, units): (Sequence, usize, usize),
        chunk: Chunk,
    ) -> Result<()> {
        let width = depth(result.features);
        let [source, result] = [source, result].map(|rows| self.rows_of_chunk(rows, chunk));
        let (source, result) = ((source.0, [source.1; 2]), (result.0, [result.1; 2]));
        let plain = InputGemm::plain(chunk.len * self.shape.batch, source, result, width);
        let product = InputGemm { activation, panel, units, ..plain };
        self.gemm(matrix, &product, 0, 1)
    }

    /// Copies a sequence, with zeros where `visible` has no step.
    pub(super) fn mask_outputs(
        &mut self,
        visible: VisibleSteps,
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let (batch, parts) = (self.shape.batch, result.features.parts);
        let mask = needed(self.masks.get(&visible.feed).copied(), format_args!("a slot of {}", visible.feed))?;
        let live = self.whole(mask);
        // More parts than directions all have the same mask, and are one.
        let whole = |params: Params| Params { directions: 1, units: params.units * params.directions, ..params };
        let (parts, merged) = if parts > 2 { (1, true) } else { (parts, false) };
        for (first, params, [source, result]) in self.row_pieces(source, result, chunk) {
            let params = if merged { whole(params) } else { params };
            let (live_0, live_1) = pair(0, parts, |d| (visible.rows[d] + chunk.start) * batch + first);
            let grid = [lanes(params.units as usize), params.rows as usize, parts];
            let windows = [(Role::Source, Some(source)), (Role::Live, Some(live)), (Role::Result, Some(result))];
            self.dispatch(Program::MaskOutputs, Params { live_0, live_1, ..params }, grid, &windows)?;
        }
        Ok(())
    }

    /// Copies a sequence with some elements dropped: of values, or of their gradients.
    pub(super) fn drop(
        &mut self,
        (drop, draws): (Drop, SlotId),
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let (batch, draws, x) = (self.shape.batch, self.whole(draws), lanes(depth(result.features)));
        for (first, params, [source, result]) in self.row_pieces(source, result, chunk) {
            let params = Params {
                batch: word(batch),
                source_1: word(chunk.start * batch + first),
                time_step_0: u32::from(!drop.shared),
                token: drop.threshold(),
                scale: drop.scale(),
                ..params
            };
            let grid = [x, params.rows as usize, 1];
            let windows = [(Role::Source, Some(source)), (Role::Draws, Some(draws)), (Role::Result, Some(result))];
            self.dispatch(Program::Training(Training::Drop), params, grid, &windows)?;
        }
        Ok(())
    }

    /// Emits `Merge`, `Softmax` or `Activate`, which make one row of each row, with the given grid in x and z.
    fn rowwise(
        &mut self,
        program: Program,
        [x, z]: [usize; 2],
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        for (_, params, [source, result]) in self.row_pieces(source, result, chunk) {
            let windows = [(Role::Source, Some(source)), (Role::Result, Some(result))];
            self.dispatch(program, params, [x, params.rows as usize, z], &windows)?;
        }
        Ok(())
    }

    /// Returns the dispatches of a kernel that makes a row of each row of a chunk.
    /// Each has its first row, its params, and the windows of `source` and `result`.
    pub(super) fn row_pieces(
        &self,
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Vec<(usize, Params, [Window; 2])> {
        let features = result.features;
        let (source, read) = self.rows_of_chunk(source, chunk);
        let (result, written) = self.rows_of_chunk(result, chunk);
        let params = |(first, rows): (usize, usize)| Params {
            rows: word(rows),
            directions: word(features.parts),
            units: word(depth(features) / features.parts),
            features: word(features.size),
            source_0: word(read + first),
            target_0: word(written + first),
            ..Params::default()
        };
        let pieces = self.pieces(chunk.len * self.shape.batch, 1);
        pieces.map(|(first, rows)| (first, params((first, rows)), [source, result])).collect()
    }
}
