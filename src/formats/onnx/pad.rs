//! `Pad`: zeros around steps, which a convolution takes, or some of the steps themselves.

use super::graph::Graph;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::size::Size;
use super::value::{At, Data, Feed, Late, Pads, Role, Segment, Value};
use super::weights::weight;
use crate::error::Result;
use crate::model::{Dim, PadMode, PadSteps};

/// The most steps on a side. No model needs more.
const MOST: usize = 1 << 24;

/// Reads steps before and after those of a sequence.
pub(super) fn pad(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let mode = match node.text("mode")?.as_deref() {
        None | Some("constant") => None,
        Some("reflect") => Some(PadMode::Reflect),
        Some("edge") => Some(PadMode::Replicate),
        Some("wrap") => Some(PadMode::Circular),
        Some(other) => {
            return Err(misfit(format!("mode: expected constant, reflect, edge or wrap, got {other:?}")));
        }
    };
    let fill = match graph.optional(node, 2)? {
        None => node.float("value")?.unwrap_or(0.0),
        Some(value) => weight(graph, value)?.scalar()?.unwrap_or(f32::NAN),
    };
    if mode.is_none() && fill != 0.0 {
        return Err(misfit(format!("expected zeros before a convolution (mode constant), got {fill}")));
    }
    let value = graph.input(node, 0)?;
    let rank = value.sizes()?.len();
    let numbers: Vec<i64> = match (node.ints("pads")?, graph.whole_numbers(node, 1)?) {
        (Some(pads), _) => pads.to_vec(),
        (None, Some(pads)) => pads.iter().map(|n| n.value().unwrap_or(-1)).collect(),
        (None, None) => return Err(misfit("pads: expected numbers, got none".into())),
    };
    let axes = match graph.whole_numbers(node, 3)? {
        None => (0..rank).collect(),
        Some(axes) => {
            let axis = |axis: &Size| Value::axis(axis.value().unwrap_or(i64::MAX), rank);
            axes.iter().map(axis).collect::<Result<Vec<_>>>()?
        }
    };
    if numbers.len() != 2 * axes.len() {
        return Err(misfit(format!("pads: expected two for each of {} axes, got {}", axes.len(), numbers.len())));
    }
    let sides = |i: usize| [numbers[i], numbers[i + axes.len()]];
    let padded_axes: Vec<usize> = (0..axes.len()).filter(|&i| sides(i) != [0, 0]).collect();
    let &[only] = &padded_axes[..] else {
        return match padded_axes.len() {
            0 => Ok(vec![value]),
            _ => Err(misfit("expected steps along time alone".into())),
        };
    };
    let [before, after] = sides(only).map(|n| usize::try_from(n).ok().filter(|&n| n <= MOST));
    let (Some(before), Some(after)) = (before, after) else {
        return Err(misfit(format!("pads: expected from 0 to {MOST} of the file, got {:?}", sides(only))));
    };
    let (axis, pads) = (axes[only], Pads { mode, before, after });
    let source = |feed: &Feed| feed.axes.get(axis).and_then(|axis| axis.source);
    let source = match &value {
        Value::Input(feed) => source(feed),
        Value::Delayed(delayed) => source(&delayed.feed),
        _ => None,
    };
    if let Some(delayed) = source.and_then(|source| graph.delayed(&value, &Late::Padded(source, pads))) {
        return Ok(vec![delayed]);
    }
    let data = graph.data(value, None)?;
    padded(graph, data, axis, pads).map(|data| vec![Value::Data(data)])
}

/// Puts steps before and after those of `data` along axis `axis`.
pub(super) fn padded(graph: &mut Graph, mut data: Data, axis: usize, pads: Pads) -> Result<Data> {
    let Pads { mode, before, after } = pads;
    data.axes[axis] = graph.settle(&data.axes[axis], Dim::Time)?;
    let size = &data.axes[axis].size;
    let what = match mode {
        None => What::Padded(before, after),
        Some(mode) => {
            let pad = PadSteps::new(mode, before, after);
            let steps = size.value().and_then(|n| usize::try_from(n).ok());
            if let Some(steps) = steps.filter(|&steps| pad.out_steps(steps) == 0) {
                let text = format!("expected at least {} steps, which go before and after them", pad.least());
                return Err(misfit(format!("{text}, got {steps}")));
            }
            What::Layer(pad.into())
        }
    };
    let steps = size.plus(&Size::len(pads.count())).unwrap_or_else(|| graph.unknown());
    let features = data.position(&Role::Features).map(|place| data.axes[place].size.clone());
    let link = graph.links.exact(&data.flat())?;
    let len = graph.links.link(link).features;
    if data.content.ndim() > 0 || graph.links.link(link).time.is_none() || features != Some(Size::len(len)) {
        return Err(misfit(format!("expected a sequence of features, got {}", data.axes_text())));
    }
    let link = graph.links.child(link, what, len);
    data.axes[axis].size = steps;
    data.content.fill(vec![Segment { link, at: At::All, start: 0, len }]);
    Ok(data)
}
