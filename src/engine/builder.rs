//! How an engine is made: device, precision and strategy, and a file, weights or tensors for it.

use std::num::NonZeroUsize;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::formats;
use crate::model::Model;
use crate::plan::tune::Target;
use crate::plan::{Limits, Strategy};
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::block_on;
use crate::precision::Precision;
use crate::weights::{Source, Tensors, Weights};

use super::device::Device;
use super::executor::Machine;
use super::progress::{Loading, Progress};
use super::{Engine, layout};

/// The settings of an engine, or of a trainer: first the settings, then a file,
/// weights or tensors. [`Engine::builder`] starts one.
///
/// # Example
///
/// ```
/// use gatewave::{Device, Engine, Precision};
///
/// # fn main() -> gatewave::Result<()> {
/// let engine = Engine::builder()
///     .device(Device::Cpu)
///     .precision(Precision::F16)
///     .progress(|loading| println!("{} of {} bytes", loading.done_bytes, loading.total_bytes))
///     .open_with("models/shakespeare/shakespeare.safetensors", "models/shakespeare/model.json")?;
/// assert_eq!(engine.device().name(), "CPU");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it makes an engine by `open`, `build` or `load`"]
pub struct EngineBuilder {
    pub(super) device: Device,
    pub(super) precision: Precision,
    pub(super) strategy: Option<Strategy>,
    pub(super) keep_bytes: Option<u64>,
    pub(super) tile_rows: Option<NonZeroUsize>,
    pub(super) target: Option<Target>,
    pub(super) co_resident_workgroups: Option<u32>,
    pub(super) chunk_bytes: Option<u64>,
    pub(super) limits: Option<Limits>,
    pub(super) progress: Progress,
}

impl From<Device> for EngineBuilder {
    fn from(device: Device) -> Self {
        Self::default().device(device)
    }
}

impl EngineBuilder {
    /// Checks whether a trainer can have these settings.
    pub(crate) fn check_trains(&self) -> Result<()> {
        if self.precision == Precision::F32 {
            return Ok(());
        }
        let text =
            format!("precision: expected F32 to train, got {:?}; round a model when it is trained", self.precision);
        Err(Error::new(ErrorKind::Training, text))
    }
}

/// Settings.
impl EngineBuilder {
    /// Sets where to compute; [`Device::Auto`] by default.
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets how weights are stored; 32-bit floats by default. A trainer always has 32-bit floats.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Sets how recurrent layers go through time, wherever they can. `None`, the default, chooses by sizes and device.
    pub fn strategy(mut self, strategy: impl Into<Option<Strategy>>) -> Self {
        self.strategy = strategy.into();
        self
    }

    /// Sets how many bytes recurrent layers may keep of a training call for the backward pass. `None`, the default,
    /// chooses by the device. What is not kept is computed twice, and the gradients have the same bits.
    pub fn keep_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.keep_bytes = bytes.into();
        self
    }

    /// Sets the most rows of a batch that a call or an update computes at once. `None`, the default, is as many as the
    /// device has memory for. A larger batch is computed part by part; an update sums the gradients of all parts
    /// (gradient accumulation). Streams and drawing keep the states of all rows together, so they are never split.
    pub fn tile_rows(mut self, rows: impl Into<Option<NonZeroUsize>>) -> Self {
        self.tile_rows = rows.into();
        self
    }

    /// Sets a callback for the progress of loading. It is called at the beginning, and after each buffer of weights.
    pub fn progress(mut self, tell: impl Fn(Loading) + Send + Sync + 'static) -> Self {
        self.progress = Progress::to(tell);
        self
    }
}

/// Settings for tests.
#[cfg(feature = "testing")]
impl EngineBuilder {
    /// Sets the kind of device that plans and weights are made for; `None` is the kind of the actual device. With this,
    /// tests try a GPU's choices on a software adapter.
    pub fn target(mut self, target: impl Into<Option<Target>>) -> Self {
        self.target = target.into();
        self
    }

    /// Sets how many workgroups are assumed to run side by side; `None` is the number that was
    /// measured. For tests of devices that fall short of it.
    pub fn co_resident_workgroups(mut self, workgroups: impl Into<Option<u32>>) -> Self {
        self.co_resident_workgroups = workgroups.into();
        self
    }

