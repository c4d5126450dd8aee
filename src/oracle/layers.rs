//! The layers other than recurrent stacks and joins, each with its backward pass.
//!
//! A backward pass takes the gradient of a layer's output, `δy`, and gives that of its input, `δx`.

use ndarray::{Array1, Array2, Array3, ArrayView2, Axis, concatenate, s};

use super::activation::activate;
use super::slope::activate_back;
use crate::cell::Activation;

/// Returns `y[t, b] = table[tokens[t, b]]`.
pub(super) fn embedding(tokens: &Array2<u32>, table: &Array2<f64>) -> Array3<f64> {
    let (time, batch) = tokens.dim();
    Array3::from_shape_fn((time, batch, table.ncols()), |(t, b, n)| table[[tokens[[t, b]] as usize, n]])
}

/// Adds `δtable[tokens[t, b]] += δy[t, b]`.
///
/// Token `padding` is left out (`torch.nn.Embedding`'s `padding_idx`). A mask token is not:
/// its row trains if something uses the row in spite of the mask (Keras' `mask_zero`).
pub(super) fn embedding_back(
    tokens: &Array2<u32>,
    padding: Option<usize>,
    d_y: &Array3<f64>,
    d_table: &mut Array2<f64>,
) {
    for ((t, b), &token) in tokens.indexed_iter().filter(|(_, token)| padding != Some(**token as usize)) {
        let mut row = d_table.row_mut(token as usize);
        row += &d_y.slice(s![t, b, ..]);
    }
}

/// Returns `y[t, b, n] = 1` if `n = tokens[t, b]`, else 0.
pub(super) fn unit_vectors(tokens: &Array2<u32>, classes: usize) -> Array3<f64> {
    let (time, batch) = tokens.dim();
    Array3::from_shape_fn((time, batch, classes), |(t, b, n)| if tokens[[t, b]] as usize == n { 1.0 } else { 0.0 })
}

/// Returns the output at the last time index.
pub(super) fn last_step(x: &Array3<f64>) -> Array2<f64> {
    x.index_axis(Axis(0), x.len_of(Axis(0)) - 1).to_owned()
}

/// `δx` is `δy` at the last time index, else 0.
pub(super) fn last_step_back(time: usize, d_y: &Array2<f64>) -> Array3<f64> {
    let mut d_x = Array3::zeros((time, d_y.nrows(), d_y.ncols()));
    d_x.index_axis_mut(Axis(0), time - 1).assign(d_y);
    d_x
}

/// Returns the states of the last layer, its directions side by side: `[L · D, B, S]` to `[B, D · S]`.
pub(super) fn last_layer(h: &Array3<f64>, directions: usize) -> Array2<f64> {
    let first = h.len_of(Axis(0)) - directions;
    let parts: Vec<_> = (first..first + directions).map(|row| h.index_axis(Axis(0), row)).collect();
    concatenate(Axis(1), &parts).expect("the directions of a layer have one batch")
}

/// Adds `δy`, `[B, D · S]`, to the gradients of the last layer's states.
pub(super) fn last_layer_back(d_y: &Array2<f64>, directions: usize, d_h: &mut Array3<f64>) {
    let (first, size) = (d_h.len_of(Axis(0)) - directions, d_h.len_of(Axis(2)));
    for d in 0..directions {
        let mut row = d_h.index_axis_mut(Axis(0), first + d);
        row += &d_y.slice(s![.., d * size..(d + 1) * size]);
    }
}

/// Turns the states of a layer's directions side by side, `[B, D · S]`, into `[D, B, S]`.
pub(super) fn side_by_side(row: &Array2<f64>, directions: usize) -> Array3<f64> {
    let (batch, size) = (row.nrows(), row.ncols() / directions);
    Array3::from_shape_fn((directions, batch, size), |(d, b, n)| row[[b, d * size + n]])
}

/// Returns `a = x·Wᵀ + b`: `[rows, in_features]` to `[rows, out_features]`.
pub(super) fn product(x: ArrayView2<'_, f64>, w: &Array2<f64>, b: Option<&Array1<f64>>) -> Array2<f64> {
    let mut a = x.dot(&w.t());
    if let Some(b) = b {
        a += b;
    }
    a
}

/// `δx = δa·W`, `δW += δaᵀ·x`, `δb += Σ δa`.
pub(super) fn product_back(
    x: ArrayView2<'_, f64>,
    w: &Array2<f64>,
    d_a: ArrayView2<'_, f64>,
    (d_w, d_b): (&mut Array2<f64>, Option<&mut Array1<f64>>),
) -> Array2<f64> {
    *d_w += &d_a.t().dot(&x);
    if let Some(d_b) = d_b {
        *d_b += &d_a.sum_axis(Axis(0));
    }
    d_a.dot(w)
}

/// Returns `y = f(x·Wᵀ + b)` of every step.
pub(super) fn linear(x: &Array3<f64>, w: &Array2<f64>, b: Option<&Array1<f64>>, f: Activation) -> Array3<f64> {
    let mut y = Array3::zeros((x.len_of(Axis(0)), x.len_of(Axis(1)), w.nrows()));
    for (x, mut y) in x.outer_iter().zip(y.outer_iter_mut()) {
        y.assign(&activate(f, product(x, w, b)));
    }
    y
}

/// Computes `δa = δy ∘ f'(a) + d_bare`, and then the backward pass of
/// the product. `d_bare` is the objective's gradient by `a` itself.
pub(super) fn linear_back(
    x: &Array3<f64>,
    (w, b, f): (&Array2<f64>, Option<&Array1<f64>>, Activation),
    d_y: Option<&Array3<f64>>,
    d_bare: Option<&Array3<f64>>,
    (d_w, mut d_b): (&mut Array2<f64>, Option<&mut Array1<f64>>),
) -> Array3<f64> {
    let mut d_x = Array3::zeros(x.dim());
    for (t, (x, mut d_x)) in x.outer_iter().zip(d_x.outer_iter_mut()).enumerate() {
        let a = product(x, w, b);
        let mut d_a = Array2::zeros(a.dim());
        if let Some(d_y) = d_y {
            d_a += &activate_back(f, &a, &d_y.index_axis(Axis(0), t).to_owned());
        }
        if let Some(d_bare) = d_bare {
            d_a += &d_bare.index_axis(Axis(0), t);
        }
        d_x.assign(&product_back(x, w, d_a.view(), (&mut *d_w, d_b.as_deref_mut())));
    }
    d_x
}

/// Sets dead steps to zero, as Keras' `Masking` does. Its backward pass is the same.
pub(super) fn zeroed(mut x: Array3<f64>, live: Option<&Array2<bool>>) -> Array3<f64> {
    for ((t, b), _) in live.into_iter().flat_map(|live| live.indexed_iter()).filter(|(_, live)| !**live) {
        x.slice_mut(s![t, b, ..]).fill(0.0);
    }
    x
}

/// Returns `count` indices of `axis` from `first` on.
pub(super) fn part(x: &Array3<f64>, axis: Axis, first: usize, count: usize) -> Array3<f64> {
    x.slice_axis(axis, (first..first + count).into()).to_owned()
}

/// Returns `δx` for `all` indices: `δy` at those that went on, else 0.
pub(super) fn part_back(d_y: &Array3<f64>, axis: Axis, first: usize, all: usize) -> Array3<f64> {
    let mut dim = d_y.raw_dim();
    dim[axis.index()] = all;
    let mut d_x = Array3::zeros(dim);
    d_x.slice_axis_mut(axis, (first..first + d_y.len_of(axis)).into()).assign(d_y);
    d_x
}
