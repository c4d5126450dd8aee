//! The backward pass of layers that normalise: the gradient of each row, and sums over all rows for weight and bias.

use super::Back;
use super::sums::Summed;
use crate::error::{Error, Result};
use crate::kernel::{JoinOp, Params, Program, Role, Training};
use crate::layout::{contents, depth};
use crate::model::Features;
use crate::plan::lower::dispatch::word;
use crate::plan::lower::join::Part;
use crate::plan::lower::ops::{Normalize, Sequence};
use crate::plan::lower::stage::Stage;
use crate::plan::lower::{Chunk, Lowering};

/// The matrices of a buffer of a layer that normalises.
pub(super) const WEIGHT: usize = 0;
pub(super) const BIAS: usize = 1;

/// Whether a tensor of the model is matrix `matrix` of packed buffer `buffer`.
pub(super) fn is_trained(low: &Lowering<'_>, buffer: usize, matrix: usize) -> bool {
    let held = contents(low.model, &low.layout.buffers[buffer], matrix);
    held.is_some_and(|held| held.tensors[0].is_some())
}

impl Back<'_, '_> {
    /// Emits the backward pass of a layer that normalises.
    pub(super) fn normalize(
        &mut self,
        stage: &Stage<'_>,
        of: Normalize,
        source: Sequence,
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let from = stage.op.from.first().copied();
        let from = from.ok_or_else(|| Error::internal(format!("layer {}: expected a source", stage.op.layer)))?;
        let given = self.given(from);
        let target = given.map(|given| self.begin(given, true)).transpose()?;
        // The only consumer's gradients are the target itself.
        let own = match target {
            Some((target, true)) => target,
            _ => self.scratch("normalized", delta.axis, delta.features),
        };
        let product = self.scratch("normal", delta.axis, delta.features);
        for chunk in self.chunks(time) {
            self.normalize_rows(of, (source, delta), (own, product), chunk)?;
            if let Some((target, false)) = target {
                let taken = [0, delta.features.len()];
                let part = Part { combine: JoinOp::Add, taken, offset: 0, scale: 1.0 };
                self.low.join_part(&part, false, own, target, chunk)?;
            }
            for (matrix, summed) in [(WEIGHT, product), (BIAS, delta)] {
                if is_trained(self.low, of.buffer, matrix) {
                    let (window, first) = self.low.rows_of_chunk(summed, chunk);
                    let (steps, batch, width) = (chunk.len, self.low.shape.batch, depth(delta.features));
                    self.add_up(of, matrix, Summed { window, first, steps, batch, width })?;
                }
            }
        }
        Ok(())
    }

    /// Emits the gradients of the rows of a chunk, and their parts of the gradient of the weight.
    fn normalize_rows(
        &mut self,
        of: Normalize,
        (source, delta): (Sequence, Sequence),
        (result, product): (Sequence, Sequence),
        chunk: Chunk,
    ) -> Result<()> {
        let weights = self.low.norm_weights(of);
        let Features { parts, size } = delta.features;
        let [source, delta, result, product] =
            [source, delta, result, product].map(|rows| self.low.rows_of_chunk(rows, chunk));
        for (first, rows) in self.low.pieces(chunk.len * self.low.shape.batch, 1) {
            let params = Params {
                rows: word(rows),
                directions: word(parts),
                units: word(depth(Features::one(size))),
                features: word(size),
                source_0: word(source.1 + first),
                source_1: word(delta.1 + first),
                target_0: word(result.1 + first),
                target_1: word(product.1 + first),
                ..Params::default()
            };
            let params = self.low.norm_params(of, params);
            let windows = [
                (Role::Weights, Some(weights)),
                (Role::Source, Some(source.0)),
                (Role::Delta, Some(delta.0)),
                (Role::Result, Some(result.0)),
                (Role::Product, Some(product.0)),
            ];
            let program = Program::Training(Training::NormalizeBack(of.norm));
            self.low.dispatch(program, params, [1, rows, 1], &windows)?;
        }
        Ok(())
    }

    /// Adds the sum of rows to matrix `matrix` of the gradient of a layer's numbers: first the steps
    /// of each row of the batch, then those.
    fn add_up(&mut self, of: Normalize, matrix: usize, mut summed: Summed) -> Result<()> {
        let width = summed.width;
        if summed.steps > 1 && summed.batch > 1 {
            let slot = self.handed(&format!("sums.{width}"), &[1, summed.batch, width]);
            let window = self.low.whole(slot);
            self.sum_steps(summed, (window, 0), true)?;
            summed = Summed { window, first: 0, steps: 1, ..summed };
        }
        summed = Summed { steps: summed.steps * summed.batch, batch: 1, ..summed };
        let (gradient, first) = self.gradient_of(of.buffer, matrix);
        let gradient = self.low.whole(gradient);
        if !(of.single && matrix == WEIGHT) {
            return self.sum_steps(summed, (gradient, matrix), first);
        }
        // One number is the sum over all features.
        let slot = self.handed(&format!("sum.{width}"), &[1, 1, width]);
        let window = self.low.whole(slot);
        self.sum_steps(summed, (window, 0), true)?;
        let params = Params { count: word(width), scale: 1.0_f32.to_bits(), ..Params::default() };
        let windows = [(Role::Source, Some(window)), (Role::Result, Some(gradient))];
        self.low.dispatch(Program::Training(Training::Total { first }), params, [1, 1, 1], &windows)
    }
}
