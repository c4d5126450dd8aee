//! Weights: named tensors, each shape checked against a `Model`, in canonical gate order.
//!
//! Readers turn the bytes of a file into [`Tensors`]; `Weights::from_tensors` turns those into `Weights`.
//! [`open`] does both, and finds the model's description. Knows models and cells; knows no layout and no device.

pub mod description;
mod dialect;
mod infer;
mod keys;
mod named;
#[cfg(feature = "onnx")]
pub mod onnx;
mod random;
pub mod safetensors;
pub mod support;
mod tensors;

use std::fs;
use std::path::Path;

use ndarray::{Array1, Array2};

use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;

pub use tensors::{Tensor, Tensors, non_finite};

/// The weights of a model, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One for each layer of the model.
    pub layers: Vec<LayerWeights>,
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

/// Reads a model and its weights from a `.safetensors` file.
///
/// The model is described by the file `description`, or else by the metadata of the file itself.
///
/// # Errors
///
/// Kind `Io` where a file cannot be read, or is of a format that is not read; `Model` where there is no description, or
/// it is wrong; `Weights` where the file is damaged, or its tensors are not those of the model.
pub fn open(path: &Path, description: Option<&Path>) -> Result<(Model, Weights)> {
    #[cfg(feature = "onnx")]
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx")) {
        let (model, tensors) = onnx::read(path)?;
        let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.at(path.display()))?;
        return Ok((model, weights));
    }
    check_format(path)?;
    let contents = safetensors::read(path)?;
    let (json, described_by) = match (description, contents.description) {
        (Some(file), _) => {
            let json = fs::read_to_string(file)
                .map_err(|e| Error::new(ErrorKind::Io, format!("{e}")).because(e).at(file.display()))?;
            (json, file)
        }
        (None, Some(json)) => (json, path),
        (None, None) => {
            let message = format!(
                "expected a description of the model in the metadata (key {}), got none; give one beside the file \
                 (--model model.json)",
                safetensors::MODEL_KEY
            );
            return Err(Error::new(ErrorKind::Model, message).at(path.display()));
        }
    };
    let model = description::from_json(&json, &contents.tensors).map_err(|e| e.at(described_by.display()))?;
    let weights = Weights::from_tensors(&model, contents.tensors).map_err(|e| e.at(path.display()))?;
    Ok((model, weights))
}

/// Writes a model and its weights to a `.safetensors` file that [`open`] reads.
///
/// # Errors
///
/// As [`Weights::to_tensors`], and kind `Io` where the file cannot be written.
pub fn save(path: &Path, model: &Model, weights: &Weights) -> Result<()> {
    safetensors::write(path, &weights.to_tensors(model)?, Some(&description::to_json(model)))
}

fn check_format(path: &Path) -> Result<()> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let got = match extension.as_deref() {
        Some("safetensors") => return Ok(()),
        Some(other) => format!(".{other}"),
        None => "no extension".into(),
    };
    let hint = match extension.as_deref() {
        Some("pt" | "pth" | "bin" | "ckpt") => {
            "; in PyTorch, safetensors.torch.save_file(model.state_dict(), \"model.safetensors\") writes one"
        }
        Some("onnx" | "keras" | "h5" | "hdf5") => "; this format is not read yet",
        _ => "",
    };
    Err(Error::new(ErrorKind::Io, format!("expected a .safetensors file, got {got}{hint}")).at(path.display()))
}
