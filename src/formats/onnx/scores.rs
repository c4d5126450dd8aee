//! Attention as exporters write it: products of two values that flow, a softmax over steps, and sums by its results.
//!
//! Between the first node and the last one, a value is scores: one for each step of a key, and
//! for each step of a query if there is one. The node that sums by them makes the layer.

use super::constant::Constant;
use super::graph::Graph;
use super::misfit;
use super::value::{Axis, Data, Mark, Role, ScoreAxis, Scored, Segment, Value};
use crate::error::Result;
use crate::model::{Attention, Dim, Scores};

/// Whether the product of `a` and `b` is none with weights.
pub(super) fn are_values(graph: &Graph, a: &Value, b: &Value) -> bool {
    let is = |value: &Value| matches!(value, Value::Scored(_)) || graph.flows(value);
    is(a) && is(b)
}

/// Returns the product of two values: scores, or sums by scores.
pub(super) fn product(graph: &mut Graph, a: Value, b: Value) -> Result<Value> {
    match (a, b) {
        (Value::Scored(scored), value) => {
            let value = graph.data(value, None)?;
            let last = scored.axes.len().saturating_sub(1);
            let (rows, columns) = last_two(&value)?;
            if scored.axes.get(last).map(|axis| axis.mark) != Some(Mark::Key) {
                return Err(misfit(format!("expected scores with the steps last, got {}", scored.axes_text())));
            }
            // Steps by features: the last axis of the result is the features.
            sums(graph, *scored, value, (rows, columns), last)
        }
        (value, Value::Scored(scored)) => {
            let value = graph.data(value, None)?;
            let (columns, rows) = last_two(&value)?;
            let before = scored.axes.len().checked_sub(2);
            let before = before.filter(|&at| scored.axes[at].mark == Mark::Key);
            let before = before
                .ok_or_else(|| misfit(format!("expected scores with the steps first, got {}", scored.axes_text())))?;
            sums(graph, *scored, value, (rows, columns), before)
        }
        (a, b) => {
            let (a, b) = (graph.data(a, None)?, graph.data(b, None)?);
            scores(graph, a, b)
        }
    }
}

/// Returns the last two axes of `data`.
fn last_two(data: &Data) -> Result<(usize, usize)> {
    match data.axes.len() {
        0 | 1 => Err(misfit(format!("expected two axes or more, got {}", data.axes_text()))),
        rank => Ok((rank - 2, rank - 1)),
    }
}

/// Returns the products of the features of each step of one value with those of another.
fn scores(graph: &mut Graph, mut a: Data, mut b: Data) -> Result<Value> {
    let ((a_rows, a_columns), (b_rows, b_columns)) = (last_two(&a)?, last_two(&b)?);
    let unfit = |a: &Data, b: &Data| {
        let text = format!("expected weights of the file, or the features of two values, got {}", a.axes_text());
        Err(misfit(format!("{text} times {}", b.axes_text())))
    };
    let features = |data: &Data, at: usize| data.axes[at].role == Role::Features;
    if a.axes.len() != b.axes.len() || !features(&a, a_columns) || !features(&b, b_rows) {
        return unfit(&a, &b);
    }
    if a.axes[a_columns].size != b.axes[b_rows].size || a.content.shape() != b.content.shape() {
        return unfit(&a, &b);
    }
    let mut axes = Vec::with_capacity(a.axes.len());
    for place in 0..a_rows {
        let met = graph.meet(&a.axes[place], &b.axes[place])?;
        (a.axes[place], b.axes[place]) = (met.clone(), met.clone());
        axes.push(ScoreAxis { mark: Mark::Others, axis: met });
    }
    let steps = |graph: &mut Graph, data: &mut Data, at: usize| -> Result<bool> {
        match graph.told(&data.axes[at]).role {
            Role::One => Ok(false),
            Role::Time => Ok(true),
            Role::Open(_) => {
                data.axes[at] = graph.settle(&data.axes[at], Dim::Time)?;
                Ok(true)
            }
            _ => Err(misfit(format!("expected steps in axis {at} of {}", data.axes_text()))),
        }
    };
    let (of_a, of_b) = (steps(graph, &mut a, a_rows)?, steps(graph, &mut b, b_columns)?);
    let axis = |mark: Mark, data: &Data, at: usize| ScoreAxis { mark, axis: data.axes[at].clone() };
    let (query, key) = match (of_a, of_b) {
        (has_steps, true) => {
            let query = if has_steps { axis(Mark::Query, &a, a_rows) } else { ScoreAxis::one() };
            axes.extend([query, axis(Mark::Key, &b, b_columns)]);
            (a, b)
        }
        (true, false) => {
            axes.extend([axis(Mark::Key, &a, a_rows), ScoreAxis::one()]);
            (b, a)
        }
        (false, false) => return unfit(&a, &b),
    };
    let scored = Scored { query: Some(query), key, axes, factor: 1.0, is_softmax: false, value: None };
    Ok(Value::Scored(Box::new(scored)))
}

