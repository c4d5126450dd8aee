//! The backward pass of kernels that make rows of rows.

use super::*;
use crate::kernel::Training;

/// Rows of two parts of 32, with 21 true features each. The padding is no feature, whatever it holds.
fn back_case(training: Training, rows: usize, source: Vec<f32>) -> Case {
    let n = u32::try_from(rows).unwrap();
    let params = Params {
        rows: n,
        directions: 2,
        units: 32,
        features: 21,
        source_0: 2,
        source_1: 3,
        target_0: 1,
        ..Params::default()
    };
    let filled = |mut data: Vec<f32>| {
        data.chunks_exact_mut(32).for_each(|part| part[21..].fill(1e30));
        data
    };
    let mut bound = vec![
        ("source", Data::Floats(filled(source))),
        ("delta", Data::Floats(filled(noise(2, (rows + 4) * 64)))),
        ("result", Data::Floats(noise(3, (rows + 2) * 64))),
    ];
    if training == Training::MaximumBack {
        let Data::Floats(source) = &bound[0].1 else { unreachable!() };
        let noise = noise(4, source.len());
        // Each third pair is equal.
        let other = source.iter().zip(noise).enumerate().map(|(i, (x, y))| if i % 3 == 0 { *x } else { y });
        bound.push(("other", Data::Floats(other.collect())));
    }
    Case { program: Program::Training(training), params, sides: 1, bound }
}

fn is_feature(c: usize) -> bool {
    c % 32 < 21
}

#[test]
fn a_softmax_goes_back_over_the_true_features() {
    for (log, rows) in [(false, 5), (true, 5), (false, 2001), (true, 700)] {
        let source = noise(1, (rows + 3) * 64).into_iter().map(|x| if log { 3.0 * x - 3.0 } else { (x + 1.0) / 42.0 });
        let case = back_case(Training::SoftmaxBack { log }, rows, source.collect());
        let mut expected = Vec::new();
        for m in 0..rows {
            let (y, d) = (|c: usize| case.float("source", (2 + m) * 64 + c), |c| case.float("delta", (3 + m) * 64 + c));
            let total: f64 = (0..64).filter(|&c| is_feature(c)).map(|c| if log { d(c) } else { d(c) * y(c) }).sum();
            let value = |c: usize| match log {
                _ if !is_feature(c) => 0.0,
                true => d(c) - y(c).exp() * total,
                false => y(c) * (d(c) - total),
            };
            expected.extend((0..64).map(|c| ("result", (1 + m) * 64 + c, value(c))));
        }
        case.check(&expected);
    }
}

#[test]
fn the_larger_of_two_takes_the_gradient_and_equals_share_it() {
    for rows in [5, 2001] {
        let case = back_case(Training::MaximumBack, rows, noise(1, (rows + 3) * 64));
        let value = |m: usize, c: usize| {
            let at = (2 + m) * 64 + c;
            let (a, b, d) = (case.float("source", at), case.float("other", at), case.float("delta", (3 + m) * 64 + c));
            if !is_feature(c) || a < b {
                0.0
            } else if a == b {
                d / 2.0
            } else {
                d
            }
        };
        let all = (0..rows * 64).map(|i| ("result", 64 + i, value(i / 64, i % 64)));
        case.check(&all.collect::<Vec<_>>());
    }
}
