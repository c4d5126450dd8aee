//! Keras files: `.keras` archives (Keras 3, and 2 from 2.12 on) and `.h5`
//! files (Keras 2 and 3) → a `Model` and named tensors in canonical order.
//!
//! `archive` and `hdf5` read containers, leaving the data in the file. `graph` finds layers and their
//! calls. `config` takes a layer's keys one by one, as the table in `attributes` allows. `run` calls the
//! layers, and `builder` holds the growing model, with what is known of tensors in `values`. `layers`,
//! `joins`, `operations` and `recurrent` translate the layers. `masks`, `laid` and `states` handle what
//! comes with a layer's input. `outputs` names the model's results, and `variables` finds the weights.
//!
//! Tensors stay in the file until they are asked for. Knows models; knows no layout and no device.

mod across;
mod activations;
mod archive;
mod attention;
mod attributes;
mod axes;
mod builder;
mod calls;
mod config;
mod graph;
mod hdf5;
mod items;
mod joins;
mod laid;
mod layers;
mod masks;
mod norms;
mod operations;
mod outputs;
mod recurrent;
mod run;
mod states;
mod values;
mod variables;

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use self::activations::Version;
use self::config::wrong;
use self::hdf5::Hdf5;
use self::variables::Variables;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::source::Source;
use crate::model::Model;
use crate::weights::Tensors;

pub use activations::NAMES as ACTIVATIONS;
pub use attributes::ATTRIBUTES;

/// Reads a model and its weights from a `.keras` archive or an `.h5` file; its first bytes tell which.
///
/// The weights stay in the file: each is read when it is asked for.
///
/// # Errors
///
/// Returns an error of one of these kinds:
///
/// - [`ErrorKind::Io`] if the file cannot be read,
/// - [`ErrorKind::Model`] if the file describes something unsupported; the error names the layer,
/// - [`ErrorKind::Weights`] if it is damaged, or a weight is missing or has another shape than in the description.
pub fn read(path: impl AsRef<Path>) -> Result<(Model, Tensors)> {
    let path = path.as_ref();
    Source::open(path).and_then(|source| open(&source)).map_err(|e| e.at(path.display()))
}

/// Reads a file in memory, and keeps a copy of it. [`read_shared`] does so without a copy.
///
/// # Errors
///
/// As [`read`], except for kind [`ErrorKind::Io`].
pub fn read_bytes(bytes: &[u8]) -> Result<(Model, Tensors)> {
    read_shared(bytes.into())
}

/// Reads a file in memory. Its weights stay in `bytes`, and are read from there each time they are asked for.
///
/// # Errors
///
/// As [`read_bytes`].
pub fn read_shared(bytes: Arc<[u8]>) -> Result<(Model, Tensors)> {
    open(&Source::memory(bytes))
}

fn open(source: &Source) -> Result<(Model, Tensors)> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    match &source.head::<8>().map_err(unreadable)? {
        [b'P', b'K', ..] => open_archive(source),
        b"\x89HDF\r\n\x1a\n" => open_h5(source),
        _ => {
            let text = "expected a .keras archive or an .h5 file, got neither by the first bytes; save the model again";
            Err(Error::new(ErrorKind::Weights, text))
        }
    }
}

fn open_archive(source: &Source) -> Result<(Model, Tensors)> {
    let archive = archive::open(source)?;
    let metadata = json(&archive.metadata).map_err(|e| e.at("metadata.json"))?;
    let version = version(metadata.get("keras_version").and_then(Value::as_str)).map_err(|e| e.at("metadata.json"))?;
    let description = json(&archive.config).map_err(|e| e.at("config.json"))?;
    let graph = graph::graph(&description, version).map_err(|e| e.at("config.json"))?;
    let variables = Hdf5::open(archive.weights).and_then(Variables::by_path).map_err(|e| e.at("model.weights.h5"))?;
    run::build(&graph, version, variables)
}

fn open_h5(source: &Source) -> Result<(Model, Tensors)> {
    let hdf5 = Hdf5::open(source.clone())?;
    let text = |name: &str| Ok(hdf5.texts("", name)?.and_then(|texts| texts.into_iter().next()));
    let Some(description) = text("model_config")? else {
        let message = "model_config: expected an attribute of that name, got none; this file holds weights alone: save the \
                       whole model (model.save)";
        return Err(wrong(message.into()));
    };
    let version = version(text("keras_version")?.as_deref())?;
    let description = json(&description).map_err(|e| e.at("model_config"))?;
    let graph = graph::graph(&description, version).map_err(|e| e.at("model_config"))?;
    run::build(&graph, version, Variables::by_name(hdf5)?)
}

fn json(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|e| wrong(format!("expected JSON, got {e}")).because(e))
}

fn version(text: Option<&str>) -> Result<Version> {
    match text.map(|text| text.split('.').next().unwrap_or_default()) {
        Some("2") => Ok(Version::Two),
        Some("3") => Ok(Version::Three),
        _ => {
            let got = text.unwrap_or("nothing");
            Err(wrong(format!("keras_version: expected 2 or 3, got {got}; load and save the model with one of them")))
        }
    }
}
