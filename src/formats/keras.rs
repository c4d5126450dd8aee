//! Keras files: `.keras` archives (Keras 3, and 2 from 2.12 on) and `.h5`
//! files (Keras 2 and 3) → a `Model` and named tensors in canonical order.
//!
//! `archive` and `hdf5` read containers, leaving the data in the file. `graph` finds layers and their
//! calls. `config` takes a layer's keys one by one, as the table in `attributes` allows. `run` calls the
//! layers, and `builder` holds the growing model, with what is known of tensors in `values`. `layers`,
//! `joins`, `operations`, `stacks`, `recurrent` and `cells` translate the layers. `masks`, `laid` and `states` handle what
//! comes with a layer's input. `outputs` names the model's results, `variables` finds the weights, and `rest` those that no layer takes.
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
mod cells;
mod config;
mod conv;
mod counter;
mod dots;
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
mod rest;
mod run;
mod stacks;
mod states;
mod values;
mod variables;

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use self::activations::Version;
use self::config::wrong;
use self::graph::Graph;
use self::hdf5::Hdf5;
use self::variables::Variables;
use crate::error::{Error, ErrorKind, Result};
use crate::formats::content::HDF5;
use crate::formats::source::Source;
use crate::formats::{Format, brings_its_own, tensors};
use crate::model::Model;
use crate::weights::Tensors;

/// The attribute of an `.h5` file that describes its model.
const CONFIG: &str = "model_config";

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

/// Reads a file of weights alone (`.weights.h5`, or an `.h5` file of Keras 2), with the model that
/// Keras' own description says: the text of `model.to_json()`, in a file beside.
pub(super) fn read_with(path: &Path, description: &Path) -> Result<(Model, Tensors)> {
    let json = tensors::text_of(description)?;
    let at = |e: Error| e.at(path.display());
    let source = Source::open(path).map_err(at)?;
    if container(&source).and_then(|container| container.is_whole(&source)).map_err(at)? {
        return Err(brings_its_own(path.display()).at(description.display()));
    }
    let (graph, version) = described(&json).map_err(|e| e.at(description.display()))?;
    open_weights(&source, &graph, version).map_err(at)
}

/// Reads such a file in memory, with the text of the description.
pub(super) fn read_shared_with(bytes: Arc<[u8]>, description: &str) -> Result<(Model, Tensors)> {
    let source = Source::memory(bytes);
    if container(&source)?.is_whole(&source)? {
        return Err(brings_its_own(format_args!("{} file", Format::Keras)));
    }
    let (graph, version) = described(description)?;
    open_weights(&source, &graph, version)
}

/// The containers of Keras.
enum Container {
    Archive,
    Hdf5,
}

fn container(source: &Source) -> Result<Container> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    match &source.head::<8>().map_err(unreadable)? {
        [b'P', b'K', ..] => Ok(Container::Archive),
        HDF5 => Ok(Container::Hdf5),
        _ => {
            let text = "expected a .keras archive or an .h5 file, got neither by the first bytes; save the model again";
            Err(Error::new(ErrorKind::Weights, text))
        }
    }
}

impl Container {
    /// Whether the file describes its model.
    fn is_whole(&self, source: &Source) -> Result<bool> {
        match self {
            Self::Archive => Ok(true),
            Self::Hdf5 => Ok(Hdf5::open(source.clone())?.texts("", CONFIG)?.is_some()),
        }
    }
}

fn open(source: &Source) -> Result<(Model, Tensors)> {
    match container(source)? {
        Container::Archive => open_archive(source),
        Container::Hdf5 => open_h5(source),
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
    let Some(description) = text(CONFIG)? else {
        let message = "model_config: expected an attribute of that name, got none; this file holds weights alone: save the \
                       whole model (model.save), or give what model.to_json() returns beside it (--model model.json)";
        return Err(wrong(message.into()));
    };
    let version = version(text("keras_version")?.as_deref())?;
    let description = json(&description).map_err(|e| e.at(CONFIG))?;
    let graph = graph::graph(&description, version).map_err(|e| e.at(CONFIG))?;
    run::build(&graph, version, Variables::by_name(hdf5)?)
}

fn open_weights(source: &Source, graph: &Graph, version: Version) -> Result<(Model, Tensors)> {
    let variables = Hdf5::open(source.clone()).and_then(Variables::alone)?;
    run::build(graph, version, variables)
}

/// Reads what `model.to_json()` returns.
fn described(text: &str) -> Result<(Graph, Version)> {
    let description = json(text)?;
    let key = |key: &str| description.get(key).and_then(Value::as_str);
    if key("class_name").is_none() {
        let got =
            if description.get("gatewave").is_some() { "a description of another format" } else { "another JSON" };
        return Err(wrong(format!(
            "class_name: expected Keras' own description of the model (model.to_json()), got {got}; one of gatewave goes with \
             .safetensors, .pt and .npz files"
        )));
    }
    let version = match (key("keras_version"), key("module")) {
        // Keras 3 writes no version, and neither does the description inside of an archive of Keras 2.
        (None, _) if text.contains("\"batch_input_shape\"") => Version::Two,
        (None, Some(_)) => Version::Three,
        (told, _) => version(told)?,
    };
    Ok((graph::graph(&description, version)?, version))
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
