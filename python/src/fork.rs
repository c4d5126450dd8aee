//! A child of `fork` has none of its parent's threads, so what waits for them would wait for ever.

use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;

use crate::errors::refused;

/// Whether anything has computed, and so may have begun threads.
static USED: AtomicBool = AtomicBool::new(false);
/// Whether this process is the child of one that had.
static FORKED: AtomicBool = AtomicBool::new(false);

const ADVICE: &str = "this process was forked from one that had used gatewave, whose threads are not here; begin \
                      processes by \"spawn\" (multiprocessing.get_context(\"spawn\")), or use gatewave after the fork alone";

/// Marks the process as a child; `os.register_at_fork` calls it there.
#[pyfunction]
pub(crate) fn after_fork() {
    FORKED.store(USED.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Begins a computation.
///
/// # Errors
///
/// Returns an exception in a child whose threads are missing.
pub(crate) fn enter(py: Python<'_>) -> PyResult<()> {
    if FORKED.load(Ordering::Relaxed) {
        return Err(refused(py, "fork", ADVICE));
    }
    USED.store(true, Ordering::Relaxed);
    Ok(())
}

/// What a child must not drop: a GPU's objects wait for threads of the driver.
pub(crate) struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("it is taken where it is dropped")
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        if FORKED.load(Ordering::Relaxed) {
            mem::forget(self.0.take());
        }
    }
}
