//! Examples in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayD, ArrayViewD, Axis};

use crate::error::Result;
use crate::named::{Examples, NamedTensors, Values};

/// Tensors in memory, each with its axis of rows.
#[derive(Debug)]
pub(super) struct InMemoryExamples {
    pub(super) tensors: BTreeMap<String, (Values, Axis)>,
    pub(super) rows: usize,
    /// The name of the tensor that holds the length of each row.
    pub(super) lengths: Option<String>,
    /// The name of the mask, and its time axis.
    pub(super) mask: Option<(String, Axis)>,
}

impl Examples for InMemoryExamples {
    fn rows(&self) -> usize {
        self.rows
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let part = |(values, axis): &(Values, Axis)| match values {
            Values::F32(array) => Values::F32(array.select(*axis, rows)),
            Values::I64(array) => Values::I64(array.select(*axis, rows)),
        };
        Ok(self.tensors.iter().map(|(name, held)| (name.clone(), part(held))).collect())
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        if let Some((Values::I64(lengths), _)) = self.lengths.as_ref().and_then(|name| self.tensors.get(name)) {
            return Some(steps(lengths));
        }
        let (name, time) = self.mask.as_ref()?;
        let (mask, rows) = self.tensors.get(name)?;
        Some(lengths_of_mask(&mask.to_f32().view(), *rows, *time).collect())
    }
}

/// Returns how many steps lie between the first and the last live one of each row of a mask.
pub fn lengths_of_mask(mask: &ArrayViewD<'_, f32>, rows: Axis, time: Axis) -> impl Iterator<Item = usize> {
    // Once the axis of rows is removed, the time axis moves down if it came after it.
    let time = Axis(time.index() - usize::from(rows < time));
    mask.axis_iter(rows).map(move |row| live_steps(&row, time).map_or(0, |live| live.len()))
}

/// Returns the range from the first live step to the last one, whatever lies between; none if no step is live.
pub(super) fn live_steps(mask: &ArrayViewD<'_, f32>, time: Axis) -> Option<Range<usize>> {
    let is_live = |step: &usize| mask.index_axis(time, *step).iter().any(|live| *live != 0.0);
    let steps = 0..mask.len_of(time);
    let last = steps.clone().rfind(is_live)?;
    Some(steps.into_iter().find(is_live)?..last + 1)
}

/// Returns lengths as numbers of steps. Negative ones were refused when the tensors came.
fn steps(lengths: &ArrayD<i64>) -> Vec<usize> {
    lengths.iter().map(|length| usize::try_from(*length).unwrap_or_default()).collect()
}
