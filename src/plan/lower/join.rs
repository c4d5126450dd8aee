//! Operations that copy features: joins, slices, pieces of time, and states that begin with a value.
//!
//! Each dispatch adds one value to the result. A value without a time axis joins every step.

use super::dispatch::{lanes, word};
use super::ops::{Axis, Sequence, Span};
use super::stage::{Joined, Stage, Work};
use super::{Chunk, Lowering, needed};
use crate::error::Result;
use crate::kernel::{self, JoinOp, Params, Program, Role, padded};
use crate::layout::depth;
use crate::model::{Features, Join, Slice};

/// Features of one value that go into another.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) combine: JoinOp,
    /// The first feature that is taken, and the count.
    pub(super) taken: [usize; 2],
    /// The first feature of the result that takes one.
    pub(super) offset: usize,
    /// The factor of the result.
    pub(super) scale: f32,
}

/// The first row of a source that is read, the first row of a result that is written, and the count.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) read: usize,
    pub(super) steps: usize,
    pub(super) written: usize,
    pub(super) len: usize,
}

impl Lowering<'_> {
    /// Emits the dispatches of a join for `chunk`.
    pub(super) fn join(&mut self, join: Join, values: &[Joined], result: Sequence, chunk: Chunk) -> Result<()> {
        let mut offset = 0;
        // The first copy clears the other columns. It must not clear
        // those that others have written, but these leave none unwritten.
        let clears = values.iter().all(|value| value.source.is_some());
        for (index, &Joined { source, size }) in values.iter().enumerate() {
            let Some(source) = source else {
                offset += size;
                continue;
            };
            let combine = match join {
                _ if index == 0 => JoinOp::Set,
                Join::Concat | Join::ConcatSteps => JoinOp::Set,
                Join::Add | Join::Average => JoinOp::Add,
                Join::Subtract => JoinOp::Subtract,
                Join::Multiply => JoinOp::Multiply,
                Join::Maximum => JoinOp::Maximum,
            };
            let is_last = index + 1 == values.len();
            #[expect(clippy::cast_precision_loss, reason = "a model joins few values")]
            let scale = if join == Join::Average && is_last { 1.0 / values.len() as f32 } else { 1.0 };
            let part = Part { combine, taken: [0, size], offset, scale };
            self.join_part(&part, index == 0 && clears, source, result, chunk)?;
            offset += if join == Join::Concat { size } else { 0 };
        }
        Ok(())
    }

    /// Emits the dispatches of a slice for `chunk`.
    pub(super) fn slice(&mut self, slice: Slice, source: Sequence, result: Sequence, chunk: Chunk) -> Result<()> {
        let part = Part { combine: JoinOp::Set, taken: [slice.first, slice.count], offset: 0, scale: 1.0 };
        self.join_part(&part, true, source, result, chunk)
    }

    /// Emits the dispatches that put steps of several values one after the other, for `chunk`.
    pub(super) fn pieces_of_time(
        &mut self,
        pieces: &[(Sequence, usize, usize)],
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let mut begin = 0;
        for &(source, first, count) in pieces {
            let (from, to) = (begin.max(chunk.start), (begin + count).min(chunk.start + chunk.len));
            if from < to {
                // Rows of whole sequences: a sequence that is cut never runs chunk by chunk with its pieces.
                let rows = Rows {
                    read: source.first + first + from - begin,
                    steps: to - from,
                    written: self.row_of(result, chunk, from - chunk.start),
                    len: to - from,
                };
                let part = Part { combine: JoinOp::Set, taken: [0, source.features.len()], offset: 0, scale: 1.0 };
                self.join_rows(&part, true, (source, result), rows, false)?;
            }
            begin += count;
        }
        Ok(())
    }

    pub(super) fn join_part(
        &mut self,
        part: &Part,
        first: bool,
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let broadcast = source.axis == Axis::Rows && result.axis != Axis::Rows;
        let (read, steps) = if broadcast { (source.first, 1) } else { (self.row_of(source, chunk, 0), chunk.len) };
        let rows = Rows { read, steps, written: self.row_of(result, chunk, 0), len: chunk.len };
        self.join_rows(part, first, (source, result), rows, broadcast)
    }

    pub(super) fn join_rows(
        &mut self,
        part: &Part,
        first: bool,
        (source, result): (Sequence, Sequence),
        Rows { read, steps, written, len }: Rows,
        broadcast: bool,
    ) -> Result<()> {
        let batch = self.shape.batch;
        let features = source.features;
        let (source, source_base) = self.rows(source, read, steps);
        let (target, target_base) = self.rows(result, written, len);
        let program = Program::Join(kernel::Join { combine: part.combine, first, broadcast });
        for (row, rows) in self.pieces(len * batch, 1) {
            // The kernel itself finds a row that joins every step.
            let own = if broadcast { 0 } else { row };
            let params = Params {
                rows: word(rows),
                batch: word(batch),
                source_0: word((read - source_base) * batch + own),
                target_0: word((written - target_base) * batch + row),
                offset: word(part.offset),
                source_offset: word(part.taken[0]),
                count: word(part.taken[1]),
                scale: part.scale.to_bits(),
                ..params_of(features, result.features)
            };
            let windows = [(Role::Source, Some(source)), (Role::Result, Some(target))];
            self.dispatch(program, params, [lanes(depth(result.features)), rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Emits the dispatches that write the initial states of a recurrent layer, if the host does not.
    pub(super) fn begin(&mut self, stage: &Stage<'_>) -> Result<()> {
        let Work::Recurrent { r, states, begin: [hidden, cell], .. } = &stage.work else { return Ok(()) };
        if let Some(source) = *hidden {
            let hidden = stage.result;
            let rows = self.plan.slots[hidden.slot].dims[0];
            for walk in &r.walks[..r.directions] {
                let target = Sequence { first: walk.initial_row(rows), axis: Axis::Rows, span: Span::Whole, ..hidden };
                self.copy_row(source, target)?;
            }
        }
        if let Some(source) = *cell {
            let last = needed(states.last_cell, "cell states of a layer that begins with some")?;
            self.copy_row(source, Sequence { first: self.cell_row(r, 0), ..last })?;
        }
        Ok(())
    }

    /// Copies one row of the batch to another value with as many features.
    fn copy_row(&mut self, source: Sequence, target: Sequence) -> Result<()> {
        let chunk = Chunk { index: 0, at: 0, start: 0, len: 1 };
        let part = Part { combine: JoinOp::Set, taken: [0, source.features.len()], offset: 0, scale: 1.0 };
        self.join_part(&part, true, source, target, chunk)
    }
}

/// Returns the params that locate features in a row of the source and of the result.
fn params_of(source: Features, result: Features) -> Params {
    Params {
        directions: word(result.parts),
        units: word(padded(result.size)),
        features: word(result.size),
        source_directions: word(source.parts),
        source_units: word(padded(source.size)),
        source_features: word(source.size),
        ..Params::default()
    }
}
