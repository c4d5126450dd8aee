//! The kernels that handle the directions of a sequence, on plans written out here. `mask_outputs`,
//! `merge` and `join` move and combine numbers, so that every result is known exactly.

use std::sync::Arc;

use gatewave::inspect::kernel::{Combine, Join, JoinOp, Kernel, Mask, Params, Program};
use gatewave::inspect::plan::{Dispatch, Feed, Plan, Shape, Slot, SlotKind, Window, Write};
use gatewave::{Input, Linear, Model, Precision, Weights};
use ndarray::{Array2, ArrayD};

use crate::support::devices::adapter;
use crate::support::executor::engine;
use crate::support::noise::noise;

const TIME: usize = 7;
const BATCH: usize = 3;
/// More than a workgroup has: 68 fours.
const UNITS: usize = 272;
const ROWS: usize = TIME * BATCH;
/// The rows that are computed: all but those of the first and the last step.
const INNER: usize = ROWS - 2 * BATCH;

fn word(n: usize) -> u32 {
    u32::try_from(n).expect("a small number")
}

/// The windows of one dispatch on slots that are bound in full.
fn windows(slots: &[Slot], bound: &[usize]) -> Vec<Window> {
    bound.iter().map(|&slot| Window { slot, offset: 0, bytes: slots[slot].bytes }).collect()
}

/// A plan of one dispatch of `program` that reads the inner rows of an input of two
/// directions, with a mask if it takes one. The first row of the target stays unchanged.
fn plan(program: Program, directions: usize, params: Params) -> Arc<Plan> {
    let slot = |name: &str, dims: [usize; 3], kind| Slot {
        name: name.to_owned(),
        dims: dims.to_vec(),
        bytes: 4 * dims.iter().product::<usize>() as u64,
        kind,
    };
    let slots = vec![
        slot("input", [TIME, BATCH, 2 * UNITS], SlotKind::Input),
        slot("live", [1, TIME, BATCH], SlotKind::Index),
        slot("result", [1, ROWS, directions * UNITS], SlotKind::Output),
    ];
    let write = |feed, slot: usize| Write { feed, slot, offset: 0, bytes: slots[slot].bytes };
    let masked = program.kernel() == Kernel::MaskOutputs;
    let bound: &[usize] = if masked { &[0, 1, 2] } else { &[0, 2] };
    let feeds = [(Feed::Features, 0), (Feed::Live(0), 1)];
    let grid = [2, word(INNER), word(directions)];
    Arc::new(Plan {
        title: program.kernel().name().to_owned(),
        shape: Shape::new(TIME, BATCH, if masked { Mask::Live } else { Mask::All }),
        writes: feeds.into_iter().take(bound.len() - 1).map(|(feed, slot)| write(feed, slot)).collect(),
        steps: vec![Dispatch { program: 0, params: 0, grid, windows: windows(&slots, bound) }],
        slots,
        programs: vec![program],
        params: vec![Params {
            rows: word(INNER),
            batch: word(BATCH),
            units: word(UNITS),
            source_0: word(BATCH),
            target_0: 1,
            ..params
        }],
        reads: Vec::new(),
    })
}

fn live(batch: usize, time: usize) -> bool {
    (3 * batch + 2 * time) % 4 != 1
}

/// Returns the result of `plan`, row by row, and the input, `[B, T, 2 · UNITS]`.
fn run(plan: &Arc<Plan>) -> (Vec<Vec<f32>>, ArrayD<f32>) {
    let model = Model::new().layer(Linear::new(2 * UNITS, 16));
    let weights = Weights::random(&model, 0).expect("the model is right");
    let x = noise(&[BATCH, TIME, 2 * UNITS], 1);
    let mut input = Input::features(x.clone());
    if plan.shape.mask == Mask::Live {
        input = input.mask(Array2::from_shape_fn((BATCH, TIME), |(b, t)| live(b, t)));
    }
    let engine = engine(&adapter(), Precision::F32, &model, &weights).expect("the engine opens");
    let slots = engine.trace_plan(plan, &input).expect("the plan runs");
    let (_, result) = slots.into_iter().find(|(name, _)| name == "result").expect("it is traced");
    let rows = result.chunks_exact(result.len() / ROWS).map(<[f32]>::to_vec).collect();
    (rows, x)
}

