//! Convolutions: what they take, with zeros at dead steps, and the operations that they become.

use super::{Flattening, place};
use crate::error::Result;
use crate::layout::{self, Role};
use crate::model::Conv1d;
use crate::plan::lower::ops::{Axis, Convolution, Op, OpKind, Source};

impl Flattening<'_> {
    /// Returns what convolution `layer` of `from` becomes. A linear layer computes one that takes every step by itself.
    pub(super) fn convolution(
        &mut self,
        (layer, conv): (usize, &Conv1d),
        from: &mut Vec<Source>,
        axis: Axis,
    ) -> Result<Vec<OpKind>> {
        let matrix = place(self.layout, Role::Linear { layer })?;
        let taken = self.model.layers[layer].from[0];
        let clock = self.clock(taken)?;
        let time = self.shape.steps(clock).time;
        self.check_steps(layer, axis, [conv.out_steps(time)])?;
        let Some(band) = layout::band(self.model, layer)? else {
            return Ok(self.activated(conv.activation, |activation| OpKind::Linear { matrix, activation }));
        };
        let model = self.model;
        let own = Convolution::of(conv, (matrix, band), (time, self.shape.batch), || model.place(layer))?;
        if !conv.all_steps
            && let Some(kind) = self.zeroed(clock, taken)
        {
            let (axis, features) = (Axis::Steps(clock), model.taken()?[layer].features());
            *from = vec![self.add(Op { layer, stacked: None, kind, from: from.clone(), axis, features })];
        }
        Ok(self.activated(conv.activation, |activation| OpKind::Convolve { conv: own, activation }))
    }
}
