//! A reader with settings: numbers of inputs that a file leaves open, and the part of a graph that is meant.
//!
//! Knows the formats; knows no graph.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "onnx")]
use super::onnx::{self, Asked};
use super::{Cut, Format, read_at, read_in_memory};
#[cfg(not(feature = "onnx"))]
use crate::error::not_built;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::weights::Tensors;

/// Reads files like [`read`](super::read), for given numbers of some inputs, or a part of a graph alone.
///
/// An ONNX graph may take a number that decides what it computes: a sampling rate, or a flag. It has an `If` of that
/// number. Each number is a model of its own, which has no such input.
///
/// # Example
///
/// ```no_run
/// use gatewave::formats::Reader;
///
/// # fn main() -> gatewave::Result<()> {
/// let (model, tensors) = Reader::new().set("sr", 16000.0).read("vad.onnx")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reader {
    set: BTreeMap<String, f64>,
    from: Vec<String>,
    to: Vec<String>,
}

impl Reader {
    /// Makes a reader without settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the input `name` of an ONNX graph, which takes one number, to `number`. A flag is 0 or 1.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, number: f64) -> Self {
        self.set.insert(name.into(), number);
        self
    }

    /// Leaves out of an ONNX graph what comes before the tensor `name`, which becomes an input. Several may be named.
    #[must_use]
    pub fn begin_at(mut self, name: impl Into<String>) -> Self {
        self.from.push(name.into());
        self
    }

    /// Leaves out of an ONNX graph what the tensor `name` does not need. It becomes an output, in place of those of the
    /// graph. Several may be named.
    #[must_use]
    pub fn end_at(mut self, name: impl Into<String>) -> Self {
        self.to.push(name.into());
        self
    }

    /// Cuts the graph of an ONNX file into parts: models, and what another runtime must run. Nothing recurrent in the
    /// graph is refused for what stands around it.
    ///
    /// # Errors
    ///
    /// Returns an error of one of these kinds:
    ///
    /// - [`ErrorKind::Io`] if the file cannot be read, or is no ONNX file,
    /// - [`ErrorKind::Model`] if no recurrent node of the graph can be read, even by itself,
    /// - [`ErrorKind::Weights`] if a tensor is damaged.
    pub fn cut(&self, path: impl AsRef<Path>) -> Result<Cut> {
        let path = path.as_ref();
        only_onnx(Format::of(path)?).map_err(|e| e.at(path.display()))?;
        #[cfg(feature = "onnx")]
        return onnx::cut_asked(path, &self.asked());
        #[cfg(not(feature = "onnx"))]
        Err(not_built("onnx").at(path.display()))
    }

    /// Cuts the graph of an ONNX file in memory, like [`cut`](Self::cut).
    ///
    /// # Errors
    ///
    /// As [`cut`](Self::cut).
    pub fn cut_bytes(&self, bytes: impl Into<Arc<[u8]>>, format: Format) -> Result<Cut> {
        only_onnx(format)?;
        #[cfg(feature = "onnx")]
        return onnx::cut_shared_asked(bytes.into(), &self.asked());
        #[cfg(not(feature = "onnx"))]
        {
            let _: Arc<[u8]> = bytes.into();
            Err(not_built("onnx"))
        }
    }

    /// Reads a model from a file, like [`read`](super::read).
    ///
    /// # Errors
    ///
    /// As [`read`](super::read). Returns an error of kind [`ErrorKind::Model`] if a number is set and the file is no
    /// ONNX file, or its graph has no such input.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<(Model, Tensors)> {
        read_at(path.as_ref(), None, self)
    }

    /// Reads a model from a file in memory, like [`read_bytes`](super::read_bytes) without a description.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_bytes(&self, bytes: impl Into<Arc<[u8]>>, format: Format) -> Result<(Model, Tensors)> {
        read_in_memory(bytes.into(), format, None, self)
    }

    #[cfg(feature = "onnx")]
    pub(super) fn asked(&self) -> Asked<'_> {
        Asked { set: Some(&self.set), from: &self.from, to: &self.to }
    }

    /// Checks that a file of `format` may have what is set.
    pub(super) fn check(&self, format: Format) -> Result<()> {
        let text = match (self.set.keys().next(), self.from.iter().chain(&self.to).next()) {
            _ if format == Format::Onnx => return Ok(()),
            (None, None) => return Ok(()),
            (Some(name), _) => format!("expected an .onnx file to set its input {name:?}, got {format} file"),
            (_, Some(name)) => format!("expected an .onnx file, a part of which ends at {name:?}, got {format} file"),
        };
        Err(Error::new(ErrorKind::Model, text))
    }
}

fn only_onnx(format: Format) -> Result<()> {
    match format {
        Format::Onnx => Ok(()),
        _ => Err(Error::new(ErrorKind::Io, format!("expected an .onnx file to cut into parts, got {format} file"))),
    }
}
