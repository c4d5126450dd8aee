//! The backward pass of joins: each value takes its share of the result's gradient.

use super::sums::Summed;
use super::{Back, GradientOf};
use crate::error::{Error, Result};
use crate::kernel::{JoinOp, Training};
use crate::layout::depth;
use crate::model::Join;
use crate::plan::lower::Chunk;
use crate::plan::lower::dispatch::lanes;
use crate::plan::lower::join::Part;
use crate::plan::lower::ops::{Axis, Sequence};
use crate::plan::lower::stage::{Joined, Stage};

impl Back<'_, '_> {
    /// Emits the backward pass of a join.
    pub(super) fn join(
        &mut self,
        stage: &Stage<'_>,
        join: Join,
        values: &[Joined],
        delta: Sequence,
        time: usize,
    ) -> Result<()> {
        let mut offset = 0;
        for (index, (&source, value)) in stage.op.from.iter().zip(values).enumerate() {
            let from = if join == Join::Concat { offset } else { 0 };
            offset += value.size;
            let Some(given) = self.given(source) else { continue };
            let Some(own) = value.source else { return Err(Error::internal("a join: expected its values apart")) };
            let meets_all = own.axis == Axis::Rows && delta.axis != Axis::Rows;
            if !meets_all && matches!(join, Join::Add | Join::Subtract) {
                let combine = if join == Join::Subtract && index > 0 { JoinOp::Subtract } else { JoinOp::Add };
                self.add_all(given, delta, combine, time)?;
                continue;
            }
            let make = |back: &mut Self, target: Sequence, chunk: Chunk| {
                back.share(join, (values, index, from), delta, target, chunk)
            };
            if meets_all {
                self.each_sum(given, delta, time, make)?;
            } else {
                self.each_row(given, delta, time, make)?;
            }
        }
        Ok(())
    }

    /// Emits what value `index` of a join takes of the gradient at each step.
    fn share(
        &mut self,
        join: Join,
        (values, index, from): (&[Joined], usize, usize),
        delta: Sequence,
        target: Sequence,
        chunk: Chunk,
    ) -> Result<()> {
        let size = values[index].size;
        let set = |taken, scale| Part { combine: JoinOp::Set, taken, offset: 0, scale };
        let own =
            |index: usize| values[index].source.ok_or_else(|| Error::internal("a join: expected its values apart"));
        match join {
            Join::Concat => self.low.join_part(&set([from, size], 1.0), true, delta, target, chunk),
            Join::Add => self.low.join_part(&set([0, size], 1.0), true, delta, target, chunk),
            Join::Subtract => {
                let scale = if index == 0 { 1.0 } else { -1.0 };
                self.low.join_part(&set([0, size], scale), true, delta, target, chunk)
            }
            #[expect(clippy::cast_precision_loss, reason = "a model joins few values")]
            Join::Average => self.low.join_part(&set([0, size], 1.0 / values.len() as f32), true, delta, target, chunk),
            Join::Multiply => {
                self.low.join_part(&set([0, size], 1.0), true, delta, target, chunk)?;
                for other in (0..values.len()).filter(|&other| other != index) {
                    let part = Part { combine: JoinOp::Multiply, taken: [0, size], offset: 0, scale: 1.0 };
                    self.low.join_part(&part, false, own(other)?, target, chunk)?;
                }
                Ok(())
            }
            Join::Maximum => {
                // Both by rows: a value that joins every step is written out for each step.
                let mut sides = [own(index)?, own(1 - index)?];
                for (side, name) in sides.iter_mut().zip(["compared", "other"]) {
                    let copy = self.scratch(name, delta.axis, delta.features);
                    self.low.join_part(&set([0, size], 1.0), true, *side, copy, chunk)?;
                    *side = copy;
                }
                // Rows are compared feature by feature, as the join has them: its values may be in other parts.
                let share = self.scratch("share", delta.axis, delta.features);
                let x = lanes(depth(share.features));
                self.by_rows(Training::MaximumBack, x, (sides[0], Some(sides[1])), delta, share, chunk)?;
                self.low.join_part(&set([0, size], 1.0), true, share, target, chunk)
            }
            Join::ConcatSteps => Err(Error::internal("a join over time: expected its pieces")),
        }
    }

    /// Calls `make` for each chunk of steps, to write what a row that joins
    /// every step takes at each. Adds the sums to the row's gradient.
    fn each_sum(
        &mut self,
        given: GradientOf,
        like: Sequence,
        time: usize,
        make: impl Fn(&mut Self, Sequence, Chunk) -> Result<()>,
    ) -> Result<()> {
        let (target, mut first) = self.begin(given, true)?;
        let scratch = self.scratch("each", like.axis, target.features);
        let (batch, width) = (self.low.shape.batch, depth(target.features));
        let (result, base) = self.low.rows(target, target.first, 1);
        let into = (result, (target.first - base) * batch);
        for chunk in self.chunks(time) {
            make(self, scratch, chunk)?;
            let (window, first_row) = self.low.rows_of_chunk(scratch, chunk);
            self.sum_steps(Summed { window, first: first_row, steps: chunk.len, batch, width }, into, first)?;
            first = false;
        }
        Ok(())
    }
}
