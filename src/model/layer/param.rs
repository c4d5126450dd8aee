//! A layer's table of parameters: what a weight is called, its shape, what it is for and how it begins. Whatever counts,
//! checks, draws or reads weights goes by this table.
//!
//! Knows no weights and no file. Names are PyTorch's.

/// The name of a table or a linear layer's product.
pub(crate) const WEIGHT: &str = "weight";

/// The name of a linear layer's bias.
pub(crate) const BIAS: &str = "bias";

/// A row of the table: one tensor that a layer needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Param {
    /// The name after the layer's prefix.
    pub(crate) name: String,
    /// Its shape, slowest axis first.
    pub(crate) shape: Vec<usize>,
    /// What it is for.
    pub(crate) role: Role,
    /// How it begins.
    pub(crate) init: Init,
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A product's matrix, whose rows give one element each: of a linear layer, or of what goes into a recurrent one.
    Matrix,
    /// The matrix of a product with a recurrent layer's own states (Keras' recurrent kernel).
    Recurrent,
    /// The matrix that projects an LSTM's hidden states.
    Projection,
    /// A vector that is added.
    Bias,
    /// Vectors that are multiplied element by element: peepholes.
    Diagonal,
    /// Rows that are looked up: an embedding.
    Table,
    /// States that a stack begins at.
    State,
}

/// How a parameter begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Init {
    /// Random weights are drawn evenly between −bound and bound.
    pub(crate) bound: f32,
    /// What PyTorch begins a training with.
    pub(crate) torch: Law,
    /// What Keras begins a training with.
    pub(crate) keras: Law,
    /// The row that is zero, whatever the law.
    pub(crate) zero_row: Option<usize>,
}

/// What a parameter is before any training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Zero.
    Zero,
    /// One in `count` elements from `first`, and zero elsewhere.
    OneAt {
        /// The first of them.
        first: usize,
        /// How many.
        count: usize,
    },
    /// Evenly between −bound and bound.
    Uniform(f64),
    /// Normal numbers of mean 0 and variance 1.
    Normal,
    /// Columns of length 1 at right angles; rows, where there are fewer of them than columns.
    Orthogonal,
}

/// The number of elements of `params`.
pub(super) fn count(params: impl Iterator<Item = Param>) -> usize {
    let elements = |param: Param| param.shape.into_iter().fold(1, usize::saturating_mul);
    params.map(elements).fold(0, usize::saturating_add)
}

impl Role {
    /// All of them, in a stable order.
    pub const ALL: [Self; 7] =
        [Self::Matrix, Self::Recurrent, Self::Projection, Self::Bias, Self::Diagonal, Self::Table, Self::State];

    /// Whether it is the matrix of a product.
    pub(crate) fn is_product(self) -> bool {
        matches!(self, Self::Matrix | Self::Recurrent | Self::Projection)
    }
}

impl Init {
    /// Evenly between ±1/√n, as PyTorch draws the weights of a sum of `n` terms; in Keras as `keras` says.
    #[expect(clippy::cast_precision_loss, reason = "the bound of a random draw need not be exact")]
    pub(crate) fn of_terms(n: usize, keras: Law) -> Self {
        let torch = Law::Uniform((n as f64).sqrt().recip());
        Self { bound: (n as f32).sqrt().recip(), torch, keras, zero_row: None }
    }
}

impl Law {
    /// Glorot and Bengio 2010: evenly between ±√(6 / (inputs + outputs)).
    #[expect(clippy::cast_precision_loss, reason = "the bound of a random draw need not be exact")]
    pub(crate) fn glorot(inputs: usize, outputs: usize) -> Self {
        Self::Uniform((6.0 / (inputs as f64 + outputs as f64)).sqrt())
    }
}
