//! Masks: which steps are live, as Keras computes it, and how that is expressed here.
//!
//! Keras passes a mask from layer to layer beside the tensors, and also writes masks as operations.
//! Here a mask belongs to a value. The steps that an `Embedding` or a `Masking` masks in an input
//! are masked in every value computed from it. `laid` compares the two. Knows no layer and no value.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::activations::Version;
use super::config::wrong;
use crate::error::Result;

/// The origin of a mask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Maker {
    /// An input of the model, and the bits of the value that marks padding.
    Input(usize, u32),
    /// Some of the steps of a mask.
    Stretch(SliceOf, Makers),
    /// One mask after the other.
    Pieces(Vec<Piece>),
}

/// The origins of a mask: a step is masked if any of them masks it.
pub(super) type Makers = BTreeSet<Maker>;

/// The bounds of a slice over time, and how far apart its steps are.
pub(super) type SliceOf = (i64, Option<i64>, usize);

/// A piece of a mask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    /// A piece with these origins.
    Masked(Makers),
    /// A piece without masked steps: the name of the layer that gives it, if there are several such pieces.
    Whole(Option<Rc<str>>),
}

/// The most parts of a mask. No model needs more.
const MOST_PARTS: usize = 256;

/// Returns the origins of the concatenation of `pieces`. Each piece has its origins, and the layer that gives it.
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
    // If there is only one, the others determine which it is.
    if whole == 1 {
        pieces.iter_mut().for_each(|piece| {
            if let Piece::Whole(name) = piece {
                *name = None
            }
        });
    }
    limited(Makers::from([Maker::Pieces(pieces)]))
}

/// Returns the origins of the steps `bounds` of a mask.
pub(super) fn in_stretch(bounds: SliceOf, makers: &Makers) -> Result<Makers> {
    if makers.is_empty() || bounds == (0, None, 1) {
        return Ok(makers.clone());
    }
    limited(Makers::from([Maker::Stretch(bounds, makers.clone())]))
}

/// Bounds the size of masks in masks, which grow with each layer.
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

/// A mask of Keras.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// Every step is live.
    None,
    /// The steps that none of these masks.
    Of(Makers),
    /// No step is live: a neutral part of a mask.
    Never,
    /// Several masks, which an operation combines into one.
    Several(Vec<Self>),
    /// A mask that cannot be expressed here.
    Other,
}

impl Mask {
    pub(super) fn of(input: usize, value: f32) -> Self {
        // Both zeros are the same number.
        Self::Of(Makers::from([Maker::Input(input, (value + 0.0).to_bits())]))
    }

    /// Returns the steps that are live in either.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, _) | (_, Self::None) => Self::None,
            (Self::Never, mask) | (mask, Self::Never) => mask,
            (one, other) if one == other => one,
            _ => Self::Other,
        }
    }

    /// Returns the steps that are live in both.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::None, mask) | (mask, Self::None) => mask,
            (Self::Of(one), Self::Of(other)) => Self::Of(&one | &other),
            _ => Self::Other,
        }
    }

    /// Returns the origins of the mask, if it can be expressed by them.
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

    /// Concatenates masks. Each comes with the name of the layer that gives it.
    pub(super) fn in_pieces(masks: &[(&Self, &Rc<str>)]) -> Result<Self> {
        let makers: Option<Vec<Makers>> = masks.iter().map(|(mask, _)| mask.makers()).collect();
        let Some(makers) = makers else { return Ok(Self::Other) };
        in_pieces(makers.iter().zip(masks.iter().map(|&(_, from)| from))).map(Self::of_makers)
    }

    /// Returns some of the steps of a mask.
    pub(super) fn in_stretch(&self, bounds: SliceOf) -> Result<Self> {
        let Some(makers) = self.makers() else { return Ok(Self::Other) };
        in_stretch(bounds, &makers).map(Self::of_makers)
    }

    /// Returns the mask of a join, by the rules of the Keras that wrote
    /// the file. `side_by_side` is true if features are concatenated.
    pub(super) fn joined(masks: Vec<Self>, version: Version, side_by_side: bool) -> Self {
        let none = masks.contains(&Self::None);
        match version {
            // A step is masked if any of the masks masks it.
            Version::Two => masks.into_iter().fold(Self::None, Self::and),
            Version::Three if none && !side_by_side => Self::None,
            Version::Three => masks.into_iter().fold(Self::Never, Self::or),
        }
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
        let (a, b) = (Mask::of(0, 0.0), Mask::of(1, 0.0));
        let pieces = |all: [(&Mask, &str); 3]| {
            let names = all.map(|(_, from)| Rc::from(from));
            let all: Vec<_> = all.iter().zip(&names).map(|(&(mask, _), name)| (mask, name)).collect();
            Mask::in_pieces(&all).expect("few pieces")
        };
        let [x, y] = [(&Mask::None, "x"), (&Mask::None, "y")];
        assert_eq!(pieces([x, y, x]), Mask::None);
        assert_eq!(pieces([x, (&a, "a"), (&b, "b")]), pieces([y, (&a, "c"), (&b, "b")]));
        assert_ne!(pieces([x, (&a, "a"), (&b, "b")]), pieces([(&a, "a"), x, (&b, "b")]));
        assert_ne!(pieces([x, (&a, "a"), y]), pieces([y, (&a, "a"), x]), "whose steps stand before is not told");
        assert_eq!(pieces([x, (&Mask::Never, "a"), y]), Mask::Other);
        assert_eq!(a.in_stretch((0, None, 1)).expect("all of it"), a);
        assert_ne!(a.in_stretch((1, None, 1)).expect("a part"), a);
        let mut mask = a;
        let grows = (0..MOST_PARTS).try_for_each(|_| {
            mask = Mask::in_pieces(&[(&mask, &"x".into()), (&mask, &"x".into())])?;
            Ok::<_, crate::error::Error>(())
        });
        assert!(grows.expect_err("too many").to_string().contains("pieces"));
    }
}
