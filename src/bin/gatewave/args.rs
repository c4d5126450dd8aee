//! Arguments that several subcommands share: a model, a device, a precision.
//!
//! Turns arguments into the types of the library; decides nothing.

use std::env::{self, VarError};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use gatewave::formats::{self, Content, Format, Metadata, safetensors};
use gatewave::interface::InputValue;
use gatewave::parts::Cut;
use gatewave::train::{Convention, Dataset, Objective, Sgd, Update};
use gatewave::weights::{self, Tensors};
use gatewave::{
    Device, DeviceInfo, Engine, EngineBuilder, Error, ErrorKind, Model, NamedTensors, Precision, Result, Strategy,
    Trainer, Weights,
};

use crate::chosen::Chosen;
use crate::files;
use crate::messages::note;
use crate::progress;
use crate::tensors::{self, StoredTensors, TensorFile};

/// The seed of weights that are drawn because a call would bring them.
const SEED: u64 = 1;

/// A model that must be given.
#[derive(clap::Args)]
pub(crate) struct ModelArgs {
    /// The model: a .safetensors, .onnx, .keras, .h5, .pt or .npz file, or `-` for standard input
    #[arg(id = "path", value_name = "MODEL")]
    path: PathBuf,
    /// The model's description, if MODEL holds tensors alone: .safetensors, .pt, .npz, .weights.h5
    #[arg(long = "model", value_name = "model.json")]
    description: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
}

/// A model that may be given.
#[derive(clap::Args)]
pub(crate) struct MaybeModelArgs {
    /// The model: a .safetensors, .onnx, .keras, .h5, .pt or .npz file, or `-` for standard input
    #[arg(id = "path", value_name = "MODEL")]
    path: Option<PathBuf>,
    /// The model's description, if MODEL holds tensors alone: .safetensors, .pt, .npz, .weights.h5
    #[arg(long = "model", value_name = "model.json", requires = "path")]
    description: Option<PathBuf>,
    #[command(flatten)]
    chosen: Chosen,
}

impl ModelArgs {
    /// Returns the files of the model.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path()).chain(self.description.as_deref())
    }

    /// Returns the file of the model, which may keep a tokenizer.
    pub(crate) fn file(&self) -> &Path {
        &self.path
    }

    /// Returns the file that describes the model.
    pub(crate) fn described_by(&self) -> &Path {
        self.description.as_deref().unwrap_or(&self.path)
    }

    /// Reads the model; its tensors stay in the file.
    pub(crate) fn read(&self) -> Result<(Model, Tensors)> {
        read_chosen(&self.path, self.description.as_deref(), &self.chosen)
    }

    /// Returns the numbers that are set for inputs.
    pub(crate) fn set(&self) -> &[(String, f64)] {
        &self.chosen.set
    }

    /// Returns what of an ONNX file is meant.
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    /// Reads the model for `numbers` of its inputs, instead of those that are set.
    pub(crate) fn read_for(&self, numbers: &[(String, f64)]) -> Result<(Model, Tensors)> {
        read_chosen(&self.path, self.description.as_deref(), &self.chosen.with(numbers))
    }

    /// Cuts the model's graph into parts, where the reader refuses it whole with `error` for `numbers` of its inputs.
    pub(crate) fn cut_instead(&self, error: Error, numbers: &[(String, f64)]) -> Result<Cut> {
        self.chosen.with(numbers).cut_instead(&self.path, error)
    }

    /// Returns the metadata of the model's file.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        metadata(&self.path)
    }

    /// Adds the model's file to an error if that is about weights.
    pub(crate) fn at(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::Weights => error.at(files::name(&self.path)),
            _ => error,
        }
    }

    /// Reads the model for a command that makes no engine. Warns of layers that no output needs, as an engine would.
    pub(crate) fn read_alone(&self) -> Result<(Model, Tensors)> {
        let (model, tensors) = self.read()?;
        model.warn_of_unused();
        Ok((model, tensors))
    }

    /// Reads the model without its weights, also from a description alone. Warns of layers that no output needs.
    pub(crate) fn described(&self) -> Result<Model> {
        let model = described(&self.path, self.description.as_deref(), &self.chosen)?;
        model.warn_of_unused();
        Ok(model)
    }

    /// Makes an engine of what [`read`](Self::read) returned, and prints a line about its device on standard error.
    pub(crate) fn engine(
        &self,
        model: Model,
        tensors: &Tensors,
        device: Device,
        precision: Precision,
    ) -> Result<Engine> {
        let options = Engine::builder().device(device).precision(precision).progress(progress::shown());
        let engine = options.load(model, tensors).map_err(|e| self.at(e))?;
        note_device(engine.device());
        Ok(engine)
    }
}

