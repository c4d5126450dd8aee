//! `Gather` and `OneHot`: tokens that are looked up, and elements that are taken by constant indices.

use ndarray::ArrayD;

use super::constant::{Constant, is_real};
use super::cut::Cut;
use super::graph::Graph;
use super::integers;
use super::misfit;
use super::node::Node;
use super::order;
use super::size::Size;
use super::value::{At, Axis, Data, Feed, FeedAxis, Form, Role, Segment, Tokens, Value};
use crate::error::Result;
use crate::model::{Embedding, LayerKind, OneHot};
use crate::weights::dialect::WEIGHT;

pub(super) fn gather(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (from, indices) = (graph.input(node, 0)?, graph.input(node, 1)?);
    let axis = Value::axis(node.int("axis")?.unwrap_or(0), from.sizes()?.len())?;
    if let (Value::Numbers(_) | Value::Whole(_), Value::Input(_) | Value::Tokens(_)) = (&from, &indices) {
        let (from, is_whole) = integers::table(from)?;
        let rows = gathered(graph, from, indices, axis)?;
        return Ok(vec![if is_whole { integers::marked(graph, rows) } else { rows }]);
    }
    gathered(graph, from, indices, axis).map(|value| vec![value])
}

/// Takes `indices` along `axis` out of `from`.
fn gathered(graph: &mut Graph, from: Value, indices: Value, axis: usize) -> Result<Value> {
    match (from, indices) {
        (Value::Constant(table), Value::Input(feed)) => embedding(graph, table, &feed, axis),
        (Value::Constant(table), Value::Tokens(Tokens { feed, form: Form::Wrapped(n) }))
            if table.dims().first().is_some_and(|&rows| Size::len(rows).is(n)) =>
        {
            embedding(graph, table, &feed, axis)
        }
        (from, Value::Sorted(order)) => order::taken(graph, from, axis, &order),
        // Features of an input, which need not be contiguous.
        (from @ Value::Input(_), Value::Numbers(indices))
            if indices.ndim() == 1 && axis + 1 == from.sizes()?.len() && graph.flows(&from) =>
        {
            let from = Value::Data(graph.data(from, None)?);
            taken(graph, from, axis, &indices)
        }
        (from, Value::Numbers(indices)) => taken(graph, from, axis, &indices),
        (from, indices) => Err(misfit(format!("takes {} out of {}", indices.kind(), from.kind()))),
    }
}

/// Looks up the rows of a table by the tokens of an input.
fn embedding(graph: &mut Graph, table: Constant, feed: &Feed, axis: usize) -> Result<Value> {
    let &[num_embeddings, embedding_dim] = table.dims() else {
        return Err(misfit(format!("expected a table of two axes, got {:?}", table.dims())));
    };
    if axis != 0 {
        return Err(misfit(format!("expected rows (axis 0) to be looked up, got axis {axis}")));
    }
    let tensors = vec![(WEIGHT.to_owned(), table)];
    let kind = Embedding::new(num_embeddings, embedding_dim).into();
    looked_up(graph, feed, kind, embedding_dim, tensors)
}

/// Applies a layer that takes tokens to the input.
fn looked_up(
    graph: &mut Graph,
    feed: &Feed,
    kind: LayerKind,
    features: usize,
    tensors: Vec<(String, Constant)>,
) -> Result<Value> {
    // To look up only some of the steps, looks up all of them and slices the result.
    let mut parts = feed.axes.iter().enumerate().filter(|(_, axis)| !axis.whole).map(|(place, _)| place);
    if let (Some(place), false) = (parts.next(), feed.axes.is_empty()) {
        if parts.next().is_some() || feed.axes[place].size.is(1) {
            return Err(misfit(format!("a part of the input {:?} as tokens", graph.inputs[feed.input].name)));
        }
        let (whole, slice, len) = graph.all_steps(feed, place)?;
        let Value::Data(data) = looked_up(graph, &whole, kind, features, tensors)? else {
            return Err(misfit("expected what layers give".into()));
        };
        return graph.stretch(data, place, slice, Some(len)).map(Value::Data);
    }
    let (mut axes, _) = graph.claim(feed)?;
    axes.push(Axis::new(Role::Features, Size::len(features)));
    let source = graph.source(feed.input, 0);
    let link = graph.links.layer(source, kind, features, tensors);
    let cell = vec![Segment { link, at: At::All, start: 0, len: features }];
    Ok(Value::Data(Data { content: ndarray::arr0(cell).into_dyn(), axes }))
}

