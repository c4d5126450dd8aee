//! The façade that walks the road for a user: check → plan → encode → execute → decode.
//!
//! It decides two things: which device (`engine::device`), and how a batch that does not fit it is cut into tiles.
//! Everything about how a call is computed is the plan's.

mod cache;
mod device;
mod executor;
#[cfg(feature = "gpu")]
mod gpus;
mod named;
mod planner;
mod probe;
#[cfg(feature = "gpu")]
mod self_check;
mod timings;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::call::{Call, Form, Input, Output};
use crate::error::Result;
use crate::feed::{Decoder, encode};
use crate::kernel::{Mask, Storage};
use crate::layout::Layout;
use crate::model::Model;
use crate::pack::{Packed, pack};
use crate::plan::{FeedData, Plan, Shape};
use crate::weights::Weights;

use executor::{Executor, Machine, Wait};
use timings::timed;

pub use device::{Device, DeviceInfo, SelfCheck};
pub use planner::Planner;
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
    planner: Planner,
    executor: Executor,
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

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Engine>();
};

/// The futures go from thread to thread too; in a browser there is one.
#[cfg(not(target_arch = "wasm32"))]
const _: fn(Model, &Weights, &Engine, &Input) = |model, weights, engine, input| {
    fn sent<T: Send>(_: T) {}
    sent(Engine::new_async(model, weights, Options::default()));
    sent(engine.run_async(input));
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
        let (layout, packed) = packed(&model, weights, options.precision)?;
        let opened = Machine::open(&options.device).await?;
        Self::on(opened, model, layout, packed).await
    }

    /// An engine on an open device.
    async fn on(
        (machine, device): (Machine, DeviceInfo),
        model: Model,
        layout: Layout,
        packed: Packed,
    ) -> Result<Self> {
        let planner = Planner::on(model, layout, &machine, device);
        let executor = machine.load(packed).await.map_err(|e| planner.device.explain(e))?;
        Ok(Self { planner, executor })
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
        self.planner.plan(shape)
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.planner.model
    }

    /// Where the engine computes, and why there.
    pub fn device(&self) -> &DeviceInfo {
        &self.planner.device
    }

    async fn walk(&self, input: &Input, wait: Wait) -> Result<(Output, Timings)> {
        let Planner { model, device, .. } = &self.planner;
        let (call, form) = input.check(model)?;
        let mut decoder = None;
        let mut timings = Timings::default();
        for tile in self.tiles(&call, form) {
            let Tile { rows, plan } = tile?;
            let feeds = timed(&mut timings.upload, || self.feeds(&call, &rows, &plan))?;
            // After the first plan, and before anything runs: what no device takes needs no memory for its output.
            let decoder = match &mut decoder {
                Some(decoder) => decoder,
                none => none.insert(Decoder::new(model, form)?),
            };
            let (data, took) = self.executor.run(&plan, &feeds, wait).await.map_err(|e| device.explain(e))?;
            timings.add(took);
            timed(&mut timings.readback, || decoder.decode(&plan, &rows, &data));
        }
        let decoder = decoder.expect("a call has at least one row, and so a tile");
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
    fn feeds(&self, call: &Call, rows: &Range<usize>, plan: &Plan) -> Result<Vec<FeedData>> {
        plan.writes.iter().map(|write| encode(call, self.model(), rows.clone(), write.feed)).collect()
    }
}

/// The checked model's layout, and the weights packed as it says.
fn packed(model: &Model, weights: &Weights, precision: Precision) -> Result<(Layout, Packed)> {
    model.check()?;
    let layout = Layout::of(model, precision.storage())?;
    let packed = pack(weights, model, &layout)?;
    Ok((layout, packed))
}

/// Some rows of a call, and their plan.
struct Tile {
    rows: Range<usize>,
    plan: Arc<Plan>,
}

impl Precision {
    fn storage(self) -> Storage {
        match self {
            Self::F32 => Storage::F32,
            Self::F16 => Storage::F16,
        }
    }
}

impl From<Storage> for Precision {
    /// The precision whose weights are stored so.
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::F32 => Self::F32,
            Storage::F16 => Self::F16,
        }
    }
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
        f.debug_struct("Engine").field("model", self.model()).field("device", self.device()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
