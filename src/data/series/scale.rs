//! The mean and the standard deviation of a column, which scale its numbers for a model.

use crate::error::{Error, ErrorKind, Result};

/// A column of a series, and the scale of its numbers: a model sees `(x − mean) / std`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scale {
    /// The name of the column.
    pub column: String,
    /// The mean of the training rows, in the column's own unit.
    pub mean: f64,
    /// The population standard deviation of the training rows; 1 for a constant column.
    pub std: f64,
}

impl Scale {
    /// Computes the scale of some numbers.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if they are so large that their deviation is not finite.
    pub(super) fn of(column: &str, numbers: &[f64]) -> Result<Self> {
        let Moments { min, max, mean, std } = Moments::of(numbers);
        // Rounding can give equal numbers a small deviation.
        let std = if min == max { 1.0 } else { std };
        let scale = Self { column: column.to_owned(), mean, std };
        scale.check()?;
        Ok(scale)
    }

    /// Checks that numbers can be scaled by it.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if they cannot.
    pub(super) fn check(&self) -> Result<()> {
        if self.mean.is_finite() && self.std.is_normal() && self.std > 0.0 {
            return Ok(());
        }
        let Self { column, mean, std } = self;
        let text = format!("column {column:?}: expected a finite mean and a deviation above 0, got {mean} and {std}");
        Err(Error::new(ErrorKind::Training, text).hint("give the column a larger or a smaller unit"))
    }

    /// Returns a number as a model sees it.
    #[expect(clippy::cast_possible_truncation, reason = "models compute in 32 bits")]
    pub(super) fn seen(&self, number: f64) -> f32 {
        ((number - self.mean) / self.std) as f32
    }

    /// Returns a model's output in the column's own unit.
    pub(super) fn own(&self, seen: f32) -> f64 {
        f64::from(seen) * self.std + self.mean
    }
}

/// Statistics of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    pub(super) std: f64,
}

impl Moments {
    /// Computes the statistics of `numbers`; NaN if there are none.
    #[expect(clippy::cast_precision_loss, reason = "rows are far fewer than 2^52")]
    pub(super) fn of(numbers: &[f64]) -> Self {
        let count = numbers.len() as f64;
        let min = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let max = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = numbers.iter().sum::<f64>() / count;
        let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
        Self { min, max, mean, std: (squares / count).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_is_that_of_the_population() {
        let scale = Scale::of("a", &[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((scale.mean, scale.std), (5.0, 2.0));
        assert_eq!((scale.seen(9.0), scale.own(2.0)), (2.0, 9.0));
        let constant = Scale::of("a", &[0.1; 7]).unwrap();
        assert_eq!(constant.std, 1.0);
        assert!(constant.seen(0.1).abs() < 1e-6);
    }

    #[test]
    fn numbers_without_a_finite_deviation_are_refused() {
        for numbers in [&[1e308, 1e308][..], &[1e200, -1e200], &[0.0, 1e-320]] {
            let error = Scale::of("a", numbers).unwrap_err().to_string();
            assert!(error.starts_with("column \"a\": expected a finite mean and a deviation above 0, got "), "{error}");
        }
    }
}
