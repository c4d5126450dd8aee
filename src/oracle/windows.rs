//! What the steps of windows come to, every n-th step, and steps around a sequence.
//!
//! A backward pass takes the gradient of a layer's output, `δy`, and gives that of its input, `δx`.

use ndarray::{Array2, Array3, Axis};

use crate::model::{PadMode, PadSteps, PoolPadding, Reduce, WindowPool};

/// The steps that a window takes, and the number that a mean divides by.
type Window = (Vec<usize>, usize);

/// The windows along `time` steps, each with the steps that it takes and the number that a mean divides by.
///
/// Padded as PyTorch pads (`torch.nn.MaxPool1d`, `AvgPool1d`), or so that there are `⌈T / stride⌉` windows (TensorFlow).
fn windows(pool: &WindowPool, time: usize) -> Vec<Window> {
    let (stride, extent) = (pool.stride, (pool.size - 1) * pool.dilation + 1);
    let (before, after, count) = match pool.padding {
        PoolPadding::Around { before, after } => {
            let begins = |window: usize| {
                let at = window * stride;
                let fits = at + extent <= before + time + after;
                // The last one may reach out, if all before it fit and it begins in the sequence.
                let last = pool.ceil && at < before + time && at + extent < before + time + after + stride;
                fits || last
            };
            (before, after, (0..).take_while(|&window| begins(window)).count())
        }
        PoolPadding::Same | PoolPadding::SameStart => {
            let count = time.div_ceil(stride);
            let all = ((count - 1) * stride + extent).saturating_sub(time);
            let (less, more) = (all / 2, all - all / 2);
            let [before, after] = if pool.padding == PoolPadding::Same { [less, more] } else { [more, less] };
            (before, after, count)
        }
    };
    let steps = |window: usize| (0..pool.size).map(move |n| window * stride + n * pool.dilation);
    let is_step = |at: &usize| (before..before + time).contains(at);
    (0..count)
        .map(|window| {
            let counted = match pool.counts_padding {
                true => steps(window).filter(|&at| at < before + time + after).count(),
                false => steps(window).filter(is_step).count(),
            };
            (steps(window).filter(is_step).map(|at| at - before).collect(), counted)
        })
        .collect()
}

/// Returns `windows` as row `b` has them: without its dead steps, which no mean counts unless it counts padding.
fn of_row(pool: &WindowPool, windows: &[Window], live: Option<&Array2<bool>>, b: usize) -> Vec<Window> {
    let Some(live) = live.filter(|_| !pool.all_steps) else { return windows.to_vec() };
    let taken = |(steps, counted): &Window| {
        let steps: Vec<usize> = steps.iter().copied().filter(|&t| live[[t, b]]).collect();
        let counted = if pool.counts_padding { *counted } else { steps.len().max(1) };
        (steps, counted)
    };
    windows.iter().map(taken).collect()
}

/// Returns `y[o, b, n]`, which `x[t, b, n]` come to over the live steps t of window o; 0 if there is none.
pub(super) fn windowed(pool: &WindowPool, x: &Array3<f64>, live: Option<&Array2<bool>>) -> Array3<f64> {
    let (time, batch, features) = x.dim();
    let windows = windows(pool, time);
    let rows: Vec<Vec<Window>> = (0..batch).map(|b| of_row(pool, &windows, live, b)).collect();
    Array3::from_shape_fn((windows.len(), batch, features), |(o, b, n)| {
        let (steps, counted) = &rows[b][o];
        let all = steps.iter().map(|&t| x[[t, b, n]]);
        match pool.reduce {
            Reduce::Max | Reduce::Min => winner(pool.reduce, steps, |t| x[[t, b, n]]).map_or(0.0, |t| x[[t, b, n]]),
            Reduce::Sum => all.sum(),
            #[expect(clippy::cast_precision_loss, reason = "few steps")]
            Reduce::Mean => all.sum::<f64>() / *counted as f64,
        }
    })
}

