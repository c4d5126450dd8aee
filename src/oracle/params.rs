//! The weights of a model in f64, and their gradients, which have the same shapes.
//!
//! Knows weights and the tables of tensors; knows no equation.

use std::collections::BTreeMap;
use std::iter;

use ndarray::{Array, Array1, Array2, Array3, ArrayD, ArrayViewMutD, Dimension};

use crate::cell::Cell;
use crate::model::{LayerKind, Model};
use crate::weights::{CellWeights, LayerWeights, LearnedStates, Weights};

/// The weights of a model.
#[derive(Clone, Debug)]
pub(super) struct Params {
    /// One for each layer.
    pub(super) layers: Vec<LayerParams>,
    /// The learned initial states, by stack: hidden states, and an LSTM's cell states, `[L · D, size]`.
    pub(super) initial: BTreeMap<usize, (Array2<f64>, Option<Array2<f64>>)>,
}

/// The weights of a layer.
#[derive(Clone, Debug)]
pub(super) enum LayerParams {
    /// No weights.
    None,
    /// The table, `[V, features]`.
    Embedding(Array2<f64>),
    /// The cells, layer-major, forward before reverse.
    Recurrent(Vec<CellParams>),
    /// The numbers of each feature of a layer that normalises.
    Norm(NormParams),
    /// A matrix, `[out_features, in_features]`, and its bias.
    Linear { w: Array2<f64>, b: Option<Array1<f64>> },
    /// A kernel, `[out_features, in_features / groups, kernel_size]`, and its bias.
    Conv { w: Array3<f64>, b: Option<Array1<f64>> },
}

/// The weights of a layer that normalises: one number for each feature, if there are any.
#[derive(Clone, Debug)]
pub(super) struct NormParams {
    /// What the result is multiplied with.
    pub(super) weight: Option<Array1<f64>>,
    /// What is added to it.
    pub(super) bias: Option<Array1<f64>>,
    /// The mean and the variance of a batch norm.
    pub(super) statistics: Option<[Array1<f64>; 2]>,
}

/// The weights of a cell.
#[derive(Clone, Debug)]
pub(super) struct CellParams {
    /// `[G · H, I]`.
    pub(super) w_x: Array2<f64>,
    /// `[G · H, state_size]`.
    pub(super) w_h: Array2<f64>,
    /// `[G · H]`.
    pub(super) b_x: Option<Array1<f64>>,
    /// `[G · H]`.
    pub(super) b_h: Option<Array1<f64>>,
    /// `[proj_size, H]`.
    pub(super) w_r: Option<Array2<f64>>,
    /// `[3, H]`: gates input, forget, output.
    pub(super) peepholes: Option<Array2<f64>>,
    /// H. Gate g has the rows from g · H up to (g + 1) · H.
    pub(super) hidden: usize,
}

impl Params {
    /// Converts `weights`, which are those of `model`.
    pub(super) fn of(model: &Model, weights: &Weights) -> Self {
        let layers = model.layers.iter().zip(&weights.layers);
        let learned = |states: &LearnedStates| (wide(&states.h), states.c.as_ref().map(wide));
        Self {
            layers: layers.map(|(layer, weights)| LayerParams::of(&layer.kind, weights)).collect(),
            initial: weights.initial.iter().map(|(&stack, states)| (stack, learned(states))).collect(),
        }
    }

    /// Returns zeros of the same shapes, to which gradients are added.
    pub(super) fn zeros(&self, model: &Model) -> Self {
        let mut zeros = self.clone();
        zeros.each(model, &mut |_, mut array| array.fill(0.0));
        zeros
    }

