//! Sums over the steps of a chunk, or over all of its rows.

use super::Back;
use crate::error::Result;
use crate::kernel::{Params, Program, Role, Training};
use crate::plan::Window;
use crate::plan::lower::dispatch::{lanes, word};

/// Rows to be added up, from row `first` of a window on: those of a batch, step by step.
#[derive(Clone, Copy)]
pub(super) struct Summed {
    pub(super) window: Window,
    pub(super) first: usize,
    pub(super) steps: usize,
    pub(super) batch: usize,
    /// Elements of a row.
    pub(super) width: usize,
}

impl Back<'_, '_> {
    /// Emits sums over steps into the rows of a window from row `target` on. They are added to what is there unless
    /// they are the first.
    pub(super) fn sum_steps(
        &mut self,
        summed: Summed,
        (result, target): (Window, usize),
        mut first: bool,
    ) -> Result<()> {
        let Summed { window, first: row, steps, batch, width } = summed;
        let most = self.low.most_iterations(16);
        for start in (0..steps).step_by(most) {
            let params = Params {
                batch: word(batch),
                rows: word(batch),
                directions: 1,
                units: word(width),
                steps: word(most.min(steps - start)),
                source_0: word(row + start * batch),
                target_0: word(target),
                ..Params::default()
            };
            let windows = [(Role::Source, Some(window)), (Role::Result, Some(result))];
            let grid = [lanes(width), batch, 1];
            self.low.dispatch(Program::Training(Training::SumSteps { first }), params, grid, &windows)?;
            first = false;
        }
        Ok(())
    }
}
