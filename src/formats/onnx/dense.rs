//! `Gemm`, `MatMul` and the arithmetic around them: products with weights, biases, scales, and sums of directions.

use super::change::Change;
use super::constant::{Constant, MAX_NUMBERS};
use super::folded;
use super::graph::Graph;
use super::integers;
use super::join;
use super::links::{Link, SCALE, SHIFT, What};
use super::misfit;
use super::node::Node;
use super::numbers;
use super::scores;
use super::size::Size;
use super::statistics;
use super::tokens;
use super::value::{At, Axis, Data, Role, Segment, Value};
use super::weights::{along, is_weight, scalar_or_weight, spread, times, vector, weight};
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::{Bias, Conv1d, Join, LayerKind, Linear, Merge};
use crate::weights::dialect::{BIAS, WEIGHT};

/// The most directions and layers of a value.
const MAX_PARTS: usize = 64;

/// Reads `alpha · A · B + beta · C`, where A flows and B and C are weights.
pub(super) fn gemm(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (alpha, beta) = (node.float("alpha")?.unwrap_or(1.0), node.float("beta")?.unwrap_or(1.0));
    if node.flag("transA")? {
        return Err(misfit("transA: expected 0".into()));
    }
    let mut w = weight(graph, graph.input(node, 1)?)?;
    if w.dims().len() != 2 {
        return Err(misfit(format!("expected weights of two axes, got {:?}", w.dims())));
    }
    if !node.flag("transB")? {
        w = w.changed(Change::Permute(vec![1, 0]))?;
    }
    let (rows, columns) = (w.dims()[0], w.dims()[1]);
    let x = graph.input(node, 0)?;
    let data = graph.data(x, Some(columns))?;
    if data.axes.len() != 2 {
        return Err(misfit(format!("expected two axes, got {}", data.axes_text())));
    }
    let w = times(w, alpha, graph.limit)?;
    let b = match graph.optional(node, 2)? {
        None => None,
        Some(c) => {
            let c = vector(weight(graph, c)?, rows, graph.limit)?;
            Some(times(c, beta, graph.limit)?)
        }
    };
    linear(graph, data, w, b).map(|data| vec![Value::Data(data)])
}

/// Reads a product of data that flows and weights.
pub(super) fn matmul(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (x, w) = (graph.input(node, 0)?, graph.input(node, 1)?);
    if scores::are_values(graph, &x, &w) {
        return scores::product(graph, x, w).map(|value| vec![value]);
    }
    if is_weight(&x) && is_weight(&w) {
        return folded::product(weight(graph, x)?, weight(graph, w)?, graph.limit).map(|value| vec![value]);
    }
    let w = weight(graph, w)?;
    let lone = w.dims().len() == 1;
    let w = match *w.dims() {
        [k] => w.changed(Change::Reshape(vec![1, k]))?,
        [_, _] => w.changed(Change::Permute(vec![1, 0]))?,
        ref other => return Err(misfit(format!("expected weights of two axes, got {other:?}"))),
    };
    let data = graph.data(x, Some(w.dims()[1]))?;
    let data = linear(graph, data, w, None)?;
    let last = data.axes.len() - 1;
    Ok(vec![Value::Data(if lone { data.dropped(last) } else { data })])
}

/// Applies `f` to each part of `data`. Separate directions or layers share the weights that it adds.
fn each_part(data: Data, mut f: impl FnMut(Data) -> Result<Data>) -> Result<Data> {
    let mut whole = data;
    if whole.content.len() > MAX_PARTS {
        return Err(misfit(format!("expected at most {MAX_PARTS} parts, got {}", whole.axes_text())));
    }
    let axes: Vec<Axis> = whole.axes.iter().filter(|axis| axis.role != Role::Parts).cloned().collect();
    let mut size = None;
    for cell in &mut whole.content {
        let part = f(Data { content: ndarray::arr0(cell.clone()).into_dyn(), axes: axes.clone() })?;
        size = part.axes.iter().find(|axis| axis.role == Role::Features).map(|axis| axis.size.clone());
        *cell = part.flat();
    }
    if let (Some(size), Some(place)) = (size, whole.position(&Role::Features)) {
        whole.axes[place].size = size;
    }
    Ok(whole)
}

