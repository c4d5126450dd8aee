//! The backward pass of a timestep: every cell, mask and option, on sizes that straddle blocks and panels.

use super::back::{At, Expected, Known, departures, found, peepholes};
use super::*;
use crate::kernel::{PAST_CELL, PAST_HIDDEN, StepBack, Training, kept_gates};

#[derive(Clone, Copy)]
pub(super) struct Sizes {
    batch: usize,
    /// Padded units, and true ones.
    pub(super) units: usize,
    features: usize,
    /// Panels before and after those that are computed.
    pub(super) skip: [usize; 2],
    directions: usize,
    direction: usize,
    sides: usize,
}

/// Rows of δ that are read and written, of the mask and of what is kept, by direction of the dispatch.
const SOURCE: [usize; 2] = [0, 1];
const GATES: [usize; 2] = [4, 2];
const LIVE: [usize; 2] = [3, 0];
const KEPT: [usize; 2] = [7, 8];

pub(super) fn step_back(cell: Cell) -> StepBack {
    let (variant, mask) = (Variant::plain(cell), Mask::All);
    StepBack {
        cell,
        variant,
        mask,
        matrix: Matrix::buffer(Precision::F32),
        tile: Tile { rows: 2, slices: 2, ..Tile::NONE },
    }
}

/// A case of a step back. The padding of gradients and states,
/// and what dead rows kept, hold values that must not be read.
pub(super) fn case_of(back: StepBack, s: Sizes) -> Case {
    let program = Program::Training(Training::StepBack(back));
    let (gates, kept, width) = (back.cell.gates(), kept_gates(back.cell) as usize, s.directions * s.units);
    let (depth, all) = (s.units * gates, s.units / LANES);
    let panels = all - s.skip[0] - s.skip[1];
    let weights = (2 + (s.sides - 1) * (all + 1) + panels) * (depth + 1) * LANES;
    let live = mask(4 * s.batch);
    let kept_rows = || {
        let mut data: Vec<f32> = noise(2, 11 * s.batch * s.units * kept).into_iter().map(|x| 3.0 * x).collect();
        if back.mask == Mask::Live {
            spoil(&mut data, s.units * kept, s.batch, &live, KEPT, LIVE);
        }
        Data::Floats(data)
    };
    let padded_noise = |seed, len| Data::Floats(padded_noise(seed, len, (s.units, s.features)));
    let small = |x: f32| x / (depth as f32).sqrt();
    let data = |name| match name {
        "weights" => Data::Weights(noise(1, weights).into_iter().map(small).collect()),
        "peepholes" => Data::Weights(noise(12, (2 + 2 * (all + 1)) * (s.units + 2) * gates * LANES)),
        "gates" | "recurrent" => Data::Floats(noise(3, 8 * s.batch * depth)),
        "live" => Data::Indices(live.clone()),
        "hidden" => padded_noise(6, 11 * s.batch * width),
        "cell_state" => padded_noise(7, 7 * s.batch * width),
        "delta" => padded_noise(8, 7 * s.batch * width),
        "kept" => kept_rows(),
        "past" => padded_noise(9, 2 * s.batch * width),
        other => panic!("{other} is bound"),
    };
    let bound = program.bindings().skip(1).map(|binding| (binding.role.name(), data(binding.role.name()))).collect();
    let n = |n: usize| u32::try_from(n).unwrap();
    let params = Params {
        rows: n(s.batch),
        batch: n(s.batch),
        directions: n(s.directions),
        direction: n(s.direction),
        depth: n(depth),
        units: n(s.units),
        features: n(s.features),
        panel: n(s.skip[0]),
        panels: n(panels),
        weight_panel: 2,
        weight_panels: n(all + 1),
        source_0: n(SOURCE[0]),
        source_1: n(SOURCE[1]),
        target_0: 2,
        target_1: 3,
        gates_0: n(GATES[0]),
        gates_1: n(GATES[1]),
        live_0: n(LIVE[0]),
        live_1: n(LIVE[1]),
        cell_in: 5,
        cell_out: 6,
        before_0: 9,
        before_1: 10,
        kept_0: n(KEPT[0]),
        kept_1: n(KEPT[1]),
        ..Params::default()
    };
    Case { program, params, sides: s.sides, bound }
}

