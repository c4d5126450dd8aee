//! The training kernels without cells, on an adapter and on the CPU: plans written out here, compared slot by slot.

use std::sync::Arc;

use gatewave::inspect::kernel::{
    Gemm, Join, JoinOp, Loads, Mask, Matrix, Medium, Outer, Params, Program, RowLoss, RowTargets, Tile, Training,
};
use gatewave::inspect::plan::{Dispatch, Feed, Plan, Shape, Slot, SlotKind, Window, Write};
use gatewave::layer::Constant;
use gatewave::{Activation, Device, Input, Linear, Model, Precision, Weights};
use ndarray::Array2;

use crate::support::devices::adapter;
use crate::support::executor::engine;
use crate::support::noise::noise;

const TIME: usize = 7;
const BATCH: usize = 3;
const ROWS: usize = TIME * BATCH;
/// Columns of the input.
const INPUT: usize = 544;
/// The number of features of a row of two parts, of which some in each are used.
const WIDTH: usize = 64;
const FEATURES: usize = 27;

const IN: usize = 0;
const LIVE: usize = 1;
const STARTS: usize = 2;

fn word(n: usize) -> u32 {
    u32::try_from(n).expect("a small number")
}

/// A plan that grows by dispatches, each with a slot of its own to write.
struct Growing(Plan);

impl Growing {
    fn new() -> Self {
        let mut plan = Self(Plan {
            title: "training".to_owned(),
            shape: Shape::new(TIME, BATCH, Mask::Live),
            slots: vec![],
            programs: vec![],
            params: vec![],
            writes: vec![],
            steps: vec![],
            reads: vec![],
        });
        plan.slot("input", TIME * BATCH * INPUT, SlotKind::Input);
        plan.slot("live", ROWS, SlotKind::Index);
        plan.slot("starts", ROWS, SlotKind::Index);
        for (slot, feed) in [(IN, Feed::Features), (LIVE, Feed::Live(0)), (STARTS, Feed::Live(0))] {
            let bytes = plan.0.slots[slot].bytes;
            plan.0.writes.push(Write { feed, slot, offset: 0, bytes });
        }
        plan
    }

    fn slot(&mut self, name: &str, len: usize, kind: SlotKind) -> usize {
        self.0.slots.push(Slot { name: name.to_owned(), dims: vec![len], bytes: 4 * len as u64, kind });
        self.0.slots.len() - 1
    }

    fn scratch(&mut self, name: &str, len: usize) -> usize {
        self.slot(name, len, SlotKind::Scratch)
    }

    fn dispatch(&mut self, program: Program, params: Params, grid: [usize; 3], bound: &[usize]) {
        let window = |&slot: &usize| Window { slot, offset: 0, bytes: self.0.slots[slot].bytes };
        let windows = bound.iter().map(window).collect();
        let (number, grid) = (self.0.steps.len(), grid.map(word));
        self.0.programs.push(program);
        self.0.params.push(params);
        self.0.steps.push(Dispatch { program: number, params: number, grid, windows });
    }

    /// Adds a slot of `rows` rows with columns of the input from `first` on.
    fn columns(&mut self, name: &str, first: usize, width: usize) -> usize {
        let slot = self.scratch(name, ROWS * width);
        let join = Join { combine: JoinOp::Set, first: true, broadcast: false };
        let params = Params {
            rows: word(ROWS),
            batch: word(BATCH),
            directions: 1,
            units: word(width),
            features: word(width),
            source_directions: 1,
            source_units: word(INPUT),
            source_features: word(INPUT),
            source_offset: word(first),
            count: word(width),
            scale: 1.0_f32.to_bits(),
            ..Params::default()
        };
        self.dispatch(Program::Join(join), params, [1, ROWS, 1], &[IN, slot]);
        slot
    }
}

/// Every loss, with and without each option.
fn losses() -> Vec<RowLoss> {
    let some = [0.0, 0.1].map(Constant::new);
    let mut losses = vec![RowLoss::Squared, RowLoss::Absolute, RowLoss::SumOfSquares];
    losses.push(RowLoss::Huber { delta: Constant::new(0.4) });
    losses.extend(some.map(|smoothing| RowLoss::BinaryCrossEntropy { smoothing }));
    for weighted in [false, true] {
        losses.extend(some.map(|smoothing| RowLoss::CrossEntropy { smoothing, weighted }));
    }
    losses
}

