//! Quantized tensors: whole numbers that stand for real ones, which are `(q − zero point) · scale`.
//!
//! Weights are dequantized as they are read. What flows is not rounded: behind `QuantizeLinear` it is still its real
//! value, until `DequantizeLinear` or a product takes it. There it is bounded as the whole numbers' type bounds it.

mod convs;
mod products;

pub(super) use self::convs::{integer_conv, quantized_conv};
use self::products::{check_grid, grid_of_output};
pub(super) use self::products::{
    integer_product, product_to_reals, quantized_function, quantized_gemm, quantized_product,
};
use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::value::{Data, Fill, Late, Segment, Value};
use super::weights::weight;
use super::what::Grid;
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::LayerKind;
use crate::weights::Tensor;
use crate::weights::dialect::WEIGHT;

/// Returns the least and the greatest number of ONNX's type `data_type`, if values are quantized to it.
fn bounds(data_type: i32) -> Option<(i32, i32)> {
    match data_type {
        2 => Some((0, 255)),
        3 => Some((-128, 127)),
        4 => Some((0, 65_535)),
        5 => Some((-32_768, 32_767)),
        _ => None,
    }
}

/// A scale or zero points, for all elements of a tensor or for some.
#[derive(Clone)]
struct Spread {
    numbers: Constant,
    /// The axis along which each number stands for several places, and the number for each place.
    blocks: Option<(usize, Vec<usize>)>,
}

impl Spread {
    /// Spreads `numbers` over a tensor of `dims`: one, one for each place along `axis`, or one for each `block` places.
    fn new(numbers: Constant, name: &str, dims: &[usize], axis: usize, block: usize) -> Result<Self> {
        let (got, mut shape) = (numbers.dims().to_vec(), vec![1; dims.len()]);
        let along = dims.get(axis).copied().unwrap_or(1);
        let wanted = |place: usize, n: usize| if place == axis { n.div_ceil(block) } else { n };
        let is_each = block == 0 && dims.get(axis).is_some_and(|&n| got == [n]);
        let is_blocks = block > 0
            && numbers.len() > 1
            && got.iter().copied().eq(dims.iter().enumerate().map(|(place, &n)| wanted(place, n)));
        if is_each {
            shape[axis] = along;
        } else if is_blocks {
            shape.clone_from(&got);
        } else if numbers.len() != 1 {
            let text = format!("expected one number, or one for each of {along} along axis {axis}, got {got:?}");
            return Err(misfit(format!("{name}: {text}")));
        }
        let blocks = is_blocks.then(|| (axis, (0..along).map(|place| place / block).collect()));
        Ok(Self { numbers: numbers.changed(Change::Reshape(shape))?, blocks })
    }
}

/// Returns the numbers of a spread, of as many axes as the tensor that they meet.
fn over(numbers: &ndarray::ArrayD<f32>, blocks: Option<&(usize, Vec<usize>)>) -> ndarray::ArrayD<f32> {
    match blocks {
        Some((axis, places)) => numbers.select(ndarray::Axis(*axis), places),
        None => numbers.clone(),
    }
}

/// Returns the real numbers that `x` stands for.
fn dequantized(x: Constant, scale: Spread, zero: Option<Spread>, limit: usize) -> Result<Constant> {
    let shape = x.dims().to_vec();
    let (scales, zeros) = (scale.blocks, zero.as_ref().and_then(|zero| zero.blocks.clone()));
    let of = [x, scale.numbers].into_iter().chain(zero.map(|zero| zero.numbers)).collect();
    Constant::computed(of, shape, limit, move |of| {
        let mut reals = of[0].clone();
        if let Some(zero) = of.get(2) {
            reals -= &over(zero, zeros.as_ref());
        }
        reals *= &over(&of[1], scales.as_ref());
        reals
    })
}

/// Returns `value` as whole numbers of the file.
fn whole(value: Value, limit: usize) -> Result<Constant> {
    match value {
        Value::Whole(constant) => Ok(constant),
        Value::Numbers(numbers) => Constant::of_numbers(&numbers),
        Value::Filled(mut filled) => {
            let Fill::Whole(n) = &filled.fill else {
                return Err(misfit("expected whole numbers, got real ones".into()));
            };
            let n =
                n.value().ok_or_else(|| misfit("expected whole numbers of the file, got sizes of a call".into()))?;
            #[expect(clippy::cast_precision_loss, reason = "quantized numbers have 8 bits")]
            let n = n as f32;
            filled.fill = Fill::Real(n);
            super::axes::constant_of(&filled, limit)
        }
        other => Err(misfit(format!("expected whole numbers of the file, got {}", other.kind()))),
    }
}