/// Returns the first step that has the largest or the smallest number; that of a NaN if there is one.
fn winner(reduce: Reduce, steps: &[usize], x: impl Fn(usize) -> f64) -> Option<usize> {
    let wins = |new: f64, old: f64| if reduce == Reduce::Max { new > old } else { new < old };
    steps.iter().copied().reduce(|first, t| if x(t).is_nan() || wins(x(t), x(first)) { t } else { first })
}

/// `δx[t, b, n]` is the sum of what the windows that take step t hand on. A sum hands on `δy`, a mean its share, and a
/// largest or smallest all of it, to the first step that has it.
pub(super) fn windowed_back(
    pool: &WindowPool,
    x: &Array3<f64>,
    live: Option<&Array2<bool>>,
    d_y: &Array3<f64>,
) -> Array3<f64> {
    let mut d_x = Array3::zeros(x.dim());
    let windows = windows(pool, x.len_of(Axis(0)));
    for (b, rows) in (0..x.len_of(Axis(1))).map(|b| (b, of_row(pool, &windows, live, b))) {
        for ((o, n), &d) in d_y.index_axis(Axis(1), b).indexed_iter() {
            let (steps, counted) = &rows[o];
            match pool.reduce {
                Reduce::Max | Reduce::Min => {
                    winner(pool.reduce, steps, |t| x[[t, b, n]]).into_iter().for_each(|t| d_x[[t, b, n]] += d);
                }
                Reduce::Sum => steps.iter().for_each(|&t| d_x[[t, b, n]] += d),
                #[expect(clippy::cast_precision_loss, reason = "few steps")]
                Reduce::Mean => steps.iter().for_each(|&t| d_x[[t, b, n]] += d / *counted as f64),
            }
        }
    }
    d_x
}

/// Returns `count` steps of `x`, `step` apart.
pub(super) fn every(x: &Array3<f64>, first: usize, step: usize, count: usize) -> Array3<f64> {
    let steps: Vec<usize> = (0..count).map(|n| first + n * step).collect();
    x.select(Axis(0), &steps)
}

/// The backward pass of [`every`] of `time` steps: `δx` is 0 in between.
pub(super) fn every_back(d_y: &Array3<f64>, first: usize, step: usize, time: usize) -> Array3<f64> {
    let (count, batch, features) = d_y.dim();
    let mut d_x = Array3::zeros((time, batch, features));
    for n in 0..count {
        d_x.index_axis_mut(Axis(0), first + n * step).assign(&d_y.index_axis(Axis(0), n));
    }
    d_x
}

/// The step of `time` that step `t` of a padded sequence is (`torch.nn.functional.pad`).
fn padded_step(pad: &PadSteps, t: usize, time: usize) -> usize {
    let place = |n: usize| i64::try_from(n).expect("few steps");
    let (at, time) = (place(t) - place(pad.before), place(time));
    let step = match pad.mode {
        PadMode::Reflect if at < 0 => -at,
        PadMode::Reflect if at >= time => 2 * (time - 1) - at,
        PadMode::Reflect => at,
        PadMode::Replicate => at.clamp(0, time - 1),
        PadMode::Circular => at.rem_euclid(time),
    };
    usize::try_from(step).expect("a step of the sequence")
}

/// Returns `x` with steps of its own around it.
pub(super) fn padded(pad: &PadSteps, x: &Array3<f64>) -> Array3<f64> {
    let time = x.len_of(Axis(0));
    let steps: Vec<usize> = (0..time + pad.before + pad.after).map(|t| padded_step(pad, t, time)).collect();
    x.select(Axis(0), &steps)
}

/// The backward pass of [`padded`] of `time` steps: `δx` adds up all that a step became.
pub(super) fn padded_back(pad: &PadSteps, d_y: &Array3<f64>, time: usize) -> Array3<f64> {
    let (count, batch, features) = d_y.dim();
    let mut d_x = Array3::zeros((time, batch, features));
    for t in 0..count {
        let mut step = d_x.index_axis_mut(Axis(0), padded_step(pad, t, time));
        step += &d_y.index_axis(Axis(0), t);
    }
    d_x
}
