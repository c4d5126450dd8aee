//! Weights: named tensors with shapes checked against a `Model`, in canonical gate order.
//!
//! `Weights::from_tensors` turns [`Tensors`] into `Weights`, and `Weights::to_tensors` does the reverse. Knows models
//! and cells; knows no file format, no layout and no device.

pub(crate) mod dialect;
mod integers;
mod merged;
pub(crate) mod named;
mod norm;
mod random;
pub(crate) mod replace;
mod source;
pub(crate) mod spelling;
mod tensor;
pub(crate) mod tensors;
mod ties;

use std::collections::BTreeMap;

use half::f16;
use ndarray::{Array1, Array2, Array3};

use crate::cell::Peepholes;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Bias, Initial, LayerKind, Model};

pub(crate) use dialect::Part;
pub(crate) use dialect::from_onnx;
pub(crate) use integers::{Scale, round_rows};
pub(crate) use merged::{Named, states_of, sums_of_states};
pub(crate) use named::OF_TRAINING;
pub use norm::NormWeights;
pub use random::draw_supplied;
pub(crate) use replace::Replacement;
pub(crate) use source::{Array, EachPart, Source};
pub use tensor::Tensor;
pub use tensors::{Tensors, non_finite};

/// The weights of a model, layer by layer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Weights {
    /// One for each layer of the model.
    pub layers: Vec<LayerWeights>,
    /// The learned states of stacks with [`Initial::Learned`], by stack, counted from 0
    /// among the model's recurrent layers.
    pub initial: BTreeMap<usize, LearnedStates>,
    /// The name of a tensor that its file holds as integers, if there is one. Such weights cannot be trained.
    pub(crate) integers: Option<String>,
}

impl PartialEq for Weights {
    /// Compares the numbers, however a file holds them.
    fn eq(&self, other: &Self) -> bool {
        (&self.layers, &self.initial) == (&other.layers, &other.initial)
    }
}

impl Weights {
    /// Makes the weights of a model with these layers, whose states begin at zero.
    pub fn new(layers: Vec<LayerWeights>) -> Self {
        Self { layers, initial: BTreeMap::new(), integers: None }
    }

    /// Makes weights of the shapes of `model`, learned states among them, all zero.
    pub(crate) fn zeros(model: &Model) -> Self {
        let mut weights = Self::new(model.layers.iter().map(|layer| LayerWeights::zeros(&layer.kind)).collect());
        for (stack, r) in model.stacks().enumerate().filter(|(_, r)| r.initial == Initial::Learned) {
            let rows = r.num_layers * r.directions();
            let c = (r.cell.states() > 1).then(|| Array2::zeros((rows, r.hidden_size)));
            weights.initial.insert(stack, LearnedStates { h: Array2::zeros((rows, r.state_size())), c });
        }
        weights
    }
}

/// The learned initial states of a stack, the same for every row: layer-major, forward before reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct LearnedStates {
    /// The hidden states, `[L · D, state_size]`.
    pub h: Array2<f32>,
    /// The cell states of an LSTM, `[L · D, H]`.
    pub c: Option<Array2<f32>>,
}

/// The weights of one layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LayerWeights {
    /// A layer without weights.
    None,
    /// The table, `[V, features]`. The weight of an attention's additive scores is a table of one row.
    Embedding(Array2<f32>),
    /// The cells, layer-major, forward before reverse: `[L · D]`.
    Recurrent(Vec<CellWeights>),
    /// The product of a linear layer, and its bias.
    Linear {
        /// `[out_features, in_features]`.
        w: Array2<f32>,
        /// `[out_features]`.
        b: Option<Array1<f32>>,
    },
    /// The kernel of a convolution, and its bias.
    Conv {
        /// `[out_features, in_features / groups, kernel_size]`.
        w: Array3<f32>,
        /// `[out_features]`.
        b: Option<Array1<f32>>,
    },
    /// The numbers of each feature of a layer that normalises, or of a PReLU.
    Norm(NormWeights),
}

