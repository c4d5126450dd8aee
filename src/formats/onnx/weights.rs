//! Weights of a graph: values of the file, as vectors and matrices, and arithmetic with them alone.
//!
//! What is computed of them is computed once, when a layer's tensors are read. Knows no link.

use ndarray::{ArrayD, IxDyn};

use super::axes::constant_of;
use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::links::Runs;
use super::misfit;
use super::value::{Data, Fill, Value};
use crate::error::Result;

/// Returns `value` as weights.
pub(super) fn weight(graph: &Graph, value: Value) -> Result<Constant> {
    match value {
        Value::Constant(constant) => Ok(constant),
        Value::Filled(filled) => constant_of(&filled, graph.limit),
        other => Err(misfit(format!("expected weights of the file, got {}", other.kind()))),
    }
}

/// Returns `constant`, which is repeated along all but its last axis, as a vector of `len`.
pub(super) fn vector(constant: Constant, len: usize, limit: usize) -> Result<Constant> {
    let unfit = |dims: &[usize]| misfit(format!("expected {len} elements along the features, got {dims:?}"));
    if constant.len() == len && constant.dims().last() == Some(&len) {
        return constant.changed(Change::Reshape(vec![len]));
    }
    match constant.len() {
        1 => Constant::computed(vec![constant], vec![len], limit, move |of| {
            ArrayD::from_elem(IxDyn(&[len]), of[0].first().copied().unwrap_or(0.0))
        }),
        _ => Err(unfit(constant.dims())),
    }
}

/// Returns `constant` times `factor`.
pub(super) fn times(constant: Constant, factor: f32, limit: usize) -> Result<Constant> {
    if factor == 1.0 {
        return Ok(constant);
    }
    let shape = constant.dims().to_vec();
    Constant::computed(vec![constant], shape, limit, move |of| &of[0] * factor)
}

/// Turns weights of some features into weights of all features, with zeros for the others.
pub(super) fn spread(w: Constant, runs: &Runs, features: usize, limit: usize) -> Result<Constant> {
    let (rows, runs) = (w.dims()[0], runs.clone());
    Constant::computed(vec![w], vec![rows, features], limit, move |of| {
        let mut all = ArrayD::zeros(IxDyn(&[rows, features]));
        let columns = runs.iter().flat_map(|&(start, len)| start..start + len);
        for (from, to) in columns.enumerate() {
            let mut column = all.index_axis_mut(ndarray::Axis(1), to);
            // A feature that occurs twice counts twice.
            column += &of[0].index_axis(ndarray::Axis(1), from);
        }
        all
    })
}

/// Whether `value` is weights.
pub(super) fn is_weight(value: &Value) -> bool {
    matches!(value, Value::Constant(_))
        || matches!(value, Value::Filled(filled) if matches!(filled.fill, Fill::Real(_)))
}

/// Returns a weight; one element for a tensor of equal numbers.
pub(super) fn scalar_or_weight(graph: &Graph, value: Value) -> Result<Constant> {
    match value {
        Value::Filled(filled) => match filled.fill {
            Fill::Real(x) => Ok(Constant::new(crate::weights::Tensor::new([], vec![x]))),
            Fill::Whole(_) => Err(misfit("a whole number among real ones".into())),
        },
        other => weight(graph, other),
    }
}

/// Whether `weight` is repeated along all axes of `data` except `axis`.
pub(super) fn along(weight: &Constant, data: &Data, axis: usize) -> bool {
    let (dims, rank) = (weight.dims(), data.axes.len());
    let ones = |dims: &[usize]| dims.iter().all(|&n| n == 1);
    match (axis + dims.len()).checked_sub(rank) {
        Some(place) => ones(&dims[..place]) && ones(&dims[place + 1..]),
        None => ones(dims),
    }
}
