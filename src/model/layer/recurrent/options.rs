//! The options of a recurrent stack, with their words in a description.

/// The direction of a recurrent layer through time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// First step to last.
    Forward,
    /// Last step to first. The outputs are in the order of the input (ONNX's `reverse`).
    Reverse,
    /// Last step to first. The outputs are in the order of computation,
    /// so that the first is of the last step (Keras' `go_backwards`).
    Backwards,
    /// Both directions, forward and reverse.
    Both,
}

impl Direction {
    /// The words in a description for the directions that `bidirectional` cannot express.
    pub(crate) const WORDS: [(&str, Self); 2] = [("reverse", Self::Reverse), ("backwards", Self::Backwards)];
}

/// How the outputs of a layer's two directions are merged. Final states are never merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Merge {
    /// Concatenates them, forward then reverse.
    #[default]
    Concat,
    /// Adds them.
    Sum,
    /// Averages them.
    Average,
    /// Multiplies them.
    Product,
}

impl Merge {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 4] =
        [("concat", Self::Concat), ("sum", Self::Sum), ("ave", Self::Average), ("mul", Self::Product)];
}

/// The output of a dead step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Padding {
    /// Zero (PyTorch, ONNX, Keras' `zero_output_for_mask`).
    #[default]
    Zero,
    /// The output of the last live step before it, in the direction's own order; zero before the first (Keras).
    Held,
}

impl Padding {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 2] = [("zero", Self::Zero), ("held", Self::Held)];
}

/// How long the states of a stack are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StateLifetime {
    /// During one call: each call begins at zero or at the states that it is given.
    #[default]
    Call,
    /// Between the calls of an engine (Keras' `stateful`): a call
    /// that is given no states begins where the last one ended.
    Engine,
}

/// The initial states of a stack in a call that gives none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Initial {
    /// Zero.
    #[default]
    Zero,
    /// Weights of the model, the same for every row: `h_0` `[L · D, state_size]`, and an LSTM's `c_0` `[L · D, H]`.
    Learned,
}

impl Initial {
    /// The word for each in a description.
    pub(crate) const WORDS: [(&str, Self); 2] = [("zero", Self::Zero), ("learned", Self::Learned)];
}

/// The bias vectors of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bias {
    /// None.
    None,
    /// One, added to the input product (Keras).
    One,
    /// One for the input product and one for the recurrent product (PyTorch, cuDNN).
    Two,
}
