//! Compares the mask that Keras applies to a layer with the mask of the layer's value here.
//!
//! Knows only the layers that make masks.

use super::activations::Version;
use super::builder::Builder;
use super::config::wrong;
use super::masks::Mask;
use super::values::{Known, Source};
use crate::error::Result;
use crate::model::{LayerKind, Value as Edge};

impl Builder {
    /// Applies `mask` to the current layer's input. The input's value
    /// must have that mask; if `mask` is none, it must have none.
    pub(super) fn lay(&mut self, mask: &Mask) -> Result<()> {
        match mask {
            Mask::Of(makers) if *makers == self.now.held => Ok(()),
            Mask::None if self.now.held.is_empty() => Ok(()),
            Mask::None => {
                let source = match self.now.source {
                    Source::Whole(value) => self.bare(value).map(Source::Whole),
                    Source::Part { of, first, count, all } => {
                        self.bare(of).map(|of| Source::Part { of, first, count, all })
                    }
                };
                self.now.source = source.ok_or_else(|| {
                    let text = "expected no mask, which Keras lays not over this layer, got a sequence of which a recurrent \
                                layer under one has taken steps out; leave mask_zero or Masking out, or give this layer \
                                the mask (mask=…)";
                    wrong(text.into())
                })?;
                self.now.held.clear();
                Ok(())
            }
            Mask::Of(_) if self.now.held.is_empty() => Err(wrong(format!(
                "mask: expected that of its own input, got another, which {} does not have here; give no mask, or that \
                 of the Embedding or the Masking that this input comes from",
                self.now.from
            ))),
            Mask::Of(_) | Mask::Never | Mask::Several(_) | Mask::Other => Err(wrong(
                "mask: expected the steps that all inputs have from which its own comes, got other ones, as Keras joins \
                 masks; mask them alike, or leave mask_zero or Masking out"
                    .into(),
            )),
        }
    }

    /// Returns `value` without masks. Layers back to those that make the masks are copied, and
    /// the copies share their weights. Returns `None` if a mask has changed numbers before.
    fn bare(&mut self, value: Edge) -> Option<Edge> {
        if let Some(&known) = self.bare.get(&value) {
            return known;
        }
        let bare = self.copied_bare(value);
        self.bare.insert(value, bare);
        bare
    }

    fn copied_bare(&mut self, value: Edge) -> Option<Edge> {
        let Edge::Layer(index, _) = value else { return Some(value) };
        let mut layer = self.model.layers[index].clone();
        match &mut layer.kind {
            LayerKind::Masking(masking) if masking.value.get() == 0.0 => return Some(layer.from[0]),
            LayerKind::Masking(_) | LayerKind::Recurrent(_) => return None,
            LayerKind::Embedding(table) => table.mask_token = None,
            // Keras' slice has no mask, whatever a recurrent layer before it has taken out.
            LayerKind::SliceSteps(slice) if self.now.unlike.is_none() && self.bare(layer.from[0]).is_none() => {
                slice.all_steps = true;
            }
            _ => {
                let from = layer.from.iter().map(|&value| self.bare(value)).collect::<Option<Vec<_>>>()?;
                if from == layer.from {
                    return Some(value);
                }
                layer.from = from;
            }
        }
        Some(self.copy(index, layer))
    }

    /// Returns the mask of a layer that joins `tensors`, either their features or their numbers.
    pub(super) fn joined_mask(&self, tensors: &[Known], side_by_side: bool) -> Mask {
        let masks: Vec<_> = tensors.iter().map(|tensor| tensor.mask.clone()).collect();
        let alike = masks.windows(2).all(|two| two[0] == two[1]);
        // In an inner model, no operation shows how its version of Keras 3 joined the masks.
        if self.depth > 0 && self.version == Version::Three && !alike {
            return Mask::Other;
        }
        Mask::joined(masks, self.version, side_by_side)
    }
}
