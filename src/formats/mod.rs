//! Formats: readers and writers of model files.
//!
//! Every reader ends in the same two nouns: a `Model`, and [`Tensors`] by its names. [`read`] and [`read_bytes`] give both, whatever
//! the file's format is; [`open`] reads every element besides; [`write()`] is the way back. Knows models, cells and weights;
//! knows no layout and no device.

pub mod description;
mod encoder;
mod infer;
#[cfg(feature = "keras")]
pub mod keras;
mod keys;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod safetensors;
pub mod support;

use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs, io};

pub use safetensors::Metadata;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::weights::named::{self, supplied};
use crate::weights::{Precision, Tensor, Tensors, Weights};

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
/// Weights that the caller supplies ([`Ports::takes_weights`](crate::Ports::takes_weights)) are among the
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
/// use gatewave::formats::{self, Format};
/// use gatewave::{Device, Engine, Options};
///
/// # fn main() -> gatewave::Result<()> {
/// let name = Path::new("models/shakespeare/shakespeare.safetensors");
/// let bytes = std::fs::read(name).expect("it is there"); // in a browser: what `fetch` gave
/// let json = std::fs::read_to_string("models/shakespeare/model.json").expect("it is there");
/// let (model, tensors) = formats::read_bytes(bytes, Format::of(name)?, Some(&json))?;
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
pub fn write(path: &Path, model: &Model, tensors: Tensors, precision: Precision) -> Result<()> {
    write_with(path, model, tensors, precision, &Metadata::new())
}

/// [`write()`], with what the file says beside the model: [`metadata`] gives it back.
///
/// # Errors
///
/// As [`write()`]; kind `Model`, where a key does not begin with `gatewave.`, or is that of the model or of a training.
pub fn write_with(
    path: &Path,
    model: &Model,
    tensors: Tensors,
    precision: Precision,
    metadata: &Metadata,
) -> Result<()> {
    check_keys(metadata)?;
    write_beside(path, model, tensors, precision, (metadata, Tensors::new()))
}

/// What the model file at `path` says beside its model, by key: a `.safetensors` file has it in its metadata, files of other
/// formats have none.
///
/// # Errors
///
/// As [`read`], where the file cannot be read.
pub fn metadata(path: &Path) -> Result<Metadata> {
    match Format::of(path)? {
        Format::Safetensors => Ok(safetensors::read(path)?.metadata),
        Format::Onnx | Format::Keras => Ok(Metadata::new()),
    }
}

/// Whether a file can say that beside its model, by whoever calls.
///
/// # Errors
///
/// Kind `Model`, where it cannot.
pub(crate) fn check_keys(metadata: &Metadata) -> Result<()> {
    let own = [safetensors::MODEL_KEY, safetensors::TRAINING_KEY];
    let is_free = |key: &str| key.starts_with(safetensors::OURS) && !own.contains(&key);
    match metadata.keys().find(|key| !is_free(key)) {
        None => Ok(()),
        Some(key) => {
            let text = format!("metadata: expected a key that begins with gatewave. and is free, got {key:?}");
            Err(Error::new(ErrorKind::Model, text))
        }
    }
}

/// The same of any texts, with tensors that are no layer's.
pub(crate) fn write_beside(
    path: &Path,
    model: &Model,
    mut tensors: Tensors,
    precision: Precision,
    (metadata, kept): (&Metadata, Tensors),
) -> Result<()> {
    let supplied = supplied(model);
    tensors.extend([supplied.clone()]);
    named::check(model, &tensors)?;
    named::rename(model, &mut tensors);
    let needed = named::names(model, &tensors);
    tensors.retain(|name| needed.contains(name) && !supplied.contains(name));
    let text = description::to_json(model);
    // A file that nobody could read is not written.
    match description::from_json(&text, &tensors) {
        Ok(back) if back == *model => {}
        Ok(_) => return Err(Error::new(ErrorKind::Model, "the description would be read as another model")),
        Err(e) => return Err(e.at("the description that would be written")),
    }
    let products = named::products(model, &tensors);
    let stored = |name: &str, _: &Tensor| match precision {
        Precision::I8 if !products.contains(name) => Precision::F32,
        precision => precision,
    };
    tensors.extend([kept]);
    let beside = metadata.iter().map(|(key, text)| (key.as_str(), text.as_str()));
    let texts: safetensors::KeyedTexts<'_> =
        [(safetensors::MODEL_KEY, text.as_str())].into_iter().chain(beside).collect();
    safetensors::write_each(path, &tensors, &texts, &stored)
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
    let unread = |e: io::Error| {
        let text = match e.kind() {
            io::ErrorKind::InvalidData => "expected a description in JSON (model.json), got no text".to_owned(),
            _ => e.to_string(),
        };
        Error::new(ErrorKind::Io, text).because(e).at(file.display())
    };
    let json = fs::read_to_string(file).map_err(unread)?;
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
    let message = format!(
        "this format is not read: gatewave was built without the feature `{feature}`; in Cargo.toml, add it to the features \
         of gatewave"
    );
    Error::new(ErrorKind::Io, message)
}
