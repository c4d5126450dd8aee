//! Joins of values: concatenation along an axis (also time), or element
//! by element. A value without steps is combined with every step.

use super::constant::Constant;
use super::graph::{Graph, Of};
use super::misfit;
use super::size::Size;
use super::value::{Axis, Data, Role, Segment};
use crate::error::Result;
use crate::model::{Dim, Direction, Initial, Join, Linear, Recurrent};
use crate::weights::dialect::WEIGHT;

/// Concatenates `all` along `axis`.
pub(super) fn concat(graph: &mut Graph, mut all: Vec<Data>, axis: usize) -> Result<Data> {
    // One number for each step, beside the features.
    if all.iter().any(|data| data.axes.get(axis).is_some_and(|a| a.role == Role::Features)) {
        for data in &mut all {
            if data.position(&Role::Features).is_none() && data.axes.get(axis).is_some_and(|a| a.role == Role::One) {
                data.axes[axis].role = Role::Features;
            }
        }
    }
    graph.align(&mut all, Some(axis))?;
    let is_time = |a: &Axis| a.role == Role::Time || matches!(a.role, Role::Open(_)) && !a.size.is(1);
    pair_directions(graph, &mut all);
    match all.iter().any(|data| data.axes.get(axis).is_some_and(|axis| is_time(&graph.told(axis)))) {
        true => concat_steps(graph, all, axis),
        false => Data::concat(all, axis),
    }
}

/// If `all` are what two stacks give that go through one sequence forward and in reverse, makes one stack of both.
///
/// Exporters write a bidirectional layer so: two nodes, one of them between two flips of the steps.
fn pair_directions(graph: &mut Graph, all: &mut [Data]) {
    let [a, b] = &*all else { return };
    let ([a], [b]) = (&a.flat()[..], &b.flat()[..]) else { return };
    let direction = |of: &Segment| graph.links.stack(of.link).map(|stack| stack.direction);
    let (forward, reverse) = match (direction(a), direction(b)) {
        (Some(Direction::Forward), Some(Direction::Reverse)) => (a.link, b.link),
        (Some(Direction::Reverse), Some(Direction::Forward)) => (b.link, a.link),
        _ => return,
    };
    let (one, other) = (graph.links.link(forward), graph.links.link(reverse));
    let serials = [one.serial, other.serial];
    // A state or weights of a call are told by their node.
    let is_told = graph.drafts.iter().any(|draft| matches!(draft.of, Of::Link(serial) if serials.contains(&serial)));
    let begins_at_zero = [one, other].iter().all(|link| link.initial == [None; 2]);
    let (Some(first), Some(second)) = (graph.links.stack(forward), graph.links.stack(reverse)) else { return };
    let turned = Recurrent { direction: Direction::Forward, functions: first.functions, ..second.clone() };
    if one.parents != other.parents
        || [forward, reverse].iter().any(|&link| graph.links.is_taken(link))
        || is_told
        || !begins_at_zero
        || turned != *first
        || first.initial != Initial::Zero
        || first.is_merged()
    {
        return;
    }
    let functions = [first.functions[0], second.functions[0]];
    let stack = Recurrent { direction: Direction::Both, functions, ..first.clone() };
    graph.links.pair(forward, reverse, stack);
    for data in all {
        *data = graph.links.renewed(data.clone());
    }
}

/// Concatenates the steps of `all` along `axis`. A value without a time axis is one step, and parts are steps.
pub(super) fn concat_steps(graph: &mut Graph, mut all: Vec<Data>, axis: usize) -> Result<Data> {
    let (mut steps, mut size) = (Vec::with_capacity(all.len()), Some(Size::of(0)));
    for data in &mut all {
        size = size.and_then(|size| size.plus(&data.axes[axis].size));
        match data.axes[axis].role {
            Role::Parts if data.content.ndim() == 1 => {
                for cell in &data.content {
                    let row = graph.links.exact(cell)?;
                    steps.push(graph.links.row(row)?);
                }
                let first = data.content.first().cloned().unwrap_or_default();
                data.content = ndarray::arr0(first).into_dyn();
            }
            Role::One => {
                let row = graph.links.exact(&data.flat())?;
                steps.push(graph.links.row(row)?);
            }
            _ => {
                data.axes[axis] = graph.settle(&data.axes[axis], Dim::Time)?;
                steps.push(graph.links.exact(&data.flat())?);
            }
        }
    }
    if all.iter().any(|data| data.content.shape() != all[0].content.shape()) {
        return Err(misfit("directions or layers apart, joined with others over time".into()));
    }
    let link = graph.links.joined(Join::ConcatSteps, steps)?;
    let mut joined = all.swap_remove(0);
    joined.fill(link);
    joined.axes[axis] = Axis::new(Role::Time, size.unwrap_or_else(|| graph.unknown()));
    Ok(joined)
}

/// Joins `all` element by element. Each is repeated along axes of length 1.
pub(super) fn elementwise(graph: &mut Graph, join: Join, mut all: Vec<Data>) -> Result<Data> {
    let rank = all.iter().map(|data| data.axes.len()).max().unwrap_or(0);
    for data in &mut all {
        let more = rank - data.axes.len();
        data.axes.splice(0..0, vec![Axis::one(); more]);
    }
    let place = all.iter().find_map(|data| data.position(&Role::Features));
    let mut features = 1;
    if let Some(place) = place {
        for data in &mut all {
            let axis = &mut data.axes[place];
            if axis.role == Role::One && data.content.ndim() == 0 {
                *axis = Axis::new(Role::Features, Size::of(1));
            }
            if axis.role != Role::Features {
                return Err(misfit(format!("features that meet another axis: axis {place} of {}", data.axes_text())));
            }
            let own = axis.size.value().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            if own != features && own != 1 && features != 1 {
                return Err(misfit(format!("expected {features} features, got {}", data.axes_text())));
            }
            features = features.max(own);
        }
    }
    graph.align(&mut all, place)?;
    let shape = all.first().map(|data| data.content.shape().to_vec());
    if all.iter().any(|data| Some(data.content.shape()) != shape.as_deref()) {
        return Err(misfit("directions or layers apart meet features in one".into()));
    }
    let mut parents = Vec::with_capacity(all.len());
    for data in &mut all {
        parents.push(stretched(graph, data, place, features)?);
    }
    let link = graph.links.joined(join, parents)?;
    let mut joined = all.swap_remove(0);
    joined.fill(link);
    Ok(joined)
}

/// Returns the link with all features of `data`. One number for
/// each step is repeated for each of the `features` at `place`.
fn stretched(graph: &mut Graph, data: &mut Data, place: Option<usize>, features: usize) -> Result<usize> {
    let link = graph.links.exact(&data.flat())?;
    let Some(place) = place.filter(|&place| features > 1 && data.axes[place].size.is(1)) else { return Ok(link) };
    if data.content.ndim() > 0 {
        return Err(misfit(format!("one feature of {} that meets {features}", data.axes_text())));
    }
    let ones = Constant::filled(1.0, vec![features, 1], graph.limit)?;
    let kind = Linear::new(1, features).no_bias();
    let link = graph.links.layer(link, kind.into(), features, vec![(WEIGHT.to_owned(), ones)]);
    data.axes[place].size = Size::len(features);
    for segment in data.content.iter_mut().flatten() {
        segment.len = features;
    }
    Ok(link)
}