impl MaybeModelArgs {
    /// Returns the numbers that are set for inputs.
    pub(crate) fn set(&self) -> &[(String, f64)] {
        &self.chosen.set
    }

    /// Reads the model, if there is one; its tensors stay in the file.
    pub(crate) fn read(&self) -> Result<Option<(Model, Tensors)>> {
        self.path.as_deref().map(|path| read_chosen(path, self.description.as_deref(), &self.chosen)).transpose()
    }

    /// Reads the model without its weights, if there is one, also from a description alone.
    pub(crate) fn described(&self) -> Result<Option<Model>> {
        self.path.as_deref().map(|path| described(path, self.description.as_deref(), &self.chosen)).transpose()
    }

    /// Cuts the model's graph into parts, where the reader refuses it whole with `error`.
    pub(crate) fn cut_instead(&self, error: Error) -> Result<Cut> {
        match &self.path {
            Some(path) => self.chosen.cut_instead(path, error),
            None => Err(error),
        }
    }

    /// Reads the model with its weights, if there is one. Weights that a call would bring are drawn.
    pub(crate) fn open(&self) -> Result<Option<(Model, Weights)>> {
        let Some((model, mut tensors)) = self.read()? else { return Ok(None) };
        weights::draw_supplied(&model, &mut tensors, SEED)?;
        let weights = Weights::from_tensors(&model, tensors);
        let weights = weights.map_err(|e| e.at(self.path.as_deref().map(files::name).unwrap_or_default()))?;
        Ok(Some((model, weights)))
    }

    /// Returns the model's file, as the user wrote it.
    pub(crate) fn name(&self) -> Option<String> {
        self.path.as_deref().map(files::name)
    }
}

/// Reads a model and the weights that a training begins at: those
/// of its file, or drawn ones for a description alone (`.json`).
///
/// # Errors
///
/// Returns the errors of reading a model, or one of kind `Model`
/// if its caller brings weights, since they would not be kept.
pub(crate) fn begin(
    path: &Path,
    description: Option<&Path>,
    chosen: &Chosen,
    like: Convention,
    seed: u64,
) -> Result<(Model, Weights)> {
    let owns_weights = |model: &Model| match model.all_ports().takes_weights() {
        true => {
            let text = "expected a model that holds its weights, got one that takes them with each call";
            Err(Error::new(ErrorKind::Model, text))
        }
        false => Ok(()),
    };
    if is_description(path)? {
        let model = described(path, description, chosen)?;
        let weights = owns_weights(&model).and_then(|()| Weights::initial(&model, like, seed));
        let weights = weights.map_err(|e| e.at(files::name(path)))?;
        return Ok((model, weights));
    }
    let (model, tensors) = read_chosen(path, description, chosen)?;
    let weights = owns_weights(&model).and_then(|()| Weights::from_tensors(&model, tensors));
    Ok((model, weights.map_err(|e| e.at(files::name(path)))?))
}

/// Reads a model without its weights, from its file or from a description alone (`.json`), which has every size.
fn described(path: &Path, description: Option<&Path>, chosen: &Chosen) -> Result<Model> {
    if !is_description(path)? {
        return read_chosen(path, description, chosen).map(|(model, _)| model);
    }
    if let Some((flag, name)) = chosen.given() {
        let text = format!("{flag}: expected an .onnx file with {name:?} in its graph, got a description");
        return Err(Error::new(ErrorKind::Model, text).at(files::name(path)));
    }
    if let Some(other) = description {
        let text = format!("--model: expected none beside a description, got {}", other.display());
        return Err(Error::new(ErrorKind::Model, text).at(files::name(path)));
    }
    let read = || formats::description::from_json(&files::text(path)?, &Tensors::new());
    read().map_err(|e: Error| e.at(files::name(path)))
}

