//! Random numbers of a tensor: Threefry's words by seed, tensor and element, so that no draw depends on another.
//!
//! They are made by sums, products, quotients and roots of 64-bit floats,
//! which every machine rounds alike. No logarithm of a library is used.

use std::f64::consts::LN_2;

use crate::random::threefry;

/// Counters that are drawn side by side.
const LANES: usize = 16;

/// Separates these draws from all others of the same seed.
const PURPOSE: u32 = 0x696e_6974;

/// The random numbers of one tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draws {
    key: [u32; 2],
}

impl Draws {
    /// Makes the draws of the tensor `index` of a model.
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    pub(super) fn new(seed: u64, index: u32) -> Self {
        let [[first], [second]] = threefry([seed as u32, (seed >> 32) as u32], index, [PURPOSE]);
        Self { key: [first, second] }
    }

    /// Fills `to` with uniform numbers between −1 and 1, beginning with pair `first`.
    pub(super) fn uniform(self, first: u64, to: &mut [f64]) {
        self.pairs(first, to, |_, pair| pair);
    }

    /// Fills `to` with normal numbers of mean 0 and variance 1, beginning with pair `first`. By Marsaglia's polar
    /// method a point in the circle gives two numbers. A point outside is drawn again, at the next counter.
    pub(super) fn normal(self, first: u64, to: &mut [f64]) {
        self.pairs(first, to, |at, first| {
            let again = (1..).map(|attempt| self.pair(attempt, at));
            let inside = |[x, y]: [f64; 2]| {
                let square = x * x + y * y;
                (square < 1.0).then(|| (-2.0 * logarithm(square) / square).sqrt())
            };
            let found = [first].into_iter().chain(again).find_map(|pair| inside(pair).map(|by| pair.map(|x| by * x)));
            found.expect("points are drawn until one is inside")
        });
    }

    /// Fills `to`, two by two, with the values of `f` for a place and its first pair of uniform numbers.
    fn pairs(self, first: u64, to: &mut [f64], f: impl Fn(u64, [f64; 2]) -> [f64; 2]) {
        for (first, to) in (first..).step_by(LANES).zip(to.chunks_mut(2 * LANES)) {
            let [xs, ys] = self.words::<LANES>(0, first);
            for ((at, to), (x, y)) in (first..).zip(to.chunks_mut(2)).zip(xs.into_iter().zip(ys)) {
                let pair = f(at, [even(x), even(y)]);
                to.copy_from_slice(&pair[..to.len()]);
            }
        }
    }

    /// Returns the pair of uniform numbers at a place, for one of many attempts.
    fn pair(self, attempt: u32, at: u64) -> [f64; 2] {
        let [[x], [y]] = self.words::<1>(attempt, at);
        [even(x), even(y)]
    }

    /// Returns the words of N places from `first` on. The counter
    /// holds the attempt and, above it, the bits of a place beyond 32.
    #[expect(clippy::cast_possible_truncation, reason = "the upper half is in the counter")]
    fn words<const N: usize>(self, attempt: u32, first: u64) -> [[u32; N]; 2] {
        let mut index = [first as u32; N];
        index.iter_mut().zip(0..).for_each(|(index, lane)| *index = index.wrapping_add(lane));
        threefry(self.key, attempt.wrapping_add(((first >> 32) as u32) << 16), index)
    }
}

/// Returns `(word + 1/2) / 2³¹ − 1`: one of 2³² numbers evenly spaced between −1 and 1, none of them 0.
fn even(word: u32) -> f64 {
    (f64::from(word) + 0.5) / 2_147_483_648.0 - 1.0
}

/// Returns `ln(x)` for positive, normal x: x = 2ⁿ m with m between
/// √½ and √2, and `ln m = 2 artanh((m − 1)/(m + 1))` by its series.
fn logarithm(x: f64) -> f64 {
    const ROOT_OF_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = x.to_bits();
    let exponent = bits.wrapping_sub(ROOT_OF_HALF).cast_signed() >> 52;
    let m = f64::from_bits(bits.wrapping_sub((exponent << 52).cast_unsigned()));
    let z = (m - 1.0) / (m + 1.0);
    let square = z * z;
    // 12 terms: z² is at most 0.0295, so the next term is below 2⁻⁵³.
    let series = (0..12_u32).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    #[expect(clippy::cast_precision_loss, reason = "an exponent has 11 bits")]
    let power = exponent as f64 * LN_2;
    power + 2.0 * z * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_has_all_its_digits() {
        let mut worst = 0.0_f64;
        for i in 1..20_000_u32 {
            let x = f64::from(i) / 9_999.7;
            for x in [x, x * 1e-18, 1.0 - x * 1e-9] {
                worst = worst.max((logarithm(x) - x.ln()).abs() / x.ln().abs());
            }
        }
        assert!(worst < 1e-14, "{worst}");
    }

    #[test]
    fn numbers_are_even_or_normal() {
        let mut numbers = vec![0.0; 200_001];
        let moment = |numbers: &[f64], power: i32| {
            numbers.iter().map(|x| x.powi(power)).sum::<f64>() / f64::from(u32::try_from(numbers.len()).unwrap())
        };
        Draws::new(3, 0).uniform(0, &mut numbers);
        assert!(numbers.iter().all(|x| x.abs() < 1.0));
        for (power, want) in [(1, 0.0), (2, 1.0 / 3.0), (3, 0.0), (4, 0.2)] {
            assert!((moment(&numbers, power) - want).abs() < 0.005, "{power}");
        }
        Draws::new(3, 0).normal(0, &mut numbers);
        for (power, want, within) in [(1, 0.0, 0.01), (2, 1.0, 0.015), (3, 0.0, 0.03), (4, 3.0, 0.1)] {
            assert!((moment(&numbers, power) - want).abs() < within, "{power}: {}", moment(&numbers, power));
        }
        assert!(numbers.iter().any(|x| x.abs() > 4.0));
    }

    #[test]
    fn a_number_depends_on_its_seed_its_tensor_and_its_place() {
        let drawn = |seed, index, n| {
            let mut numbers = vec![0.0; n];
            Draws::new(seed, index).normal(0, &mut numbers);
            numbers
        };
        assert_eq!(drawn(1, 0, 100)[..7], drawn(1, 0, 7)[..]);
        let mut later = [0.0; 6];
        Draws::new(1, 0).normal(20, &mut later);
        assert_eq!(drawn(1, 0, 100)[40..46], later);
        let all = [drawn(1, 0, 40), drawn(2, 0, 40), drawn(1 << 32, 0, 40), drawn(1, 1, 40)];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other.iter().zip(one).all(|(a, b)| a.to_bits() != b.to_bits())));
        }
    }

    #[test]
    fn places_beyond_32_bits_have_numbers_of_their_own() {
        let draws = Draws::new(0, 0);
        assert_ne!(draws.pair(0, 5), draws.pair(0, (1 << 32) + 5));
    }
}
