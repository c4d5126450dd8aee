//! NumPy's arrays ⇄ the library's tensors.
//!
//! `gatewave/_arrays.py` has made every array one of 32-bit floats or 64-bit integers. Results are not copied.

use gatewave::{NamedTensors, Values};
use ndarray::{ArrayD, ArrayView2};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

/// Arrays by name, as they come.
pub(crate) type Given<'py> = Vec<(String, Bound<'py, PyAny>)>;

/// Returns a copy of `array`, which others may write to while a call computes.
///
/// # Errors
///
/// Returns a `TypeError` if it is no array of one of both types.
pub(crate) fn values(name: &str, array: &Bound<'_, PyAny>) -> PyResult<Values> {
    if let Ok(array) = array.cast::<PyArrayDyn<f32>>() {
        return Ok(Values::F32(array.try_readonly()?.as_array().to_owned()));
    }
    if let Ok(array) = array.cast::<PyArrayDyn<i64>>() {
        return Ok(Values::I64(array.try_readonly()?.as_array().to_owned()));
    }
    let kind = array.get_type();
    Err(PyTypeError::new_err(format!("{name}: expected an array of float32 or int64, got {kind}")))
}

/// Returns copies of all arrays of `given`.
///
/// # Errors
///
/// As [`values`].
pub(crate) fn named(given: &Given<'_>) -> PyResult<NamedTensors> {
    given.iter().map(|(name, array)| Ok((name.clone(), values(name, array)?))).collect()
}

/// Returns 32-bit floats with the axes that the callee needs.
///
/// # Errors
///
/// As [`values`], or a `TypeError` if they are integers.
pub(crate) fn floats(name: &str, array: &Bound<'_, PyAny>) -> PyResult<ArrayD<f32>> {
    match values(name, array)? {
        Values::F32(array) => Ok(array),
        _ => Err(PyTypeError::new_err(format!("{name}: expected an array of float32, got one of int64"))),
    }
}

/// Returns `values` as an array of NumPy, which owns them from here on.
pub(crate) fn array(py: Python<'_>, values: Values) -> PyResult<Bound<'_, PyAny>> {
    match values {
        Values::F32(array) => Ok(array.into_pyarray(py).into_any()),
        Values::I64(array) => Ok(array.into_pyarray(py).into_any()),
        _ => Err(PyTypeError::new_err("a result of a type that this package does not know")),
    }
}

/// Returns results by name, in their order.
pub(crate) fn arrays(py: Python<'_>, results: Vec<(String, Values)>) -> PyResult<Vec<(String, Bound<'_, PyAny>)>> {
    results.into_iter().map(|(name, values)| Ok((name, array(py, values)?))).collect()
}

/// Returns a copy of rows that the library keeps for the next call.
pub(crate) fn copied(rows: ArrayView2<'_, f32>) -> Values {
    Values::F32(rows.to_owned().into_dyn())
}
