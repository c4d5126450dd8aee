//! Examples that are in memory.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Axis};

use crate::error::Result;
use crate::named::{Examples, NamedTensors, Values};

/// Tensors in memory, each with the axis of its rows.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tensors: BTreeMap<String, (Values, Axis)>,
    pub(super) rows: usize,
    /// The tensor that says how long each row is.
    pub(super) lengths: Option<String>,
}

impl Examples for Held {
    fn rows(&self) -> usize {
        self.rows
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let part = |(values, axis): &(Values, Axis)| match values {
            Values::Real(array) => Values::Real(array.select(*axis, rows)),
            Values::Whole(array) => Values::Whole(array.select(*axis, rows)),
        };
        Ok(self.tensors.iter().map(|(name, held)| (name.clone(), part(held))).collect())
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        match &self.tensors.get(self.lengths.as_ref()?)?.0 {
            Values::Whole(lengths) => Some(steps(lengths)),
            Values::Real(_) => None,
        }
    }
}

/// Lengths as numbers of steps. One below 0 was refused when the tensors came.
fn steps(lengths: &ArrayD<i64>) -> Vec<usize> {
    lengths.iter().map(|length| usize::try_from(*length).unwrap_or_default()).collect()
}
