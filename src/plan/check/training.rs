//! What must hold for the dispatches of training: see [`check`](super).

use super::{Extents, n};
use crate::cell::Cell;
use crate::kernel::{LANES, Medium, NO_ROLE, Outer, Params, Role, StepBack, Training, WORKGROUP, kept_gates};
use crate::plan::check::farthest;
use crate::rule::Scalars;

/// The number of scalars of one role in an update.
const SCALARS: u64 = size_of::<Scalars>() as u64 / 4;

/// Whether the grid's z counts directions that are side by side in a row.
pub(super) fn goes_by_direction(training: &Training) -> bool {
    match training {
        Training::StepBack(_)
        | Training::ScanBack(_)
        | Training::CellBack(_)
        | Training::NewBack(..)
        | Training::ResetBack(_)
        | Training::StateBack(_)
        | Training::Spread { .. }
        | Training::SpreadBack { .. } => true,
        Training::ResetRows(_)
        | Training::Outer(_)
        | Training::PeepholeBack { .. }
        | Training::Transpose { .. }
        | Training::ActivateBack(_)
        | Training::SoftmaxBack { .. }
        | Training::NormalizeBack(_)
        | Training::MaximumBack
        | Training::SumSteps { .. }
        | Training::Scatter { .. }
        | Training::Drop
        | Training::Zero
        | Training::ToTexture
        | Training::Loss(_)
        | Training::Tie { .. }
        | Training::Squares
        | Training::Total { .. }
        | Training::Update(_) => false,
    }
}

