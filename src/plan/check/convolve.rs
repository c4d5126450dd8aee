//! What must hold for the dispatches of convolutions: see [`check`](super).

use super::{Extents, n};
use crate::kernel::{Convolve, LANES, Params, Role, WORKGROUP};

/// Returns how many elements of each binding a dispatch reaches, from the start of the window.
pub(super) fn extents(convolve: Convolve, p: &Params) -> Extents {
    let (rows, lanes, depth) = (n(p.rows), LANES as u64, n(p.depth));
    let told = [p.steps, p.tokens, p.features, p.source_features, p.time_step_0, p.batch].into_iter().all(|n| n > 0);
    // The taps share the depth evenly, and a band is no wider than a row.
    let is_band = told
        && p.depth.is_multiple_of(p.steps)
        && p.depth / p.steps <= p.source_units
        && n(p.source_units).is_multiple_of(n(p.source_features).next_multiple_of(lanes));
    let of_band = |elems: u64| if is_band { elems } else { u64::MAX };
    // Rows outside of these are zeros, which nothing reads.
    let source = (Role::Source, of_band((n(p.kept_0) + n(p.kept_1)) * n(p.source_units)));
    let delta = |rows: u64| (Role::Delta, of_band(rows * n(p.units)));
    let panels = (n(p.weight_panel) + n(p.panels)) * lanes;
    match convolve {
        Convolve::Forward { matrix, .. } => {
            let panel = matrix.storage.panel_bytes(depth, 1, 1) / matrix.storage.bytes();
            Extents::of(&[
                (Role::Weights, panels / lanes * panel),
                source,
                (Role::Result, (n(p.target_0) + rows) * n(p.units)),
            ])
        }
        Convolve::Back { .. } => Extents::of(&[
            (Role::Weights, panels * (depth + 1)),
            delta(n(p.source_1) + n(p.kept_1) * n(p.batch)),
            (Role::Result, (n(p.target_0) + rows) * n(p.source_units)),
        ]),
        Convolve::Outer { .. } => {
            Extents::of(&[source, delta(n(p.target_0) + rows), (Role::Result, panels * (depth + 1))])
        }
    }
}

/// Whether the grid of a gradient reaches every row and element that the params name.
pub(super) fn covers(convolve: Convolve, p: &Params, [x, y, _]: [u32; 3]) -> bool {
    let lanes = n(x) * u64::from(WORKGROUP);
    match convolve {
        Convolve::Forward { .. } => true,
        Convolve::Back { .. } => n(y) * 4 >= n(p.rows) && lanes * 4 >= n(p.source_units),
        Convolve::Outer { .. } => n(y) >= n(p.panels) && lanes >= n(p.depth) + 4,
    }
}
