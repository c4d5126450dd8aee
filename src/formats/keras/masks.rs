//! Masks: at which steps there is one, as Keras computes it, and how that is said here.
//!
//! Keras hands a mask from layer to layer beside the tensors, and writes it as operations too. Here a mask belongs to a
//! value: what an `Embedding` or a `Masking` takes out of an input is taken out of all that comes of it. `lay` holds the
//! two against each other. Knows of layers those that make masks.

use std::collections::BTreeSet;

use super::activations::Version;
use super::builder::Builder;
use super::config::wrong;
use super::values::{Known, Source};
use crate::error::Result;
use crate::model::{LayerKind, Value as Edge};

/// What makes a mask: an input of the model, and the bits of the value that stands where there is no step.
pub(super) type Maker = (usize, u32);

/// Those whose steps are taken out.
pub(super) type Makers = BTreeSet<Maker>;

/// A mask of Keras'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// Every step is there.
    None,
    /// The steps that all of these leave.
    Of(Makers),
    /// No step is there: a neutral part of a mask.
    Never,
    /// Masks side by side, of which an operation makes one.
    Several(Vec<Self>),
    /// What cannot be said here.
    Other,
}

impl Mask {
    pub(super) fn of(input: usize, value: f32) -> Self {
        // Both zeros are one number.
        Self::Of(Makers::from([(input, (value + 0.0).to_bits())]))
    }

    /// The steps that either has.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Never, mask) | (mask, Self::Never) => mask,
            (one, other) if one == other => one,
            _ => Self::Other,
        }
    }

    /// The steps that both have.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::None, mask) | (mask, Self::None) => mask,
            (Self::Of(one), Self::Of(other)) => Self::Of(&one | &other),
            _ => Self::Other,
        }
    }

    /// The mask of what a layer joins, by the rules of the Keras that wrote the file. `side_by_side`: features are.
    pub(super) fn joined(masks: Vec<Self>, version: Version, side_by_side: bool) -> Self {
        let none = masks.contains(&Self::None);
        match version {
            // Where one says so, no step is there.
            Version::Two => masks.into_iter().fold(Self::None, Self::and),
            Version::Three if none && !side_by_side => Self::None,
            Version::Three => masks.into_iter().fold(Self::Never, Self::or),
        }
    }
}

impl Builder {
    /// Lays `mask` over what the current layer takes: the value must have it, or none where there is none.
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

    /// `value` as it would be without masks: copies of the layers back to those that make them, which share their weights.
    /// None, where a mask has changed numbers on the way.
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

    /// The mask that `tensors` have where a layer joins them.
    pub(super) fn joined_mask(&self, tensors: &[Known], side_by_side: bool) -> Mask {
        let masks: Vec<_> = tensors.iter().map(|tensor| tensor.mask.clone()).collect();
        let alike = masks.windows(2).all(|two| two[0] == two[1]);
        // Inside a model that is a layer, no operation says how its own Keras 3 joined them.
        if self.depth > 0 && self.version == Version::Three && !alike {
            return Mask::Other;
        }
        Mask::joined(masks, self.version, side_by_side)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_joined_as_each_keras_does() {
        let (a, b) = (Mask::of(0, 0.0), Mask::of(1, -0.0));
        let joined = |masks: [&Mask; 2], version, side| Mask::joined(masks.map(Clone::clone).into(), version, side);
        for side in [false, true] {
            assert_eq!(joined([&a, &a], Version::Three, side), a);
            assert_eq!(joined([&a, &Mask::None], Version::Three, side), Mask::None);
            assert_eq!(joined([&a, &Mask::None], Version::Two, side), a);
            assert_eq!(joined([&a, &b], Version::Three, side), Mask::Other);
            assert_eq!(joined([&a, &b], Version::Two, side), a.clone().and(b.clone()));
        }
        assert_eq!(Mask::of(1, 0.0), b);
        assert_eq!(a.clone().or(Mask::Never), a);
    }
}
