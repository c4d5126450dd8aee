//! The kernels across steps: `pool`, `pool_back` and `rearrange`. Those along windows are in `windows`.

use pulp::Arch;

use super::buffers::Bound;
use super::join::place;
use super::rows::{by_rows, span, span_mut};
use super::{threads, windows};
use crate::kernel::{Across, Params, Pool, PoolOp, Role};
use crate::platform::parallel::*;

/// Elements of a row that are pooled over all steps before the next ones.
const NEAR: usize = 1024;

/// Returns how long one thread takes for a dispatch.
pub(super) fn ns(across: Across, p: &Params) -> usize {
    let steps = match across {
        Across::Pool(_) => p.steps as usize + 2,
        Across::WindowPool(..) | Across::WindowBack(..) => return windows::ns(p),
        Across::PoolBack(..) | Across::Rearrange => 2,
    };
    threads::copy_ns(steps * p.rows as usize * (p.units * p.directions) as usize)
}

/// Runs a dispatch.
pub(super) fn run(arch: Arch, bound: &mut Bound<'_>, across: Across) {
    match across {
        Across::Pool(pool) => self::pool(arch, bound, pool),
        Across::PoolBack(op, _) => pool_back(bound, op),
        Across::Rearrange => rearrange(bound),
        Across::WindowPool(op, _) => windows::pool(bound, op),
        Across::WindowBack(op, _) => windows::back(bound, op),
    }
}

fn pool(arch: Arch, bound: &mut Bound<'_>, pool: Pool) {
    let p = *bound.params;
    let (rows, width, batch) = (p.rows as usize, (p.units * p.directions) as usize, p.batch as usize);
    let threads = threads::worth(ns(Across::Pool(pool), &p));
    bound.write_each([Role::Result, Role::Counts], |bound, [result, counts]| {
        let (source, live) = (bound.floats(Role::Source), bound.indices_or_none(Role::Live));
        let source = &source[p.source_0 as usize * width..];
        let is_live = |m: usize, t: usize| live.get(p.live_0 as usize + m + t * batch).is_none_or(|&live| live != 0);
        let some = |(i, (value, count)): (usize, (&mut [f32], &mut [f32]))| {
            if pool.first {
                value.fill(0.0);
                count.fill(0.0);
            }
            // These elements are of one row, or of whole rows.
            let (row, at) = (i * NEAR / width, i * NEAR % width);
            for (m, (value, count)) in (row..).zip(parts(value, count, width, at)) {
                let at = if m == row { at } else { 0 };
                arch.dispatch(|| {
                    for t in (0..p.steps as usize).filter(|&t| is_live(m, t)) {
                        take(pool.op, value, count, &source[(m + t * batch) * width + at..][..value.len()]);
                    }
                    if pool.last && pool.op == PoolOp::Mean {
                        value.iter_mut().zip(&*count).for_each(|(y, n)| *y /= n.max(1.0));
                    }
                });
            }
        };
        let value = span_mut(result, p.target_0, rows, width);
        let count = span_mut(counts, p.target_0, rows, width);
        if threads == 1 {
            value.chunks_mut(NEAR).zip(count.chunks_mut(NEAR)).enumerate().for_each(some);
        } else {
            value.par_chunks_mut(NEAR).zip(count.par_chunks_mut(NEAR)).enumerate().for_each(some);
        }
    });
}

/// Cuts elements, the first of which is element `at` of its row, where rows of `width` end.
fn parts<'a>(
    mut value: &'a mut [f32],
    mut count: &'a mut [f32],
    width: usize,
    at: usize,
) -> impl Iterator<Item = (&'a mut [f32], &'a mut [f32])> {
    let mut left = width - at;
    std::iter::from_fn(move || {
        let len = left.min(value.len());
        left = width;
        let (part, rest) = std::mem::take(&mut value).split_at_mut(len);
        let (own, others) = std::mem::take(&mut count).split_at_mut(len);
        (value, count) = (rest, others);
        (len > 0).then_some((part, own))
    })
}

