//! States that are packed along two axes of one tensor: those of several layers, and of each its hidden and cell state.
//!
//! The first axis is steps here, and the second one parts of their features. Knows no operator.

use super::graph::{Graph, GraphInput};
use super::misfit;
use super::size::Size;
use super::value::{At, Axis, Data, Feed, FeedAxis, Role, Segment};
use crate::error::Result;
use crate::model::{Dim, Join, SliceSteps};

/// Returns the one element along two axes that `feed` is of its input, as a row.
pub(super) fn element(graph: &mut Graph, feed: &Feed, wanted: Option<usize>) -> Result<Data> {
    let GraphInput { name, first_axis, sizes, .. } = &graph.inputs[feed.input];
    let unread = format!("a part of the input {name:?} along {} axes: expected at most two", feed.fixed.len());
    let (first_axis, sizes) = (*first_axis, sizes.clone());
    let mut fixed = feed.fixed.clone();
    fixed.sort_unstable();
    let number = |size: &Size| size.value().and_then(|n| usize::try_from(n).ok());
    let (&[(steps, at), (parts, part)], Some(FeedAxis { source: Some(last), whole: true, .. })) =
        (&fixed[..], feed.axes.last())
    else {
        return Err(misfit(unread));
    };
    let (Some(groups), Some(len)) = (number(&sizes[parts]), number(&sizes[*last])) else {
        return Err(misfit(unread));
    };
    if wanted.is_some_and(|wanted| wanted != len) {
        return Err(misfit(format!("expected an input of {} features, got {len}", wanted.unwrap_or(0))));
    }
    for (source, dim) in [(steps, Dim::Time), (parts, Dim::Directions), (*last, Dim::Features)] {
        if graph.roles.tell(first_axis + source, dim)? != dim {
            return Err(misfit(format!("axis {source} of the input as {dim:?}, which it was not before")));
        }
    }
    let axis = |axis: &FeedAxis| match axis.source {
        None => Ok(Axis::one()),
        Some(source) if axis.whole => {
            Ok(Axis { role: Role::Open(first_axis + source), size: axis.size.clone(), sorted: axis.sorted })
        }
        Some(_) => Err(misfit(unread.clone())),
    };
    let mut axes = feed.axes.iter().map(axis).collect::<Result<Vec<_>>>()?;
    let features = axes.len() - 1;
    axes[features] = Axis::new(Role::Features, Size::len(len));
    let all = len.saturating_mul(groups);
    let link = graph.source(feed.input, all);
    if graph.links.link(link).features != all {
        return Err(misfit(format!("expected an input of {all} features, as it was before")));
    }
    let place = |at: usize| i64::try_from(at).map_err(|e| misfit("a step".into()).because(e));
    let link = graph.links.stretch(link, SliceSteps::from(place(at)?).to(place(at)?.saturating_add(1)))?;
    let cell = vec![Segment { link, at: At::Last, start: part.saturating_mul(len), len }];
    Ok(Data { content: ndarray::arr0(cell).into_dyn(), axes })
}

/// Returns `data`, rows apart along two axes, as steps of parts. Returns other data as it is.
pub(super) fn as_steps(graph: &mut Graph, mut data: Data) -> Result<Data> {
    let has_steps = data.axes.iter().any(|axis| matches!(axis.role, Role::Time));
    let (Some(first), 2, false) = (data.position(&Role::Parts), data.content.ndim(), has_steps) else {
        return Ok(data);
    };
    let mut steps = Vec::with_capacity(data.content.shape()[0]);
    for parts in data.content.outer_iter() {
        let mut row = Vec::with_capacity(parts.len());
        for cell in &parts {
            let part = graph.links.exact(cell)?;
            let part = graph.links.as_one_part(part);
            row.push(graph.links.row(part)?);
        }
        steps.push(if row.len() == 1 { row[0] } else { graph.links.joined(Join::Concat, row)? });
    }
    let parts = data.content.shape()[1];
    let link = graph.links.joined(Join::ConcatSteps, steps)?;
    let len = graph.links.link(link).features / parts.max(1);
    let cell = |part: usize| vec![Segment { link, at: At::All, start: part * len, len }];
    data.content = (0..parts).map(cell).collect::<ndarray::Array1<_>>().into_dyn();
    data.axes[first].role = Role::Time;
    Ok(data)
}