impl LayerWeights {
    /// Makes the weights of a layer of `kind`, all zero.
    fn zeros(kind: &LayerKind) -> Self {
        match kind {
            LayerKind::Embedding(e) => Self::Embedding(Array2::zeros((e.num_embeddings, e.embedding_dim))),
            LayerKind::Linear(l) => Self::Linear {
                w: Array2::zeros((l.out_features, l.in_features)),
                b: (l.bias != Bias::None).then(|| Array1::zeros(l.out_features)),
            },
            LayerKind::Conv1d(c) => Self::Conv {
                w: Array3::zeros((c.out_features, c.of_group()[0], c.kernel_size)),
                b: (c.bias != Bias::None).then(|| Array1::zeros(c.out_features)),
            },
            LayerKind::Recurrent(r) => {
                let rows = r.cell.gates() * r.hidden_size;
                let cell = |index: usize| CellWeights {
                    w_x: Array2::zeros((rows, r.layer_input(index / r.directions()).len())),
                    w_h: Array2::zeros((rows, r.state_size())),
                    b_x: (r.bias != Bias::None).then(|| Array1::zeros(rows)),
                    b_h: (r.bias == Bias::Two).then(|| Array1::zeros(rows)),
                    peepholes: (r.peepholes != Peepholes::None).then(|| Array2::zeros((3, r.hidden_size))),
                    w_r: r.proj_size.map(|p| Array2::zeros((p, r.hidden_size))),
                };
                Self::Recurrent((0..r.num_layers * r.directions()).map(cell).collect())
            }
            LayerKind::BatchNorm(_)
            | LayerKind::LayerNorm(_)
            | LayerKind::RmsNorm(_)
            | LayerKind::L2Norm(_)
            | LayerKind::PRelu(_) => NormWeights::zeros(kind),
            LayerKind::Attention(a) if a.weight => Self::Embedding(Array2::zeros((1, a.features))),
            LayerKind::OneHot(_)
            | LayerKind::Attention(_)
            | LayerKind::Select(_)
            | LayerKind::Activation(_)
            | LayerKind::Masking(_)
            | LayerKind::Dropout(_)
            | LayerKind::Join(_)
            | LayerKind::Slice(_)
            | LayerKind::SliceSteps(_)
            | LayerKind::PadSteps(_)
            | LayerKind::GlobalPool(_)
            | LayerKind::WindowPool(_)
            | LayerKind::Repeat(_)
            | LayerKind::Flatten(_)
            | LayerKind::Reshape(_)
            | LayerKind::Permute(_) => Self::None,
        }
    }
}

/// The weights of one layer and direction of a stack, gates in the cell's canonical order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CellWeights {
    /// The input product, `[G · H, I]`.
    pub w_x: Array2<f32>,
    /// The recurrent product, `[G · H, state_size]`.
    pub w_h: Array2<f32>,
    /// The input product's bias, `[G · H]`.
    pub b_x: Option<Array1<f32>>,
    /// The recurrent product's bias, `[G · H]`.
    pub b_h: Option<Array1<f32>>,
    /// The projection, `[proj_size, H]`.
    pub w_r: Option<Array2<f32>>,
    /// An LSTM's peepholes, `[3, H]`: gates input, forget, output.
    pub peepholes: Option<Array2<f32>>,
}

impl CellWeights {
    /// Makes the weights of a cell without biases, projection and peepholes.
    ///
    /// # Shapes
    ///
    /// `w_x` `[G · H, I]`, `w_h` `[G · H, state_size]`.
    pub fn new(w_x: Array2<f32>, w_h: Array2<f32>) -> Self {
        Self { w_x, w_h, b_x: None, b_h: None, w_r: None, peepholes: None }
    }

    /// Sets the input product's bias, `[G · H]`.
    #[must_use]
    pub fn b_x(mut self, bias: Array1<f32>) -> Self {
        self.b_x = Some(bias);
        self
    }

    /// Sets the recurrent product's bias, `[G · H]`.
    #[must_use]
    pub fn b_h(mut self, bias: Array1<f32>) -> Self {
        self.b_h = Some(bias);
        self
    }

    /// Sets the projection, `[proj_size, H]`.
    #[must_use]
    pub fn w_r(mut self, projection: Array2<f32>) -> Self {
        self.w_r = Some(projection);
        self
    }

    /// Sets an LSTM's peepholes, `[3, H]`: gates input, forget, output.
    #[must_use]
    pub fn peepholes(mut self, peepholes: Array2<f32>) -> Self {
        self.peepholes = Some(peepholes);
        self
    }
}

/// Rounds to the nearest 16-bit float.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Weights` if `x` is finite and too large for one.
pub(crate) fn narrowed(x: f32) -> Result<f16> {
    let half = f16::from_f32(x);
    if x.is_finite() && half.is_infinite() {
        let text = format!("expected at most 65504 in magnitude for 16-bit floats, got {x}; use 32-bit floats");
        return Err(Error::new(ErrorKind::Weights, text));
    }
    Ok(half)
}
