//! `spread` and `spread_back` against their descriptions, with the words of a Threefry of one counter.

use super::*;
use crate::kernel::Training;
use crate::random::threefry;

/// How rows are copied: the rows, the units and features of their parts, and the parts of a dispatch.
#[derive(Clone, Copy)]
struct Sizes {
    rows: usize,
    gates: usize,
    parts: usize,
    units: usize,
    features: usize,
    /// The first part, and the count.
    side: [usize; 2],
    /// Parts of a row that is copied, and of a row of copies: all, or only the dispatch's current one.
    plain: usize,
    copies: usize,
}

const TOKEN: u32 = 1_717_986_918;
const DRAWS: [u32; 4] = [77, 0x9e37_79b9, 10, 4];

impl Sizes {
    fn params(&self) -> Params {
        let n = |n: usize| u32::try_from(n).unwrap();
        Params {
            rows: n(self.rows),
            batch: 3,
            directions: n(self.parts),
            direction: n(self.side[0]),
            units: n(self.units),
            features: n(self.features),
            source_0: 2,
            source_1: n(self.rows) + 3,
            target_0: 1,
            target_1: n(self.rows) + 1,
            source_offset: 1000,
            offset: 5,
            token: TOKEN,
            scale: 1.25_f32.to_bits(),
            ..Params::default()
        }
    }

    /// Returns the factor of unit `unit` of a part of row `m` in copy `gate`.
    fn factor(&self, m: usize, part: usize, gate: usize, unit: usize) -> f64 {
        let n = |n: usize| u32::try_from(n).unwrap();
        let feature = 1000 + n((gate * self.parts + part) * self.features + unit);
        let [[word], _] = threefry([DRAWS[0], DRAWS[1]], DRAWS[3] + n(5 + m) % 3, [feature]);
        if unit < self.features && word >= TOKEN { 1.25 } else { 0.0 }
    }

    /// Returns the places of a unit of a part, in a row that is copied and in copy `gate`. Rows are counted by side.
    fn places(&self, [plain, copies]: [u32; 2], m: usize, part: usize, gate: usize, unit: usize) -> [usize; 2] {
        let row = (plain as usize + m) * self.plain + part % self.plain;
        let copied = (copies as usize + m) * self.copies + part % self.copies;
        let panel = copied * self.units / LANES + unit / LANES;
        [row * self.units + unit, (panel * self.gates + gate) * LANES + unit % LANES]
    }

    fn each(&self) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let (units, rows) = (self.units, self.rows);
        (0..self.side[1]).flat_map(move |z| (0..rows).flat_map(move |m| (0..units).map(move |unit| (z, m, unit))))
    }

    fn lens(&self) -> [usize; 2] {
        let rows = 2 * self.rows + 3;
        [rows * self.plain * self.units, rows * self.copies * self.units * self.gates]
    }

    fn case(&self, training: Training, [source, result]: [usize; 2], parts: [usize; 2]) -> Case {
        let n = |n: usize| u32::try_from(n).unwrap();
        let params = Params { source_directions: n(parts[0]), tokens: n(parts[1]), ..self.params() };
        let bound = vec![
            ("source", Data::Floats(noise(1, source))),
            ("draws", Data::Indices(DRAWS.to_vec())),
            ("result", Data::Floats(noise(3, result))),
        ];
        Case { program: Program::Training(training), params, sides: self.side[1], bound }
    }
}

fn sizes() -> Vec<Sizes> {
    let of = |rows, gates, [parts, units, features]: [usize; 3], side, [plain, copies]: [usize; 2]| Sizes {
        rows,
        gates,
        parts,
        units,
        features,
        side,
        plain,
        copies,
    };
    vec![
        of(3, 4, [2, 32, 19], [0, 2], [2, 1]),
        of(7, 3, [2, 16, 16], [1, 1], [2, 1]),
        of(7, 1, [2, 16, 9], [0, 2], [1, 1]),
        of(6, 2, [1, 48, 40], [0, 1], [1, 1]),
        of(11, 3, [2, 32, 20], [0, 2], [2, 2]),
        of(4001, 4, [1, 16, 13], [0, 1], [1, 1]),
    ]
}

#[test]
fn spread_copies_rows_for_each_gate() {
    for s in sizes() {
        let [plain, copies] = s.lens();
        let gates = u32::try_from(s.gates).unwrap();
        let case = s.case(Training::Spread { gates }, [plain, copies], [s.plain, s.copies]);
        let (p, mut expected) = (case.params, Vec::new());
        for (z, m, unit) in s.each() {
            let rows = [[p.source_0, p.source_1][z], [p.target_0, p.target_1][z]];
            for gate in 0..s.gates {
                let [from, to] = s.places(rows, m, s.side[0] + z, gate, unit);
                expected.push(("result", to, s.factor(m, s.side[0] + z, gate, unit) * case.float("source", from)));
            }
        }
        case.check(&expected);
    }
}

#[test]
fn spread_back_adds_what_was_kept_of_each_copy() {
    for (s, first) in sizes().into_iter().flat_map(|s| [true, false].map(|first| (s, first))) {
        let [plain, copies] = s.lens();
        let gates = u32::try_from(s.gates).unwrap();
        let case = s.case(Training::SpreadBack { gates, first }, [copies, plain], [s.copies, s.plain]);
        let (p, mut expected) = (case.params, Vec::new());
        for (z, m, unit) in s.each() {
            let (part, rows) = (s.side[0] + z, [[p.target_0, p.target_1][z], [p.source_0, p.source_1][z]]);
            let kept = |gate: usize| {
                s.factor(m, part, gate, unit) * case.float("source", s.places(rows, m, part, gate, unit)[1])
            };
            let [to, _] = s.places(rows, m, part, 0, unit);
            let before = if first { 0.0 } else { case.float("result", to) };
            expected.push(("result", to, before + (0..s.gates).map(kept).sum::<f64>()));
        }
        case.check(&expected);
    }
}
