//! Weights in 8-bit integers: each row of a matrix is a row of integers times its own scale.
//!
//! A row is the input weights of one unit of a gate. Its scale is max |w| / 127, cut to 17 bits, so that a scale times
//! any of the integers is exact in f32. So every device reads back what was stored, and storing it again gives the same
//! bytes. Knows rows of numbers; knows no model and no file.

use crate::error::{Error, ErrorKind, Result};

/// The largest integer. −128 is left out, so that a row and its negative are stored alike.
const MOST: f32 = 127.0;

/// The bits of a 32-bit float that are cut off a scale, since an integer has seven bits beside its sign.
const CUT: u32 = 0x7f;

/// The factor of a row's integers; 0 for a row of zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale(pub(crate) f32);

impl Scale {
    /// Returns the scale of `row`. A row below some 10⁻³⁶ counts as zeros: a GPU may take a smaller scale for zero.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Weights` if an element is NaN or infinite.
    pub(crate) fn of(row: &[f32]) -> Result<Self> {
        if let Some(bad) = row.iter().find(|w| !w.is_finite()) {
            let text = format!("expected finite numbers for 8-bit integers, got {bad}; use 32-bit floats");
            return Err(Error::new(ErrorKind::Weights, text));
        }
        let most = row.iter().fold(0.0, |most: f32, w| most.max(w.abs()));
        let scale = f32::from_bits((most / MOST).to_bits() & !CUT);
        Ok(Self(if scale.is_normal() { scale } else { 0.0 }))
    }

    /// Returns the integer nearest to `w`, or the even one of two.
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and within the range of the integers")]
    pub(crate) fn integer(self, w: f32) -> i8 {
        if self.0 == 0.0 { 0 } else { (w / self.0).round_ties_even().clamp(-MOST, MOST) as i8 }
    }

    /// Returns the weight that `integer` represents.
    pub(crate) fn weight(self, integer: i8) -> f32 {
        f32::from(integer) * self.0
    }
}

/// Rounds each row of `rows`, of `width` elements, to what integers hold of it.
///
/// # Errors
///
/// As [`Scale::of`].
pub(crate) fn round_rows(rows: &mut [f32], width: usize) -> Result<()> {
    for row in rows.chunks_exact_mut(width.max(1)) {
        let scale = Scale::of(row)?;
        row.iter_mut().for_each(|w| *w = scale.weight(scale.integer(*w)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn integers(row: &[f32]) -> (f32, Vec<i8>) {
        let scale = Scale::of(row).unwrap();
        (scale.0, row.iter().map(|&w| scale.integer(w)).collect())
    }

    #[test]
    fn the_largest_of_a_row_is_127_and_ties_go_to_even() {
        assert_eq!(integers(&[63.5, -63.5, 0.25, 0.75, 1.25, -0.25, 0.0]), (0.5, vec![127, -127, 0, 2, 2, 0, 0]));
        assert_eq!(integers(&[-254.0, 1.0]), (2.0, vec![-127, 0]));
    }

    #[test]
    fn a_row_of_zeros_has_scale_zero_and_so_has_one_of_almost_zeros() {
        assert_eq!(integers(&[0.0, -0.0]), (0.0, vec![0, 0]));
        assert_eq!(integers(&[1e-37, -1e-40]), (0.0, vec![0, 0]));
        assert_eq!(integers(&[]), (0.0, vec![]));
    }

    #[test]
    fn numbers_that_are_not_finite_are_refused() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = Scale::of(&[1.0, bad]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Weights);
            let wanted = format!("expected finite numbers for 8-bit integers, got {bad}; use 32-bit floats");
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn what_integers_hold_is_within_half_a_scale_and_holds_itself() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        for exponent in -110..127 {
            let row: Vec<f32> = (0..40).map(|_| random.random_range(-1.0..1.0) * 2f32.powi(exponent)).collect();
            let (scale, stored) = integers(&row);
            let mut rounded = row.clone();
            round_rows(&mut rounded, row.len()).unwrap();
            for ((&w, &held), &integer) in row.iter().zip(&rounded).zip(&stored) {
                assert_eq!(f64::from(held), f64::from(scale) * f64::from(integer), "exact in f32");
                assert!((f64::from(w) - f64::from(held)).abs() <= 0.502 * f64::from(scale), "{w} became {held}");
            }
            assert_eq!(integers(&rounded), (scale, stored));
        }
        let largest = [f32::MAX, f32::MIN, 0.0];
        assert!(integers(&largest).0.is_finite());
    }
}
