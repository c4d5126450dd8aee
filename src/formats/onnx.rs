//! ONNX files: a graph of operators → layers, their tensors, and the names of the graph.
//!
//! `skim` and `proto` read the file's messages, `constant` and `source` its tensors. `graph`
//! evaluates the nodes symbolically, so that each value gets a meaning (`value`). A value is a
//! weight, a number of a shape, or parts of what links give, with its axes in some order. `flow` does
//! so for inputs: `uses` knows what they are for, and `delayed` waits for their features. `roles` and `times` unify the
//! axes of inputs, and `packed` reads states along two of them.
//!
//! The operators add `links` or change axes. `operators` lists them; they are in `recurrent`, `states`,
//! `dense`, `quantized`, `join`, `tokens`, `moves`, `numbers`, `functions`, `order`, `conv`, `pad`, `windows` and
//! `branch`. `weights` and `folded` are arithmetic with weights alone. `rewrite` recognizes several links as one layer.
//! `assemble` makes layers of the links that the outputs need, and `ports` names their inputs and outputs. Anything unsupported is
//! an error that names the node. Knows no engine.

mod across;
mod assemble;
mod axes;
mod branch;
mod change;
mod constant;
mod conv;
mod cut;
mod data;
mod delayed;
mod dense;
mod flow;
mod folded;
mod functions;
mod graph;
mod integers;
mod join;
mod links;
mod moves;
mod node;
mod norms;
mod numbers;
mod operators;
mod order;
mod packed;
mod pad;
mod ports;
mod powers;
mod proto;
mod quantized;
mod recurrent;
mod reshape;
mod rewrite;
mod roles;
mod scores;
mod size;
mod skim;
mod source;
mod states;
mod statistics;
mod table;
mod times;
mod tokens;
mod uses;
mod value;
mod weights;
mod what;
mod windows;

use std::collections::BTreeMap;
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

/// Reads a file. Its larger tensors, and those in files of external data, are read when they are asked for.
///
/// # Errors
///
/// Returns an error of one of these kinds:
///
/// - [`ErrorKind::Io`] if a file cannot be read,
/// - [`ErrorKind::Model`] if it is no ONNX file, or no layer computes
///   what its graph does; the error names the first such node,
/// - [`ErrorKind::Weights`] if a tensor is damaged.
pub fn read(path: impl AsRef<Path>) -> Result<(Model, Tensors)> {
    read_set(path.as_ref(), &BTreeMap::new())
}

/// Reads a file like [`read`], with numbers for inputs that take one each.
pub(crate) fn read_set(path: &Path, set: &BTreeMap<String, f64>) -> Result<(Model, Tensors)> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    let read = || {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let sources = Sources::new(Source::open(path)?, folder.map(Path::to_owned));
        read_from(BufReader::new(file), length, sources, set)
    };
    read().map_err(|e| e.at(path.display()))
}

/// Reads a file in memory, and keeps a copy of it. [`read_shared`] does so without a copy.
///
/// # Errors
///
/// As [`read_shared`].
pub fn read_bytes(bytes: &[u8]) -> Result<(Model, Tensors)> {
    read_shared(bytes.into())
}

/// Reads a file in memory. Its larger tensors stay in `bytes`, and are read from
/// there each time they are asked for. The file may not name files of external data.
///
/// # Errors
///
/// As [`read`].
pub fn read_shared(bytes: Arc<[u8]>) -> Result<(Model, Tensors)> {
    read_shared_set(bytes, &BTreeMap::new())
}

/// Reads a file in memory like [`read_shared`], with numbers for inputs that take one each.
pub(crate) fn read_shared_set(bytes: Arc<[u8]>, set: &BTreeMap<String, f64>) -> Result<(Model, Tensors)> {
    let length = bytes.len() as u64;
    read_from(Cursor::new(bytes.clone()), length, Sources::new(Source::Bytes(bytes), None), set)
}

fn read_from(
    source: impl BufRead + Seek,
    length: u64,
    sources: Sources,
    set: &BTreeMap<String, f64>,
) -> Result<(Model, Tensors)> {
    let bytes = skim::skim(source, length)?;
    let message = proto::Model::decode(bytes.as_slice()).map_err(|e| {
        let text = format!("expected an ONNX model, got {e}; is this an ONNX file?");
        Error::new(ErrorKind::Model, text).because(e)
    })?;
    drop(bytes);
    let (graph, outputs) = Graph::evaluate(message, sources, operators::operator, set)?;
    let rounds = graph.rounds;
    let read = ports::finish(graph, &outputs)?;
    if rounds {
        log::warn!(
            "the model is quantized: its weights are read as 32-bit floats, and what flows between its layers is not \
             rounded to 8 bits; results differ by that rounding from those of ONNX Runtime"
        );
    }
    Ok(read)
}

/// Returns the error of a graph that does something unsupported.
fn misfit(text: String) -> Error {
    Error::new(ErrorKind::Model, text)
}
