//! Convolutions over steps (Y. Lecun and others, 1989, "Backpropagation applied to handwritten zip code recognition"; with
//! dilation van den Oord et al. 2016, "A generative model for raw audio"), and their backward pass.

use ndarray::{Array1, Array3, Axis};

use super::activation::activate;
use super::slope::activate_back;
use crate::model::Conv1d;

/// One product of a convolution: the step, the feature and the tap of the input, and the step and the feature of the
/// output.
struct Term {
    t: usize,
    tap: usize,
    taken: usize,
    given: usize,
    channel: usize,
    unit: usize,
}

/// Returns all products of `conv` for a sequence of `time` steps.
fn terms(conv: &Conv1d, time: usize) -> impl Iterator<Item = Term> + '_ {
    let ([inputs, outputs], [before, _]) = (conv.of_group(), conv.pads(time));
    let steps = (0..conv.out_steps(time)).flat_map(move |given| (0..conv.kernel_size).map(move |tap| (given, tap)));
    let inside = steps.filter_map(move |(given, tap)| {
        let t = (given * conv.stride + tap * conv.dilation).checked_sub(before)?;
        (t < time).then_some((t, tap, given))
    });
    inside.flat_map(move |(t, tap, given)| {
        (0..conv.out_features).flat_map(move |unit| {
            let first = unit / outputs * inputs;
            (0..inputs).map(move |channel| Term { t, tap, taken: first + channel, given, channel, unit })
        })
    })
}

/// Returns `a[t, b, n] = Σ_j Σ_c w[n, c, j] · x[t · stride + j · dilation − left, b, c] + b[n]`.
pub(super) fn sums(conv: &Conv1d, x: &Array3<f64>, w: &Array3<f64>, b: Option<&Array1<f64>>) -> Array3<f64> {
    let (time, batch, _) = x.dim();
    let bias = |n: usize| b.map_or(0.0, |b| b[n]);
    let mut a = Array3::from_shape_fn((conv.out_steps(time), batch, conv.out_features), |(_, _, n)| bias(n));
    for Term { t, tap, taken, given, channel, unit } in terms(conv, time) {
        for row in 0..batch {
            a[[given, row, unit]] += w[[unit, channel, tap]] * x[[t, row, taken]];
        }
    }
    a
}

/// Returns `y = f(a)` of every step.
pub(super) fn convolved(conv: &Conv1d, x: &Array3<f64>, w: &Array3<f64>, b: Option<&Array1<f64>>) -> Array3<f64> {
    activate(conv.activation, sums(conv, x, w, b))
}

/// Computes `δa = δy ∘ f'(a) + d_bare`, then `δx`, `δw` and `δb`: each product gives its part of them.
pub(super) fn convolved_back(
    conv: &Conv1d,
    x: &Array3<f64>,
    (w, b): (&Array3<f64>, Option<&Array1<f64>>),
    [d_y, d_bare]: [Option<&Array3<f64>>; 2],
    (d_w, d_b): (&mut Array3<f64>, Option<&mut Array1<f64>>),
) -> Array3<f64> {
    let a = sums(conv, x, w, b);
    let mut d_a = Array3::zeros(a.dim());
    if let Some(d_y) = d_y {
        d_a += &activate_back(conv.activation, &a, d_y);
    }
    if let Some(d_bare) = d_bare {
        d_a += d_bare;
    }
    if let Some(d_b) = d_b {
        *d_b += &d_a.sum_axis(Axis(0)).sum_axis(Axis(0));
    }
    let mut d_x = Array3::zeros(x.dim());
    for Term { t, tap, taken, given, channel, unit } in terms(conv, x.len_of(Axis(0))) {
        for row in 0..x.len_of(Axis(1)) {
            let d = d_a[[given, row, unit]];
            d_w[[unit, channel, tap]] += d * x[[t, row, taken]];
            d_x[[t, row, taken]] += d * w[[unit, channel, tap]];
        }
    }
    d_x
}
