//! A tensor: elements in memory, or a way to read them from a file.
//!
//! Knows shapes and elements; knows no name, no model and no file format.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array, ArrayD, Dimension};

use crate::error::{Error, ErrorKind, Result};

/// Elements that are read at once from a tensor that can be read in parts: what loading needs beside the model.
const PART: usize = 1 << 20;

/// A tensor: its shape, and its elements or a way to read them.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    elements: Elements,
    /// Whether the elements are integers with a scale for each row, which cannot be trained.
    integers: bool,
}

/// Elements in row-major order.
#[derive(Clone)]
enum Elements {
    Held(Arc<Vec<f32>>),
    Whole(Arc<Reader>),
    Parts(Arc<PartReader>),
}

/// Reads all elements of a tensor.
type Reader = dyn Fn() -> Result<Vec<f32>> + Send + Sync;

/// Reads a range of elements of a tensor.
type PartReader = dyn Fn(Range<usize>) -> Result<Vec<f32>> + Send + Sync;

impl Tensor {
    /// Makes a tensor of these elements, in row-major order. There must be as many as the product
    /// of `shape`, which is empty for a scalar.
    pub fn new(shape: impl Into<Vec<usize>>, elements: Vec<f32>) -> Self {
        Self::of(shape, Elements::Held(Arc::new(elements)))
    }

    /// Makes a tensor whose elements `read` reads each time they are asked for, so that they stay in their file.
    pub fn stored(shape: impl Into<Vec<usize>>, read: impl Fn() -> Result<Vec<f32>> + Send + Sync + 'static) -> Self {
        Self::of(shape, Elements::Whole(Arc::new(read)))
    }

    /// Makes a tensor of which `read` reads any range of elements, so that a large one is never in memory as a whole.
    pub fn stored_in_parts(
        shape: impl Into<Vec<usize>>,
        read: impl Fn(Range<usize>) -> Result<Vec<f32>> + Send + Sync + 'static,
    ) -> Self {
        Self::of(shape, Elements::Parts(Arc::new(read)))
    }

    fn of(shape: impl Into<Vec<usize>>, elements: Elements) -> Self {
        Self { shape: shape.into(), elements, integers: false }
    }

    /// Marks the elements as integers with a scale for each row, or as a part of such.
    #[must_use]
    pub(crate) fn with_integers(self, integers: bool) -> Self {
        Self { integers, ..self }
    }

    /// Returns whether a file holds the elements as integers with a scale for each row.
    pub(crate) fn is_of_integers(&self) -> bool {
        self.integers
    }

    /// Returns the length of each axis; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the elements, in row-major order.
    ///
    /// # Errors
    ///
    /// Returns any error of the reader of a stored tensor, of kind [`ErrorKind::Io`](crate::ErrorKind::Io) or
    /// [`ErrorKind::Weights`](crate::ErrorKind::Weights). Returns an error of kind
    /// [`ErrorKind::Weights`](crate::ErrorKind::Weights) if the number of elements is not that of the shape.
    pub fn read(&self) -> Result<Cow<'_, [f32]>> {
        let wanted = self.len();
        let elements = match (&self.elements, wanted) {
            (Elements::Held(elements), _) => Cow::Borrowed(elements.as_slice()),
            (Elements::Whole(read), _) => Cow::Owned(read()?),
            (Elements::Parts(read), Some(len)) => Cow::Owned(read(0..len)?),
            (Elements::Parts(_), None) => Cow::Owned(Vec::new()),
        };
        if wanted == Some(elements.len()) { Ok(elements) } else { Err(self.miscounted(elements.len())) }
    }

    /// Returns the elements as an array of the tensor's shape.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn to_array(&self) -> Result<ArrayD<f32>> {
        let elements = self.read()?.into_owned();
        let count = elements.len();
        ArrayD::from_shape_vec(self.shape.as_slice(), elements).map_err(|_| self.miscounted(count))
    }

    /// Calls `each` with the elements of rows `rows` (of the first axis), part by part and in order. It gets the index
    /// of the part's first row, and the elements, which are whole rows.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and those of `each`.
    pub(crate) fn read_rows(
        &self,
        rows: Range<usize>,
        each: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let width = self.shape.iter().skip(1).fold(1, |width: usize, &n| width.saturating_mul(n));
        let (Elements::Parts(read), Some(_)) = (&self.elements, self.len()) else {
            return each(rows.start, &self.read()?[rows.start * width..rows.end * width]);
        };
        let step = (PART / width.max(1)).max(1);
        for first in rows.clone().step_by(step) {
            let part = first..rows.end.min(first + step);
            let elements = read(part.start * width..part.end * width)?;
            if elements.len() != part.len() * width {
                return Err(self.miscounted(elements.len()));
            }
            each(first, &elements)?;
        }
        Ok(())
    }

    /// Reads a range of elements.
    fn read_range(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>> {
        let elements = match &self.elements {
            Elements::Held(elements) => elements.get(range).map(Cow::Borrowed),
            Elements::Whole(read) => read()?.get(range).map(|elements| Cow::Owned(elements.to_vec())),
            Elements::Parts(read) => Some(Cow::Owned(read(range)?)),
        };
        elements.ok_or_else(|| Error::new(ErrorKind::Weights, format!("expected the elements of {:?}", self.shape)))
    }

    /// The number of elements that the shape needs; `None` if it overflows.
    fn len(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))
    }

    fn miscounted(&self, got: usize) -> Error {
        Error::new(ErrorKind::Weights, format!("expected the elements of {:?}, got {got}", self.shape))
    }

    /// Returns the shape and the elements.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn into_parts(self) -> Result<(Vec<usize>, Vec<f32>)> {
        let read = self.read()?;
        let elements = match read {
            Cow::Owned(elements) => elements,
            Cow::Borrowed(_) => match self.elements {
                Elements::Held(elements) => Arc::unwrap_or_clone(elements),
                Elements::Whole(_) | Elements::Parts(_) => unreachable!("what is borrowed is held"),
            },
        };
        Ok((self.shape, elements))
    }

    /// Makes a tensor of another shape whose elements are these, changed by `change` when they are read. As with
    /// [`stored`](Self::stored), another order of gates costs no copy until then.
    #[must_use]
    pub fn map(
        self,
        shape: impl Into<Vec<usize>>,
        change: impl Fn(&[f32]) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        let integers = self.integers;
        Self::stored(shape, move || Ok(change(&self.read()?))).with_integers(integers)
    }

    /// Makes a tensor of these runs of elements, one behind the other. They are cut out when they
    /// are read, and only as far as needed.
    ///
    /// A tensor that can only be read as a whole is read once for all runs, not once for each.
    #[must_use]
    pub(super) fn runs(self, shape: impl Into<Vec<usize>>, runs: Vec<Range<usize>>) -> Self {
        let integers = self.integers;
        if let Elements::Whole(_) = self.elements {
            let parts = Self::stored(shape, move || {
                let all = self.read()?;
                let run = |run: &Range<usize>| all.get(run.clone()).ok_or_else(|| self.miscounted(all.len()));
                Ok(runs.iter().map(run).collect::<Result<Vec<_>>>()?.concat())
            });
            return parts.with_integers(integers);
        }
        let parts = Self::stored_in_parts(shape, move |wanted| {
            let mut elements = Vec::with_capacity(wanted.len());
            let mut begin = 0_usize;
            for run in &runs {
                let end = begin.saturating_add(run.len());
                let (from, to) = (wanted.start.clamp(begin, end), wanted.end.clamp(begin, end));
                if from < to {
                    elements.extend_from_slice(&self.read_range(run.start + (from - begin)..run.start + (to - begin))?);
                }
                begin = end;
            }
            Ok(elements)
        });
        parts.with_integers(integers)
    }
}

