//! How weights are stored: in a file, in a device's memory, and as a word on a command line.
//!
//! One enum for all stages, so none of them converts. Knows nothing else.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// How weights are stored, in a file or on a device. Inputs, states, sums and outputs are always 32-bit floats.
///
/// It is written and parsed by its [`name`](Self::name): `f32`, `f16`, `int8`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats: half the memory, about three decimal digits.
    F16,
    /// 8-bit integers for the matrices of products, with a scale for each row: a quarter of the memory, about two
    /// decimal digits. Biases, peepholes, embeddings and learned states stay 32-bit floats.
    I8,
}

impl Precision {
    /// Every precision.
    pub const ALL: &'static [Self] = &[Self::F32, Self::F16, Self::I8];

    /// Returns the name that the command line, plans and benchmarks use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "int8",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;

    /// Parses a [`name`](Self::name).
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Weights`] if no precision has this name.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|precision| precision.name() == name).ok_or_else(|| {
            let names = Self::ALL.iter().map(|precision| precision.name()).collect::<Vec<_>>().join(", ");
            Error::new(ErrorKind::Weights, format!("expected a precision ({names}), got `{name}`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_precision_is_parsed_by_the_name_that_it_is_written_with() {
        for &precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        let refused = "bf16".parse::<Precision>().unwrap_err();
        assert_eq!(refused.to_string(), "expected a precision (f32, f16, int8), got `bf16`");
    }
}
