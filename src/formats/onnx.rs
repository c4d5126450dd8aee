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
//!
//! `part` leaves a part of a graph, by the names of its tensors. `parts` cuts a graph that is not read whole: `net` and
//! `shapes` know its tensors, and `regions` finds what is read.

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
mod foreign;
mod functions;
mod graph;
mod integers;
mod join;
mod links;
mod moves;
mod net;
mod node;
mod norms;
mod numbers;
mod operators;
mod order;
mod packed;
mod pad;
mod part;
mod parts;
mod ports;
mod powers;
mod proto;
mod quantized;
mod recurrent;
mod regions;
mod reshape;
mod rewrite;
mod roles;
mod scores;
mod shapes;
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
use super::cut::Cut;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::weights::Tensors;

/// What a reader is asked for, besides a file.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// Numbers of inputs that take one each.
    pub(crate) set: Option<&'a BTreeMap<String, f64>>,
    /// The tensors between which a part of the graph is meant.
    pub(crate) from: &'a [String],
    pub(crate) to: &'a [String],
}

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
    let (file, sources) = opened(path.as_ref(), &Asked::default())?;
    read_from(file, sources).map_err(|e| e.at(path.as_ref().display()))
}

/// Reads a file like [`read`], as it is `asked` for. An error says if the graph can be run in parts.
pub(crate) fn read_asked(path: &Path, asked: &Asked<'_>) -> Result<(Model, Tensors)> {
    let (file, sources) = opened(path, asked)?;
    read_or_lead(file, sources).map_err(|e| e.at(path.display()))
}

/// Cuts the graph of a file into parts.
pub(crate) fn cut_asked(path: &Path, asked: &Asked<'_>) -> Result<Cut> {
    let (file, sources) = opened(path, asked)?;
    cut_from(&file, &sources).map_err(|e| e.at(path.display()))
}

fn opened(path: &Path, asked: &Asked<'_>) -> Result<(proto::Model, Sources)> {
    let unreadable = |e: io::Error| Error::new(ErrorKind::Io, format!("{e}")).because(e);
    let open = || {
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let folder = path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
        let mut sources = Sources::new(Source::open(path)?, folder.map(Path::to_owned));
        Ok((message(BufReader::new(file), length, &mut sources, asked)?, sources))
    };
    open().map_err(|e: Error| e.at(path.display()))
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
    let (file, sources) = shared(bytes, &Asked::default())?;
    read_from(file, sources)
}

/// Reads a file in memory like [`read_shared`], as it is `asked` for. An error says if the graph can be run in parts.
pub(crate) fn read_shared_asked(bytes: Arc<[u8]>, asked: &Asked<'_>) -> Result<(Model, Tensors)> {
    let (file, sources) = shared(bytes, asked)?;
    read_or_lead(file, sources)
}

/// Cuts the graph of a file in memory into parts.
pub(crate) fn cut_shared_asked(bytes: Arc<[u8]>, asked: &Asked<'_>) -> Result<Cut> {
    let (file, sources) = shared(bytes, asked)?;
    cut_from(&file, &sources)
}

fn shared(bytes: Arc<[u8]>, asked: &Asked<'_>) -> Result<(proto::Model, Sources)> {
    let length = bytes.len() as u64;
    let mut sources = Sources::new(Source::Bytes(bytes.clone()), None);
    Ok((message(Cursor::new(bytes), length, &mut sources, asked)?, sources))
}

/// Returns the messages of a file, or those of a part of its graph.
fn message(source: impl BufRead + Seek, length: u64, sources: &mut Sources, asked: &Asked<'_>) -> Result<proto::Model> {
    let bytes = skim::skim(source, length)?;
    let mut message = proto::Model::decode(bytes.as_slice()).map_err(|e| {
        let text = format!("expected an ONNX model, got {e}; is this an ONNX file?");
        Error::new(ErrorKind::Model, text).because(e)
    })?;
    if let Some(graph) = &mut message.graph {
        if let Some(set) = asked.set {
            part::settle(graph, set)?;
        }
        part::between(graph, asked.from, asked.to, sources)?;
    }
    Ok(message)
}

fn read_from(message: proto::Model, sources: Sources) -> Result<(Model, Tensors)> {
    let (graph, outputs) = Graph::evaluate(message, sources, operators::operator)?;
    let rounds = graph.rounds;
    let read = ports::finish(graph, &outputs)?;
    if rounds {
        warn_of_rounding();
    }
    Ok(read)
}

fn warn_of_rounding() {
    log::warn!(
        "the model is quantized: its weights are read as 32-bit floats, and what flows between its layers is not rounded \
         to 8 bits; results differ by that rounding from those of ONNX Runtime"
    );
}

fn cut_from(message: &proto::Model, sources: &Sources) -> Result<Cut> {
    let cut = parts::cut(message, sources)?;
    if cut.rounds {
        warn_of_rounding();
    }
    Ok(cut)
}

fn read_or_lead(message: proto::Model, sources: Sources) -> Result<(Model, Tensors)> {
    let kept = message.clone();
    read_from(message, sources.clone()).map_err(|e| {
        let may_lead = e.kind() == ErrorKind::Model && e.input().is_none();
        match may_lead.then(|| parts::lead(&kept, &sources)).flatten() {
            Some(lead) => e.hint(lead),
            None => e,
        }
    })
}

/// Returns the error of a graph that does something unsupported.
fn misfit(text: String) -> Error {
    Error::new(ErrorKind::Model, text)
}