impl<D: Dimension> From<Array<f32, D>> for Tensor {
    /// Makes a tensor of an array's shape and elements. An array in row-major order is not copied.
    fn from(array: Array<f32, D>) -> Self {
        let (shape, count) = (array.shape().to_vec(), array.len());
        let array = if array.is_standard_layout() { array } else { array.as_standard_layout().into_owned() };
        // A part that was cut out of an array still holds the elements of the whole array.
        let (mut elements, first) = array.into_raw_vec_and_offset();
        elements.drain(..first.unwrap_or(0));
        elements.truncate(count);
        Self::new(shape, elements)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = match &self.elements {
            Elements::Held(elements) => Some(elements),
            Elements::Whole(_) | Elements::Parts(_) => None,
        };
        f.debug_struct("Tensor").field("shape", &self.shape).field("held", &held).finish()
    }
}

impl PartialEq for Tensor {
    /// Whether both can be read, and have the same shape and equal elements.
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && matches!((self.read(), other.read()), (Ok(a), Ok(b)) if a == b)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ndarray::{arr0, s};

    use super::*;

    #[test]
    fn a_tensor_that_is_read_as_a_whole_is_read_once_for_all_runs_of_it() {
        let (rows, reads) = (4 * PART, Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&reads);
        let whole = Tensor::stored([rows, 1], move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(vec![1.0; rows])
        });
        let runs = (0..4).map(|part| part * PART..(part + 1) * PART).collect();
        let mut seen = 0;
        let mut each = |_, elements: &[f32]| {
            seen += elements.len();
            Ok(())
        };
        whole.runs([rows, 1], runs).read_rows(0..rows, &mut each).unwrap();
        assert_eq!((seen, reads.load(Ordering::Relaxed)), (rows, 1));
    }

    #[test]
    fn a_tensor_of_an_array_has_its_shape_and_its_elements_in_row_major_order() {
        let whole = Array::from_shape_fn((3, 4), |(row, column)| f32::from(u8::try_from(4 * row + column).unwrap()));
        let lower = whole.clone().slice_move(s![1.., ..]);
        for array in [whole.clone(), whole.reversed_axes(), lower] {
            let tensor = Tensor::from(array.clone());
            assert_eq!(tensor.shape(), array.shape());
            assert_eq!(tensor.read().unwrap(), array.iter().copied().collect::<Vec<_>>());
            assert_eq!(tensor.to_array().unwrap(), array.into_dyn());
        }
        assert_eq!(Tensor::from(arr0(2.5)).to_array().unwrap(), arr0(2.5).into_dyn());
        assert_eq!(Tensor::from(Array::<f32, _>::zeros((0, 3))).to_array().unwrap().shape(), [0, 3]);
        let error = Tensor::new([2, 3], vec![0.0; 5]).to_array().unwrap_err();
        assert_eq!(error.to_string(), "expected the elements of [2, 3], got 5");
    }
}
