//! Errors of the library as Python's, and the one way in which anything computes.
//!
//! `gatewave/_errors.py` decides which exception an error becomes.

use std::error::Error as _;
use std::io;

use gatewave::Error;
use pyo3::prelude::*;

use crate::{fork, logging};

/// Does `work` without the interpreter's lock, then passes on what was logged meanwhile.
///
/// # Errors
///
/// Returns the error of `work` as an exception, or the one of a process whose threads a fork left behind.
pub(crate) fn compute<T: Send>(py: Python<'_>, work: impl FnOnce() -> gatewave::Result<T> + Send) -> PyResult<T> {
    fork::enter(py)?;
    let done = py.detach(work);
    logging::flush(py);
    done.map_err(|error| raised(py, &error))
}

/// Returns the exception of `error`.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    let kind = format!("{:?}", error.kind()).to_lowercase();
    let place = (error.layer(), error.node(), error.tensor(), error.input());
    made(py, &kind, &error.to_string(), os_code(error), place)
}

/// Returns the exception of an error that is none of the library's.
pub(crate) fn refused(py: Python<'_>, kind: &str, message: &str) -> PyErr {
    made(py, kind, message, None, (None, None, None, None))
}

type Place<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn made(py: Python<'_>, kind: &str, message: &str, code: Option<i32>, place: Place<'_>) -> PyErr {
    let (layer, node, tensor, input) = place;
    let exception = py
        .import("gatewave._errors")
        .and_then(|errors| errors.getattr("make"))
        .and_then(|make| make.call1((kind, message, code, layer, node, tensor, input)));
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Returns the system's number of the error behind `error`, if a file was the cause.
fn os_code(error: &Error) -> Option<i32> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            return cause.raw_os_error();
        }
        source = cause.source();
    }
    None
}
