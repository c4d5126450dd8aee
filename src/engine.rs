//! The façade that walks the road for a user: check → plan → encode → execute → decode.
//!
//! It decides two things: which device (`engine::device`), and how a batch that does not fit it is cut into tiles.
//! Everything about how a call is computed is the plan's.

mod begin;
mod cache;
mod carry;
mod device;
mod exchange;
mod executor;
mod forward;
mod frames;
mod generate;
mod gpus;
#[cfg(not(target_arch = "wasm32"))]
mod kernels;
mod later;
mod learner;
mod lesson;
mod memory;
mod named;
mod planner;
#[cfg(not(target_arch = "wasm32"))]
mod probe;
mod progress;
mod push;
mod resident;
mod self_check;
mod sent;
mod streams;
mod timings;
mod update;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Once};

use crate::call::{Call, Input, Output};
use crate::error::Result;
use crate::feed::Decoder;
use crate::kernel::{Mask, Storage};
use crate::layout::Layout;
use crate::model::Model;
use crate::pack::Packing;
use crate::plan::tune::Target;
use crate::plan::{Goal, Limits, Plan, Shape, Steps, Strategy};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::weights::{LearnedStates, Precision, Source, Tensors, Weights};

use exchange::Exchange;
use executor::{Executor, Machine, Wait};
use memory::Memory;
use timings::timed;

pub(crate) use crate::plan::Moves;
pub(crate) use carry::Carried;
pub use device::{Checked, Device, DeviceInfo, SelfCheck};
pub use generate::Sampling;
#[cfg(not(target_arch = "wasm32"))]
pub use kernels::KernelTime;
pub(crate) use learner::{Asked, Learner, Wanted};
pub(crate) use lesson::Found;
pub use planner::Planner;
pub use progress::{Loading, Progress};
pub use push::FrameValue;
pub(crate) use sent::Sent;
pub use streams::{StreamId, Streams};
pub use timings::Timings;

/// A model with its weights on a device, ready to run.
///
/// Runs may overlap, from any number of threads, and give what they give alone: an engine keeps no state between calls.
/// But for stacks of [`Memory::Engine`](crate::Memory::Engine), Keras' `stateful`: a call that is given no states for such
/// a stack begins where the engine's last call ended, so that calls of such an engine run one after another.
/// [`reset_states`](Self::reset_states) begins anew.
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
    /// Where stacks begin that have learned it.
    initial: BTreeMap<usize, LearnedStates>,
    /// Where the model has stacks whose states last.
    memory: Option<Memory>,
}

/// How an engine is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where to compute.
    pub device: Device,
    /// How weights are stored.
    pub precision: Precision,
    /// How recurrent layers go through time, wherever they can: `None` chooses by sizes and device.
    pub strategy: Option<Strategy>,
    /// Training: bytes that recurrent layers may keep of a call for their way back. `None` chooses by the device. What is not kept
    /// is computed twice, and the gradients are the same bits.
    pub keep_bytes: Option<u64>,
    /// The most rows of a batch that a call or an update computes at once. `None` is as many as the device has memory for. A
    /// batch of more is computed part by part; an update sums the gradients of all parts, which is called gradient
    /// accumulation. Streams and drawing keep the states of all rows together, and take no parts.
    pub tile_rows: Option<NonZeroUsize>,
    /// The kind of device that plans and weights are made for: `None` is what the device is. For tests, that try a GPU's
    /// choices on a software adapter.
    #[doc(hidden)]
    pub target: Option<Target>,
    /// How many workgroups are taken to run side by side: `None` is what the device is seen to do. For tests, of those that
    /// do not.
    #[doc(hidden)]
    pub resident_workgroups: Option<u32>,
    /// Bytes that a chunk of time may take: `None` is what the device is given. For tests, that cut short calls as long ones
    /// are cut.
    #[doc(hidden)]
    pub chunk_bytes: Option<u64>,
    /// What a dispatch is held to besides the device's own limits. For tests, that cut small calls as large ones are cut.
    #[doc(hidden)]
    pub limits: Option<Limits>,
    /// Who is told how far loading is.
    pub progress: Progress,
}

