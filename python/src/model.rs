//! A model on a device: how it is read, what it tells, and its calls by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use gatewave::data::{CorpusSpec, Tokenizer};
use gatewave::formats::safetensors::{Contents, MODEL_KEY, TRAINING_KEY};
use gatewave::formats::{self, Format, Metadata, Reader, description};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Device, EngineBuilder, Error, ErrorKind, Model, Precision, Result, Strategy, Values, Weights};
use pyo3::prelude::*;

use crate::arrays::{self, Given};
use crate::errors::{compute, raised, refused};
use crate::fork::Kept;
use crate::ports;

/// A model with its weights on a device, ready to run. Threads may share it.
#[pyclass(frozen, module = "gatewave._native")]
pub(crate) struct Engine {
    pub(crate) held: Kept<Arc<Held>>,
}

/// What an engine was made of.
pub(crate) struct Held {
    pub(crate) engine: Arc<gatewave::Engine>,
    /// By the names in the file: it may have been of any format.
    pub(crate) tensors: Tensors,
    /// What its file says beside the model: a vocabulary, labels.
    pub(crate) metadata: Metadata,
    precision: Precision,
}

impl Held {
    pub(crate) fn model(&self) -> &Model {
        self.engine.model()
    }

    /// Returns the weights, read from where they are.
    pub(crate) fn weights(&self) -> Result<Weights> {
        Weights::from_tensors(self.model(), self.tensors.clone())
    }
}

/// How an engine is made: device, precision, strategy.
pub(crate) type Options = (String, String, Option<String>);

/// Returns the settings of an engine.
pub(crate) fn builder((device, precision, strategy): &Options) -> Result<(EngineBuilder, Precision)> {
    let precision = match precision.as_str() {
        "i8" => Precision::I8,
        name => Precision::from_str(name)?,
    };
    let named = |name: &String| {
        let all = [Strategy::Step, Strategy::Wavefront, Strategy::Scan, Strategy::Persistent];
        all.into_iter().find(|strategy| strategy.name() == name).ok_or_else(|| {
            let known = all.map(Strategy::name).join(", ");
            Error::new(ErrorKind::Shape, format!("strategy: expected one of {known}, got {name:?}"))
        })
    };
    let strategy = strategy.as_ref().map(named).transpose()?;
    let builder = gatewave::Engine::builder().device(Device::from_str(device)?).precision(precision);
    Ok((builder.strategy(strategy), precision))
}

/// Puts a model that was read onto a device. `place` names what it was read from, if that has a name.
fn loaded(
    (model, tensors, metadata): (Model, Tensors, Metadata),
    options: &Options,
    place: Option<&Path>,
) -> Result<Engine> {
    let (builder, precision) = builder(options)?;
    let engine = builder.load(model, &tensors).map_err(|e| match (e.kind(), place) {
        (ErrorKind::Model | ErrorKind::Weights, Some(place)) => e.at(place.display()),
        _ => e,
    })?;
    let metadata = metadata.into_iter().filter(|(key, _)| key != MODEL_KEY && key != TRAINING_KEY).collect();
    Ok(Engine { held: Kept::new(Arc::new(Held { engine: Arc::new(engine), tensors, metadata, precision })) })
}

/// Reads a file. Its description, if it is beside it, is a file or a text of JSON.
#[pyfunction]
pub(crate) fn load(
    py: Python<'_>,
    path: PathBuf,
    beside: Option<PathBuf>,
    json: Option<String>,
    set: BTreeMap<String, f64>,
    options: Options,
) -> PyResult<Engine> {
    compute(py, || {
        let (model, tensors) = read(&path, beside.as_deref(), json.as_deref(), set)?;
        let metadata = match Format::of(&path)? {
            Format::Safetensors => formats::metadata(&path)?,
            _ => Metadata::new(),
        };
        loaded((model, tensors, metadata), &options, Some(&path))
    })
}

