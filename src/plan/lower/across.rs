//! Operations across steps: pools over all steps of a row, and numbers in another shape.
//!
//! A pool goes along with the operations before it, chunk by chunk, and adds up what their steps come to. Another shape
//! needs the whole sequence. So do windows along one, which are in `window_pool`.

use std::ops::Range;

use super::dispatch::{lanes, word};
use super::ops::{Across, Axis, Op, OpKind, Sequence, Source};
use super::{Chunk, Lowering, needed};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{self, Mask, Params, Pool, PoolOp, Program, Role, padded};
use crate::layout::depth;
use crate::model::{Clocks, Features, Join, LayerKind, Model, Reduce};
use crate::plan::{Shape, SlotId, SlotKind};

/// An operation across steps, with what it takes.
#[derive(Clone, Copy)]
pub(super) struct Taking {
    pub(super) across: Across,
    pub(super) source: Sequence,
    /// How many steps a pool has counted, `[1][B][depth]`.
    counts: Option<SlotId>,
}

impl Op {
    /// Returns the time axis that it goes along: that of its result, or for a pool that of its source.
    pub(super) fn along(&self) -> Axis {
        if let OpKind::Across(Across::Pool { clock, .. }) = self.kind { Axis::Steps(clock) } else { self.axis }
    }

    /// Returns the clock whose live steps it counts.
    pub(super) fn counts(&self) -> Option<usize> {
        let OpKind::Across(across) = self.kind else { return None };
        match across {
            Across::Pool { clock, all, .. } => Some(clock).filter(|_| !all),
            Across::Windows { clock, .. } => clock,
            Across::Rearrange { .. } => None,
        }
    }

    /// Whether it takes the result of one of the pools among `ops`, which is there after the last chunk.
    pub(super) fn takes_a_pool(&self, ops: &[Self], group: Range<usize>) -> bool {
        let is_pool = |op: usize| matches!(ops[op].kind, OpKind::Across(Across::Pool { .. }));
        self.from.iter().any(|source| matches!(*source, Source::Op(op) if group.contains(&op) && is_pool(op)))
    }
}

/// Returns the operation of layer `layer` of `model`, in a call of `shape`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`] if the layer needs another number of steps.
pub(super) fn of_layer(model: &Model, layer: usize, clocks: &Clocks, shape: Shape) -> Result<OpKind> {
    let of = &model.layers[layer];
    let clock = of.from.first().and_then(|&value| clocks.of_value(value));
    if let Some(time) = clock.map(|clock| shape.steps(clock).time)
        && let Some(wanted) = of.kind.needed_steps(model.taken()?[layer]).filter(|&wanted| wanted != time)
    {
        let text = format!("layer {}: expected {wanted} steps, got {time}", model.place(layer));
        return Err(Error::new(ErrorKind::Shape, text));
    }
    if let LayerKind::GlobalPool(pool) = &of.kind {
        let clock = needed(clock, format_args!("the steps of layer {layer}"))?;
        return Ok(OpKind::Across(Across::Pool { op: op_of(pool.reduce), clock, all: pool.all_steps }));
    }
    // A row that is repeated joins every step.
    let repeats = matches!(of.kind, LayerKind::Repeat(_));
    let swapped = matches!(of.kind, LayerKind::Permute(_));
    Ok(if repeats { OpKind::Join(Join::Add) } else { OpKind::Across(Across::Rearrange { swapped }) })
}

/// Returns what a kernel makes of steps.
pub(super) fn op_of(reduce: Reduce) -> PoolOp {
    match reduce {
        Reduce::Max => PoolOp::Max,
        Reduce::Mean => PoolOp::Mean,
        Reduce::Min => PoolOp::Min,
        Reduce::Sum => PoolOp::Sum,
    }
}

