//! Operators between steps and rows: pools over time, rows that are repeated, and shapes that move numbers between a
//! fixed number of steps and the features.

use super::folded;
use super::graph::Graph;
use super::join;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::reshape::told;
use super::scores;
use super::size::Size;
use super::statistics;
use super::value::{At, Axis, Data, Role, Segment, Value};
use super::weights::is_weight;
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::{Dim, Flatten, GlobalPool, Join, Merge, Reduce, Repeat, Reshape, Slice};

/// The most features of which the largest is found. Each is a layer.
const MAX_COMPARED: usize = 64;

/// Reads the largest, the smallest, the sum or the mean over an axis: of the steps, or of directions.
pub(super) fn reduce(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    let rank = value.sizes()?.len();
    let axes = match graph.axes(node, rank)?.filter(|axes| !axes.is_empty()) {
        Some(axes) => axes,
        None if node.int("noop_with_empty_axes")?.unwrap_or(0) != 0 => return Ok(vec![value]),
        None => (0..rank).collect(),
    };
    let keeps = node.int("keepdims")?.unwrap_or(1) != 0;
    if is_weight(&value) {
        return folded::reduced(graph, node.op, value, &axes, keeps).map(|value| vec![value]);
    }
    if graph.flows(&value) {
        let over = axes.clone();
        if let Some(found) = statistics::reduced(graph, node, &value, &over)? {
            return Ok(vec![found]);
        }
    }
    let value = match value {
        Value::Scored(scored) if node.op == "ReduceSum" => {
            let &[axis] = &axes[..] else { return Err(misfit(format!("expected one axis, got {axes:?}"))) };
            let sum = scores::summed(graph, *scored, axis)?;
            return Ok(vec![if keeps { sum } else { sum.dropped(axis)? }]);
        }
        other => other,
    };
    let sizes = value.sizes()?;
    let axes = graph.axes(node, sizes.len())?.unwrap_or_default();
    if let Some(found) = statistics::reduced(graph, node, &value, &axes)? {
        return Ok(vec![found]);
    }
    // Over an axis of length 1, there is nothing to do.
    let long = axes.iter().copied().filter(|&axis| !sizes[axis].is(1) || axes.len() == 1);
    let reduce = match node.op {
        "ReduceMax" => Reduce::Max,
        "ReduceMin" => Reduce::Min,
        "ReduceSum" => Reduce::Sum,
        _ => Reduce::Mean,
    };
    let mut value = value;
    for axis in long {
        value = reduced(graph, value, axis, reduce)?;
    }
    for &gone in axes.iter().rev().filter(|_| !keeps) {
        value = value.dropped(gone)?;
    }
    Ok(vec![value])
}

/// Reads a pool over all that follows batch and features: the steps.
pub(super) fn global_pool(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let value = graph.input(node, 0)?;
    if value.sizes()?.len() != 3 {
        return Err(misfit(format!("expected batch, features and time, got {} axes", value.sizes()?.len())));
    }
    let reduce = if node.op == "GlobalMaxPool" { Reduce::Max } else { Reduce::Mean };
    let pooled = reduced(graph, value.permuted(&[0, 2, 1])?, 1, reduce)?;
    Ok(vec![pooled.permuted(&[0, 2, 1])?])
}

/// Returns what `value` comes to along axis `axis`, which stays with length 1.
fn reduced(graph: &mut Graph, value: Value, axis: usize, reduce: Reduce) -> Result<Value> {
    let data = graph.data(value, None)?;
    let mut data = match data.axes[axis].role {
        Role::Parts => of_parts(graph, data, axis, reduce)?,
        Role::Time | Role::Open(_) => of_steps(graph, data, axis, reduce)?,
        Role::Features => return of_features(graph, data, axis, reduce).map(Value::Data),
        _ => {
            let text = format!("expected an axis of steps, features or directions, got axis {axis} of");
            return Err(misfit(format!("{text} {}", data.axes_text())));
        }
    };
    data.axes[axis] = Axis::one();
    Ok(Value::Data(data))
}

/// Returns what the features of `data` come to, which stay an axis of one.
fn of_features(graph: &mut Graph, mut data: Data, axis: usize, reduce: Reduce) -> Result<Data> {
    for cell in &mut data.content {
        let parent = graph.links.exact(cell)?;
        let link = of_all(graph, parent, reduce)?;
        *cell = vec![Segment { link, at: At::All, start: 0, len: 1 }];
    }
    data.axes[axis] = Axis::new(Role::Features, Size::of(1));
    Ok(data)
}

