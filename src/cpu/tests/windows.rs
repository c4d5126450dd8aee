//! Pools of windows, and their backward pass, against the sentences of the catalog.

use super::*;
use crate::kernel::{Across, PoolOp};
use crate::plan::Limits;
use crate::plan::check::check;

const WIDTH: usize = 2 * 48;

fn n(n: usize) -> u32 {
    u32::try_from(n).unwrap()
}

/// Where windows are, and what is bound of them.
#[derive(Clone, Copy)]
struct Along {
    size: i64,
    stride: i64,
    dilation: i64,
    start: i64,
    counted: [i64; 2],
    /// Steps of the sequence, and windows along it.
    time: i64,
    count: i64,
}

impl Along {
    /// The steps that window `window` takes.
    fn steps(self, window: i64) -> Vec<i64> {
        let all = (0..self.size).map(|j| window * self.stride + self.start + j * self.dilation);
        all.filter(|step| (0..self.time).contains(step)).collect()
    }

    /// The first step that window `window` could take.
    fn first(self, window: i64) -> i64 {
        (window * self.stride + self.start).max(0)
    }

    /// What a mean over window `window` is divided by.
    fn divisor(self, window: i64) -> f64 {
        let all = (0..self.size).map(|j| window * self.stride + self.start + j * self.dilation);
        all.filter(|step| (self.counted[0]..self.counted[1]).contains(step)).count().max(1) as f64
    }

    fn params(self, batch: usize, rows: usize) -> Params {
        let word = |n: i64| i32::try_from(n).unwrap().cast_unsigned();
        Params {
            rows: n(rows),
            batch: n(batch),
            directions: 2,
            units: 48,
            features: 41,
            steps: word(self.size),
            time_step_0: word(self.stride),
            time_step_1: word(self.dilation),
            before_0: word(self.start),
            kept_0: word(self.counted[0]),
            kept_1: word(self.counted[1]),
            source_0: 2,
            target_0: 1,
            ..Params::default()
        }
    }
}

const ALONG: [Along; 4] = [
    Along { size: 2, stride: 2, dilation: 1, start: 0, counted: [0, 9], time: 9, count: 4 },
    Along { size: 3, stride: 1, dilation: 2, start: -2, counted: [-2, 11], time: 9, count: 9 },
    Along { size: 3, stride: 2, dilation: 1, start: -1, counted: [0, 8], time: 8, count: 5 },
    // Every third step from the second on.
    Along { size: 1, stride: 3, dilation: 1, start: 1, counted: [0, 9], time: 9, count: 3 },
];

/// Numbers of which many are equal.
fn steps_of_few_values(seed: u32, len: usize) -> Vec<f32> {
    noise(seed, len).into_iter().map(|x| (x * 2.0).round()).collect()
}

/// The element of step or window `at` in the source, if `from` is at row `row`.
fn element(row: u32, (at, from): (i64, u32), batch: usize, b: usize, c: usize) -> usize {
    let at = usize::try_from(at - i64::from(from)).unwrap();
    (row as usize + at * batch + b) * WIDTH + c
}

/// Each program along each sequence. A mask is of all steps, and a sum has none.
fn programs() -> impl Iterator<Item = (PoolOp, Mask, Along)> {
    let masks = |op| if op == PoolOp::Sum { &[Mask::All][..] } else { &[Mask::All, Mask::Live] };
    let all = PoolOp::ALL.into_iter().flat_map(move |op| masks(op).iter().map(move |&mask| (op, mask)));
    all.flat_map(|(op, mask)| {
        ALONG.map(|along| {
            (op, mask, if mask == Mask::All { along } else { Along { counted: [0, along.time], ..along } })
        })
    })
}

impl Case {
    /// Whether row `b` of a batch of five has step `step`.
    fn has_step(&self, step: i64, b: usize) -> bool {
        !self.has("live")
            || self.index("live", self.params.live_0 as usize + usize::try_from(step).unwrap() * 5 + b) != 0
    }

    /// The steps that window `window` takes of row `b`.
    fn taken(&self, along: Along, window: i64, b: usize) -> Vec<i64> {
        along.steps(window).into_iter().filter(|&step| self.has_step(step, b)).collect()
    }

    /// What a mean over window `window` of row `b` is divided by.
    fn divisor(&self, along: Along, window: i64, b: usize) -> f64 {
        if self.has("live") { self.taken(along, window, b).len().max(1) as f64 } else { along.divisor(window) }
    }
}

/// The steps that rows have, from step 0 on.
fn live(mask: Mask, along: Along) -> Option<(&'static str, Data)> {
    (mask == Mask::Live).then(|| ("live", Data::Indices(self::mask(2 + usize::try_from(along.time).unwrap() * 5))))
}

fn pool_case(op: PoolOp, mask: Mask, along: Along) -> Case {
    // Nothing before the second window is bound.
    let (batch, windows) = (5, usize::try_from(along.count - 1).unwrap());
    let first = along.first(1);
    let rows = windows * batch - 2;
    let steps = usize::try_from(along.time - first).unwrap();
    let params = Params {
        offset: n(batch + 1),
        gates_0: n(usize::try_from(first).unwrap()),
        count: n(usize::try_from(along.time).unwrap()),
        live_0: 2,
        ..along.params(batch, rows)
    };
    let mut source = steps_of_few_values(1, (2 + steps * batch) * WIDTH);
    source[2 * WIDTH + 7] = f32::NAN;
    let mut bound = vec![("source", Data::Floats(source)), ("result", Data::Floats(noise(2, (1 + rows) * WIDTH)))];
    bound.extend(live(mask, along));
    Case { program: Program::Across(Across::WindowPool(op, mask)), params, sides: 1, bound }
}

