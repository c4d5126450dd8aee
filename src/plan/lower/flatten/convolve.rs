//! Convolutions and pools of windows: what they take, with zeros at dead steps, and the operations that they become.

use super::{Flattening, place};
use crate::error::Result;
use crate::kernel::Mask;
use crate::layout::{self, Role};
use crate::model::{Conv1d, LayerKind, Reduce};
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
        if !conv.all_steps {
            self.zero_dead_steps(layer, from)?;
        }
        Ok(self.activated(conv.activation, |activation| OpKind::Convolve { conv: own, activation }))
    }

    /// Returns the clock whose live steps the windows of layer `layer` take, if that is not all of them. A sum, and a
    /// mean that counts padding, take zeros at dead steps instead.
    pub(super) fn live_windows(
        &mut self,
        (layer, kind): (usize, &LayerKind),
        from: &mut Vec<Source>,
    ) -> Result<Option<usize>> {
        let LayerKind::WindowPool(pool) = kind else { return Ok(None) };
        let clock = self.clock(self.model.layers[layer].from[0])?;
        if pool.all_steps || self.shape.steps(clock).mask == Mask::All {
            return Ok(None);
        }
        if pool.reduce == Reduce::Sum || pool.reduce == Reduce::Mean && pool.counts_padding {
            self.zero_dead_steps(layer, from)?;
            return Ok(None);
        }
        Ok(Some(clock))
    }

    /// Replaces what layer `layer` takes with zeros at dead steps.
    fn zero_dead_steps(&mut self, layer: usize, from: &mut Vec<Source>) -> Result<()> {
        let taken = self.model.layers[layer].from[0];
        let clock = self.clock(taken)?;
        if let Some(kind) = self.zeroed(clock, taken) {
            let (axis, features) = (Axis::Steps(clock), self.model.taken()?[layer].features());
            *from = vec![self.add(Op { layer, stacked: None, kind, from: from.clone(), axis, features })];
        }
        Ok(())
    }
}