/// Returns the link of what all features of link `parent` come to.
fn of_all(graph: &mut Graph, parent: usize, reduce: Reduce) -> Result<usize> {
    let n = graph.links.link(parent).features;
    let negative = Activation::Affine { alpha: Number::new(-1.0), beta: Number::new(0.0) };
    Ok(match reduce {
        Reduce::Sum | Reduce::Mean => graph.links.reduced(parent, reduce == Reduce::Mean)?,
        Reduce::Max | Reduce::Min if n <= MAX_COMPARED => {
            let turns = reduce == Reduce::Min;
            // The smallest is the largest of the negated features, negated.
            let of = if turns { graph.links.child(parent, What::activation(negative), n) } else { parent };
            let each = (0..n).map(|at| graph.links.child(of, What::Layer(Slice::features(at, 1).into()), 1)).collect();
            let most = if n == 1 { of } else { graph.links.joined(Join::Maximum, each)? };
            if turns { graph.links.child(most, What::activation(negative), 1) } else { most }
        }
        _ => {
            let text = format!("the largest or smallest of {n} features: expected at most {MAX_COMPARED}");
            return Err(misfit(text));
        }
    })
}

fn of_steps(graph: &mut Graph, mut data: Data, axis: usize, reduce: Reduce) -> Result<Data> {
    data.axes[axis] = graph.settle(&data.axes[axis], Dim::Time)?;
    let mut pool = GlobalPool::new(reduce);
    for Segment { link, at, .. } in data.segments() {
        let time = graph.links.link(*link).time.filter(|_| *at == At::All);
        let time = time.ok_or_else(|| misfit("a pool of a row that meets steps".into()))?;
        // A graph counts the zeros behind the end of a row, too.
        pool.all_steps |= graph.links.times.has_lengths(time) || graph.links.times.is_derived(time);
    }
    graph.links.through(data, What::Layer(pool.into()), true)
}

/// Returns what the parts along `axis` come to: both directions of a layer, or any others.
fn of_parts(graph: &mut Graph, data: Data, axis: usize, reduce: Reduce) -> Result<Data> {
    let merge = match reduce {
        Reduce::Sum => Some(Merge::Sum),
        Reduce::Mean => Some(Merge::Average),
        Reduce::Max | Reduce::Min => None,
    };
    if let Some(merge) = merge.filter(|_| data.axes[axis].size.is(2)) {
        let one = |start| Value::Data(data.clone()).cut(axis, super::cut::Cut::Range { start, step: 1, len: 1 });
        if let (Value::Data(a), Value::Data(b)) = (one(0)?, one(1)?)
            && let Some(merged) = graph.links.merged(&a, &b, merge)
        {
            return Ok(merged);
        }
    }
    let join = match reduce {
        Reduce::Sum => Join::Add,
        Reduce::Mean => Join::Average,
        Reduce::Max => Join::Maximum,
        Reduce::Min => return Err(misfit("the smallest of several parts: no layer here finds it".into())),
    };
    if data.content.ndim() != 1 || data.content.len() < 2 {
        return Err(misfit(format!("expected one axis of parts, got {}", data.axes_text())));
    }
    let parts = data.content.iter().map(|cell| graph.links.exact(cell)).collect::<Result<Vec<_>>>()?;
    let link = graph.links.joined(join, parts)?;
    let content = ndarray::arr0(graph.links.whole(link)).into_dyn();
    Ok(Data { content, ..data })
}

/// Makes steps of axis `axis` of `data`, if it has parts of a row, or a row that stands there once or several times.
pub(super) fn as_steps(graph: &mut Graph, mut data: Data, axis: usize) -> Result<Data> {
    let Some(Axis { role, size, .. }) = data.axes.get(axis) else { return Ok(data) };
    let count = size.value().and_then(|n| usize::try_from(n).ok());
    let (role, Some(count)) = (role.clone(), count) else { return Ok(data) };
    let link = match role {
        // Values of several layers are joined, one step each.
        Role::Parts if data.content.len() > 1 && !is_of_one_link(&data) => {
            return join::concat_steps(graph, vec![data], axis);
        }
        Role::Parts if data.content.ndim() == 1 && count > 1 => {
            let len = |cell: &Vec<Segment>| cell.iter().map(|segment| segment.len).sum::<usize>();
            let features = data.content.first().map_or(0, len);
            let row = graph.links.exact(&data.flat())?;
            let row = graph.links.row(row)?;
            graph.links.child(row, What::Layer(Reshape::new(count, features).into()), features)
        }
        Role::Stretched if data.content.ndim() == 0 => {
            let row = graph.links.exact(&data.flat())?;
            let row = graph.links.row(row)?;
            let features = graph.links.link(row).features;
            graph.links.child(row, What::Layer(Repeat::new(count).into()), features)
        }
        Role::One if data.content.ndim() == 0 && is_row(graph, &data) => return one_step(graph, data, axis),
        _ => return Ok(data),
    };
    data.content = ndarray::arr0(graph.links.whole(link)).into_dyn();
    data.axes[axis] = Axis::new(Role::Time, Size::len(count));
    Ok(data)
}

