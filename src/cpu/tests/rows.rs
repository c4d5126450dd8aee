//! The kernels without a product.

use super::*;
use crate::kernel::Combine;

#[test]
fn gather_takes_rows_of_the_bound_table_and_ignores_tokens_outside_it() {
    for storage in [Precision::F32, Precision::F16] {
        let (rows, width, tokens) = (5, 32, vec![9, 3, 4, 10, 7, 6, 3, 0]);
        let params = Params {
            rows: 5,
            units: 32,
            weight_panel: 8,
            source_0: 1,
            target_0: 6,
            token: 4,
            tokens: 4,
            ..Params::default()
        };
        let bound = vec![
            ("weights", Data::Weights(noise(1, 12 * width))),
            ("tokens", Data::Indices(tokens.clone())),
            ("result", Data::Floats(noise(2, 11 * width))),
        ];
        let case = Case { program: Program::Gather(storage), params, sides: 1, bound };
        let mut expected = Vec::new();
        for (m, token) in (0..rows).map(|m| (m, tokens[1 + m] as usize)).filter(|at| (4..8).contains(&at.1)) {
            let row = 8 + token - 4;
            expected
                .extend((0..width).map(|c| ("result", (6 + m) * width + c, case.float("weights", row * width + c))));
        }
        assert_eq!(expected.len(), 3 * width, "tokens 4, 7 and 6 are in the table");
        case.check(&expected);
    }
}

#[test]
fn one_hot_writes_unit_vectors() {
    let tokens = vec![1, 0, 17, 31, 2];
    let params = Params { rows: 3, units: 32, directions: 1, source_0: 1, target_0: 1, ..Params::default() };
    let bound = vec![("tokens", Data::Indices(tokens.clone())), ("result", Data::Floats(noise(1, 5 * 32)))];
    let case = Case { program: Program::OneHot, params, sides: 1, bound };
    let at = |m: usize, c: usize| ("result", (1 + m) * 32 + c, f64::from(u8::from(tokens[1 + m] as usize == c)));
    case.check(&(0..3).flat_map(|m| (0..32).map(move |c| (m, c))).map(|(m, c)| at(m, c)).collect::<Vec<_>>());
}

#[test]
fn pick_takes_each_directions_own_row() {
    let (batch, units) = (3, 16);
    let params = Params { rows: 3, batch: 3, directions: 2, units: 16, source_0: 3, source_1: 1, ..Params::default() };
    let width = 2 * units;
    let bound =
        vec![("source", Data::Floats(noise(1, 4 * batch * width))), ("result", Data::Floats(noise(2, batch * width)))];
    let case = Case { program: Program::FinalState, params, sides: 2, bound };
    let value = |b: usize, c: usize| case.float("source", ([3, 1][c / units] * batch + b) * width + c);
    let all = (0..batch * width).map(|i| ("result", i, value(i / width, i % width)));
    case.check(&all.collect::<Vec<_>>());
}

#[test]
fn blank_writes_zeros_where_a_direction_has_no_step() {
    for (rows, directions) in [(5, 1), (5, 2), (4001, 2)] {
        let n = |n: usize| u32::try_from(n).unwrap();
        let width = directions * 16;
        // Each direction reads its own rows of the mask: z = 1 reads those from 1 + rows on.
        let live: Vec<u32> = (0..2 * rows + 2).map(|i| u32::from(i % 3 != 0)).collect();
        let mut source = noise(1, (rows + 3) * width);
        let first = [1, 1 + rows];
        let dead = |m: usize, z: usize| live[first[z] + m] == 0;
        for (m, z) in (0..rows).flat_map(|m| (0..directions).map(move |z| (m, z))).filter(|&(m, z)| dead(m, z)) {
            source[(2 + m) * width + z * 16] = f32::NAN;
        }
        let params = Params {
            rows: n(rows),
            directions: n(directions),
            units: 16,
            source_0: 2,
            target_0: 1,
            live_0: n(first[0]),
            live_1: n(first[1]),
            ..Params::default()
        };
        let bound = vec![
            ("source", Data::Floats(source)),
            ("live", Data::Indices(live.clone())),
            ("result", Data::Floats(noise(2, (rows + 2) * width))),
        ];
        let program = Program::MaskOutputs;
        let case = Case { program, params, sides: directions, bound };
        let value = |m: usize, c: usize| if dead(m, c / 16) { 0.0 } else { case.float("source", (2 + m) * width + c) };
        let all = (0..rows * width).map(|i| ("result", width + i, value(i / width, i % width)));
        case.check(&all.collect::<Vec<_>>());
    }
}

