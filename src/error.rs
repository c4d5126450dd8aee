//! The one error type of the crate: opaque, with a kind that answers "what can the caller do"; and memory, the want of
//! which is an error like any other.
//!
//! Messages read **where: what, expected x, got y; hint**. No dependency's type is in a public signature.

use std::{error, fmt};

use bytemuck::Zeroable;

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
    /// What a training is told is out of range or contradicts itself: mend the settings.
    Training,
    /// The work does not fit the device: make it smaller, or choose another device.
    Limits,
    /// There is no such device, or it refused: choose another device.
    Device,
    /// The device was lost in the middle of the work: make a new engine.
    Lost,
    /// A file could not be read or written.
    Io,
    /// The crate contradicts itself: nothing in the call is to blame. Report it.
    Internal,
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

/// What to do where a call takes more memory than there is.
pub(crate) const SMALLER_CALL: &str = "try fewer steps a call or a smaller batch";

/// What to do where a model takes more memory than there is.
pub(crate) const SMALLER_MODEL: &str = "try a smaller model";

/// As many zeros as `dims` say, for `what`. Sizes are the user's: where there is no memory for them, that is an error
/// with `hint`, and no abort.
///
/// # Errors
///
/// Kind `Limits`.
pub(crate) fn zeros<T: Zeroable>(what: impl fmt::Display, dims: &[usize], hint: &str) -> Result<Vec<T>> {
    let len = dims.iter().fold(1_usize, |len, &n| len.saturating_mul(n));
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| {
        let bytes = len.saturating_mul(size_of::<T>());
        let text = format!("{what}: needs {bytes} bytes of memory, which this machine does not give; {hint}");
        Error::new(ErrorKind::Limits, text)
    })
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), source: None }))
    }

    /// An error of kind `Internal`: `message` says what a bug of this crate left wrong.
    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, format!("{message}; this is a bug of gatewave, please report it"))
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

/// The first `shown` of `names`, and how many more there are.
pub(crate) fn some_of<N: AsRef<str>>(names: impl Iterator<Item = N>, shown: usize) -> String {
    let names: Vec<N> = names.collect();
    let mut text = names.iter().take(shown).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > shown {
        text += &format!(" and {} more", names.len() - shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_an_error_with_its_size() {
        for dims in [[1 << 40, 1 << 19], [usize::MAX, usize::MAX]] {
            let error = zeros::<f32>("slot x", &dims, SMALLER_CALL).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limits);
            let text = error.to_string();
            assert!(
                text.starts_with("slot x: needs ") && text.ends_with("; try fewer steps a call or a smaller batch")
            );
        }
        assert_eq!(zeros::<f32>("slot x", &[2, 3], SMALLER_CALL).unwrap(), [0.0; 6]);
    }
}
