//! What several subcommands take: a model, a device, a precision.
//!
//! Turns arguments into the library's own nouns; decides nothing.

use std::collections::HashSet;
use std::env::{self, VarError};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use gatewave::formats;
use gatewave::weights::{self, Replacement, Tensors};
use gatewave::{
    Dataset, Device, DeviceInfo, Engine, Error, ErrorKind, InputValue, Like, Model, NamedTensors, Objective, Options,
    Result, Sgd, Storage, Strategy, Trainer, Update, Weights,
};

use crate::tensors::{self, StoredTensors, TensorFile};
use crate::{note, progress};

/// The seed of weights that stand for those that a call would bring.
const SEED: u64 = 1;

/// A model that must be given.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// The model: a .safetensors, .onnx, .keras or .h5 file
    #[arg(id = "path", value_name = "MODEL")]
    path: PathBuf,
    /// The model's description, where MODEL is a .safetensors file that does not hold one
    #[arg(long = "model", value_name = "model.json")]
    description: Option<PathBuf>,
}

/// A model that may be given.
#[derive(clap::Args)]
pub(crate) struct MaybeModelArgs {
    /// The model: a .safetensors, .onnx, .keras or .h5 file
    #[arg(id = "path", value_name = "MODEL")]
    path: Option<PathBuf>,
    /// The model's description, where MODEL is a .safetensors file that does not hold one
    #[arg(long = "model", value_name = "model.json", requires = "path")]
    description: Option<PathBuf>,
}

impl ModelArgs {
    /// The files of the model.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.description.as_deref())
    }

    /// The file of the model, which may keep a tokenizer.
    pub(crate) fn file(&self) -> &Path {
        &self.path
    }

    /// The file that describes the model.
    pub(crate) fn described_by(&self) -> &Path {
        self.description.as_deref().unwrap_or(&self.path)
    }

    /// Reads the model; its tensors stay in the file.
    pub(crate) fn read(&self) -> Result<(Model, Tensors)> {
        formats::read(&self.path, self.description.as_deref())
    }

    /// The same error, at the model's file where it is about weights.
    pub(crate) fn at(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Weights => error.at(self.path.display()),
            _ => error,
        }
    }

    /// Reads the model for a command that makes no engine, which would warn of layers that no output needs.
    pub(crate) fn read_alone(&self) -> Result<(Model, Tensors)> {
        let (model, tensors) = self.read()?;
        model.warn_of_unused();
        Ok((model, tensors))
    }

    /// The model without its weights, of a description alone too, with a warning of layers that no output needs.
    pub(crate) fn described(&self) -> Result<Model> {
        let model = described(&self.path, self.description.as_deref())?;
        model.warn_of_unused();
        Ok(model)
    }

    /// An engine of what [`read`](Self::read) gave, with a line about its device on standard error.
    pub(crate) fn engine(
        &self,
        model: Model,
        tensors: &Tensors,
        device: Device,
        precision: Precision,
    ) -> Result<Engine> {
        let options = Options::default().device(device).precision(precision.into()).progress(progress::shown());
        let engine = Engine::from_tensors(model, tensors, options).map_err(|e| self.at(e))?;
        note_device(engine.device());
        Ok(engine)
    }
}

impl MaybeModelArgs {
    /// Reads the model, if there is one; its tensors stay in the file.
    pub(crate) fn read(&self) -> Result<Option<(Model, Tensors)>> {
        self.path.as_deref().map(|path| formats::read(path, self.description.as_deref())).transpose()
    }

    /// The model without its weights, if there is one, of a description alone too.
    pub(crate) fn described(&self) -> Result<Option<Model>> {
        self.path.as_deref().map(|path| described(path, self.description.as_deref())).transpose()
    }

    /// Reads the model with its weights, if there is one; those that a call would bring are drawn.
    pub(crate) fn open(&self) -> Result<Option<(Model, Weights)>> {
        let Some((model, mut tensors)) = self.read()? else { return Ok(None) };
        weights::draw_supplied(&model, &mut tensors, SEED)?;
        let weights = Weights::from_tensors(&model, tensors);
        let weights = weights.map_err(|e| e.at(self.path.as_deref().unwrap_or(Path::new("")).display()))?;
        Ok(Some((model, weights)))
    }

    /// The model's file, as the user wrote it.
    pub(crate) fn name(&self) -> Option<String> {
        self.path.as_deref().map(|path| path.display().to_string())
    }
}