fn read(
    path: &Path,
    beside: Option<&Path>,
    json: Option<&str>,
    set: BTreeMap<String, f64>,
) -> Result<(Model, Tensors)> {
    let is_set = !set.is_empty();
    let reader = set.into_iter().fold(Reader::new(), |reader, (name, number)| reader.set(name, number));
    let found = match (beside, json) {
        (None, None) => return reader.read(path),
        (Some(file), _) => formats::read_with(path, file)?,
        (None, Some(json)) => match Format::of(path)? {
            Format::Safetensors | Format::Torch | Format::Npz => {
                formats::of_contents(formats::contents(path)?, Some(json)).map_err(|e| e.at(path.display()))?
            }
            format => {
                let unread = |e: std::io::Error| Error::new(ErrorKind::Io, e.to_string()).because(e).at(path.display());
                let bytes = fs::read(path).map_err(unread)?;
                formats::read_bytes(bytes, format, Some(json)).map_err(|e| e.at(path.display()))?
            }
        },
    };
    // Only a file without a description beside it has inputs to set: the reader says so.
    if is_set { reader.read(path) } else { Ok(found) }
}

/// Reads a file in memory.
#[pyfunction]
pub(crate) fn load_bytes(
    py: Python<'_>,
    bytes: Vec<u8>,
    json: Option<String>,
    set: BTreeMap<String, f64>,
    options: Options,
) -> PyResult<Engine> {
    compute(py, || {
        let bytes: Arc<[u8]> = bytes.into();
        let format = Format::of_bytes(&bytes)?;
        let metadata = match format {
            Format::Safetensors => formats::contents_shared(Arc::clone(&bytes), format)?.metadata,
            _ => Metadata::new(),
        };
        let (model, tensors) = match set.is_empty() {
            true => formats::read_bytes(bytes, format, json.as_deref())?,
            false => {
                let reader = set.into_iter().fold(Reader::new(), |reader, (name, number)| reader.set(name, number));
                reader.read_bytes(bytes, format)?
            }
        };
        loaded((model, tensors, metadata), &options, None)
    })
}

/// Makes a model of a description and arrays by name, as a file of named tensors holds them.
#[pyfunction]
pub(crate) fn from_tensors(
    py: Python<'_>,
    json: String,
    given: Given<'_>,
    metadata: Metadata,
    options: Options,
) -> PyResult<Engine> {
    let tensors = tensors(&given)?;
    compute(py, || {
        let mut contents = Contents::default();
        contents.tensors = tensors;
        let (model, tensors) = formats::of_contents(contents, Some(&json))?;
        loaded((model, tensors, metadata), &options, None)
    })
}

/// Returns the arrays as tensors. Integers, such as a counter in a `state_dict`, are kept by name and shape.
fn tensors(given: &Given<'_>) -> PyResult<Tensors> {
    let mut tensors = Tensors::new();
    for (name, array) in given {
        match arrays::values(name, array)? {
            Values::F32(array) => tensors.insert(name, Tensor::from(array)),
            other => tensors.insert_unread(name, "I64", other.shape().to_vec()),
        }
    }
    Ok(tensors)
}

/// A draft: its text, what it assumes, and the tensors that it does not place, each with the reason.
type Draft = (String, Vec<String>, Vec<(String, String)>);

/// Drafts the description of a file of named tensors.
#[pyfunction]
pub(crate) fn describe(py: Python<'_>, path: PathBuf) -> PyResult<Draft> {
    compute(py, || {
        let draft = formats::describe(&formats::contents(&path)?.tensors).map_err(|e| e.at(path.display()))?;
        let unplaced = draft.unplaced.into_iter().map(|tensor| (tensor.name, tensor.why)).collect();
        Ok((draft.json, draft.notes, unplaced))
    })
}

