//! Convolutions over time.
//!
//! The axes are batch, features and time. What is read here has time before the features.

use std::collections::HashSet;

use super::across;
use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::links::{Link, What};
use super::misfit;
use super::node::Node;
use super::norms::with_features;
use super::size::Size;
use super::value::{At, Data, Role, Segment, Value};
use super::weights::weight;
use crate::error::Result;
use crate::model::{Conv1d, ConvPadding, Dim, LayerKind};
use crate::weights::dialect::{BIAS, WEIGHT};

/// The most zeros on a side. No model needs more.
const MOST_ZEROS: usize = 1 << 24;

/// Reads a convolution over one axis, which is time.
pub(super) fn conv(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let w = weight(graph, graph.input(node, 1)?)?;
    let bias = graph.optional(node, 2)?.map(|bias| weight(graph, bias)).transpose()?;
    let x = graph.input(node, 0)?;
    convolved(graph, node, x, w, bias).map(|data| vec![Value::Data(data)])
}

/// Returns `x` behind a convolution of weights `w` `[out, in / group, taps]`, with the attributes of `node`.
pub(super) fn convolved(
    graph: &mut Graph,
    node: &Node<'_>,
    x: Value,
    w: Constant,
    bias: Option<Constant>,
) -> Result<Data> {
    let &[units, inputs, taps] = w.dims() else {
        let text = format!("W: expected three axes (a convolution over time), got {:?}", w.dims());
        return Err(misfit(text));
    };
    let group = size_of("group", node.int("group")?.unwrap_or(1))?;
    let one = |name: &str| match node.ints(name)? {
        None => Ok(1),
        Some(&[n]) => size_of(name, n),
        Some(other) => Err(misfit(format!("{name}: expected one number, got {other:?}"))),
    };
    if node.ints("kernel_shape")?.is_some() && one("kernel_shape")? != taps {
        return Err(misfit(format!("kernel_shape: expected {taps}, as W has, got {}", one("kernel_shape")?)));
    }
    let features = inputs.checked_mul(group).ok_or_else(|| misfit(format!("group: expected fewer, got {group}")))?;
    let mut conv = Conv1d::new(features, units, taps).groups(group);
    (conv.stride, conv.dilation) = (one("strides")?, one("dilations")?);
    let data = with_features(graph, x, 1, features)?;
    let mut data = over_time(graph, data)?;
    let (parent, around) = unpadded(graph, &data)?;
    conv.padding = padding(node, &conv, around, &data.axes[1].size)?;
    let mut tensors = vec![(WEIGHT.to_owned(), w)];
    match bias {
        None => conv = conv.no_bias(),
        Some(bias) => {
            if bias.len() != units {
                return Err(misfit(format!("B: expected {units} numbers, got {:?}", bias.dims())));
            }
            tensors.push((BIAS.to_owned(), bias.changed(Change::Reshape(vec![units]))?));
        }
    }
    let time = graph.links.link(parent).time.ok_or_else(|| misfit("expected a sequence, got a row".into()))?;
    // A graph reads the zeros behind the end of a row as any other numbers, and counts them.
    conv.all_steps = graph.links.times.has_lengths(time);
    let size = steps_of(graph, &conv, around, &data.axes[1].size)?;
    let link = graph.links.layer(parent, conv.into(), units, tensors);
    data.axes[1].size = size;
    data.axes[2].size = Size::len(units);
    data.content.fill(vec![Segment { link, at: At::All, start: 0, len: units }]);
    Ok(data.permuted(&[0, 2, 1]))
}

/// Checks that no convolution before `link` reads what a layer gives behind the end of a row. A graph
/// reads those numbers, and a convolution under lengths reads zeros. An input holds zeros there.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Model` if there is one.
pub(super) fn reads_no_padding(graph: &Graph, link: usize) -> Result<()> {
    let (mut open, mut seen) = (vec![link], HashSet::new());
    while let Some(link) = open.pop() {
        if !seen.insert(link) {
            continue;
        }
        let of = graph.links.link(link);
        let spans = matches!(&of.what, What::Layer(LayerKind::Conv1d(conv)) if conv.as_linear().is_none());
        let is_source = |&link: &usize| matches!(graph.links.link(link).what, What::Source(_));
        let is_input = |&parent: &usize| match graph.links.link(parent) {
            Link { what: What::Padded(..) | What::Scaled, parents, .. } => parents.iter().all(is_source),
            _ => is_source(&parent),
        };
        if spans && !of.parents.iter().all(is_input) {
            let text = "sequence_lens: expected none behind a convolution of what layers give, whose steps behind the end of \
                        a row it reads";
            return Err(misfit(format!("{text}; let the graph take rows of one length")));
        }
        open.extend(&of.parents);
    }
    Ok(())
}