/// Multiplies `data`, whose features are its last axis, by weights `w` `[in, out]`.
pub(super) fn product(graph: &mut Graph, data: Data, w: Constant, b: Option<Constant>) -> Result<Data> {
    linear(graph, data, w.changed(Change::Permute(vec![1, 0]))?, b)
}

/// Multiplies `data`, whose features are its last axis, by weights `w` `[out, in]`.
fn linear(graph: &mut Graph, mut data: Data, w: Constant, b: Option<Constant>) -> Result<Data> {
    if data.content.ndim() > 0 {
        return each_part(data, |part| linear(graph, part, w.clone(), b.clone()));
    }
    let (rows, columns) = (w.dims()[0], w.dims()[1]);
    let last = data.axes.len().saturating_sub(1);
    match data.axes.get(last) {
        Some(Axis { role: Role::Features, size, .. }) if *size == Size::len(columns) => {}
        _ => {
            let text = format!("expected {columns} features in the last axis, got {}", data.axes_text());
            return Err(misfit(text));
        }
    }
    let (parent, runs) = graph.links.taken(&data, true)?;
    let features = graph.links.link(parent).features;
    let w = if graph.links.is_whole(parent, &runs) { w } else { spread(w, &runs, features, graph.limit)? };
    let (parent, w, added) = unscaled(graph, parent, w)?;
    let b = match (b, added) {
        (Some(b), Some(added)) => {
            Some(Constant::computed(vec![b, added], vec![rows], graph.limit, |of| &of[0] + &of[1])?)
        }
        (b, added) => b.or(added),
    };
    let mut kind = Linear::new(features, rows);
    if b.is_none() {
        kind = kind.no_bias();
    }
    let tensors = [Some((WEIGHT.to_owned(), w)), b.map(|b| (BIAS.to_owned(), b))];
    let link = graph.links.layer(parent, kind.into(), rows, tensors.into_iter().flatten().collect());
    data.axes[last].size = Size::len(rows);
    data.content.fill(vec![Segment { link, at: At::All, start: 0, len: rows }]);
    Ok(data)
}

/// Reads Add, Sub, Mul and Div: of shapes, of weights, and of data with a weight, another direction or other data.
pub(super) fn arithmetic(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (a, b) = (graph.input(node, 0)?, graph.input(node, 1)?);
    combined(graph, node.op, a, b).map(|value| vec![value])
}

/// Returns the sum, difference, product or quotient of two values.
pub(super) fn combined(graph: &mut Graph, op: &str, a: Value, b: Value) -> Result<Value> {
    if let Some(tokens) = tokens::arithmetic(op, &a, &b) {
        return Ok(tokens);
    }
    Ok(match (a, b) {
        (Value::Numbers(a), Value::Numbers(b)) => numbers::arithmetic(op, &a, &b)?,
        (Value::Scored(scored), weight) if is_weight(&weight) => {
            scores::weighted(op, *scored, &scalar_or_weight(graph, weight)?)?
        }
        (weight, Value::Scored(scored)) if is_weight(&weight) && matches!(op, "Add" | "Mul") => {
            scores::weighted(op, *scored, &scalar_or_weight(graph, weight)?)?
        }
        (Value::Scored(scored), value) | (value, Value::Scored(scored)) if op == "Mul" && graph.flows(&value) => {
            let value = graph.data(value, None)?;
            scores::times_value(graph, *scored, value)?
        }
        (a, b) if graph.flows(&a) && graph.flows(&b) => {
            let (a, b) = (graph.data(a, None)?, graph.data(b, None)?);
            Value::Data(both(graph, op, a, b)?)
        }
        (flow @ (Value::Data(_) | Value::Input(_)), other) if is_weight(&other) => {
            let data = graph.data(flow, None)?;
            let weight = scalar_or_weight(graph, other)?;
            Value::Data(weighted(graph, op, data, weight)?)
        }
        (other, flow @ (Value::Data(_) | Value::Input(_))) if is_weight(&other) => {
            let data = graph.data(flow, None)?;
            let weight = scalar_or_weight(graph, other)?;
            Value::Data(match op {
                "Sub" => {
                    let minus = Constant::filled(-1.0, Vec::new(), graph.limit)?;
                    let negative = weighted(graph, "Mul", data, minus)?;
                    weighted(graph, "Add", negative, weight)?
                }
                "Div" => statistics::inverse(graph, data, &weight)?,
                op => weighted(graph, op, data, weight)?,
            })
        }
        (a, b) if is_weight(&a) && is_weight(&b) => of_weights(graph, op, a, b)?,
        (a, b) => {
            if let Some(asked) = [&a, &b].into_iter().find(|value| graph.lone_input(value).is_some()) {
                return Err(graph.untold(asked, "a number of the file"));
            }
            return Err(misfit(format!("expected a sequence and a weight, got {} and {}", a.kind(), b.kind())));
        }
    })
}

