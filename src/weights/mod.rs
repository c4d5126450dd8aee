//! Weights: named tensors, each shape checked against a `Model`, in canonical gate order.
//!
//! Readers turn the bytes of a file into a model and [`Tensors`]; `Weights::from_tensors` turns those into `Weights`.
//! [`read`] and [`read_bytes`] do the first and [`open`] both, whatever the file's format is; [`write()`] is the way back. Knows models and
//! cells; knows no layout and no device.

pub mod description;
mod dialect;
mod infer;
mod integers;
#[cfg(feature = "keras")]
pub mod keras;
mod keys;
mod named;
#[cfg(feature = "onnx")]
pub mod onnx;
mod random;
mod replace;
pub mod safetensors;
mod source;
pub mod support;
mod tensors;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs};

use half::f16;
use ndarray::{Array1, Array2};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{InputPort, InputValue, Layer, LayerKind, Model};

pub(crate) use dialect::Part;
pub(crate) use dialect::from_onnx;
pub(crate) use integers::{Scale, round_rows};
pub use random::draw_supplied;
#[doc(hidden)]
pub use replace::Replacement;
pub(crate) use source::{Array, EachPart, Source};
pub use tensors::{Tensor, Tensors, non_finite};

/// The weights of a model, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One for each layer of the model.
    pub layers: Vec<LayerWeights>,
    /// Those of the model's encoder.
    pub encoder: Option<Box<Self>>,
    /// Where stacks of [`Initial::Learned`](crate::Initial::Learned) begin, by stack, counted from 0 among the model's
    /// recurrent layers.
    pub initial: BTreeMap<usize, LearnedStates>,
}

impl Weights {
    /// The weights of a model of these layers, which has no encoder and begins at zero.
    pub fn new(layers: Vec<LayerWeights>) -> Self {
        Self { layers, encoder: None, initial: BTreeMap::new() }
    }
}

/// The learned states that a stack begins at, the same for every row: layer-major, forward before reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedStates {
    /// The hidden states, `[L · D, state_size]`.
    pub h: Array2<f32>,
    /// The cell states of an LSTM, `[L · D, H]`.
    pub c: Option<Array2<f32>>,
}

/// The weights of one layer.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerWeights {
    /// The layer has none.
    None,
    /// The table, `[V, features]`.
    Embedding(Array2<f32>),
    /// The cells, layer-major, forward before reverse: `[L · D]`.
    Recurrent(Vec<CellWeights>),
    /// A product.
    Linear {
        /// `[out_features, in_features]`.
        w: Array2<f32>,
        /// `[out_features]`.
        b: Option<Array1<f32>>,
    },
}

/// The weights of one layer and direction of a stack, gates in the cell's canonical order.
#[derive(Clone, Debug, PartialEq)]
pub struct CellWeights {
    /// The input product, `[G · H, I]`.
    pub w_x: Array2<f32>,
    /// The recurrent product, `[G · H, state_size]`.
    pub w_h: Array2<f32>,
    /// The input product's bias, `[G · H]`.
    pub b_x: Option<Array1<f32>>,
    /// The recurrent product's bias, `[G · H]`.
    pub b_h: Option<Array1<f32>>,
    /// The projection, `[proj_size, H]`.
    pub w_r: Option<Array2<f32>>,
    /// An LSTM's peepholes, `[3, H]`: gates input, forget, output.
    pub peepholes: Option<Array2<f32>>,
}

/// How weights are stored, in a file or on a device. Inputs, states, sums and outputs are 32-bit floats always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats: half the memory, and about three decimal digits.
    F16,
    /// 8-bit integers for the matrices of products, with a scale for each of their rows: a quarter of the memory, and about
    /// two decimal digits. Biases, peepholes, embeddings and learned states stay 32-bit floats.
    I8,
}

/// The nearest 16-bit float.
///
/// # Errors
///
/// Kind `Weights`, where `x` is finite and too large for one.
pub(crate) fn narrowed(x: f32) -> Result<f16> {
    let half = f16::from_f32(x);
    if x.is_finite() && half.is_infinite() {
        let text = format!("expected at most 65504 in magnitude for 16-bit floats, got {x}; use 32-bit floats");
        return Err(Error::new(ErrorKind::Weights, text));
    }
    Ok(half)
}

/// Reads a model and its weights from a file: [`read`], and every element.
///
/// # Errors
///
/// As [`read`], and what reading the tensors gives; `Weights`, where the caller of the model supplies some.
pub fn open(path: &Path, description: Option<&Path>) -> Result<(Model, Weights)> {
    let (model, tensors) = read(path, description)?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.at(path.display()))?;
    Ok((model, weights))
}

