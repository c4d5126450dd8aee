//! Rows sorted by length, as exporters write `pack_padded_sequence(enforce_sorted=False)`:
//! `TopK` of the lengths, rows taken in that order, and put back at the end. `TopK` of one feature is an `ArgMax`.
//!
//! The actual order does not matter, since it is undone. An axis remembers
//! the lengths that sort its rows until they are in their own order again.

use super::graph::Graph;
use super::node::Node;
use super::size::Size;
use super::value::{Feed, Fill, Filled, Order, Role, Sorted, Value};
use super::{functions, misfit};
use crate::error::Result;

/// What to do where more than the largest is asked for.
const NO_K_LARGEST: &str = "no layer here gives the k largest; let the model give what they are taken of";

/// Returns the input that `feed` is, if it can hold the lengths of the rows.
pub(super) fn lengths(graph: &Graph, feed: &Feed) -> Option<usize> {
    match &feed.axes[..] {
        [axis] if axis.whole && axis.source == Some(0) && graph.inputs[feed.input].sizes.len() == 1 => Some(feed.input),
        _ => None,
    }
}

/// Reads all of the lengths, sorted; or all of an order, which is how it is undone.
pub(super) fn top_k(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (x, k) = (graph.input(node, 0)?, graph.whole_numbers(node, 1)?);
    let largest = node.int("largest")?.unwrap_or(1) != 0;
    node.flag("sorted")?;
    let sizes = x.sizes()?;
    let attribute = node.int("k")?.map(Size::of);
    let k = k.and_then(|k| k.first().cloned()).or(attribute);
    let axis = node.int("axis")?.unwrap_or(-1);
    Value::axis(axis, sizes.len())?;
    if graph.flows(&x) {
        if !largest || !k.is_some_and(|k| k.is(1)) {
            let text = "expected the largest feature alone (k = 1, largest = 1), got others";
            return Err(misfit(format!("{text}: {NO_K_LARGEST}")));
        }
        let itself = "the largest feature itself, of which only the place is read".into();
        return Ok(vec![Value::Unread(itself), functions::largest(graph, x, axis, true)?]);
    }
    match x {
        Value::Input(feed) if k.as_ref() == sizes.first() => {
            let lengths = lengths(graph, &feed).ok_or_else(|| misfit("expected the lengths of the rows".into()))?;
            let one = |what| Value::Sorted(Sorted { lengths, what, rows: sizes[0].clone() });
            Ok(vec![one(Order::Lengths), one(Order::Rows)])
        }
        Value::Sorted(Sorted { lengths, what: Order::Rows, rows }) if k.as_ref() == sizes.first() && !largest => {
            let back = Value::Sorted(Sorted { lengths, what: Order::Back, rows: rows.clone() });
            Ok(vec![Value::Count(rows), back])
        }
        other => {
            let text = format!("expected the lengths of all rows, which sort them, got {}", other.kind());
            Err(misfit(format!("{text}: {NO_K_LARGEST}")))
        }
    }
}

/// Reads 0, 1, 2, … written to the places of an order: the place of each row.
pub(super) fn scatter(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (into, order, numbers) = (graph.input(node, 0)?, graph.input(node, 1)?, graph.input(node, 2)?);
    if !matches!(node.text("reduction")?.as_deref(), None | Some("none")) {
        return Err(misfit("reduction: expected none".into()));
    }
    Value::axis(node.int("axis")?.unwrap_or(0), order.sizes()?.len())?;
    match order {
        // Every place is written, so the earlier contents do not matter.
        Value::Sorted(Sorted { lengths, what: Order::Rows, rows })
            if into.sizes()? == [rows.clone()] && is_count(&numbers, &rows) =>
        {
            Ok(vec![Value::Sorted(Sorted { lengths, what: Order::Back, rows })])
        }
        order => Err(misfit(format!("expected to undo the order of the rows, got {}", order.kind()))),
    }
}

/// Whether `value` is 0, 1, 2, … below `rows`.
fn is_count(value: &Value, rows: &Size) -> bool {
    match value {
        Value::Count(size) => size == rows,
        Value::Numbers(numbers) => {
            Size::len(numbers.len()) == *rows && numbers.iter().zip(0..).all(|(number, n)| number.is(n))
        }
        Value::Filled(Filled { fill: Fill::Whole(fill), .. }) => rows.is(1) && fill.is(0),
        _ => false,
    }
}

/// Takes the rows of `from` along `axis` in the order of `order`, or back in their own.
pub(super) fn taken(graph: &Graph, mut from: Value, axis: usize, order: &Sorted) -> Result<Value> {
    let unfit = |kind: String| Err(misfit(format!("takes {kind} in the order of the lengths")));
    let place = match &mut from {
        Value::Input(feed) if order.what == Order::Rows && lengths(graph, feed) == Some(order.lengths) => {
            return Ok(Value::Sorted(Sorted { what: Order::Lengths, ..order.clone() }));
        }
        Value::Input(feed) if feed.axes[axis].whole && feed.axes[axis].source.is_some() => &mut feed.axes[axis].sorted,
        Value::Data(data) if matches!(data.axes[axis].role, Role::Batch | Role::Open(_)) => &mut data.axes[axis].sorted,
        // Equal elements, and constants for each row, are the same in any order.
        Value::Filled(_) => return Ok(from),
        other => return unfit(other.kind()),
    };
    *place = match (order.what, *place) {
        (Order::Rows, None) => Some(order.lengths),
        (Order::Back, Some(lengths)) if lengths == order.lengths => None,
        _ => return Err(misfit("rows in another order than that which is undone, or in one twice".into())),
    };
    Ok(from)
}