/// Returns how many elements of each binding a dispatch reaches, from the start of the window.
pub(super) fn extents(training: Training, p: &Params, grid: [u32; 3]) -> Extents {
    let last = |first: u32, second: u32| n(if grid[2] > 1 { first.max(second) } else { first });
    let (rows, batch, directions, units, depth) = (n(p.rows), n(p.batch), n(p.directions), n(p.units), n(p.depth));
    let (panels, width, gates) = (n(p.panels), directions * units, n(training.gates()));
    let lanes = LANES as u64;
    // For the rows of one timestep.
    let gated = |gates: u64| (last(p.gates_0, p.gates_1) + 1) * batch * units * gates;
    let live = (Role::Live, (last(p.live_0, p.live_1) + 1) * batch);
    let hidden = (Role::Hidden, (last(p.source_0, p.source_1) + 1) * batch * width);
    let delta = (Role::Delta, (last(p.target_0, p.target_1) + 1) * batch * width);
    let handed = |role: Role| (role, (n(p.direction) + n(grid[2])) * batch * units);
    let cell_state = (Role::CellState, (n(p.cell_in.max(p.cell_out)) + 1) * batch * width);
    // The panels of a matrix with these units.
    let last_panel = n(p.weight_panel) + n(grid[2] - 1) * n(p.weight_panels) + units / lanes;
    // For rows of features.
    let by_row = |role: Role, first: u32, width: u64| (role, (n(first) + rows) * width);
    match training {
        Training::StepBack(back) | Training::ScanBack(back) => {
            let own = back.cell.gates() as u64;
            let panel = |depth: u64, after: u64, gates: u64| last_panel * (depth + after) * gates * lanes;
            let steps = if matches!(training, Training::ScanBack(_)) { p.steps } else { 1 };
            // The farthest row of a pair.
            let reach = |[first, second]: [u32; 2], [step, other]: [u32; 2]| {
                let (first, second) = (farthest(first, step, steps), farthest(second, other, steps));
                if grid[2] > 1 { first.max(second) } else { first }
            };
            let (by_time, by_row) = ([p.time_step_0, p.time_step_1], [p.hidden_step_0, p.hidden_step_1]);
            let before = [p.cell_in, p.cell_out].map(|row| farthest(row, u32::MAX, steps));
            let deltas = (reach([p.gates_0, p.gates_1], by_time) + 1) * batch * units * own;
            let after = (last(p.source_0, p.source_1) + 1) * batch * depth;
            let is_gru = matches!(back.cell, Cell::Gru(_));
            Extents::of(&[
                (Role::Weights, panel(depth, 1, 1)),
                (Role::Peepholes, panel(units, 2, own)),
                (Role::Gates, if is_gru { deltas } else { deltas.max(after) }),
                (Role::Recurrent, deltas.max(after)),
                (Role::Live, (reach([p.live_0, p.live_1], by_time) + 1) * batch),
                (Role::Hidden, (reach([p.before_0, p.before_1], by_row) + 1) * batch * width),
                (Role::CellState, (before[0].max(before[1]) + 1) * batch * width),
                (Role::Delta, (reach([p.target_0, p.target_1], by_time) + 1) * batch * width),
                (Role::Kept, (reach([p.kept_0, p.kept_1], by_time) + 1) * batch * units * n(kept_gates(back.cell))),
                (Role::Past, 2 * batch * width),
            ])
        }
        Training::CellBack(_) => Extents::of(&[
            (Role::Peepholes, last_panel * (depth + 2) * gates * lanes),
            (Role::Gates, gated(gates)),
            (Role::Result, gated(1)),
            live,
            cell_state,
            handed(Role::Product),
            handed(Role::Carry),
        ]),
        Training::ResetRows(_) => Extents::of(&[
            by_row(Role::Gates, p.target_0, units * 3),
            by_row(Role::Recurrent, p.target_0, units * 2),
            by_row(Role::Hidden, p.source_0, width),
            by_row(Role::Result, p.target_0, units),
        ]),
        Training::NewBack(..) => Extents::of(&[
            (Role::New, gated(1)),
            (Role::Gates, gated(3)),
            (Role::Recurrent, gated(2)),
            live,
            hidden,
            delta,
            handed(Role::Product),
            handed(Role::Direct),
        ]),
        Training::ResetBack(_) => Extents::of(&[
            (Role::Gates, gated(3)),
            (Role::Recurrent, gated(2)),
            hidden,
            handed(Role::Product),
            handed(Role::Direct),
        ]),
        Training::StateBack(_) => {
            Extents::of(&[(Role::Result, gated(1)), live, delta, handed(Role::Product), handed(Role::Direct)])
        }
        Training::Outer(Outer { gates, after, per_gate, .. }) => {
            let copies = if per_gate { n(gates) } else { 1 };
            let panel = (depth + n(after)) * n(gates) * lanes;
            Extents::of(&[
                by_row(Role::Source, p.source_0, n(p.source_units) * copies),
                by_row(Role::Delta, p.target_0, units),
                (Role::Result, (n(p.weight_panel) + panels) * panel),
            ])
        }
        Training::PeepholeBack { .. } => {
            let steps = if batch == 0 { 0 } else { p.rows / p.batch };
            let reach = |first: u32| farthest(first, p.hidden_step_0, steps);
            let cell_state = (reach(p.cell_in).max(reach(p.cell_out)) + 1) * batch * directions * panels * lanes;
            Extents::of(&[
                (Role::CellState, cell_state),
                by_row(Role::Gates, p.target_0, panels * gates * lanes),
                (Role::Result, (n(p.weight_panel) + panels) * (depth + 2) * gates * lanes),
            ])
        }
        Training::Transpose { gates, after, per_gate } => {
            let transposed = panels * n(gates) * lanes;
            let biases = if per_gate { n(gates) } else { 1 };
            Extents::of(&[
                (Role::Weights, (n(p.weight_panel) + panels) * (depth + n(after)) * n(gates) * lanes),
                (Role::Result, (n(p.target_0) + depth / lanes) * (transposed + biases) * lanes),
            ])
        }
        Training::ActivateBack(_) | Training::SoftmaxBack { .. } | Training::MaximumBack => Extents::of(&[
            by_row(Role::Source, p.source_0, width),
            by_row(Role::Other, p.source_0, width),
            by_row(Role::Delta, p.source_1, width),
            by_row(Role::Result, p.target_0, width),
        ]),
        Training::NormalizeBack(_) => Extents::of(&[
            (Role::Weights, 2 * n(p.source_units)),
            by_row(Role::Source, p.source_0, width),
            by_row(Role::Delta, p.source_1, width),
            by_row(Role::Result, p.target_0, width),
            by_row(Role::Product, p.target_1, width),
        ]),
        Training::SumSteps { .. } => Extents::of(&[
            (Role::Source, (n(p.source_0) + n(p.steps) * batch) * width),
            (Role::Result, (n(p.target_0) + batch) * width),
        ]),
        Training::Scatter { .. } => Extents::of(&[
            (Role::Delta, rows * units),
            (Role::Order, n(p.offset) + n(p.count)),
            (Role::Starts, n(p.token) + n(p.tokens) + 1),
            (Role::Result, (n(p.target_0) + n(p.tokens)) * units),
        ]),
        Training::Drop => Extents::of(&[
            by_row(Role::Source, p.source_0, width),
            (Role::Draws, 4),
            by_row(Role::Result, p.target_0, width),
        ]),
        Training::Spread { .. } | Training::SpreadBack { .. } => {
            let [read, written] = if let Training::Spread { .. } = training { [1, gates] } else { [gates, 1] };
            let of_parts =
                |role: Role, first: u64, parts: u32, copies: u64| (role, (first + rows) * n(parts) * units * copies);
            Extents::of(&[
                of_parts(Role::Source, last(p.source_0, p.source_1), p.source_directions, read),
                (Role::Draws, 4),
                of_parts(Role::Result, last(p.target_0, p.target_1), p.tokens, written),
            ])
        }
        Training::ToTexture => Extents::of(&[(Role::Source, n(p.offset) + n(p.count)), (Role::Result, n(p.count))]),
        Training::Zero => Extents::of(&[by_row(Role::Result, p.target_0, units)]),
        Training::Loss(_) => Extents::of(&[
            by_row(Role::Source, p.source_0, width),
            by_row(Role::Tokens, p.source_1, 1),
            by_row(Role::Values, p.source_1, width),
            by_row(Role::Scale, p.source_1, 1),
            (Role::ClassWeights, n(p.features) * directions),
            by_row(Role::Result, p.target_0, width),
            by_row(Role::Losses, p.source_1, 1),
        ]),
        Training::Tie { .. } => {
            let all = n(p.offset) + rows;
            // For a matrix, the panels that the units fill.
            let of = |first: u32, panel: u32, units: u32| match panel {
                0 => n(first) + all.saturating_sub(1) * n(units) + n(p.features),
                _ => n(first) + n(units).min(all).div_ceil(lanes) * n(panel),
            };
            Extents::of(&[
                (Role::Source, of(p.source_0, p.source_1, p.source_units)),
                (Role::Result, of(p.target_0, p.target_1, p.units)),
            ])
        }
        Training::Squares => Extents::of(&[
            by_row(Role::Source, p.source_0, units),
            by_row(Role::Delta, p.source_0, units),
            scalars(p),
            (Role::Result, n(p.target_0) + n(grid[0])),
        ]),
        Training::Total { .. } => {
            Extents::of(&[(Role::Source, n(p.source_0) + n(p.count)), (Role::Result, n(p.target_0) + 1)])
        }
        Training::Update(_) => Extents::of(&[
            by_row(Role::Delta, p.source_0, units),
            scalars(p),
            (Role::Norms, n(p.time_step_0.max(p.time_step_1).max(p.live_1)) + 1),
            by_row(Role::Result, p.source_0, units),
            by_row(Role::Moment, p.source_0, units),
            by_row(Role::SecondMoment, p.source_0, units),
            by_row(Role::ThirdMoment, p.source_0, units),
        ]),
    }
}