/// Returns what the catalog says of a step back.
pub(super) fn expected(case: &Case) -> Expected {
    let Training::StepBack(back) = case.training() else { panic!("no step back") };
    let p = &case.params;
    let (gates, kept, first) = (back.cell.gates(), kept_gates(back.cell) as usize, p.panel as usize);
    let is_gru = matches!(back.cell, Cell::Gru(_));
    let handed = if is_gru { "recurrent" } else { "gates" };
    let mut expected = Vec::new();
    let reached = |at: &At| (first..first + p.panels as usize).contains(&(at.n / LANES));
    for unit in case.all_units().filter(reached) {
        let panel = unit.n / LANES - first;
        let row = [p.source_0, p.source_1][unit.z] as usize * p.batch as usize + unit.b;
        let source = |k: usize| case.float(handed, row * p.depth as usize + k);
        let weights = p.weight_panel as usize + unit.z * p.weight_panels as usize + panel;
        let through = product(case, 1, [weights, 0, unit.n % LANES], source);
        let [past, carry] = [PAST_HIDDEN, PAST_CELL].map(|row| case.state_at(unit, u32::try_from(row).unwrap()));
        let above = case.float("delta", case.state_at(unit, [p.target_0, p.target_1][unit.z]));
        let gate = |row: [u32; 2], gates: usize, g: usize| {
            let row = row[unit.z] as usize * p.batch as usize + unit.b;
            ((row * (p.units as usize / LANES) + unit.n / LANES) * gates + g) * LANES + unit.n % LANES
        };
        let known = Known {
            kept: (0..kept).map(|g| case.float("kept", gate([p.kept_0, p.kept_1], kept, g))).collect(),
            states: match back.cell {
                Cell::Rnn => [0.0; 2],
                Cell::Gru(_) => {
                    let row = [p.before_0, p.before_1][unit.z];
                    [case.float("hidden", case.state_at(unit, row)), 0.0]
                }
                Cell::Lstm => [p.cell_in, p.cell_out].map(|row| case.float("cell_state", case.state_at(unit, row))),
            },
            peepholes: peepholes(case, unit, panel, p.units as usize),
            dh: through + case.float("past", past) + above,
            carried: case.float("past", carry),
        };
        let found = found(back.cell, back.variant, &known);
        let (is_true, lives) = (unit.n < p.features as usize, !case.is_dead(unit));
        let or_zero = |value: f64, is: bool| if is && is_true { value } else { 0.0 };
        let own = |g: usize| gate([p.gates_0, p.gates_1], gates, g);
        expected.extend((0..gates).map(|g| ("gates", own(g), or_zero(found.delta[g], lives))));
        if is_gru {
            expected.extend((0..2).map(|g| ("recurrent", own(g), or_zero(found.delta[g], lives))));
            expected.push(("recurrent", own(2), or_zero(found.recurrent, lives)));
        }
        expected.push(("past", past, or_zero(if lives { found.past[0] } else { known.dh }, true)));
        if back.cell == Cell::Lstm {
            expected.push(("past", carry, or_zero(if lives { found.past[1] } else { known.carried }, true)));
        }
    }
    expected
}

pub(super) const CELLS: [Cell; 3] = [Cell::Rnn, Cell::Gru(Reset::After), Cell::Lstm];
const ONE: Sizes = Sizes { batch: 1, units: 16, features: 16, skip: [0, 0], directions: 1, direction: 0, sides: 1 };

/// One unit; both directions; the second of two; a part of the panels; many panels.
pub(super) const SIZES: [Sizes; 6] = [
    Sizes { features: 1, ..ONE },
    Sizes { batch: 7, units: 48, features: 41, directions: 2, sides: 2, ..ONE },
    Sizes { batch: 3, units: 48, features: 47, directions: 2, direction: 1, ..ONE },
    Sizes { batch: 5, units: 64, features: 62, skip: [1, 1], ..ONE },
    Sizes { batch: 3, units: 96, features: 95, skip: [1, 1], ..ONE },
    Sizes { batch: 2, units: 144, features: 144, ..ONE },
];

#[test]
fn steps_go_back_as_the_catalog_says() {
    for cell in CELLS {
        for (mask, sizes) in [Mask::All, Mask::Live].into_iter().flat_map(|mask| SIZES.map(|sizes| (mask, sizes))) {
            let case = case_of(StepBack { mask, ..step_back(cell) }, sizes);
            case.check(&expected(&case));
        }
    }
}

#[test]
fn cells_that_depart_from_their_plain_equations_go_back_as_the_catalog_says() {
    let mut cases = 0;
    for cell in CELLS {
        for (variant, mask) in
            departures(cell).into_iter().flat_map(|variant| [(variant, Mask::All), (variant, Mask::Live)])
        {
            let case = case_of(StepBack { variant, mask, ..step_back(cell) }, SIZES[1]);
            let control = case_of(StepBack { mask, ..step_back(cell) }, SIZES[1]);
            let far = expected(&case).iter().zip(expected(&control)).any(|(a, b)| (a.2 - b.2).abs() > 1e-2);
            assert!(far, "{variant:?} is told from the plain cell by nothing");
            case.check(&expected(&case));
            cases += 1;
        }
    }
    assert_eq!(cases, 2 * (4 + 3 + 7), "departures × masks");
}

#[test]
fn a_step_back_shared_by_threads_is_the_same_step() {
    let sizes = Sizes { batch: 37, units: 192, features: 190, directions: 2, sides: 2, ..ONE };
    for cell in CELLS {
        let case = case_of(StepBack { mask: Mask::Live, ..step_back(cell) }, sizes);
        case.check(&expected(&case));
    }
}
