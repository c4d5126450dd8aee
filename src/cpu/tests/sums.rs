//! Rows added up: those of all timesteps, and those of a token.

use super::*;
use crate::kernel::Training;

#[test]
fn the_rows_of_all_timesteps_are_added_up() {
    for (steps, batch, first) in [(1, 1, true), (5, 3, false), (7, 40, true), (300, 70, false), (0, 2, true)] {
        let (n, width) = (|n: usize| u32::try_from(n).unwrap(), 2 * 48);
        let params = Params {
            batch: n(batch),
            directions: 2,
            units: 48,
            steps: n(steps),
            source_0: 2,
            target_0: 1,
            ..Params::default()
        };
        let source = noise(1, (steps * batch + 4) * width).into_iter().map(|x| x / (steps.max(1) as f32));
        let bound =
            vec![("source", Data::Floats(source.collect())), ("result", Data::Floats(noise(2, (batch + 2) * width)))];
        let program = Program::Training(Training::SumSteps { first });
        let case = Case { program, params, sides: 1, bound };
        let value = |i: usize| {
            let before = if first { 0.0 } else { case.float("result", width + i) };
            before + (0..steps).map(|t| case.float("source", (2 + t * batch) * width + i)).sum::<f64>()
        };
        case.check(&(0..batch * width).map(|i| ("result", width + i, value(i))).collect::<Vec<_>>());
    }
}

#[test]
fn the_rows_of_a_token_are_added_up() {
    // Rows of the call and those in the dispatch; tokens of the table and those in the dispatch; places in the order.
    for (all, [source, rows], vocabulary, [token, tokens], [offset, count], first) in [
        (9, [2, 5], 6, [1, 4], [1, 7], true),
        (40, [0, 40], 10, [0, 10], [0, 40], false),
        (3000, [100, 2800], 300, [10, 280], [50, 2900], true),
        (3000, [0, 3000], 300, [0, 300], [0, 3000], false),
    ] {
        let n = |n: usize| u32::try_from(n).unwrap();
        let width = 32;
        let of_row = |m: usize| (m * m + 3 * m) % vocabulary;
        let mut order: Vec<u32> = (0..n(all)).collect();
        order.sort_by_key(|&m| of_row(m as usize));
        let before = |v: usize| n((0..all).filter(|&m| of_row(m) < v).count());
        let starts: Vec<u32> = (0..=vocabulary).map(before).collect();
        let params = Params {
            rows: n(rows),
            units: 32,
            source_0: n(source),
            token: n(token),
            tokens: n(tokens),
            offset: n(offset),
            count: n(count),
            ..Params::default()
        };
        let bound = vec![
            ("delta", Data::Floats(noise(1, rows * width).into_iter().map(|x| x / 16.0).collect())),
            ("order", Data::Indices(order.clone())),
            ("starts", Data::Indices(starts.clone())),
            ("result", Data::Floats(noise(2, tokens * width))),
        ];
        let program = Program::Training(Training::Scatter { first });
        let case = Case { program, params, sides: 1, bound };
        let mut expected = Vec::new();
        for v in 0..tokens {
            let own = |i: &usize| order[*i] as usize >= source && (order[*i] as usize) < source + rows;
            let places = starts[token + v] as usize..starts[token + v + 1] as usize;
            let places: Vec<_> = places.filter(|i| (offset..offset + count).contains(i)).filter(own).collect();
            for c in 0..width {
                let before = if first { 0.0 } else { case.float("result", v * width + c) };
                let delta = |i: &usize| case.float("delta", (order[*i] as usize - source) * width + c);
                expected.push(("result", v * width + c, before + places.iter().map(delta).sum::<f64>()));
            }
        }
        case.check(&expected);
    }
}