/// Reads a model; its tensors stay in the file, or in memory if they came as a stream.
pub(crate) fn read(path: &Path, description: Option<&Path>) -> Result<(Model, Tensors)> {
    read_chosen(path, description, &Chosen::default())
}

/// Reads a model like [`read`], or what is chosen of an ONNX graph.
pub(crate) fn read_chosen(path: &Path, description: Option<&Path>, chosen: &Chosen) -> Result<(Model, Tensors)> {
    if chosen.given().is_some() {
        return chosen.read(path, description);
    }
    let bytes = match (files::streamed(path)?, description) {
        (Some(bytes), _) => bytes,
        (None, Some(description)) if files::is_stream(description) => {
            let read = std::fs::read(path).map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e));
            read.map_err(|e| e.at(path.display()))?.into()
        }
        (None, Some(description)) => return formats::read_with(path, description),
        (None, None) => return formats::read(path),
    };
    let json = match description {
        Some(description) => Some(files::text(description).map_err(|e| e.at(files::name(description)))?),
        None => None,
    };
    let format = if files::is_stream(path) { Format::of_bytes(&bytes) } else { Format::of(path) };
    let read = format.and_then(|format| formats::read_bytes(bytes, format, json.as_deref()));
    read.map_err(|e| e.at(files::name(path)))
}

/// Reads the metadata of a model's file, which may have come as a stream.
pub(crate) fn metadata(path: &Path) -> Result<Metadata> {
    match files::streamed(path)? {
        None => formats::metadata(path),
        Some(bytes) if Content::of(&bytes) == Some(Content::Safetensors) => {
            let read = safetensors::read_shared(bytes).map_err(|e| e.at(files::name(path)))?;
            Ok(read.metadata)
        }
        Some(_) => Ok(Metadata::new()),
    }
}

/// Returns whether `path` is a description alone, without weights.
pub(crate) fn is_description(path: &Path) -> Result<bool> {
    match files::streamed(path)? {
        Some(bytes) => Ok(Content::of(&bytes) == Some(Content::Json)),
        None => Ok(has_extension(path, "json")),
    }
}

/// Reads the tensors of the file at `path` for `model`. The
/// array of an `.npy` file, which has no name, is its sequence.
pub(crate) fn tensors_for(model: &Model, path: &Path) -> Result<NamedTensors> {
    let ports = model.all_ports();
    let sequence = ports.inputs.iter().find(|port| port.value == InputValue::Sequence);
    tensors::read(path, sequence.map_or("x", |port| &port.name))
}

/// Returns the tensors in the file at `path` as examples, with their objective. They are in memory, or with
/// `stream` read when a batch takes them. `objective` makes the objective from the names of the tensors.
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

/// Adds the file of the data to an error. Errors of reading name it already.
pub(crate) fn at_data(error: Error, path: &Path) -> Error {
    if error.kind() == ErrorKind::Io { error } else { error.at(files::name(path)) }
}

/// Makes a trainer that measures, and never makes an update.
pub(crate) fn measuring(
    model: Model,
    weights: &Weights,
    objective: impl Into<Objective>,
    options: EngineBuilder,
) -> Result<Trainer> {
    Trainer::new(model, weights, objective, Update::by(Sgd::like(Convention::Torch)), options)
}

/// Returns whether the name of `path` has this extension.
pub(crate) fn has_extension(path: &Path, wanted: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(wanted))
}

/// What training keeps.
#[derive(clap::Args)]
pub(crate) struct KeepArgs {
    /// Bytes that recurrent layers may keep of a batch for the backward
    /// pass; what they do not keep is computed twice, with the same results
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) keep_bytes: Option<u64>,
}