/// Makes a sequence of one step of `data`, a row, along axis `axis`.
pub(super) fn one_step(graph: &mut Graph, mut data: Data, axis: usize) -> Result<Data> {
    let row = graph.links.exact(&data.flat())?;
    let row = graph.links.row(row)?;
    let link = graph.links.child(row, What::Layer(Repeat::new(1).into()), graph.links.link(row).features);
    data.content = ndarray::arr0(graph.links.whole(link)).into_dyn();
    data.axes[axis] = Axis::new(Role::Time, Size::of(1));
    Ok(data)
}

/// Whether `data` has no steps, or only one moment of them.
fn is_row(graph: &Graph, data: &Data) -> bool {
    data.segments().all(|segment| segment.at != At::All || graph.links.link(segment.link).time.is_none())
}

/// Whether all of `data` is in one link.
fn is_of_one_link(data: &Data) -> bool {
    let mut links = data.segments().map(|segment| segment.link);
    links.next().is_some_and(|first| links.all(|link| link == first))
}

/// Gives `data` the shape `wanted` if that moves numbers between a fixed number of steps and the features. Returns
/// `None` if it does not.
pub(super) fn moved(graph: &mut Graph, data: &Data, wanted: &[Size]) -> Result<Option<Data>> {
    let sizes: Vec<Size> = data.axes.iter().map(|axis| axis.size.clone()).collect();
    let Ok(wanted) = told(&sizes, wanted.to_vec()) else { return Ok(None) };
    let number = |size: &Size| size.value().and_then(|n| usize::try_from(n).ok());
    let last = data.axes.len().saturating_sub(1);
    let long = |sizes: &[Size]| (0..sizes.len()).filter(|&i| !sizes[i].is(1)).collect::<Vec<_>>();
    let (batch, time) = match long(&sizes)[..] {
        [batch, time, features] if features == last => (Some(batch), time),
        [time, features] if features == last => (None, time),
        _ => return Ok(None),
    };
    let is_step = matches!(graph.told(&data.axes[time]).role, Role::Time | Role::Open(_));
    let (Some(steps), Some(features)) = (number(&sizes[time]), number(&sizes[last])) else { return Ok(None) };
    if !is_step || data.axes[last].role != Role::Features || data.content.ndim() > 0 {
        return Ok(None);
    }
    let mut new = long(&wanted);
    if let Some(batch) = batch
        && (new.is_empty() || wanted[new.remove(0)] != sizes[batch])
    {
        return Ok(None);
    }
    let all = steps.saturating_mul(features);
    let (kind, time_at, len) = match new[..] {
        [only] if wanted[only] == Size::len(all) => (Flatten::new(steps).into(), None, all),
        [first, second] => match (number(&wanted[first]), number(&wanted[second])) {
            (Some(count), Some(len)) if count != steps && count.checked_mul(len) == Some(all) => {
                (Reshape::new(count, len).into(), Some(first), len)
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    if data.segments().any(|s| s.at != At::All || graph.links.link(s.link).time.is_none()) {
        return Ok(None);
    }
    graph.settle(&data.axes[time], Dim::Time)?;
    let mut rows = match batch {
        Some(batch) => Some(graph.settle(&data.axes[batch], Dim::Batch)?),
        None => data.axes[..time].iter().find(|axis| axis.role != Role::One).cloned(),
    };
    let link = graph.links.exact(&data.flat())?;
    let link = graph.links.child(link, What::Layer(kind), len);
    let axis = |(at, size): (usize, &Size)| match time_at {
        Some(time) if time == at => Axis::new(Role::Time, size.clone()),
        _ if new.last() == Some(&at) => Axis::new(Role::Features, Size::len(len)),
        _ => rows.take().unwrap_or_else(Axis::one),
    };
    let axes = wanted.iter().enumerate().map(axis).collect();
    Ok(Some(Data { content: ndarray::arr0(graph.links.whole(link)).into_dyn(), axes }))
}
