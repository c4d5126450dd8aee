//! Initial states that are weights of the model: where the stacks begin for which a call brings none.
//!
//! Knows a checked call; knows nothing of where weights are kept.

use ndarray::{Array2, ArrayView2, ArrayViewMut3, Axis};

use super::Call;
use super::states::{self, Batched};
use crate::error::Result;
use crate::model::Model;

/// A stack, counted from 0, and the states `[L · D, size]` that it learned.
type Learned<'a> = (usize, &'a Array2<f32>, Option<&'a Array2<f32>>);

impl Call<'_> {
    /// What each stack of `model` that is among `learned` begins with, each row at the same states; nothing of a model
    /// without such stacks.
    ///
    /// A row without a step stays at zero in a model with inputs of its own: so does ONNX Runtime, whatever the states.
    ///
    /// # Errors
    ///
    /// Kind `Limits`, where there is no memory for them.
    pub(crate) fn learned<'b>(
        &self,
        model: &Model,
        learned: impl IntoIterator<Item = Learned<'b>>,
    ) -> Result<Vec<Option<Batched>>> {
        let mut all = Vec::new();
        for (index, h, c) in learned {
            let stack = model.stacks().nth(index).expect("checked weights");
            let (mut own, mut cell) = states::initial(stack, self.form)?;
            let clock = self.clocks().of_stacks(model).nth(index).unwrap_or(0);
            let live =
                |row: usize| model.has_usual_inputs() || (0..self.time(clock)).any(|t| self.is_live(clock, t, row));
            spread(own.view_mut(), h.view(), live);
            if let (Some(own), Some(c)) = (&mut cell, c) {
                spread(own.view_mut(), c.view(), live);
            }
            all.resize_with(all.len().max(index + 1), || None);
            all[index] = Some((own, cell));
        }
        Ok(all)
    }
}

/// `[L · D, size]` in each row of `[L · D, B, size]` that is `live`.
fn spread(mut states: ArrayViewMut3<'_, f32>, learned: ArrayView2<'_, f32>, live: impl Fn(usize) -> bool) {
    for (_, mut row) in states.axis_iter_mut(Axis(1)).enumerate().filter(|(row, _)| live(*row)) {
        row.assign(&learned);
    }
}
