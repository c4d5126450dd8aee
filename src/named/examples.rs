//! The source of a dataset's rows if they are not in memory.

use std::fmt;

use super::NamedTensors;
use crate::error::Result;

/// Examples that are made when a batch takes them (PyTorch's map-style `Dataset`), such as rows
/// of a file that is larger than memory.
///
/// # Example
///
/// ```
/// use gatewave::train::{Dataset, Examples, Loss};
/// use gatewave::{Gru, Linear, Model, NamedTensors, Result, Select};
/// use ndarray::{Array2, Array3};
///
/// /// Sums of numbers, which are made when they are asked for.
/// #[derive(Debug)]
/// struct Sums;
///
/// impl Examples for Sums {
///     fn rows(&self) -> usize {
///         1_000_000
///     }
///
///     fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
///         let number = |row: usize, step: usize| ((row * 7 + step * 3) % 10) as f32;
///         let x = Array3::from_shape_fn((rows.len(), 5, 1), |(b, t, _)| number(rows[b], t));
///         let y = Array2::from_shape_fn((rows.len(), 1), |(b, _)| (0..5).map(|t| number(rows[b], t)).sum::<f32>());
///         Ok([("x".to_owned(), x.into()), ("y".to_owned(), y.into())].into())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let model = Model::new().layer(Gru::new(1, 8)).layer(Select::LastStep).layer(Linear::new(8, 1));
/// let [training, validation] = Dataset::of(&model, Loss::MeanSquared, Sums)?.split(0.2)?;
/// assert_eq!((training.rows(), validation.rows()), (800_000, 200_000));
/// # Ok(())
/// # }
/// ```
pub trait Examples: fmt::Debug + Send + Sync {
    /// Returns the number of rows.
    fn rows(&self) -> usize;

    /// Returns the tensors of some rows, in their order. All are below [`rows`](Self::rows).
    ///
    /// # Shapes
    ///
    /// Names and axes are those of [`Batch::named`](crate::train::Batch::named). Except for the axis of rows, an axis
    /// has the same length for any rows: shorter sequences are padded, and `lengths` gives the length of each.
    ///
    /// # Errors
    ///
    /// Returns any error. It should say which row it is about.
    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors>;

    /// Returns the number of steps of each of all rows, if these numbers differ;
    /// [`Fit::buckets`](crate::train::Fit::buckets) uses them.
    fn lengths(&self) -> Option<Vec<usize>> {
        None
    }
}
