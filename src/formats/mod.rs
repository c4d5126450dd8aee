//! Formats: readers and writers of model files.
//!
//! Every reader gives a `Model` and its [`Tensors`] by name. [`read`] and [`read_bytes`] read files of
//! every format; [`open`] also reads all elements. [`write()`] writes a file. [`contents()`] reads named tensors, and
//! [`describe()`] drafts a description of them. Knows models, cells and weights; knows no layout and no device.

pub mod content;
mod cut;
mod describe;
pub mod description;
#[cfg(feature = "torch")]
mod elements;
mod encoder;
mod infer;
#[cfg(feature = "keras")]
pub mod keras;
mod keys;
#[cfg(feature = "torch")]
pub mod numpy;
#[cfg(feature = "onnx")]
pub mod onnx;
mod reader;
pub mod safetensors;
#[cfg(any(feature = "keras", feature = "torch"))]
mod source;
mod state_dict;
#[cfg(feature = "torch")]
mod strided;
pub mod support;
mod tensors;
#[cfg(feature = "torch")]
pub mod torch;
mod wrappers;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs};

pub use content::Content;
#[cfg(feature = "onnx")]
pub(crate) use cut::{Axis, Element, Entry, Foreign, PartKind};
pub use cut::{Cut, Part};
pub use describe::{Draft, Unplaced, describe, places};
pub use reader::Reader;
pub use safetensors::Metadata;
pub use tensors::{contents, contents_shared};

#[cfg(not(all(feature = "keras", feature = "onnx", feature = "torch")))]
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

/// Reads a file of named tensors like [`open`], with the model described by the file `description`.
///
/// # Errors
///
/// As [`open`] and [`read_with`].
pub fn open_with(path: impl AsRef<Path>, description: impl AsRef<Path>) -> Result<(Model, Weights)> {
    weighed(path.as_ref(), Some(description.as_ref()))
}

fn weighed(path: &Path, description: Option<&Path>) -> Result<(Model, Weights)> {
    let (model, tensors) = read_at(path, description, &Reader::new())?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.at(path.display()))?;
    Ok((model, weights))
}

/// Reads a model from a file, and the names and shapes of its tensors. Their elements stay
/// in the file: [`EngineBuilder::load`](crate::EngineBuilder::load) loads them from there.
///
/// The extension decides the format: `.safetensors`, whose metadata describes the model;
/// `.onnx`; `.keras`, `.h5` or `.hdf5`. [`read_with`] takes the description from another
/// file, as those of PyTorch (`.pt`, `.pth`, `.ckpt`, `.bin`) and of NumPy (`.npz`) need.
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
    read_at(path.as_ref(), None, &Reader::new())
}

/// Reads a file of named tensors (`.safetensors`, PyTorch's or NumPy's) like [`read`], with the model
/// described by the file `description`. It is JSON, as in `docs/model-format.md` in the repository.
/// Beside weights of Keras (`model.save_weights`) it is what `model.to_json()` returns.
///
/// Names that wrappers lengthen (`module.`, `_orig_mod.`, the attribute of a Lightning module) are read under the
/// names of the description. Weights under weight normalization are computed when they are read.
///
/// # Errors
///
/// As [`read`]. Returns an error of kind [`ErrorKind::Model`] if
/// `path` is of another format, which has its own description.
pub fn read_with(path: impl AsRef<Path>, description: impl AsRef<Path>) -> Result<(Model, Tensors)> {
    read_at(path.as_ref(), Some(description.as_ref()), &Reader::new())
}

fn read_at(path: &Path, description: Option<&Path>, reader: &Reader) -> Result<(Model, Tensors)> {
    if path.is_dir() {
        let text = "expected a file, got a folder; in Keras, model.save(\"model.keras\") writes one";
        return Err(Error::new(ErrorKind::Io, text).at(path.display()));
    }
    let format = Format::of(path)?;
    let is_archive = || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("keras"));
    if let Some(file) = description.filter(|_| !format.may_be_described() || is_archive()) {
        return Err(brings_its_own(path.display()).at(file.display()));
    }
    reader.check(format).map_err(|e| e.at(path.display()))?;
    let read = match format {
        Format::Safetensors | Format::Torch | Format::Npz => tensors::read(path, format, description),
        #[cfg(feature = "onnx")]
        Format::Onnx => onnx::read_asked(path, &reader.asked()),
        #[cfg(not(feature = "onnx"))]
        Format::Onnx => Err(not_built("onnx").at(path.display())),
        #[cfg(feature = "keras")]
        Format::Keras => description.map_or_else(|| keras::read(path), |file| keras::read_with(path, file)),
        #[cfg(not(feature = "keras"))]
        Format::Keras => Err(not_built("keras").at(path.display())),
    };
    let read = read.map_err(|e| match begin_of(path).and_then(|begin| format.mistaken(&begin)) {
        Some(told) => told.at(path.display()),
        None => e,
    });
    let (model, tensors) = read?;
    complete(model, tensors).map_err(|e| e.at(path.display()))
}

/// The error of a description beside a file that has one in it.
fn brings_its_own(file: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Model, format!("expected no description beside {file}, which brings its own"))
}

/// Returns the first bytes of a file, if it can be read.
fn begin_of(path: &Path) -> Option<Vec<u8>> {
    let mut begin = Vec::new();
    fs::File::open(path).ok()?.take(content::BEGIN_BYTES as u64).read_to_end(&mut begin).ok()?;
    Some(begin)
}

