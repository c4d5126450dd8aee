//! The façade, which takes each call down the road: check → plan → encode → execute → decode.
//!
//! It decides two things: which device runs (`engine::device`), and how a batch that does not fit it is cut into tiles.
//! Everything else about a call is in its plan.

mod begin;
mod builder;
mod cache;
mod call_io;
mod carry;
mod device;
mod device_states;
mod engine_states;
mod executor;
mod forward;
mod frames;
mod generate;
mod gpus;
mod gradient_runner;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
mod kernels;
mod load;
mod named;
mod pending;
mod planner;
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
mod probe;
mod progress;
mod push;
mod self_check;
mod sent;
mod streams;
mod tiles;
mod training_io;
mod update;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Once};

use crate::call::{Input, Output};
use crate::error::Result;
use crate::feed::Decoder;
use crate::layout::{Buffer, Layout};
use crate::model::Model;
use crate::plan::{Plan, Stopwatch, Timings};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::weights::{LearnedStates, Source, Tensors, Weights};

use call_io::CallIo;
use engine_states::EngineStates;
use executor::{Executor, Machine};
use progress::Progress;
use tiles::{Tile, Tiles};

pub(crate) use crate::plan::UpdateRule;
pub use builder::EngineBuilder;
pub(crate) use carry::Carried;
pub use device::{Checked, Device, DeviceInfo, SelfCheck};
pub use generate::Sampling;
pub(crate) use gradient_runner::{Asked, GradientRunner, Wanted};
#[cfg(all(feature = "testing", not(target_arch = "wasm32")))]
pub use kernels::KernelTime;
pub use planner::Planner;
pub use progress::Loading;
pub use push::FrameValue;
pub(crate) use sent::Sent;
pub use streams::{StreamId, Streams};
pub(crate) use training_io::Found;

/// A model with its weights on a device, ready to run.
///
/// Calls may overlap, from any number of threads: an engine keeps no state between
/// them, and each gives the result it would give alone.
///
/// Stacks of [`StateLifetime::Engine`](crate::layer::StateLifetime::Engine) (Keras' `stateful`) are the exception. A
/// call without states for such a stack begins where the engine's last call ended, so the calls of such an engine run
/// one after another. [`reset_states`](Self::reset_states) starts them at zero again.
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
/// // Four more steps, from the state after the first ten.
/// let states = first.states[0].clone();
/// let second = engine.run(&Input::features(Array3::zeros((4, 4, 8))).states(states))?;
/// assert_eq!(second.output.shape(), [4, 4, 32]);
/// # Ok::<(), gatewave::Error>(())
/// ```
pub struct Engine {
    planner: Arc<Planner>,
    executor: Executor,
    /// The learned initial states, by stack.
    initial: BTreeMap<usize, LearnedStates>,
    /// `Some` if the model has stacks whose states outlive a call.
    states: Option<EngineStates>,
}

