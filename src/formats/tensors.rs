//! Files of named tensors (`.safetensors`, PyTorch's, NumPy's) and a description → a `Model` and its tensors.
//!
//! The description is in the metadata of a `.safetensors` file, or in a file beside. `state_dict` and
//! `wrappers` put the tensors under the names that it has. Knows no layer.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use super::safetensors::{self, Contents};
use super::{Format, description, state_dict, wrappers};
#[cfg(feature = "torch")]
use super::{numpy, torch};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::weights::Tensors;

/// Reads the tensors of a file that holds them by name (`.safetensors`, PyTorch's or NumPy's) and
/// its metadata. Elements stay in the file. Weights that PyTorch computes from others (weight
/// normalization) are under the usual names, and computed when they are read.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`] if the file cannot be read, or is of another format. Returns an
/// error of kind [`ErrorKind::Weights`] if it is damaged.
pub fn contents(path: impl AsRef<Path>) -> Result<Contents> {
    let path = path.as_ref();
    let read = match Format::of(path)? {
        Format::Safetensors => safetensors::read(path),
        #[cfg(feature = "torch")]
        Format::Torch => torch::read(path),
        #[cfg(feature = "torch")]
        Format::Npz => numpy::read(path),
        format => Err(unread(format).at(path.display())),
    };
    read.map(resolved)
}

/// Reads such a file in memory. Elements stay in `bytes`.
///
/// # Errors
///
/// As [`contents`].
pub fn contents_shared(bytes: Arc<[u8]>, format: Format) -> Result<Contents> {
    let read = match format {
        Format::Safetensors => safetensors::read_shared(bytes),
        #[cfg(feature = "torch")]
        Format::Torch => torch::read_shared(bytes),
        #[cfg(feature = "torch")]
        Format::Npz => numpy::read_shared(bytes),
        format => Err(unread(format)),
    };
    read.map(resolved)
}

/// Returns `contents` with the weights that PyTorch computes from others under their usual names.
pub(super) fn resolved(mut contents: Contents) -> Contents {
    state_dict::resolve(&mut contents.tensors);
    contents
}

/// The error of a format that does not hold named tensors, or that is not built.
fn unread(format: Format) -> Error {
    match format {
        #[cfg(not(feature = "torch"))]
        Format::Torch | Format::Npz => crate::error::not_built("torch"),
        _ => {
            let text = "expected a file of tensors by name (.safetensors, .pt, .npz), got one that describes its model";
            Error::new(ErrorKind::Io, text)
        }
    }
}

/// Reads the model and the tensors of a file of named tensors.
pub(super) fn read(path: &Path, format: Format, description: Option<&Path>) -> Result<(Model, Tensors)> {
    let contents = contents(path)?;
    let Some(file) = description else { return described(contents, format, None).map_err(|e| e.at(path.display())) };
    described(contents, format, Some(&text_of(file)?)).map_err(|e| e.at(file.display()))
}

/// Reads the text of a description.
pub(super) fn text_of(file: &Path) -> Result<String> {
    let unread = |e: io::Error| {
        let text = match e.kind() {
            io::ErrorKind::InvalidData => "expected a description in JSON (model.json), got no text".to_owned(),
            _ => e.to_string(),
        };
        Error::new(ErrorKind::Io, text).because(e).at(file.display())
    };
    fs::read_to_string(file).map_err(unread)
}

/// Builds the model from `description`, or else from the file's own metadata. Puts the
/// tensors, which are [`resolved`], under the names of the description.
pub(super) fn described(contents: Contents, format: Format, description: Option<&str>) -> Result<(Model, Tensors)> {
    let Contents { mut tensors, description: own, .. } = contents;
    let Some(json) = description.or(own.as_deref()) else {
        let place = match format {
            Format::Safetensors => format!("in the metadata (key {})", safetensors::MODEL_KEY),
            _ => "beside the file".to_owned(),
        };
        let message = format!(
            "expected a description of the model {place}, got none; gatewave describe FILE -o model.json drafts one from \
             the tensors: correct it, and give it beside the file (--model model.json)"
        );
        return Err(Error::new(ErrorKind::Model, message));
    };
    wrappers::unwrap(json, &mut tensors);
    state_dict::rename(&mut tensors, &description::own_names(json)?)?;
    let model = description::from_json(json, &tensors)?;
    Ok((model, tensors))
}