fn plan() -> Plan {
    let mut plan = Growing::new();
    let [a, b, delta] = [("a", 0, WIDTH), ("b", WIDTH, WIDTH), ("delta", 2 * WIDTH, 3 * WIDTH)]
        .map(|(name, first, width)| plan.columns(name, first, width));

    // A matrix of three panels of four gates and 32 rows of two parts; then its transpose.
    let outer = plan.scratch("outer", 3 * 34 * 64);
    let transposed = plan.scratch("transposed", 2 * 193 * 16);
    let all = Params { rows: word(ROWS), units: 192, panels: 3, depth: 32, ..Params::default() };
    plan.dispatch(
        Program::Training(Training::Zero),
        Params { rows: 3 * 34, units: 64, ..Params::default() },
        [1, 3 * 34, 1],
        &[outer],
    );
    for (first, start, rows) in [(true, 0, 10), (false, 10, 11)] {
        let params = Params {
            rows,
            source_0: start,
            target_0: start,
            source_units: word(WIDTH),
            source_offset: 16,
            source_directions: 2,
            features: 11,
            count: 41,
            ..all
        };
        let (loads, medium) = (Loads::Lane, Medium::Buffer);
        let program = Training::Outer(Outer { gates: 4, after: 2, first, per_gate: false, loads, medium });
        plan.dispatch(Program::Training(program), params, [3, 3, 1], &[a, delta, outer]);
    }
    let program = Training::Transpose { gates: 4, after: 2, per_gate: false };
    plan.dispatch(Program::Training(program), all, [13, 2, 1], &[outer, transposed]);

    // Some columns times a matrix, and then others added.
    let product = plan.scratch("product", ROWS * 32);
    for (add, source_offset) in [(false, 0), (true, 32)] {
        let params = Params {
            rows: word(ROWS),
            depth: 32,
            units: 32,
            panels: 2,
            source_units: word(WIDTH),
            source_offset,
            ..Params::default()
        };
        let matrix = Matrix::buffer(Precision::F32);
        let (activation, tile) = (Activation::Linear, Tile::NONE);
        let product_of = Gemm { cell: None, gates: 1, after: 1, activation, matrix, tile, add, per_gate: false };
        plan.dispatch(Program::Gemm(product_of), params, [2, ROWS, 1], &[b, a, product]);
    }

    let rows = Params {
        rows: word(ROWS),
        batch: word(BATCH),
        steps: word(TIME),
        directions: 2,
        units: word(WIDTH / 2),
        features: word(FEATURES),
        ..Params::default()
    };
    for (name, log) in [("softmax", false), ("log_softmax", true)] {
        let [forward, back] = [name, &format!("back through {name}")].map(|name| plan.scratch(name, ROWS * WIDTH));
        plan.dispatch(Program::Softmax { log }, rows, [1, ROWS, 1], &[a, forward]);
        plan.dispatch(Program::Training(Training::SoftmaxBack { log }), rows, [1, ROWS, 1], &[forward, b, back]);
    }
    let (other, maximum) = (plan.columns("other", 6, WIDTH), plan.scratch("maximum", ROWS * WIDTH));
    plan.dispatch(Program::Training(Training::MaximumBack), rows, [1, ROWS, 1], &[a, b, maximum, other]);
    let sums = plan.scratch("sums", BATCH * WIDTH);
    for first in [true, false] {
        plan.dispatch(Program::Training(Training::SumSteps { first }), rows, [1, BATCH, 1], &[a, sums]);
    }
    // Rows that are not of a dead step, like those of the input. The row
    // at place 0 is that of the token whose start is 0 and whose end is 1.
    let scattered = plan.scratch("scattered", (ROWS - 1) * WIDTH);
    for first in [true, false] {
        let params =
            Params { rows: word(ROWS), units: word(WIDTH), tokens: word(ROWS - 1), count: 1, ..Params::default() };
        let bound = [transposed, LIVE, STARTS, scattered];
        plan.dispatch(Program::Training(Training::Scatter { first }), params, [1, ROWS - 1, 1], &bound);
    }
    for (i, loss) in losses().into_iter().enumerate() {
        let result = plan.scratch(&format!("result of loss {i}"), ROWS * WIDTH);
        let lost = plan.scratch(&format!("loss {i}"), ROWS);
        let mut bound = vec![a];
        match loss.targets() {
            RowTargets::Classes => bound.push(LIVE),
            RowTargets::Values => bound.push(b),
            RowTargets::None => {}
        }
        // Some of it is 0: a row that does not count.
        bound.push(transposed);
        if matches!(loss, RowLoss::CrossEntropy { weighted: true, .. }) {
            bound.push(outer);
        }
        bound.extend([result, lost]);
        plan.dispatch(Program::Training(Training::Loss(loss)), rows, [1, ROWS, 1], &bound);
    }
    plan.0
}

#[test]
fn kernels_of_training_give_what_they_give_on_the_cpu() {
    let model = Model::new().layer(Linear::new(INPUT, 16));
    let weights = Weights::random(&model, 0).expect("the model is right");
    // The first two steps are dead: tokens, places and classes are 0 there, and then 1.
    let mask = Array2::from_shape_fn((BATCH, TIME), |(_, t)| t > 1);
    let input = Input::features(noise(&[BATCH, TIME, INPUT], 1)).mask(mask);
    let plan = Arc::new(plan());
    let [cpu, gpu] = [Device::Cpu, adapter()].map(|device| {
        let engine = engine(&device, Precision::F32, &model, &weights).expect("the engine opens");
        engine.trace_plan(&plan, &input).expect("the plan runs")
    });
    assert_eq!(cpu.len(), gpu.len());
    for ((name, want), (_, got)) in cpu.iter().zip(&gpu) {
        assert!(want.iter().any(|&x| x != 0.0 && !x.is_nan()), "{name} is nothing");
        for (i, (want, got)) in want.iter().zip(got).enumerate() {
            let close = (want - got).abs() <= 2e-6 + 1e-5 * want.abs();
            assert!(close || want.is_nan() && got.is_nan(), "{name}[{i}]: expected {want}, got {got}");
        }
    }
}
