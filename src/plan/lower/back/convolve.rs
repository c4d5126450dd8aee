//! The backward pass of a convolution: the gradients of its matrix and of what it takes.

use super::Back;
use crate::error::Result;
use crate::kernel::{Convolve, LANES, Params, Program, Role};
use crate::layout::{MatrixRef, depth};
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::{lanes, word};
use crate::plan::lower::ops::{Convolution, Sequence};
use crate::plan::lower::stage::Stage;

/// Rows of the source that an invocation computes.
const ROWS: usize = 4;

impl Back<'_, '_> {
    /// Emits the backward pass of a convolution of `source`.
    pub(super) fn convolve(
        &mut self,
        stage: &Stage<'_>,
        conv: &Convolution,
        source: Sequence,
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        for chunk in self.chunks(time) {
            self.conv_outer(conv, source, delta, chunk)?;
        }
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        let (target, first) = self.begin(given, true)?;
        for chunk in self.chunks(target.axis.time(self.low.shape)) {
            self.conv_back(conv, (delta, time), (target, chunk, first))?;
        }
        Ok(())
    }

    /// Adds the products of steps `chunk` of `delta` to the gradient of the matrix.
    fn conv_outer(&mut self, conv: &Convolution, source: Sequence, delta: Sequence, chunk: Chunk) -> Result<()> {
        let MatrixRef { buffer, first: matrix } = conv.matrix;
        let (batch, width) = (self.low.shape.batch, depth(delta.features));
        let (reach, at) = (self.low.reach(conv, source, chunk), self.low.row_of(delta, chunk, 0));
        let (delta_window, base) = self.low.rows(delta, at, chunk.len);
        let (slot, first) = self.gradient_of(buffer, matrix);
        let all = conv.params(batch);
        let cut = self.cut_by(slot, 4 * ((all.depth as usize + 1) * LANES) as u64);
        let most = self.low.most_iterations(64);
        let rows = chunk.len * batch;
        for start in (0..rows).step_by(most) {
            let program = Convolve::Outer { first: first && start == 0 };
            for panels in self.low.panels_of((slot, width / LANES, cut), matrix, 0, 1) {
                let Params { panel, panels: count, weight_panel, .. } = panels.params();
                let params = Params {
                    rows: word(most.min(rows - start)),
                    units: word(width),
                    count: word(delta.features.len()),
                    panel,
                    panels: count,
                    weight_panel,
                    source_0: reach.read,
                    kept_0: word(reach.first),
                    kept_1: word(reach.rows),
                    target_0: word((at - base) * batch + start),
                    offset: word(start),
                    ..all
                };
                let windows = [
                    (Role::Source, Some(reach.window)),
                    (Role::Delta, Some(delta_window)),
                    (Role::Result, Some(panels.window)),
                ];
                // Four units of four rows of the depth for each invocation, and of the bias.
                let grid = [lanes(4 * (params.depth as usize + 4)), panels.panels, 1];
                self.low.dispatch(Program::Convolve(program), params, grid, &windows)?;
            }
        }
        Ok(())
    }

    /// Emits the gradient of steps `chunk` of what a convolution takes, of the gradient of its `time` steps.
    fn conv_back(
        &mut self,
        conv: &Convolution,
        (delta, time): (Sequence, usize),
        (target, chunk, first): (Sequence, Chunk, bool),
    ) -> Result<()> {
        let (batch, width) = (self.low.shape.batch, depth(delta.features));
        // The steps of the result that read these steps.
        let begin = (chunk.start + conv.before).saturating_sub(conv.across()).div_ceil(conv.stride).min(time - 1);
        let end = ((chunk.start + chunk.len - 1 + conv.before) / conv.stride + 1).min(time);
        let steps = end.saturating_sub(begin);
        let (delta_window, base) = self.low.rows(delta, delta.first + begin, steps.max(1));
        let written = self.low.row_of(target, chunk, 0);
        let (result, target_base) = self.low.rows(target, written, chunk.len);
        let panels = self.low.packed_panels(conv.matrix, 0, 1)?;
        let [panels] = &panels[..] else { return Err(self.too_large(conv.matrix.buffer)) };
        let Params { panel, panels: count, weight_panel, .. } = panels.params();
        let most = self.low.limits.workgroups as usize * ROWS;
        let rows = chunk.len * batch;
        for start in (0..rows).step_by(most) {
            let taken = most.min(rows - start);
            let params = Params {
                rows: word(taken),
                units: word(width),
                panel,
                panels: count,
                weight_panel,
                before_0: word(chunk.start + conv.before),
                source_1: word((delta.first + begin - base) * batch),
                kept_0: word(begin),
                kept_1: word(steps),
                target_0: word((written - target_base) * batch + start),
                offset: word(start),
                ..conv.params(batch)
            };
            let windows =
                [(Role::Weights, Some(panels.window)), (Role::Delta, Some(delta_window)), (Role::Result, Some(result))];
            let grid = [lanes(conv.band.row), taken.div_ceil(ROWS), 1];
            self.low.dispatch(Program::Convolve(Convolve::Back { first }), params, grid, &windows)?;
        }
        Ok(())
    }
}
