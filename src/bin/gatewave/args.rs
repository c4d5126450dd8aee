//! What several subcommands take: a model, a device, a precision.
//!
//! Turns arguments into the library's own nouns; decides nothing.

use std::path::PathBuf;

use clap::ValueEnum;
use gatewave::{Device, DeviceInfo, Engine, Model, Options, Result, Weights, weights};

use crate::note;

/// A model that must be given.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// The model: its tensors in a .safetensors file
    #[arg(id = "path", value_name = "MODEL")]
    path: PathBuf,
    /// The model's description, where MODEL does not hold one
    #[arg(long = "model", value_name = "model.json")]
    description: Option<PathBuf>,
}

/// A model that may be given.
#[derive(clap::Args)]
pub(crate) struct MaybeModelArgs {
    /// The model: its tensors in a .safetensors file
    #[arg(id = "path", value_name = "MODEL")]
    path: Option<PathBuf>,
    /// The model's description, where MODEL does not hold one
    #[arg(long = "model", value_name = "model.json", requires = "path")]
    description: Option<PathBuf>,
}

impl ModelArgs {
    /// Reads the model.
    pub(crate) fn open(&self) -> Result<(Model, Weights)> {
        weights::open(&self.path, self.description.as_deref())
    }
}

impl MaybeModelArgs {
    /// Reads the model, if there is one.
    pub(crate) fn open(&self) -> Result<Option<(Model, Weights)>> {
        self.path.as_deref().map(|path| weights::open(path, self.description.as_deref())).transpose()
    }

    /// The model's file, as the user wrote it.
    pub(crate) fn name(&self) -> Option<String> {
        self.path.as_deref().map(|path| path.display().to_string())
    }
}

/// Which device.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: the best GPU or else the CPU, the CPU, or the adapter with NAME in its name
    #[arg(long, env = "GATEWAVE_ADAPTER", value_name = "auto|cpu|NAME", default_value = "auto")]
    device: String,
}

impl DeviceArgs {
    /// The device that was asked for.
    pub(crate) fn device(&self) -> Result<Device> {
        self.device.parse()
    }
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// 32-bit floats
    F32,
    /// 16-bit floats for the weights, sums in 32 bits
    F16,
}

impl Precision {
    /// The name, as benchmarks write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
        }
    }
}

impl From<Precision> for gatewave::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
        }
    }
}

/// An engine, with a line about its device on standard error.
pub(crate) fn engine(model: Model, weights: &Weights, device: Device, precision: Precision) -> Result<Engine> {
    let engine = Engine::with_options(model, weights, Options { device, precision: precision.into() })?;
    note_device(engine.device());
    Ok(engine)
}

/// Says on standard error where is computed, and why there.
pub(crate) fn note_device(device: &DeviceInfo) {
    note(format_args!("device: {device} ({})", device.reason()));
}

/// The device's name, as `--device` and the peers' scripts write it: `cpu`, or the adapter's.
pub(crate) fn device_name(device: &DeviceInfo) -> String {
    match device.name() {
        "CPU" => "cpu".to_owned(),
        name => name.to_owned(),
    }
}
