//! The layer `embedding`: tokens to vectors, by a table.

use std::{fmt, iter};

use super::Kind;
use super::param::{Init, Law, Param, Role, WEIGHT};
use crate::error::{Error, ErrorKind, Result};
use crate::model::flow::{Features, Flow, positive, vectors};

/// A table of vectors: token `v` becomes row `v`. Tensor: `weight` `[num_embeddings, embedding_dim]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Embedding {
    /// V, the number of rows.
    pub num_embeddings: usize,
    /// The length of each row.
    pub embedding_dim: usize,
    /// The token whose row gets no gradient in training. It changes no number at inference.
    pub padding_idx: Option<usize>,
    /// The token that marks padding: 0 with Keras' `mask_zero`.
    pub mask_token: Option<usize>,
}

impl Embedding {
    /// The keys of its description besides `type` and `weights`.
    pub(crate) const KEYS: [&'static str; 4] = ["num_embeddings", "embedding_dim", "padding_idx", "mask_token"];

    /// Creates a table of `num_embeddings` rows of `embedding_dim`.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Self { num_embeddings, embedding_dim, padding_idx: None, mask_token: None }
    }

    /// Sets the token whose row begins as zeros and gets no gradient in training (PyTorch's `padding_idx`).
    #[must_use]
    pub fn padding_idx(mut self, token: usize) -> Self {
        self.padding_idx = Some(token);
        self
    }

    /// Sets the token that marks padding: there are steps only
    /// where the token is not `token` (Keras' `mask_zero` is 0).
    #[must_use]
    pub fn mask_token(mut self, token: usize) -> Self {
        self.mask_token = Some(token);
        self
    }
}

impl Kind for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn takes(&self) -> Option<Flow> {
        Some(Flow::Tokens(self.num_embeddings))
    }

    fn flow(&self, input: Flow) -> Result<Flow> {
        positive("num_embeddings", self.num_embeddings)?;
        positive("embedding_dim", self.embedding_dim)?;
        if let Some(token) = self.mask_token.filter(|&token| token >= self.num_embeddings) {
            let text = format!("mask_token: expected less than {} (num_embeddings), got {token}", self.num_embeddings);
            return Err(Error::new(ErrorKind::Model, text));
        }
        vectors(input, self.num_embeddings, Features::one(self.embedding_dim))
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Param> + '_> {
        let shape = vec![self.num_embeddings, self.embedding_dim];
        // Keras has no padding_idx, and trains the row that `mask_zero` masks.
        let init =
            Init { range: Init::EVEN, torch: Law::Normal, keras: Law::Uniform(0.05), zero_row: self.padding_idx };
        Box::new(iter::once(Param { name: WEIGHT.into(), shape, role: Role::Table, init }))
    }

    fn short(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "embedding({}→{})", self.num_embeddings, self.embedding_dim)
    }

    fn class(&self) -> &'static str {
        "Embedding"
    }
}