/// Returns `data`, of batch, features and time, with time before the features.
fn over_time(graph: &mut Graph, data: Data) -> Result<Data> {
    if data.axes.len() != 3 || data.content.ndim() > 0 {
        return Err(misfit(format!("expected batch, features and time, got {}", data.axes_text())));
    }
    let Value::Data(mut data) = Value::Data(data).permuted(&[0, 2, 1])? else {
        return Err(misfit("expected a sequence".into()));
    };
    if data.axes[1].role == Role::One {
        data = across::one_step(graph, data, 1)?;
    }
    data.axes[1] = graph.settle(&data.axes[1], Dim::Time)?;
    data.axes[0] = graph.settle(&data.axes[0], Dim::Batch)?;
    if data.segments().any(|segment| segment.at != At::All) {
        return Err(misfit("expected all steps of a sequence, got some of its moments".into()));
    }
    Ok(data)
}

/// Returns the link that gives `data`, and the zeros around its steps.
fn unpadded(graph: &mut Graph, data: &Data) -> Result<(usize, [usize; 2])> {
    let segments = data.flat();
    if let [Segment { link, start: 0, len, .. }] = segments[..]
        && let What::Padded(before, after) = graph.links.link(link).what
        && graph.links.link(link).features == len
        && let Some(parent) = graph.links.link(link).parent()
    {
        return Ok((parent, [before, after]));
    }
    Ok((graph.links.exact(&segments)?, [0, 0]))
}

/// Returns the padding of `conv` by `auto_pad` and `pads`, with the zeros that are already `around` the steps.
fn padding(node: &Node<'_>, conv: &Conv1d, around: [usize; 2], time: &Size) -> Result<ConvPadding> {
    let auto = node.text("auto_pad")?.unwrap_or_else(|| "NOTSET".into());
    let own = match (&auto[..], node.ints("pads")?) {
        ("NOTSET", None) | ("VALID", _) => [0, 0],
        ("NOTSET", Some(&[before, after])) => {
            let number = |n: i64| usize::try_from(n).ok().filter(|&n| n <= MOST_ZEROS);
            let pads = number(before).zip(number(after));
            let (before, after) = pads.ok_or_else(|| misfit(format!("pads: expected zeros, got {before}, {after}")))?;
            [before, after]
        }
        ("NOTSET", Some(other)) => return Err(misfit(format!("pads: expected two numbers, got {other:?}"))),
        ("SAME_UPPER", _) if around == [0, 0] => return Ok(ConvPadding::Same),
        ("SAME_UPPER" | "SAME_LOWER", _) => same(conv, auto == "SAME_UPPER", time)?,
        _ => return Err(misfit(format!("auto_pad: expected NOTSET, SAME_UPPER, SAME_LOWER or VALID, got {auto}"))),
    };
    Ok(match [own[0].saturating_add(around[0]), own[1].saturating_add(around[1])] {
        [0, 0] => ConvPadding::Valid,
        [before, 0] if before == conv.span() - 1 => ConvPadding::Causal,
        [before, after] => ConvPadding::Explicit(before, after),
    })
}

/// Returns the zeros of SAME padding, which depend on the steps if there is a stride.
fn same(conv: &Conv1d, upper: bool, time: &Size) -> Result<[usize; 2]> {
    let steps = time.value().and_then(|n| usize::try_from(n).ok());
    let steps = match (steps, conv.stride) {
        (Some(steps), _) => steps,
        (None, 1) => 1,
        (None, _) => return Err(misfit("auto_pad: expected a fixed number of steps, since there is a stride".into())),
    };
    let [low, high] = conv.clone().padding(ConvPadding::Same).pads(steps);
    Ok(if upper { [low, high] } else { [high, low] })
}

/// Returns the steps that `conv` gives for `time` steps, which have the zeros `around` them already.
fn steps_of(graph: &mut Graph, conv: &Conv1d, around: [usize; 2], time: &Size) -> Result<Size> {
    let zeros = around[0].saturating_add(around[1]);
    if conv.keeps_time() && zeros == 0 {
        return Ok(time.clone());
    }
    let Some(steps) = time.value().and_then(|n| usize::try_from(n).ok()) else {
        // With a stride, it is no sum of what is known.
        let own = conv.pads(1).into_iter().fold(0, usize::saturating_add);
        let more = Size::len(own).minus(&Size::len(zeros.saturating_add(conv.span() - 1)));
        let sum = more.filter(|_| conv.stride == 1).and_then(|more| time.plus(&more));
        return Ok(sum.unwrap_or_else(|| graph.unknown()));
    };
    match conv.out_steps(steps.saturating_sub(zeros)) {
        0 => Err(misfit(format!("expected at least {} steps, which the kernel spans, got {steps}", conv.span()))),
        steps => Ok(Size::len(steps)),
    }
}

fn size_of(name: &str, n: i64) -> Result<usize> {
    let size = usize::try_from(n).ok().filter(|n| (1..=MOST_ZEROS).contains(n));
    size.ok_or_else(|| misfit(format!("{name}: expected a number from 1 to {MOST_ZEROS}, got {n}")))
}
