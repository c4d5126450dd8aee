//! A reader with settings: numbers of inputs that a file leaves open.
//!
//! Knows the formats; knows no graph.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Format, read_at, read_in_memory};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::weights::Tensors;

/// Reads files like [`read`](super::read), for given numbers of some inputs.
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

    /// Returns the numbers that are set, by the names of their inputs.
    #[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only ONNX files have such inputs"))]
    pub(super) fn numbers(&self) -> &BTreeMap<String, f64> {
        &self.set
    }

    /// Checks that a file of `format` may have inputs that are set.
    pub(super) fn check(&self, format: Format) -> Result<()> {
        match self.set.keys().next() {
            Some(name) if format != Format::Onnx => {
                let text = format!("expected an .onnx file to set its input {name:?}, got {format} file");
                Err(Error::new(ErrorKind::Model, text))
            }
            _ => Ok(()),
        }
    }
}
