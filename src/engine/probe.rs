//! What tests need of an engine and users do not: every slot of a plan, wgpu's validator in a device's place, and a
//! device that fails when told to.

use std::ops::Range;
use std::sync::Arc;

use crate::call::{Call, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::plan::{Plan, Shape, Slots};
use crate::platform::block_on;
use crate::weights::{Source, Weights};

use super::exchange::Exchange;
use super::executor::{Executor, Machine};
use super::{Engine, Options, Tile, layout};

impl Engine {
    /// An engine on wgpu's validator, which needs no adapter: it refuses what a device would, and computes nothing.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    #[doc(hidden)]
    pub fn on_validator(model: Model, weights: &Weights, options: Options) -> Result<Self> {
        let (layout, source) = (layout(&model, &options)?, Source::held(weights, &model)?);
        block_on(async { Self::on(Machine::validator().await?, model, layout, source, &options).await })
    }

    /// An engine on a device that no other engine shares, and so may lose.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    #[doc(hidden)]
    pub fn alone(model: Model, weights: &Weights, options: Options) -> Result<Self> {
        let (layout, source) = (layout(&model, &options)?, Source::held(weights, &model)?);
        block_on(async { Self::on(Machine::alone(&options.device).await?, model, layout, source, &options).await })
    }

    /// The contents of every float slot of the plans that `input` runs through, by name, after the last dispatch: for
    /// comparing executors slot by slot. What no dispatch wrote is NaN.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    #[doc(hidden)]
    pub fn trace(&self, input: &Input) -> Result<Slots> {
        let call = self.planner.call(input)?;
        let mut slots = Vec::new();
        for tile in self.tiles(&call) {
            let Tile { rows, plan } = tile?;
            slots.extend(self.trace_rows(&plan, &call, rows)?);
        }
        Ok(slots)
    }

    /// [`trace`](Self::trace) of one plan for the whole input: another engine's plan, or one made by hand.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the plan is of another call; otherwise as [`run`](Self::run).
    #[doc(hidden)]
    pub fn trace_plan(&self, plan: &Arc<Plan>, input: &Input) -> Result<Slots> {
        let call = self.planner.call(input)?;
        self.trace_rows(plan, &call, 0..call.form.batch)
    }

    fn trace_rows(&self, plan: &Arc<Plan>, call: &Call<'_>, rows: Range<usize>) -> Result<Slots> {
        if rows.len() != plan.shape.batch || call.time(0) != plan.shape.time {
            let Shape { time, batch, .. } = plan.shape;
            let text =
                format!("plan: expected one of T = {}, B = {}, got T = {time}, B = {batch}", call.time(0), rows.len());
            return Err(Error::new(ErrorKind::Shape, text));
        }
        let mut exchange = Exchange { call, model: self.model(), rows, decoder: None };
        let traced = block_on(self.executor.trace(plan, &mut exchange))?;
        Ok(traced.into_iter().map(|(slot, data)| (plan.slots[slot].name.clone(), data)).collect())
    }

    /// From now on a GPU fills what kernels write with NaNs before every run, so that a dispatch that did nothing
    /// shows. The CPU stays as it is.
    #[doc(hidden)]
    pub fn poison(&self) {
        match &self.executor {
            Executor::Cpu(_) => {}
            Executor::Gpu { gpu, .. } => gpu.poison(),
        }
    }

    /// How many buffers, bind groups, pipelines and the like were made on the GPU so far; none on the CPU.
    #[doc(hidden)]
    pub fn gpu_objects(&self) -> u64 {
        self.executor.gpu_objects()
    }

    /// Loses the device, as a driver's crash does, for every engine that shares it. The CPU stays as it is.
    #[doc(hidden)]
    pub fn lose(&self) {
        match &self.executor {
            Executor::Cpu(_) => {}
            Executor::Gpu { gpu, .. } => gpu.lose(),
        }
    }
}