/// Returns whether tokens `x` are below `bound`, if that is 0.
pub(super) fn negative(x: &Value, bound: &Value) -> Result<Option<Value>> {
    let zero = match bound {
        Value::Constant(bound) => bound.scalar()? == Some(0.0),
        Value::Numbers(bound) => bound.len() == 1 && bound.iter().all(|n| n.is(0)),
        _ => false,
    };
    Ok(match x {
        Value::Input(feed) if zero && !feed.axes.is_empty() => {
            Some(Value::Tokens(Tokens { feed: feed.clone(), form: Form::Negative }))
        }
        _ => None,
    })
}

/// Returns the opposite of whether tokens are negative, if `value` is that.
pub(super) fn not_negative(value: &Value) -> Option<Value> {
    match value {
        Value::Tokens(Tokens { feed, form: Form::Negative }) => {
            Some(Value::Tokens(Tokens { feed: feed.clone(), form: Form::NotNegative }))
        }
        _ => None,
    }
}

/// Returns `op` of tokens and functions of them, if it is part of counting negative ones from the end.
pub(super) fn arithmetic(op: &str, a: &Value, b: &Value) -> Option<Value> {
    use Form::{Kept, Negative, NotNegative, Plus, Shifted, Wrapped};
    let one = |a: &Value, b: &Value| {
        let (feed, form) = match (a, b) {
            (Value::Input(feed), Value::Numbers(n)) if op == "Add" && n.len() == 1 => (feed, Plus(n.first()?.value()?)),
            (Value::Input(feed), Value::Tokens(other)) if *feed == other.feed => match (op, other.form) {
                ("Mul", NotNegative) => (feed, Kept),
                _ => return None,
            },
            (Value::Tokens(a), Value::Tokens(b)) if a.feed == b.feed => match (op, a.form, b.form) {
                ("Mul", Negative, Plus(n)) => (&a.feed, Shifted(n)),
                ("Add", Kept, Shifted(n)) => (&a.feed, Wrapped(n)),
                _ => return None,
            },
            _ => return None,
        };
        Some(Value::Tokens(Tokens { feed: feed.clone(), form }))
    };
    one(a, b).or_else(|| one(b, a))
}

/// Returns `x + n` for negative tokens, else `x`: negative tokens are counted from the end.
pub(super) fn wrapped(condition: &Value, yes: &Value, no: &Value) -> Option<Value> {
    match (condition, yes, no) {
        (
            Value::Tokens(Tokens { feed, form: Form::Negative }),
            Value::Tokens(Tokens { feed: shifted, form: Form::Plus(n) }),
            Value::Input(kept),
        ) if feed == shifted && feed == kept => {
            Some(Value::Tokens(Tokens { feed: feed.clone(), form: Form::Wrapped(*n) }))
        }
        _ => None,
    }
}

