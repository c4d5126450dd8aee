//! The native module of the Python package `gatewave`: the library's public API over NumPy's arrays.
//!
//! Each class is the thin shell of a type of the library. `gatewave/*.py` beside this crate has what users see: names,
//! defaults, conversions of what they pass. Everything that computes does so without the interpreter's lock.

mod arrays;
mod errors;
mod fit;
mod fork;
mod logging;
mod model;
mod ports;
mod settings;
mod streams;
mod trainer;

use gatewave::device::adapters;
use pyo3::prelude::*;

use errors::compute;

/// The GPUs that gatewave can compute on, each as (name, interface, kind, what it is in words).
#[pyfunction]
fn devices(py: Python<'_>) -> PyResult<Vec<(String, &'static str, String, String)>> {
    let found = compute(py, || Ok(adapters()))?;
    Ok(found.into_iter().map(|a| (a.name.clone(), a.backend, a.kind.to_string(), a.to_string())).collect())
}

/// Sets how many threads the CPU computes with; false if they have begun to compute.
#[pyfunction]
fn set_threads(threads: usize) -> bool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().is_ok()
}

/// How many threads the CPU computes with.
#[pyfunction]
fn threads(py: Python<'_>) -> PyResult<usize> {
    compute(py, || Ok(rayon::current_num_threads()))
}

#[pymodule]
fn _native(native: &Bound<'_, PyModule>) -> PyResult<()> {
    logging::install();
    native.add("__version__", env!("CARGO_PKG_VERSION"))?;
    native.add_class::<model::Engine>()?;
    native.add_class::<streams::Stream>()?;
    native.add_class::<streams::Streams>()?;
    native.add_class::<trainer::Trainer>()?;
    native.add_class::<fit::Fitting>()?;
    native.add_function(wrap_pyfunction!(model::load, native)?)?;
    native.add_function(wrap_pyfunction!(model::load_bytes, native)?)?;
    native.add_function(wrap_pyfunction!(model::from_tensors, native)?)?;
    native.add_function(wrap_pyfunction!(model::describe, native)?)?;
    native.add_function(wrap_pyfunction!(devices, native)?)?;
    native.add_function(wrap_pyfunction!(set_threads, native)?)?;
    native.add_function(wrap_pyfunction!(threads, native)?)?;
    native.add_function(wrap_pyfunction!(fork::after_fork, native)?)
}
