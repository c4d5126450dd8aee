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
            let rows = self.rows_that_learn(model, index);
            spread(own.view_mut(), h.view(), &rows);
            if let (Some(own), Some(c)) = (&mut cell, c) {
                spread(own.view_mut(), c.view(), &rows);
            }
            all.resize_with(all.len().max(index + 1), || None);
            all[index] = Some((own, cell));
        }
        Ok(all)
    }

    /// Which rows begin at what stack `stack` has learned: all, but in a model with inputs of its own a row without a step
    /// stays at zero. So does ONNX Runtime, whatever the states.
    pub(crate) fn rows_that_learn(&self, model: &Model, stack: usize) -> Vec<usize> {
        let all = model.has_usual_inputs();
        let clock = self.clocks().of_stacks(model).nth(stack).unwrap_or(0);
        let has_step = |row: usize| (0..self.time(clock)).any(|t| self.is_live(clock, t, row));
        (0..self.form.batch).filter(|&row| all || has_step(row)).collect()
    }
}

/// `[L · D, size]` in these rows of `[L · D, B, size]`.
fn spread(mut states: ArrayViewMut3<'_, f32>, learned: ArrayView2<'_, f32>, rows: &[usize]) {
    for &row in rows {
        states.index_axis_mut(Axis(1), row).assign(&learned);
    }
}
