//! Operators that move axes: Transpose, Squeeze, Unsqueeze,
//! Reshape, Flatten, Concat, Slice, Split, Expand, Tile, Identity.

use ndarray::{ArrayD, IxDyn};

use super::across;
use super::change::Change;
use super::constant::{Constant, MAX_NUMBERS, MAX_RANK};
use super::cut::Cut;
use super::graph::Graph;
use super::join;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::size::{Size, shape_text};
use super::value::{Fill, Filled, Repeated, Value};
use crate::error::Result;

/// ONNX's number of the type of truth values.
const BOOL: i64 = 9;

/// Reads Identity, and operators that are the identity at inference.
pub(super) fn identity(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if node.op == "Dropout"
        && let Some(mode) = graph.optional(node, 2)?
    {
        let off = matches!(&mode, Value::Numbers(n) if n.iter().all(|n| n.is(0)));
        if !off {
            return Err(misfit("training_mode: expected false".into()));
        }
    }
    if node.op == "Cast" {
        return cast(graph, node).map(|value| vec![value]);
    }
    Ok(vec![graph.input(node, 0)?])
}

/// Reads a cast that changes no numbers: reals are 32 bits wide here, and whole numbers 64.
fn cast(graph: &Graph, node: &Node<'_>) -> Result<Value> {
    let to = node.int("to")?.ok_or_else(|| misfit("to: expected a type".into()))?;
    let real = i32::try_from(to).is_ok_and(super::constant::is_real);
    match graph.input(node, 0)? {
        Value::Constant(constant) if !real => {
            Err(misfit(format!("real constants of {:?} to whole numbers", constant.dims())))
        }
        // Zeros and ones.
        Value::Data(data) if data.segments().all(|s| graph.links.is_one_hot(s.link)) => Ok(Value::Data(data)),
        Value::Data(data) if data.segments().all(|s| graph.links.link(s.link).what == What::Largest) => {
            Ok(Value::Data(data))
        }
        Value::Data(data) if !real => Err(misfit(format!("{} to whole numbers", data.axes_text()))),
        Value::Numbers(numbers) if real => Constant::of_numbers(&numbers).map(Value::Constant),
        // Whatever is not 0 is true. A size of a call stays, and a condition names it.
        Value::Numbers(numbers) if to == BOOL => Ok(Value::Numbers(numbers.mapv(|n| match n.value() {
            Some(known) => Size::of(i64::from(known != 0)),
            None => n,
        }))),
        Value::Whole(numbers) if real => Ok(Value::Constant(numbers)),
        other => Ok(other),
    }
}

pub(super) fn transpose(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let rank = value.sizes()?.len();
    let permutation = match node.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(axes) => axes.iter().map(|&axis| Value::axis(axis, rank)).collect::<Result<Vec<_>>>()?,
    };
    Ok(vec![value.permuted(&permutation)?])
}

pub(super) fn squeeze(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let mut value = graph.input(node, 0)?;
    let sizes = value.sizes()?;
    let axes = match graph.axes(node, sizes.len())? {
        Some(axes) => axes,
        None => (0..sizes.len()).filter(|&axis| sizes[axis].is(1)).collect(),
    };
    for &axis in axes.iter().rev() {
        value = value.dropped(axis)?;
    }
    Ok(vec![value])
}

pub(super) fn unsqueeze(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let mut value = graph.input(node, 0)?;
    let more = match (node.ints("axes")?, graph.whole_numbers(node, 1)?) {
        (Some(axes), _) => axes.len(),
        (None, axes) => axes.map_or(0, |axes| axes.len()),
    };
    let rank = value.sizes()?.len().saturating_add(more);
    let axes = graph.axes(node, rank)?.ok_or_else(|| misfit("expected axes, got none".into()))?;
    for axis in axes {
        value = value.inserted(axis)?;
    }
    Ok(vec![value])
}

pub(super) fn reshape(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let old = value.sizes()?;
    let mut wanted = graph.whole_numbers(node, 1)?.ok_or_else(|| misfit("expected a shape, got none".into()))?;
    if !node.flag("allowzero")? {
        for (i, size) in wanted.iter_mut().enumerate().filter(|(_, size)| size.is(0)) {
            *size = old.get(i).cloned().ok_or_else(|| misfit(format!("a 0 in axis {i}, which there is not")))?;
        }
    }
    in_shape(graph, value, wanted)
}

/// Gives `value` the shape `wanted`. An input whose axes are joined or split becomes data that flows.
fn in_shape(graph: &mut Graph, value: Value, wanted: Vec<Size>) -> Result<Vec<Value>> {
    let value = match &value {
        Value::Input(feed) if graph.flows(&value) && !feed.keeps_axes(&wanted) => Value::Data(graph.data(value, None)?),
        _ => value,
    };
    if let Value::Data(data) = &value
        && let Some(moved) = across::moved(graph, data, &wanted)?
    {
        return Ok(vec![Value::Data(moved)]);
    }
    Ok(vec![value.reshaped(wanted)?])
}