/// The device to compute on.
#[derive(clap::Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute. auto: the best GPU, else the CPU. cpu: the CPU. gpu: the best GPU, else an error. NAME:
    /// the adapter with NAME in its name [default: the environment variable `GATEWAVE_ADAPTER`, else auto]
    #[arg(long, value_name = "auto|cpu|gpu|NAME")]
    device: Option<Device>,
}

/// The environment variable with the default of `--device`.
const ADAPTER: &str = "GATEWAVE_ADAPTER";

impl DeviceArgs {
    /// Returns the device that was asked for.
    pub(crate) fn device(&self) -> Result<Device> {
        match (&self.device, env::var(ADAPTER)) {
            (Some(device), _) => Ok(device.clone()),
            (None, value) => by_default(value),
        }
    }
}

/// Returns the device that the environment asks for. An empty variable counts as not set.
fn by_default(value: Result<String, VarError>) -> Result<Device> {
    match value {
        Ok(name) if name.trim().is_empty() => Ok(Device::Auto),
        Ok(name) => name.parse().inspect(|device| match device {
            Device::Named(name) => note(format_args!("device `{name}` is asked for by {ADAPTER}")),
            Device::Gpu => note(format_args!("a GPU is asked for by {ADAPTER}")),
            _ => {}
        }),
        Err(VarError::NotPresent) => Ok(Device::Auto),
        Err(VarError::NotUnicode(name)) => Err(Error::new(
            ErrorKind::Device,
            format!("{ADAPTER}: expected auto, cpu, gpu or a part of an adapter's name, got {name:?}"),
        )),
    }
}

/// Parses how weights are stored, by the names of [`Precision`].
pub(crate) fn precision() -> impl TypedValueParser<Value = Precision> {
    let value = |precision: &Precision| {
        let words = match precision {
            Precision::F32 => "32-bit floats",
            Precision::F16 => "16-bit floats for the weights; sums in 32 bits",
            Precision::I8 => "8-bit integers for matrices, with one scale for each row; sums in 32 bits",
            _ => "",
        };
        PossibleValue::new(precision.name()).help(words)
    };
    PossibleValuesParser::new(Precision::ALL.iter().map(value)).try_map(|name| name.parse::<Precision>())
}

/// Parses a count that is not zero.
pub(crate) fn positive(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "expected a whole number, 1 or more".to_owned())
}

/// How recurrent layers go through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StrategyArg {
    /// Chosen by the sizes and the device
    Auto,
    /// One dispatch for each timestep of each layer
    Step,
    /// One dispatch for all layers, each one step behind the one that feeds it
    #[value(alias = "diagonal")]
    Wavefront,
    /// One dispatch for all timesteps of a layer
    Scan,
    /// Like scan, by workgroups that share a layer side by side; only on request
    Persistent,
}

impl From<StrategyArg> for Option<Strategy> {
    fn from(arg: StrategyArg) -> Self {
        match arg {
            StrategyArg::Auto => None,
            StrategyArg::Step => Some(Strategy::Step),
            StrategyArg::Wavefront => Some(Strategy::Wavefront),
            StrategyArg::Scan => Some(Strategy::Scan),
            StrategyArg::Persistent => Some(Strategy::Persistent),
        }
    }
}

impl StrategyArg {
    /// Returns the end of a name: ` by` and the strategy, or nothing.
    pub(crate) fn by(self) -> String {
        Option::<Strategy>::from(self).map_or_else(String::new, |strategy| format!(" by {strategy}"))
    }
}

/// Prints on standard error which device computes, and why that one.
pub(crate) fn note_device(device: &DeviceInfo) {
    note(format_args!("device: {device} ({})", device.reason()));
}

/// Returns the device's name, as `--device` and the peers' scripts write it: `cpu`, or the adapter's.
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
        assert_eq!(by_default(Ok("gpu".to_owned())).unwrap(), Device::Gpu);
        assert_eq!(by_default(Ok("llvmpipe".to_owned())).unwrap(), Device::Named("llvmpipe".to_owned()));
    }
}
