//! ReduceL2, Pow, Sqrt and Reciprocal: squares and roots, also those of which layers that normalise are made.

use super::constant::Constant;
use super::dense::both;
use super::folded;
use super::graph::Graph;
use super::misfit;
use super::node::Node;
use super::size::Size;
use super::statistics::{raised, reduced};
use super::value::Value;
use super::weights::{is_weight, weight};
use crate::cell::Activation;
use crate::error::Result;

/// Reads ReduceL2 over the features.
pub(super) fn length(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let rank = value.sizes()?.len();
    let axes = graph.axes(node, rank)?.filter(|axes| !axes.is_empty()).unwrap_or_else(|| (0..rank).collect());
    if is_weight(&value) {
        let keeps = node.int("keepdims")?.unwrap_or(1) != 0;
        return folded::reduced(graph, node.op, value, &axes, keeps).map(|value| vec![value]);
    }
    let found = reduced(graph, node, &value, &axes)?;
    found
        .map(|value| vec![value])
        .ok_or_else(|| misfit(format!("expected constants, or what the features are divided by, got {}", value.kind())))
}

/// Reads a Sqrt, and the Reciprocal of what normalises.
pub(super) fn root(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    if let Some(value) = folded::unary(graph, node.op, &x)? {
        return Ok(vec![value]);
    }
    let data = graph.data(x, None)?;
    if node.op == "Sqrt" && graph.statistic(&data).is_none() {
        return graph.links.activate(data, Activation::Sqrt).map(|data| vec![Value::Data(data)]);
    }
    let power = if node.op == "Sqrt" { 0.5 } else { -1.0 };
    raised(graph, data, power).map(|data| vec![Value::Data(data)])
}

/// Reads a power whose exponent is a number of the file: the square or the root of any value, or a power of what
/// normalises.
pub(super) fn power(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (x, exponent) = (graph.input(node, 0)?, graph.input(node, 1)?);
    if is_weight(&x) {
        let exponent = if let Value::Numbers(numbers) = exponent {
            Value::Constant(Constant::of_numbers(&numbers)?)
        } else {
            exponent
        };
        let (x, exponent) = (weight(graph, x)?, weight(graph, exponent)?);
        return folded::pairs(x, exponent, graph.limit, f32::powf).map(|value| vec![value]);
    }
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
    if exponent == 0.5 && graph.statistic(&data).is_none() {
        return graph.links.activate(data, Activation::Sqrt).map(|data| vec![Value::Data(data)]);
    }
    raised(graph, data, exponent).map(|data| vec![Value::Data(data)])
}
