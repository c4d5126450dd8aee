//! Masks: at which steps there is one, as Keras computes it, and how that is said here.
//!
//! Keras hands a mask from layer to layer beside the tensors, and writes it as operations too. Here a mask belongs to a
//! value: what an `Embedding` or a `Masking` takes out of an input is taken out of all that comes of it. `lay` holds the
//! two against each other. Knows of layers those that make masks.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::activations::Version;
use super::builder::Builder;
use super::config::wrong;
use super::values::{Known, Source};
use crate::error::Result;
use crate::model::{LayerKind, Value as Edge};

/// What makes a mask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Maker {
    /// An input of the model, and the bits of the value that stands where there is no step.
    Input(usize, u32),
    /// Some of the steps of a mask.
    Stretch(SliceOf, Makers),
    /// One mask after the other.
    Pieces(Vec<Piece>),
}

/// Those whose steps are taken out.
pub(super) type Makers = BTreeSet<Maker>;

/// The bounds of a slice over time.
pub(super) type SliceOf = (i64, Option<i64>);

/// A piece of a mask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// What these take steps out of.
    Masked(Makers),
    /// All steps of what a layer gives: its name, where there are several such pieces.
    Whole(Option<Rc<str>>),
}

/// More parts than this a mask of no model has.
const MOST_PARTS: usize = 256;

/// What takes steps out of `pieces`, one after the other. Of each: what takes steps out of it, and who gives it.
pub(super) fn in_pieces<'a>(pieces: impl IntoIterator<Item = (&'a Makers, &'a Rc<str>)>) -> Result<Makers> {
    let piece = |(makers, from): (&Makers, &Rc<str>)| match makers.is_empty() {
        true => Piece::Whole(Some(from.clone())),
        false => Piece::Masked(makers.clone()),
    };
    let mut pieces: Vec<Piece> = pieces.into_iter().map(piece).collect();
    let whole = pieces.iter().filter(|piece| matches!(piece, Piece::Whole(_))).count();
    if whole == pieces.len() {
        return Ok(Makers::new());
    }
    // Where there is one, the others say which it is.
    if whole == 1 {
        pieces.iter_mut().for_each(|piece| {
            if let Piece::Whole(name) = piece {
                *name = None
            }
        });
    }
    limited(Makers::from([Maker::Pieces(pieces)]))
}

/// What takes steps out of a stretch of what `makers` take steps out of.
pub(super) fn in_stretch(bounds: SliceOf, makers: &Makers) -> Result<Makers> {
    if makers.is_empty() || bounds == (0, None) {
        return Ok(makers.clone());
    }
    limited(Makers::from([Maker::Stretch(bounds, makers.clone())]))
}

/// Masks in masks grow with each layer.
fn limited(makers: Makers) -> Result<Makers> {
    fn parts(makers: &Makers) -> usize {
        let inner = |maker: &Maker| match maker {
            Maker::Input(..) => 0,
            Maker::Stretch(_, of) => parts(of),
            Maker::Pieces(pieces) => {
                let of = |piece: &Piece| if let Piece::Masked(of) = piece { parts(of) } else { 1 };
                pieces.iter().map(of).sum()
            }
        };
        makers.iter().map(|maker| 1 + inner(maker)).sum()
    }
    match parts(&makers) {
        0..=MOST_PARTS => Ok(makers),
        got => Err(wrong(format!("mask: expected one of at most {MOST_PARTS} pieces, got {got}"))),
    }
}

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
        Self::Of(Makers::from([Maker::Input(input, (value + 0.0).to_bits())]))
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

    /// What takes steps out, where that can be said.
    fn makers(&self) -> Option<Makers> {
        match self {
            Self::None => Some(Makers::new()),
            Self::Of(makers) => Some(makers.clone()),
            Self::Never | Self::Several(_) | Self::Other => None,
        }
    }

    fn of_makers(makers: Makers) -> Self {
        if makers.is_empty() { Self::None } else { Self::Of(makers) }
    }

    /// The masks of `tensors`, one after the other.
    pub(super) fn in_pieces(tensors: &[&Known]) -> Result<Self> {
        let makers: Option<Vec<Makers>> = tensors.iter().map(|tensor| tensor.mask.makers()).collect();
        let Some(makers) = makers else { return Ok(Self::Other) };
        in_pieces(makers.iter().zip(tensors.iter().map(|tensor| &tensor.from))).map(Self::of_makers)
    }

    /// Some of the steps of a mask.
    pub(super) fn in_stretch(&self, bounds: SliceOf) -> Result<Self> {
        let Some(makers) = self.makers() else { return Ok(Self::Other) };
        in_stretch(bounds, &makers).map(Self::of_makers)
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

    /// The mask that `tensors` have where a layer joins their features or their numbers.
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

    #[test]
    fn pieces_of_masks_are_equal_where_they_take_out_the_same_steps() {
        let known = |mask: &Mask, from: &str| Known { mask: mask.clone(), ..Known::steps(Mask::None, &from.into()) };
        let (a, b) = (Mask::of(0, 0.0), Mask::of(1, 0.0));
        let pieces = |all: [(&Mask, &str); 3]| {
            let all = all.map(|(mask, from)| known(mask, from));
            Mask::in_pieces(&all.each_ref()).expect("few pieces")
        };
        let [x, y] = [(&Mask::None, "x"), (&Mask::None, "y")];
        assert_eq!(pieces([x, y, x]), Mask::None);
        assert_eq!(pieces([x, (&a, "a"), (&b, "b")]), pieces([y, (&a, "c"), (&b, "b")]));
        assert_ne!(pieces([x, (&a, "a"), (&b, "b")]), pieces([(&a, "a"), x, (&b, "b")]));
        assert_ne!(pieces([x, (&a, "a"), y]), pieces([y, (&a, "a"), x]), "whose steps stand before is not told");
        assert_eq!(pieces([x, (&Mask::Never, "a"), y]), Mask::Other);
        assert_eq!(a.in_stretch((0, None)).expect("all of it"), a);
        assert_ne!(a.in_stretch((1, None)).expect("a part"), a);
        let mut mask = a;
        let grows = (0..MOST_PARTS).try_for_each(|_| {
            mask = Mask::in_pieces(&[&known(&mask, "x"), &known(&mask, "x")])?;
            Ok::<_, crate::error::Error>(())
        });
        assert!(grows.expect_err("too many").to_string().contains("pieces"));
    }
}