/// Takes the elements `indices` of `axis`.
fn taken(graph: &mut Graph, from: Value, axis: usize, indices: &ArrayD<Size>) -> Result<Value> {
    let size = from.size(axis)?;
    match (indices.ndim(), indices.first()) {
        (0, Some(index)) => {
            let mut one = graph.cut(from, axis, one_of(&size, index)?)?;
            // A part of an input whose axis is dropped.
            if !size.is(1) && graph.flows(&one) {
                one = Value::Data(graph.data(one, None)?);
            }
            one.dropped(axis)
        }
        (1, Some(first)) => {
            let mut pairs = indices.iter().zip(indices.iter().skip(1));
            let run = pairs.all(|(a, b)| b.minus(a).is_some_and(|difference| difference.is(1)));
            if let (true, Some(start), true) = (run, first.value(), indices.len() > 1) {
                let end = start.saturating_add(i64::try_from(indices.len()).expect("few indices"));
                let end = if start < 0 && end == 0 { i64::MAX } else { end };
                return graph.cut(from, axis, Cut::of(&size, &Size::of(start), &Size::of(end), 1)?);
            }
            let parts = indices.iter().map(|index| graph.cut(from.clone(), axis, one_of(&size, index)?));
            match parts.collect::<Result<Vec<_>>>()? {
                mut one if one.len() == 1 => Ok(one.remove(0)),
                parts => Value::concat(parts, axis, graph.limit),
            }
        }
        _ => Err(misfit(format!("indices of shape {:?}", indices.shape()))),
    }
}

/// Takes the element `index`: all of an axis of length 1.
fn one_of(size: &Size, index: &Size) -> Result<Cut> {
    let cut = Cut::one(size, index)?;
    Ok(if size.is(1) { Cut::All } else { cut })
}

/// Reads tokens, with an axis of length 1 after them, that are
/// compared with 0, 1, 2, …: torch.onnx writes `one_hot` so.
pub(super) fn unit_vectors(graph: &mut Graph, a: &Value, b: &Value) -> Result<Option<Value>> {
    let ((Value::Input(feed), Value::Numbers(classes)) | (Value::Numbers(classes), Value::Input(feed))) = (a, b) else {
        return Ok(None);
    };
    let counted = classes.ndim() == 1 && classes.iter().zip(0..).all(|(class, n)| class.is(n));
    let Some((FeedAxis { source: None, .. }, tokens)) = feed.axes.split_last() else { return Ok(None) };
    if !counted || classes.is_empty() || is_real(graph.inputs[feed.input].data_type) {
        return Ok(None);
    }
    let feed = Feed { axes: tokens.to_vec(), ..feed.clone() };
    let classes = classes.len();
    looked_up(graph, &feed, OneHot::new(classes).into(), classes, Vec::new()).map(Some)
}

pub(super) fn one_hot(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let Value::Input(feed) = graph.input(node, 0)? else {
        return Err(misfit("expected tokens of an input".into()));
    };
    let depth = match graph.input(node, 1)? {
        Value::Numbers(depth) if depth.len() == 1 => depth.first().and_then(Size::value),
        Value::Constant(depth) => depth.scalar()?.filter(|x| x.fract() == 0.0 && x.abs() < 1e9).map(|x| {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number of a few digits")]
            let depth = x as i64;
            depth
        }),
        _ => None,
    };
    let depth = depth.and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
    let depth = depth.ok_or_else(|| misfit("depth: expected a number of the file above 0".into()))?;
    let values = match graph.input(node, 2)? {
        Value::Numbers(values) => values.iter().map(|n| n.is(1)).zip(values.iter().map(|n| n.is(0))).collect(),
        Value::Constant(values) if values.len() == 2 => {
            values.tensor.read()?.iter().map(|&x| (x == 1.0, x == 0.0)).collect::<Vec<_>>()
        }
        _ => Vec::new(),
    };
    if values[..] != [(false, true), (true, false)] {
        return Err(misfit("values: expected 0 and 1".into()));
    }
    let axis = node.int("axis")?.unwrap_or(-1);
    if axis != -1 && !Size::len(feed.axes.len()).is(axis) {
        return Err(misfit(format!("axis: expected the last, got {axis}")));
    }
    if is_real(graph.inputs[feed.input].data_type) {
        return Err(misfit("tokens that are no whole numbers".into()));
    }
    looked_up(graph, &feed, OneHot::new(depth).into(), depth, Vec::new()).map(|value| vec![value])
}
