//! Convolutions over steps. A dispatch reads the steps that the kernel spans, beside those of its own chunk. So what a
//! convolution takes is whole.

use super::dispatch::{end_of_units, word};
use super::ops::{Convolution, Op, OpKind, Sequence};
use super::windows::Panels;
use super::{Chunk, Lowering};
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{Band, Convolve, LANES, Matrix, Params, Program, Role, Tile};
use crate::layout::{MatrixRef, depth};
use crate::model::Conv1d;
use crate::plan::Window;
use crate::plan::tune::Product;
use crate::precision::Precision;

/// What a dispatch takes of a sequence: the window, and the first row and the count of those that are there.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    pub(super) window: Window,
    /// The row that the first tap of the first row reads, modulo 2³².
    pub(super) read: u32,
    pub(super) first: usize,
    pub(super) rows: usize,
}

impl Convolution {
    /// Returns the convolution of layer `layer`, which takes a sequence of `time` steps.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Limits`] if rows cannot be counted in 32 bits.
    pub(super) fn of(
        conv: &Conv1d,
        (matrix, band): (MatrixRef, Band),
        (time, batch): (usize, usize),
        place: impl FnOnce() -> String,
    ) -> Result<Self> {
        let [before, after] = conv.pads(time);
        let all = [time, before, after, conv.span(), conv.stride].into_iter().fold(0, usize::saturating_add);
        let elems = (all as u64).saturating_mul(2).saturating_mul(batch as u64).saturating_mul(band.row as u64);
        if elems > u64::from(u32::MAX) {
            let text = format!(
                "layer {}: needs {all} rows of a batch of {batch} with its padding, of {} numbers each, kernels count to \
                 {} in all; try a smaller batch, or fewer steps a call",
                place(),
                band.row,
                u32::MAX / 2
            );
            return Err(Error::new(ErrorKind::Limits, text));
        }
        Ok(Self { matrix, band, stride: conv.stride, dilation: conv.dilation, before })
    }

    /// Returns the steps from the first tap to the last.
    pub(super) fn across(&self) -> usize {
        (self.band.taps - 1) * self.dilation
    }

    /// The params that all its dispatches have.
    pub(super) fn params(&self, batch: usize) -> Params {
        Params {
            batch: word(batch),
            steps: word(self.band.taps),
            depth: word(self.band.taps * self.band.width),
            tokens: word(self.band.inputs),
            features: word(self.band.outputs),
            source_features: word(self.band.size),
            source_units: word(self.band.row),
            time_step_0: word(self.stride),
            time_step_1: word(self.dilation),
            ..Params::default()
        }
    }
}

impl Op {
    /// Returns the steps that a chunk reads beside its own.
    pub(super) fn halo(&self) -> usize {
        if let OpKind::Convolve { conv, .. } = &self.kind { conv.across() + conv.stride } else { 0 }
    }

    /// Returns the bytes of what a convolution reads for one step of its result, for one row of the batch.
    pub(super) fn stride_bytes(&self) -> u64 {
        if let OpKind::Convolve { conv, .. } = &self.kind { 4 * (conv.stride * conv.band.row) as u64 } else { 0 }
    }
}

impl Lowering<'_> {
    /// Returns what `chunk` of the result of a convolution reads of `source`.
    pub(super) fn reach(&self, conv: &Convolution, source: Sequence, chunk: Chunk) -> Reach {
        let (batch, time) = (self.shape.batch, source.axis.time(self.shape));
        let begin = chunk.start * conv.stride;
        let end =
            ((chunk.start + chunk.len - 1) * conv.stride + conv.across() + 1).saturating_sub(conv.before).min(time);
        // If all of it is padding, one step is bound and none is read.
        let first = begin.saturating_sub(conv.before).min(time - 1);
        let steps = end.saturating_sub(first);
        let (window, base) = self.rows(source, source.first + first, steps.max(1));
        let there = source.first + first - base;
        let read = word(there + begin).wrapping_sub(word(conv.before + first)).wrapping_mul(word(batch));
        Reach { window, read, first: there * batch, rows: steps * batch }
    }

    /// Emits steps `chunk` of the result of a convolution.
    pub(super) fn convolve(
        &mut self,
        (conv, activation): (&Convolution, Activation),
        source: Sequence,
        result: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let (batch, width) = (self.shape.batch, depth(result.features));
        let rows = chunk.len * batch;
        let reach = self.reach(conv, source, chunk);
        let written = self.row_of(result, chunk, 0);
        let (target, base) = self.rows(result, written, chunk.len);
        let panels = self.panels(conv.matrix, 0, 1)?;
        let matrix = self.matrix(conv.matrix.buffer);
        let all = width / LANES;
        let product = Product { rows, depth: conv.band.taps * conv.band.width, panels: all, gates: 1 };
        let tile = self.tile_of(conv, matrix, &panels, product);
        let tile_rows = tile.rows * tile.slices;
        for panels in &panels {
            for (row, rows) in self.pieces(rows, tile_rows) {
                let Params { panel, panels: count, weight_panel, .. } = panels.params();
                let params = Params {
                    rows: word(rows),
                    units: word(width),
                    panel,
                    panels: count,
                    weight_panel,
                    source_0: reach.read,
                    kept_0: word(reach.first),
                    kept_1: word(reach.rows),
                    target_0: word((written - base) * batch + row),
                    offset: word(row),
                    count: end_of_units(result.features.len()),
                    ..conv.params(batch)
                };
                let grid =
                    [panels.panels.div_ceil((tile.panels * tile.wide) as usize), rows.div_ceil(tile_rows as usize), 1];
                let windows = [
                    (Role::Weights, Some(panels.window)),
                    (Role::Source, Some(reach.window)),
                    (Role::Result, Some(target)),
                ];
                let program = Convolve::Forward { activation, matrix, tile };
                self.dispatch(Program::Convolve(program), params, grid, &windows)?;
            }
        }
        Ok(())
    }

    /// Returns how the product of a convolution is cut. Panels of several groups read elements of their own, which no
    /// lanes can load together.
    fn tile_of(&self, conv: &Convolution, matrix: Matrix, panels: &[Panels], product: Product) -> Tile {
        let alike = conv.band.width == conv.band.row;
        let floats = matrix.storage != Precision::I8;
        let tile = self.wide(panels, alike && floats, product, |product| self.tuning.gemm(product, self.limits));
        if alike { tile } else { tile.own_loads(true) }
    }
}