fn of_weights(graph: &Graph, op: &str, a: Value, b: Value) -> Result<Value> {
    let (a, b) = (weight(graph, a)?, weight(graph, b)?);
    let f: fn(f32, f32) -> f32 = match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        _ => |a, b| a / b,
    };
    folded::pairs(a, b, graph.limit, f)
}

/// Scales or shifts the input sequence by a number, or by one for each feature. The layer that takes it absorbs that.
fn scaled_input(graph: &mut Graph, op: &str, data: &Data, weight: &Constant) -> Result<Option<Data>> {
    let Some(axis) = data.position(&Role::Features) else { return Ok(None) };
    let (link, runs) = graph.links.resolve_data(data)?;
    let features = graph.links.link(link).features;
    let fits = weight.len() == 1 || weight.len() == features && along(weight, data, axis);
    let old = match graph.links.link(link) {
        Link { what: What::Source(_), .. } => Vec::new(),
        Link { what: What::Scaled, tensors, .. } => tensors.clone(),
        _ => return Ok(None),
    };
    if !fits || weight.dims().len() > data.axes.len() || !graph.links.is_whole(link, &runs) {
        return Ok(None);
    }
    let source = graph.links.link(link).parent().unwrap_or(link);
    let part = |name: &str| old.iter().find(|(own, _)| own == name).map(|(_, constant)| constant.clone());
    let limit = graph.limit;
    let vector = match weight.len() {
        1 => vector(weight.clone(), features, limit)?,
        _ => weight.clone().changed(Change::Reshape(vec![features]))?,
    };
    let with = |old: Constant, f: fn(f32, f32) -> f32| {
        Constant::computed(vec![old, vector.clone()], vec![features], limit, move |of| {
            let mut all = of[0].clone();
            all.zip_mut_with(&of[1], |a, &b| *a = f(*a, b));
            all
        })
    };
    let filled = |x| Constant::filled(x, vec![features], limit);
    let scale = part(SCALE).map_or_else(|| filled(1.0), Ok)?;
    let shift = |first: Option<Constant>| first.map_or_else(|| filled(0.0), Ok);
    let (scale, shift) = match op {
        "Add" => (scale, Some(with(shift(part(SHIFT))?, |a, b| a + b)?)),
        "Sub" => (scale, Some(with(shift(part(SHIFT))?, |a, b| a - b)?)),
        "Mul" => (with(scale, |a, b| a * b)?, part(SHIFT).map(|old| with(old, |a, b| a * b)).transpose()?),
        _ => (with(scale, |a, b| a / b)?, part(SHIFT).map(|old| with(old, |a, b| a / b)).transpose()?),
    };
    let link = graph.links.scaled_source(source, scale, shift);
    let mut data = data.clone();
    data.relink(link);
    Ok(Some(data))
}

/// Turns weights `w` `[rows, features]` of link `link` into weights of the input that it scales, and a bias.
///
/// At dead steps the bias is wrong, but their product is not used.
pub(super) fn unscaled(graph: &Graph, link: usize, w: Constant) -> Result<(usize, Constant, Option<Constant>)> {
    let scaled = graph.links.link(link);
    let (What::Scaled, Some(source)) = (&scaled.what, scaled.parent()) else { return Ok((link, w, None)) };
    let part = |name: &str| scaled.tensor(name).cloned();
    let (shape, limit) = (w.dims().to_vec(), graph.limit);
    let added = match part(SHIFT) {
        Some(shift) => Some(Constant::computed(vec![w.clone(), shift], vec![shape[0]], limit, |of| {
            let sum = |row: ndarray::ArrayViewD<'_, f32>| {
                let products = row.iter().zip(&of[1]).map(|(&w, &x)| f64::from(w) * f64::from(x));
                #[expect(clippy::cast_possible_truncation, reason = "rounded once, to the nearest")]
                let sum = products.sum::<f64>() as f32;
                sum
            };
            ndarray::Array1::from_iter(of[0].outer_iter().map(sum)).into_dyn()
        })?),
        None => None,
    };
    let scale = part(SCALE).expect("a scaled input has its factors");
    let w = Constant::computed(vec![w, scale], shape, limit, |of| &of[0] * &of[1])?;
    Ok((source, w, added))
}

