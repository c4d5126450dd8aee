//! Initial states that are weights of the model: where the stacks begin for which a call brings none.
//!
//! Knows a checked call; knows nothing of where weights are kept.

use ndarray::{Array2, ArrayView2, ArrayViewMut3, Axis};

use super::{Call, Input};
use crate::model::Model;

/// A stack, counted from 0, and the states `[L · D, size]` that it learned.
type Learned<'a> = (usize, &'a Array2<f32>, Option<&'a Array2<f32>>);

impl Call {
    /// Begins the stacks of `learned` for which `input` has no states, each row at the same ones.
    ///
    /// A row without a step stays at zero in a model with inputs of its own: so does ONNX Runtime, whatever the states.
    pub(crate) fn begin_learned<'a>(
        &mut self,
        model: &Model,
        input: &Input,
        learned: impl IntoIterator<Item = Learned<'a>>,
    ) {
        let mut learned = learned.into_iter().filter(|(stack, ..)| !input.states.contains_key(stack)).peekable();
        if learned.peek().is_none() {
            return;
        }
        let empty: Vec<usize> = match &self.live {
            Some(live) if !model.has_standard_inputs() => {
                let rows = live.columns().into_iter().enumerate();
                rows.filter(|(_, row)| !row.iter().any(|&live| live)).map(|(row, _)| row).collect()
            }
            _ => Vec::new(),
        };
        for (stack, h, c) in learned {
            let states = &mut self.states[stack];
            spread(states.0.view_mut(), h.view(), &empty);
            if let (Some(own), Some(c)) = (&mut states.1, c) {
                spread(own.view_mut(), c.view(), &empty);
            }
        }
    }
}

/// `[L · D, size]` in each row of `[L · D, B, size]` but those of `empty`.
fn spread(mut states: ArrayViewMut3<'_, f32>, learned: ArrayView2<'_, f32>, empty: &[usize]) {
    for (_, mut row) in states.axis_iter_mut(Axis(1)).enumerate().filter(|(row, _)| !empty.contains(row)) {
        row.assign(&learned);
    }
}
