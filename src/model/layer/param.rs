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
    /// How it is drawn.
    pub(crate) init: Init,
}

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A product's matrix, whose rows give one element each.
    Matrix,
    /// A vector that is added.
    Bias,
    /// Vectors that are multiplied element by element: peepholes.
    Diagonal,
    /// Rows that are looked up.
    Table,
    /// States that a stack begins at.
    State,
}

/// How a parameter is drawn before any training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Init {
    /// Evenly between −bound and bound.
    Uniform(f32),
}

/// The number of elements of `params`.
pub(super) fn count(params: impl Iterator<Item = Param>) -> usize {
    let elements = |param: Param| param.shape.into_iter().fold(1, usize::saturating_mul);
    params.map(elements).fold(0, usize::saturating_add)
}

impl Init {
    /// Evenly between ±1/√n, as PyTorch draws the weights of a sum of `n` terms.
    #[expect(clippy::cast_precision_loss, reason = "the bound of a random draw need not be exact")]
    pub(crate) fn of_terms(n: usize) -> Self {
        Self::Uniform((n as f32).sqrt().recip())
    }
}
