//! Features of one value among those of another.

use super::*;
use crate::kernel::{Join, JoinOp};
use crate::plan::Limits;
use crate::plan::check::check;

/// Two parts of 11 features from three parts of 20. The joined features begin and end inside parts of both.
fn case(join: Join, rows: usize) -> Case {
    let n = |n: usize| u32::try_from(n).unwrap();
    let params = Params {
        rows: n(rows),
        batch: 3,
        directions: 2,
        units: 16,
        features: 11,
        source_0: 2,
        target_0: 4,
        source_directions: 3,
        source_units: 32,
        source_features: 20,
        source_offset: 15,
        offset: 3,
        count: 14,
        scale: 0.75_f32.to_bits(),
        ..Params::default()
    };
    let source_rows = if join.broadcast { 3 } else { rows };
    let mut source = noise(1, (2 + source_rows) * 96);
    let mut result = noise(2, (5 + rows) * 32);
    // A NaN of the source, and one of the target.
    source[2 * 96 + 17] = f32::NAN;
    result[4 * 32 + 7] = f32::NAN;
    let bound = vec![("source", Data::Floats(source)), ("result", Data::Floats(result))];
    Case { program: Program::Join(join), params, sides: 1, bound }
}

fn joins() -> impl Iterator<Item = Join> {
    let flags = [(false, false), (false, true), (true, false), (true, true)];
    let of = move |combine| flags.map(|(first, broadcast)| Join { combine, first, broadcast });
    JoinOp::ALL.into_iter().flat_map(of)
}

#[test]
fn join_combines_features_across_parts_and_leaves_the_others_alone() {
    for join in joins() {
        // Threads share many rows.
        for rows in [7, if join.combine == JoinOp::Add { 4001 } else { 1 }] {
            let case = case(join, rows);
            let mut expected = Vec::new();
            for (m, c) in (0..rows).flat_map(|m| (0..32).map(move |c| (m, c))) {
                let at = (4 + m) * 32 + c;
                let old = if join.first { 0.0 } else { case.float("result", at) };
                let feature = c / 16 * 11 + c % 16;
                if c % 16 >= 11 || !(3..3 + 14).contains(&feature) {
                    expected.push(("result", at, old));
                    continue;
                }
                let e = feature - 3 + 15;
                let row = 2 + if join.broadcast { (4 + m) % 3 } else { m };
                let x = case.float("source", row * 96 + e / 20 * 32 + e % 20);
                let value = match join.combine {
                    JoinOp::Set => x,
                    JoinOp::Add => old + x,
                    JoinOp::Subtract => old - x,
                    JoinOp::Multiply => old * x,
                    JoinOp::Maximum if old.is_nan() || x.is_nan() => f64::NAN,
                    JoinOp::Maximum => old.max(x),
                };
                expected.push(("result", at, value * 0.75));
            }
            case.check(&expected);
        }
    }
}

#[test]
fn a_join_of_features_that_are_not_there_is_refused() {
    let faults: [fn(&mut Params); 8] = [
        |p| p.rows += 1,
        |p| p.batch += 1,
        |p| p.source_0 += 1,
        |p| p.target_0 += 2,
        |p| p.count += 6,
        |p| p.source_offset += 32,
        |p| p.features = 17,
        |p| p.source_features = 0,
    ];
    let verdict = |case: &Case| check(&case.plan().0, &Limits::WEBGPU);
    for join in [true, false].map(|broadcast| Join { combine: JoinOp::Set, first: true, broadcast }) {
        assert_eq!(verdict(&case(join, 7)), Ok(()), "{join:?}");
        for (number, fault) in faults.iter().enumerate() {
            let mut case = case(join, 7);
            fault(&mut case.params);
            // One more row fits if one batch is read, and a larger batch fits if each row has its own.
            let harmless = if join.broadcast { number == 0 } else { number == 1 };
            assert_eq!(verdict(&case).is_err(), !harmless, "{join:?}: fault {number}");
        }
    }
}
