//! Convolutions of quantized values, by their scales.

use super::{Spread, check_grid, dequantized, grid_of_output, real_value, scale, whole, whole_input, zero_point};
use crate::error::Result;
use crate::formats::onnx::constant::Constant;
use crate::formats::onnx::conv::convolved;
use crate::formats::onnx::graph::Graph;
use crate::formats::onnx::links::What;
use crate::formats::onnx::misfit;
use crate::formats::onnx::node::Node;
use crate::formats::onnx::value::Value;
use crate::formats::onnx::weights::{times, weight};
use crate::weights::Tensor;

/// Returns the real weights of input `x`, `[out, in, taps]`, by the scale and the zero points of other inputs: one for
/// all, or one for each feature of the output. Without an input for the scale it is 1.
fn weights(graph: &Graph, node: &Node<'_>, x: usize, by: Option<usize>, zero: usize) -> Result<Constant> {
    let x = whole(graph.input(node, x)?, graph.limit).map_err(|e| e.at("w"))?;
    let scale = match by {
        None => Constant::new(Tensor::new([], vec![1.0])),
        Some(by) => weight(graph, graph.input(node, by)?).map_err(|e| e.at("w_scale"))?,
    };
    let zero = whole_input(graph, node, zero).map_err(|e| e.at("w_zero_point"))?;
    let zero = zero.map(|zero| Spread::new(zero, "w_zero_point", x.dims(), 0, 0)).transpose()?;
    let scale = Spread::new(scale, "w_scale", x.dims(), 0, 0)?;
    dequantized(x, scale, zero, graph.limit)
}

/// Reads a convolution of whole numbers, whose scale comes after it.
pub(in crate::formats::onnx) fn integer_conv(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let (x, grid) = real_value(graph, x).map_err(|e| e.at("x"))?;
    check_grid(grid, None, zero_point(graph, node, 2, "x_zero_point")?)?;
    let w = weights(graph, node, 1, None, 3)?;
    let w = times(w, grid.map_or(1.0, |grid| 1.0 / grid.scale.get()), graph.limit)?;
    let data = convolved(graph, node, x, w, None)?;
    graph.integers.extend(data.segments().map(|segment| segment.link));
    Ok(vec![Value::Data(data)])
}

/// Reads a convolution of quantized values that is quantized itself. Its bias has the scale of the product.
pub(in crate::formats::onnx) fn quantized_conv(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let (x, grid) = real_value(graph, x).map_err(|e| e.at("x"))?;
    let own = scale(graph, node, 1, "x_scale")?;
    check_grid(grid, Some(own), zero_point(graph, node, 2, "x_zero_point")?)?;
    let w = weights(graph, node, 3, Some(4), 5)?;
    let units = w.dims().first().copied().unwrap_or(0);
    let bias = match whole_input(graph, node, 8).map_err(|e| e.at("B"))? {
        None => None,
        Some(bias) if bias.dims() == [units] => {
            let scales = Spread::new(weight(graph, graph.input(node, 4)?)?, "w_scale", &[units], 0, 0)?;
            Some(times(dequantized(bias, scales, None, graph.limit)?, own, graph.limit)?)
        }
        Some(bias) => return Err(misfit(format!("B: expected {units} numbers, got {:?}", bias.dims()))),
    };
    let to = grid_of_output(graph, node, 6)?;
    let data = convolved(graph, node, x, w, bias)?;
    graph.links.through(data, What::Quantized(Some(to)), true).map(|data| vec![Value::Data(data)])
}
