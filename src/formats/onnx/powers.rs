//! ReduceL2, Pow, Sqrt and Reciprocal: the squares, roots and lengths of which layers that normalise are made.

use super::dense::{self, both};
use super::graph::Graph;
use super::misfit;
use super::node::Node;
use super::size::Size;
use super::statistics::{raised, reduced};
use super::value::Value;
use crate::error::Result;

/// Reads ReduceL2 over the features.
pub(super) fn length(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let axes = graph.axes(node, value.sizes()?.len())?.unwrap_or_default();
    let found = reduced(graph, node, &value, &axes)?;
    found
        .map(|value| vec![value])
        .ok_or_else(|| misfit(format!("expected the features of a value, got {}", value.kind())))
}

/// Reads Sqrt and Reciprocal, of what normalises.
pub(super) fn root(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    if node.op == "Sqrt" && matches!(x, Value::Constant(_) | Value::Filled(_)) {
        return dense::root(graph, node);
    }
    let data = graph.data(x, None)?;
    let power = if node.op == "Sqrt" { 0.5 } else { -1.0 };
    raised(graph, data, power).map(|data| vec![Value::Data(data)])
}

/// Reads a power whose exponent is a number of the file: the square of any value, or a root of what normalises.
pub(super) fn power(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (x, exponent) = (graph.input(node, 0)?, graph.input(node, 1)?);
    let exponent = match exponent {
        Value::Constant(constant) => constant.scalar()?,
        Value::Numbers(numbers) if numbers.len() == 1 => match numbers.first().and_then(Size::value) {
            Some(2) => Some(2.0),
            Some(-1) => Some(-1.0),
            _ => None,
        },
        _ => None,
    };
    let exponent = exponent.ok_or_else(|| misfit("the exponent: expected one number of the file".into()))?;
    let data = graph.data(x, None)?;
    if exponent == 2.0 {
        return both(graph, "Mul", data.clone(), data).map(|data| vec![Value::Data(data)]);
    }
    raised(graph, data, exponent).map(|data| vec![Value::Data(data)])
}
