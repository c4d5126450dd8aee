//! The kernels of attention.

use super::*;
use crate::kernel::{Attend, ScoresBackOf, Scoring};

/// Rows of the query, of the batch, and steps of the value.
const ROWS: usize = 7;
const BATCH: usize = 3;
const STEPS: usize = 5;
const UNITS: usize = 32;
const FEATURES: usize = 27;
const WIDTH: usize = 16;

fn n(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

#[test]
fn scores_are_those_of_the_steps_of_a_rows_own_batch() {
    let kinds = [Scoring::Dot, Scoring::Additive, Scoring::Given, Scoring::Weighted(Precision::F32)];
    for scoring in kinds.into_iter().chain([Scoring::Weighted(Precision::F16)]) {
        let params = Params {
            rows: n(ROWS),
            batch: n(BATCH),
            units: n(UNITS),
            features: n(FEATURES),
            source_units: n(WIDTH),
            source_0: 2,
            source_1: 3,
            target_0: 1,
            offset: 4,
            steps: n(STEPS),
            scale: 0.75_f32.to_bits(),
            ..Params::default()
        };
        let mut bound = Vec::new();
        if let Scoring::Weighted(_) = scoring {
            bound.push(("weights", Data::Weights(noise(4, UNITS))));
        }
        if scoring != Scoring::Given {
            bound.push(("source", Data::Floats(noise(1, (2 + ROWS) * UNITS))));
        }
        bound.push(("key", Data::Floats(noise(2, (3 + STEPS * BATCH) * UNITS))));
        bound.push(("result", Data::Floats(noise(3, (2 + ROWS) * WIDTH))));
        let case = Case { program: Program::Attend(Attend::Scores(scoring)), params, sides: 1, bound };
        let score = |m: usize, i: usize| -> f64 {
            let (q, k) = ((2 + m) * UNITS, (3 + i * BATCH + (1 + m) % BATCH) * UNITS);
            let at = |c: usize| (case.float("source", q + c), case.float("key", k + c));
            match scoring {
                Scoring::Given => case.float("key", k),
                Scoring::Dot => (0..FEATURES).map(at).map(|(q, k)| q * k).sum(),
                Scoring::Additive => (0..FEATURES).map(at).map(|(q, k)| (q + k).tanh()).sum(),
                Scoring::Weighted(_) => {
                    (0..FEATURES).map(|c| case.float("weights", c) * (at(c).0 + at(c).1).tanh()).sum()
                }
            }
        };
        let all = (0..ROWS).flat_map(|m| (0..STEPS).map(move |i| (m, i)));
        let expected = all.map(|(m, i)| ("result", (1 + m) * WIDTH + 4 + i, 0.75 * score(m, i)));
        case.check(&expected.collect::<Vec<_>>());
    }
}

#[test]
fn shares_are_a_softmax_over_what_a_row_sees() {
    for (mask, causal) in [(Mask::All, false), (Mask::All, true), (Mask::Live, false), (Mask::Live, true)] {
        let params = Params {
            rows: n(ROWS),
            batch: n(BATCH),
            units: n(WIDTH),
            features: n(STEPS),
            source_0: 1,
            target_0: 2,
            live_0: 2,
            offset: 1,
            ..Params::default()
        };
        // The last row of the batch has no step.
        let is_live = |i: usize, b: usize| b != 2 && (i + b) % 3 != 1;
        let mut live = vec![9; 2];
        live.extend((0..STEPS * BATCH).map(|at| u32::from(is_live(at / BATCH, at % BATCH))));
        let mut bound = vec![("source", Data::Floats(noise(1, (1 + ROWS) * WIDTH)))];
        if mask == Mask::Live {
            bound.push(("live", Data::Indices(live)));
        }
        bound.push(("result", Data::Floats(noise(2, (2 + ROWS) * WIDTH))));
        let program = Program::Attend(Attend::Shares { mask, causal });
        let case = Case { program, params, sides: 1, bound };
        let share = |m: usize, c: usize| {
            let (step, b) = (1 + (2 + m) / BATCH, (2 + m) % BATCH);
            let sees = |i: usize| (mask == Mask::All || is_live(i, b)) && (!causal || i <= step);
            let exp = |i: usize| case.float("source", (1 + m) * WIDTH + i).exp();
            let total: f64 = (0..STEPS).filter(|&i| sees(i)).map(exp).sum();
            if c < STEPS && sees(c) { exp(c) / total } else { 0.0 }
        };
        let all = (0..ROWS).flat_map(|m| (0..WIDTH).map(move |c| (m, c)));
        case.check(&all.map(|(m, c)| ("result", (2 + m) * WIDTH + c, share(m, c))).collect::<Vec<_>>());
    }
}

#[test]
fn blend_adds_rows_by_their_shares() {
    for (transposed, first) in [(false, false), (false, true), (true, false), (true, true)] {
        let params = Params {
            rows: n(ROWS),
            batch: n(BATCH),
            units: n(UNITS),
            features: n(FEATURES),
            source_units: n(WIDTH),
            source_0: 3,
            source_1: 1,
            target_0: 2,
            source_offset: 4,
            steps: n(STEPS),
            scale: 0.5_f32.to_bits(),
            ..Params::default()
        };
        let bound = vec![
            ("shares", Data::Floats(noise(1, (1 + STEPS * BATCH) * WIDTH))),
            ("source", Data::Floats(noise(2, (3 + STEPS * BATCH) * UNITS))),
            ("result", Data::Floats(noise(3, (2 + ROWS) * UNITS))),
        ];
        let program = Program::Attend(Attend::Blend { transposed, first });
        let case = Case { program, params, sides: 1, bound };
        let value = |m: usize, c: usize| {
            let (step, b) = ((2 + m) / BATCH, (2 + m) % BATCH);
            let share = |i: usize| match transposed {
                false => case.float("shares", (1 + m) * WIDTH + 4 + i),
                true => case.float("shares", (1 + i * BATCH + b) * WIDTH + 4 + step),
            };
            let row = |i: usize| case.float("source", (3 + i * BATCH + b) * UNITS + c);
            let sum: f64 = (0..STEPS).map(|i| share(i) * row(i)).sum();
            let old = if first { 0.0 } else { case.float("result", (2 + m) * UNITS + c) };
            if c < FEATURES { 0.5 * sum + old } else { 0.0 }
        };
        let all = (0..ROWS).flat_map(|m| (0..UNITS).map(move |c| (m, c)));
        case.check(&all.map(|(m, c)| ("result", (2 + m) * UNITS + c, value(m, c))).collect::<Vec<_>>());
    }
}

#[test]
fn scores_back_is_the_slope_of_scores_that_are_no_products() {
    let additive = [ScoresBackOf::Query, ScoresBackOf::Key].map(|of| (of, true));
    let plain = [ScoresBackOf::Query, ScoresBackOf::Key, ScoresBackOf::Weight, ScoresBackOf::Given];
    let all = additive.into_iter().chain(plain.map(|of| (of, false)));
    for ((of, weighted), first) in all.flat_map(|case| [false, true].map(|first| (case, first))) {
        let params = Params {
            rows: n(ROWS),
            batch: n(BATCH),
            units: n(UNITS),
            features: n(FEATURES),
            source_units: n(WIDTH),
            source_0: 3,
            source_1: 1,
            kept_0: 5,
            target_0: 2,
            source_offset: 4,
            steps: n(STEPS),
            scale: 0.5_f32.to_bits(),
            ..Params::default()
        };
        let mut bound = Vec::new();
        if weighted {
            bound.push(("weights", Data::Weights(noise(5, UNITS))));
        }
        bound.push(("shares", Data::Floats(noise(1, (1 + STEPS * BATCH) * WIDTH))));
        if of != ScoresBackOf::Given {
            bound.push(("source", Data::Floats(noise(2, (3 + STEPS * BATCH) * UNITS))));
            bound.push(("other", Data::Floats(noise(4, (5 + ROWS) * UNITS))));
        }
        bound.push(("result", Data::Floats(noise(3, (2 + ROWS) * UNITS))));
        let program = Program::Attend(Attend::ScoresBack { of, weighted, first });
        let case = Case { program, params, sides: 1, bound };
        let value = |m: usize, c: usize| {
            let (step, b) = ((2 + m) / BATCH, (2 + m) % BATCH);
            let share = |i: usize| match of {
                ScoresBackOf::Query | ScoresBackOf::Weight => case.float("shares", (1 + m) * WIDTH + 4 + i),
                ScoresBackOf::Key | ScoresBackOf::Given => case.float("shares", (1 + i * BATCH + b) * WIDTH + 4 + step),
            };
            let r = |i: usize| {
                let own = case.float("other", (5 + m) * UNITS + c);
                (own + case.float("source", (3 + i * BATCH + b) * UNITS + c)).tanh()
            };
            let term = |i: usize| match of {
                ScoresBackOf::Query | ScoresBackOf::Key => 1.0 - r(i) * r(i),
                ScoresBackOf::Weight => r(i),
                ScoresBackOf::Given => 1.0,
            };
            let sum: f64 = (0..STEPS).map(|i| share(i) * term(i)).sum();
            let weight = if weighted { case.float("weights", c) } else { 1.0 };
            let old = if first { 0.0 } else { case.float("result", (2 + m) * UNITS + c) };
            if c < FEATURES { 0.5 * weight * sum + old } else { 0.0 }
        };
        let all = (0..ROWS).flat_map(|m| (0..UNITS).map(move |c| (m, c)));
        case.check(&all.map(|(m, c)| ("result", (2 + m) * UNITS + c, value(m, c))).collect::<Vec<_>>());
    }
}
