//! A matrix transposed, and rows of zeros.

use super::*;
use crate::kernel::Training;

#[test]
fn transpose_turns_a_matrix() {
    for (gates, after, depth, panels) in [(1, 1, 16, 1), (4, 2, 48, 3), (3, 1, 32, 5), (2, 1, 256, 70)] {
        let (width, n) = (gates * LANES, |n: usize| u32::try_from(n).unwrap());
        let params = Params { depth: n(depth), panels: n(panels), weight_panel: 1, target_0: 2, ..Params::default() };
        let transposed = panels * width + 1;
        let bound = vec![
            ("weights", Data::Weights(noise(1, (panels + 2) * (depth + after) * width))),
            ("result", Data::Floats(noise(2, (depth / LANES + 3) * transposed * LANES))),
        ];
        let training = Training::Transpose { gates: n(gates), after: n(after), per_gate: false };
        let case = Case { program: Program::Training(training), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (k, row) in (0..depth).flat_map(|k| (0..transposed).map(move |row| (k, row))) {
            let at = ((1 + row / width) * (depth + after) + k) * width + row % width;
            let value = if row == transposed - 1 { 0.0 } else { case.float("weights", at) };
            expected.push(("result", ((2 + k / LANES) * transposed + row) * LANES + k % LANES, value));
        }
        case.check(&expected);
    }
}

#[test]
fn transpose_turns_each_gate_by_itself() {
    for (gates, after, depth, panels) in [(1, 1, 16, 1), (4, 2, 48, 3), (3, 1, 32, 5), (2, 1, 256, 70)] {
        let (width, n) = (gates * LANES, |n: usize| u32::try_from(n).unwrap());
        let params = Params { depth: n(depth), panels: n(panels), weight_panel: 1, target_0: 2, ..Params::default() };
        let rows = panels * LANES + 1;
        let bound = vec![
            ("weights", Data::Weights(noise(1, (panels + 2) * (depth + after) * width))),
            ("result", Data::Floats(noise(2, (depth / LANES + 3) * rows * width))),
        ];
        let training = Training::Transpose { gates: n(gates), after: n(after), per_gate: true };
        let case = Case { program: Program::Training(training), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (k, row, g) in (0..depth).flat_map(|k| (0..rows).flat_map(move |row| (0..gates).map(move |g| (k, row, g))))
        {
            let at = ((1 + row / LANES) * (depth + after) + k) * width + g * LANES + row % LANES;
            let value = if row == rows - 1 { 0.0 } else { case.float("weights", at) };
            expected.push(("result", ((2 + k / LANES) * rows + row) * width + g * LANES + k % LANES, value));
        }
        case.check(&expected);
    }
}

#[test]
fn zero_writes_zeros() {
    for rows in [3, 5001] {
        let n = u32::try_from(rows).unwrap();
        let params = Params { rows: n, units: 32, target_0: 2, ..Params::default() };
        let bound = vec![("result", Data::Floats(noise(2, (rows + 3) * 32)))];
        let case = Case { program: Program::Training(Training::Zero), params, sides: 1, bound };
        case.check(&(0..rows * 32).map(|i| ("result", 64 + i, 0.0)).collect::<Vec<_>>());
    }
}
