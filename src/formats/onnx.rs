//! ONNX files: a graph of operators → the layers that it turns out to be, their tensors, and the graph's names.
//!
//! The file's messages (`skim`, `proto`) and tensors (`constant`, `source`) become values; `graph` evaluates the nodes
//! symbolically, so that each value gets a meaning (`value`): a weight, a number of a shape, or parts of what links give,
//! its axes in some order. `flow` makes that of inputs (`uses` knows what for), whose axes `roles` and `times` hold together. The operators
//! (`operators` lists them; `recurrent`, `states`, `dense`, `join`, `tokens`, `moves`, `numbers`, `functions`, `order`,
//! `branch`) add `links` or change axes; `rewrite` knows what several links are together; `assemble` makes layers of the
//! links that the outputs need, and `ports` names their inputs and outputs. What does not fit is an error that names
//! the node. Knows no engine.

mod assemble;
mod axes;
mod branch;
mod change;
mod constant;
mod cut;
mod data;
mod dense;
mod flow;
mod functions;
mod graph;
mod join;
mod links;
mod moves;
mod node;
mod numbers;
mod operators;
mod order;
mod ports;
mod proto;
mod recurrent;
mod reshape;
mod rewrite;
mod roles;
mod size;
mod skim;
mod source;
mod states;
mod table;
mod times;
mod tokens;
mod uses;
mod value;
mod what;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Seek};
use std::path::Path;
use std::sync::Arc;

use prost::Message;

use self::graph::Graph;
use self::source::{Source, Sources};
pub use self::table::ATTRIBUTES;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::weights::Tensors;

/// Reads a file. Its larger tensors, and those in files of external data beside it, are read when they are asked for.
///
/// # Errors
///
/// Kind `Io` where a file cannot be read; `Model` where it is no ONNX file, or its graph has what no layer here does: the
/// error names the first node that does not fit; `Weights` where a tensor is damaged.
pub fn read(path: &Path) -> Result<(Model, Tensors)> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    let read = || {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let sources = Sources::new(Source::open(path)?, folder.map(Path::to_owned));
        read_from(BufReader::new(file), length, sources)
    };
    read().map_err(|e| e.at(path.display()))
}

/// Reads a file that is in memory: a copy of it is kept, as by [`read_shared`].
///
/// # Errors
///
/// As [`read_shared`].
pub fn read_bytes(bytes: &[u8]) -> Result<(Model, Tensors)> {
    read_shared(bytes.into())
}

/// Reads a file that is in memory. Its larger tensors stay in `bytes`, and are read from there each time they are asked for.
/// It may name no files of external data.
///
/// # Errors
///
/// As [`read`].
pub fn read_shared(bytes: Arc<[u8]>) -> Result<(Model, Tensors)> {
    let length = bytes.len() as u64;
    read_from(Cursor::new(bytes.clone()), length, Sources::new(Source::Bytes(bytes), None))
}

fn read_from(source: impl BufRead + Seek, length: u64, sources: Sources) -> Result<(Model, Tensors)> {
    let bytes = skim::skim(source, length)?;
    let message = proto::Model::decode(bytes.as_slice()).map_err(|e| {
        let text = format!("expected an ONNX model, got {e}; is this an ONNX file?");
        Error::new(ErrorKind::Model, text).because(e)
    })?;
    drop(bytes);
    let (graph, outputs) = Graph::evaluate(message, sources, operators::operator)?;
    ports::finish(graph, &outputs)
}

/// What a graph does that this reader has no meaning for.
fn misfit(text: String) -> Error {
    Error::new(ErrorKind::Model, text)
}
