//! What several steps are read for at once: pools, their backward pass, and numbers in another shape.

use super::*;
use crate::kernel::{Across, Pool, PoolOp};
use crate::plan::Limits;
use crate::plan::check::check;

const WIDTH: usize = 2 * 48;

fn n(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// Returns numbers of which many are equal, and one in a hundred is NaN.
fn steps_of_few_values(seed: u32, len: usize) -> Vec<f32> {
    let of = |(i, x): (usize, f32)| if i % 97 == 5 { f32::NAN } else { (x * 2.0).round() };
    noise(seed, len).into_iter().enumerate().map(of).collect()
}

/// Returns what `x` comes to after `old` of `count` steps, and how many steps then count.
fn pooled(op: PoolOp, (old, count): (f64, f64), x: f64) -> (f64, f64) {
    let wins = |x: f64| if op == PoolOp::Max { x > old } else { x < old };
    match op {
        PoolOp::Mean | PoolOp::Sum => (old + x, count + 1.0),
        PoolOp::Max | PoolOp::Min if count == 0.0 => (x, 1.0),
        PoolOp::Max | PoolOp::Min if old.is_nan() || x.is_nan() => (f64::NAN, 1.0),
        PoolOp::Max | PoolOp::Min if x == old => (old, count + 1.0),
        PoolOp::Max | PoolOp::Min => {
            if wins(x) {
                (x, 1.0)
            } else {
                (old, count)
            }
        }
    }
}

#[test]
fn a_pool_goes_on_over_the_live_steps_of_each_row() {
    for op in PoolOp::ALL {
        for (mask, first, last, steps, batch, rows) in [
            (Mask::All, true, true, 5, 3, 3),
            (Mask::Live, true, false, 7, 5, 4),
            (Mask::Live, false, true, 7, 40, 40),
            (Mask::All, false, false, 1, 2, 1),
            (Mask::Live, false, false, 0, 2, 2),
        ] {
            let params = Params {
                rows: n(rows),
                batch: n(batch),
                directions: 2,
                units: 48,
                features: 41,
                steps: n(steps),
                source_0: 2,
                target_0: 1,
                live_0: 3,
                ..Params::default()
            };
            let live = self::mask(3 + steps * batch + rows);
            let counts = noise(3, (1 + rows) * WIDTH).into_iter().map(|x| (x * 2.0).abs().round());
            let mut bound = vec![
                ("source", Data::Floats(steps_of_few_values(1, (2 + steps * batch + rows) * WIDTH))),
                ("result", Data::Floats(steps_of_few_values(2, (1 + rows) * WIDTH))),
            ];
            bound.extend((mask == Mask::Live).then(|| ("live", Data::Indices(live.clone()))));
            bound.push(("counts", Data::Floats(counts.collect())));
            let program = Program::Across(Across::Pool(Pool { op, mask, first, last }));
            let case = Case { program, params, sides: 1, bound };
            let mut expected = Vec::new();
            for (m, c) in (0..rows).flat_map(|m| (0..WIDTH).map(move |c| (m, c))) {
                let at = (1 + m) * WIDTH + c;
                let before = (case.float("result", at), case.float("counts", at));
                let mut all = if first { (0.0, 0.0) } else { before };
                for t in 0..steps {
                    if mask == Mask::All || live[3 + t * batch + m] != 0 {
                        all = pooled(op, all, case.float("source", (2 + t * batch + m) * WIDTH + c));
                    }
                }
                let (value, count) = all;
                let value = if last && op == PoolOp::Mean { value / count.max(1.0) } else { value };
                expected.extend([("result", at, value), ("counts", at, count)]);
            }
            case.check(&expected);
        }
    }
}

#[test]
fn each_step_takes_its_share_of_the_gradient_of_a_pool() {
    for (op, mask) in PoolOp::ALL.into_iter().flat_map(|op| [Mask::All, Mask::Live].map(|mask| (op, mask))) {
        let (batch, rows, offset) = (5, 23, 7);
        let params = Params {
            rows: n(rows),
            batch: n(batch),
            directions: 2,
            units: 48,
            features: 41,
            source_0: 2,
            source_1: 4,
            target_0: 1,
            live_0: 3,
            offset: n(offset),
            ..Params::default()
        };
        let live = self::mask(3 + rows);
        let mut bound = vec![
            ("source", Data::Floats(steps_of_few_values(1, (2 + rows) * WIDTH))),
            ("other", Data::Floats(steps_of_few_values(2, batch * WIDTH))),
        ];
        bound.extend((mask == Mask::Live).then(|| ("live", Data::Indices(live.clone()))));
        let counts = noise(3, batch * WIDTH).into_iter().map(|x| (x * 3.0).abs().round());
        bound.extend([
            ("counts", Data::Floats(counts.collect())),
            ("delta", Data::Floats(noise(4, (4 + batch) * WIDTH))),
            ("result", Data::Floats(noise(5, (1 + rows) * WIDTH))),
        ]);
        let case = Case { program: Program::Across(Across::PoolBack(op, mask)), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (m, c) in (0..rows).flat_map(|m| (0..WIDTH).map(move |c| (m, c))) {
            let b = (offset + m) % batch;
            let (x, y) = (case.float("source", (2 + m) * WIDTH + c), case.float("other", b * WIDTH + c));
            let takes = mask == Mask::All || live[3 + m] != 0;
            let has_share = matches!(op, PoolOp::Mean | PoolOp::Sum) || x == y;
            let shares = if op == PoolOp::Sum { 1.0 } else { case.float("counts", b * WIDTH + c).max(1.0) };
            let delta = case.float("delta", (4 + b) * WIDTH + c) / shares;
            expected.push(("result", (1 + m) * WIDTH + c, if takes && has_share { delta } else { 0.0 }));
        }
        case.check(&expected);
    }
}

/// Two parts of 11 features, from three parts of 20: steps of 22 numbers where there were steps of 60.
fn rearranged(batch: usize, rows: usize, [by_step, by_feature]: [usize; 2]) -> Case {
    let params = Params {
        rows: n(rows),
        batch: n(batch),
        directions: 2,
        units: 16,
        features: 11,
        source_0: 2,
        target_0: 4,
        source_directions: 3,
        source_units: 32,
        source_features: 20,
        offset: 5,
        time_step_0: n(by_step),
        time_step_1: n(by_feature),
        ..Params::default()
    };
    let last = (5 + rows - 1) / batch * by_step + 21 * by_feature;
    let bound = vec![
        ("source", Data::Floats(noise(1, (2 + (last / 60 + 1) * batch) * 96))),
        ("result", Data::Floats(noise(2, (4 + rows) * 32))),
    ];
    Case { program: Program::Across(Across::Rearrange), params, sides: 1, bound }
}

#[test]
fn numbers_of_a_row_are_put_in_another_shape() {
    for (batch, rows, by) in [(3, 14, [22, 1]), (1, 9, [1, 7]), (40, 4000, [22, 1])] {
        let case = rearranged(batch, rows, by);
        let mut expected = Vec::new();
        for (m, c) in (0..rows).flat_map(|m| (0..32).map(move |c| (m, c))) {
            let (t, b, feature) = ((5 + m) / batch, (5 + m) % batch, c / 16 * 11 + c % 16);
            let number = t * by[0] + feature * by[1];
            let (row, e) = (2 + number / 60 * batch + b, number % 60);
            let value = if c % 16 < 11 { case.float("source", row * 96 + e / 20 * 32 + e % 20) } else { 0.0 };
            expected.push(("result", (4 + m) * 32 + c, value));
        }
        case.check(&expected);
    }
}

#[test]
fn numbers_that_are_not_there_are_refused() {
    let verdict = |case: &Case| check(&case.plan().0, &Limits::WEBGPU);
    assert_eq!(verdict(&rearranged(3, 14, [22, 1])), Ok(()));
    let faults: [fn(&mut Params); 6] = [
        |p| p.offset += 30,
        |p| p.source_0 += 1,
        |p| p.target_0 += 1,
        |p| p.time_step_0 += 10,
        |p| p.source_features = 0,
        |p| p.features = 17,
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        let mut case = rearranged(3, 14, [22, 1]);
        fault(&mut case.params);
        assert!(verdict(&case).is_err(), "fault {number}");
    }
}