/// Warns once where the library was compiled for debugging: nothing else would say why it is slow.
fn warn_of_debug_build() {
    static ONCE: Once = Once::new();
    if cfg!(debug_assertions) {
        ONCE.call_once(|| log::warn!("this is a debug build, several hundred times slower; use --release"));
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Engine>();
};

/// The futures go from thread to thread too; in a browser there is one.
#[cfg(not(target_arch = "wasm32"))]
const _: fn(Model, &Weights, &Tensors, &Engine, &Input) = |model, weights, tensors, engine, input| {
    fn sent<T: Send>(_: T) {}
    sent(Engine::new_async(model.clone(), weights, Options::default()));
    sent(Engine::from_tensors_async(model, tensors, Options::default()));
    sent(engine.run_async(input));
};

impl Engine {
    /// An engine that computes `model` with `weights` on `device`, in 32-bit floats.
    ///
    /// # Errors
    ///
    /// Kind `Model` or `Weights`, where they are wrong or do not fit each other; `Device`, where there is no such
    /// device; `Limits`, where the weights do not fit it.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(model: Model, weights: &Weights, device: Device) -> Result<Self> {
        Self::with_options(model, weights, Options { device, ..Options::default() })
    }

    /// An engine made as `options` say.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and kind `Weights`, where a weight is too large for 16-bit floats.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn with_options(model: Model, weights: &Weights, options: Options) -> Result<Self> {
        block_on(Self::new_async(model, weights, options))
    }

    /// [`with_options`](Self::with_options), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options).
    pub async fn new_async(model: Model, weights: &Weights, options: Options) -> Result<Self> {
        let (layout, source) = (layout(&model, &options)?, Source::held(weights, &model)?);
        Self::on(Machine::open(&options).await?, model, layout, source, &options).await
    }

    /// An engine whose weights are `tensors`, by the names that the model's layers give them. Tensors that a file stores
    /// are read one after the other, part by part, straight into what the device gets: what is loaded is never in the
    /// host's memory twice, and where a GPU computes not even once.
    ///
    /// Warns of tensors that no layer uses, and of elements that are NaN or infinite.
    ///
    /// # Errors
    ///
    /// As [`with_options`](Self::with_options); kind `Weights`, where a tensor is missing, of another shape than the
    /// model's sizes ask for, or of a type that is not read; and what reading the tensors gives.
    ///
    /// # Example
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use gatewave::formats::{description, safetensors};
    /// use gatewave::{Device, Engine, Options};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let file = safetensors::read(Path::new("models/shakespeare/shakespeare.safetensors"))?;
    /// let json = std::fs::read_to_string("models/shakespeare/model.json").expect("it is there");
    /// let model = description::from_json(&json, &file.tensors)?;
    /// let options = Options::default().device(Device::Cpu).progress(|loading| {
    ///     println!("{} of {} bytes", loading.done_bytes, loading.total_bytes);
    /// });
    /// let engine = Engine::from_tensors(model, &file.tensors, options)?;
    /// # drop(engine);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_tensors(model: Model, tensors: &Tensors, options: Options) -> Result<Self> {
        block_on(Self::from_tensors_async(model, tensors, options))
    }

    /// [`from_tensors`](Self::from_tensors), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`from_tensors`](Self::from_tensors).
    pub async fn from_tensors_async(model: Model, tensors: &Tensors, options: Options) -> Result<Self> {
        let (layout, source) = (layout(&model, &options)?, Source::named(tensors, &model)?);
        Self::on(Machine::open(&options).await?, model, layout, source, &options).await
    }

    /// An engine on an open device, which gets one packed buffer after the other.
    async fn on(
        (machine, device): (Machine, DeviceInfo),
        model: Model,
        layout: Layout,
        source: Source<'_>,
        options: &Options,
    ) -> Result<Self> {
        warn_of_debug_build();
        model.warn_of_unused();
        let planner = Planner::on(model, layout, &machine, device, options)?;
        let mut loaded = Loading { done_bytes: 0, total_bytes: planner.bytes() };
        options.progress.tell(loaded);
        Self::load(planner, &machine, source, &options.progress, &mut loaded).await
    }

    /// The planner's engine with its weights.
    async fn load(
        planner: Planner,
        machine: &Machine,
        source: Source<'_>,
        progress: &Progress,
        loaded: &mut Loading,
    ) -> Result<Self> {
        let initial = source.initial(&planner.model, planner.layout.storage.into())?;
        let mut executor = machine.clone().executor();
        let packing = Packing::new(source, &planner.model, &planner.layout);
        for (index, (packed, buffer)) in packing.zip(&planner.layout.buffers).enumerate() {
            executor.add(packed?, planner.layout.medium_of(index)).await.map_err(|e| planner.device.explain(e))?;
            loaded.done_bytes += planner.layout.bytes_of(buffer);
            progress.tell(*loaded);
        }
        let memory = Memory::of(&planner.model);
        Ok(Self { planner, executor, initial, memory })
    }

    /// What the model gives for `input`, and its final states.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model; `Limits`, where not even one of its sequences fits the
    /// device; `Device` or `Lost`, where the device fails.
    #[cfg(not(target_arch = "wasm32"))]
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
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_timed(&self, input: &Input) -> Result<(Output, Timings)> {
        block_on(self.walk(input, Wait::Here))
    }

    /// Forgets the states that stacks of [`Memory::Engine`](crate::Memory::Engine) keep: the next call that is given none
    /// begins where the model does. It does not wait: a call that is under way ends as it began, and leaves no states.
    pub fn reset_states(&self) {
        if let Some(memory) = &self.memory {
            memory.reset();
        }
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

    /// Checks the input and computes.
    async fn walk(&self, input: &Input, wait: Wait) -> Result<(Output, Timings)> {
        let Planner { model, flows, device, .. } = &self.planner;
        let call = self.planner.call(input)?;
        let form = call.form;
        let learned = call.learned(model, self.initial.iter().map(|(&i, states)| (i, &states.h, states.c.as_ref())))?;
        let turn = match &self.memory {
            Some(memory) => Some(memory.turn(input, model, form).await?),
            None => None,
        };
        let mut timings = Timings::default();
        let kept = turn.as_ref().map_or(&[][..], |turn| turn.states());
        let call = call.keeping(kept).learning(&learned);
        let mut decoder = None;
        for tile in self.tiles(&call) {
            let Tile { rows, plan } = tile?;
            // After the first plan, and before anything runs: what no device takes needs no memory for its output.
            let decoder = match &mut decoder {
                Some(decoder) => decoder,
                none => none.insert(Decoder::new(model, (flows, &self.planner.output_clocks), &call)?),
            };
            let mut exchange = Exchange { call: &call, model, rows, decoder: Some(decoder) };
            timings.add(self.run_plan(&plan, &mut exchange, wait).await.map_err(|e| device.explain(e))?);
        }
        let decoder = decoder.expect("a call has at least one row, and so a tile");
        let output = timed(&mut timings.readback, || decoder.finish());
        if let Some(turn) = turn {
            turn.keep(&output, model, form);
        }
        Ok((output, timings))
    }

    /// Runs `plan`, or what runs in its place where it stalls.
    async fn run_plan(&self, plan: &Arc<Plan>, exchange: &mut Exchange<'_, '_, '_>, wait: Wait) -> Result<Timings> {
        match self.executor.run(plan, exchange, wait).await {
            Err(error) => self.executor.run(&self.planner.instead_of(plan, error)?, exchange, wait).await,
            timings => timings,
        }
    }

    /// The call, cut into tiles of the batch: all of one size, and a smaller one for what remains.
    fn tiles(&self, call: &Call<'_>) -> impl Iterator<Item = Result<Tile>> + use<'_> {
        self.tiles_of(Goal::Outputs, shape_of(call))
    }

    /// The same of a call of `shape` that is to give `goal`.
    fn tiles_of(&self, goal: Goal, shape: Shape) -> impl Iterator<Item = Result<Tile>> + use<'_> {
        let (mut first, mut most) = (0, shape.batch);
        std::iter::from_fn(move || {
            let batch = most.min(shape.batch - first);
            if batch == 0 {
                return None;
            }
            Some(self.planner.plan_to(goal, Shape { batch, ..shape }).map(|plan| {
                most = plan.shape.batch;
                let rows = first..first + most;
                first = rows.end;
                Tile { rows, plan }
            }))
        })
    }
}

