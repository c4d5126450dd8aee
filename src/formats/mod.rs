//! Formats: readers and writers of model files.
//!
//! Every reader gives a `Model` and its [`Tensors`] by name. [`read`] and [`read_bytes`] read files of
//! every format; [`open`] also reads all elements. [`write()`] writes a file, and [`describe()`] drafts a
//! description of tensors that have none. Knows models, cells and weights; knows no layout and no device.

pub mod content;
mod describe;
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

pub use content::Content;
pub use describe::{Draft, Unplaced, describe, places};
pub use safetensors::Metadata;

#[cfg(not(all(feature = "keras", feature = "onnx")))]
use crate::error::not_built;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::precision::Precision;
use crate::weights::named::{self, supplied};
use crate::weights::{Tensor, Tensors, Weights};

/// Reads a model and its weights from a file, like [`read`], with all elements.
///
/// # Errors
///
/// As [`read`], or any error of reading the tensors. Returns an error of kind
/// [`ErrorKind::Weights`] if the caller of the model supplies some of the weights.
pub fn open(path: impl AsRef<Path>) -> Result<(Model, Weights)> {
    weighed(path.as_ref(), None)
}

/// Reads a `.safetensors` file like [`open`], with the model described by the file `description`.
///
/// # Errors
///
/// As [`open`] and [`read_with`].
pub fn open_with(path: impl AsRef<Path>, description: impl AsRef<Path>) -> Result<(Model, Weights)> {
    weighed(path.as_ref(), Some(description.as_ref()))
}

fn weighed(path: &Path, description: Option<&Path>) -> Result<(Model, Weights)> {
    let (model, tensors) = read_at(path, description)?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.at(path.display()))?;
    Ok((model, weights))
}

/// Reads a model from a file, and the names and shapes of its tensors. Their elements stay
/// in the file: [`EngineBuilder::load`](crate::EngineBuilder::load) loads them from there.
///
/// The extension decides the format: `.safetensors`, whose metadata describes the model;
/// `.onnx`; `.keras`, `.h5` or `.hdf5`. [`read_with`] takes the description from another file.
///
/// Weights that the caller supplies ([`Ports::takes_weights`](crate::interface::Ports::takes_weights))
/// are among the tensors by name and shape; reading their elements is an error.
///
/// # Errors
///
/// Returns an error of one of these kinds:
///
/// - [`ErrorKind::Io`] if a file cannot be read, or its format is not supported,
/// - [`ErrorKind::Model`] if there is no description, or it is wrong,
/// - [`ErrorKind::Weights`] if the file is damaged, or its tensors are not those of the model.
pub fn read(path: impl AsRef<Path>) -> Result<(Model, Tensors)> {
    read_at(path.as_ref(), None)
}

/// Reads a `.safetensors` file like [`read`], with the model described by the file
/// `description`. It is JSON, as in `docs/model-format.md` in the repository.
///
/// # Errors
///
/// As [`read`]. Returns an error of kind [`ErrorKind::Model`] if
/// `path` is of another format, which has its own description.
pub fn read_with(path: impl AsRef<Path>, description: impl AsRef<Path>) -> Result<(Model, Tensors)> {
    read_at(path.as_ref(), Some(description.as_ref()))
}

