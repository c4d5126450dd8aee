//! Weights: named tensors, each shape checked against a `Model`, in canonical gate order.
//!
//! Readers turn the bytes of a file into [`Tensors`]; `Weights::from_tensors` turns those into `Weights`.
//! Knows models and cells; knows no layout and no device.

use ndarray::{Array1, Array2};

/// The weights of a model, layer by layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// One for each layer of the model.
    pub layers: Vec<LayerWeights>,
}

/// The weights of one layer.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerWeights {
    /// The layer has none.
    None,
    /// The table, `[V, features]`.
    Embedding(Array2<f32>),
    /// The cells, layer-major, forward before reverse: `[L · D]`.
    Recurrent(Vec<CellWeights>),
    /// A product.
    Linear {
        /// `[out_features, in_features]`.
        w: Array2<f32>,
        /// `[out_features]`.
        b: Option<Array1<f32>>,
    },
}

/// The weights of one layer and direction of a stack, gates in the cell's canonical order.
#[derive(Clone, Debug, PartialEq)]
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
}