pub(super) fn flatten(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let sizes = value.sizes()?;
    let axis = match node.int("axis")?.unwrap_or(1) {
        axis if Size::len(sizes.len()).is(axis) => sizes.len(),
        axis => Value::axis(axis, sizes.len())?,
    };
    let product = |sizes: &[Size]| Size::product(sizes).ok_or_else(|| misfit("a product of unknown lengths".into()));
    let wanted = vec![product(&sizes[..axis])?, product(&sizes[axis..])?];
    in_shape(graph, value, wanted)
}

pub(super) fn concat(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if node.inputs.len() > MAX_NUMBERS {
        return Err(misfit(format!("joins {} tensors", node.inputs.len())));
    }
    let mut values = (0..node.inputs.len()).map(|i| graph.input(node, i)).collect::<Result<Vec<_>>>()?;
    let first = values.first().ok_or_else(|| misfit("joins nothing".into()))?;
    let axis = node.int("axis")?.ok_or_else(|| misfit("axis: expected a number".into()))?;
    let axis = Value::axis(axis, first.sizes()?.len())?;
    if values.len() == 1 {
        return Ok(values);
    }
    if values.iter().any(|value| graph.flows(value)) {
        if let Some(place) = values.iter().position(|value| !graph.flows(value)) {
            let text = format!("input {place}: expected what flows, as the others, got {}", values[place].kind());
            return Err(misfit(text + "; make it an input of the graph"));
        }
        if values.iter().any(|value| graph.is_time(value, axis)) {
            values.iter().try_for_each(|value| graph.tell_time(value, axis))?;
        }
        let all = values.into_iter().map(|value| graph.data(value, None)).collect::<Result<Vec<_>>>()?;
        return join::concat(graph, all, axis).map(|data| vec![Value::Data(data)]);
    }
    // Zeros among weights are weights.
    if values.iter().any(|value| matches!(value, Value::Constant(_))) {
        for value in &mut values {
            if let Value::Filled(filled) = value {
                *value = Value::Constant(super::axes::constant_of(filled, graph.limit)?);
            }
        }
    }
    Ok(vec![Value::concat(values, axis, graph.limit)?])
}

pub(super) fn slice(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let mut value = graph.input(node, 0)?;
    let rank = value.sizes()?.len();
    let attribute = |name| Ok(node.ints(name)?.map(|ints| ints.iter().map(|&n| Size::of(n)).collect::<Vec<_>>()));
    // Attributes before version 10, inputs since.
    let (starts, ends, axes, steps) = if node.opset < 10 {
        (attribute("starts")?, attribute("ends")?, attribute("axes")?, None)
    } else {
        let input = |i| graph.whole_numbers(node, i);
        (input(1)?, input(2)?, input(3)?, input(4)?)
    };
    let missing = || misfit("expected starts and ends, got none".into());
    let (starts, ends) = (starts.ok_or_else(missing)?, ends.ok_or_else(missing)?);
    let axes = axes.unwrap_or_else(|| (0..starts.len()).map(Size::len).collect());
    let steps = steps.unwrap_or_else(|| vec![Size::of(1); starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] || starts.len() > MAX_RANK {
        return Err(misfit("expected as many starts as ends, axes and steps".into()));
    }
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let known = axis.value().zip(step.value());
        let (axis, step) = known.ok_or_else(|| misfit("axes and steps that depend on the call".into()))?;
        let axis = Value::axis(axis, rank)?;
        let cut = Cut::of(&value.size(axis)?, start, end, step)?;
        value = graph.cut(value, axis, cut)?;
    }
    Ok(vec![value])
}

pub(super) fn split(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let axis = Value::axis(node.int("axis")?.unwrap_or(0), value.sizes()?.len())?;
    let count = node.outputs.len();
    if count == 0 || count > MAX_NUMBERS {
        return Err(misfit(format!("splits in {count} parts")));
    }
    let given: Option<Vec<i64>> = match (node.ints("split")?, graph.whole_numbers(node, 1)?) {
        (Some(lens), _) => Some(lens.to_vec()),
        (None, Some(lens)) => Some(lens.iter().map(|len| len.value().unwrap_or(-1)).collect()),
        (None, None) => None,
    };
    let mut size = value.size(axis)?;
    if let Some(all) = given.as_ref().map(|lens| lens.iter().fold(0_i64, |all, &len| all.saturating_add(len)))
        && size.value().is_none()
        && let Some(told) = graph.known.equal(&size, &Size::of(all))
    {
        size = told;
    }
    let whole = size.value().and_then(|n| usize::try_from(n).ok());
    let whole = whole.ok_or_else(|| misfit(format!("splits an axis of {size}")))?;
    let lens: Vec<i64> = match given {
        Some(lens) => lens,
        None => {
            if node.int("num_outputs")?.is_some_and(|n| !Size::len(count).is(n)) {
                return Err(misfit("num_outputs: expected as many as there are outputs".into()));
            }
            let chunk = whole.div_ceil(count);
            (0..count).map(|i| Size::len(chunk.min(whole.saturating_sub(i * chunk))).value().unwrap_or(0)).collect()
        }
    };
    let lens = lens.iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
    let lens = lens.map_err(|e| misfit("split: expected lengths of the file".into()).because(e))?;
    if lens.len() != count || lens.iter().try_fold(0_usize, |sum, &n| sum.checked_add(n)) != Some(whole) {
        return Err(misfit(format!("split: expected {count} lengths of together {whole}, got {lens:?}")));
    }
    let mut start = 0;
    let value = value.resized(&graph.known);
    let part = |len: usize| {
        let cut = if len == whole { Cut::All } else { Cut::Range { start, step: 1, len } };
        start += len;
        graph.cut(value.clone(), axis, cut)
    };
    lens.into_iter().map(part).collect()
}

