//! The layers of a model, each with the sizes it has in PyTorch: plain data, built by a chain of calls.
//!
//! Knows cells and activations; knows no weights.

use std::fmt;

use super::recurrent::{Bias, Direction, Recurrent};
use crate::cell::{Activation, Constant};

/// A layer and the prefix of its tensors' names.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What the layer does.
    pub kind: LayerKind,
    /// The prefix of its tensors: with `lstm.`, the first is `lstm.weight_ih_l0`.
    pub weights: String,
}

/// What a layer does.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// Tokens to vectors, by a table.
    Embedding(Embedding),
    /// Tokens to unit vectors.
    OneHot(OneHot),
    /// Where there is no step, told by the input itself.
    Masking(Masking),
    /// A stack of recurrent layers.
    Recurrent(Recurrent),
    /// Part of a sequence.
    Select(Select),
    /// A dense product over the features.
    Linear(Linear),
    /// A nonlinearity.
    Activation(Activation),
    /// What training drops at random. The identity at inference.
    Dropout(Dropout),
}

/// A table of vectors: token `v` becomes row `v`. Tensor: `weight` `[num_embeddings, embedding_dim]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// V, the number of rows.
    pub num_embeddings: usize,
    /// The length of each row.
    pub embedding_dim: usize,
    /// The token whose row got no gradient in training. Kept for round trips: it changes no number at inference.
    pub padding_idx: Option<usize>,
    /// The token that stands where there is no step: 0 with Keras' `mask_zero`.
    pub mask_token: Option<usize>,
}

/// A step whose features all equal `value` is none: the first layer of a model, before anything changes them (Keras'
/// `Masking`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Masking {
    /// I, the features of the input.
    pub features: usize,
    /// The value.
    pub value: Constant,
}

/// Dropout, kept for round trips: it changes no number at inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropout {
    /// The share that training drops, 0 to 1.
    pub rate: Constant,
    /// What it drops.
    pub drops: Drops,
}

/// What dropout drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Drops {
    /// Single elements.
    #[default]
    Elements,
    /// A feature at every step of a sequence (Keras' `SpatialDropout1D`).
    Features,
}

/// Token `v` becomes the vector of `num_classes` elements with a one at `v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneHot {
    /// V, the length of the vector.
    pub num_classes: usize,
}

/// Which part of a sequence goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Select {
    /// Every step.
    AllSteps,
    /// The output at the last time index.
    LastStep,
    /// The last layer's final hidden state, forward then reverse: each row's own last step.
    FinalHidden,
    /// The last layer's output that is computed last (Keras' `return_sequences=False`): of the last step forward, of the
    /// first in reverse, merged as its outputs are; of a dead step what the layer's padding gives.
    LastOutput,
}

/// `y = f(x·Wᵀ + b)` over the features. Tensors: `weight` `[out_features, in_features]`, `bias` `[out_features]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear {
    /// The features of the input.
    pub in_features: usize,
    /// The features of the output.
    pub out_features: usize,
    /// Whether there is a bias: [`Bias::One`] or [`Bias::None`].
    pub bias: Bias,
    /// What the product goes through.
    pub activation: Activation,
}

impl Embedding {
    /// A table of `num_embeddings` rows of `embedding_dim`.
    pub fn new(num_embeddings: usize, embedding_dim: usize) -> Self {
        Self { num_embeddings, embedding_dim, padding_idx: None, mask_token: None }
    }
}

impl Embedding {
    /// The same, with steps only where the token is another than `token` (Keras' `mask_zero` is 0).
    #[must_use]
    pub fn mask_token(mut self, token: usize) -> Self {
        self.mask_token = Some(token);
        self
    }
}

impl Masking {
    /// No step where all of `features` features are `value`.
    pub fn new(features: usize, value: f32) -> Self {
        Self { features, value: value.into() }
    }
}

impl Dropout {
    /// Drops single elements at `rate`.
    pub fn new(rate: f32) -> Self {
        Self { rate: rate.into(), drops: Drops::Elements }
    }
}

