//! Tensors that are views of a run of bytes: their first element, and the step along each axis.
//!
//! Knows bytes and shapes; knows no container.

use super::elements::floats;
use super::source::Source;
use crate::weights::Tensor;

/// The most axes of a tensor in a file. NumPy has the same bound. What walks along axes may recurse once for each.
pub(super) const MOST_AXES: usize = 64;

/// A view of the elements in a record.
#[derive(Clone, Debug)]
pub(super) struct Strided {
    /// The type of the elements, which is read.
    pub(super) dtype: &'static str,
    pub(super) elem_bytes: u64,
    /// Whether the most significant byte of a number comes first.
    pub(super) big_endian: bool,
    /// The first element.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<u64>,
}

impl Strided {
    /// Returns how many elements the view has; `None` if that overflows.
    pub(super) fn count(&self) -> Option<u64> {
        self.shape.iter().try_fold(1_u64, |count, &n| count.checked_mul(n as u64))
    }

    /// Returns how many elements the record must have; `None` if that overflows.
    pub(super) fn extent(&self) -> Option<u64> {
        if self.shape.contains(&0) {
            return Some(0);
        }
        let steps = self.shape.iter().zip(&self.strides);
        let last = steps.map(|(&n, &stride)| (n as u64 - 1).checked_mul(stride));
        last.into_iter().try_fold(self.offset, |end, step| end.checked_add(step?))?.checked_add(1)
    }

    /// Whether the elements stand one behind the other.
    fn is_contiguous(&self) -> bool {
        let mut wanted = 1;
        self.shape.iter().zip(&self.strides).rev().all(|(&n, &stride)| {
            let fits = n == 1 || stride == wanted;
            wanted = wanted.saturating_mul(n as u64);
            fits
        })
    }

    /// Returns the tensor, whose elements stay in `record` until they are asked for. The record holds its extent.
    pub(super) fn tensor(self, record: Source) -> Tensor {
        if self.is_contiguous() || self.shape.contains(&0) {
            return Tensor::stored_in_parts(self.shape.clone(), move |range| {
                self.read(&record, self.offset + range.start as u64, range.len() as u64)
            });
        }
        Tensor::stored(self.shape.clone(), move || {
            let length = self.extent().unwrap_or_default().saturating_sub(self.offset);
            let all = self.read(&record, self.offset, length)?;
            let mut elements = Vec::with_capacity(self.shape.iter().product());
            self.gather(&all, 0, 0, &mut elements);
            Ok(elements)
        })
    }

    /// Reads elements that stand one behind the other.
    fn read(&self, record: &Source, first: u64, count: u64) -> crate::error::Result<Vec<f32>> {
        let size = self.elem_bytes;
        let mut bytes = record.bytes(first.saturating_mul(size), count.saturating_mul(size))?;
        if self.big_endian {
            let width = usize::try_from(size).unwrap_or(1);
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        Ok(floats(self.dtype, &bytes))
    }

    /// Adds the elements of `all` along the axes from `axis` on, beginning with that at `from`.
    fn gather(&self, all: &[f32], axis: usize, from: usize, elements: &mut Vec<f32>) {
        let (Some(&n), Some(&stride)) = (self.shape.get(axis), self.strides.get(axis)) else {
            elements.extend(all.get(from));
            return;
        };
        let stride = usize::try_from(stride).unwrap_or(usize::MAX);
        for index in 0..n {
            self.gather(all, axis + 1, from.saturating_add(index.saturating_mul(stride)), elements);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: u64, shape: &[usize], strides: &[u64]) -> Strided {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Strided { dtype: "U8", elem_bytes: 1, big_endian: false, offset, shape, strides }
    }

    #[test]
    fn any_strides_give_the_elements_in_row_major_order() {
        let record = Source::memory((0..24).collect::<Vec<u8>>());
        let read = |view: Strided| {
            assert!(view.extent().is_some_and(|extent| extent <= 24));
            view.tensor(record.clone()).read().unwrap().into_owned()
        };
        assert_eq!(read(view(2, &[2, 3], &[3, 1])), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(read(view(1, &[3, 2], &[1, 4])), [1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
        assert_eq!(read(view(0, &[2, 2, 2], &[12, 1, 6])), [0.0, 6.0, 1.0, 7.0, 12.0, 18.0, 13.0, 19.0]);
        assert_eq!(read(view(5, &[2, 2], &[0, 1])), [5.0, 6.0, 5.0, 6.0]);
        assert_eq!(read(view(7, &[], &[])), [7.0]);
        assert_eq!(read(view(3, &[1, 2], &[99, 1])), [3.0, 4.0], "the stride of an axis of one step says nothing");
        assert!(read(view(0, &[0, 9], &[1, 1])).is_empty());
    }

    #[test]
    fn an_extent_that_overflows_is_none() {
        assert_eq!(view(0, &[3, 4], &[4, 1]).extent(), Some(12));
        assert_eq!(view(u64::MAX, &[2], &[1]).extent(), None);
        assert_eq!(view(0, &[usize::MAX, 2], &[u64::MAX, 1]).extent(), None);
        assert_eq!(view(0, &[usize::MAX, 2], &[1, 1]).count(), None);
    }
}
