//! Rearranging arrays of any elements, as Transpose, Slice and Reshape do if every length is known.

use ndarray::{ArrayD, Axis, IxDyn, Slice};

/// A change of the axes of an array, which fits its shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// Permutes the axes: axis `i` of the result is axis `permutation[i]`.
    Permute(Vec<usize>),
    /// Keeps `len` elements of `axis` from `start` on, `step` apart.
    Slice { axis: usize, start: usize, step: i64, len: usize },
    /// Gives the same elements another shape.
    Reshape(Vec<usize>),
}

impl Change {
    /// Returns the shape of the result for `dims`.
    pub(super) fn shape(&self, dims: &[usize]) -> Vec<usize> {
        match self {
            Self::Permute(permutation) => permutation.iter().map(|&axis| dims[axis]).collect(),
            Self::Slice { axis, len, .. } => {
                let mut shape = dims.to_vec();
                shape[*axis] = *len;
                shape
            }
            Self::Reshape(shape) => shape.clone(),
        }
    }

    pub(super) fn apply<T: Clone>(&self, array: ArrayD<T>) -> ArrayD<T> {
        match self {
            Self::Permute(permutation) => array.permuted_axes(IxDyn(permutation)),
            &Self::Slice { axis, start, step, len } => {
                if len == 0 {
                    return array.slice_axis(Axis(axis), Slice::from(0..0)).to_owned();
                }
                let indices: Vec<usize> = (0..len)
                    .scan(i64::try_from(start).expect("a length"), |at, _| {
                        let index = usize::try_from(*at).expect("a slice stays inside its axis");
                        *at = at.saturating_add(step);
                        Some(index)
                    })
                    .collect();
                array.select(Axis(axis), &indices)
            }
            Self::Reshape(shape) => {
                let elements: Vec<T> = array.iter().cloned().collect();
                ArrayD::from_shape_vec(IxDyn(shape), elements).expect("a reshape keeps the elements")
            }
        }
    }
}
