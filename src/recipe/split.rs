//! `validation_split`: how many of the rows are trained on.

use crate::error::{Error, ErrorKind, Result};

/// Returns how many of `rows` come before the last `share` of them (Keras' `validation_split`).
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if either part would be empty.
pub(crate) fn rows_before_split(rows: usize, share: f64) -> Result<usize> {
    // K trainers/data_adapters/array_slicing.py: ⌊n (1 − f)⌋.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of the rows, which are far fewer than 2^52"
    )]
    let first = if (0.0..1.0).contains(&share) { (rows as f64 * (1.0 - share)).floor() as usize } else { 0 };
    if first == 0 || first >= rows {
        let text = format!(
            "validation_split: expected a share between 0 and 1 that leaves rows to train on and to validate with, got \
             {share} for {rows} rows"
        );
        return Err(Error::new(ErrorKind::Training, text));
    }
    Ok(first)
}