/// The sizes of a call, as plans are made for them.
fn shape_of(call: &Call<'_>) -> Shape {
    let mask = |clock| if call.masked(clock) { Mask::Live } else { Mask::All };
    let steps = |clock| Steps { time: call.time(clock), mask: mask(clock) };
    Shape::of_clocks(call.form.batch, (0..call.clocks().all().len()).map(steps))
}

/// The checked model's layout.
fn layout(model: &Model, options: &Options) -> Result<Layout> {
    model.check()?;
    Layout::of(model, storage(options.precision))
}

/// Some rows of a call, and their plan.
struct Tile {
    rows: Range<usize>,
    plan: Arc<Plan>,
}

/// How the packed weights of a precision are stored.
fn storage(precision: Precision) -> Storage {
    match precision {
        Precision::F32 => Storage::F32,
        Precision::F16 => Storage::F16,
        Precision::I8 => Storage::I8,
    }
}

impl From<Storage> for Precision {
    /// The precision whose weights are stored so.
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::F32 => Self::F32,
            Storage::F16 => Self::F16,
            Storage::I8 => Self::I8,
        }
    }
}

impl From<Device> for Options {
    fn from(device: Device) -> Self {
        Self::default().device(device)
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

    /// The same with recurrent layers going through time by `strategy`, wherever they can; `None` chooses.
    #[must_use]
    pub fn strategy(mut self, strategy: impl Into<Option<Strategy>>) -> Self {
        self.strategy = strategy.into();
        self
    }

    /// Training: bytes that recurrent layers may keep of a call for their way back. What they do not keep is computed twice.
    #[must_use]
    pub fn keep_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.keep_bytes = bytes.into();
        self
    }

    /// The same with at most so many rows of a batch computed at once: memory for these, and the gradients of all.
    #[must_use]
    pub fn tile_rows(mut self, rows: impl Into<Option<NonZeroUsize>>) -> Self {
        self.tile_rows = rows.into();
        self
    }

    /// The same with `tell` told how far loading is: at its beginning, and after each buffer of weights.
    #[must_use]
    pub fn progress(mut self, tell: impl Fn(Loading) + Send + Sync + 'static) -> Self {
        self.progress = Progress::to(tell);
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
