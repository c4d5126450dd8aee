//! What flows between two layers, and what each layer makes of it: where a model is found not to fit together.
//!
//! Knows layers; knows no weights and no call.

use std::fmt;

use super::layers::{LayerKind, Select};
use super::recurrent::Recurrent;
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

impl LayerKind {
    /// What the layer gives for `input`. `recurrent` is the last recurrent stack before it.
    pub(super) fn flow(&self, input: Flow, recurrent: Option<&Recurrent>) -> Result<Flow> {
        let unfit = |wants: String| Err(Error::new(ErrorKind::Model, format!("expected {wants}, got {input}")));
        let vectors = |size| match input {
            Flow::Tokens(_) => Ok(Flow::Steps(Features::one(size))),
            _ => unfit("tokens (it can only be the first layer)".into()),
        };
        match self {
            Self::Embedding(e) => {
                positive("num_embeddings", e.num_embeddings)?;
                positive("embedding_dim", e.embedding_dim)?;
                if let Some(token) = e.mask_token.filter(|&token| token >= e.num_embeddings) {
                    let text =
                        format!("mask_token: expected less than {} (num_embeddings), got {token}", e.num_embeddings);
                    return Err(Error::new(ErrorKind::Model, text));
                }
                vectors(e.embedding_dim)
            }
            Self::OneHot(o) => {
                positive("num_classes", o.num_classes)?;
                vectors(o.num_classes)
            }
            Self::Recurrent(stack) => {
                stack.check()?;
                match input {
                    Flow::Steps(f) if f.len() == stack.input_size => Ok(Flow::Steps(stack.output())),
                    _ => unfit(format!("a sequence of {} features (input_size)", stack.input_size)),
                }
            }
            Self::Select(select) => match (select, input, recurrent) {
                (Select::AllSteps, Flow::Steps(f), _) => Ok(Flow::Steps(f)),
                (Select::LastStep, Flow::Steps(f), _) => Ok(Flow::Rows(f)),
                (Select::FinalHidden, Flow::Steps(_), Some(r)) => Ok(Flow::Rows(r.hidden())),
                (Select::LastOutput, Flow::Steps(_), Some(r)) => Ok(Flow::Rows(r.output())),
                (Select::FinalHidden | Select::LastOutput, Flow::Steps(_), None) => {
                    unfit("a recurrent layer before it".into())
                }
                _ => unfit("a sequence".into()),
            },
            Self::Linear(l) => {
                positive("in_features", l.in_features)?;
                positive("out_features", l.out_features)?;
                match input {
                    Flow::Steps(f) if f.len() == l.in_features => Ok(Flow::Steps(Features::one(l.out_features))),
                    Flow::Rows(f) if f.len() == l.in_features => Ok(Flow::Rows(Features::one(l.out_features))),
                    _ => unfit(format!("{} features (in_features)", l.in_features)),
                }
            }
            Self::Activation(_) | Self::Dropout(_) if matches!(input, Flow::Tokens(_)) => unfit("features".into()),
            Self::Activation(function) => function.check().map(|()| input),
            Self::Dropout(dropout) if !(0.0..=1.0).contains(&dropout.rate.get()) => {
                let text = format!("rate: expected 0 to 1, got {}", dropout.rate);
                Err(Error::new(ErrorKind::Model, text))
            }
            Self::Dropout(_) => Ok(input),
            Self::Masking(m) => match input {
                Flow::Steps(f) if f.len() == m.features => Ok(Flow::Steps(f)),
                _ => unfit(format!("a sequence of {} features", m.features)),
            },
        }
    }
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