/// Takes one more step.
#[inline(always)]
fn take(op: PoolOp, value: &mut [f32], count: &mut [f32], x: &[f32]) {
    let all = value.iter_mut().zip(count).zip(x);
    match op {
        PoolOp::Mean | PoolOp::Sum => all.for_each(|((y, n), x)| {
            *y += x;
            *n += 1.0;
        }),
        PoolOp::Max => all.for_each(|((y, n), &x)| meet(y, n, x, |y, x| x > y)),
        PoolOp::Min => all.for_each(|((y, n), &x)| meet(y, n, x, |y, x| x < y)),
    }
}

/// Takes one more number where the largest or smallest counts, which this one is instead of `y` if it `wins`.
#[inline(always)]
fn meet(y: &mut f32, n: &mut f32, x: f32, wins: impl Fn(f32, f32) -> bool) {
    let is_first = *n == 0.0;
    let next = if is_first || x.is_nan() || wins(*y, x) { x } else { *y };
    // NaN equals none, and counts as one.
    let equal = if next == *y { *n } else { 0.0 } + if next == x { 1.0 } else { 0.0 };
    *n = if is_first { 1.0 } else { equal.max(1.0) };
    *y = next;
}

fn pool_back(bound: &mut Bound<'_>, op: PoolOp) {
    let p = *bound.params;
    let (rows, batch, width) = (p.rows as usize, p.batch as usize, (p.units * p.directions) as usize);
    let extreme = matches!(op, PoolOp::Max | PoolOp::Min);
    bound.write(Role::Result, |bound, result| {
        let source = span(bound.floats(Role::Source), p.source_0, rows, width);
        let (pooled, counts) = (bound.floats(Role::Other), bound.floats(Role::Counts));
        let delta = span(bound.floats(Role::Delta), p.source_1, batch, width);
        let live = bound.indices_or_none(Role::Live);
        by_rows(span_mut(result, p.target_0, rows, width), width, |from, target| {
            for (m, target) in (from..).zip(target.chunks_exact_mut(width)) {
                if live.get(p.live_0 as usize + m).is_some_and(|&live| live == 0) {
                    target.fill(0.0);
                    continue;
                }
                let b = (p.offset as usize + m) % batch * width;
                let of_row = |all: &[f32], n: usize| all[b + n];
                for (n, (d_x, &x)) in target.iter_mut().zip(&source[m * width..]).enumerate() {
                    let shares = if op == PoolOp::Sum { 1.0 } else { of_row(counts, n).max(1.0) };
                    let has_share = !extreme || x == of_row(pooled, n);
                    *d_x = if has_share { of_row(delta, n) / shares } else { 0.0 };
                }
            }
        });
    });
}

fn rearrange(bound: &mut Bound<'_>) {
    let p = *bound.params;
    let (batch, width) = (p.batch as usize, (p.units * p.directions) as usize);
    let source_width = (p.source_units * p.source_directions) as usize;
    let size = (p.source_directions * p.source_features) as usize;
    bound.write(Role::Result, |bound, result| {
        let source = &bound.floats(Role::Source)[p.source_0 as usize * source_width..];
        by_rows(span_mut(result, p.target_0, p.rows as usize, width), width, |from, target| {
            for (m, target) in (from + p.offset as usize..).zip(target.chunks_exact_mut(width)) {
                let (first, b) = (m / batch * p.time_step_0 as usize, m % batch);
                target.fill(0.0);
                for f in 0..p.directions * p.features {
                    let number = first + (f * p.time_step_1) as usize;
                    #[expect(clippy::cast_possible_truncation, reason = "less than the features of a row")]
                    let (column, _) = place((number % size) as u32, p.source_features, p.source_units);
                    let (to, _) = place(f, p.features, p.units);
                    target[to] = source[(number / size * batch + b) * source_width + column];
                }
            }
        });
    });
}
