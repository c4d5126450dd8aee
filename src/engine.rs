//! The façade that walks the road for a user: check → plan → encode → execute → decode.
//!
//! It decides two things: which device (`engine::device`), and how a batch that does not fit it is cut into tiles.
//! Everything about how a call is computed is the plan's.

mod cache;
mod device;
mod executor;
#[cfg(feature = "gpu")]
mod gpus;
mod probe;
#[cfg(feature = "gpu")]
mod self_check;
mod timings;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::{Call, Form, Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::feed::{Decoder, encode};
use crate::kernel::{Mask, Storage};
use crate::layout::Layout;
use crate::model::Model;
use crate::pack::pack;
use crate::plan::tune::Tuning;
use crate::plan::{FeedData, Limits, Plan, Shape, lower};
use crate::weights::Weights;

use cache::Cache;
use executor::{Executor, Wait};
use timings::timed;

pub use device::{Device, DeviceInfo, SelfCheck};
pub use timings::Timings;

/// A model with its weights on a device, ready to run.
///
/// An engine keeps no state between calls: runs may overlap, from any number of threads, and give what they give alone.
///
/// # Example
///
/// ```
/// use gatewave::{Device, Engine, Gru, Input, Model, Weights};
/// use ndarray::Array3;
///
/// let model = Model::new().layer(Gru::new(8, 32).num_layers(2));
/// let weights = Weights::random(&model, 0)?;
/// let engine = Engine::new(model, &weights, Device::Cpu)?;
///
/// let first = engine.run(&Input::features(Array3::zeros((4, 10, 8))))?;
/// assert_eq!(first.output.shape(), [4, 10, 32]);
///
/// // Four more steps from where the first ten ended.
/// let states = first.states[0].clone();
/// let second = engine.run(&Input::features(Array3::zeros((4, 4, 8))).states(states))?;
/// assert_eq!(second.output.shape(), [4, 4, 32]);
/// # Ok::<(), gatewave::Error>(())
/// ```
pub struct Engine {
    model: Model,
    layout: Layout,
    executor: Executor,
    limits: Limits,
    tuning: Tuning,
    device: DeviceInfo,
    plans: Mutex<Cache<Shape, Arc<Plan>>>,
}

/// How an engine is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where to compute.
    pub device: Device,
    /// How weights are stored.
    pub precision: Precision,
}

/// How weights are stored. Inputs, states, sums and outputs are 32-bit floats either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats: half the memory, and about three decimal digits.
    F16,
}

/// Plans that are kept: a server sees a few shapes again and again.
const PLANS: usize = 16;

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Engine>();
};

impl Engine {
    /// An engine that computes `model` with `weights` on `device`, in 32-bit floats.
    ///
    /// # Errors
    ///
    /// Kind `Model` or `Weights`, where they are wrong or do not fit each other; `Device`, where there is no such
    /// device; `Limits`, where the weights do not fit it.
    pub fn new(model: Model, weights: &Weights, device: Device) -> Result<Self> {
        Self::with_options(model, weights, Options { device, ..Options::default() })
    }

    /// An engine made as `options` say.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and kind `Weights`, where a weight is too large for 16-bit floats.
    pub fn with_options(model: Model, weights: &Weights, options: Options) -> Result<Self> {
        executor::block_on(Self::new_async(model, weights, options))
    }

