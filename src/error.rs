//! The one error type of the crate: opaque, with a kind that answers "what can the caller do?".
//! Also allocation that returns an error when memory runs out.
//!
//! Messages read **where: what, expected x, got y; hint**. No dependency's type is in a public signature.

use std::{error, fmt};

use bytemuck::Zeroable;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The model's description is wrong or contradicts itself: correct the description.
    Model,
    /// A weight is missing, misnamed, or of a wrong shape or an unsupported type: correct the weights.
    Weights,
    /// An input, a length, a mask or a state does not fit the model: correct the call.
    Shape,
    /// A setting of a training is out of range, or settings contradict each other: correct the settings.
    Training,
    /// A number is NaN or infinite: look for it in the weights and the inputs, or train with a smaller learning rate.
    Numeric,
    /// The results of earlier work must be received first: receive them, then try again.
    Busy,
    /// The work does not fit the device: make it smaller, or choose another device.
    Limits,
    /// There is no such device, or it refused the work: choose another device.
    Device,
    /// The device was lost during the work: make a new engine.
    Lost,
    /// A file could not be read or written.
    Io,
    /// A bug of this crate: nothing in the call is to blame. Report it.
    Internal,
}

/// An error of this crate: what went wrong, and where.
///
/// # Design
///
/// Opaque and one word wide. There is no `From` for the errors of dependencies, so they may change without
/// breaking callers. [`kind`](Self::kind), [`layer`](Self::layer), [`node`](Self::node) and
/// [`tensor`](Self::tensor) are for programs; the text is for people.
///
/// # Example
///
/// ```
/// use gatewave::weights::{Tensor, Tensors};
/// use gatewave::{ErrorKind, Linear, Model, Weights};
///
/// let model = Model::new().named_layer("head.", Linear::new(4, 2).bias(false));
/// let tensors: Tensors = [("head.weight", Tensor::new([4, 2], vec![0.0; 8]))].into_iter().collect();
/// let error = Weights::from_tensors(&model, tensors).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Weights);
/// assert_eq!((error.layer(), error.tensor()), (Some("0"), Some("head.weight")));
/// assert_eq!(
///     error.to_string(),
///     "layer 0 linear: head.weight: expected [2, 4], got [4, 2]; is it transposed?"
/// );
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn error::Error + Send + Sync>>,
    layer: Option<String>,
    node: Option<String>,
    tensor: Option<String>,
    input: Option<String>,
}

/// The hint if a call needs more memory than there is.
pub(crate) const SMALLER_CALL: &str = "try fewer steps a call or a smaller batch";

/// The hint if a model needs more memory than there is.
pub(crate) const SMALLER_MODEL: &str = "try a smaller model";

/// Allocates zeros of shape `dims`, for `what`. Sizes come from the user, so running
/// out of memory is an error with `hint`, not an abort.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
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
    /// Makes an error of `kind` with the text `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            layer: None,
            node: None,
            tensor: None,
            input: None,
        }))
    }

    /// Makes an error of kind `ErrorKind::Internal`; `message` says what a bug of this crate left wrong.
    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Internal, format!("{message}; this is a bug of gatewave, please report it"))
    }

    /// Returns the kind, which says what a caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the layer that the error is about, if it is about one: its name, or its index if it
    /// has no name. A Keras layer goes by the name in its file.
    pub fn layer(&self) -> Option<&str> {
        self.0.layer.as_deref()
    }

    /// Returns the node of an ONNX graph that the error is about, if it is about one. It is the node's name, or the
    /// name of its first output if it has none.
    pub fn node(&self) -> Option<&str> {
        self.0.node.as_deref()
    }

    /// Returns the name of the tensor of weights that the error is about, if it is about one.
    pub fn tensor(&self) -> Option<&str> {
        self.0.tensor.as_deref()
    }

    /// Returns the input of an ONNX graph whose number decides what the graph computes, if the error asks for it.
    /// [`Reader::set`](crate::formats::Reader::set) sets it.
    pub fn input(&self) -> Option<&str> {
        self.0.input.as_deref()
    }

    /// Sets the result of [`layer`](Self::layer), unless it is already set:
    /// the innermost place wins. The message stays.
    #[must_use]
    pub(crate) fn of_layer(mut self, name: impl Into<String>) -> Self {
        self.0.layer.get_or_insert_with(|| name.into());
        self
    }

    /// Sets the result of [`node`](Self::node), as [`of_layer`](Self::of_layer) does for layers.
    #[must_use]
    #[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only the reader of ONNX files has nodes"))]
    pub(crate) fn of_node(mut self, name: impl Into<String>) -> Self {
        self.0.node.get_or_insert_with(|| name.into());
        self
    }

    /// Sets the result of [`input`](Self::input).
    #[must_use]
    #[cfg_attr(not(feature = "onnx"), allow(dead_code, reason = "only the reader of ONNX files has such inputs"))]
    pub(crate) fn of_input(mut self, name: impl Into<String>) -> Self {
        self.0.input.get_or_insert_with(|| name.into());
        self
    }

    /// Sets the result of [`tensor`](Self::tensor), as [`of_layer`](Self::of_layer) does for layers.
    #[must_use]
    pub(crate) fn of_tensor(mut self, name: impl Into<String>) -> Self {
        self.0.tensor.get_or_insert_with(|| name.into());
        self
    }

    /// Puts `name: ` before the message, and sets the tensor to `name` unless it is set.
    #[must_use]
    pub(crate) fn at_tensor(self, name: &str) -> Self {
        self.of_tensor(name).at(name)
    }

    /// Puts `place: ` before the message.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Puts `; hint` after the message, unless it ends so: an error of a part passes through the whole.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        let hint = format!("; {hint}");
        if !self.0.message.ends_with(&hint) {
            self.0.message.push_str(&hint);
        }
        self
    }

    /// Sets the source: the error that caused this one.
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

/// Makes the error for a format whose reader is not part of this build; it says which feature to add.
#[cfg(any(test, not(all(feature = "keras", feature = "onnx", feature = "torch", feature = "csv"))))]
pub(crate) fn not_built(feature: &str) -> Error {
    let text = format!(
        "this format is not read: gatewave was built without the feature `{feature}`; add it to the line of gatewave in \
         Cargo.toml: features = [\"{feature}\"]"
    );
    Error::new(ErrorKind::Io, text)
}

/// Lists the first `shown` of `names`, and how many more there are.
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
    fn an_error_knows_the_innermost_layer_node_and_tensor_that_it_is_of() {
        let error = Error::new(ErrorKind::Weights, "too large");
        assert_eq!((error.layer(), error.node(), error.tensor()), (None, None, None));
        let error =
            error.at_tensor("b").of_tensor("a").of_layer("inner").of_node("n").at("layer 3 inner").of_layer("3");
        assert_eq!((error.layer(), error.node(), error.tensor()), (Some("inner"), Some("n"), Some("b")));
        assert_eq!(error.to_string(), "layer 3 inner: b: too large");
    }

    #[test]
    fn what_is_not_built_says_what_to_add_to_which_file() {
        assert_eq!(
            not_built("keras").to_string(),
            "this format is not read: gatewave was built without the feature `keras`; add it to the line of gatewave in \
             Cargo.toml: features = [\"keras\"]"
        );
    }

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
