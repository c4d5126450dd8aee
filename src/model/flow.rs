//! What flows between two layers, and the errors of layers that do not fit together.
//!
//! Knows no layer, no weights and no call. What a layer makes of a flow is in the layer's own file.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// What flows between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Flow {
    /// `[B, T]` tokens below this bound.
    Tokens(usize),
    /// `[B, T, F]` features: `parts` equal parts (the directions of a bidirectional layer), `size` each.
    Steps(Features),
    /// `[B, F]` features: the time axis is gone.
    Rows(Features),
}

/// The features of one step: `parts` vectors of `size`, concatenated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// The number of vectors side by side: the directions, or 1.
    pub parts: usize,
    /// The length of each.
    pub size: usize,
}

impl Flow {
    /// Returns the number of distinct tokens, if tokens flow.
    pub fn tokens(self) -> Option<usize> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Steps(_) | Self::Rows(_) => None,
        }
    }

    /// Returns the shape for messages.
    pub(super) fn shape(self) -> String {
        match self {
            Self::Tokens(_) => "[B, T]".into(),
            Self::Steps(features) => format!("[B, T, {}]", features.len()),
            Self::Rows(features) => format!("[B, {}]", features.len()),
        }
    }

    /// Returns the features of a step; for tokens, one feature for each possible token.
    pub(crate) fn features(self) -> Features {
        match self {
            Self::Steps(features) | Self::Rows(features) => features,
            Self::Tokens(tokens) => Features::one(tokens),
        }
    }
}

impl Features {
    /// Creates one vector of `size`.
    pub fn one(size: usize) -> Self {
        Self { parts: 1, size }
    }

    /// Returns the number of all features: `parts · size`.
    pub fn len(self) -> usize {
        self.parts * self.size
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens(tokens) => write!(f, "tokens below {tokens}"),
            Self::Steps(features) => write!(f, "a sequence of {} features", features.len()),
            Self::Rows(features) => write!(f, "{} features without a time axis", features.len()),
        }
    }
}

/// Returns the output of a layer that takes tokens below `most`: `features` at each step.
pub(super) fn vectors(input: Flow, most: usize, features: Features) -> Result<Flow> {
    match input {
        Flow::Tokens(tokens) if tokens > most => unfit(format!("tokens below {most}"), input),
        Flow::Tokens(_) => Ok(Flow::Steps(features)),
        Flow::Steps(_) | Flow::Rows(_) => unfit("tokens (of an input of the model)".into(), input),
    }
}

/// Returns the error of a layer that expects `wanted`.
pub(super) fn unfit(wanted: String, input: Flow) -> Result<Flow> {
    Err(Error::new(ErrorKind::Model, format!("expected {wanted}, got {input}")))
}

/// Checks that `size` is a valid size.
pub(super) fn positive(name: &str, size: usize) -> Result<()> {
    // This bound keeps every product of two sizes within 64 bits.
    match size {
        1..=0x7fff_ffff => Ok(()),
        0 => Err(Error::new(ErrorKind::Model, format!("{name}: expected at least 1, got 0"))),
        _ => Err(Error::new(ErrorKind::Model, format!("{name}: expected at most 2147483647, got {size}"))),
    }
}