    /// [`with_options`](Self::with_options), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub async fn new_async(model: Model, weights: &Weights, options: Options) -> Result<Self> {
        model.check()?;
        let storage = match options.precision {
            Precision::F32 => Storage::F32,
            Precision::F16 => Storage::F16,
        };
        let layout = Layout::of(&model, storage)?;
        let packed = pack(weights, &model, &layout)?;
        let (executor, device) = Executor::open(&options.device, packed).await?;
        log::info!("device {device}: {}", device.reason());
        let (limits, tuning) = (executor.limits(), Tuning::of(executor.target()));
        Ok(Self { model, layout, executor, limits, tuning, device, plans: Mutex::new(Cache::new(PLANS)) })
    }

    /// What the model gives for `input`, and its final states.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model; `Limits`, where not even one of its sequences fits the
    /// device; `Device` or `Lost`, where the device fails.
    pub fn run(&self, input: &Input) -> Result<Output> {
        Ok(self.run_timed(input)?.0)
    }

    /// [`run`](Self::run), without blocking on a GPU. (On the CPU it computes before it returns.)
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_async(&self, input: &Input) -> Result<Output> {
        Ok(self.walk(input, Wait::Aside).await?.0)
    }

    /// [`run`](Self::run), and where the time went.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn run_timed(&self, input: &Input) -> Result<(Output, Timings)> {
        executor::block_on(self.walk(input, Wait::Here))
    }

    /// The plan of a call of `shape`. Where the whole batch does not fit the device, the plan of the tile that does:
    /// its `shape.batch` is smaller, and the call is run tile by tile.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where `shape` has no steps or no rows; `Limits`, where not even one sequence fits the device.
    pub fn plan(&self, shape: Shape) -> Result<Arc<Plan>> {
        if shape.time == 0 || shape.batch == 0 {
            return Err(Error::new(
                ErrorKind::Shape,
                format!("plan: expected at least one step and one row, got T = {}, B = {}", shape.time, shape.batch),
            ));
        }
        if let Some(plan) = self.plans().get(&shape) {
            return Ok(plan);
        }
        let plan = Arc::new(self.lower_tile(shape)?);
        self.plans().put(shape, Arc::clone(&plan));
        Ok(plan)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Where the engine computes, and why there.
    pub fn device(&self) -> &DeviceInfo {
        &self.device
    }

    async fn walk(&self, input: &Input, wait: Wait) -> Result<(Output, Timings)> {
        let (call, form) = input.check(&self.model)?;
        let mut decoder = Decoder::new(&self.model, form)?;
        let mut timings = Timings::default();
        for tile in self.tiles(&call, form) {
            let Tile { rows, plan } = tile?;
            let feeds = timed(&mut timings.upload, || self.feeds(&call, &rows, &plan));
            let (data, took) = self.executor.run(&plan, &feeds, wait).await.map_err(|e| self.device.explain(e))?;
            timings.add(took);
            timed(&mut timings.readback, || decoder.decode(&plan, &rows, &data));
        }
        let output = timed(&mut timings.readback, || decoder.finish());
        Ok((output, timings))
    }

    /// The call, cut into tiles of the batch: all of one size, and a smaller one for what remains.
    fn tiles(&self, call: &Call, form: Form) -> impl Iterator<Item = Result<Tile>> + '_ {
        let mask = if call.live.is_some() { Mask::Live } else { Mask::All };
        let (mut first, mut most) = (0, form.batch);
        std::iter::from_fn(move || {
            let batch = most.min(form.batch - first);
            if batch == 0 {
                return None;
            }
            Some(self.plan(Shape { time: form.time, batch, mask }).map(|plan| {
                most = plan.shape.batch;
                let rows = first..first + most;
                first = rows.end;
                Tile { rows, plan }
            }))
        })
    }

    /// What `plan` is fed for rows `rows` of `call`.
    fn feeds(&self, call: &Call, rows: &Range<usize>, plan: &Plan) -> Vec<FeedData> {
        plan.writes.iter().map(|write| encode(call, &self.model, rows.clone(), write.feed)).collect()
    }

    /// The plan of `shape`, its batch halved until it fits the device.
    fn lower_tile(&self, shape: Shape) -> Result<Plan> {
        let mut tile = shape;
        loop {
            match self.lower(tile) {
                Err(e) if e.kind() == ErrorKind::Limits && tile.batch > 1 => tile.batch = tile.batch.div_ceil(2),
                Err(e) if e.kind() == ErrorKind::Limits => return Err(self.too_long(tile, &e)),
                plan => return plan,
            }
            log::debug!("a batch of {} does not fit {}; trying {}", shape.batch, self.device, tile.batch);
        }
    }

    fn lower(&self, shape: Shape) -> Result<Plan> {
        lower::lower(&self.model, &self.layout, shape, &self.limits, &self.tuning)
    }

    /// Why one sequence does not fit, and how long a sequence would.
    fn too_long(&self, shape: Shape, why: &Error) -> Error {
        let halves = std::iter::successors(Some(shape.time / 2), |time| Some(time / 2)).take_while(|&time| time > 0);
        let fits = halves.into_iter().find(|&time| self.lower(Shape { time, ..shape }).is_ok());
        let hint = match fits {
            Some(time) => format!("a sequence of {time} steps would fit: split it and carry the states over"),
            None => "not even one step fits: the model is too large for this device".into(),
        };
        let text = format!("one sequence of {} steps on {}: {why}; {hint}", shape.time, self.device);
        self.device.explain(Error::new(ErrorKind::Limits, text))
    }

    fn plans(&self) -> MutexGuard<'_, Cache<Shape, Arc<Plan>>> {
        // A plan goes in whole or not at all: a panic elsewhere left nothing half done.
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some rows of a call, and their plan.
struct Tile {
    rows: Range<usize>,
    plan: Arc<Plan>,
}

impl Options {
    /// The same on `device`.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// The same with weights of `precision`.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("model", &self.model).field("device", &self.device).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
