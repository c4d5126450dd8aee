//! Which tensors of a model lie in a packed buffer of a layout for training,
//! in which each tensor has a place of its own.

use std::ops::Range;

use super::{Buffer, Form, Role};
use crate::cell::Peepholes;
use crate::model::{self, BIAS, Bias, LayerKind, Model, Part, Recurrent, WEIGHT, cell_tensor};

/// A tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    /// Its name.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) role: model::Role,
}

/// What lies in a matrix, or a table, of a packed buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The tensors of the depth's rows, of the bias, and of the peepholes.
    pub(crate) tensors: [Option<Tensor>; 3],
    /// The rows of the first tensor, and the elements of the second.
    pub(crate) rows: Range<usize>,
    /// The elements of a row of the first tensor.
    pub(crate) columns: usize,
}

/// The contents of matrix `matrix` of `buffer`; `None` if it is not trained.
pub(crate) fn contents(model: &Model, buffer: &Buffer, matrix: usize) -> Option<Contents> {
    if buffer.role.is_of_norm() {
        return super::norm::contents(model, buffer, matrix);
    }
    let tensor =
        |layer: usize, local: &str, role| Some(Tensor { name: model.layers[layer].prefix.clone() + local, role });
    let stack = |layer: usize| match &model.layers[layer].kind {
        LayerKind::Recurrent(r) => Some(r),
        _ => None,
    };
    let of_cell = |r: &Recurrent, layer: usize, stacked: usize, part: Part, role| {
        let way = *r.direction.ways().get(matrix)?;
        tensor(layer, &cell_tensor(part, stacked, way), role)
    };
    let columns = match (&model.layers[buffer.role.layer()?].kind, buffer.form) {
        (LayerKind::Embedding(e), _) => e.embedding_dim,
        (LayerKind::Attention(a), _) => a.features,
        (_, Form::Matrix { source, .. }) => source.len(),
        (_, Form::Table { width, .. }) => width,
    };
    let only = |tensor, rows: usize| Contents { tensors: [tensor, None, None], rows: 0..rows, columns };
    Some(match (buffer.role, buffer.form) {
        (Role::Table { layer }, Form::Table { rows, .. }) => {
            let is_attention = matches!(model.layers[layer].kind, LayerKind::Attention(_));
            let role = if is_attention { model::Role::Diagonal } else { model::Role::Table };
            only(tensor(layer, WEIGHT, role), rows)
        }
        (Role::Linear { layer }, Form::Matrix { units, .. }) => {
            let bias = match &model.layers[layer].kind {
                LayerKind::Linear(linear) => linear.bias,
                LayerKind::Conv1d(conv) => conv.bias,
                _ => return None,
            };
            let bias = (bias != Bias::None).then(|| tensor(layer, BIAS, model::Role::Bias)).flatten();
            Contents { tensors: [tensor(layer, WEIGHT, model::Role::Matrix), bias, None], rows: 0..units, columns }
        }
        (Role::Input { layer, stacked }, Form::Matrix { gates, units, .. }) => {
            let r = stack(layer)?;
            let of = |part, role| of_cell(r, layer, stacked, part, role);
            let bias = (r.bias != Bias::None).then(|| of(Part::BX, model::Role::Bias)).flatten();
            Contents { tensors: [of(Part::WX, model::Role::Matrix), bias, None], rows: 0..gates * units, columns }
        }
        (Role::Hidden { layer, stacked, gate }, Form::Matrix { gates, units, .. }) => {
            let r = stack(layer)?;
            let of = |part, role| of_cell(r, layer, stacked, part, role);
            let bias = (r.bias == Bias::Two).then(|| of(Part::BH, model::Role::Bias)).flatten();
            let has_peepholes = r.peepholes != Peepholes::None;
            let peepholes = has_peepholes.then(|| of(Part::Peepholes, model::Role::Diagonal)).flatten();
            let tensors = [of(Part::WH, model::Role::Recurrent), bias, peepholes];
            Contents { tensors, rows: gate * units..(gate + gates) * units, columns }
        }
        (Role::Projection { layer, stacked }, Form::Matrix { units, .. }) => {
            only(of_cell(stack(layer)?, layer, stacked, Part::WR, model::Role::Projection), units)
        }
        _ => return None,
    })
}