/// Warns once if the library was compiled for debugging: nothing else would say why it is slow.
/// A program without a logger sees the warning on standard error.
fn warn_of_debug_build() {
    const TEXT: &str = "this is a debug build, several hundred times slower; use --release";
    static ONCE: Once = Once::new();
    if cfg!(debug_assertions) {
        ONCE.call_once(|| match log::max_level() {
            log::LevelFilter::Off => eprintln!("warning: gatewave: {TEXT}"),
            _ => log::warn!("{TEXT}"),
        });
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Engine>();
};

/// The futures are `Send` too; in a browser there is only one thread.
#[cfg(not(target_arch = "wasm32"))]
const _: fn(Model, &Weights, &Tensors, &Engine, &Input) = |model, weights, tensors, engine, input| {
    fn sent<T: Send>(_: T) {}
    sent(Engine::builder().open_async("model.onnx"));
    sent(Engine::builder().build_async(&model, weights));
    sent(Engine::builder().load_async(model, tensors));
    sent(engine.run_async(input));
};

impl Engine {
    /// Starts a builder, which sets device, precision, strategy and more. [`EngineBuilder`] has an example.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// Opens a model file (`.safetensors`, `.keras`, `.h5`, `.onnx`) on the best device
    /// ([`Device::Auto`]), with weights in 32-bit floats.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::open`].
    ///
    /// # Example
    ///
    /// ```no_run
    /// use gatewave::{Engine, Input};
    /// use ndarray::Array3;
    ///
    /// let engine = Engine::open("model.keras")?;
    /// let result = engine.run(&Input::features(Array3::zeros((1, 10, 8))))?;
    /// # Ok::<(), gatewave::Error>(())
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// [`open`](Self::open), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_async(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open_async(path).await
    }

    /// Makes an engine that computes `model` with `weights` on `device`, in 32-bit floats.
    ///
    /// # Errors
    ///
    /// As [`EngineBuilder::build`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn new(model: impl Into<Model>, weights: &Weights, device: Device) -> Result<Self> {
        Self::builder().device(device).build(model, weights)
    }

    /// Makes an engine on an open device, which gets one packed buffer after the other.
    async fn on(
        (machine, device): (Machine, DeviceInfo),
        model: Model,
        layout: Layout,
        source: Source<'_>,
        options: &EngineBuilder,
    ) -> Result<Self> {
        warn_of_debug_build();
        model.warn_of_unused();
        let planner = Arc::new(Planner::on(model, layout, &machine, device, options)?);
        let mut loaded = Loading { done_bytes: 0, total_bytes: planner.bytes() };
        options.progress.tell(loaded);
        Self::load(planner, &machine, source, &options.progress, &mut loaded).await
    }

    /// Loads the weights, and makes the engine of the planner's model.
    async fn load(
        planner: Arc<Planner>,
        machine: &Machine,
        source: Source<'_>,
        progress: &Progress,
        loaded: &mut Loading,
    ) -> Result<Self> {
        let initial = source.initial(&planner.model, planner.layout.storage)?;
        let mut executor = machine.clone().executor();
        let tell = |buffer: &Buffer| {
            loaded.done_bytes += planner.layout.bytes_of(buffer);
            progress.tell(*loaded);
        };
        executor.load(&planner, source, tell).await?;
        let states = EngineStates::of(&planner.model);
        Ok(Self { planner, executor, initial, states })
    }

    /// Runs the model on `input`: returns its output and the final states.
    ///
    /// # Errors
    ///
    /// Returns an error of kind
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the input does not fit the model;
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if not even one of its sequences fits the device;
    /// - [`ErrorKind::Device`](crate::ErrorKind::Device) or
    ///   [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run(&self, input: &Input) -> Result<Output> {
        Ok(self.run_timed(input)?.0)
    }

    /// [`run`](Self::run), without blocking. On the CPU it computes in threads of its own, as many as rayon's pool has.
    /// A poll lays out the input or cuts out the results.
    ///
    /// If the future is dropped before it is ready, only its result is lost. A stack of
    /// [`StateLifetime::Engine`](crate::layer::StateLifetime::Engine) keeps the states that it
    /// had. Work that has begun on the device runs to its end.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_async(&self, input: &Input<'_>) -> Result<Output> {
        Ok(self.run_call(input).await?.0)
    }

    /// [`run`](Self::run), and also returns where the time went.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_timed(&self, input: &Input) -> Result<(Output, Timings)> {
        block_on(self.run_call(input))
    }

    /// Returns what a call of `steps` steps and `batch` rows runs, in words: its buffers and dispatches. Nothing runs.
    /// Of a batch that runs in parts it is the plan of one part. The text may change with any version.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if there are no steps or no rows, or of
    /// kind [`ErrorKind::Limits`](crate::ErrorKind::Limits) if not even one sequence fits the device.
    pub fn plan_in_words(&self, steps: usize, batch: usize) -> Result<String> {
        let shape = self.planner.shape(steps, batch, &[])?;
        Ok(self.planner.plan(shape)?.to_string())
    }

    /// Forgets the states that stacks of [`StateLifetime::Engine`](crate::layer::StateLifetime::Engine) keep. The next
    /// call without states of its own begins where the model does. This does not wait for a call that is under way:
    /// that call ends as it began, and leaves no states.
    pub fn reset_states(&self) {
        if let Some(states) = &self.states {
            states.reset();
        }
    }

    /// Returns the model.
    pub fn model(&self) -> &Model {
        &self.planner.model
    }

    /// Returns the device that computes, and why it was chosen.
    pub fn device(&self) -> &DeviceInfo {
        &self.planner.device
    }

    /// Checks the input and computes.
    async fn run_call(&self, input: &Input<'_>) -> Result<(Output, Timings)> {
        let Planner { model, flows, device, .. } = &*self.planner;
        let call = self.planner.call(input)?;
        let form = call.form;
        let learned = self.planner.learned(&call, &self.initial)?;
        let turn = match &self.states {
            Some(states) => Some(states.turn(input, model, form).await?),
            None => None,
        };
        let mut timings = Timings::default();
        let kept = turn.as_ref().map_or(&[][..], |turn| turn.states());
        let call = call.keeping(kept).learning(&learned);
        let mut decoder = None;
        let mut tiles = Tiles::of(&self.planner, &call);
        while let Some(Tile { rows, plan }) = tiles.next().await? {
            // After the first plan, and before anything runs: a call that no
            // device can run needs no memory for its output.
            let decoder = match &mut decoder {
                Some(decoder) => decoder,
                none => none.insert(Decoder::new(model, (flows, &self.planner.output_clocks), &call)?),
            };
            let mut io = CallIo { call: &call, model, rows, decoder: Some(decoder) };
            timings.add(self.run_plan(&plan, &mut io).await.map_err(|e| device.explain(e))?);
        }
        let decoder = decoder.expect("a call has at least one row, and so a tile");
        let mut watch = Stopwatch::start();
        let output = decoder.finish();
        timings.readback += watch.lap();
        if let Some(turn) = turn {
            turn.keep(&output, model, form);
        }
        Ok((output, timings))
    }

    /// Runs `plan`, or its fallback plan if it stalls.
    async fn run_plan(&self, plan: &Arc<Plan>, io: &mut CallIo<'_, '_, '_>) -> Result<Timings> {
        match self.executor.run(plan, io).await {
            Err(error) => self.executor.run(&self.planner.fallback_plan(plan, error)?, io).await,
            timings => timings,
        }
    }
}

/// Checks the model and returns its layout.
fn layout(model: &Model, options: &EngineBuilder) -> Result<Layout> {
    model.check()?;
    Layout::of(model, options.precision)
}

impl fmt::Debug for Engine {
    /// A short form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("model", &format_args!("{}", self.model().in_few_words()))
            .field("device", &format_args!("{}", self.device()))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