/// The scalars of the roles that an update's classes have.
fn scalars(p: &Params) -> (Role, u64) {
    let roles = [p.gates_0, p.gates_1, p.live_0].into_iter().filter(|&role| role != NO_ROLE);
    (Role::Scalars, roles.map(|role| n(role) + 1).max().unwrap_or(0) * SCALARS)
}

/// Whether the grid reaches every row and element that the params name.
pub(super) fn covers(training: Training, p: &Params, grid: [u32; 3]) -> bool {
    let [x, y, _] = grid.map(u64::from);
    let lanes = LANES as u64;
    let columns = |elems: u64| x * u64::from(WORKGROUP) * 4 >= elems;
    let width = n(p.units) * n(p.directions);
    match training {
        Training::StepBack(StepBack { tile, .. }) | Training::ScanBack(StepBack { tile, .. }) => {
            y * n(tile.rows) >= n(p.batch) && x * n(tile.panels * tile.wide) >= n(p.panels)
        }
        Training::CellBack(_) | Training::NewBack(..) | Training::ResetBack(_) | Training::StateBack(_) => {
            y >= n(p.batch) && columns(n(p.units))
        }
        Training::ResetRows(_) | Training::Zero | Training::Spread { .. } | Training::SpreadBack { .. } => {
            y >= n(p.rows) && columns(n(p.units))
        }
        Training::Outer(outer) => {
            // The bias has workgroups of its own.
            x.saturating_sub(1) * n(outer.rows()) >= n(p.depth) && y * n(outer.columns()) >= n(p.units)
        }
        Training::ToTexture => columns(n(p.count).min(4 * n(Medium::WIDTH))) && y * 4 * n(Medium::WIDTH) >= n(p.count),
        Training::PeepholeBack { .. } => columns(n(p.panels) * lanes),
        Training::Transpose { gates, per_gate, .. } => {
            let biases = if per_gate { n(gates) } else { 1 };
            columns((n(p.panels) * n(gates) * lanes + biases) * lanes) && y * lanes >= n(p.depth)
        }
        Training::ActivateBack(_) | Training::MaximumBack | Training::Drop => y >= n(p.rows) && columns(width),
        Training::SumSteps { .. } => y >= n(p.batch) && columns(width),
        Training::SoftmaxBack { .. } | Training::NormalizeBack(_) | Training::Loss(_) => y >= n(p.rows),
        Training::Scatter { .. } => y >= n(p.tokens) && columns(n(p.units)),
        Training::Tie { .. } => y >= n(p.rows) && x * u64::from(WORKGROUP) >= n(p.features),
        Training::Squares => x * n(p.steps) * 4 >= n(p.rows) * n(p.units),
        Training::Total { .. } => true,
        Training::Update(_) => x == n(p.steps) && x * y * u64::from(WORKGROUP) * 4 >= n(p.rows) * n(p.units),
    }
}
