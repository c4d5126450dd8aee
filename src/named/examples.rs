//! Where the rows of a dataset come from, if they are not in memory.

use std::fmt;

use super::NamedTensors;
use crate::error::Result;

/// Examples that are laid out when a batch takes them (PyTorch's map-style `Dataset`): rows of a file, say, that is larger than memory.
///
/// # Example
///
/// ```
/// use gatewave::{Dataset, Examples, Gru, Linear, Loss, Model, NamedTensors, Result, Select};
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
    /// How many there are.
    fn rows(&self) -> usize;

    /// The tensors of some rows, all of which are below [`rows`](Self::rows), in their order.
    ///
    /// # Shapes
    ///
    /// Under names and in axes as [`Batch::named`](crate::Batch::named) takes them. Every axis but that of the rows is as long
    /// whichever rows are taken: shorter sequences are padded, and `lengths` says how long each is.
    ///
    /// # Errors
    ///
    /// Of any kind. The error should say which row it is about.
    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors>;

    /// How many steps each row has, of all rows, where they have unlike numbers of them: what [`Fit::buckets`](crate::Fit::buckets) goes by.
    fn lengths(&self) -> Option<Vec<usize>> {
        None
    }
}
