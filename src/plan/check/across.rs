//! What must hold for the dispatches across steps: see [`check`](super).

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

/// Whether the grid reaches every row and element that the params name.
pub(super) fn covers(p: &Params, grid: [u32; 3]) -> bool {
    n(grid[1]) >= n(p.rows) && n(grid[0]) * u64::from(WORKGROUP) * 4 >= n(p.directions) * n(p.units)
}
