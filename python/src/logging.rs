//! What Rust logs, as records of Python's `logging`.
//!
//! Records wait in a queue until a call returns: a thread that computes then needs no lock of the interpreter.

use std::mem;
use std::sync::{Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};
use pyo3::prelude::*;

/// The most records that wait; later ones are dropped.
const MOST: usize = 1000;

static QUEUE: Mutex<Vec<(Level, String, String)>> = Mutex::new(Vec::new());

struct Queue;

impl Log for Queue {
    /// Of other crates' records, such as the GPU's interface writes, only warnings are of use.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || metadata.target().starts_with("gatewave")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < MOST {
            queue.push((record.level(), record.target().replace("::", "."), record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Takes the records of this process, unless something else does.
pub(crate) fn install() {
    if log::set_logger(&Queue).is_ok() {
        log::set_max_level(LevelFilter::Debug);
    }
}

/// Hands the records that wait to Python's loggers.
pub(crate) fn flush(py: Python<'_>) {
    let records = mem::take(&mut *QUEUE.lock().unwrap_or_else(PoisonError::into_inner));
    if records.is_empty() {
        return;
    }
    let emitted = py.import("gatewave._logging").and_then(|logging| {
        let emit = logging.getattr("emit")?;
        records.into_iter().try_for_each(|(level, logger, text)| emit.call1((level.as_str(), logger, text)).map(drop))
    });
    if let Err(error) = emitted {
        error.write_unraisable(py, None);
    }
}
