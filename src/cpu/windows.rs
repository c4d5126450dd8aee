//! The kernels along windows: `window_pool` and `window_back`.

use std::ops::Range;

use super::buffers::Bound;
use super::rows::{by_rows, span_mut};
use super::threads;
use crate::kernel::{Params, PoolOp, Role};

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(p: &Params) -> usize {
    threads::copy_ns((p.steps as usize + 1).saturating_mul(p.rows as usize * (p.units * p.directions) as usize))
}

/// Windows along a sequence. Steps count from its first one, and are negative in the padding before it.
#[derive(Clone, Copy)]
struct Windows {
    start: i64,
    stride: i64,
    apart: i64,
    places: i64,
    counted: [i64; 2],
}

impl Windows {
    fn of(p: &Params) -> Self {
        Self {
            start: p.before_0.cast_signed().into(),
            stride: p.time_step_0.into(),
            apart: p.time_step_1.into(),
            places: p.steps.into(),
            counted: [p.kept_0, p.kept_1].map(|bound| bound.cast_signed().into()),
        }
    }

    /// Returns the first step of window `window`.
    fn first(self, window: i64) -> i64 {
        window * self.stride + self.start
    }

    /// Returns how many of the places of a window that starts at `start` come before step `bound`.
    fn places_before(self, start: i64, bound: i64) -> i64 {
        ((bound - start + self.apart - 1).max(0) / self.apart).min(self.places)
    }

    /// Returns the number that a mean over a window of row `b` is divided by.
    #[expect(clippy::cast_precision_loss, reason = "less than 2^24")]
    fn divisor(self, start: i64, live: &Live<'_>, b: usize) -> f32 {
        let [from, to] = self.counted.map(|bound| self.places_before(start, bound));
        let counted = match live.rows {
            [] => to - from,
            _ => (from..to).filter(|j| live.has(start + j * self.apart, b)).count() as i64,
        };
        counted.max(1) as f32
    }

    /// Returns the windows below `count` that may take step `step`.
    fn around(self, step: i64, count: i64) -> Range<i64> {
        let ahead = step - self.start;
        let reach = (self.places - 1) * self.apart;
        let first = (ahead - reach + self.stride - 1).max(0) / self.stride;
        first..if ahead < 0 { 0 } else { (ahead / self.stride + 1).min(count) }
    }
}

/// The steps that rows have.
struct Live<'a> {
    /// Those from the first step on; none if every row has all steps.
    rows: &'a [u32],
    batch: usize,
}

impl<'a> Live<'a> {
    fn of(bound: &'a Bound<'_>, p: Params) -> Self {
        let rows = bound.indices_or_none(Role::Live);
        Self { rows: rows.get(p.live_0 as usize..).unwrap_or_default(), batch: p.batch as usize }
    }

    /// Whether row `b` of the batch has step `step`.
    fn has(&self, step: i64, b: usize) -> bool {
        let at = usize::try_from(step).ok().map(|step| step * self.batch + b);
        at.and_then(|at| self.rows.get(at)).is_none_or(|&live| live != 0)
    }
}

/// Returns row `place` of rows of `width` elements.
fn row(rows: &[f32], place: i64, width: usize) -> &[f32] {
    let place = usize::try_from(place).expect("a checked dispatch reads what is bound");
    &rows[place * width..][..width]
}

/// What the steps of each window come to.
pub(super) fn pool(bound: &mut Bound<'_>, op: PoolOp) {
    let p = *bound.params;
    let (width, batch, windows) = ((p.units * p.directions) as usize, p.batch as usize, Windows::of(&p));
    bound.write(Role::Result, |bound, result| {
        let (source, live) = (bound.floats(Role::Source), Live::of(bound, p));
        by_rows(span_mut(result, p.target_0, p.rows as usize, width), width, |from, target| {
            for (m, target) in (from + p.offset as usize..).zip(target.chunks_exact_mut(width)) {
                let (start, b) = (windows.first((m / batch) as i64), m % batch);
                let places = windows.places_before(start, 0)..windows.places_before(start, p.count.into());
                target.fill(0.0);
                let mut is_first = true;
                for step in places.map(|j| start + j * windows.apart).filter(|&step| live.has(step, b)) {
                    let place = i64::from(p.source_0) + (step - i64::from(p.gates_0)) * batch as i64 + b as i64;
                    let x = row(source, place, width);
                    let pairs = target.iter_mut().zip(x);
                    match op {
                        PoolOp::Mean | PoolOp::Sum => pairs.for_each(|(y, x)| *y += x),
                        PoolOp::Max | PoolOp::Min if is_first => target.copy_from_slice(x),
                        PoolOp::Max => pairs.for_each(|(y, &x)| *y = if x > *y || x.is_nan() { x } else { *y }),
                        PoolOp::Min => pairs.for_each(|(y, &x)| *y = if x < *y || x.is_nan() { x } else { *y }),
                    }
                    is_first = false;
                }
                if op == PoolOp::Mean {
                    let divisor = windows.divisor(start, &live, b);
                    target.iter_mut().for_each(|y| *y /= divisor);
                }
            }
        });
    });
}

/// What each step takes of the gradients of its windows.
pub(super) fn back(bound: &mut Bound<'_>, op: PoolOp) {
    let p = *bound.params;
    let (width, batch, windows) = ((p.units * p.directions) as usize, p.batch as usize, Windows::of(&p));
    bound.write(Role::Result, |bound, result| {
        let (source, pooled) = (bound.floats(Role::Source), bound.floats(Role::Other));
        let (delta, live) = (bound.floats(Role::Delta), Live::of(bound, p));
        by_rows(span_mut(result, p.target_0, p.rows as usize, width), width, |from, target| {
            for (m, target) in (from + p.offset as usize..).zip(target.chunks_exact_mut(width)) {
                let (step, b) = ((m / batch) as i64, (m % batch) as i64);
                let of_step = |step: i64| {
                    let place = i64::from(p.source_0) + (step - i64::from(p.gates_0)) * batch as i64 + b;
                    row(source, place, width)
                };
                target.fill(0.0);
                if !live.has(step, m % batch) {
                    continue;
                }
                for window in windows.around(step, p.count.into()) {
                    let start = windows.first(window);
                    if (step - start) % windows.apart != 0 {
                        continue;
                    }
                    let at = i64::from(p.source_1) + (window - i64::from(p.gates_1)) * batch as i64 + b;
                    let d = row(delta, at, width);
                    match op {
                        PoolOp::Sum => target.iter_mut().zip(d).for_each(|(d_x, d)| *d_x += d),
                        PoolOp::Mean => {
                            let divisor = windows.divisor(start, &live, m % batch);
                            target.iter_mut().zip(d).for_each(|(d_x, d)| *d_x += d / divisor);
                        }
                        PoolOp::Max | PoolOp::Min => {
                            let (x, y) = (of_step(step), row(pooled, at, width));
                            let earlier = windows.places_before(start, 0)..(step - start) / windows.apart;
                            let earlier = earlier.map(|j| start + j * windows.apart);
                            let earlier = earlier.filter(|&step| live.has(step, m % batch));
                            let is_first = |n: usize| earlier.clone().all(|step| of_step(step)[n] != y[n]);
                            for (n, d_x) in target.iter_mut().enumerate() {
                                if x[n] == y[n] && is_first(n) {
                                    *d_x += d[n];
                                }
                            }
                        }
                    }
                }
            }
        });
    });
}
