//! Operations along windows of a sequence: pools, and every n-th step, which is a window of one step.
//!
//! The sequence is whole, and each dispatch binds the steps that its windows take.

use super::across::{op_of, params_of};
use super::dispatch::{lanes, word};
use super::ops::{Across, OpKind, Sequence};
use super::{CHUNK_ALIGN, Chunk, Lowering};
use crate::error::{Error, Result};
use crate::kernel::{self, Mask, Params, PoolOp, Program, Role};
use crate::layout::depth;
use crate::model::{LayerKind, Windows};
use crate::plan::Window;

/// A pool of windows: what their steps come to, where they are, and the clock whose live steps they take.
pub(super) type Windowed = (PoolOp, Windows, Option<usize>);

/// Returns the operation of a layer that gives steps of its own, of a value with `time` steps. Its `pieces` are the
/// first step that it takes of each value, and the count. Windows take only the live steps of `clock`, if it is told.
pub(super) fn of_layer(kind: &LayerKind, time: usize, clock: Option<usize>, pieces: Vec<(usize, usize)>) -> OpKind {
    match (kind, &pieces[..]) {
        (LayerKind::WindowPool(pool), _) => {
            OpKind::Across(Across::Windows { op: op_of(pool.reduce), windows: pool.windows(time), clock })
        }
        (LayerKind::SliceSteps(slice), &[(first, count)]) if slice.step > 1 => {
            let windows = Windows::every(first, slice.step, count, time);
            OpKind::Across(Across::Windows { op: PoolOp::Sum, windows, clock: None })
        }
        _ => OpKind::Pieces(pieces),
    }
}

impl Lowering<'_> {
    /// Emits what the windows of `chunk` of `result` come to.
    pub(super) fn window_pool(
        &mut self,
        (op, windows, clock): Windowed,
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let batch = self.shape.batch;
        let (mask, live) = self.taken_by(clock);
        let most = (self.steps_bound(source).saturating_sub(windows.extent()) / windows.stride).saturating_add(1);
        for start in (0..chunk.len).step_by(most) {
            let (first, count) = (chunk.start + start, most.min(chunk.len - start));
            let steps = windows.steps(first..first + count);
            let read = source.first + steps.start;
            let (source_window, base) = self.rows(source, read, steps.len().max(1));
            let written = self.row_of(result, chunk, start);
            let (target, target_base) = self.rows(result, written, count);
            for (row, rows) in self.pieces(count * batch, 1) {
                let params = Params {
                    rows: word(rows),
                    batch: word(batch),
                    source_0: word((read - base) * batch),
                    gates_0: word(steps.start),
                    target_0: word((written - target_base) * batch + row),
                    offset: word(first * batch + row),
                    count: word(windows.time),
                    ..along(windows, params_of(result.features))
                };
                let bound = [(Role::Source, Some(source_window)), (Role::Result, Some(target)), (Role::Live, live)];
                let grid = [lanes(depth(result.features)), rows, 1];
                self.dispatch(Program::Across(kernel::Across::WindowPool(op, mask)), params, grid, &bound)?;
            }
        }
        Ok(())
    }

    /// Emits what the steps of `chunk` of `target`, the gradient of `source`, take of `delta`, the gradient of `pooled`.
    pub(super) fn window_back(
        &mut self,
        (op, windows, clock): Windowed,
        source: Sequence,
        [pooled, delta]: [Sequence; 2],
        (target, chunk): (Sequence, Chunk),
    ) -> Result<()> {
        let batch = self.shape.batch;
        let (mask, live) = self.taken_by(clock);
        let most = self.steps_bound(source).saturating_sub(windows.extent()).max(1);
        for start in (0..chunk.len).step_by(most) {
            let (first, count) = (chunk.start + start, most.min(chunk.len - start));
            let around = windows.around(first..first + count);
            let seen = if around.is_empty() { first } else { windows.steps(around.clone()).start.min(first) };
            let read = source.first + seen;
            let (source_window, base) = self.rows(source, read, first + count - seen);
            let (delta_window, delta_base) = self.rows(delta, delta.first + around.start, around.len().max(1));
            let (other, other_base) = self.rows(pooled, pooled.first + around.start, around.len().max(1));
            if (pooled.first, other_base) != (delta.first, delta_base) {
                return Err(Error::internal("a pool of windows: expected its result and the gradient side by side"));
            }
            let written = self.row_of(target, chunk, start);
            let (result, result_base) = self.rows(target, written, count);
            for (row, rows) in self.pieces(count * batch, 1) {
                let params = Params {
                    rows: word(rows),
                    batch: word(batch),
                    source_0: word((read - base) * batch),
                    gates_0: word(seen),
                    source_1: word((delta.first + around.start - delta_base) * batch),
                    gates_1: word(around.start),
                    target_0: word((written - result_base) * batch + row),
                    offset: word(first * batch + row),
                    count: word(windows.count),
                    ..along(windows, params_of(target.features))
                };
                let bound = [
                    (Role::Source, Some(source_window)),
                    (Role::Other, Some(other)),
                    (Role::Live, live),
                    (Role::Delta, Some(delta_window)),
                    (Role::Result, Some(result)),
                ];
                let grid = [lanes(depth(target.features)), rows, 1];
                self.dispatch(Program::Across(kernel::Across::WindowBack(op, mask)), params, grid, &bound)?;
            }
        }
        Ok(())
    }

    /// Returns the mask of windows that take the live steps of `clock`, and its slot.
    fn taken_by(&self, clock: Option<usize>) -> (Mask, Option<Window>) {
        let live = clock.and_then(|clock| self.live(clock)).map(|live| self.whole(live));
        (if live.is_some() { Mask::Live } else { Mask::All }, live)
    }

    /// Returns how many steps of `sequence` one binding holds, wherever they begin.
    fn steps_bound(&self, sequence: Sequence) -> usize {
        let fit = self.limits.binding_bytes / self.row_bytes(sequence.slot).max(1);
        usize::try_from(fit).unwrap_or(usize::MAX).saturating_sub(CHUNK_ALIGN)
    }
}

/// Returns `params` with where windows are.
fn along(windows: Windows, params: Params) -> Params {
    let signed = |step: i64| i32::try_from(step).unwrap_or(i32::MAX).cast_unsigned();
    Params {
        steps: word(windows.size),
        time_step_0: word(windows.stride),
        time_step_1: word(windows.dilation),
        before_0: signed(windows.start),
        kept_0: signed(windows.counted[0]),
        kept_1: signed(windows.counted[1]),
        ..params
    }
}