    /// Calls `f` with each array and its name. Several arrays may
    /// have one name: layers with the same prefix share tensors.
    pub(super) fn each(&mut self, model: &Model, f: &mut dyn FnMut(String, ArrayViewMutD<'_, f64>)) {
        let mut stack = 0;
        for (layer, params) in model.layers.iter().zip(&mut self.layers) {
            let mut arrays = params.arrays();
            if let LayerKind::Recurrent(_) = layer.kind {
                if let Some((h, c)) = self.initial.get_mut(&stack) {
                    arrays.extend(iter::once(h).chain(c).map(|states| states.view_mut().into_dyn()));
                }
                stack += 1;
            }
            for (param, array) in layer.kind.tensors().zip(arrays) {
                f(layer.prefix.clone() + &param.name, array);
            }
        }
    }

    /// Returns the tensors by name, as [`Weights::to_tensors`] does. Arrays with the
    /// same name are added, so that shared weights have the sum of their gradients.
    pub(super) fn into_tensors(mut self, model: &Model) -> BTreeMap<String, ArrayD<f64>> {
        let mut tensors: BTreeMap<String, ArrayD<f64>> = BTreeMap::new();
        self.each(model, &mut |name, array| {
            let sum = tensors.entry(name).or_insert_with(|| ArrayD::zeros(array.raw_dim()));
            *sum += &array;
        });
        tensors
    }
}

impl LayerParams {
    fn of(layer: &LayerKind, weights: &LayerWeights) -> Self {
        match (layer, weights) {
            (_, LayerWeights::Embedding(table)) => Self::Embedding(wide(table)),
            (LayerKind::Recurrent(r), LayerWeights::Recurrent(cells)) => {
                Self::Recurrent(cells.iter().map(|cell| CellParams::of(r.cell, cell)).collect())
            }
            (_, LayerWeights::Norm(norm)) => Self::Norm(NormParams {
                weight: norm.weight.as_ref().map(wide),
                bias: norm.bias.as_ref().map(wide),
                statistics: norm.mean.as_ref().zip(norm.variance.as_ref()).map(|(m, v)| [wide(m), wide(v)]),
            }),
            (_, LayerWeights::Linear { w, b }) => Self::Linear { w: wide(w), b: b.as_ref().map(wide) },
            (_, LayerWeights::Conv { w, b }) => Self::Conv { w: wide(w), b: b.as_ref().map(wide) },
            _ => Self::None,
        }
    }

    /// Returns the numbers of a layer that normalises; none if it has none.
    pub(super) fn norm(&self) -> NormParams {
        match self {
            Self::Norm(norm) => norm.clone(),
            _ => NormParams { weight: None, bias: None, statistics: None },
        }
    }

    /// Returns the arrays in the order of the layer's table. Statistics, which no gradient reaches, are left out.
    fn arrays(&mut self) -> Vec<ArrayViewMutD<'_, f64>> {
        match self {
            Self::None => Vec::new(),
            Self::Norm(NormParams { weight, bias, .. }) => {
                [weight, bias].into_iter().flatten().map(|array| array.view_mut().into_dyn()).collect()
            }
            Self::Embedding(table) => vec![table.view_mut().into_dyn()],
            Self::Recurrent(cells) => cells.iter_mut().flat_map(CellParams::arrays).collect(),
            Self::Conv { w, b } => {
                iter::once(w.view_mut().into_dyn()).chain(b.as_mut().map(|b| b.view_mut().into_dyn())).collect()
            }
            Self::Linear { w, b } => {
                iter::once(w.view_mut().into_dyn()).chain(b.as_mut().map(|b| b.view_mut().into_dyn())).collect()
            }
        }
    }
}

impl CellParams {
    fn of(cell: Cell, weights: &CellWeights) -> Self {
        Self {
            w_x: wide(&weights.w_x),
            w_h: wide(&weights.w_h),
            b_x: weights.b_x.as_ref().map(wide),
            b_h: weights.b_h.as_ref().map(wide),
            w_r: weights.w_r.as_ref().map(wide),
            peepholes: weights.peepholes.as_ref().map(wide),
            hidden: weights.w_h.nrows() / cell.gates(),
        }
    }

    /// Returns the arrays in the order of the layer's table.
    fn arrays(&mut self) -> Vec<ArrayViewMutD<'_, f64>> {
        let Self { w_x, w_h, b_x, b_h, w_r, peepholes, .. } = self;
        let products = [w_x, w_h].map(|w| w.view_mut().into_dyn());
        let biases = [b_x, b_h].into_iter().flatten().map(|b| b.view_mut().into_dyn());
        let rest = [w_r, peepholes].into_iter().flatten().map(|w| w.view_mut().into_dyn());
        products.into_iter().chain(biases).chain(rest).collect()
    }
}

/// Returns the same numbers in f64.
fn wide<D: Dimension>(array: &Array<f32, D>) -> Array<f64, D> {
    array.mapv(f64::from)
}
