//! The backward pass of timesteps in two kernels and of elementwise functions, and the gradient of peepholes.

use super::back::{Expected, SIZES, Sizes, at, back_case};
use super::derivative::slope;
use super::*;
use crate::cell::{Constant, Functions};
use crate::kernel::Training;

/// Returns what the catalog says of the kernels of a timestep in two parts.
fn expected(case: &Case) -> Expected {
    let p = &case.params;
    let variant = case.program.cell().map_or(Variant::NONE, |(_, variant)| variant);
    let (clip, Functions { f, g, .. }) = (variant.clip, variant.functions);
    let mut expected = Vec::new();
    for unit in case.all_units() {
        let (handed, own) = (case.handed_at(unit), |gates: usize, g: usize| case.gate_at(unit, gates, g));
        let x = |g: usize| case.float("gates", own(3, g));
        let r = |g: usize| case.float("recurrent", own(2, g));
        let hidden = || case.float("hidden", case.state_at(unit, [p.source_0, p.source_1][unit.z]));
        let (mut given, past): (Expected, f64) = match case.training() {
            Training::StateBack(_) => {
                (vec![("result", own(1, 0), case.dh(unit)), ("direct", handed, 0.0)], case.dh(unit))
            }
            Training::NewBack(..) => {
                let dh = case.dh(unit);
                let (z, z_slope) = at(f, clip, x(1) + r(1));
                let (n, n_slope) = at(g, clip, x(2) + case.float("new_gate", own(1, 0)));
                let (d_new, d_update) = (dh * (1.0 - z) * n_slope, dh * (hidden() - n) * z_slope);
                let given = vec![
                    ("gates", own(3, 1), d_update),
                    ("recurrent", own(2, 1), d_update),
                    ("gates", own(3, 2), d_new),
                    ("new_gate", own(1, 0), d_new),
                    ("direct", handed, z * dh),
                ];
                (given, dh)
            }
            Training::ResetBack(_) => {
                let (r, r_slope) = at(f, clip, x(0) + r(0));
                let dq = case.float("product", handed);
                let delta = dq * hidden() * r_slope;
                let direct = case.float("direct", handed) + dq * r;
                (vec![("gates", own(3, 0), delta), ("recurrent", own(2, 0), delta), ("direct", handed, direct)], 0.0)
            }
            other => panic!("{other:?} is in one part"),
        };
        let is_padding = unit.n >= p.features as usize;
        if matches!(case.training(), Training::NewBack(..)) && (is_padding || case.is_dead(unit)) {
            given.extend([("gates", own(3, 0), 0.0), ("recurrent", own(2, 0), 0.0)]);
        }
        for (name, _, value) in &mut given {
            if is_padding {
                *value = 0.0;
            } else if case.is_dead(unit) {
                *value = if *name == "direct" { past } else { 0.0 };
            }
        }
        expected.extend(given);
    }
    expected
}

/// Returns the plain cell, and others with each function replaced and with a clip.
fn variants() -> Vec<Variant> {
    let plain = Variant::plain(Cell::Gru(Reset::Before));
    let hard = Activation::HardSigmoid { alpha: Constant::new(0.3), beta: Constant::new(0.4) };
    let with = |functions| Variant { functions, ..plain };
    vec![
        plain,
        with(Functions { f: hard, ..plain.functions }),
        with(Functions { g: Activation::Softsign, ..plain.functions }),
        Variant { clip: Some(Constant::new(0.9)), ..plain },
    ]
}

#[test]
fn steps_in_two_parts_go_back_as_the_catalog_says() {
    let mut trainings: Vec<_> = [Mask::All, Mask::Live].map(Training::StateBack).to_vec();
    for variant in variants() {
        trainings.extend([Mask::All, Mask::Live].map(|mask| Training::NewBack(variant, mask)));
        trainings.push(Training::ResetBack(variant));
    }
    let many = Sizes { batch: 37, units: 656, features: 650, ..SIZES[1] };
    for training in trainings {
        for sizes in [&SIZES[..], &[many]].concat() {
            let case = back_case(training, sizes);
            case.check(&expected(&case));
        }
    }
}