    /// Sets how many bytes a chunk of time may take; `None` leaves it to the device.
    /// With this, tests cut short calls as long ones are cut.
    pub fn chunk_bytes(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.chunk_bytes = bytes.into();
        self
    }

    /// Sets limits for dispatches, besides the device's own. With this, tests cut small calls as large ones are cut.
    pub fn limits(mut self, limits: impl Into<Option<Limits>>) -> Self {
        self.limits = limits.into();
        self
    }
}

/// The methods that make the engine.
impl EngineBuilder {
    /// Makes an engine of a model file, in any format that [`formats::read`] reads. The weights go
    /// from the file to the device as [`load`](Self::load) says.
    ///
    /// # Errors
    ///
    /// As [`formats::read`] and [`load`](Self::load).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(self, path: impl AsRef<Path>) -> Result<Engine> {
        block_on(self.open_async(path))
    }

    /// [`open`](Self::open), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_async(self, path: impl AsRef<Path>) -> Result<Engine> {
        let path = path.as_ref();
        self.loaded(path, formats::read(path)?).await
    }

    /// [`open`](Self::open) for a `.safetensors` file whose model is described by the file `description`.
    ///
    /// # Errors
    ///
    /// As [`formats::read_with`] and [`load`](Self::load).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_with(self, path: impl AsRef<Path>, description: impl AsRef<Path>) -> Result<Engine> {
        block_on(self.open_with_async(path, description))
    }

    /// [`open_with`](Self::open_with), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub async fn open_with_async(self, path: impl AsRef<Path>, description: impl AsRef<Path>) -> Result<Engine> {
        let path = path.as_ref();
        self.loaded(path, formats::read_with(path, description)?).await
    }

    async fn loaded(self, path: &Path, (model, tensors): (Model, Tensors)) -> Result<Engine> {
        self.load_async(model, &tensors).await.map_err(|e| match e.kind() {
            ErrorKind::Model | ErrorKind::Weights => e.at(path.display()),
            _ => e,
        })
    }

    /// Makes an engine of `model` with `weights`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind
    ///
    /// - [`ErrorKind::Model`] or [`ErrorKind::Weights`] if one of them is wrong, if they do not fit each other, or if a
    ///   weight is too large for the precision;
    /// - [`ErrorKind::Device`] if there is no such device;
    /// - [`ErrorKind::Limits`] if the weights do not fit it.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn build(self, model: impl Into<Model>, weights: &Weights) -> Result<Engine> {
        block_on(self.build_async(model, weights))
    }

    /// [`build`](Self::build), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub async fn build_async(self, model: impl Into<Model>, weights: &Weights) -> Result<Engine> {
        let model = model.into();
        let (layout, source) = (layout(&model, &self)?, Source::held(weights, &model)?);
        Engine::on(Machine::open(&self).await?, model, layout, source, &self).await
    }

    /// Makes an engine of `model` whose weights are `tensors`, by the names that the model's layers give them. Tensors
    /// in a file are read one after the other, part by part, straight into the device's buffers. So the host's memory
    /// never holds them twice, and for a GPU not even once.
    ///
    /// Warns about tensors that no layer uses, and about elements that are NaN or infinite.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and errors of reading the tensors. Returns an error of kind [`ErrorKind::Weights`] if
    /// a tensor is missing, has another shape than the model's sizes need, or has an unsupported type.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::formats::{description, safetensors};
    /// use gatewave::{Device, Engine};
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let file = safetensors::read("models/shakespeare/shakespeare.safetensors")?;
    /// let json = std::fs::read_to_string("models/shakespeare/model.json").expect("it is there");
    /// let model = description::from_json(&json, &file.tensors)?;
    /// let engine = Engine::builder().device(Device::Cpu).load(model, &file.tensors)?;
    /// # drop(engine);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(not(target_arch = "wasm32"))]
    pub fn load(self, model: impl Into<Model>, tensors: &Tensors) -> Result<Engine> {
        block_on(self.load_async(model, tensors))
    }

    /// [`load`](Self::load), without blocking on a GPU.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub async fn load_async(self, model: impl Into<Model>, tensors: &Tensors) -> Result<Engine> {
        let model = model.into();
        let (layout, source) = (layout(&model, &self)?, Source::named(tensors, &model)?);
        Engine::on(Machine::open(&self).await?, model, layout, source, &self).await
    }
}
