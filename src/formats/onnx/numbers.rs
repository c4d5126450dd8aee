//! Operators that compute with shapes: Shape, Size, Constant, `ConstantOfShape`, Range, Equal and other comparisons,
//! Where, and arithmetic.
//!
//! All of them are computed here, once. A number that depends on the sizes of a call is a `Size`.

use std::cmp::Ordering;

use ndarray::{ArrayD, IxDyn, Zip};

use super::constant::{Constant, MAX_NUMBERS};
use super::graph::Graph;
use super::misfit;
use super::moves::filled;
use super::node::Node;
use super::size::Size;
use super::tokens::{negative, not_negative, unit_vectors, wrapped};
use super::value::{Asked, Fill, Value};
use crate::error::{Error, Result};
use crate::weights::Tensor;

pub(super) fn constant(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let whole = |numbers: &[i64], dims: &[usize]| {
        let sizes = numbers.iter().map(|&n| Size::of(n)).collect();
        Value::Numbers(ArrayD::from_shape_vec(IxDyn(dims), sizes).expect("as many as the shape says"))
    };
    let real = |floats: &[f32], dims: &[usize]| Value::Constant(Constant::new(Tensor::new(dims, floats.to_vec())));
    let value = if let Some(tensor) = node.tensor("value")? {
        if let Some(name) = node.outputs.first() {
            graph.tell_type(name, tensor.data_type);
        }
        graph.decode(tensor)?
    } else if let Some(n) = node.int("value_int")? {
        whole(&[n], &[])
    } else if let Some(ints) = node.ints("value_ints")?.filter(|ints| ints.len() <= MAX_NUMBERS) {
        whole(ints, &[ints.len()])
    } else if let Some(x) = node.float("value_float")? {
        real(&[x], &[])
    } else if let Some(floats) = node.floats("value_floats")? {
        real(floats, &[floats.len()])
    } else {
        return Err(misfit("expected a value of numbers, got none".into()));
    };
    Ok(vec![value])
}

pub(super) fn constant_of_shape(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let shape = graph.whole_numbers(node, 0)?.ok_or_else(|| misfit("expected a shape, got none".into()))?;
    let fill = match node.tensor("value")? {
        None => Some(Fill::Real(0.0)),
        Some(tensor) => match graph.decode(tensor)? {
            Value::Constant(constant) => constant.scalar()?.map(Fill::Real),
            Value::Numbers(numbers) if numbers.len() == 1 => numbers.first().cloned().map(Fill::Whole),
            _ => None,
        },
    };
    let fill = fill.ok_or_else(|| misfit("value: expected one number".into()))?;
    if shape.len() > super::constant::MAX_RANK {
        return Err(misfit(format!("a tensor of {} axes", shape.len())));
    }
    Ok(vec![filled(fill, shape)])
}

pub(super) fn shape(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let sizes = graph.input(node, 0)?.sizes()?;
    let rank = i64::try_from(sizes.len()).expect("a rank is small");
    let place =
        |n: i64| usize::try_from(if n < 0 { n.saturating_add(rank) } else { n }.clamp(0, rank)).expect("clamped");
    let (start, end) = (place(node.int("start")?.unwrap_or(0)), place(node.int("end")?.unwrap_or(rank)));
    let part = sizes.get(start..end).unwrap_or_default().to_vec();
    Ok(vec![vector(part)])
}

pub(super) fn size(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let sizes = graph.input(node, 0)?.sizes()?;
    let product = Size::product(&sizes).ok_or_else(|| misfit("a product of unknown lengths".into()))?;
    Ok(vec![Value::Numbers(ndarray::arr0(product).into_dyn())])
}

pub(super) fn range(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let number = |i| {
        let known = graph.whole_numbers(node, i)?.and_then(|numbers| numbers.first().and_then(Size::value));
        known.ok_or_else(|| misfit(format!("input {i}: expected a number of the file")))
    };
    let (start, delta) = (number(0)?, number(2)?);
    let until = graph.whole_numbers(node, 1)?.and_then(|numbers| numbers.first().cloned());
    if let (0, 1, Some(until)) = (start, delta, until.filter(|until| until.value().is_none())) {
        return Ok(vec![Value::Count(until)]);
    }
    let limit = number(1)?;
    let mut numbers = Vec::new();
    let mut at = start;
    while delta != 0 && if delta > 0 { at < limit } else { at > limit } {
        if numbers.len() >= MAX_NUMBERS {
            return Err(misfit(format!("more than {MAX_NUMBERS} numbers")));
        }
        numbers.push(Size::of(at));
        at = at.checked_add(delta).ok_or_else(|| misfit("numbers past 64 bits".into()))?;
    }
    Ok(vec![vector(numbers)])
}