fn read_at(path: &Path, description: Option<&Path>) -> Result<(Model, Tensors)> {
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

/// Reads a model from a file in memory, and the names and shapes of its tensors: [`read`] without a
/// file system. Their elements stay in `bytes`, which the tensors keep; an `Arc<[u8]>` is not copied.
///
/// `description` is the text of a description for a `.safetensors` file; without it,
/// the file's own metadata is used. [`Format::of`] finds the format from a name.
///
/// # Errors
///
/// As [`read`]. Returns an error of kind [`ErrorKind::Model`] if an
/// ONNX file names files of external data, which are not in memory.
///
/// # Example
///
/// ```
/// use std::path::Path;
///
/// use gatewave::formats::{self, Format};
/// use gatewave::{Device, Engine};
///
/// # fn main() -> gatewave::Result<()> {
/// let name = Path::new("models/shakespeare/shakespeare.safetensors");
/// let bytes = std::fs::read(name).expect("it is there"); // in a browser: what `fetch` gave
/// let json = std::fs::read_to_string("models/shakespeare/model.json").expect("it is there");
/// let (model, tensors) = formats::read_bytes(bytes, Format::of(name)?, Some(&json))?;
/// let engine = Engine::builder().device(Device::Cpu).load(model, &tensors)?;
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

/// Adds the tensors that the caller supplies, and checks all tensors against the model.
fn complete(model: Model, mut tensors: Tensors) -> Result<(Model, Tensors)> {
    tensors.extend([supplied(&model)]);
    named::check(&model, &tensors)?;
    Ok((model, tensors))
}

/// Writes a model and its weights to a `.safetensors` file that [`open`] reads, in 32-bit floats.
///
/// # Errors
///
/// As [`Weights::to_tensors`]. Returns an error of kind [`ErrorKind::Io`] if the file cannot be written.
pub fn save(path: impl AsRef<Path>, model: &Model, weights: &Weights) -> Result<()> {
    write(path, model, weights.to_tensors(model)?, Precision::F32)
}

/// Writes a model, and those of `tensors` that it needs, to a `.safetensors` file that [`read`] reads.
/// Tensors in a file are read one by one. Tensors that the caller of the model supplies are left out.
///
/// # Errors
///
/// Returns any error of reading a tensor, or an error of one of these kinds:
///
/// - [`ErrorKind::Model`] if the layers do not fit each other,
/// - [`ErrorKind::Weights`] if a tensor is missing, of another
///   shape, or has an element that is too large for `precision`,
/// - [`ErrorKind::Io`] if the file cannot be written.
pub fn write(path: impl AsRef<Path>, model: &Model, tensors: Tensors, precision: Precision) -> Result<()> {
    write_with(path, model, tensors, precision, &Metadata::new())
}

/// Writes a file like [`write()`], with metadata besides the model. [`metadata`] reads it back.
///
/// # Errors
///
/// As [`write()`]. Returns an error of kind [`ErrorKind::Model`] if a key
/// does not begin with `gatewave.`, or is that of the model or of a training.
pub fn write_with(
    path: impl AsRef<Path>,
    model: &Model,
    tensors: Tensors,
    precision: Precision,
    metadata: &Metadata,
) -> Result<()> {
    check_keys(metadata)?;
    write_beside(path.as_ref(), model, tensors, precision, (metadata, Tensors::new()))
}

/// Reads the metadata besides the model in the file at `path`, by key. A
/// `.safetensors` file may have some; files of other formats have none.
///
/// # Errors
///
/// As [`read`], if the file cannot be read.
pub fn metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    let path = path.as_ref();
    match Format::of(path)? {
        Format::Safetensors => Ok(safetensors::read(path)?.metadata),
        Format::Onnx | Format::Keras => Ok(Metadata::new()),
    }
}

/// Checks that callers may write `metadata` under these keys.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`] if one does not begin with `gatewave.`, or is reserved.
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

/// Writes a file like [`write_with`], under any keys, and with tensors that belong to no layer.
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
    // A description that could not be read back is not written.
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

/// The format of a model's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Named tensors, with a description in the metadata or in another file.
    Safetensors,
    /// A graph of operators, with its weights.
    Onnx,
    /// A `.keras` archive or an `.h5` file; its first bytes tell which.
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
    /// Finds the format of a file by the extension of its name.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`] if the extension is not that of a supported format.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        Self::of_name(path.as_ref())
    }

    fn of_name(path: &Path) -> Result<Self> {
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

    /// Finds the format of a file by its first bytes, if it came without a name.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`] if they are not those of a supported format.
    pub fn of_bytes(begin: &[u8]) -> Result<Self> {
        match Content::of(begin) {
            Some(Content::Safetensors) => Ok(Self::Safetensors),
            Some(Content::Onnx) => Ok(Self::Onnx),
            Some(Content::Hdf5 | Content::Zip) => Ok(Self::Keras),
            other => {
                let got = other.map_or_else(|| "other bytes".to_owned(), |content| content.to_string());
                let message =
                    format!("expected a .safetensors, .onnx, .keras or .h5 file by its first bytes, got {got}");
                Err(Error::new(ErrorKind::Io, message))
            }
        }
    }
}

/// Reads the model and the tensors of a `.safetensors` file.
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

/// Builds the model from `description`, or else from the file's own metadata.
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