impl OneHot {
    /// Unit vectors of `num_classes` elements.
    pub fn new(num_classes: usize) -> Self {
        Self { num_classes }
    }
}

impl Linear {
    /// A product with a bias and no activation.
    pub fn new(in_features: usize, out_features: usize) -> Self {
        Self { in_features, out_features, bias: Bias::One, activation: Activation::Linear }
    }

    /// The same with an activation.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// The same without a bias.
    #[must_use]
    pub fn no_bias(mut self) -> Self {
        self.bias = Bias::None;
        self
    }
}

impl LayerKind {
    /// The name of the layer, as descriptions write it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedding(_) => "embedding",
            Self::OneHot(_) => "one_hot",
            Self::Masking(_) => "masking",
            Self::Recurrent(r) => r.cell.name(),
            Self::Select(_) => "select",
            Self::Linear(_) => "linear",
            Self::Activation(_) => "activation",
            Self::Dropout(_) => "dropout",
        }
    }

    /// The number of trainable parameters.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Embedding(e) => e.num_embeddings * e.embedding_dim,
            Self::Recurrent(r) => r.parameters(),
            Self::Linear(l) => l.out_features * (l.in_features + usize::from(l.bias != Bias::None)),
            Self::OneHot(_) | Self::Masking(_) | Self::Select(_) | Self::Activation(_) | Self::Dropout(_) => 0,
        }
    }
}

impl From<Embedding> for LayerKind {
    fn from(layer: Embedding) -> Self {
        Self::Embedding(layer)
    }
}

impl From<OneHot> for LayerKind {
    fn from(layer: OneHot) -> Self {
        Self::OneHot(layer)
    }
}

impl From<Masking> for LayerKind {
    fn from(layer: Masking) -> Self {
        Self::Masking(layer)
    }
}

impl From<Dropout> for LayerKind {
    fn from(layer: Dropout) -> Self {
        Self::Dropout(layer)
    }
}

impl From<Recurrent> for LayerKind {
    fn from(layer: Recurrent) -> Self {
        Self::Recurrent(layer)
    }
}

impl From<Select> for LayerKind {
    fn from(layer: Select) -> Self {
        Self::Select(layer)
    }
}

impl From<Linear> for LayerKind {
    fn from(layer: Linear) -> Self {
        Self::Linear(layer)
    }
}

impl From<Activation> for LayerKind {
    fn from(layer: Activation) -> Self {
        Self::Activation(layer)
    }
}

impl fmt::Display for LayerKind {
    /// The layer in a few words: `lstm(64→256)×2`, `linear(256→65) softmax`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding(e) => write!(f, "embedding({}→{})", e.num_embeddings, e.embedding_dim),
            Self::OneHot(o) => write!(f, "one_hot({})", o.num_classes),
            Self::Recurrent(r) => {
                write!(f, "{}({}→{}", r.cell, r.input_size, r.hidden_size)?;
                if let Some(p) = r.proj_size {
                    write!(f, "→{p}")?;
                }
                f.write_str(")")?;
                if r.num_layers > 1 {
                    write!(f, "×{}", r.num_layers)?;
                }
                match r.direction {
                    Direction::Forward => Ok(()),
                    Direction::Reverse => f.write_str(" reverse"),
                    Direction::Backwards => f.write_str(" backwards"),
                    Direction::Both => f.write_str(" bidirectional"),
                }
            }
            Self::Select(Select::AllSteps) => f.write_str("all_steps"),
            Self::Select(Select::LastStep) => f.write_str("last_step"),
            Self::Select(Select::FinalHidden) => f.write_str("final_hidden"),
            Self::Select(Select::LastOutput) => f.write_str("last_output"),
            Self::Masking(m) => write!(f, "masking({})", m.value),
            Self::Dropout(d) => write!(f, "dropout({})", d.rate),
            Self::Linear(l) => {
                write!(f, "linear({}→{})", l.in_features, l.out_features)?;
                match l.activation {
                    Activation::Linear => Ok(()),
                    activation => write!(f, " {activation}"),
                }
            }
            Self::Activation(activation) => write!(f, "{activation}"),
        }
    }
}