pub(super) fn equal(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (x, y) = (graph.input(node, 0)?, graph.input(node, 1)?);
    if let Some(unit_vectors) = unit_vectors(graph, &x, &y)? {
        return Ok(vec![unit_vectors]);
    }
    if let Some(told) = compared(graph, node, &x, &y)? {
        return Ok(vec![told]);
    }
    let truth = |a: &Size, b: &Size| a.equals(b).map(|truth| Size::of(i64::from(truth)));
    let (a, b) = (numbers(graph, node, 0)?, numbers(graph, node, 1)?);
    if let (1, 1, Some(a), Some(b)) = (a.len(), b.len(), a.first(), b.first())
        && a.equals(b).is_none()
    {
        let (size, n) = if a.value().is_none() { (a, b) } else { (b, a) };
        return Ok(vec![Value::Equal(size.clone(), n.clone())]);
    }
    Ok(vec![Value::Numbers(each(&a, &b, truth)?)])
}

/// Reads Less, Greater and the like: of numbers that the file tells, and whether tokens are negative.
pub(super) fn compare(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let (x, y) = (graph.input(node, 0)?, graph.input(node, 1)?);
    if node.op == "Less"
        && let Some(tokens) = negative(&x, &y)?
    {
        return Ok(vec![tokens]);
    }
    if let Some(told) = compared(graph, node, &x, &y)? {
        return Ok(vec![told]);
    }
    let truth = |a: &Size, b: &Size| Some(Size::of(i64::from(holds(node.op, a.value()?.cmp(&b.value()?)))));
    Ok(vec![Value::Numbers(each(&numbers(graph, node, 0)?, &numbers(graph, node, 1)?, truth)?)])
}

/// Whether `op` holds of two numbers that compare so.
fn holds(op: &str, order: Ordering) -> bool {
    match op {
        "Less" => order.is_lt(),
        "Greater" => order.is_gt(),
        "LessOrEqual" => order.is_le(),
        "GreaterOrEqual" => order.is_ge(),
        _ => order.is_eq(),
    }
}

/// Compares two real numbers of the file, or asks how an input of one number compares with one of the file.
fn compared(graph: &Graph, node: &Node<'_>, x: &Value, y: &Value) -> Result<Option<Value>> {
    let number = |value: &Value| match value {
        Value::Constant(constant) => Ok(constant.scalar()?.map(|x| x.to_string())),
        Value::Numbers(numbers) if numbers.len() == 1 => Ok(numbers.first().map(ToString::to_string)),
        _ => Ok::<_, Error>(None),
    };
    if let (Value::Constant(a), Value::Constant(b)) = (x, y)
        && let (Some(a), Some(b)) = (a.scalar()?, b.scalar()?)
    {
        let truth = a.partial_cmp(&b).is_some_and(|order| holds(node.op, order));
        return Ok(Some(Value::Numbers(ndarray::arr0(Size::of(i64::from(truth))).into_dyn())));
    }
    for (one, other, words) in [(x, y, ["below", "above"]), (y, x, ["above", "below"])] {
        if let (Some(input), Some(with)) = (graph.lone_input(one), number(other)?) {
            let what = match node.op {
                "Less" => format!("is {} {with}", words[0]),
                "Greater" => format!("is {} {with}", words[1]),
                "LessOrEqual" => format!("is {with} or {}", words[0]),
                "GreaterOrEqual" => format!("is {with} or {}", words[1]),
                _ => format!("is {with}"),
            };
            return Ok(Some(Value::Asked(Asked { input: input.to_owned(), what, with })));
        }
    }
    Ok(None)
}

/// Reads And, Or, Xor and Not of what the file tells, and Not of whether tokens are negative.
pub(super) fn logic(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    for index in 0..node.inputs.len().min(2) {
        if let asked @ Value::Asked(_) = graph.input(node, index)? {
            return Ok(vec![asked]);
        }
    }
    if node.op == "Not"
        && let Some(tokens) = not_negative(&graph.input(node, 0)?)
    {
        return Ok(vec![tokens]);
    }
    let a = numbers(graph, node, 0)?;
    let b = if node.op == "Not" { ndarray::arr0(Size::of(1)).into_dyn() } else { numbers(graph, node, 1)? };
    let truth = |a: &Size, b: &Size| {
        let (a, b) = (a.value()? != 0, b.value()? != 0);
        Some(Size::of(i64::from(match node.op {
            "And" => a && b,
            "Or" => a || b,
            // Not is that with 1.
            _ => a != b,
        })))
    };
    Ok(vec![Value::Numbers(each(&a, &b, truth)?)])
}