/// Combines data that flows with a weight.
fn weighted(graph: &mut Graph, op: &str, data: Data, weight: Constant) -> Result<Data> {
    if let Some(data) = statistics::weighted(graph, op, &data, &weight)? {
        return Ok(data);
    }
    if let Some(data) = integers::scaled(graph, op, &data, &weight)? {
        return Ok(data);
    }
    // Exporters add 0 and multiply by 1 where that keeps an input.
    let neutral = if matches!(op, "Add" | "Sub") { 0.0 } else { 1.0 };
    let grows = weight.dims().len() > data.axes.len();
    if !grows && weight.scalar()? == Some(neutral) {
        return Ok(data);
    }
    let last = data.axes.len().saturating_sub(1);
    if data.content.ndim() > 0
        && weight.len() > 1
        && data.position(&Role::Features) == Some(last)
        && along(&weight, &data, last)
    {
        return each_part(data, |part| weighted(graph, op, part, weight.clone()));
    }
    if data.content.ndim() == 0
        && let Some(data) = scaled_input(graph, op, &data, &weight)?
    {
        return Ok(data);
    }
    let rank_grows = weight.dims().len() > data.axes.len();
    let features = data.position(&Role::Features).map(|axis| (axis, data.axes[axis].size.clone()));
    if let ("Add" | "Sub", Some((axis, size))) = (op, features)
        && let Some(n) = size.value().and_then(|n| usize::try_from(n).ok())
        && (weight.len() == n && along(&weight, &data, axis))
        && !rank_grows
    {
        let vector = weight.clone().changed(Change::Reshape(vec![n]))?;
        let vector = if op == "Sub" { times(vector, -1.0, graph.limit)? } else { vector };
        if let Some(data) = biased(graph, &data, vector)? {
            return Ok(data);
        }
    }
    let dims = weight.dims().to_vec();
    let scalar = if rank_grows { None } else { weight.scalar()? };
    let Some(x) = scalar else {
        let axis = data.position(&Role::Features).filter(|&axis| !rank_grows && along(&weight, &data, axis));
        if let Some(axis) = axis.filter(|&axis| data.axes[axis].size == Size::len(weight.len())) {
            return of_each(graph, op, data, weight, axis);
        }
        return Err(misfit(format!(
            "{op} of {} and a weight of {dims:?}, which is no number and no vector of its features",
            data.axes_text()
        )));
    };
    match op {
        "Add" => graph.links.scaled(data, 1.0, x),
        "Sub" => graph.links.scaled(data, 1.0, -x),
        "Mul" => graph.links.scaled(data, x, 0.0),
        _ => graph.links.scaled(data, 1.0 / x, 0.0),
    }
}

/// Combines data that flows with one number for each of its features.
fn of_each(graph: &mut Graph, op: &str, mut data: Data, weight: Constant, axis: usize) -> Result<Data> {
    let n = weight.len();
    if data.content.ndim() > 0 {
        return Err(misfit(format!("{op} of {} and a vector for each part", data.axes_text())));
    }
    let vector = weight.changed(Change::Reshape(vec![n]))?;
    let ones = || Constant::filled(1.0, vec![n], graph.limit.max(n));
    let (scale, shift) = match op {
        "Add" => (ones()?, Some(vector)),
        "Sub" => (ones()?, Some(times(vector, -1.0, graph.limit)?)),
        "Mul" => (vector, None),
        _ => (Constant::computed(vec![vector], vec![n], graph.limit, |of| of[0].mapv(f32::recip))?, None),
    };
    let parent = graph.links.exact(&data.flat())?;
    let link = graph.links.diagonal(parent, scale, shift)?;
    data.fill(link);
    data.axes[axis].size = Size::len(n);
    Ok(data)
}

