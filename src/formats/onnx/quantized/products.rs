//! Products and functions of quantized values, by their scales: of ONNX, and of ONNX Runtime's own domain.

use super::{Spread, bounded, bounds, dequantized, real, scale, whole, whole_input, zero_point};
use crate::cell::{Activation, Constant as Number};
use crate::error::{Error, Result};
use crate::formats::onnx::change::Change;
use crate::formats::onnx::constant::Constant;
use crate::formats::onnx::dense;
use crate::formats::onnx::graph::Graph;
use crate::formats::onnx::links::What;
use crate::formats::onnx::misfit;
use crate::formats::onnx::node::Node;
use crate::formats::onnx::value::{Data, Value};
use crate::formats::onnx::weights::{times, weight};
use crate::formats::onnx::what::Grid;
use crate::weights::Tensor;

/// Returns the real weights of inputs `x`, `x_scale` and `x_zero_point` of a product, `[in, out]`. A scale of input 0 is
/// that of what flows: there is none then.
fn weights(graph: &Graph, node: &Node<'_>, [x, scale, zero]: [usize; 3], transposed: bool) -> Result<Constant> {
    let limit = graph.limit;
    let mut x = whole(graph.input(node, x)?, limit).map_err(|e| e.at("B"))?;
    if x.dims().len() != 2 {
        return Err(misfit(format!("B: expected weights of two axes, got {:?}", x.dims())));
    }
    if transposed {
        x = x.changed(Change::Permute(vec![1, 0]))?;
    }
    let columns = x.dims()[1];
    // One number for each column may have other axes, of length 1.
    let flat = |of: Constant| {
        let len = of.len();
        if len == columns { of.changed(Change::Reshape(vec![len])) } else { Ok(of) }
    };
    let spread = |of: Constant, name: &str| Spread::new(flat(of)?, name, x.dims(), 1, 0);
    let scale = match scale {
        0 => Constant::new(Tensor::new([], vec![1.0])),
        _ => weight(graph, graph.input(node, scale)?).map_err(|e| e.at("b_scale"))?,
    };
    let zero = whole_input(graph, node, zero).map_err(|e| e.at("b_zero_point"))?;
    let zero = zero.map(|zero| spread(zero, "b_zero_point")).transpose()?;
    let scale = spread(scale, "b_scale")?;
    dequantized(x, scale, zero, limit)
}

/// Returns input `index` of a product, quantized, as its real value.
fn quantized_input(graph: &Graph, node: &Node<'_>, index: usize, name: &str) -> Result<(Data, Option<Grid>)> {
    match graph.input(node, index)? {
        Value::Data(data) => real(graph, data).map_err(|e| e.at(name)),
        other => Err(misfit(format!("{name}: expected what a QuantizeLinear gives, got {}", other.kind()))),
    }
}

/// Checks that a product takes `data` by the scale and zero point that it was rounded with.
pub(super) fn check_grid(grid: Option<Grid>, scale: Option<f32>, zero: i32) -> Result<()> {
    let (own, from) = grid.map_or((1.0, 0), |grid| (grid.scale.get(), grid.zero));
    match scale.is_none_or(|scale| scale == own) && zero == from {
        true => Ok(()),
        false => {
            Err(misfit("expected the scale and the zero point of the QuantizeLinear before it, got others".into()))
        }
    }
}

/// Reads a product of whole numbers, whose scale comes after it.
pub(in crate::formats::onnx) fn integer_product(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (data, grid) = quantized_input(graph, node, 0, "A")?;
    check_grid(grid, None, zero_point(graph, node, 2, "a_zero_point")?)?;
    let w = weights(graph, node, [1, 0, 3], false)?;
    let data = bounded(graph, data, grid)?;
    let w = times(w, grid.map_or(1.0, |grid| 1.0 / grid.scale.get()), graph.limit)?;
    let product = dense::product(graph, data, w, None)?;
    graph.integers.extend(product.segments().map(|segment| segment.link));
    Ok(vec![Value::Data(product)])
}

/// Reads a product of quantized values that is quantized itself.
pub(in crate::formats::onnx) fn quantized_product(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (data, grid) = quantized_input(graph, node, 0, "a")?;
    check_grid(grid, Some(scale(graph, node, 1, "a_scale")?), zero_point(graph, node, 2, "a_zero_point")?)?;
    let w = weights(graph, node, [3, 4, 5], false)?;
    let to = grid_of_output(graph, node, 6)?;
    let data = bounded(graph, data, grid)?;
    let product = dense::product(graph, data, w, None)?;
    graph.links.through(product, What::Quantized(Some(to)), true).map(|data| vec![Value::Data(data)])
}

/// Returns the numbers that the output at `index` of a node is rounded to: its scale, and its zero point behind it.
pub(super) fn grid_of_output(graph: &Graph, node: &Node<'_>, index: usize) -> Result<Grid> {
    let bounds = node.input(index + 1).map_or(Some((0, 255)), |name| graph.type_of(name).and_then(bounds));
    let (low, high) = bounds.ok_or_else(|| {
        misfit("the zero point of the output: expected a tensor of the file of int8 or uint8, got another".into())
    })?;
    let zero = zero_point(graph, node, index + 1, "the zero point of the output")?;
    Ok(Grid { scale: Number::new(scale(graph, node, index, "the scale of the output")?), zero, low, high })
}