pub(super) fn choose(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if let Some(tokens) = wrapped(&graph.input(node, 0)?, &graph.input(node, 1)?, &graph.input(node, 2)?) {
        return Ok(vec![tokens]);
    }
    let (condition, a, b) = (numbers(graph, node, 0)?, numbers(graph, node, 1)?, numbers(graph, node, 2)?);
    // Where a choice is not taken it is temporarily −2⁶³, which no shape is.
    let none = Size::of(i64::MIN);
    let pick = |truth: i64| {
        let none = none.clone();
        move |c: &Size, x: &Size| Some(if c.is(truth) { x.clone() } else { none.clone() })
    };
    if condition.iter().any(|c| !c.is(0) && !c.is(1)) {
        return Err(misfit("a condition that depends on the call".into()));
    }
    let (yes, no) = (each(&condition, &a, pick(1))?, each(&condition, &b, pick(0))?);
    let chosen = each(&yes, &no, |yes, no| Some(if *yes == none { no.clone() } else { yes.clone() }))?;
    Ok(vec![Value::Numbers(chosen)])
}

pub(super) fn reduce_prod(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let all = numbers(graph, node, 0)?;
    if all.ndim() > 1 {
        return Err(misfit("a product of a table of numbers".into()));
    }
    let whole = |axes: &[i64]| axes.iter().all(|&axis| axis == 0 || axis == -1);
    let axes = graph.whole_numbers(node, 1)?.unwrap_or_default();
    if !whole(node.ints("axes")?.unwrap_or_default()) || !axes.iter().all(|axis| axis.is(0) || axis.is(-1)) {
        return Err(misfit("axes: expected 0".into()));
    }
    node.int("noop_with_empty_axes")?;
    let product = Size::product(&all).ok_or_else(|| misfit("a product of unknown lengths".into()))?;
    let keeps = node.int("keepdims")?.unwrap_or(1) != 0 && all.ndim() == 1;
    Ok(vec![if keeps { vector(vec![product]) } else { Value::Numbers(ndarray::arr0(product).into_dyn()) }])
}

/// Reads Mod of whole numbers, which has the sign of the divisor.
pub(super) fn remainder(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    if node.flag("fmod")? {
        return Err(misfit("fmod: expected 0, the remainder of whole numbers".into()));
    }
    let of = |a: &Size, b: &Size| match (a.value(), b.value()) {
        (Some(a), Some(b)) => {
            let rest = a.checked_rem(b)?;
            let turned = rest != 0 && (rest < 0) != (b < 0);
            Some(Size::of(if turned { rest.checked_add(b)? } else { rest }))
        }
        _ => a.exactly_over(b).map(|_| Size::of(0)),
    };
    Ok(vec![Value::Numbers(each(&numbers(graph, node, 0)?, &numbers(graph, node, 1)?, of)?)])
}

/// Computes `op` of two arrays of numbers, if both are that.
pub(super) fn arithmetic(op: &str, a: &ArrayD<Size>, b: &ArrayD<Size>) -> Result<Value> {
    let result = each(a, b, |a, b| match op {
        "Add" => a.plus(b),
        "Sub" => a.minus(b),
        "Mul" => a.times(b),
        _ => a.over(b),
    });
    result.map(Value::Numbers)
}

fn numbers(graph: &Graph, node: &Node<'_>, index: usize) -> Result<ArrayD<Size>> {
    match graph.input(node, index)? {
        Value::Numbers(numbers) => Ok(numbers),
        other => Err(graph.untold(&other, "numbers that the file or shapes tell").at(format_args!("input {index}"))),
    }
}

fn vector(sizes: Vec<Size>) -> Value {
    Value::Numbers(ndarray::Array1::from_vec(sizes).into_dyn())
}

/// Computes `f` of each pair, with both arrays repeated to one shape.
fn each(a: &ArrayD<Size>, b: &ArrayD<Size>, f: impl Fn(&Size, &Size) -> Option<Size>) -> Result<ArrayD<Size>> {
    let unfit = || misfit(format!("numbers of shapes {:?} and {:?}", a.shape(), b.shape()));
    let rank = a.ndim().max(b.ndim());
    let at = |x: &ArrayD<Size>, i: usize| (i + x.ndim()).checked_sub(rank).map_or(1, |i| x.shape()[i]);
    let shape: Vec<usize> = (0..rank).map(|i| if at(a, i) == 1 { at(b, i) } else { at(a, i) }).collect();
    if shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > MAX_NUMBERS) {
        return Err(unfit());
    }
    let (x, y) = (a.broadcast(IxDyn(&shape)).ok_or_else(unfit)?, b.broadcast(IxDyn(&shape)).ok_or_else(unfit)?);
    let results = Zip::from(&x).and(&y).map_collect(|a, b| f(a, b).ok_or_else(|| (a.to_string(), b.to_string())));
    let mut sizes = Vec::with_capacity(results.len());
    for result in results {
        sizes.push(result.map_err(|(a, b)| misfit(format!("cannot be told of {a} and {b} before the call")))?);
    }
    Ok(ArrayD::from_shape_vec(IxDyn(&shape), sizes).expect("one for each place"))
}
