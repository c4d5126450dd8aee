//! Operators of constants alone: they are computed when a weight is read, and become no layer.
//!
//! Exporters write weight normalization and other parametrizations so.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};

use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::misfit;
use super::value::Value;
use super::weights::{is_weight, weight};
use crate::error::Result;

/// Returns the function of one number that `op` is.
fn of_one(op: &str) -> Option<fn(f32) -> f32> {
    Some(match op {
        "Abs" => f32::abs,
        "Ceil" => f32::ceil,
        "Cos" => f32::cos,
        "Exp" => f32::exp,
        "Floor" => f32::floor,
        "Log" => f32::ln,
        "Neg" => |x| -x,
        "Reciprocal" => f32::recip,
        "Relu" => |x| x.max(0.0),
        "Round" => f32::round_ties_even,
        "Sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        "Sign" => |x| if x == 0.0 { 0.0 } else { x.signum() },
        "Sin" => f32::sin,
        "Softplus" => |x| x.max(0.0) + (-x.abs()).exp().ln_1p(),
        "Sqrt" => f32::sqrt,
        "Tanh" => f32::tanh,
        _ => return None,
    })
}

/// Returns `op` of each number of `value`, if those are constants and `op` is such a function.
pub(super) fn unary(graph: &Graph, op: &str, value: &Value) -> Result<Option<Value>> {
    let Some(function) = of_one(op).filter(|_| is_weight(value)) else { return Ok(None) };
    let constant = weight(graph, value.clone())?;
    let shape = constant.dims().to_vec();
    let computed = Constant::computed(vec![constant], shape, graph.limit, move |of| of[0].mapv(function))?;
    Ok(Some(Value::Constant(computed)))
}

/// What the numbers along an axis come to.
type Reduce = fn(ArrayViewD<'_, f32>, Axis) -> ArrayD<f32>;

/// Returns what the constant `value` comes to along `axes`, by the operator `op`.
pub(super) fn reduced(graph: &Graph, op: &str, value: Value, axes: &[usize], keeps: bool) -> Result<Value> {
    let constant = weight(graph, value)?;
    let reduce: Reduce = match op {
        "ReduceSum" | "ReduceL1" | "ReduceL2" => |x, axis| summed(&x, axis, 1.0),
        #[expect(clippy::cast_precision_loss, reason = "a mean of few numbers")]
        "ReduceMean" => |x, axis| summed(&x, axis, 1.0 / x.len_of(axis) as f64),
        "ReduceMax" => |x, axis| x.fold_axis(axis, f32::NEG_INFINITY, |&a, &b| a.max(b)),
        "ReduceMin" => |x, axis| x.fold_axis(axis, f32::INFINITY, |&a, &b| a.min(b)),
        other => return Err(misfit(format!("{other} of constants"))),
    };
    let mut shape = constant.dims().to_vec();
    axes.iter().for_each(|&axis| shape[axis] = 1);
    let (over, op) = (axes.to_vec(), op.to_owned());
    let result = Constant::computed(vec![constant], shape.clone(), graph.limit, move |of| {
        let mut numbers = match op.as_str() {
            "ReduceL1" => of[0].mapv(f32::abs),
            "ReduceL2" => of[0].mapv(|x| x * x),
            _ => of[0].clone(),
        };
        for &axis in &over {
            numbers = reduce(numbers.view(), Axis(axis)).insert_axis(Axis(axis));
        }
        if op == "ReduceL2" { numbers.mapv_into(f32::sqrt) } else { numbers }
    })?;
    if keeps {
        return Ok(Value::Constant(result));
    }
    let kept = shape.iter().enumerate().filter(|(axis, _)| !axes.contains(axis)).map(|(_, &n)| n).collect();
    Ok(Value::Constant(result.changed(Change::Reshape(kept))?))
}

/// Returns the sums of `x` along `axis` times `factor`, in 64 bits until the end.
fn summed(x: &ArrayViewD<'_, f32>, axis: Axis, factor: f64) -> ArrayD<f32> {
    let sums = x.fold_axis(axis, 0.0_f64, |&sum, &x| sum + f64::from(x));
    #[expect(clippy::cast_possible_truncation, reason = "rounded once, to the nearest")]
    let sums = sums.mapv(|sum| (sum * factor) as f32);
    sums
}

/// Returns `f` of the pairs of two constants, of which one is repeated along axes where it has length 1.
pub(super) fn pairs(a: Constant, b: Constant, limit: usize, f: fn(f32, f32) -> f32) -> Result<Value> {
    let rank = a.dims().len().max(b.dims().len());
    let at = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let along = |i: usize| match (at(a.dims(), i), at(b.dims(), i)) {
        (a, b) if a == b || b == 1 => Some(a),
        (1, b) => Some(b),
        _ => None,
    };
    let shape: Option<Vec<usize>> = (0..rank).map(along).collect();
    let shape =
        shape.ok_or_else(|| misfit(format!("constants of {:?} and {:?}, which do not fit", a.dims(), b.dims())))?;
    let dims = shape.clone();
    let result = Constant::computed(vec![a, b], shape, limit, move |of| {
        let stretch = |x: &ArrayD<f32>| x.broadcast(IxDyn(&dims)).expect("checked to stretch").to_owned();
        let mut result = stretch(&of[0]);
        result.zip_mut_with(&stretch(&of[1]), |a, &b| *a = f(*a, b));
        result
    })?;
    Ok(Value::Constant(result))
}

/// Returns the product of two constants of two axes.
pub(super) fn product(a: Constant, b: Constant, limit: usize) -> Result<Value> {
    let (&[rows, inner], &[other, columns]) = (a.dims(), b.dims()) else {
        return Err(misfit(format!("constants of {:?} times {:?}: expected two axes", a.dims(), b.dims())));
    };
    if inner != other {
        return Err(misfit(format!("constants of {:?} times {:?}, which do not fit", a.dims(), b.dims())));
    }
    let result = Constant::computed(vec![a, b], vec![rows, columns], limit, move |of| {
        let two = |x: &ArrayD<f32>, shape| x.clone().into_shape_with_order(shape).expect("two axes");
        two(&of[0], (rows, inner)).dot(&two(&of[1], (inner, columns))).into_dyn()
    })?;
    Ok(Value::Constant(result))
}
