//! Learned initial states: where stacks begin if the call gives no states for them.
//!
//! Knows a checked call; does not know where weights are kept.

use ndarray::{Array2, ArrayView2, ArrayViewMut3, Axis};

use super::Call;
use super::states::{self, Batched};
use crate::error::Result;
use crate::model::Model;

/// A stack, counted from 0, and its learned states `[L · D, size]`.
type Learned<'a> = (usize, &'a Array2<f32>, Option<&'a Array2<f32>>);

impl Call<'_> {
    /// Returns the initial states of each stack in `learned`, the same in each row. The
    /// list is empty if there are none.
    ///
    /// In a model with inputs of its own, a row without a step stays at zero. ONNX Runtime
    /// does the same, whatever the states.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
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

    /// Which rows begin at the learned states of stack `stack`: all of them, except that in a model with inputs of its
    /// own a row without a step stays at zero. ONNX Runtime does the same, whatever the states.
    pub(crate) fn rows_that_learn(&self, model: &Model, stack: usize) -> Vec<usize> {
        let all = model.has_usual_inputs();
        let clock = self.clocks().of_stacks(model).nth(stack).unwrap_or(0);
        let has_step = |row: usize| (0..self.time(clock)).any(|t| self.is_live(clock, t, row));
        (0..self.form.batch).filter(|&row| all || has_step(row)).collect()
    }
}

/// Copies `[L · D, size]` into these rows of `[L · D, B, size]`.
fn spread(mut states: ArrayViewMut3<'_, f32>, learned: ArrayView2<'_, f32>, rows: &[usize]) {
    for &row in rows {
        states.index_axis_mut(Axis(1), row).assign(&learned);
    }
}