/// Returns input `index` of a node as whole numbers, if the node has it.
fn whole_input(graph: &Graph, node: &Node<'_>, index: usize) -> Result<Option<Constant>> {
    graph.optional(node, index)?.map(|value| whole(value, graph.limit)).transpose()
}

/// Returns input `index`, the zero point `name`, which is one number; 0 if it is left out.
fn zero_point(graph: &Graph, node: &Node<'_>, index: usize, name: &str) -> Result<i32> {
    let Some(zero) = whole_input(graph, node, index).map_err(|e| e.at(name))? else { return Ok(0) };
    let number = zero.scalar()?.filter(|zero| zero.abs() < 1e6);
    let number = number.ok_or_else(|| misfit(format!("{name}: expected one number, got {:?}", zero.dims())))?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number of a few digits")]
    let number = number as i32;
    Ok(number)
}

/// Returns input `index`, the scale `name`, which is one number above 0.
fn scale(graph: &Graph, node: &Node<'_>, index: usize, name: &str) -> Result<f32> {
    let scale = weight(graph, graph.input(node, index)?).map_err(|e| e.at(name))?;
    let number = scale.scalar()?.filter(|&scale| scale > 0.0 && scale.is_finite());
    number.ok_or_else(|| misfit(format!("{name}: expected one number above 0 for what flows, got {:?}", scale.dims())))
}

/// Returns the real value that quantized `data` stands for, and how it is rounded.
fn real(graph: &Graph, mut data: Data) -> Result<(Data, Option<Grid>)> {
    let (text, mut grid) = (data.axes_text(), None);
    for segment in data.content.iter_mut().flatten() {
        let link = graph.links.link(segment.link);
        match (&link.what, link.parent()) {
            (What::Quantized(own), Some(parent)) if *grid.get_or_insert(*own) == *own => segment.link = parent,
            _ => return Err(misfit(format!("expected what a QuantizeLinear gives, got {text}"))),
        }
    }
    Ok((data, grid.flatten()))
}

/// Bounds `data` as the type that it was rounded to does.
fn bounded(graph: &mut Graph, data: Data, grid: Option<Grid>) -> Result<Data> {
    graph.rounds = true;
    grid.map_or(Ok(data.clone()), |grid| graph.links.activate(data, bounds_of(grid)))
}

/// Returns the function that bounds as a type of whole numbers does.
fn bounds_of(Grid { scale, zero, low, high }: Grid) -> Activation {
    #[expect(clippy::cast_precision_loss, reason = "numbers of 16 bits")]
    let at = |q: i32| Number::new((q - zero) as f32 * scale.get());
    Activation::Clamp { alpha: at(low), beta: at(high) }
}

/// Returns the real value that quantized `value` stands for, bounded as its type does, and how it is rounded.
fn real_value(graph: &mut Graph, value: Value) -> Result<(Value, Option<Grid>)> {
    match value {
        Value::Data(data) => {
            let (data, grid) = real(graph, data)?;
            Ok((Value::Data(bounded(graph, data, grid)?), grid))
        }
        Value::Delayed(mut delayed) => match delayed.changes.pop() {
            Some(Late::Through(What::Quantized(grid))) => {
                graph.rounds = true;
                delayed.changes.extend(grid.map(|grid| Late::Through(What::activation(bounds_of(grid)))));
                Ok((Value::Delayed(delayed), grid))
            }
            _ => Err(misfit("expected what a QuantizeLinear gives, got a function of an input of the graph".into())),
        },
        other => Err(misfit(format!("expected what a QuantizeLinear gives, got {}", other.kind()))),
    }
}