pub(super) fn expand(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let wanted = graph.whole_numbers(node, 1)?.ok_or_else(|| misfit("expected a shape, got none".into()))?;
    if let Value::Data(data) = &value
        && graph.statistic(data).is_some()
    {
        // One number stands for all features.
        return Ok(vec![value]);
    }
    let old = value.sizes()?;
    let shape = broadcast(&old, &wanted)?;
    if shape == old {
        return Ok(vec![value]);
    }
    Ok(vec![repeated(graph, value, shape)?])
}

/// Repeats `value` along each axis as often as `repeats` says.
pub(super) fn tile(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let repeats = graph.whole_numbers(node, 1)?.ok_or_else(|| misfit("expected repeats, got none".into()))?;
    let old = value.sizes()?;
    if repeats.len() != old.len() {
        return Err(misfit(format!("repeats: expected one for each of {} axes, got {}", old.len(), repeats.len())));
    }
    let along = |(size, times): (&Size, &Size)| match (times.is(1), size.is(1)) {
        (true, _) => Ok(size.clone()),
        (_, true) => Ok(times.clone()),
        _ => Err(misfit(format!("repeats {size} elements {times} times"))),
    };
    let shape = old.iter().zip(&repeats).map(along).collect::<Result<Vec<_>>>()?;
    if shape == old {
        return Ok(vec![value]);
    }
    Ok(vec![repeated(graph, value, shape)?])
}

/// Repeats `value` to `shape`.
fn repeated(graph: &mut Graph, value: Value, shape: Vec<Size>) -> Result<Value> {
    if graph.flows(&value) {
        return graph.data(value, None)?.stretched(&shape).map(Value::Data);
    }
    let fill = match &value {
        Value::Filled(filled) => Some(filled.fill.clone()),
        Value::Numbers(numbers) if numbers.len() == 1 => numbers.first().cloned().map(Fill::Whole),
        Value::Constant(constant) => match constant.scalar()? {
            None if constant.is_zero()? => Some(Fill::Real(0.0)),
            scalar => scalar.map(Fill::Real),
        },
        _ => None,
    };
    match (fill, value) {
        (Some(fill), _) => Ok(filled(fill, shape)),
        (None, Value::Constant(constant) | Value::Repeated(Repeated { constant, .. })) => {
            let more = shape.len().checked_sub(constant.dims().len());
            let more = more.ok_or_else(|| misfit(format!("repeats a constant to {}", shape_text(&shape))))?;
            let dims = [vec![1; more], constant.dims().to_vec()].concat();
            Ok(Value::Repeated(Repeated { constant: constant.changed(Change::Reshape(dims))?, shape }))
        }
        (None, other) => Err(misfit(format!("repeats {} to {}", other.kind(), shape_text(&shape)))),
    }
}

/// Returns a tensor of equal elements. A few whole numbers are numbers of a shape.
pub(super) fn filled(fill: Fill, shape: Vec<Size>) -> Value {
    let dims: Option<Vec<usize>> = shape.iter().map(|n| n.value().and_then(|n| usize::try_from(n).ok())).collect();
    let few = |dims: &Vec<usize>| {
        dims.iter().try_fold(1_usize, |n, &d| n.checked_mul(d.max(1))).is_some_and(|n| n <= MAX_NUMBERS)
    };
    match (&fill, dims.filter(few)) {
        (Fill::Whole(n), Some(dims)) => Value::Numbers(ArrayD::from_elem(IxDyn(&dims), n.clone())),
        _ => Value::Filled(Filled { fill, shape }),
    }
}

/// Returns the shape that both shapes broadcast to.
fn broadcast(a: &[Size], b: &[Size]) -> Result<Vec<Size>> {
    let rank = a.len().max(b.len());
    if rank > MAX_RANK {
        return Err(misfit(format!("expected at most {MAX_RANK} axes, got {rank}")));
    }
    let at = |sizes: &[Size], i: usize| (i + sizes.len()).checked_sub(rank).map_or(Size::of(1), |i| sizes[i].clone());
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (a, b) if a == b || b.is(1) => Ok(a),
            (a, b) if a.is(1) => Ok(b),
            (a, b) => Err(misfit(format!("{a} elements stretched to {b}"))),
        })
        .collect()
}
