//! Whose formulas a training follows, and how its settings are checked.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// The framework whose formulas, defaults and initial weights a training follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Convention {
    /// PyTorch.
    #[default]
    Torch,
    /// Keras.
    Keras,
}

impl fmt::Display for Convention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torch => "PyTorch",
            Self::Keras => "Keras",
        })
    }
}

/// Makes the error `text` about a setting.
pub(super) fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}

/// Checks that `x` is finite as a 32-bit float, and not negative.
pub(super) fn not_negative(name: &str, x: f64) -> Result<()> {
    check(x >= 0.0 && fits(x), name, "a finite number, 0 or more", x)
}

/// Checks that `x` is finite as a 32-bit float, and above 0.
pub(super) fn positive(name: &str, x: f64) -> Result<()> {
    check(x >= f64::from(f32::MIN_POSITIVE) && fits(x), name, "a finite number, more than 0", x)
}

/// Checks that `x` is a share below 1: 0 ≤ x < 1.
pub(super) fn below_one(name: &str, x: f64) -> Result<()> {
    check((0.0..1.0).contains(&x), name, "at least 0 and less than 1", x)
}

/// Checks that `x` is a share: 0 ≤ x ≤ 1.
pub(super) fn share(name: &str, x: f64) -> Result<()> {
    check((0.0..=1.0).contains(&x), name, "from 0 to 1", x)
}

/// Checks that `n`, the number called `name`, is at least 1.
pub(super) fn at_least_one(name: &str, n: u64) -> Result<()> {
    if n > 0 { Ok(()) } else { Err(wrong(format!("{name}: expected 1 or more, got 0"))) }
}

fn fits(x: f64) -> bool {
    x.abs() <= f64::from(f32::MAX)
}

fn check(is: bool, name: &str, expected: &str, got: f64) -> Result<()> {
    if is { Ok(()) } else { Err(wrong(format!("{name}: expected {expected}, got {got}"))) }
}
