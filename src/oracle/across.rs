//! The layers between steps and rows: pools over all steps, rows that are repeated, and numbers in another shape.
//!
//! A backward pass takes the gradient of a layer's output, `δy`, and gives that of its input, `δx`.

use ndarray::{Array2, Array3, Axis, s};

use crate::model::{GlobalPool, Reduce};

/// Returns `y[b, n]`, which `x[t, b, n]` come to over the steps that are live in row b; 0 if none is.
pub(super) fn pooled(reduce: Reduce, x: &Array3<f64>, live: Option<&Array2<bool>>) -> Array2<f64> {
    let (_, batch, features) = x.dim();
    Array2::from_shape_fn((batch, features), |(b, n)| {
        let all: Vec<f64> = steps(x, live, b).map(|t| x[[t, b, n]]).collect();
        let largest = |a: f64, b: f64| if a.is_nan() || a >= b { a } else { b };
        match (reduce, &all[..]) {
            (_, []) => 0.0,
            (Reduce::Max, [first, rest @ ..]) => rest.iter().fold(*first, |most, &x| largest(most, x)),
            (Reduce::Min, [first, rest @ ..]) => -rest.iter().fold(-first, |most, &x| largest(most, -x)),
            (Reduce::Sum, all) => all.iter().sum(),
            #[expect(clippy::cast_precision_loss, reason = "few steps")]
            (Reduce::Mean, all) => all.iter().sum::<f64>() / all.len() as f64,
        }
    })
}

/// `δx[t, b, n]` is the share of `δy[b, n]` that a live step has: all of it in a sum, as much as any other in a mean,
/// and in a largest or smallest as much as any other that is equally large.
pub(super) fn pooled_back(
    reduce: Reduce,
    x: &Array3<f64>,
    live: Option<&Array2<bool>>,
    d_y: &Array2<f64>,
) -> Array3<f64> {
    let y = pooled(reduce, x, live);
    let mut d_x = Array3::zeros(x.dim());
    for ((b, n), &d) in d_y.indexed_iter() {
        let takes = |&t: &usize| matches!(reduce, Reduce::Sum | Reduce::Mean) || x[[t, b, n]] == y[[b, n]];
        let takers: Vec<usize> = steps(x, live, b).filter(takes).collect();
        #[expect(clippy::cast_precision_loss, reason = "few steps")]
        let shares = if reduce == Reduce::Sum { 1.0 } else { takers.len() as f64 };
        takers.into_iter().for_each(|t| d_x[[t, b, n]] = d / shares);
    }
    d_x
}

/// Returns the steps that are live in row b.
fn steps<'a>(x: &Array3<f64>, live: Option<&'a Array2<bool>>, b: usize) -> impl Iterator<Item = usize> + use<'a> {
    (0..x.len_of(Axis(0))).filter(move |&t| live.is_none_or(|live| live[[t, b]]))
}

/// Returns the steps that `pool` counts of a value whose live steps are `live`.
pub(super) fn counted<'a>(pool: &GlobalPool, live: Option<&'a Array2<bool>>) -> Option<&'a Array2<bool>> {
    live.filter(|_| !pool.all_steps)
}

/// Returns `count` steps that are each `row`.
pub(super) fn repeated(row: &Array2<f64>, count: usize) -> Array3<f64> {
    Array3::from_shape_fn((count, row.nrows(), row.ncols()), |(_, b, n)| row[[b, n]])
}

/// `δx[b] = Σ_t δy[t, b]`.
pub(super) fn repeated_back(d_y: &Array3<f64>) -> Array2<f64> {
    d_y.sum_axis(Axis(0))
}

/// Returns the numbers of each row of the batch, in their order, as `steps` steps of `features` features.
/// The backward pass is the same, back to the sizes before.
pub(super) fn reshaped(x: &Array3<f64>, steps: usize, features: usize) -> Array3<f64> {
    let size = x.len_of(Axis(2));
    Array3::from_shape_fn((steps, x.len_of(Axis(1)), features), |(t, b, n)| {
        let at = t * features + n;
        x[[at / size, b, at % size]]
    })
}

/// Returns `y[n, b, t] = x[t, b, n]`. The backward pass is the same.
pub(super) fn permuted(x: &Array3<f64>) -> Array3<f64> {
    x.view().permuted_axes([2, 1, 0]).as_standard_layout().into_owned()
}

/// Returns `[T, B, F]` as the row `[B, T · F]`.
pub(super) fn flattened(x: &Array3<f64>) -> Array2<f64> {
    let (time, _, features) = x.dim();
    reshaped(x, 1, time * features).slice(s![0, .., ..]).to_owned()
}