/// Reads a model from a file, and the names and shapes of its tensors. Their elements stay in the file:
/// [`Engine::from_tensors`](crate::Engine::from_tensors) loads them from there.
///
/// The name's ending says what the file is: `.safetensors`, whose model is described by the file `description`, or else
/// by its own metadata; `.onnx`; `.keras`, `.h5` or `.hdf5`.
///
/// Weights that the caller supplies ([`Interface::takes_weights`](crate::Interface::takes_weights)) are among the
/// tensors by name and shape; to read them is an error.
///
/// # Errors
///
/// Kind `Io` where a file cannot be read, or is of a format that is not read; `Model` where there is no description, or
/// it is wrong; `Weights` where the file is damaged, or its tensors are not those of the model.
pub fn read(path: &Path, description: Option<&Path>) -> Result<(Model, Tensors)> {
    let format = Format::of(path)?;
    if let (Some(file), true) = (description, format != Format::Safetensors) {
        let message = format!("expected no description beside {}, which brings its own", path.display());
        return Err(Error::new(ErrorKind::Model, message).at(file.display()));
    }
    let read = match format {
        Format::Safetensors => native(path, description),
        #[cfg(feature = "onnx")]
        Format::Onnx => onnx::read(path),
        #[cfg(not(feature = "onnx"))]
        Format::Onnx => Err(not_built("onnx").at(path.display())),
        #[cfg(feature = "keras")]
        Format::Keras => keras::read(path),
        #[cfg(not(feature = "keras"))]
        Format::Keras => Err(not_built("keras").at(path.display())),
    };
    let (model, tensors) = read?;
    complete(model, tensors).map_err(|e| e.at(path.display()))
}

/// Reads a model from a file that is in memory, and the names and shapes of its tensors: [`read`], where there is no file
/// system. Their elements stay in `bytes`, which the tensors keep; an `Arc<[u8]>` is not copied.
///
/// `description` is the text that the description of a `.safetensors` file holds; without one, the file's own metadata has
/// it. [`Format::of`] tells the format by a name.
///
/// # Errors
///
/// As [`read`]; kind `Model`, where an ONNX file names files of external data, which are in no memory.
///
/// # Example
///
/// ```
/// use std::path::Path;
///
/// use gatewave::weights::{self, Format};
/// use gatewave::{Device, Engine, Options};
///
/// # fn main() -> gatewave::Result<()> {
/// let name = Path::new("models/shakespeare/shakespeare.safetensors");
/// let bytes = std::fs::read(name).expect("it is there"); // in a browser: what `fetch` gave
/// let json = std::fs::read_to_string("models/shakespeare/model.json").expect("it is there");
/// let (model, tensors) = weights::read_bytes(bytes, Format::of(name)?, Some(&json))?;
/// let engine = Engine::from_tensors(model, &tensors, Options::default().device(Device::Cpu))?;
/// # drop(engine);
/// # Ok(())
/// # }
/// ```
pub fn read_bytes(bytes: impl Into<Arc<[u8]>>, format: Format, description: Option<&str>) -> Result<(Model, Tensors)> {
    let bytes = bytes.into();
    if description.is_some() && format != Format::Safetensors {
        let message = format!("expected no description beside {format} file, which brings its own");
        return Err(Error::new(ErrorKind::Model, message));
    }
    let read = || {
        let (model, tensors) = match format {
            Format::Safetensors => described(safetensors::read_shared(bytes)?, description)?,
            #[cfg(feature = "onnx")]
            Format::Onnx => onnx::read_shared(bytes)?,
            #[cfg(not(feature = "onnx"))]
            Format::Onnx => return Err(not_built("onnx")),
            #[cfg(feature = "keras")]
            Format::Keras => keras::read_shared(bytes)?,
            #[cfg(not(feature = "keras"))]
            Format::Keras => return Err(not_built("keras")),
        };
        complete(model, tensors)
    };
    read().map_err(|e| e.at(format_args!("{format} file in memory")))
}

/// The tensors that were read, and those that the caller supplies, checked against the model.
fn complete(model: Model, mut tensors: Tensors) -> Result<(Model, Tensors)> {
    tensors.extend([supplied(&model)]);
    named::check(&model, &tensors)?;
    Ok((model, tensors))
}

/// Writes a model and its weights to a `.safetensors` file that [`open`] reads, in 32-bit floats.
///
/// # Errors
///
/// As [`Weights::to_tensors`], and kind `Io` where the file cannot be written.
pub fn save(path: &Path, model: &Model, weights: &Weights) -> Result<()> {
    write(path, model, weights.to_tensors(model)?, Precision::F32)
}

