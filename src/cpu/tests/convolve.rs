//! Convolutions: windows of a sequence that begins inside of its slot, groups over padded parts, and their gradients.

use super::*;
use crate::kernel::{Band, Convolve};

const UNITS: usize = 48;
/// True units: five groups of seven.
const COUNT: usize = 35;
const BATCH: usize = 3;
const TAPS: usize = 3;

fn n(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// Ten features in two parts, in five groups.
fn band() -> Band {
    Band::of(TAPS, [2, 7], [2, 5])
}

fn params(band: Band) -> Params {
    Params {
        batch: n(BATCH),
        depth: n(TAPS * band.width),
        units: n(UNITS),
        panels: n(UNITS / LANES),
        weight_panel: 1,
        offset: 4,
        steps: n(TAPS),
        tokens: n(band.inputs),
        features: n(band.outputs),
        source_features: n(band.size),
        source_units: n(band.row),
        time_step_0: 2,
        time_step_1: 3,
        ..Params::default()
    }
}

/// Whether row k of the depth is a weight of a unit.
fn is_weight(band: Band, unit: usize, k: usize) -> bool {
    let column = band.first(unit / LANES) + k % band.width;
    unit < COUNT && band.group(column) == Some(unit / band.outputs)
}

/// Weights with zeros where there is none, from panel 1 on.
fn weights(band: Band) -> Vec<f32> {
    let rows = TAPS * band.width + 1;
    let mut all = noise(1, (1 + UNITS / LANES) * rows * LANES);
    for (i, w) in all.iter_mut().enumerate().skip(rows * LANES) {
        let (unit, k) = ((i / (rows * LANES) - 1) * LANES + i % LANES, i / LANES % rows);
        if k + 1 < rows && !is_weight(band, unit, k) {
            *w = 0.0;
        }
    }
    all
}

/// The row that tap j of row m reads, for a sequence whose rows 5 to 5 + 13 are there.
fn row(m: usize, j: usize) -> Option<usize> {
    let (t, b) = ((4 + m) / BATCH, (4 + m) % BATCH);
    let row = -4 + ((t * 2 + j * 3) * BATCH + b) as i64;
    usize::try_from(row).ok().filter(|row| (5..5 + 13).contains(row))
}

/// The params of what reads those rows.
fn reading(params: Params) -> Params {
    Params { rows: 8, source_0: 4_u32.wrapping_neg(), kept_0: 5, kept_1: 13, target_0: 2, ..params }
}

#[test]
fn a_convolution_is_a_product_of_the_rows_of_its_taps() {
    let band = band();
    let params = reading(params(band));
    for (activation, storage) in [
        (Activation::Linear, Precision::F32),
        (Activation::Sigmoid, Precision::F32),
        (Activation::Linear, Precision::F16),
    ] {
        let program = Convolve::Forward { activation, matrix: Matrix::buffer(storage), tile: Tile::NONE };
        let bound = vec![
            ("weights", Data::Weights(weights(band))),
            ("source", Data::Floats(noise(2, 18 * band.row))),
            ("result", Data::Floats(noise(3, 10 * UNITS))),
        ];
        let case = Case { program: Program::Convolve(program), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (m, unit) in (0..8).flat_map(|m| (0..UNITS).map(move |unit| (m, unit))) {
            let source = |k: usize| {
                let column = band.first(unit / LANES) + k % band.width;
                row(m, k / band.width).map_or(0.0, |row| case.float("source", row * band.row + column))
            };
            let y = product(&case, 1, [1 + unit / LANES, 0, unit % LANES], source);
            let y = if activation == Activation::Linear { y } else { sigmoid(y) };
            expected.push(("result", (2 + m) * UNITS + unit, y));
        }
        case.check(&expected);
    }
}

#[test]
fn what_a_convolution_takes_gets_the_gradients_of_all_that_read_it() {
    let band = band();
    let params = Params { rows: 10, before_0: 4, source_1: 5, kept_0: 1, kept_1: 4, target_0: 3, ..params(band) };
    for first in [false, true] {
        let bound = vec![
            ("weights", Data::Weights(weights(band))),
            ("delta", Data::Floats(noise(4, (5 + 4 * BATCH) * UNITS))),
            ("result", Data::Floats(noise(5, 13 * band.row))),
        ];
        let case = Case { program: Program::Convolve(Convolve::Back { first }), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (m, column) in (0..10).flat_map(|m| (0..band.row).map(move |column| (m, column))) {
            let at = (3 + m) * band.row + column;
            let mut sum = if first { 0.0 } else { case.float("result", at) };
            let (t, b) = ((4 + m) / BATCH, (4 + m) % BATCH);
            for (j, unit) in (0..TAPS).flat_map(|j| (0..COUNT).map(move |unit| (j, unit))) {
                let step = (4 + t).checked_sub(3 * j).filter(|end| end % 2 == 0).map(|end| end / 2);
                let Some(step) = step.filter(|step| (1..5).contains(step)) else { continue };
                let Some(k) = column.checked_sub(band.first(unit / LANES)).filter(|&k| k < band.width) else {
                    continue;
                };
                let w = weight(&case, 1, [1 + unit / LANES, j * band.width + k, 0, unit % LANES]);
                sum += w * case.float("delta", (5 + (step - 1) * BATCH + b) * UNITS + unit);
            }
            expected.push(("result", at, sum));
        }
        case.check(&expected);
    }
}

#[test]
fn the_matrix_of_a_convolution_gets_its_gradient_row_by_row() {
    let band = band();
    let params = Params { count: n(COUNT), ..reading(params(band)) };
    let rows = TAPS * band.width + 1;
    for first in [false, true] {
        let bound = vec![
            ("source", Data::Floats(noise(6, 18 * band.row))),
            ("delta", Data::Floats(noise(7, 10 * UNITS))),
            ("result", Data::Floats(noise(8, (1 + UNITS / LANES) * rows * LANES))),
        ];
        let case = Case { program: Program::Convolve(Convolve::Outer { first }), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (unit, k) in (0..UNITS).flat_map(|unit| (0..rows).map(move |k| (unit, k))) {
            let at = ((1 + unit / LANES) * rows + k) * LANES + unit % LANES;
            let mut sum = if first { 0.0 } else { case.float("result", at) };
            for m in 0..8 {
                let column = band.first(unit / LANES) + k % band.width;
                let s = match k + 1 == rows {
                    true => 1.0,
                    false => row(m, k / band.width).map_or(0.0, |row| case.float("source", row * band.row + column)),
                };
                sum += s * case.float("delta", (2 + m) * UNITS + unit);
            }
            let is_there = unit < COUNT && (k + 1 == rows || is_weight(band, unit, k));
            expected.push(("result", at, if is_there { sum } else { 0.0 }));
        }
        case.check(&expected);
    }
}
