//! The backward pass of operations across steps: pools, windows, and numbers in another shape.

use super::Back;
use crate::error::Result;
use crate::kernel::JoinOp;
use crate::layout::depth;
use crate::plan::lower::across::Taking;
use crate::plan::lower::join::Part;
use crate::plan::lower::ops::Across;
use crate::plan::lower::ops::{Sequence, Span};
use crate::plan::lower::stage::Stage;

impl Back<'_, '_> {
    /// Emits the backward pass of an operation across steps.
    pub(super) fn across(&mut self, stage: &Stage<'_>, taking: Taking, delta: Sequence, time: usize) -> Result<()> {
        let Some(given) = self.given(self.only(stage)?) else { return Ok(()) };
        match taking.across {
            Across::Pool { op, clock, all } => {
                let pooled = stage.result;
                self.each_row(given, taking.source, time, |back, target, chunk| {
                    back.low.pool_back((op, clock, all), taking, [pooled, delta], target, chunk)
                })
            }
            Across::Windows { op, windows, clock } => {
                let (source, pooled) = (taking.source, stage.result);
                self.each_row(given, source, windows.time, |back, target, chunk| {
                    back.low.window_back((op, windows, clock), source, [pooled, delta], (target, chunk))
                })
            }
            Across::Rearrange { swapped } => {
                let (target, first) = self.begin(given, true)?;
                let steps = target.axis.time(self.low.shape);
                let width = depth(target.features);
                let whole = if first {
                    target
                } else {
                    let name = format!("rearranged.{steps}.{width}");
                    let slot = self.handed(&name, &[steps, self.low.shape.batch, width]);
                    Sequence { slot, first: 0, span: Span::Whole, ..target }
                };
                for chunk in self.chunks(steps) {
                    self.low.rearrange(swapped, delta, whole, chunk)?;
                    if !first {
                        let taken = [0, target.features.len()];
                        let part = Part { combine: JoinOp::Add, taken, offset: 0, scale: 1.0 };
                        self.low.join_part(&part, false, whole, target, chunk)?;
                    }
                }
                Ok(())
            }
        }
    }
}
