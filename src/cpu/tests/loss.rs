//! The losses of rows.

use super::*;
use crate::cell::Constant;
use crate::kernel::{RowLoss, RowTargets, Training};

/// Returns every loss, with and without its options.
fn losses() -> Vec<RowLoss> {
    let some = [0.0, 0.1].map(Constant::new);
    let mut losses = vec![RowLoss::Squared, RowLoss::Absolute, RowLoss::SumOfSquares];
    losses.push(RowLoss::Huber { delta: Constant::new(0.7) });
    losses.extend(some.map(|smoothing| RowLoss::BinaryCrossEntropy { smoothing }));
    for weighted in [false, true] {
        losses.extend(some.map(|smoothing| RowLoss::CrossEntropy { smoothing, weighted }));
    }
    losses
}

/// The first of a dispatch's rows in bindings for rows of the call. The first row of the gradient is a different one.
const FIRST: usize = 3;

/// Rows of `parts` parts of `units`, with `features` true ones. Each third row has no weight.
fn loss_case(loss: RowLoss, rows: usize, [parts, units, features]: [usize; 3]) -> Case {
    let (n, width) = (|n: usize| u32::try_from(n).unwrap(), parts * units);
    let params = Params {
        rows: n(rows),
        directions: n(parts),
        units: n(units),
        features: n(features),
        source_0: 2,
        source_1: n(FIRST),
        target_0: 1,
        ..Params::default()
    };
    let mut source: Vec<f32> = noise(1, (rows + 3) * width).into_iter().map(|x| x * 6.0).collect();
    // Padding is no feature, whatever it holds.
    source.chunks_exact_mut(units).for_each(|part| part[features..].fill(1e30));
    let scale: Vec<f32> = (0..rows + 4).map(|m| if m % 3 == 2 { 0.0 } else { 0.25 + m as f32 / 64.0 }).collect();
    for m in (0..rows).filter(|m| scale[FIRST + m] == 0.0) {
        source[(2 + m) * width] = f32::NAN;
    }
    let mut bound = vec![("source", Data::Floats(source))];
    match loss.targets() {
        RowTargets::Classes => {
            // A row without weight has no class.
            let class = |m: usize| if scale[m] == 0.0 { u32::MAX } else { n(m * 7 % (parts * features)) };
            bound.push(("tokens", Data::Indices((0..rows + 4).map(class).collect())));
        }
        RowTargets::Values => {
            let mut values: Vec<f32> = noise(2, (rows + 4) * width).into_iter().map(|x| x / 2.0 + 0.5).collect();
            values.chunks_exact_mut(units).for_each(|part| part[features..].fill(-1e30));
            bound.push(("values", Data::Floats(values)));
        }
        RowTargets::None => {}
    }
    bound.push(("scale", Data::Floats(scale)));
    if matches!(loss, RowLoss::CrossEntropy { weighted: true, .. }) {
        bound.push(("class_weights", Data::Floats(noise(4, parts * features).into_iter().map(|x| x + 1.5).collect())));
    }
    bound.push(("result", Data::Floats(noise(5, (rows + 2) * width))));
    bound.push(("losses", Data::Floats(noise(6, rows + 4))));
    Case { program: Program::Training(Training::Loss(loss)), params, sides: 1, bound }
}

/// Returns the loss of a row and its gradient.
fn row_loss(case: &Case, loss: RowLoss, m: usize, z: &[f64], place: impl Fn(usize) -> usize) -> (f64, Vec<f64>) {
    let constant = f64::from(loss.constant().get());
    let value =
        |c: usize| case.float("values", (FIRST + m) * (case.params.units * case.params.directions) as usize + place(c));
    let pairs: Vec<(f64, f64)> = match loss {
        RowLoss::CrossEntropy { weighted, .. } => {
            let class = case.index("tokens", FIRST + m);
            let weight = |c| if weighted { case.float("class_weights", c) } else { 1.0 };
            let q = |c| weight(c) * ((1.0 - constant) * f64::from(u8::from(c == class)) + constant / z.len() as f64);
            let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let log_sum = most + z.iter().map(|z| (z - most).exp()).sum::<f64>().ln();
            let all: f64 = (0..z.len()).map(q).sum();
            (0..z.len()).map(|c| (q(c) * (log_sum - z[c]), (z[c] - log_sum).exp() * all - q(c))).collect()
        }
        RowLoss::BinaryCrossEntropy { .. } => {
            let of = |(c, &z): (usize, &f64)| {
                let y = value(c) * (1.0 - constant) + constant / 2.0;
                (z.max(0.0) - z * y + (-z.abs()).exp().ln_1p(), sigmoid(z) - y)
            };
            z.iter().enumerate().map(of).collect()
        }
        RowLoss::Squared => z.iter().enumerate().map(|(c, z)| ((z - value(c)).powi(2), 2.0 * (z - value(c)))).collect(),
        RowLoss::Absolute => {
            z.iter().enumerate().map(|(c, z)| ((z - value(c)).abs(), (z - value(c)).signum())).collect()
        }
        RowLoss::Huber { .. } => {
            let of = |(c, &z): (usize, &f64)| {
                let d = z - value(c);
                let near = d.abs() <= constant;
                let far = constant * (d.abs() - constant / 2.0);
                (if near { d * d / 2.0 } else { far }, d.clamp(-constant, constant))
            };
            z.iter().enumerate().map(of).collect()
        }
        RowLoss::SumOfSquares => z.iter().map(|z| (z * z, 2.0 * z)).collect(),
    };
    (pairs.iter().map(|pair| pair.0).sum(), pairs.iter().map(|pair| pair.1).collect())
}

fn loss_expected(case: &Case, loss: RowLoss) -> Vec<(&'static str, usize, f64)> {
    let p = &case.params;
    let [parts, units, features] = [p.directions, p.units, p.features].map(|n| n as usize);
    let place = |c: usize| c / features * units + c % features;
    let width = parts * units;
    let mut expected = Vec::new();
    for m in 0..p.rows as usize {
        let z: Vec<f64> = (0..parts * features).map(|c| case.float("source", (2 + m) * width + place(c))).collect();
        let scale = case.float("scale", FIRST + m);
        let (of_row, gradient) = row_loss(case, loss, m, &z, place);
        let counted = |x: f64| if scale == 0.0 { 0.0 } else { scale * x };
        expected.push(("losses", FIRST + m, counted(of_row)));
        expected.extend((0..width).map(|c| ("result", (1 + m) * width + c, 0.0)));
        expected.extend(gradient.iter().enumerate().map(|(c, g)| ("result", (1 + m) * width + place(c), counted(*g))));
    }
    expected
}

#[test]
fn rows_lose_what_the_catalog_says() {
    for loss in losses() {
        for (rows, sizes) in
            [(1, [1, 16, 16]), (5, [2, 16, 11]), (7, [1, 32, 17]), (4, [1, 1104, 1091]), (900, [1, 64, 60])]
        {
            let case = loss_case(loss, rows, sizes);
            case.check(&loss_expected(&case, loss));
        }
    }
}
