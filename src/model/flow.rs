//! What flows between two layers, and the errors of layers that do not fit together.
//!
//! Knows no layer, no weights and no call: what a layer makes of a flow stands in its own file.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// What flows between two layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// `[B, T]` tokens below the bound.
    Tokens(usize),
    /// `[B, T, F]` features: `parts` equal parts (the directions of a bidirectional layer), `size` each.
    Steps(Features),
    /// `[B, F]` features: the time axis is gone.
    Rows(Features),
}

/// The features of one step: `parts` vectors of `size`, concatenated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Features {
    /// How many vectors stand side by side: the directions, or 1.
    pub parts: usize,
    /// The length of each.
    pub size: usize,
}

impl Flow {
    /// The number of tokens, where tokens flow.
    pub fn tokens(self) -> Option<usize> {
        match self {
            Self::Tokens(tokens) => Some(tokens),
            Self::Steps(_) | Self::Rows(_) => None,
        }
    }

    /// Its shape in messages.
    pub(super) fn shape(self) -> String {
        match self {
            Self::Tokens(_) => "[B, T]".into(),
            Self::Steps(features) => format!("[B, T, {}]", features.len()),
            Self::Rows(features) => format!("[B, {}]", features.len()),
        }
    }

    /// The features of a step; of tokens, one for each that there can be.
    pub(crate) fn features(self) -> Features {
        match self {
            Self::Steps(features) | Self::Rows(features) => features,
            Self::Tokens(tokens) => Features::one(tokens),
        }
    }
}

impl Features {
    /// One vector of `size`.
    pub fn one(size: usize) -> Self {
        Self { parts: 1, size }
    }

    /// All features: `parts · size`.
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

/// What a layer of tokens below `most` gives for `input`: `features` at each step.
pub(super) fn vectors(input: Flow, most: usize, features: Features) -> Result<Flow> {
    match input {
        Flow::Tokens(tokens) if tokens > most => unfit(format!("tokens below {most}"), input),
        Flow::Tokens(_) => Ok(Flow::Steps(features)),
        Flow::Steps(_) | Flow::Rows(_) => unfit("tokens (of an input of the model)".into(), input),
    }
}

/// The error for a layer that takes `wanted`.
pub(super) fn unfit(wanted: String, input: Flow) -> Result<Flow> {
    Err(Error::new(ErrorKind::Model, format!("expected {wanted}, got {input}")))
}

/// Whether `size` can be a size.
pub(super) fn positive(name: &str, size: usize) -> Result<()> {
    // The bound keeps every product of two sizes inside 64 bits.
    match size {
        1..=0x7fff_ffff => Ok(()),
        0 => Err(Error::new(ErrorKind::Model, format!("{name}: expected at least 1, got 0"))),
        _ => Err(Error::new(ErrorKind::Model, format!("{name}: expected at most 2147483647, got {size}"))),
    }
}