/// A model and the weights that a training begins at: those of its file, or drawn ones of a description alone (`.json`).
///
/// # Errors
///
/// As reading a model; kind `Model`, where its caller brings weights: they would not be kept.
pub(crate) fn begin(path: &Path, description: Option<&Path>, like: Like, seed: u64) -> Result<(Model, Weights)> {
    let owns_weights = |model: &Model| match model.all_ports().takes_weights() {
        true => {
            let text = "expected a model that holds its weights, got one that takes them with each call";
            Err(Error::new(ErrorKind::Model, text))
        }
        false => Ok(()),
    };
    if has_extension(path, "json") {
        let model = described(path, description)?;
        let weights = owns_weights(&model).and_then(|()| Weights::initial(&model, like, seed));
        let weights = weights.map_err(|e| e.at(path.display()))?;
        return Ok((model, weights));
    }
    let (model, tensors) = formats::read(path, description)?;
    let weights = owns_weights(&model).and_then(|()| Weights::from_tensors(&model, tensors));
    Ok((model, weights.map_err(|e| e.at(path.display()))?))
}

/// A model without its weights: that of its file, or of a description alone (`.json`), which says every size.
fn described(path: &Path, description: Option<&Path>) -> Result<Model> {
    if !has_extension(path, "json") {
        return formats::read(path, description).map(|(model, _)| model);
    }
    if let Some(other) = description {
        let text = format!("--model: expected none beside a description, got {}", other.display());
        return Err(Error::new(ErrorKind::Model, text).at(path.display()));
    }
    let read = || {
        let json = fs::read_to_string(path).map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e))?;
        formats::description::from_json(&json, &Tensors::new())
    };
    read().map_err(|e: Error| e.at(path.display()))
}

/// The tensors of the file at `path` for `model`: the array of an `.npy` file, which has no name, is its sequence.
pub(crate) fn tensors_for(model: &Model, path: &Path) -> Result<NamedTensors> {
    let ports = model.all_ports();
    let sequence = ports.inputs.iter().find(|port| port.value == InputValue::Sequence);
    tensors::read(path, sequence.map_or("x", |port| &port.name))
}

/// The examples of the tensors in the file at `path`, which are in memory, or where `stream` are read when a batch takes them; and the
/// objective of such, which `objective` makes by the names that there are.
pub(crate) fn examples_of(
    model: &Model,
    path: &Path,
    stream: bool,
    objective: impl FnOnce(&dyn Fn(&str) -> bool) -> Result<Objective>,
) -> Result<(Objective, Dataset)> {
    let read = || {
        if stream {
            let file = TensorFile::open(path)?;
            let objective = objective(&|name| file.holds(name))?;
            let examples = StoredTensors::of(file, model, &objective)?;
            return Ok((objective.clone(), Dataset::of(model, objective, examples)?));
        }
        let given = tensors_for(model, path)?;
        let objective = objective(&|name| given.contains_key(name))?;
        Ok((objective.clone(), Dataset::new(model, objective, given)?))
    };
    read().map_err(|e| at_data(e, path))
}

/// The same error, at the file of the data. One of reading says its file itself.
pub(crate) fn at_data(error: Error, path: &Path) -> Error {
    if error.kind() == ErrorKind::Io { error } else { error.at(path.display()) }
}

/// A trainer that measures, and never makes an update.
pub(crate) fn measuring(
    model: Model,
    weights: &Weights,
    objective: impl Into<Objective>,
    options: Options,
) -> Result<Trainer> {
    Trainer::new(model, weights, objective, Update::by(Sgd::like(Like::Torch)), options)
}

/// Fills `file`, which goes to `path`, and puts it in its place.
pub(crate) fn fill(file: Replacement, path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = |e: io::Error| Error::new(ErrorKind::Io, format!("cannot be written: {e}")).at(path.display());
    file.finish(|file| file.write_all(bytes).map_err(cannot))
}

/// Whether a name ends so.
pub(crate) fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// Refuses an output that is one of the files that are read: trained weights are not to be written over.
pub(crate) fn spare<'a>(what: &str, read: impl Iterator<Item = &'a Path>, outputs: &[PathBuf]) -> Result<()> {
    let read: HashSet<_> = read.filter_map(|path| path.canonicalize().ok()).collect();
    match outputs.iter().find(|output| output.canonicalize().is_ok_and(|path| read.contains(&path))) {
        None => Ok(()),
        Some(output) => Err(Error::new(
            ErrorKind::Io,
            format!("{what}: expected a file of its own, got {}, which is read in this call", output.display()),
        )),
    }
}

