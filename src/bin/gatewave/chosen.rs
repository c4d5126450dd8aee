//! What of an ONNX file is meant: numbers of its inputs, and the part of its graph.
//!
//! Turns arguments into a reader of the library.

use std::path::Path;
use std::sync::Arc;

use gatewave::formats::{Format, Reader};
use gatewave::parts::Cut;
use gatewave::weights::Tensors;
use gatewave::{Error, ErrorKind, Model, Result};

use crate::files;

/// What of an ONNX file is meant.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Chosen {
    /// A number for an input of an .onnx MODEL that takes one and decides what it computes, such as a sampling rate or
    /// a flag (0 or 1). `gatewave run` takes it from IN otherwise
    #[arg(long, value_name = "INPUT=NUMBER", value_parser = setting, requires = "path")]
    pub(crate) set: Vec<(String, f64)>,
    /// Leave out what comes before this tensor of an .onnx MODEL, which becomes an input; may be repeated
    #[arg(long, value_name = "TENSOR", requires = "path")]
    from: Vec<String>,
    /// Leave out what comes behind this tensor of an .onnx MODEL, which becomes an output; may be repeated
    #[arg(long, value_name = "TENSOR", requires = "path")]
    to: Vec<String>,
}

impl Chosen {
    /// Returns the same, with other numbers.
    pub(crate) fn with(&self, set: &[(String, f64)]) -> Self {
        Self { set: set.to_vec(), ..self.clone() }
    }

    /// Returns the flag and the name that are given first.
    pub(crate) fn given(&self) -> Option<(&'static str, &str)> {
        let set = self.set.iter().map(|(name, _)| ("--set", name.as_str()));
        set.chain(self.from.iter().map(|name| ("--from", name.as_str())))
            .chain(self.to.iter().map(|name| ("--to", name.as_str())))
            .next()
    }

    /// Returns what reads such a file.
    pub(crate) fn reader(&self) -> Result<Reader> {
        let mut reader = Reader::new();
        for (at, (name, number)) in self.set.iter().enumerate() {
            if self.set[..at].iter().any(|(other, _)| other == name) {
                return Err(Error::new(ErrorKind::Model, format!("--set: {name} is given twice")));
            }
            reader = reader.set(name, *number);
        }
        reader = self.from.iter().fold(reader, Reader::begin_at);
        Ok(self.to.iter().fold(reader, Reader::end_at))
    }

    /// Reads a model that has no description of its own.
    pub(crate) fn read(&self, path: &Path, description: Option<&Path>) -> Result<(Model, Tensors)> {
        let reader = self.reader()?;
        if let (Some(description), Some((flag, _))) = (description, self.given()) {
            let is_graph = Format::of(path).is_ok_and(|format| format == Format::Onnx);
            let text = match is_graph {
                true => format!("--model: expected none beside an .onnx file, got {}", description.display()),
                false => format!("{flag}: expected an .onnx file, got another"),
            };
            return Err(Error::new(ErrorKind::Model, text).at(files::name(path)));
        }
        match files::streamed(path)? {
            Some(bytes) => {
                let read = || reader.read_bytes(Arc::clone(&bytes), Format::of_bytes(&bytes)?);
                read().map_err(|e: Error| e.at(files::name(path)))
            }
            None => reader.read(path),
        }
    }

    /// Cuts the graph of the file at `path` into parts, where the reader refuses it whole with `error`.
    ///
    /// # Errors
    ///
    /// Returns `error` if that is about something else, or no part can be read.
    pub(crate) fn cut_instead(&self, path: &Path, error: Error) -> Result<Cut> {
        let cut = || match files::streamed(path)? {
            Some(bytes) => self.reader()?.cut_bytes(Arc::clone(&bytes), Format::of_bytes(&bytes)?),
            None => self.reader()?.cut(path),
        };
        if error.kind() != ErrorKind::Model || error.input().is_some() {
            return Err(error);
        }
        cut().map_err(|_| error)
    }
}

/// Parses an input of a graph and its number.
fn setting(text: &str) -> std::result::Result<(String, f64), String> {
    let (name, number) = text.rsplit_once('=').ok_or("expected INPUT=NUMBER, such as sr=16000")?;
    let number: f64 = number.parse().map_err(|_| format!("expected a number after {name}=, got {number:?}"))?;
    Ok((name.to_owned(), number))
}
