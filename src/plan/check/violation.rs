//! What is wrong with a plan, in words.

use std::fmt::{self, Display};

use crate::error::{Error, ErrorKind};

/// The reason why a plan cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It needs more than the device has, and a smaller plan may fit. The text names both.
    Exceeds(String),
    /// It contradicts itself. `lower` makes no such plan of any size, so this is a bug.
    Malformed(String),
}

impl Violation {
    /// Returns the violation with `place: ` before its text.
    pub(super) fn at(self, place: impl Display) -> Self {
        match self {
            Self::Exceeds(text) => Self::Exceeds(format!("{place}: {text}")),
            Self::Malformed(text) => Self::Malformed(format!("{place}: {text}")),
        }
    }

    /// Returns an error of kind `Limits` if the plan exceeds them, or of kind `Internal` if it is malformed.
    pub fn into_error(self) -> Error {
        match self {
            Self::Exceeds(text) => Error::new(ErrorKind::Limits, text),
            Self::Malformed(text) => Error::internal(text),
        }
    }
}

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Exceeds(text) | Self::Malformed(text)) = self;
        f.write_str(text)
    }
}