#[test]
fn merge_combines_two_directions() {
    for combine in [Combine::Sum, Combine::Average, Combine::Product] {
        for rows in [5, if combine == Combine::Sum { 4001 } else { 1 }] {
            let (n, units) = (u32::try_from(rows).unwrap(), 32);
            let params = Params { rows: n, directions: 2, units: 32, source_0: 2, target_0: 1, ..Params::default() };
            let bound = vec![
                ("source", Data::Floats(noise(1, (rows + 3) * 2 * units))),
                ("result", Data::Floats(noise(2, (rows + 2) * units))),
            ];
            let program = Program::Merge(combine);
            let case = Case { program, params, sides: 1, bound };
            let value = |m: usize, c: usize| {
                let [a, b] = [0, units].map(|half| case.float("source", (2 + m) * 2 * units + half + c));
                match combine {
                    Combine::Sum => a + b,
                    Combine::Average => (a + b) / 2.0,
                    Combine::Product => a * b,
                }
            };
            let all = (0..rows * units).map(|i| ("result", units + i, value(i / units, i % units)));
            case.check(&all.collect::<Vec<_>>());
        }
    }
}

/// Features of two parts of 16, with 11 true ones each.
fn rowwise(f: Activation, source: Vec<f32>) -> Case {
    let rows = source.len() / 32;
    let n = u32::try_from(rows - 2).unwrap();
    let params =
        Params { rows: n, directions: 2, units: 16, features: 11, source_0: 2, target_0: 1, ..Params::default() };
    let bound = vec![("source", Data::Floats(source)), ("result", Data::Floats(noise(2, rows * 32)))];
    Case { program: Program::of_activation(f), params, sides: 1, bound }
}

#[test]
fn activate_is_elementwise() {
    for f in Activation::ALL.into_iter().filter(|f| f.is_elementwise()) {
        let at = |x: f32| if f.is_total() { x * 12.0 } else { x.abs() * 12.0 };
        let case = rowwise(f, noise(1, 9 * 32).into_iter().map(at).collect());
        let all = (0..7 * 32).map(|i| ("result", 32 + i, activation(f, case.float("source", 64 + i))));
        case.check(&all.collect::<Vec<_>>());
    }
}

#[test]
fn softmax_is_over_the_true_features_and_overflows_nowhere() {
    for f in [Activation::Softmax, Activation::LogSoftmax] {
        let mut source: Vec<f32> = noise(1, 9 * 32).into_iter().map(|x| x * 90.0).collect();
        source[3 * 32 + 4] = 3e38;
        // The padding is no feature, whatever it holds.
        source.chunks_exact_mut(16).for_each(|part| part[11..].fill(1e30));
        let case = rowwise(f, source);
        let mut expected = Vec::new();
        for m in 0..7 {
            let x = |c: usize| case.float("source", (2 + m) * 32 + c);
            let features = || (0..32).filter(|c| c % 16 < 11);
            let most = features().map(x).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = features().map(|c| (x(c) - most).exp()).sum();
            for c in 0..32 {
                let value = match f {
                    _ if c % 16 >= 11 => 0.0,
                    Activation::Softmax => (x(c) - most).exp() / sum,
                    _ => x(c) - most - sum.ln(),
                };
                expected.push(("result", (1 + m) * 32 + c, value));
            }
        }
        case.check(&expected);
    }
}

#[test]
fn a_softmax_of_many_classes_keeps_its_digits() {
    let classes = 100_000;
    for f in [Activation::Softmax, Activation::LogSoftmax] {
        let mut source = vec![-0.1; classes];
        source[7] = 0.0;
        let n = u32::try_from(classes).unwrap();
        let params = Params { rows: 1, directions: 1, units: n, features: n, ..Params::default() };
        let bound = vec![("source", Data::Floats(source)), ("result", Data::Floats(vec![0.0; classes]))];
        let case = Case { program: Program::of_activation(f), params, sides: 1, bound };
        let (mut plan, feeds, packed) = case.plan();
        plan.reads = vec![Read { fetch: Fetch::Output, slot: 1, offset: 4 * MARGIN as u64, bytes: 4 * u64::from(n) }];
        let got = reads(&Cpu::new(packed).unwrap(), &plan, &feeds).unwrap();
        let x = f64::from(-0.1_f32);
        let sum = 1.0 + (classes - 1) as f64 * x.exp();
        let expected = if f == Activation::Softmax { x.exp() / sum } else { x - sum.ln() };
        let error = (f64::from(got[0][classes - 1]) - expected).abs() / expected.abs();
        assert!(error < 1e-6, "{f:?}: {error}");
    }
}