#[pymethods]
impl Engine {
    /// Runs the model on arrays by name. Returns the outputs called `wanted`, or all, in the order of the ports.
    fn run<'py>(
        &self,
        py: Python<'py>,
        given: Given<'py>,
        wanted: Option<Vec<String>>,
    ) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let tensors = arrays::named(&given)?;
        let engine = &self.held.engine;
        let mut results = compute(py, || engine.run_named(&tensors))?;
        if let Some(wanted) = wanted {
            results.retain(|(name, _)| wanted.contains(name));
        }
        arrays::arrays(py, results)
    }

    /// The inputs of a call.
    fn inputs(&self, py: Python<'_>) -> PyResult<Vec<ports::Input>> {
        ports::inputs(self.held.model()).map_err(|e| raised(py, &e))
    }

    /// The outputs of a call.
    fn outputs(&self, py: Python<'_>) -> PyResult<Vec<ports::Output>> {
        ports::outputs(self.held.model()).map_err(|e| raised(py, &e))
    }

    /// The description as JSON.
    fn description(&self) -> String {
        description::to_json(self.held.model())
    }

    /// The description as JSON, with a line for each layer.
    fn description_by_lines(&self) -> String {
        description::to_json_by_lines(self.held.model())
    }

    /// What the model's file says beside it.
    fn metadata(&self) -> Metadata {
        self.held.metadata.clone()
    }

    /// Copies of the weights, by the names that the description gives them.
    fn state_dict<'py>(&self, py: Python<'py>) -> PyResult<Vec<(String, Bound<'py, PyAny>)>> {
        let held = &self.held;
        let copies = compute(py, || {
            let tensors = held.weights()?.to_tensors(held.model())?;
            let copy = |(name, tensor): (&str, &Tensor)| Ok((name.to_owned(), Values::F32(tensor.to_array()?)));
            tensors.iter().map(copy).collect::<Result<Vec<_>>>()
        })?;
        arrays::arrays(py, copies)
    }

    /// Writes a `.safetensors` file with the description inside.
    fn save(&self, py: Python<'_>, path: PathBuf, precision: &str) -> PyResult<()> {
        let held = &self.held;
        compute(py, || {
            let precision = if precision == "i8" { Precision::I8 } else { Precision::from_str(precision)? };
            let own = |key: &String| key.starts_with("gatewave.");
            let metadata: Metadata =
                held.metadata.iter().filter(|(key, _)| own(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
            formats::write_with(&path, held.model(), held.tensors.clone(), precision, &metadata)
        })
    }

    /// The device: its name, what is behind it, why it was taken, and whether it is the CPU.
    fn device(&self) -> (String, String, String, bool) {
        let device = self.held.engine.device();
        (device.name().to_owned(), device.detail().to_owned(), device.reason().to_owned(), device.is_cpu())
    }

    /// How weights are stored.
    fn precision(&self) -> &'static str {
        self.held.precision.name()
    }

    /// The number of trainable parameters.
    fn parameters(&self) -> usize {
        self.held.model().parameters()
    }

    /// The layers, their shapes and parameters, as a table.
    fn summary(&self) -> String {
        self.held.model().summary().to_string()
    }

    /// What a call would run.
    fn plan(&self, py: Python<'_>, batch: usize, steps: usize) -> PyResult<String> {
        let engine = &self.held.engine;
        compute(py, || engine.plan_in_words(steps, batch))
    }

    /// Forgets the states that stateful stacks keep.
    fn reset_states(&self) {
        self.held.engine.reset_states();
    }

    /// What a token stands for, and how many there are; none if the model has no vocabulary.
    fn vocabulary(&self, py: Python<'_>) -> PyResult<Option<(&'static str, usize)>> {
        let spec = self.spec(py)?;
        Ok(spec.map(|spec| (spec.unit().plural(), spec.num_tokens())))
    }

    /// The tokens of a text, and how many of them are outside the vocabulary.
    fn encode(&self, py: Python<'_>, text: &str) -> PyResult<(Vec<i64>, usize)> {
        let spec = self.needed(py)?;
        let tokens = spec.encode(text).map_err(|e| raised(py, &e))?;
        let is_unknown = |token: &&i64| spec.tokenizer().is_some() && **token == Tokenizer::UNKNOWN;
        let unknown = tokens.iter().filter(is_unknown).count();
        Ok((tokens, unknown))
    }

    /// The text of tokens that continue others.
    fn decode(&self, py: Python<'_>, tokens: Vec<i64>) -> PyResult<String> {
        Ok(self.needed(py)?.continued(&tokens))
    }
}

impl Engine {
    /// Makes the engine of a model that is in memory.
    pub(crate) fn of(model: &Model, weights: &Weights, metadata: Metadata, options: &Options) -> Result<Self> {
        loaded((model.clone(), weights.to_tensors(model)?, metadata), options, None)
    }

    fn spec(&self, py: Python<'_>) -> PyResult<Option<CorpusSpec>> {
        CorpusSpec::of_model(self.held.model(), &self.held.metadata).map_err(|e| raised(py, &e))
    }

    fn needed(&self, py: Python<'_>) -> PyResult<CorpusSpec> {
        self.spec(py)?.ok_or_else(|| {
            let text = "vocabulary: expected a model of characters or words, got one without a vocabulary; give it whole \
                        numbers, or write the characters into its description in the order of the tokens";
            refused(py, "model", text)
        })
    }
}