/// Returns input `index` of a node, quantized, as the real value that it stands for. Its scale and its zero point follow.
fn real_input(graph: &mut Graph, node: &Node<'_>, index: usize) -> Result<Value> {
    let at = |e: Error| e.at(format_args!("input {index}"));
    let zero = zero_point(graph, node, index + 2, "its zero point").map_err(at)?;
    match graph.input(node, index)? {
        Value::Data(data) => {
            let (data, grid) = real(graph, data).map_err(at)?;
            check_grid(grid, Some(scale(graph, node, index + 1, "its scale").map_err(at)?), zero).map_err(at)?;
            bounded(graph, data, grid).map(Value::Data)
        }
        other => {
            let x = whole(other, graph.limit).map_err(at)?;
            let dims = x.dims().to_vec();
            let spread = |of: Constant, name: &str| Spread::new(of, name, &dims, dims.len().saturating_sub(1), 0);
            let scale = spread(weight(graph, graph.input(node, index + 1)?)?, "its scale").map_err(at)?;
            let zero = whole_input(graph, node, index + 2)?.map(|zero| spread(zero, "its zero point")).transpose();
            dequantized(x, scale, zero.map_err(at)?, graph.limit).map(Value::Constant)
        }
    }
}

/// Reads `QLinearAdd` and `QLinearMul`, and `QLinearSigmoid`: functions of quantized values, quantized again.
pub(in crate::formats::onnx) fn quantized_function(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let a = real_input(graph, node, 0)?;
    let (result, output) = match node.op {
        "QLinearSigmoid" => {
            let data = graph.data(a, None)?;
            (Value::Data(graph.links.activate(data, Activation::Sigmoid)?), 3)
        }
        op => {
            let b = real_input(graph, node, 3)?;
            (dense::combined(graph, if op == "QLinearAdd" { "Add" } else { "Mul" }, a, b)?, 6)
        }
    };
    let (data, to) = (graph.data(result, None)?, grid_of_output(graph, node, output)?);
    graph.links.through(data, What::Quantized(Some(to)), true).map(|data| vec![Value::Data(data)])
}

/// Reads `QGemm`: a product of quantized values with a bias of whole numbers, whose scale is that of the product.
pub(in crate::formats::onnx) fn quantized_gemm(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if node.flag("transA")? || node.float("alpha")?.unwrap_or(1.0) != 1.0 {
        return Err(misfit("transA and alpha: expected 0 and 1".into()));
    }
    let (data, grid) = quantized_input(graph, node, 0, "A")?;
    let own = scale(graph, node, 1, "a_scale")?;
    check_grid(grid, Some(own), zero_point(graph, node, 2, "a_zero_point")?)?;
    let w = weights(graph, node, [3, 4, 5], node.flag("transB")?)?;
    let columns = w.dims()[1];
    let bias = match whole_input(graph, node, 6).map_err(|e| e.at("C"))? {
        None => None,
        Some(bias) if bias.len() == columns => {
            let scales = weight(graph, graph.input(node, 4)?)?;
            let scales = if scales.len() == columns { scales.changed(Change::Reshape(vec![columns]))? } else { scales };
            let bias = bias.changed(Change::Reshape(vec![columns]))?;
            let scales = Spread::new(scales, "b_scale", &[columns], 0, 0)?;
            Some(times(dequantized(bias, scales, None, graph.limit)?, own, graph.limit)?)
        }
        Some(bias) => return Err(misfit(format!("C: expected {columns} numbers, got {:?}", bias.dims()))),
    };
    let data = bounded(graph, data, grid)?;
    let product = dense::product(graph, data, w, bias)?;
    if node.input(7).is_none() {
        return Ok(vec![Value::Data(product)]);
    }
    let to = grid_of_output(graph, node, 7)?;
    graph.links.through(product, What::Quantized(Some(to)), true).map(|data| vec![Value::Data(data)])
}

/// Reads `MatMulIntegerToFloat` and `DynamicQuantizeMatMul`: products with their scales and a bias.
pub(in crate::formats::onnx) fn product_to_reals(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (data, w, bias) = match node.op {
        "MatMulIntegerToFloat" => {
            let (data, grid) = quantized_input(graph, node, 0, "A")?;
            check_grid(grid, Some(scale(graph, node, 2, "a_scale")?), zero_point(graph, node, 4, "a_zero_point")?)?;
            (bounded(graph, data, grid)?, weights(graph, node, [1, 3, 5], false)?, 6)
        }
        _ => {
            let w = weights(graph, node, [1, 2, 3], false)?;
            let x = graph.input(node, 0)?;
            let data = graph.data(x, Some(w.dims()[0]))?;
            (bounded(graph, data, None)?, w, 4)
        }
    };
    let columns = w.dims()[1];
    let bias = graph.optional(node, bias)?.map(|bias| weight(graph, bias)).transpose()?;
    if let Some(bias) = bias.as_ref().filter(|bias| bias.dims() != [columns]) {
        return Err(misfit(format!("bias: expected {columns} numbers, got {:?}", bias.dims())));
    }
    dense::product(graph, data, w, bias).map(|data| vec![Value::Data(data)])
}
