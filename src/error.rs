//! The one error type of the crate: opaque, with a kind that answers "what can the caller do".
//!
//! Messages read **where: what, expected x, got y; hint**. No dependency's type is in a public signature.

use std::{error, fmt};

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The model's description is wrong or contradicts itself: mend the description.
    Model,
    /// A weight is missing, misnamed, of the wrong shape or of an unread type: mend the weights.
    Weights,
    /// An input, a length, a mask or a state does not fit the model: mend the call.
    Shape,
    /// The work does not fit the device: make it smaller, or choose another device.
    Limits,
    /// There is no such device, or it refused: choose another device.
    Device,
    /// The device was lost in the middle of the work: make a new engine.
    Lost,
    /// A file could not be read or written.
    Io,
}

/// Why something could not be done.
///
/// # Design
///
/// Opaque, one word wide, without `From` for the errors of dependencies: they may change without
/// breaking callers. [`kind`](Self::kind) is for programs, the text is for people.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The same error, with `place: ` before its message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// The same error, with `; hint` after its message.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.0.message = format!("{}; {hint}", self.0.message);
        self
    }

    /// The same error, with the error that caused it as its source.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn error::Error + 'static))
    }
}
