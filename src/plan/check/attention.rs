//! What programs of attention reach.

use super::{Extents, n};
use crate::kernel::{Attend, Params, Role, WORKGROUP};

/// Returns how many elements of each binding a program of attention reaches.
pub(super) fn extents(attend: Attend, p: &Params) -> Extents {
    let (rows, units, steps) = (n(p.rows), n(p.units), n(p.steps) * n(p.batch));
    let (width, result) = (n(p.source_units), n(p.target_0) + rows);
    match attend {
        Attend::Scores(_) => Extents::of(&[
            (Role::Weights, units),
            (Role::Source, (n(p.source_0) + rows) * units),
            (Role::Key, (n(p.source_1) + steps) * units),
            (Role::Result, if p.offset + p.steps <= p.source_units { result * width } else { u64::MAX }),
        ]),
        Attend::Shares { .. } => Extents::of(&[
            (Role::Source, (n(p.source_0) + rows) * units),
            (Role::Live, n(p.live_0) + n(p.features) * n(p.batch)),
            (Role::Result, result * units),
        ]),
        Attend::Blend { transposed, .. } => Extents::of(&[
            (Role::Shares, (n(p.source_1) + if transposed { steps } else { rows }) * width),
            (Role::Source, (n(p.source_0) + steps) * units),
            (Role::Result, result * units),
        ]),
        Attend::ScoresBack { of, .. } => Extents::of(&[
            (Role::Weights, units),
            (Role::Shares, (n(p.source_1) + if of.is_transposed() { steps } else { rows }) * width),
            (Role::Source, (n(p.source_0) + steps) * units),
            (Role::Other, (n(p.kept_0) + rows) * units),
            (Role::Result, result * units),
        ]),
    }
}

/// Whether the grid of a program of attention reaches every row and column that its params name.
pub(super) fn covers(attend: Attend, p: &Params, [x, y, _]: [u32; 3]) -> bool {
    let columns = match attend {
        Attend::Scores(_) => p.steps,
        // A workgroup goes over a whole row.
        Attend::Shares { .. } => 0,
        Attend::Blend { .. } | Attend::ScoresBack { .. } => p.units.div_ceil(4),
    };
    y >= p.rows && n(x) * n(WORKGROUP) >= n(columns)
}