#[test]
fn a_pool_gives_what_the_steps_of_each_window_come_to() {
    for (op, mask, along) in programs() {
        let case = pool_case(op, mask, along);
        let (p, batch) = (case.params, case.params.batch as usize);
        let mut expected = Vec::new();
        for (m, c) in (0..p.rows as usize).flat_map(|m| (0..WIDTH).map(move |c| (m, c))) {
            let row = p.offset as usize + m;
            let (window, b) = ((row / batch) as i64, row % batch);
            let x = |step: i64| case.float("source", element(p.source_0, (step, p.gates_0), batch, b, c));
            let all: Vec<f64> = case.taken(along, window, b).into_iter().map(x).collect();
            let sum: f64 = all.iter().sum();
            let extreme = |wins: fn(f64, f64) -> bool| {
                let next = |a: f64, b: f64| {
                    if a.is_nan() || b.is_nan() {
                        f64::NAN
                    } else if wins(b, a) {
                        b
                    } else {
                        a
                    }
                };
                all.iter().copied().reduce(next).unwrap_or(0.0)
            };
            let value = match op {
                PoolOp::Sum => sum,
                PoolOp::Mean => sum / case.divisor(along, window, b),
                PoolOp::Max => extreme(|b, a| b > a),
                PoolOp::Min => extreme(|b, a| b < a),
            };
            expected.push(("result", (1 + m) * WIDTH + c, value));
        }
        case.check(&expected);
    }
}

fn back_case(op: PoolOp, mask: Mask, along: Along) -> Case {
    // All steps but the first two, and with them all windows but perhaps the first.
    let (batch, from) = (5, 2_i64);
    let window = (0..along.count).find(|&w| along.steps(w).iter().any(|&step| step >= from)).unwrap();
    let seen = along.first(window).min(from);
    let rows = usize::try_from(along.time - from).unwrap() * batch;
    let size = |n: i64| usize::try_from(n).unwrap();
    let params = Params {
        offset: n(size(from) * batch),
        gates_0: n(size(seen)),
        source_1: 3,
        gates_1: n(size(window)),
        count: n(size(along.count)),
        live_0: 2,
        ..along.params(batch, rows)
    };
    let of_windows = (3 + size(along.count - window) * batch) * WIDTH;
    let mut bound = vec![
        ("source", Data::Floats(steps_of_few_values(1, (2 + size(along.time - seen) * batch) * WIDTH))),
        ("other", Data::Floats(steps_of_few_values(2, of_windows))),
    ];
    bound.extend(live(mask, along));
    bound.extend([
        ("delta", Data::Floats(noise(3, of_windows))),
        ("result", Data::Floats(noise(4, (1 + rows) * WIDTH))),
    ]);
    Case { program: Program::Across(Across::WindowBack(op, mask)), params, sides: 1, bound }
}

#[test]
fn each_step_takes_what_its_windows_hand_on() {
    for (op, mask, along) in programs() {
        let case = back_case(op, mask, along);
        let (p, batch) = (case.params, case.params.batch as usize);
        let mut expected = Vec::new();
        for (m, c) in (0..p.rows as usize).flat_map(|m| (0..WIDTH).map(move |c| (m, c))) {
            let row = p.offset as usize + m;
            let (step, b) = ((row / batch) as i64, row % batch);
            let x = |step: i64| case.float("source", element(p.source_0, (step, p.gates_0), batch, b, c));
            let mut sum = 0.0;
            for window in (0..along.count).filter(|&window| case.taken(along, window, b).contains(&step)) {
                let at = element(p.source_1, (window, p.gates_1), batch, b, c);
                let (y, d) = (case.float("other", at), case.float("delta", at));
                sum += match op {
                    PoolOp::Sum => d,
                    PoolOp::Mean => d / case.divisor(along, window, b),
                    PoolOp::Max | PoolOp::Min => {
                        let first = case.taken(along, window, b).into_iter().find(|&step| x(step) == y);
                        if first == Some(step) { d } else { 0.0 }
                    }
                };
            }
            expected.push(("result", (1 + m) * WIDTH + c, sum));
        }
        case.check(&expected);
    }
}

#[test]
fn steps_that_are_not_bound_are_refused() {
    let verdict = |case: &Case| check(&case.plan().0, &Limits::WEBGPU);
    let along = || Along { counted: [0, 9], ..ALONG[1] };
    let cases: [&dyn Fn() -> Case; 2] =
        [&|| pool_case(PoolOp::Max, Mask::Live, along()), &|| back_case(PoolOp::Mean, Mask::Live, along())];
    let faults: [fn(&mut Params); 9] = [
        |p| p.live_0 += 1,
        |p| p.rows += 1,
        |p| p.source_0 += 1,
        |p| p.target_0 += 1,
        |p| p.gates_0 += 1,
        |p| p.count += 5,
        |p| p.steps = 0,
        |p| p.time_step_0 = 0,
        |p| p.batch = 0,
    ];
    for (of, case) in cases.into_iter().enumerate() {
        assert_eq!(verdict(&case()), Ok(()), "case {of}");
        for (number, fault) in faults.into_iter().enumerate() {
            let mut wrong = case();
            fault(&mut wrong.params);
            assert!(verdict(&wrong).is_err(), "case {of}, fault {number}");
        }
    }
}
