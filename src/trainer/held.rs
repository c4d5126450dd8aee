//! Examples that are in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayD, ArrayViewD, Axis};

use crate::error::Result;
use crate::named::{Examples, NamedTensors, Values};

/// Tensors in memory, each with the axis of its rows.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) tensors: BTreeMap<String, (Values, Axis)>,
    pub(super) rows: usize,
    /// The tensor that says how long each row is.
    pub(super) lengths: Option<String>,
    /// The tensor that says where each row has steps, and the axis of these.
    pub(super) mask: Option<(String, Axis)>,
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
        if let Some((Values::Whole(lengths), _)) = self.lengths.as_ref().and_then(|name| self.tensors.get(name)) {
            return Some(steps(lengths));
        }
        let (name, time) = self.mask.as_ref()?;
        let (mask, rows) = self.tensors.get(name)?;
        let mask = mask.real();
        // Of the axes, the one of the steps is left where the rows' is taken away.
        let time = Axis(time.index() - usize::from(rows < time));
        Some(mask.axis_iter(*rows).map(|row| live_steps(&row, time).map_or(0, |live| live.len())).collect())
    }
}

/// From the first step that is there to the last one, whatever is between them; none where no step is there.
pub(super) fn live_steps(mask: &ArrayViewD<'_, f32>, time: Axis) -> Option<Range<usize>> {
    let is_live = |step: &usize| mask.index_axis(time, *step).iter().any(|live| *live != 0.0);
    let steps = 0..mask.len_of(time);
    let last = steps.clone().rfind(is_live)?;
    Some(steps.into_iter().find(is_live)?..last + 1)
}

/// Lengths as numbers of steps. One below 0 was refused when the tensors came.
fn steps(lengths: &ArrayD<i64>) -> Vec<usize> {
    lengths.iter().map(|length| usize::try_from(*length).unwrap_or_default()).collect()
}