#[test]
fn a_blank_goes_by_the_mask_of_each_direction() {
    // The mask of the step before, and that of the step after.
    let params = Params { directions: 2, live_0: 0, live_1: word(2 * BATCH), ..Params::default() };
    let (rows, x) = run(&plan(Program::MaskOutputs, 2, params));
    assert!(rows[0].iter().chain(&rows[INNER + 1]).all(|x| x.is_nan()), "rows that are nobody's");
    let mut masked = [0; 2];
    for m in 0..INNER {
        let (t, b) = (1 + m / BATCH, m % BATCH);
        for (direction, masked) in masked.iter_mut().enumerate() {
            let kept = live(b, t - 1 + 2 * direction);
            *masked += usize::from(!kept && live(b, t));
            for c in direction * UNITS..(direction + 1) * UNITS {
                // The host writes zeros at dead steps.
                let want = if kept && live(b, t) { x[[b, t, c]] } else { 0.0 };
                assert_eq!(rows[1 + m][c], want, "step {t}, row {b}, feature {c}");
            }
        }
    }
    assert!(masked.iter().all(|&count| count > 1 && count < INNER - 1), "{masked:?}");
}

type Formula = fn(f32, f32) -> f32;

#[test]
fn a_merge_combines_the_two_directions_of_each_row() {
    let combinations: [(Combine, Formula); 3] =
        [(Combine::Sum, |a, b| a + b), (Combine::Average, |a, b| 0.5 * (a + b)), (Combine::Product, |a, b| a * b)];
    for (combine, want) in combinations {
        let params = Params { directions: 1, ..Params::default() };
        let (rows, x) = run(&plan(Program::Merge(combine), 1, params));
        assert!(rows[0].iter().chain(&rows[INNER + 1]).all(|x| x.is_nan()), "rows that are nobody's");
        for m in 0..INNER {
            let (t, b) = (1 + m / BATCH, m % BATCH);
            for c in 0..UNITS {
                let want = want(x[[b, t, c]], x[[b, t, UNITS + c]]);
                assert_eq!(rows[1 + m][c], want, "{combine:?}: step {t}, row {b}, feature {c}");
            }
        }
    }
}

#[test]
fn a_join_sets_features_and_then_combines_others_with_them() {
    const FEATURES: usize = 269;
    const SOURCE_FEATURES: usize = 267;
    // Each copies some features from a first one on to another place, across parts of both.
    let [set, combined] = [[400, 20, 5], [300, 111, 100]];
    let params = |[count, source_offset, offset]: [usize; 3], scale: f32| Params {
        directions: 2,
        features: word(FEATURES),
        source_directions: 2,
        source_units: word(UNITS),
        source_features: word(SOURCE_FEATURES),
        source_offset: word(source_offset),
        offset: word(offset),
        count: word(count),
        scale: scale.to_bits(),
        ..Params::default()
    };
    let operations: [(JoinOp, Formula); 5] = [
        (JoinOp::Set, |_, b| b),
        (JoinOp::Add, |a, b| a + b),
        (JoinOp::Subtract, |a, b| a - b),
        (JoinOp::Multiply, |a, b| a * b),
        (JoinOp::Maximum, f32::max),
    ];
    for (combine, want) in operations {
        let first = Join { combine: JoinOp::Set, first: true, broadcast: false };
        let mut joins = Arc::unwrap_or_clone(plan(Program::Join(first), 2, params(set, 1.0)));
        joins.steps[0].grid = [word((2 * UNITS / 4).div_ceil(64)), word(INNER), 1];
        let Params { count, source_offset, offset, scale, .. } = params(combined, 0.5);
        joins.params.push(Params { count, source_offset, offset, scale, ..joins.params[0] });
        joins.programs.push(Program::Join(Join { combine, first: false, broadcast: true }));
        joins.steps.push(Dispatch { program: 1, params: 1, ..joins.steps[0].clone() });
        let (rows, x) = run(&Arc::new(joins));
        assert!(rows[0].iter().chain(&rows[INNER + 1]).all(|x| x.is_nan()), "rows that are nobody's");
        for m in 0..INNER {
            let taken = |[count, source_offset, offset]: [usize; 3], row: usize, feature: usize| {
                let e = feature.checked_sub(offset).filter(|&e| e < count)? + source_offset;
                Some(x[[row % BATCH, row / BATCH, e / SOURCE_FEATURES * UNITS + e % SOURCE_FEATURES]])
            };
            for (c, &got) in rows[1 + m].iter().enumerate().take(2 * UNITS) {
                let feature = Some(c % UNITS).filter(|&i| i < FEATURES).map(|i| c / UNITS * FEATURES + i);
                let old = feature.and_then(|f| taken(set, BATCH + m, f)).unwrap_or(0.0);
                let other = feature.and_then(|f| taken(combined, BATCH + (1 + m) % BATCH, f));
                let want = other.map_or(old, |other| want(old, other) * 0.5);
                assert_eq!(got, want, "{combine:?}: row {m}, column {c}");
            }
        }
    }
}
