//! The operators that normalise the features of each step: BatchNormalization, LayerNormalization, RMSNormalization,
//! LpNormalization, and PRelu. `statistics` recognizes what exporters write as arithmetic.

use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::misfit;
use super::node::Node;
use super::statistics::{features_at, normalized};
use super::value::{Data, Role, Value};
use super::weights::weight;
use crate::error::Result;
use crate::model::{BatchNorm, L2Norm, LayerKind, LayerNorm, MEAN, PRelu, RmsNorm, VARIANCE};
use crate::weights::dialect::{BIAS, WEIGHT};

/// Reads what is normalised by a mean and a variance of each feature. The features are axis 1.
pub(super) fn batch(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    for (name, off) in [("training_mode", 0), ("spatial", 1), ("is_test", 1)] {
        if node.int(name)?.is_some_and(|n| n != off) {
            return Err(misfit(format!("{name}: expected {off}: a model that is not being trained")));
        }
    }
    let eps = node.float("epsilon")?.unwrap_or(1e-5);
    let tensors = [WEIGHT, BIAS, MEAN, VARIANCE].into_iter().enumerate().map(|(index, name)| {
        let numbers = weight(graph, graph.input(node, index + 1)?)?;
        Ok((name.to_owned(), numbers))
    });
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let n = tensors[0].1.len();
    let fits = |(_, numbers): &(String, Constant)| numbers.dims() == [n];
    if !tensors.iter().all(fits) {
        let dims: Vec<_> = tensors.iter().map(|(_, numbers)| numbers.dims()).collect();
        return Err(misfit(format!("expected four vectors of one length, got {dims:?}")));
    }
    let data = with_features(graph, graph.input(node, 0)?, 1, n)?;
    let kind = BatchNorm::new(n).eps(eps);
    normalized(graph, data, 1, kind.into(), tensors).map(|data| vec![Value::Data(data)])
}

/// Reads LayerNormalization and RMSNormalization, over the last axis.
pub(super) fn layer(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let eps = node.float("epsilon")?.unwrap_or(1e-5);
    let scale = weight(graph, graph.input(node, 1)?)?;
    let n = scale.len();
    let x = graph.input(node, 0)?;
    let rank = x.sizes()?.len();
    let axis = Value::axis(node.int("axis")?.unwrap_or(-1), rank)?;
    let data = with_features(graph, x, axis, n)?;
    if axis + 1 != rank || scale.dims() != [n] {
        return Err(misfit(format!("expected the features alone, got axis {axis} on of {}", data.axes_text())));
    }
    let mut tensors = vec![(WEIGHT.to_owned(), scale)];
    let kind: LayerKind = match node.op {
        "LayerNormalization" => {
            let bias = graph.optional(node, 2)?.map(|bias| weight(graph, bias)).transpose()?;
            if bias.as_ref().is_some_and(|bias| bias.dims() != [n]) {
                return Err(misfit(format!("B: expected {n} numbers, one for each feature")));
            }
            let has_bias = bias.is_some();
            tensors.extend(bias.map(|bias| (BIAS.to_owned(), bias)));
            LayerNorm::new(n).eps(eps).bias(has_bias).into()
        }
        _ => RmsNorm::new(n).eps(eps).into(),
    };
    normalized(graph, data, axis, kind, tensors).map(|data| vec![Value::Data(data)])
}

/// Reads LpNormalization of the second order.
pub(super) fn lp(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if let Some(order) = node.int("p")?.filter(|&order| order != 2) {
        return Err(misfit(format!("p: expected 2, got {order}")));
    }
    let x = graph.input(node, 0)?;
    let axis = Value::axis(node.int("axis")?.unwrap_or(-1), x.sizes()?.len())?;
    let data = graph.data(x, None)?;
    let n = features_at(&data, axis)?;
    // Zeros stay zeros: ONNX divides by no length of 0.
    let kind = L2Norm::new(n).eps(f32::MIN_POSITIVE);
    normalized(graph, data, axis, kind.into(), Vec::new()).map(|data| vec![Value::Data(data)])
}

/// Reads a relu with a slope for each feature, or one for all.
pub(super) fn prelu(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let slope = weight(graph, graph.input(node, 1)?)?;
    let x = graph.input(node, 0)?;
    let rank = x.sizes()?.len();
    // The axis along which slopes differ: 1 where features come before time.
    let place = slope.dims().iter().position(|&n| n != 1);
    let axis = place.map_or(Some(rank.saturating_sub(1)), |place| (rank + place).checked_sub(slope.dims().len()));
    let lone = slope.dims().iter().filter(|&&n| n != 1).count() <= 1;
    let axis = axis.filter(|_| lone).ok_or_else(|| {
        misfit(format!("slope: expected one number, or one for each feature, got {:?}", slope.dims()))
    })?;
    let data = match slope.len() {
        1 => graph.data(x, None)?,
        n => with_features(graph, x, axis, n)?,
    };
    let axis = if slope.len() == 1 { data.position(&Role::Features).unwrap_or(axis) } else { axis };
    let n = features_at(&data, axis)?;
    let kind = if slope.len() == 1 { PRelu::new(n).shared() } else { PRelu::new(n) };
    let len = slope.len();
    let slope = slope.changed(Change::Reshape(vec![len]))?;
    let tensors = vec![(WEIGHT.to_owned(), slope)];
    normalized(graph, data, axis, kind.into(), tensors).map(|data| vec![Value::Data(data)])
}

/// Returns `value` as data whose axis `axis` is its `n` features.
pub(super) fn with_features(graph: &mut Graph, value: Value, axis: usize, n: usize) -> Result<Data> {
    let rank = value.sizes()?.len();
    let data = match value {
        // The last axis of an input is its features.
        value @ (Value::Input(_) | Value::Delayed(_)) if axis < rank && axis + 1 < rank => {
            let mut there: Vec<usize> = (0..rank).filter(|&other| other != axis).collect();
            there.push(axis);
            let data = graph.data(value.permuted(&there)?, Some(n))?;
            let mut back: Vec<usize> = (0..rank - 1).collect();
            back.insert(axis, rank - 1);
            match Value::Data(data).permuted(&back)? {
                Value::Data(data) => data,
                other => return Err(misfit(format!("expected a sequence, got {}", other.kind()))),
            }
        }
        value => graph.data(value, Some(n))?,
    };
    match features_at(&data, axis)? {
        got if got == n => Ok(data),
        _ => Err(misfit(format!("expected {n} features in axis {axis}, got {}", data.axes_text()))),
    }
}