/// Reads a model from a file in memory, and the names and shapes of its tensors: [`read`] without a
/// file system. Their elements stay in `bytes`, which the tensors keep; an `Arc<[u8]>` is not copied.
///
/// `description` is the text of a description for a file of named tensors, or of Keras' for its
/// weights alone. Without it, the metadata of a `.safetensors` file are used. [`Format::of`] finds the format from a name.
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
    read_in_memory(bytes.into(), format, description, &Reader::new())
}

fn read_in_memory(
    bytes: Arc<[u8]>,
    format: Format,
    description: Option<&str>,
    reader: &Reader,
) -> Result<(Model, Tensors)> {
    if description.is_some() && !format.may_be_described() {
        return Err(brings_its_own(format_args!("{format} file")));
    }
    reader.check(format)?;
    let read = || match format {
        Format::Safetensors | Format::Torch | Format::Npz => {
            tensors::described(tensors::contents_shared(Arc::clone(&bytes), format)?, format, description)
        }
        #[cfg(feature = "onnx")]
        Format::Onnx => onnx::read_shared_asked(Arc::clone(&bytes), &reader.asked()),
        #[cfg(not(feature = "onnx"))]
        Format::Onnx => Err(not_built("onnx")),
        #[cfg(feature = "keras")]
        Format::Keras => match description {
            Some(json) => keras::read_shared_with(Arc::clone(&bytes), json),
            None => keras::read_shared(Arc::clone(&bytes)),
        },
        #[cfg(not(feature = "keras"))]
        Format::Keras => Err(not_built("keras")),
    };
    let read = read().map_err(|e| format.mistaken(&bytes).unwrap_or(e));
    let read = read.and_then(|(model, tensors)| complete(model, tensors));
    read.map_err(|e| e.at(format_args!("{format} file in memory")))
}

/// Returns the model of a `.safetensors` file that has been read, and its tensors.
///
/// `description` is the text of a description; without it, the file's own metadata is used.
///
/// # Errors
///
/// As [`read`], if there is no description, if it is wrong, or if the tensors are not those of the model.
pub fn of_contents(contents: safetensors::Contents, description: Option<&str>) -> Result<(Model, Tensors)> {
    let (model, tensors) = tensors::described(tensors::resolved(contents), Format::Safetensors, description)?;
    complete(model, tensors)
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
        Format::Onnx | Format::Keras | Format::Torch | Format::Npz => Ok(Metadata::new()),
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

/// What a model's file may be, for messages.
const EXPECTED: &str = "expected a .safetensors, .onnx, .keras, .h5, .pt or .npz file";

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
    /// A file of `torch.save`: named tensors without a description.
    Torch,
    /// An archive of NumPy: named tensors without a description.
    Npz,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "a .safetensors",
            Self::Onnx => "an .onnx",
            Self::Keras => "a Keras",
            Self::Torch => "a PyTorch",
            Self::Npz => "an .npz",
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
            Some("pt" | "pth" | "ckpt" | "bin") => return Ok(Self::Torch),
            Some("npz") => return Ok(Self::Npz),
            Some(other) => format!(".{other}"),
            None => "no extension".into(),
        };
        Err(Error::new(ErrorKind::Io, format!("{EXPECTED}, got {got}")).at(path.display()))
    }

    /// Whether a file may hold tensors alone, and another file describe the model.
    fn may_be_described(self) -> bool {
        matches!(self, Self::Safetensors | Self::Torch | Self::Npz | Self::Keras)
    }

    /// Returns whether this build reads the format.
    fn is_built(self) -> bool {
        match self {
            Self::Safetensors => true,
            Self::Onnx => cfg!(feature = "onnx"),
            Self::Keras => cfg!(feature = "keras"),
            Self::Torch | Self::Npz => cfg!(feature = "torch"),
        }
    }

    /// Returns the error of a file that begins with these bytes, if they show that it is of no
    /// such format. It takes the place of a reader's error, which says less about such a file.
    fn mistaken(self, begin: &[u8]) -> Option<Error> {
        let right = match self {
            Self::Safetensors => &[Content::Safetensors][..],
            Self::Onnx => &[Content::Onnx],
            Self::Keras => &[Content::Hdf5, Content::Zip],
            Self::Torch => &[Content::Zip, Content::Torch],
            Self::Npz => &[Content::Zip],
        };
        let text = match begin {
            [] => format!("expected {self} file, got an empty file"),
            _ => content::none_of(right, begin, format_args!("{self} file"))?,
        };
        self.is_built().then(|| Error::new(ErrorKind::Weights, text))
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
            Some(Content::Hdf5) => Ok(Self::Keras),
            Some(Content::Zip) => Ok(match content::first_member(begin) {
                Some(name) if name.ends_with(b".npy") => Self::Npz,
                // All members of an archive of PyTorch are in one folder. Those of Keras are in none.
                Some(name) if name.contains(&b'/') && !name.starts_with(b"assets/") => Self::Torch,
                _ => Self::Keras,
            }),
            Some(Content::Torch) => Ok(Self::Torch),
            other => {
                let got = content::told(other, begin);
                Err(Error::new(ErrorKind::Io, format!("{EXPECTED} by its first bytes, got {got}")))
            }
        }
    }
}
