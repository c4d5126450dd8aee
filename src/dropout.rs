//! What dropout drops. It follows from a seed, the update, the layer and place of the dropout, and the
//! element's index in the whole batch. So nothing is stored, and the backward pass draws the same again.
//! Neither the device nor the tiles of a batch change what is dropped.
//!
//! Element n of row b at step t has the counters `(t · B + b, n)`. It is dropped if Threefry's first word for
//! them, under the key of the place, is below `rate · 2³²`. If all steps share a mask, t counts as 0. This is
//! the twin of `shaders/kernel/drop.wgsl`.

use crate::random::threefry;

/// Separates these draws from all others of the same seed.
const PURPOSE: u32 = 0x6472_6f70;

/// The key that one update's dropout is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dropping {
    key: [u32; 2],
}

impl Dropping {
    /// Makes the key of update `update` of a training with `seed`.
    pub(crate) fn new(seed: u64, update: u64) -> Self {
        let [low, high] = halves(update);
        let key = next(halves(seed), PURPOSE, 0);
        Self { key: next(key, high, low) }
    }

    /// Returns the key of place `place` of layer `layer` of a model.
    pub(crate) fn key(self, layer: usize, place: usize) -> [u32; 2] {
        // The layers of a model, and the places of one, are fewer than a word can count.
        let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        next(self.key, word(layer), word(place))
    }
}

/// Makes a key from another.
fn next(key: [u32; 2], counter: u32, index: u32) -> [u32; 2] {
    threefry(key, counter, [index]).map(|[word]| word)
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn halves(n: u64) -> [u32; 2] {
    [n as u32, (n >> 32) as u32]
}

/// Returns the word below which an element is dropped: `rate · 2³²`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of all words, and the last one at most"
)]
pub(crate) fn threshold(rate: f32) -> u32 {
    (f64::from(rate) * 4_294_967_296.0) as u32
}

/// Returns the factor of kept elements: `1 / (1 − rate)`, so that the mean stays; 0 if nothing is to be kept.
pub(crate) fn scale(rate: f32) -> f64 {
    if rate < 1.0 { 1.0 / (1.0 - f64::from(rate)) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_seed_update_layer_and_place() {
        let big = 1 << 32;
        let of = |seed, update, layer, place| Dropping::new(seed, update).key(layer, place);
        let keys = [
            of(0, 1, 0, 0),
            of(1, 1, 0, 0),
            of(big, 1, 0, 0),
            of(0, 2, 0, 0),
            of(0, 1 + big, 0, 0),
            of(0, 1, 1, 0),
            of(0, 1, 0, 1),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|other| other != key), "{i}");
        }
        assert_eq!(of(0, 1, 0, 0), keys[0]);
    }

    #[test]
    fn thresholds_are_shares_of_all_words() {
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(threshold), [0, 1 << 30, 1 << 31, u32::MAX]);
        assert_eq!([0.0, 0.5, 0.75, 1.0].map(scale), [1.0, 2.0, 4.0, 0.0]);
    }
}
