//! A time series from any file that holds one: columns of comma-separated values, or arrays.

use std::path::Path;

use gatewave::data::{ReadOptions, Series, SourceLocation, is_series};
use gatewave::{Error, ErrorKind, NamedTensors, Result, Values};
use ndarray::{ArrayD, Axis};

use super::{Format, io_error, read};

/// Returns whether a file of this name can hold a series.
pub(crate) fn can_hold_series(path: &Path) -> bool {
    is_series(path) || Format::of(path).is_ok()
}

/// Reads the series in the file at `path`. Arrays are taken in the order of their
/// names. Each `[rows]` is a column by its name, and each `[rows, columns]` is
/// that many, with its name and their indices. The array of an `.npy` file is `x`.
///
/// # Errors
///
/// Returns an error of kind `Io` if the file cannot be read, is larger than `max_bytes`, or holds no series.
pub(crate) fn read_series(path: &Path, max_bytes: Option<u64>) -> Result<Series> {
    if is_series(path) || Format::of(path).is_err() {
        return Series::read(path, max_bytes.unwrap_or(ReadOptions::MAX_BYTES));
    }
    of_arrays(path, &read_bounded(path, max_bytes)?)
}

/// Reads the series in the file at `path`. Returns none for arrays that are no series with all of `columns`.
///
/// # Errors
///
/// Returns the same errors as [`read_series`].
pub(crate) fn read_series_with<'a>(
    path: &Path,
    max_bytes: Option<u64>,
    mut columns: impl Iterator<Item = &'a str>,
) -> Result<Option<Series>> {
    if is_series(path) {
        return read_series(path, max_bytes).map(Some);
    }
    let tensors = read_bounded(path, max_bytes)?;
    if !tensors.values().all(|values| [1, 2].contains(&values.shape().len())) {
        return Ok(None);
    }
    let series = of_arrays(path, &tensors)?;
    let holds = columns.all(|column| series.numeric().contains(&column));
    Ok(holds.then_some(series))
}

/// Reads the arrays of the file at `path`, as [`read`] does. The array of an `.npy` file is `x`.
///
/// # Errors
///
/// Returns the same errors as [`read`], or one of kind `Io` if the file has more bytes than `max_bytes`.
pub(crate) fn read_bounded(path: &Path, max_bytes: Option<u64>) -> Result<NamedTensors> {
    let most = max_bytes.unwrap_or(ReadOptions::MAX_BYTES);
    let bytes = std::fs::metadata(path).map_err(|e| io_error(path, e))?.len();
    if bytes > most {
        return Err(io_error(path, format!("expected at most {most} bytes, got {bytes}")));
    }
    read(path, "x")
}

fn of_arrays(path: &Path, tensors: &NamedTensors) -> Result<Series> {
    let columns = columns(tensors).map_err(|e| e.at(path.display()))?;
    let (names, numbers): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Series::new(names.iter().map(String::as_str).zip(numbers), SourceLocation::of_file(path))
}

/// Returns the columns of arrays.
fn columns(tensors: &NamedTensors) -> Result<Vec<(String, Vec<f64>)>> {
    let mut columns = Vec::new();
    for (name, values) in tensors {
        let array: ArrayD<f64> = match values {
            #[allow(clippy::cast_precision_loss, reason = "a model takes floats of 24 bits")]
            Values::I64(array) => array.mapv(|number| number as f64),
            reals => reals.to_f32().mapv(f64::from),
        };
        match array.ndim() {
            1 => columns.push((name.clone(), array.into_iter().collect())),
            2 => {
                let numbered = array.axis_iter(Axis(1)).enumerate();
                columns.extend(numbered.map(|(n, column)| (format!("{name}{n}"), column.iter().copied().collect())));
            }
            _ => {
                let text = format!(
                    "{name}: expected an array of [rows] or [rows, columns] for a time series, got one of {:?}",
                    array.shape()
                );
                return Err(Error::new(ErrorKind::Io, text));
            }
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use ndarray::{arr1, arr2};

    use super::*;

    #[test]
    fn each_array_gives_its_columns() {
        let tensors = NamedTensors::from([
            ("load".to_owned(), arr1(&[1.5_f32, 2.5]).into_dyn().into()),
            ("x".to_owned(), arr2(&[[1_i64, 2], [3, 4]]).into_dyn().into()),
        ]);
        let wanted = [("load", [1.5, 2.5]), ("x0", [1.0, 3.0]), ("x1", [2.0, 4.0])];
        assert_eq!(columns(&tensors).unwrap(), wanted.map(|(name, numbers)| (name.to_owned(), numbers.to_vec())));
        let windows = NamedTensors::from([("x".to_owned(), ArrayD::<f32>::zeros(vec![2, 3, 1]).into())]);
        let error = columns(&windows).unwrap_err().to_string();
        assert!(error.ends_with("for a time series, got one of [2, 3, 1]"), "{error}");
    }
}