/// Reads real numbers that are rounded to whole ones.
pub(super) fn quantize(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let data_type = match (node.input(2), node.int("output_dtype")?) {
        (Some(name), _) => graph.type_of(name),
        (None, None | Some(0)) => Some(2),
        (None, Some(given)) => i32::try_from(given).ok(),
    };
    let (low, high) = data_type.and_then(bounds).ok_or_else(|| {
        misfit("y_zero_point: expected a tensor of the file of int8, uint8, int16 or uint16, got another type".into())
    })?;
    let x = graph.input(node, 0)?;
    if graph.flows(&x) {
        let zero = zero_point(graph, node, 2, "y_zero_point")?;
        let grid = Grid { scale: Number::new(scale(graph, node, 1, "y_scale")?), zero, low, high };
        if let Some(delayed) = graph.delayed(&x, &Late::Through(What::Quantized(Some(grid)))) {
            return Ok(vec![delayed]);
        }
        let data = graph.data(x, None)?;
        return graph.links.through(data, What::Quantized(Some(grid)), true).map(|data| vec![Value::Data(data)]);
    }
    let x = weight(graph, x)?;
    let (scale, zero) = spreads(graph, node, x.dims(), "y")?;
    let (shape, scales) = (x.dims().to_vec(), scale.blocks);
    let zeros = zero.as_ref().and_then(|zero| zero.blocks.clone());
    let of = [x, scale.numbers].into_iter().chain(zero.map(|zero| zero.numbers)).collect();
    #[expect(clippy::cast_precision_loss, reason = "numbers of 16 bits")]
    let (low, high) = (low as f32, high as f32);
    let whole = Constant::computed(of, shape, graph.limit, move |of| {
        let mut whole = &of[0] / &over(&of[1], scales.as_ref());
        whole.mapv_inplace(f32::round_ties_even);
        if let Some(zero) = of.get(2) {
            whole += &over(zero, zeros.as_ref());
        }
        whole.mapv_into(|q| q.clamp(low, high))
    })?;
    Ok(vec![Value::Whole(whole)])
}

/// Returns the scale and the zero points of a node, spread over a tensor of `dims`.
fn spreads(graph: &Graph, node: &Node<'_>, dims: &[usize], of: &str) -> Result<(Spread, Option<Spread>)> {
    let (scale_name, zero_name) = (format!("{of}_scale"), format!("{of}_zero_point"));
    let scale = weight(graph, graph.input(node, 1)?).map_err(|e| e.at(&scale_name))?;
    let zero = whole_input(graph, node, 2).map_err(|e| e.at(&zero_name))?;
    let block = node.int("block_size")?.unwrap_or(0);
    let block = usize::try_from(block).map_err(|e| misfit(format!("block_size: got {block}")).because(e))?;
    let axis = node.int("axis")?.unwrap_or(1);
    let axis = if scale.len() == 1 && block == 0 { 0 } else { Value::axis(axis, dims.len())? };
    let zero = zero.map(|zero| Spread::new(zero, &zero_name, dims, axis, block)).transpose()?;
    Ok((Spread::new(scale, &scale_name, dims, axis, block)?, zero))
}

/// Reads whole numbers as the real ones that they stand for.
pub(super) fn dequantize(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    node.int("output_dtype")?;
    let value = match graph.input(node, 0)? {
        value @ (Value::Data(_) | Value::Delayed(_)) => value,
        Value::Input(feed) => {
            let name = &graph.inputs[feed.input].name;
            let text = format!("x: the input {name:?} holds quantized numbers; export the model with real inputs");
            return Err(misfit(text));
        }
        other => {
            let x = whole(other, graph.limit).map_err(|e| e.at("x"))?;
            let (scale, zero) = spreads(graph, node, x.dims(), "x")?;
            return Ok(vec![Value::Constant(dequantized(x, scale, zero, graph.limit)?)]);
        }
    };
    if let Value::Data(data) = &value
        && let Some(data) = looked_up(graph, node, data)?
    {
        return Ok(vec![Value::Data(data)]);
    }
    let (value, grid) = real_value(graph, value)?;
    let (scale, zero) = (scale(graph, node, 1, "x_scale")?, zero_point(graph, node, 2, "x_zero_point")?);
    // q is x / scale + zero of the one; the other takes it by its own. The numbers of a call are 1 and 0 here.
    let (own, from) = grid.map_or((1.0, 0), |grid| (grid.scale.get(), grid.zero));
    #[expect(clippy::cast_precision_loss, reason = "numbers of 16 bits")]
    let shift = (from - zero) as f32 * scale;
    let factor = if scale == own { 1.0 } else { scale / own };
    if matches!(value, Value::Delayed(_)) && (factor, shift) == (1.0, 0.0) {
        return Ok(vec![value]);
    }
    let data = graph.data(value, None)?;
    graph.links.scaled(data, factor, shift).map(|data| vec![Value::Data(data)])
}

