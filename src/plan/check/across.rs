//! What must hold for the dispatches across steps: see [`check`](super).

use std::ops::Range;

use super::{Extents, n};
use crate::kernel::{Across, Params, Role, WORKGROUP};

/// Returns how many elements of each binding a dispatch reaches, from the start of the window.
pub(super) fn extents(across: Across, p: &Params) -> Extents {
    let (rows, batch, width) = (n(p.rows), n(p.batch), n(p.directions) * n(p.units));
    match across {
        Across::Pool(_) => {
            let farthest = n(p.steps).saturating_sub(1) * batch + rows;
            Extents::of(&[
                (Role::Source, (n(p.source_0) + farthest) * width),
                (Role::Live, n(p.live_0) + farthest),
                (Role::Result, (n(p.target_0) + rows) * width),
                (Role::Counts, (n(p.target_0) + rows) * width),
            ])
        }
        Across::PoolBack(..) => Extents::of(&[
            (Role::Source, (n(p.source_0) + rows) * width),
            (Role::Other, batch * width),
            (Role::Live, n(p.live_0) + rows),
            (Role::Counts, batch * width),
            (Role::Delta, (n(p.source_1) + batch) * width),
            (Role::Result, (n(p.target_0) + rows) * width),
        ]),
        Across::Rearrange => Extents::of(&[
            (Role::Source, rearranged(p).unwrap_or(u64::MAX)),
            (Role::Result, (n(p.target_0) + rows) * width),
        ]),
        Across::WindowPool(..) => {
            let [source, live] = windowed(p).unwrap_or([u64::MAX; 2]);
            Extents::of(&[
                (Role::Source, source.saturating_mul(width)),
                (Role::Live, live),
                (Role::Result, (n(p.target_0) + rows) * width),
            ])
        }
        Across::WindowBack(..) => {
            let [source, live, of_windows] = windowed_back(p).unwrap_or([u64::MAX; 3]);
            Extents::of(&[
                (Role::Source, source.saturating_mul(width)),
                (Role::Live, live),
                (Role::Other, of_windows.saturating_mul(width)),
                (Role::Delta, of_windows.saturating_mul(width)),
                (Role::Result, (n(p.target_0) + rows) * width),
            ])
        }
    }
}

/// Returns the elements of its source that `rearrange` reaches, or `None` if its params contradict each other.
fn rearranged(p: &Params) -> Option<u64> {
    let (batch, taken) = (n(p.batch), n(p.source_directions) * n(p.source_features));
    let features = n(p.directions) * n(p.features);
    let parts_fit = p.features <= p.units && p.source_features <= p.source_units;
    let is_some = p.units > 0 && taken > 0 && batch > 0 && features > 0 && p.rows > 0;
    if !parts_fit || !is_some {
        return None;
    }
    // The last step and the last feature have the last number.
    let step = (n(p.offset) + n(p.rows) - 1) / batch;
    let last = step.checked_mul(n(p.time_step_0))?.checked_add((features - 1).checked_mul(n(p.time_step_1))?)?;
    let rows = n(p.source_0) + (last / taken).saturating_add(1).saturating_mul(batch);
    Some(rows.saturating_mul(n(p.source_units) * n(p.source_directions)))
}

/// Returns the rows of its source and of its mask that `window_pool` reaches, or `None` if it would read before them.
fn windowed(p: &Params) -> Option<[u64; 2]> {
    let [first, last] = of_target(p)?.map(|window| start_of(p, window));
    let steps = first.max(0)..last.saturating_add(reach_of(p)).saturating_add(1).min(p.count.into());
    Some([rows_of(p, (p.source_0, p.gates_0), steps.clone())?, rows_of(p, (p.live_0, 0), steps)?])
}

/// Returns the rows of its source, of its mask, and of what windows have, that `window_back` reaches. Returns `None` if
/// it would read before them.
fn windowed_back(p: &Params) -> Option<[u64; 3]> {
    let [first, last] = of_target(p)?;
    let (stride, ahead) = (i64::from(p.time_step_0), [first, last].map(|step| step - start_of(p, 0)));
    let window = ahead[0].saturating_sub(reach_of(p)).saturating_add(stride - 1).max(0) / stride;
    let end = if ahead[1] < 0 { 0 } else { (ahead[1] / stride + 1).min(i64::from(p.count)) };
    if window >= end {
        return Some([0, rows_of(p, (p.live_0, 0), first..last + 1)?, 0]);
    }
    let begin = start_of(p, window).max(0);
    // A mean counts the live steps of all its windows.
    let farthest =
        start_of(p, end - 1).saturating_add(reach_of(p)).saturating_add(1).min(p.kept_1.cast_signed().into());
    let live = rows_of(p, (p.live_0, 0), begin.min(first)..farthest.max(last + 1))?;
    let source = rows_of(p, (p.source_0, p.gates_0), begin..last + 1)?;
    Some([source, live, rows_of(p, (p.source_1, p.gates_1), window..end)?])
}

/// Returns the first and the last step or window of the target, or `None` if the params contradict each other.
fn of_target(p: &Params) -> Option<[i64; 2]> {
    let is_some = p.rows > 0 && p.batch > 0 && p.steps > 0 && p.time_step_0 > 0 && p.time_step_1 > 0;
    let last = i64::from(p.offset) + i64::from(p.rows) - 1;
    is_some.then(|| [i64::from(p.offset), last].map(|row| row / i64::from(p.batch)))
}

/// Returns the first step of window `window`.
fn start_of(p: &Params, window: i64) -> i64 {
    window.saturating_mul(p.time_step_0.into()).saturating_add(p.before_0.cast_signed().into())
}

/// Returns the steps from the first of a window to its last.
fn reach_of(p: &Params) -> i64 {
    (i64::from(p.steps) - 1).saturating_mul(p.time_step_1.into())
}

/// Returns the rows up to those of the last of `steps`, if step `from` is at row `row`. Returns `None` if one of them
/// comes before that, or is so far that the kernel's 32 bits would not hold it.
fn rows_of(p: &Params, (row, from): (u32, u32), steps: Range<i64>) -> Option<u64> {
    if steps.start >= steps.end {
        return Some(0);
    }
    let fits = steps.start >= i64::from(from) && steps.end.saturating_add(reach_of(p)) < i64::from(i32::MAX);
    let count = u64::try_from(steps.end - i64::from(from)).ok().filter(|_| fits)?;
    Some(n(row).saturating_add(count.saturating_mul(n(p.batch))))
}

/// Whether the grid reaches every row and element that the params name.
pub(super) fn covers(p: &Params, grid: [u32; 3]) -> bool {
    n(grid[1]) >= n(p.rows) && n(grid[0]) * u64::from(WORKGROUP) * 4 >= n(p.directions) * n(p.units)
}