/// Returns the softmax of `data` over its steps, along axis `axis`: of scores that are given.
pub(super) fn softmax_of_steps(graph: &mut Graph, mut data: Data, axis: usize) -> Result<Value> {
    data.axes[axis] = graph.settle(&data.axes[axis], Dim::Time)?;
    let features: usize = data.segments().map(|segment| segment.len).sum();
    if data.content.ndim() > 0 || features != 1 {
        return Err(misfit(format!(
            "a softmax over the steps of {}: expected one score for each step, whose softmax sums them",
            data.axes_text()
        )));
    }
    let mark = |(at, axis_of): (usize, &Axis)| {
        let mark = match &axis_of.role {
            _ if at == axis => Mark::Key,
            Role::Features | Role::One => Mark::One,
            _ => Mark::Others,
        };
        ScoreAxis { mark, axis: if mark == Mark::One { Axis::one() } else { axis_of.clone() } }
    };
    let axes = data.axes.iter().enumerate().map(mark).collect();
    let scored = Scored { query: None, key: data, axes, factor: 1.0, is_softmax: true, value: None };
    Ok(Value::Scored(Box::new(scored)))
}

/// Returns the softmax of `scored` along axis `axis`.
pub(super) fn softmax(mut scored: Scored, axis: usize) -> Result<Value> {
    if scored.is_softmax || scored.axes[axis].mark != Mark::Key {
        return Err(misfit(format!("expected the steps of the key, got axis {axis} of {}", scored.axes_text())));
    }
    scored.is_softmax = true;
    Ok(Value::Scored(Box::new(scored)))
}

/// Combines scores with a weight: a factor, or zeros that are added.
pub(super) fn weighted(op: &str, mut scored: Scored, weight: &Constant) -> Result<Value> {
    let number = weight.scalar()?.filter(|_| weight.dims().len() <= scored.axes.len());
    let text = format!("{op} of scores and a weight of {:?}", weight.dims());
    match (op, number) {
        _ if scored.is_softmax => return Err(misfit(format!("{text} behind their softmax"))),
        ("Mul", Some(x)) => scored.factor *= x,
        ("Div", Some(x)) => scored.factor /= x,
        // A softmax is the same for scores that all have grown by one number.
        ("Add" | "Sub", Some(_)) => {}
        _ => return Err(misfit(format!("{text}: expected a number"))),
    }
    Ok(Value::Scored(Box::new(scored)))
}

