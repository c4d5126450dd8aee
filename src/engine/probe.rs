//! What tests need of an engine and users do not: every slot of a plan, wgpu's validator in place of a device, and a
//! device that fails on request.

use std::ops::Range;
use std::sync::Arc;

use crate::call::{Call, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::plan::{Plan, Shape, Slots};
use crate::platform::block_on;
use crate::weights::{Source, Weights};

use super::call_io::CallIo;
use super::executor::{Executor, Machine};
use super::tiles::{Tile, Tiles, shape_of};
use super::{Engine, EngineBuilder, layout};

impl Engine {
    /// Returns the plan of a call of `shape`. If the whole batch does not fit the device, it is the plan of the largest
    /// tile that does. Its `shape.batch` is then smaller, and the call runs tile by tile.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if `shape` has no steps or no rows, or of
    /// kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if not even one sequence fits the device.
    pub fn plan(&self, shape: Shape) -> Result<Arc<Plan>> {
        self.planner.plan(shape)
    }

    /// Returns the plan of a call with `input`, as [`plan`](Self::plan) does of its shape.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the input does not fit the model, or
    /// one that [`plan`](Self::plan) returns.
    pub fn plan_for(&self, input: &Input) -> Result<Arc<Plan>> {
        self.planner.plan(shape_of(&self.planner.call(input)?))
    }

    /// Makes an engine on wgpu's validator, which needs no adapter: it refuses what a device
    /// would refuse, and computes nothing.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::build`].
    pub fn on_validator(model: Model, weights: &Weights, options: EngineBuilder) -> Result<Self> {
        let (layout, source) = (layout(&model, &options)?, Source::held(weights, &model)?);
        block_on(async { Self::on(Machine::validator().await?, model, layout, source, &options).await })
    }

    /// Makes an engine on a device that no other engine shares, so that it may lose the device.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::build`].
    pub fn exclusive(model: Model, weights: &Weights, options: EngineBuilder) -> Result<Self> {
        let (layout, source) = (layout(&model, &options)?, Source::held(weights, &model)?);
        block_on(async { Self::on(Machine::exclusive(&options.device).await?, model, layout, source, &options).await })
    }

    /// Returns the contents of every float slot of the plans of `input`, by name, after the last dispatch: to compare
    /// executors slot by slot. What no dispatch wrote is NaN.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn trace(&self, input: &Input) -> Result<Slots> {
        let call = self.planner.call(input)?;
        let mut slots = Vec::new();
        let mut tiles = Tiles::of(&self.planner, &call);
        while let Some(Tile { rows, plan }) = block_on(tiles.next())? {
            slots.extend(self.trace_rows(&plan, &call, rows)?);
        }
        Ok(slots)
    }

    /// [`trace`](Self::trace) of one plan for the whole input: the plan of another engine, or one made in a test.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). Returns an error of kind
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the plan belongs to another call.
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
        let mut io = CallIo { call, model: self.model(), rows, decoder: None };
        let traced = block_on(self.executor.trace(plan, &mut io))?;
        Ok(traced.into_iter().map(|(slot, data)| (plan.slots[slot].name.clone(), data)).collect())
    }

    /// From now on, fills what kernels write with NaNs on a GPU before every run, so that a dispatch that did nothing
    /// is noticed. The CPU stays as it is.
    pub fn poison(&self) {
        match &self.executor {
            Executor::Cpu(_) => {}
            Executor::Gpu { gpu, .. } => gpu.poison(),
        }
    }

    /// Returns how many buffers, bind groups, pipelines and the like were made on the GPU so far; 0 on the CPU.
    pub fn gpu_objects(&self) -> u64 {
        self.executor.gpu_objects()
    }

    /// Loses the device, as a driver's crash would, for every engine that shares it. The CPU stays as it is.
    pub fn lose(&self) {
        match &self.executor {
            Executor::Cpu(_) => {}
            Executor::Gpu { gpu, .. } => gpu.lose(),
        }
    }
}