impl Lowering<'_> {
    /// Makes what the stage of `op` takes.
    pub(super) fn taking(&mut self, op: &Op, across: Across, source: Sequence) -> Taking {
        let dims = [1, self.shape.batch, depth(op.features)];
        let counts = matches!(across, Across::Pool { .. })
            .then(|| self.slot(format!("{}.counts", op.layer), SlotKind::Scratch, &dims));
        Taking { across, source, counts }
    }

    /// Emits the dispatches of an operation across steps for `chunk`.
    pub(super) fn across(&mut self, taking: Taking, result: Sequence, chunk: Chunk) -> Result<()> {
        match taking.across {
            Across::Pool { op, clock, all } => self.pool((op, clock, all), taking, result, chunk),
            Across::Rearrange { swapped } => self.rearrange(swapped, taking.source, result, chunk),
            Across::Windows { op, windows, clock } => {
                self.window_pool((op, windows, clock), taking.source, result, chunk)
            }
        }
    }

    /// Returns the mask of a pool: its slot, if steps are dead and do not count.
    fn counted(&self, clock: usize, all: bool) -> (Mask, Option<SlotId>) {
        let live = self.live(clock).filter(|_| !all);
        (if live.is_some() { Mask::Live } else { Mask::All }, live)
    }

    fn pool(
        &mut self,
        (op, clock, all): (PoolOp, usize, bool),
        Taking { source, counts, .. }: Taking,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let (batch, time) = (self.shape.batch, self.shape.steps(clock).time);
        let counts = needed(counts, "the counts of a pool")?;
        let (mask, live) = self.counted(clock, all);
        let live = live.map(|live| self.whole(live));
        let read = self.row_of(source, chunk, 0);
        let (source, base) = self.rows(source, read, chunk.len);
        let (result_window, counts) = (self.whole(result.slot), self.whole(counts));
        let most = self.most_iterations(16);
        for start in (0..chunk.len).step_by(most) {
            let (at, steps) = (chunk.start + start, most.min(chunk.len - start));
            let pool = Pool { op, mask, first: at == 0, last: at + steps == time };
            for (row, rows) in self.pieces(batch, 1) {
                let params = Params {
                    rows: word(rows),
                    batch: word(batch),
                    steps: word(steps),
                    source_0: word((read - base + start) * batch + row),
                    target_0: word(row),
                    live_0: word(at * batch + row),
                    ..params_of(result.features)
                };
                let windows = [
                    (Role::Source, Some(source)),
                    (Role::Result, Some(result_window)),
                    (Role::Live, live),
                    (Role::Counts, Some(counts)),
                ];
                let grid = [lanes(depth(result.features)), rows, 1];
                self.dispatch(Program::Across(kernel::Across::Pool(pool)), params, grid, &windows)?;
            }
        }
        Ok(())
    }

    /// Emits what makes steps `chunk` of `result` of the numbers of `source`, which is whole.
    pub(super) fn rearrange(&mut self, swapped: bool, source: Sequence, result: Sequence, chunk: Chunk) -> Result<()> {
        let batch = self.shape.batch;
        let of = source.features;
        let (window, base) = self.rows(source, source.first, source.axis.time(self.shape));
        let written = self.row_of(result, chunk, 0);
        let (target, target_base) = self.rows(result, written, chunk.len);
        let [by_step, by_feature] = if swapped { [1, of.len()] } else { [result.features.len(), 1] };
        for (row, rows) in self.pieces(chunk.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                batch: word(batch),
                source_0: word((source.first - base) * batch),
                target_0: word((written - target_base) * batch + row),
                offset: word(chunk.start * batch + row),
                time_step_0: word(by_step),
                time_step_1: word(by_feature),
                source_directions: word(of.parts),
                source_units: word(padded(of.size)),
                source_features: word(of.size),
                ..params_of(result.features)
            };
            let windows = [(Role::Source, Some(window)), (Role::Result, Some(target))];
            let grid = [lanes(depth(result.features)), rows, 1];
            self.dispatch(Program::Across(kernel::Across::Rearrange), params, grid, &windows)?;
        }
        Ok(())
    }

    /// Emits the share of each step of `chunk` in `delta`, the gradient of a pool of `source` whose result is `pooled`.
    pub(super) fn pool_back(
        &mut self,
        (op, clock, all): (PoolOp, usize, bool),
        Taking { source, counts, .. }: Taking,
        [pooled, delta]: [Sequence; 2],
        target: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let batch = self.shape.batch;
        let counts = needed(counts, "the counts of a pool")?;
        let (mask, live) = self.counted(clock, all);
        let (read, written) = (self.row_of(source, chunk, 0), self.row_of(target, chunk, 0));
        let (source, base) = self.rows(source, read, chunk.len);
        let (result, result_base) = self.rows(target, written, chunk.len);
        let (delta_window, delta_base) = self.rows(delta, delta.first, 1);
        let live = live.map(|live| self.whole(live));
        for (row, rows) in self.pieces(chunk.len * batch, 1) {
            let params = Params {
                rows: word(rows),
                batch: word(batch),
                source_0: word((read - base) * batch + row),
                source_1: word((delta.first - delta_base) * batch),
                target_0: word((written - result_base) * batch + row),
                live_0: word(chunk.start * batch + row),
                offset: word(row),
                ..params_of(target.features)
            };
            let windows = [
                (Role::Source, Some(source)),
                (Role::Other, Some(self.whole(pooled.slot))),
                (Role::Live, live),
                (Role::Counts, Some(self.whole(counts))),
                (Role::Delta, Some(delta_window)),
                (Role::Result, Some(result)),
            ];
            let grid = [lanes(depth(target.features)), rows, 1];
            self.dispatch(Program::Across(kernel::Across::PoolBack(op, mask)), params, grid, &windows)?;
        }
        Ok(())
    }
}

/// Returns the params that tell the features of a row that is written.
pub(super) fn params_of(features: Features) -> Params {
    Params {
        directions: word(features.parts),
        units: word(padded(features.size)),
        features: word(features.size),
        ..Params::default()
    }
}
