//! A layer's table of parameters: the name, shape, role and initial law of
//! each. All code that counts, checks, draws or reads weights uses this table.
//!
//! Knows no weights and no file. Names are PyTorch's.

/// The name of an embedding's table, and of a linear layer's matrix.
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
    /// Its purpose.
    pub(crate) role: Role,
    /// Its value before training.
    pub(crate) init: Init,
}

/// The role of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// A product's matrix, with one row for each element of the
    /// result: of a linear layer, or of a recurrent layer's input.
    Matrix,
    /// The matrix of a product with a recurrent layer's own states (Keras' recurrent kernel).
    Recurrent,
    /// The matrix that projects an LSTM's hidden states.
    Projection,
    /// A vector that is added.
    Bias,
    /// Vectors that are multiplied element by element: peepholes, the weights of normalisations, the slopes of a PReLU.
    Diagonal,
    /// A table of rows: an embedding.
    Table,
    /// States that a stack begins at.
    State,
    /// A mean or a variance that a batch norm keeps. No gradient reaches it.
    Statistic,
}

/// The initial values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Init {
    /// The least and the largest of random weights, which are drawn uniformly.
    pub(crate) range: [f32; 2],
    /// The law with which PyTorch begins a training.
    pub(crate) torch: Law,
    /// The law with which Keras begins a training.
    pub(crate) keras: Law,
    /// The row that is zero under every law.
    pub(crate) zero_row: Option<usize>,
}

/// The values of a parameter before any training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Law {
    /// Zero.
    Zero,
    /// One in `count` elements from `first` on, and zero elsewhere.
    OneAt {
        /// The first element that is one.
        first: usize,
        /// The number of ones.
        count: usize,
    },
    /// One number.
    Value(f32),
    /// Uniform between −bound and bound.
    Uniform(f64),
    /// Normal, with mean 0 and variance 1.
    Normal,
    /// Orthogonal columns of length 1; orthogonal rows if there are fewer rows than columns.
    Orthogonal,
}

/// Returns the number of elements of `params`.
pub(super) fn count(params: impl Iterator<Item = Param>) -> usize {
    let elements = |param: Param| param.shape.into_iter().fold(1, usize::saturating_mul);
    params.map(elements).fold(0, usize::saturating_add)
}

impl Role {
    /// All roles, in a stable order.
    pub const ALL: [Self; 8] = [
        Self::Matrix,
        Self::Recurrent,
        Self::Projection,
        Self::Bias,
        Self::Diagonal,
        Self::Table,
        Self::State,
        Self::Statistic,
    ];

    /// Whether it is the matrix of a product.
    pub(crate) fn is_product(self) -> bool {
        matches!(self, Self::Matrix | Self::Recurrent | Self::Projection)
    }
}

impl Init {
    /// The range of random weights that need no other.
    pub(crate) const EVEN: [f32; 2] = [-1.0, 1.0];

    /// Uniform between ±1/√n, as PyTorch draws the weights of a sum of `n` terms; under Keras' law as `keras` says.
    #[expect(clippy::cast_precision_loss, reason = "the bound of a random draw need not be exact")]
    pub(crate) fn of_terms(n: usize, keras: Law) -> Self {
        let torch = Law::Uniform((n as f64).sqrt().recip());
        let bound = (n as f32).sqrt().recip();
        Self { range: [-bound, bound], torch, keras, zero_row: None }
    }

    /// The slopes of a PReLU: a quarter, as PyTorch begins them; zero under Keras' law.
    pub(super) fn of_slopes() -> Self {
        Self { range: Self::EVEN, torch: Law::Value(0.25), keras: Law::Zero, zero_row: None }
    }
}

impl Law {
    /// Glorot and Bengio 2010: uniform between ±√(6 / (inputs + outputs)).
    #[expect(clippy::cast_precision_loss, reason = "the bound of a random draw need not be exact")]
    pub(crate) fn glorot(inputs: usize, outputs: usize) -> Self {
        Self::Uniform((6.0 / (inputs as f64 + outputs as f64)).sqrt())
    }
}