/// Refuses an output that is there already, but by `force`.
pub(crate) fn unused(path: &Path, force: bool) -> Result<()> {
    if path.exists() && !force {
        return Err(Error::new(ErrorKind::Io, "is there already; --force writes over it").at(path.display()));
    }
    Ok(())
}

/// What training keeps.
#[derive(clap::Args)]
pub(crate) struct KeepArgs {
    /// Bytes that recurrent layers may keep of a batch for their way back: what they do not keep is computed twice, with the same
    /// results
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) keep_bytes: Option<u64>,
}

/// Which device.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: the best GPU or else the CPU, the CPU, or the adapter with NAME in its name [default: the
    /// environment's `GATEWAVE_ADAPTER`, else auto]
    #[arg(long, value_name = "auto|cpu|NAME")]
    device: Option<Device>,
}

/// The environment variable that says what `--device` is where it is not given.
const ADAPTER: &str = "GATEWAVE_ADAPTER";

impl DeviceArgs {
    /// The device that was asked for.
    pub(crate) fn device(&self) -> Result<Device> {
        match (&self.device, env::var(ADAPTER)) {
            (Some(device), _) => Ok(device.clone()),
            (None, value) => by_default(value),
        }
    }
}

/// The device that the environment asks for. An empty variable is one that is not set.
fn by_default(value: Result<String, VarError>) -> Result<Device> {
    match value {
        Ok(name) if name.trim().is_empty() => Ok(Device::Auto),
        Ok(name) => name.parse().inspect(|device| {
            if let Device::Named(name) = device {
                note(format_args!("device `{name}` is asked for by {ADAPTER}"));
            }
        }),
        Err(VarError::NotPresent) => Ok(Device::Auto),
        Err(VarError::NotUnicode(name)) => Err(Error::new(
            ErrorKind::Device,
            format!("{ADAPTER}: expected auto, cpu or a part of an adapter's name, got {name:?}"),
        )),
    }
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    /// 32-bit floats
    F32,
    /// 16-bit floats for the weights, sums in 32 bits
    F16,
    /// 8-bit integers for matrices with a scale a row, sums in 32 bits
    #[value(name = "int8")]
    I8,
}

impl Precision {
    /// The name, as benchmarks write it.
    pub(crate) fn name(self) -> &'static str {
        self.storage().name()
    }

    /// How packed weights are stored.
    pub(crate) fn storage(self) -> Storage {
        match self {
            Self::F32 => Storage::F32,
            Self::F16 => Storage::F16,
            Self::I8 => Storage::I8,
        }
    }
}

impl From<Precision> for gatewave::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::I8 => Self::I8,
        }
    }
}

/// How recurrent layers go through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Walk {
    /// By sizes and device
    Auto,
    /// A dispatch a timestep of each layer
    Step,
    /// A dispatch for a timestep of all layers of a stack, each a step behind the one below
    Diagonal,
    /// A dispatch for all timesteps of a layer
    Scan,
    /// The same by workgroups that share a layer, where they run side by side, else as scan; never chosen by sizes
    Persistent,
}

impl From<Walk> for Option<Strategy> {
    fn from(walk: Walk) -> Self {
        match walk {
            Walk::Auto => None,
            Walk::Step => Some(Strategy::Step),
            Walk::Diagonal => Some(Strategy::Diagonal),
            Walk::Scan => Some(Strategy::Scan),
            Walk::Persistent => Some(Strategy::Persistent),
        }
    }
}

impl Walk {
    /// The end of the name of what is held to it.
    pub(crate) fn by(self) -> String {
        Option::<Strategy>::from(self).map_or_else(String::new, |strategy| format!(" by {strategy}"))
    }
}

/// Says on standard error where is computed, and why there.
pub(crate) fn note_device(device: &DeviceInfo) {
    note(format_args!("device: {device} ({})", device.reason()));
}

/// The device's name, as `--device` and the peers' scripts write it: `cpu`, or the adapter's.
pub(crate) fn device_name(device: &DeviceInfo) -> String {
    if device.is_cpu() { "cpu".to_owned() } else { device.name().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        for empty in [Ok(String::new()), Ok(" ".to_owned()), Err(VarError::NotPresent)] {
            assert_eq!(by_default(empty).unwrap(), Device::Auto);
        }
        assert_eq!(by_default(Ok("cpu".to_owned())).unwrap(), Device::Cpu);
        assert_eq!(by_default(Ok("llvmpipe".to_owned())).unwrap(), Device::Named("llvmpipe".to_owned()));
    }
}
