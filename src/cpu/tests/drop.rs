//! `drop` against its description, with the words of a Threefry of one counter.

use super::*;
use crate::kernel::Training;
use crate::random::threefry;

#[test]
fn drop_keeps_what_its_words_say() {
    let token = 1_717_986_918;
    // Rows of a tile that begin inside a step; parts; more features than are drawn at once; shared steps; many rows.
    for (rows, directions, units, features, shared) in
        [(7, 1, 16, 11, false), (11, 2, 32, 19, false), (9, 2, 48, 48, true), (4001, 1, 16, 16, false)]
    {
        let n = |n: usize| u32::try_from(n).unwrap();
        let (batch, whole, first) = (3, 10, 4);
        let params = Params {
            rows: n(rows),
            batch,
            directions: n(directions),
            units: n(units),
            features: n(features),
            source_0: 2,
            source_1: 5,
            target_0: 1,
            time_step_0: u32::from(!shared),
            token,
            scale: 1.25_f32.to_bits(),
            ..Params::default()
        };
        let width = directions * units;
        let draws = [77, 0x9e37_79b9, whole, first];
        let bound = vec![
            ("source", Data::Floats(noise(1, (rows + 2) * width))),
            ("draws", Data::Indices(draws.to_vec())),
            ("result", Data::Floats(noise(3, (rows + 1) * width))),
        ];
        let case = Case { program: Program::Training(Training::Drop), params, sides: 1, bound };
        let (mut expected, mut dropped) = (Vec::new(), 0);
        for (m, i) in (0..rows).flat_map(|m| (0..width).map(move |i| (m, i))) {
            let row = 5 + n(m);
            let counter = if shared { 0 } else { row / batch * whole } + first + row % batch;
            let feature = n(i / units * features + i % units);
            let [[word], _] = threefry([draws[0], draws[1]], counter, [feature]);
            let is_true = i % units < features;
            dropped += usize::from(is_true && word < token);
            let value = if is_true && word >= token { 1.25 * case.float("source", (2 + m) * width + i) } else { 0.0 };
            expected.push(("result", (1 + m) * width + i, value));
        }
        // 40 %, within five deviations.
        let elements = (if shared { 3 } else { rows } * directions * features) as f64;
        let share = dropped as f64 / (rows * directions * features) as f64;
        assert!((share - 0.4).abs() < 5.0 * (0.24 / elements).sqrt(), "{share}");
        case.check(&expected);
    }
}
