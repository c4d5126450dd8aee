//! A call, cut into tiles of the batch: all of one size, and a smaller one for the rest.

use std::ops::Range;
use std::sync::Arc;

use super::planner::Planner;
use crate::call::Call;
use crate::error::Result;
use crate::kernel::Mask;
use crate::plan::{Goal, Plan, Shape, Steps};

/// Some rows of a call, and their plan.
pub(super) struct Tile {
    pub(super) rows: Range<usize>,
    pub(super) plan: Arc<Plan>,
}

/// The tiles of a call that are still to come.
pub(super) struct Tiles {
    planner: Arc<Planner>,
    goal: Goal,
    shape: Shape,
    first: usize,
    most: usize,
}

impl Tiles {
    /// Makes the tiles of `call`.
    pub(super) fn of(planner: &Arc<Planner>, call: &Call<'_>) -> Self {
        Self::to(planner, Goal::Outputs, shape_of(call))
    }

    /// Makes the tiles of a call of `shape` that should compute `goal`.
    pub(super) fn to(planner: &Arc<Planner>, goal: Goal, shape: Shape) -> Self {
        Self { planner: Arc::clone(planner), goal, shape, first: 0, most: shape.batch }
    }

    /// Returns the next tile, or `None` after the last.
    ///
    /// # Errors
    ///
    /// As [`Planner::plan_to`].
    pub(super) async fn next(&mut self) -> Result<Option<Tile>> {
        let batch = self.most.min(self.shape.batch - self.first);
        if batch == 0 {
            return Ok(None);
        }
        let plan = self.planner.planned(self.goal, Shape { batch, ..self.shape }).await?;
        self.most = plan.shape.batch;
        let rows = self.first..self.first + self.most;
        self.first = rows.end;
        Ok(Some(Tile { rows, plan }))
    }
}

/// The sizes of a call, for which plans are made.
pub(super) fn shape_of(call: &Call<'_>) -> Shape {
    let mask = |clock| if call.masked(clock) { Mask::Live } else { Mask::All };
    let steps = |clock| Steps { time: call.time(clock), mask: mask(clock) };
    Shape::of_clocks(call.form.batch, (0..call.clocks().all().len()).map(steps))
}