/// Adds `vector` to `data`, if that is a product without a bias yet.
fn biased(graph: &mut Graph, data: &Data, vector: Constant) -> Result<Option<Data>> {
    let (link, runs) = graph.links.resolve_data(data)?;
    let kind: LayerKind = match &graph.links.link(link).what {
        _ if !graph.links.is_whole(link, &runs) => return Ok(None),
        What::Layer(LayerKind::Linear(linear)) => {
            Linear { bias: Bias::One, activation: Activation::Linear, ..linear.clone() }.into()
        }
        What::Layer(LayerKind::Conv1d(conv)) => Conv1d { bias: Bias::One, ..conv.clone() }.into(),
        _ => return Ok(None),
    };
    let old = graph.links.link(link).clone();
    let mut tensors = old.tensors;
    let bias = match tensors.iter().position(|(name, _)| name == BIAS) {
        None => vector,
        Some(place) => {
            let first = tensors.remove(place).1;
            let shape = vector.dims().to_vec();
            Constant::computed(vec![first, vector], shape, graph.limit, |of| &of[0] + &of[1])?
        }
    };
    tensors.push((BIAS.to_owned(), bias));
    let link = graph.links.layer(old.parents[0], kind, old.features, tensors);
    let mut data = data.clone();
    data.relink(link);
    Ok(Some(data))
}

/// Combines both directions of a layer, a value and a function of it, or any two values.
pub(super) fn both(graph: &mut Graph, op: &str, a: Data, b: Data) -> Result<Data> {
    if let Some(data) = statistics::both(graph, op, &a, &b)? {
        return Ok(data);
    }
    let merge = match op {
        "Add" => Some(Merge::Sum),
        "Mul" => Some(Merge::Product),
        _ => None,
    };
    if let Some(merged) = merge.and_then(|merge| graph.links.merged(&a, &b, merge)) {
        return Ok(merged);
    }
    if op == "Mul"
        && let Some(gated) = graph.links.gated(&a, &b).or_else(|| graph.links.gated(&b, &a))
    {
        return Ok(gated);
    }
    if op == "Sub"
        && let Some(shrunk) = graph.links.shrunk(&a, &b)
    {
        return Ok(shrunk);
    }
    let join = match op {
        "Add" => Join::Add,
        "Sub" => Join::Subtract,
        "Mul" => Join::Multiply,
        _ => return Err(misfit(format!("{op} of {} by {}: no layer here divides", a.axes_text(), b.axes_text()))),
    };
    join::elementwise(graph, join, vec![a, b])
}

/// Reads Sum, Mean, Max and Min: of values, or Max and Min of a value and a number.
pub(super) fn of_many(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if node.inputs.len() > MAX_NUMBERS {
        return Err(misfit(format!("{} values", node.inputs.len())));
    }
    let values = (0..node.inputs.len()).map(|i| graph.input(node, i)).collect::<Result<Vec<_>>>()?;
    let (flowing, others): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| graph.flows(value));
    let mut all = flowing.into_iter().map(|value| graph.data(value, None)).collect::<Result<Vec<_>>>()?;
    let negative = Activation::Affine { alpha: Number::new(-1.0), beta: Number::new(0.0) };
    let mut one = match all.len() {
        0 => return Err(misfit("expected a sequence among the values, got none".into())),
        1 => all.remove(0),
        _ => {
            let join = match node.op {
                "Sum" => Join::Add,
                "Mean" if others.is_empty() => Join::Average,
                "Mean" => return Err(misfit("the mean of values and a constant".into())),
                _ => Join::Maximum,
            };
            if node.op == "Min" {
                // The smallest is the largest of the negated values, negated.
                let turned = all.into_iter().map(|data| graph.links.activate(data, negative)).collect::<Result<_>>()?;
                let largest = join::elementwise(graph, join, turned)?;
                graph.links.activate(largest, negative)?
            } else {
                join::elementwise(graph, join, all)?
            }
        }
    };
    for other in others {
        let weight = scalar_or_weight(graph, other)?;
        one = match (node.op, weight.scalar()?) {
            ("Sum", _) => weighted(graph, "Add", one, weight)?,
            ("Max", Some(x)) => statistics::clamped(graph, one, x, f32::MAX)?,
            ("Min", Some(x)) => statistics::clamped(graph, one, f32::MIN, x)?,
            _ => return Err(misfit(format!("{} of values and constants of {:?}", node.op, weight.dims()))),
        };
    }
    Ok(vec![Value::Data(one)])
}