/// Writes a model and those of `tensors` that it needs to a `.safetensors` file that [`read`] reads. Tensors that
/// are in a file are read one by one; those that the caller of the model supplies are left out.
///
/// # Errors
///
/// Kind `Model` where the layers do not fit each other; `Weights` where a tensor is missing, of another shape, or holds
/// an element that is too large for `precision`; `Io` where the file cannot be written; and what reading a tensor gives.
pub fn write(path: &Path, model: &Model, mut tensors: Tensors, precision: Precision) -> Result<()> {
    let supplied = supplied(model);
    tensors.extend([supplied.clone()]);
    named::check(model, &tensors)?;
    let needed = named::names(model);
    tensors.retain(|name| needed.contains(name) && !supplied.contains(name));
    let products = named::products(model);
    let stored = |name: &str, _: &Tensor| match precision {
        Precision::I8 if !products.contains(name) => Precision::F32,
        precision => precision,
    };
    safetensors::write_each(path, &tensors, Some(&description::to_json(model)), &stored)
}

/// What a model's file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Named tensors, and a description in the metadata or beside them.
    Safetensors,
    /// A graph of operators, with its weights.
    Onnx,
    /// A `.keras` archive or an `.h5` file: which of them, its first bytes tell.
    Keras,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "a .safetensors",
            Self::Onnx => "an .onnx",
            Self::Keras => "a Keras",
        })
    }
}

impl Format {
    /// What a file of this name is, by the name's ending.
    ///
    /// # Errors
    ///
    /// Kind `Io`, where it is of a format that is not read.
    pub fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let got = match extension.as_deref() {
            Some("safetensors") => return Ok(Self::Safetensors),
            Some("onnx") => return Ok(Self::Onnx),
            Some("keras" | "h5" | "hdf5") => return Ok(Self::Keras),
            Some(other) => format!(".{other}"),
            None => "no extension".into(),
        };
        let hint = match extension.as_deref() {
            Some("pt" | "pth" | "bin" | "ckpt") => {
                "; in PyTorch, safetensors.torch.save_file(model.state_dict(), \"model.safetensors\") writes one"
            }
            _ => "",
        };
        let message = format!("expected a .safetensors, .onnx, .keras or .h5 file, got {got}{hint}");
        Err(Error::new(ErrorKind::Io, message).at(path.display()))
    }
}

/// The model of a `.safetensors` file, and its tensors.
fn native(path: &Path, description: Option<&Path>) -> Result<(Model, Tensors)> {
    let contents = safetensors::read(path)?;
    let Some(file) = description else { return described(contents, None).map_err(|e| e.at(path.display())) };
    let json = fs::read_to_string(file)
        .map_err(|e| Error::new(ErrorKind::Io, format!("{e}")).because(e).at(file.display()))?;
    described(contents, Some(&json)).map_err(|e| e.at(file.display()))
}

/// The model that `description` describes, or else the file's own metadata.
fn described(contents: safetensors::Contents, description: Option<&str>) -> Result<(Model, Tensors)> {
    let Some(json) = description.or(contents.description.as_deref()) else {
        let message = format!(
            "expected a description of the model in the metadata (key {}), got none; give one beside the file \
             (--model model.json)",
            safetensors::MODEL_KEY
        );
        return Err(Error::new(ErrorKind::Model, message));
    };
    let model = description::from_json(json, &contents.tensors)?;
    Ok((model, contents.tensors))
}

/// The error for a format whose reader is left out of this build.
#[cfg(not(all(feature = "keras", feature = "onnx")))]
fn not_built(feature: &str) -> Error {
    let message = format!("this format is not read: gatewave was built without the feature `{feature}`");
    Error::new(ErrorKind::Io, message)
}

/// The tensors that the caller of `model` supplies, which cannot be read before.
fn supplied(model: &Model) -> Tensors {
    let mut tensors = Tensors::new();
    for InputPort { name, value, .. } in model.interface.iter().flat_map(|interface| &interface.inputs) {
        let &InputValue::Weights { layer, part } = value else { continue };
        let Some(Layer { kind: LayerKind::Recurrent(stack), weights: prefix }) = model.layers.get(layer) else {
            continue;
        };
        let message = format!("expected weights from the caller, who brings them as {name} with each call");
        let absent = Tensor::stored(part.shape(stack), move || Err(Error::new(ErrorKind::Weights, message.as_str())));
        let cut = from_onnx(stack, part, &absent).expect("a tensor of the part's own shape");
        tensors.extend(cut.into_iter().map(|(local, tensor)| (format!("{prefix}{local}"), tensor)));
    }
    tensors
}