/// Multiplies the softmax of scores with a value, step by step.
pub(super) fn times_value(graph: &mut Graph, mut scored: Scored, mut value: Data) -> Result<Value> {
    let unfit = |scored: &Scored, value: &Data| {
        let text = format!("expected the steps of one value, got {}", scored.axes_text());
        Err(misfit(format!("{text} times {}", value.axes_text())))
    };
    let fits = scored.is_softmax && scored.value.is_none() && scored.position(Mark::Query).is_none();
    if !fits || scored.position(Mark::Key).is_none() || scored.axes.len() != value.axes.len() {
        return unfit(&scored, &value);
    }
    for at in 0..value.axes.len() {
        let own = &scored.axes[at];
        match (own.mark, &value.axes[at].role) {
            (Mark::One, Role::Features) => {
                scored.axes[at] = ScoreAxis { mark: Mark::Features, axis: value.axes[at].clone() };
            }
            (Mark::Key | Mark::Others, _) => value.axes[at] = graph.meet(&own.axis, &value.axes[at])?,
            (Mark::One, Role::One) => {}
            _ => return unfit(&scored, &value),
        }
    }
    if scored.position(Mark::Features).is_none() {
        return unfit(&scored, &value);
    }
    scored.value = Some(value);
    Ok(Value::Scored(Box::new(scored)))
}

/// Returns the sum of `scored` over axis `axis`: that of the steps of a value.
pub(super) fn summed(graph: &mut Graph, mut scored: Scored, axis: usize) -> Result<Value> {
    let value = scored.value.take().filter(|_| scored.axes[axis].mark == Mark::Key);
    let value = value.ok_or_else(|| {
        misfit(format!("expected the steps of a value times the softmax, got axis {axis} of {}", scored.axes_text()))
    })?;
    let link = attend(graph, &scored, &value)?;
    let axes = scored.axes.into_iter().map(|of| if of.mark == Mark::Key { Axis::one() } else { of.axis }).collect();
    Ok(Value::Data(Data { content: link, axes }))
}

/// Returns the sums of the steps of `value` by `scored`. Its steps are along axis `rows`, and its features along axis
/// `columns`. The features take the place of axis `key` of the scores, which has the steps of the key.
fn sums(
    graph: &mut Graph,
    scored: Scored,
    mut value: Data,
    (rows, columns): (usize, usize),
    key: usize,
) -> Result<Value> {
    let unfit = || misfit(format!("{} times {}", scored.axes_text(), value.axes_text()));
    let fits = scored.is_softmax && scored.value.is_none() && value.axes.len() == scored.axes.len();
    if !fits || value.axes[columns].role != Role::Features {
        return Err(unfit());
    }
    value.axes[rows] = graph.meet(&scored.axes[key].axis, &value.axes[rows])?;
    for at in (0..value.axes.len()).filter(|at| ![rows, columns].contains(at)) {
        value.axes[at] = graph.meet(&scored.axes[at].axis, &value.axes[at])?;
    }
    let content = attend(graph, &scored, &value)?;
    let mut axes: Vec<Axis> = scored.axes.iter().map(|of| of.axis.clone()).collect();
    axes[key] = value.axes[columns].clone();
    Ok(Value::Data(Data { content, axes }))
}

/// Adds the layers that sum `value` by `scored`, one for each separate part.
fn attend(graph: &mut Graph, scored: &Scored, value: &Data) -> Result<ndarray::ArrayD<Vec<Segment>>> {
    let shape = value.content.shape();
    let apart = scored.key.content.shape() != shape
        || scored.query.as_ref().is_some_and(|query| query.content.shape() != shape);
    if apart {
        return Err(misfit(format!("directions or layers apart: {} of {}", scored.axes_text(), value.axes_text())));
    }
    let mut content = value.content.clone();
    let cells = |data: &Data| data.content.iter().cloned().collect::<Vec<_>>();
    let (keys, values, queries) = (cells(&scored.key), cells(value), scored.query.as_ref().map(cells));
    for (index, cell) in content.iter_mut().enumerate() {
        let query = queries.as_ref().map(|queries| graph.links.exact(&queries[index])).transpose()?;
        let (key, value) = (graph.links.exact(&keys[index])?, graph.links.exact(&values[index])?);
        let features = graph.links.link(key).features;
        let plain = if query.is_some() { Attention::dot(features) } else { Attention::given() };
        let attention = if scored.factor == 1.0 { plain } else { plain.scale(scored.factor) };
        debug_assert_eq!(attention.scores == Scores::Given, query.is_none());
        let link = graph.links.attention(attention, query, key, value)?;
        *cell = graph.links.whole(link);
    }
    Ok(content)
}
