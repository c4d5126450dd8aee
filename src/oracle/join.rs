//! The joins of values, each with its backward pass.

use ndarray::{Array3, Axis, Zip, concatenate};

use super::layers::part;
use super::values::Values;
use crate::model::Join;

/// Returns the values as steps. A row is repeated for each step; in a concatenation of steps it is one step.
fn as_steps(join: Join, values: &[Values]) -> Vec<Array3<f64>> {
    let time =
        values.iter().find_map(|value| if let Values::Steps(x) = value { Some(x.len_of(Axis(0))) } else { None });
    let meets = time.filter(|_| join != Join::ConcatSteps).unwrap_or(1);
    let steps = |value: &Values| match value {
        Values::Rows(x) => Array3::from_shape_fn((meets, x.nrows(), x.ncols()), |(_, b, n)| x[[b, n]]),
        steps => steps.steps(),
    };
    values.iter().map(steps).collect()
}

/// Joins values.
pub(super) fn joined(join: Join, values: &[Values]) -> Values {
    let has_time = join == Join::ConcatSteps || values.iter().any(|value| matches!(value, Values::Steps(_)));
    let all = as_steps(join, values);
    let mut parts = all.iter().cloned();
    let first = parts.next().expect("a checked join has values");
    let joined = match join {
        Join::Concat | Join::ConcatSteps => {
            let views: Vec<_> = all.iter().map(|part| part.view()).collect();
            concatenate(axis_of(join), &views).expect("values of one batch, and of one time or one size")
        }
        Join::Add => parts.fold(first, |sum, part| sum + part),
        Join::Subtract => parts.fold(first, |rest, part| rest - part),
        Join::Multiply => parts.fold(first, |product, part| product * part),
        Join::Average => parts.fold(first, |sum, part| sum + part) / count(values),
        Join::Maximum => parts.fold(first, larger),
    };
    if has_time { Values::Steps(joined) } else { Values::Rows(joined.index_axis_move(Axis(0), 0)) }
}

/// Returns the gradients of a join's values from the gradient of its
/// result. A row that is repeated for every step has the sum over them.
///
/// ```text
/// concat:    δx_k = the part of δy          add:       δx_k = δy            subtract: δx_1 = δy, δx_2 = −δy
/// multiply:  δx_k = δy ∘ Π_(j≠k) x_j        average:   δx_k = δy / n
/// maximum, one value after the other: δ to the larger; to equal ones a half each, as `torch.maximum` and `jax.lax.max`
/// ```
pub(super) fn joined_back(join: Join, values: &[Values], d_y: &Values) -> Vec<Values> {
    let (all, d_y) = (as_steps(join, values), d_y.steps());
    let d_parts: Vec<Array3<f64>> = match join {
        Join::Concat | Join::ConcatSteps => {
            let axis = axis_of(join);
            let mut first = 0;
            let mut cut = |x: &Array3<f64>| {
                first += x.len_of(axis);
                part(&d_y, axis, first - x.len_of(axis), x.len_of(axis))
            };
            all.iter().map(&mut cut).collect()
        }
        Join::Add => vec![d_y; all.len()],
        Join::Subtract => vec![d_y.clone(), -d_y],
        Join::Multiply => {
            let others = |k: usize| all.iter().enumerate().filter(move |(j, _)| *j != k);
            (0..all.len()).map(|k| others(k).fold(d_y.clone(), |product, (_, x)| product * x)).collect()
        }
        Join::Average => vec![d_y / count(values); all.len()],
        Join::Maximum => maximum_back(&all, d_y),
    };
    let back = |(value, d): (&Values, Array3<f64>)| match value {
        Values::Rows(_) => Values::Rows(d.sum_axis(Axis(0))),
        _ => Values::Steps(d),
    };
    values.iter().zip(d_parts).map(back).collect()
}

/// Handles the last value first: the maximum of all values before it counts as one value.
fn maximum_back(all: &[Array3<f64>], d_y: Array3<f64>) -> Vec<Array3<f64>> {
    let mut d_parts = Vec::new();
    let mut d = d_y;
    for k in (1..all.len()).rev() {
        let most = all[1..k].iter().cloned().fold(all[0].clone(), larger);
        let share = |a: f64, b: f64| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
        d_parts.push(Zip::from(&all[k]).and(&most).and(&d).map_collect(|&x, &most, &d| share(x, most) * d));
        d = Zip::from(&most).and(&all[k]).and(&d).map_collect(|&most, &x, &d| share(most, x) * d);
    }
    d_parts.push(d);
    d_parts.reverse();
    d_parts
}

fn larger(mut most: Array3<f64>, part: Array3<f64>) -> Array3<f64> {
    most.zip_mut_with(&part, |a, &b| *a = if b > *a || b.is_nan() { b } else { *a });
    most
}

fn axis_of(join: Join) -> Axis {
    if join == Join::ConcatSteps { Axis(0) } else { Axis(2) }
}

#[expect(clippy::cast_precision_loss, reason = "a model joins few values")]
fn count(values: &[Values]) -> f64 {
    values.len() as f64
}