/// Returns rows of a quantized table that tokens looked up, as rows of the real one. Returns `None` for other data.
fn looked_up(graph: &mut Graph, node: &Node<'_>, data: &Data) -> Result<Option<Data>> {
    let [Segment { link, .. }] = data.flat()[..] else { return Ok(None) };
    let old = graph.links.link(link).clone();
    let What::Layer(kind @ LayerKind::Embedding(_)) = &old.what else { return Ok(None) };
    let Some(table) = old.tensor(WEIGHT).filter(|_| graph.integers.contains(&link)) else { return Ok(None) };
    let (last, dims) = (data.axes.len().saturating_sub(1), table.dims().to_vec());
    let one = weight(graph, graph.input(node, 1)?).map_err(|e| e.at("x_scale"))?.len() == 1;
    let axis = node.int("axis")?.unwrap_or(1);
    if !one && (Value::axis(axis, data.axes.len())? != last || node.int("block_size")?.unwrap_or(0) != 0) {
        return Err(misfit(format!("axis: expected the features, the last axis, got {axis}")));
    }
    let spread = |of: Constant, name: &str| Spread::new(of, name, &dims, 1, 0);
    let scale = spread(weight(graph, graph.input(node, 1)?)?, "x_scale")?;
    let zero = whole_input(graph, node, 2)?.map(|zero| spread(zero, "x_zero_point")).transpose()?;
    let table = dequantized(table.clone(), scale, zero, graph.limit)?;
    let tensors = vec![(WEIGHT.to_owned(), table)];
    let real = graph.links.layer(old.parents[0], kind.clone(), old.features, tensors);
    let mut data = data.clone();
    data.content.iter_mut().flatten().for_each(|segment| segment.link = real);
    Ok(Some(data))
}

/// Reads real numbers that are rounded to whole ones by a scale which each call finds: here, 1 from 0 on.
pub(super) fn quantize_by_call(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let rounded = match graph.delayed(&x, &Late::Through(What::Quantized(None))) {
        Some(delayed) => delayed,
        None => {
            let data = graph.data(x, None)?;
            Value::Data(graph.links.through(data, What::Quantized(None), true)?)
        }
    };
    let (scale, zero) = (Tensor::new([], vec![1.0]), ndarray::arr0(super::size::Size::of(0)).into_dyn());
    Ok(vec![rounded, Value::Constant(Constant::new(scale)), Value::Numbers(zero)])
}

/// Returns the weights of a `DynamicQuantizeLSTM` at input `index`, `[directions, in, rows]`, as those of an LSTM:
/// `[directions, rows, in]`.
pub(super) fn of_lstm(graph: &mut Graph, node: &Node<'_>, index: usize) -> Result<Constant> {
    let name = if index == 1 { "W" } else { "R" };
    let x = whole(graph.input(node, index)?, graph.limit).map_err(|e| e.at(name))?;
    let &[directions, _, rows] = x.dims() else {
        return Err(misfit(format!("{name}: expected weights of three axes, got {:?}", x.dims())));
    };
    let spread = |of: Constant, part: &str| -> Result<Spread> {
        let shape = match *of.dims() {
            _ if of.len() == 1 => vec![1, 1, 1],
            [d] if d == directions => vec![d, 1, 1],
            [d, n] if (d, n) == (directions, rows) => vec![d, 1, n],
            ref other => {
                let text = format!("expected [{directions}] or [{directions}, {rows}], got {other:?}");
                return Err(misfit(format!("{name}_{part}: {text}")));
            }
        };
        Ok(Spread { numbers: of.changed(Change::Reshape(shape))?, blocks: None })
    };
    let at = 6 + 2 * index;
    let scale = spread(weight(graph, graph.input(node, at)?)?, "scale")?;
    let zero = whole_input(graph, node, at + 1)?.map(|zero| spread(zero, "zero_point")).transpose()?;
    graph.rounds = true;
    dequantized(x, scale, zero, graph.limit)?.changed(Change::Permute(vec![0, 2, 1]))
}
