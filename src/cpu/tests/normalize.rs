//! The kernels that normalise rows, both ways.

use super::*;
use crate::kernel::{Norm, Training};

const FEATURES: usize = 21;
const WIDTH: usize = 32;

/// Rows of 32 elements, 21 of them features. The padding is none, whatever it holds.
fn norm_case(program: Program, rows: usize, single: bool) -> Case {
    let params = Params {
        rows: u32::try_from(rows).unwrap(),
        directions: 1,
        units: 32,
        features: 21,
        source_units: 32,
        count: u32::from(single),
        scale: 0.25_f32.to_bits(),
        source_0: 2,
        source_1: 3,
        target_0: 1,
        target_1: 2,
        ..Params::default()
    };
    let filled = |mut data: Vec<f32>| {
        data.chunks_exact_mut(WIDTH).for_each(|part| part[FEATURES..].fill(1e30));
        data
    };
    // Numbers that may be variances.
    let weights = noise(1, 2 * WIDTH).into_iter().map(|x| x.abs() + 0.1).collect();
    let mut bound = vec![
        ("weights", Data::Weights(weights)),
        ("source", Data::Floats(filled(noise(2, (rows + 3) * WIDTH)))),
        ("result", Data::Floats(noise(3, (rows + 2) * WIDTH))),
    ];
    if program.training().is_some() {
        bound.insert(2, ("delta", Data::Floats(filled(noise(4, (rows + 4) * WIDTH)))));
        bound.push(("product", Data::Floats(noise(5, (rows + 3) * WIDTH))));
    }
    Case { program, params, sides: 1, bound }
}

/// The numbers of a row: x, d, and the weights a and b.
struct Row {
    x: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Row {
    fn of(case: &Case, m: usize) -> Self {
        let numbers = |name: &str, at: usize| (0..FEATURES).map(|c| case.float(name, at + c)).collect::<Vec<_>>();
        let mut a = numbers("weights", 0);
        if case.params.count == 1 {
            a = vec![a[0]; FEATURES];
        }
        Self { x: numbers("source", (2 + m) * WIDTH), a, b: numbers("weights", WIDTH) }
    }

    /// y of feature c, if x of feature `moved` is larger by `by`.
    #[allow(clippy::cast_precision_loss, reason = "21 features")]
    fn y(&self, norm: Norm, c: usize, moved: usize, by: f64) -> f64 {
        let mut x = self.x.clone();
        x[moved] += by;
        let (n, eps, a, b) = (FEATURES as f64, 0.25, self.a[c], self.b[c]);
        let mean = if norm == Norm::Layer { x.iter().sum::<f64>() / n } else { 0.0 };
        let squares: f64 = x.iter().map(|x| (x - mean) * (x - mean)).sum();
        match norm {
            Norm::Affine => x[c] * a + b,
            Norm::Standard => (x[c] - a) / (b + eps).sqrt(),
            Norm::Layer | Norm::Rms => (x[c] - mean) / (squares / n + eps).sqrt() * a + b,
            Norm::L2 => x[c] / squares.sqrt().max(eps) * a + b,
            Norm::PRelu => x[c].max(0.0) + a * x[c].min(0.0),
        }
    }
}

/// Every kind, and the one with a single number.
fn kinds() -> impl Iterator<Item = (Norm, bool)> {
    Norm::ALL.into_iter().map(|norm| (norm, false)).chain([(Norm::PRelu, true)])
}

#[test]
fn rows_are_normalised_over_their_true_features() {
    for ((norm, single), rows) in kinds().flat_map(|kind| [5, 2001].map(|rows| (kind, rows))) {
        let case = norm_case(Program::Normalize(norm), rows, single);
        let mut expected = Vec::new();
        for m in 0..rows {
            let row = Row::of(&case, m);
            let y = |c: usize| if c < FEATURES { row.y(norm, c, c, 0.0) } else { 0.0 };
            expected.extend((0..WIDTH).map(|c| ("result", (1 + m) * WIDTH + c, y(c))));
        }
        case.check(&expected);
    }
}

#[test]
fn their_gradients_are_slopes_of_the_forward_pass() {
    const STEP: f64 = 1e-5;
    for ((norm, single), rows) in kinds().flat_map(|kind| [3, 90].map(|rows| (kind, rows))) {
        let case = norm_case(Program::Training(Training::NormalizeBack(norm)), rows, single);
        let mut expected = Vec::new();
        for m in 0..rows {
            let row = Row::of(&case, m);
            let d = |c: usize| case.float("delta", (3 + m) * WIDTH + c);
            let slope =
                |c: usize, moved: usize| (row.y(norm, c, moved, STEP) - row.y(norm, c, moved, -STEP)) / (2.0 * STEP);
            for c in 0..WIDTH {
                let dx = if c < FEATURES { (0..FEATURES).map(|of| d(of) * slope(of, c)).sum() } else { 0.0 };
                expected.push(("result", (1 + m) * WIDTH + c, dx));
                // y is linear in a, but where a is a mean.
                let of_a = |c: usize| match norm {
                    Norm::Standard => 0.0,
                    Norm::PRelu => row.x[c].min(0.0),
                    _ => (row.y(norm, c, c, 0.0) - row.b[c]) / row.a[c],
                };
                let dp = if c < FEATURES { d(c) * of_a(c) } else { 0.0 };
                expected.push(("product", (2 + m) * WIDTH + c, dp));
            }
        }
        case.check(&expected);
    }
}
