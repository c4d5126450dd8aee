//! Whole numbers of quantized tensors that await their scale: products of them, and rows of tables.

use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::links::What;
use super::value::{At, Data, Role, Segment, Value};
use super::weights::along;
use crate::error::Result;
use crate::model::LayerKind;
use crate::weights::dialect::WEIGHT;

/// Returns a product of whole numbers, or rows of a table of them, times their scale, which becomes one of the weights.
/// Returns `None` for anything else.
pub(super) fn scaled(graph: &mut Graph, op: &str, data: &Data, weight: &Constant) -> Result<Option<Data>> {
    let Some(axis) = data.position(&Role::Features).filter(|_| op == "Mul") else { return Ok(None) };
    let fits = weight.dims().len() <= data.axes.len() && (weight.len() == 1 || along(weight, data, axis));
    let len = weight.len();
    let is_product = |segment: &Segment| {
        let features = graph.links.link(segment.link).features;
        let whole = (segment.at, segment.start, segment.len) == (At::All, 0, features);
        whole && graph.integers.contains(&segment.link) && [1, features].contains(&len)
    };
    if !fits || !data.segments().all(is_product) || data.content.iter().any(|cell| cell.len() != 1) {
        return Ok(None);
    }
    let mut data = data.clone();
    for segment in data.content.iter_mut().flatten() {
        let old = graph.links.link(segment.link).clone();
        let (What::Layer(kind), Some(w)) = (old.what, old.tensors.first().map(|(_, w)| w.clone())) else {
            return Ok(None);
        };
        // One for each row of a product's weights, and for each column of a table.
        let across = match kind {
            LayerKind::Embedding(_) => vec![1, len],
            LayerKind::Conv1d(_) => vec![len, 1, 1],
            _ => vec![len, 1],
        };
        let (shape, scale) = (w.dims().to_vec(), weight.clone().changed(Change::Reshape(across))?);
        let w = Constant::computed(vec![w, scale], shape, graph.limit, |of| &of[0] * &of[1])?;
        segment.link = graph.links.layer(old.parents[0], kind, old.features, vec![(WEIGHT.to_owned(), w)]);
        graph.integers.insert(segment.link);
    }
    Ok(Some(data))
}

/// Marks `value`, rows of a table of whole numbers, as such.
pub(super) fn marked(graph: &mut Graph, value: Value) -> Value {
    if let Value::Data(data) = &value {
        graph.integers.extend(data.segments().map(|segment| segment.link));
    }
    value
}

/// Returns `value` as a table of whole numbers, if it is one; else the value.
pub(super) fn table(value: Value) -> Result<(Value, bool)> {
    match value {
        Value::Numbers(numbers) if numbers.ndim() == 2 => Ok((Value::Constant(Constant::of_numbers(&numbers)?), true)),
        Value::Whole(constant) => Ok((Value::Constant(constant), true)),
        other => Ok((other, false)),
    }
}