#[test]
fn reset_rows_multiplies_states_by_their_gates() {
    for variant in variants() {
        for (rows, units, features) in [(5, 16, 16), (7, 48, 33), (1201, 48, 47)] {
            let n = |n: usize| u32::try_from(n).unwrap();
            let (width, d) = (2 * units, 1);
            let params = Params {
                rows: n(rows),
                directions: 2,
                direction: n(d),
                units: n(units),
                features: n(features),
                source_0: 4,
                target_0: 2,
                ..Params::default()
            };
            let bound = vec![
                ("gates", Data::Floats(noise(1, (3 + rows) * units * 3))),
                ("recurrent", Data::Floats(noise(2, (3 + rows) * units * 2))),
                ("hidden", Data::Floats(noise(3, (4 + rows) * width))),
                ("result", Data::Floats(noise(4, (3 + rows) * units))),
            ];
            let program = Program::Training(Training::ResetRows(variant));
            let case = Case { program, params, sides: 1, bound };
            let mut expected = Vec::new();
            for (m, n) in (0..rows).flat_map(|m| (0..units).map(move |n| (m, n))) {
                let gate = |name, gates: usize| {
                    let panel = (2 + m) * (units / LANES) + n / LANES;
                    case.float(name, panel * gates * LANES + n % LANES)
                };
                let (reset, _) = at(variant.functions.f, variant.clip, gate("gates", 3) + gate("recurrent", 2));
                let hidden = case.float("hidden", (4 + m) * width + d * units + n);
                expected.push(("result", (2 + m) * units + n, if n < features { reset * hidden } else { 0.0 }));
            }
            case.check(&expected);
        }
    }
}

#[test]
fn activate_back_multiplies_by_the_derivative() {
    for f in Activation::ALL.into_iter().filter(|f| f.is_elementwise()) {
        let at = |x: f32| if f.is_total() { x * 9.0 } else { x.abs() * 9.0 };
        for rows in [7, if f == Activation::Tanh { 4001 } else { 2 }] {
            let params = Params {
                rows: u32::try_from(rows).unwrap(),
                directions: 2,
                units: 16,
                features: 11,
                source_0: 2,
                source_1: 3,
                target_0: 1,
                ..Params::default()
            };
            let bound = vec![
                ("source", Data::Floats(noise(1, (rows + 2) * 32).into_iter().map(at).collect())),
                ("delta", Data::Floats(noise(2, (rows + 3) * 32))),
                ("result", Data::Floats(noise(3, (rows + 2) * 32))),
            ];
            let program = Program::Training(Training::ActivateBack(f));
            let case = Case { program, params, sides: 1, bound };
            let value = |i: usize| case.float("delta", 96 + i) * slope(f, case.float("source", 64 + i));
            let all = (0..rows * 32).map(|i| ("result", 32 + i, if i % 16 < 11 { value(i) } else { 0.0 }));
            case.check(&all.collect::<Vec<_>>());
        }
    }
}

#[test]
fn peephole_back_sums_over_all_rows() {
    // Forward in time, backward, and with more rows than are added at once.
    for (steps, batch, panels, first, back) in
        [(3, 2, 1, true, false), (4, 3, 3, false, true), (301, 3, 2, false, false), (1501, 2, 3, true, true)]
    {
        let n = |n: usize| u32::try_from(n).unwrap();
        let (depth, rows, width, directions) = (5, steps * batch, panels * LANES, 2);
        let count = width - 5;
        let params = Params {
            rows: n(rows),
            batch: n(batch),
            directions: n(directions),
            direction: 1,
            depth: n(depth),
            panels: n(panels),
            units: n(width * 4),
            weight_panel: 1,
            target_0: 7,
            cell_in: if back { n(steps) + 1 } else { 1 },
            cell_out: if back { n(steps) } else { 2 },
            hidden_step_0: if back { u32::MAX } else { 1 },
            count: n(count),
            ..Params::default()
        };
        let panel = (depth + 2) * 4 * LANES;
        let bound = vec![
            ("cell_state", Data::Floats(noise(1, (steps + 2) * batch * directions * width))),
            ("gates", Data::Floats(noise(2, (rows + 7) * width * 4).into_iter().map(|x| x / 20.0).collect())),
            ("result", Data::Floats(noise(3, (1 + panels) * panel))),
        ];
        let program = Program::Training(Training::PeepholeBack { first });
        let case = Case { program, params, sides: 1, bound };
        let mut expected = Vec::new();
        for (u, g) in (0..width).flat_map(|u| (0..4).map(move |g| (u, g))) {
            let place = (1 + u / LANES) * panel + ((depth + 1) * 4 + g) * LANES + u % LANES;
            let cell_state = |m: usize, before: usize| {
                let row = if back { steps + before - m / batch } else { m / batch + 2 - before };
                case.float("cell_state", (row * batch + m % batch) * directions * width + width + u)
            };
            let delta =
                |m: usize| case.float("gates", ((7 + m) * panels + u / LANES) * 4 * LANES + g * LANES + u % LANES);
            let sum: f64 = match g {
                2 => 0.0,
                _ => (0..rows).map(|m| delta(m) * cell_state(m, usize::from(g != 3))).sum(),
            };
            let old = if first { 0.0 } else { case.float("result", place) };
            let value = match g {
                _ if u >= count => 0.0,
                _ => old + sum,
            };
            expected.push(("result", place, value));
        }
        case.check(&expected);
    }
}
