//! The directions of layers through time, in plans alone: which step each dispatch computes from
//! which rows, and what is masked and merged. For every cell, direction, merge, padding and mask.

use std::collections::BTreeSet;

use gatewave::inspect::kernel::{Combine, Kernel, Mask, Params, Program};
use gatewave::inspect::layout::Layout;
use gatewave::inspect::plan::check::covers;
use gatewave::inspect::plan::lower::lower;
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Dispatch, Feed, Limits, Plan, Shape, Window};
use gatewave::layer::{Cell, Direction, Dropout, Merge, Padding, Recurrent, Reset};
use gatewave::{Activation, Embedding, Error, Gru, Linear, Lstm, Model, OneHot, Precision, Rnn, Select, Strategy};

use crate::support::plans::Outcomes;

const DIRECTIONS: [Direction; 4] = [Direction::Forward, Direction::Reverse, Direction::Backwards, Direction::Both];

/// A device with such small limits that time and directions are cut.
const NARROW: Limits = Limits { binding_bytes: 16 << 10, ..Limits::WEBGPU };

fn try_plan(
    model: &Model,
    shape: (usize, usize, Mask),
    limits: &Limits,
    tuning: impl Into<Tuning>,
) -> Result<Plan, Error> {
    let tuning = tuning.into();
    let layout = Layout::of(model, Precision::F32).expect("the model is right").with_medium(tuning.medium());
    let (time, batch, mask) = shape;
    lower(model, &layout, Shape::new(time, batch, mask), limits, &tuning)
}

/// The choices of a software GPU, with this strategy.
fn by(strategy: Strategy) -> Tuning {
    Tuning::of(Target::Software).with_strategy(Some(strategy))
}

fn plan(model: &Model, shape: (usize, usize, Mask)) -> Plan {
    try_plan(model, shape, &Limits::WEBGPU, by(Strategy::Step)).expect("the plan fits")
}

fn parts<'a>(plan: &'a Plan, step: &Dispatch) -> (&'a Program, &'a Params) {
    (&plan.programs[step.program], &plan.params[step.params])
}

fn kernels(plan: &Plan) -> Vec<Kernel> {
    plan.steps.iter().map(|step| plan.programs[step.program].kernel()).filter(|kernel| !kernel.is_step()).collect()
}

fn count(plan: &Plan, kernel: Kernel) -> usize {
    plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == kernel).count()
}

/// Returns the pairs of params for direction `z` of a dispatch: source, target, gates, live.
fn pairs(p: &Params, z: u32) -> [usize; 4] {
    let pairs = match z {
        0 => [p.source_0, p.target_0, p.gates_0, p.live_0],
        _ => [p.source_1, p.target_1, p.gates_1, p.live_1],
    };
    pairs.map(|row| row as usize)
}

/// Returns the row of its slot at which a window starts.
fn first_row(plan: &Plan, window: Window) -> usize {
    let row: usize = plan.slots[window.slot].dims[1..].iter().product();
    usize::try_from(window.offset).expect("a small plan") / (4 * row)
}

/// One step of one direction: which step of the input, and from and to which row of the hidden state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Walked {
    step: usize,
    source: usize,
    target: usize,
}

/// Returns the walk of each direction in the plan of a model of one layer on features.
fn walks(plan: &Plan) -> [Vec<Walked>; 2] {
    let batch = plan.shape.batch;
    let mut steps_of_gates = vec![usize::MAX; 2 * plan.shape.time];
    let mut walks = [Vec::new(), Vec::new()];
    for step in &plan.steps {
        let (program, p) = parts(plan, step);
        for z in 0..step.grid[2] {
            let [source, target, gates, live] = pairs(p, z);
            match program.kernel() {
                Kernel::Gemm => {
                    let first = first_row(plan, step.windows[1]);
                    for row in 0..p.rows as usize / batch {
                        steps_of_gates[target / batch + row] = first + source / batch + row;
                    }
                }
                Kernel::Step | Kernel::Scan => {
                    let hidden = step.windows[if program.mask() == Mask::Live { 3 } else { 2 }];
                    let first = first_row(plan, hidden);
                    let [hidden_step, time_step] = match z {
                        0 => [p.hidden_step_0, p.time_step_0],
                        _ => [p.hidden_step_1, p.time_step_1],
                    };
                    let word = |n: usize| u32::try_from(n).expect("a small plan");
                    let after = |row, n, step: u32| word(row).wrapping_add(step.wrapping_mul(word(n))) as usize;
                    for n in 0..p.steps.max(1) as usize {
                        let step = steps_of_gates[after(gates, n, time_step)];
                        assert!(program.mask() == Mask::All || after(live, n, time_step) == step, "{plan}");
                        let target = after(target, n, hidden_step);
                        let source = if n == 0 { source } else { after(target, 1, hidden_step.wrapping_neg()) };
                        let walked = Walked { step, source: first + source, target: first + target };
                        walks[(p.direction + z) as usize].push(walked);
                    }
                }
                _ => {}
            }
        }
    }
    walks
}

#[test]
fn each_step_reads_the_row_that_the_one_before_it_wrote() {
    // A device with a low loop limit, so that a scan takes only some steps of a chunk at a time.
    let mistrusted = Limits { loop_iterations: 200, ..Limits::WEBGPU };
    let sizes = [(1, Limits::WEBGPU), (7, Limits::WEBGPU), (50, NARROW), (203, NARROW), (60, mistrusted)];
    for (direction, strategy) in DIRECTIONS.into_iter().flat_map(|d| [(d, Strategy::Step), (d, Strategy::Scan)]) {
        for (time, limits) in sizes {
            for mask in [Mask::All, Mask::Live] {
                let model = Model::new().layer(Gru::new(8, 16).direction(direction));
                let plan = try_plan(&model, (time, 2, mask), &limits, by(strategy)).expect("it fits");
                let scans = count(&plan, Kernel::Scan);
                assert_eq!(scans == 0, strategy == Strategy::Step, "{plan}");
                assert!(scans <= time.div_ceil(4), "{plan}");
                let initial: Vec<_> = initial_rows(&plan);
                assert_eq!(initial.len(), if direction == Direction::Both { 2 } else { 1 });
                for (d, (walk, initial)) in walks(&plan).iter().zip(initial).enumerate() {
                    let text = format!("{direction:?} {d} T {time} {mask:?} by {strategy}");
                    let steps: Vec<_> = walk.iter().map(|walked| walked.step).collect();
                    let up = direction == Direction::Forward || direction == Direction::Both && d == 0;
                    let expected: Vec<_> = if up { (0..time).collect() } else { (0..time).rev().collect() };
                    assert_eq!(steps, expected, "{text}");
                    assert_eq!(walk[0].source, initial, "{text}");
                    assert!(walk.windows(2).all(|pair| pair[1].source == pair[0].target), "{text}");
                }
            }
        }
    }
}

/// The rows of the hidden state that the host writes.
fn initial_rows(plan: &Plan) -> Vec<usize> {
    let states = plan.writes.iter().filter(|write| matches!(write.feed, Feed::Hidden { .. }));
    states.map(|write| first_row(plan, Window { slot: write.slot, offset: write.offset, bytes: write.bytes })).collect()
}

#[test]
fn outputs_stand_at_their_steps_and_only_backwards_in_the_order_of_the_walk() {
    for direction in DIRECTIONS {
        let model = Model::new().layer(Gru::new(8, 16).direction(direction));
        let plan = plan(&model, (5, 2, Mask::All));
        let output = plan.reads.last().expect("the output is read last");
        let first = first_row(&plan, Window { slot: output.slot, offset: output.offset, bytes: output.bytes });
        for (d, walk) in walks(&plan).iter().enumerate() {
            for walked in walk {
                let stands = walked.target - first;
                let expected = if direction == Direction::Backwards { 4 - walked.step } else { walked.step };
                assert_eq!(stands, expected, "{direction:?} direction {d}");
            }
        }
    }
}

#[test]
fn directions_of_different_functions_share_the_product_and_no_step() {
    let mut stack = Gru::new(8, 16).bidirectional();
    let alike = plan(&Model::new().layer(stack.clone()), (6, 2, Mask::All));
    stack.functions[1].g = Activation::Relu;
    let apart = plan(&Model::new().layer(stack), (6, 2, Mask::All));
    assert_eq!((count(&alike, Kernel::Gemm), count(&alike, Kernel::Step)), (1, 6));
    assert_eq!((count(&apart, Kernel::Gemm), count(&apart, Kernel::Step)), (1, 12));
    assert_eq!(walks(&alike), walks(&apart));
    for step in apart.steps.iter().filter(|step| parts(&apart, step).0.kernel() == Kernel::Step) {
        let (program, p) = parts(&apart, step);
        let expected = if p.direction == 0 { Activation::Tanh } else { Activation::Relu };
        assert_eq!((program.cell().expect("a step has a cell").1.functions.g, step.grid[2]), (expected, 1));
    }
}

/// Returns the kernels besides the steps that a masked stack of two layers needs before `rest`.
fn beside(direction: Direction, merge: Merge, padding: Padding, rest: &[Select]) -> Vec<Kernel> {
    let stack = Rnn::new(8, 16).num_layers(2).direction(direction).merge(merge).padding(padding);
    let model = rest.iter().fold(Model::new().layer(stack), |model, select| model.layer(*select));
    kernels(&plan(&model, (4, 2, Mask::Live)))
}

#[test]
fn padding_is_blanked_where_something_sees_it() {
    use Kernel::{FinalState, Gemm, MaskOutputs, Merge as Merged};
    for padding in [Padding::Zero, Padding::Held] {
        let of = |direction, merge, rest: &[Select]| beside(direction, merge, padding, rest);
        // A cell sees no dead output of the layer below, except that
        // of a backwards one, whose outputs are not at their steps.
        assert_eq!(of(Direction::Forward, Merge::Concat, &[]), [Gemm, Gemm, MaskOutputs]);
        assert_eq!(of(Direction::Reverse, Merge::Concat, &[]), [Gemm, Gemm, MaskOutputs]);
        assert_eq!(of(Direction::Backwards, Merge::Concat, &[]), [Gemm, MaskOutputs, Gemm, MaskOutputs]);
        assert_eq!(of(Direction::Both, Merge::Concat, &[]), [Gemm, Gemm, MaskOutputs]);
        // Each direction is padded before they are merged.
        assert_eq!(of(Direction::Both, Merge::Sum, &[]), [Gemm, Merged, Gemm, MaskOutputs, Merged]);
        // The sequence before a selection of final states is not seen.
        let last = [Select::LastOutput];
        assert_eq!(of(Direction::Both, Merge::Sum, &last), [Gemm, Merged, Gemm, FinalState, MaskOutputs, Merged]);
        assert_eq!(of(Direction::Both, Merge::Sum, &[Select::FinalHidden]), [Gemm, Merged, Gemm, FinalState]);
        assert_eq!(
            of(Direction::Forward, Merge::Sum, &[Select::AllSteps, Select::LastOutput]),
            [Gemm, Gemm, MaskOutputs]
        );
    }
}

#[test]
fn a_last_output_is_a_final_state_where_nothing_is_masked() {
    let of = |stack: Recurrent| kernels(&plan(&Model::new().layer(stack).layer(Select::LastOutput), (4, 2, Mask::All)));
    assert_eq!(of(Lstm::new(8, 16)), [Kernel::Gemm]);
    assert_eq!(of(Lstm::new(8, 16).bidirectional()), [Kernel::Gemm, Kernel::FinalState]);
    assert_eq!(
        of(Lstm::new(8, 16).bidirectional().merge(Merge::Product)),
        [Kernel::Gemm, Kernel::FinalState, Kernel::Merge]
    );
}

#[test]
fn a_last_output_is_blanked_by_the_last_step_of_each_walk() {
    let (time, batch) = (5, 3);
    for (padding, direction, feed, rows) in [
        (Padding::Zero, Direction::Forward, Feed::Live(0), [4, 0]),
        (Padding::Zero, Direction::Reverse, Feed::Live(0), [0, 0]),
        (Padding::Zero, Direction::Backwards, Feed::Live(0), [0, 0]),
        (Padding::Zero, Direction::Both, Feed::Live(0), [4, 0]),
        (Padding::Held, Direction::Forward, Feed::Started(0), [4, 0]),
        (Padding::Held, Direction::Reverse, Feed::Started(0), [5, 0]),
        (Padding::Held, Direction::Backwards, Feed::Started(0), [5, 0]),
        (Padding::Held, Direction::Both, Feed::Started(0), [4, 5]),
    ] {
        let stack = Rnn::new(8, 16).direction(direction).padding(padding);
        let plan = plan(&Model::new().layer(stack).layer(Select::LastOutput), (time, batch, Mask::Live));
        let masked = plan.steps.last().expect("outputs that are masked");
        let (program, p) = parts(&plan, masked);
        assert_eq!((program.kernel(), p.rows), (Kernel::MaskOutputs, 3));
        assert_eq!([p.live_0, p.live_1].map(|row| row as usize / batch), rows, "{padding:?} {direction:?}");
        let write = plan.writes.iter().find(|write| write.slot == masked.windows[1].slot).expect("a mask is fed");
        assert_eq!(write.feed, feed, "{padding:?} {direction:?}");
    }
}

#[test]
fn outputs_are_blanked_by_what_their_padding_and_their_order_say() {
    let (time, batch) = (5, 3);
    for (padding, direction, feed, rows) in [
        (Padding::Zero, Direction::Forward, Feed::Live(0), [0, 0]),
        (Padding::Zero, Direction::Reverse, Feed::Live(0), [0, 0]),
        (Padding::Zero, Direction::Backwards, Feed::LiveBackwards(0), [0, 0]),
        (Padding::Zero, Direction::Both, Feed::Live(0), [0, 0]),
        (Padding::Held, Direction::Forward, Feed::Started(0), [0, 0]),
        (Padding::Held, Direction::Reverse, Feed::Started(0), [5, 0]),
        (Padding::Held, Direction::Backwards, Feed::StartedReversed(0), [0, 0]),
        (Padding::Held, Direction::Both, Feed::Started(0), [0, 5]),
    ] {
        let stack = Rnn::new(8, 16).direction(direction).padding(padding);
        let plan = plan(&Model::new().layer(stack), (time, batch, Mask::Live));
        let masked = plan.steps.last().expect("outputs that are masked");
        let (program, p) = parts(&plan, masked);
        assert_eq!((program.kernel(), p.rows), (Kernel::MaskOutputs, 15));
        assert_eq!([p.live_0, p.live_1].map(|row| row as usize / batch), rows, "{padding:?} {direction:?}");
        let write = plan.writes.iter().find(|write| write.slot == masked.windows[1].slot).expect("a mask is fed");
        assert_eq!(write.feed, feed, "{padding:?} {direction:?}");
    }
}

#[test]
fn dropout_and_masking_do_nothing() {
    let stack = || Gru::new(8, 16);
    let dropout = Dropout::new(0.5);
    let masking = gatewave::layer::Masking::new(8, 0.0);
    let plain = plan(&Model::new().layer(stack()).layer(Select::LastOutput), (4, 2, Mask::Live));
    let model = Model::new().layer(masking).layer(dropout).layer(stack()).layer(dropout).layer(Select::LastOutput);
    let same = plan(&model, (4, 2, Mask::Live));
    assert_eq!((same.steps, same.params, same.programs), (plain.steps, plain.params, plain.programs));
}

#[test]
fn merges_are_told_apart_and_halve_what_the_next_layer_takes() {
    for (merge, combine) in
        [(Merge::Sum, Combine::Sum), (Merge::Average, Combine::Average), (Merge::Product, Combine::Product)]
    {
        let model = Model::new().layer(Gru::new(8, 40).bidirectional().merge(merge)).layer(Linear::new(40, 3));
        let plan = plan(&model, (4, 2, Mask::All));
        let merged = plan.steps.iter().find(|step| parts(&plan, step).0.kernel() == Kernel::Merge).expect("a merge");
        assert_eq!(parts(&plan, merged).0.combine(), Some(combine));
        assert_eq!(plan.slots[merged.windows[1].slot].dims, [4, 2, 48]);
    }
}

/// Stacks of `cell` in a direction, with each option that changes a plan in some of them.
fn stack(cell: Cell, direction: Direction, merge: Merge, padding: Padding, index: usize) -> Recurrent {
    let (hidden, layers) = ([1, 16, 33, 130][index % 4], 1 + index % 3);
    let mut stack = Recurrent::new(cell, 40, hidden).num_layers(layers);
    stack = stack.direction(direction).merge(merge).padding(padding);
    if cell == Cell::Lstm {
        match index % 4 {
            0 => stack = stack.peepholes(),
            1 => stack = stack.proj_size(3),
            2 => stack = stack.peepholes().proj_size(20).coupled(),
            _ => stack = stack.clip(0.5),
        }
    }
    if index.is_multiple_of(5) {
        stack.functions[1].f = Activation::Relu;
    }
    stack
}

#[test]
fn every_plan_of_every_direction_covers_its_rows_within_any_limits() {
    let (mut outcomes, mut index, mut programs) = (<[Outcomes; 4]>::default(), 0, BTreeSet::new());
    for cell in [Cell::Rnn, Cell::Lstm, Cell::Gru(Reset::After), Cell::Gru(Reset::Before)] {
        for direction in DIRECTIONS {
            for merge in [Merge::Concat, Merge::Sum, Merge::Average, Merge::Product] {
                for padding in [Padding::Zero, Padding::Held] {
                    index += 1;
                    let stack = stack(cell, direction, merge, padding, index);
                    let select =
                        [Select::AllSteps, Select::LastStep, Select::FinalHidden, Select::LastOutput][index % 4];
                    let features = if select == Select::FinalHidden { stack.hidden() } else { stack.output() }.len();
                    let begin = if index.is_multiple_of(2) {
                        Model::new().layer(Embedding::new(300, 40))
                    } else {
                        Model::new().layer(OneHot::new(40))
                    };
                    let model = begin.layer(stack).layer(select).layer(Linear::new(features, 70));
                    for (at, (limits, shape)) in [
                        (Limits::WEBGPU, (1, 1)),
                        (Limits::WEBGPU, (70, 2)),
                        (NARROW, (9, 17)),
                        (Limits { binding_bytes: 128 << 10, workgroups: 200, ..Limits::WEBGPU }, (300, 3)),
                    ]
                    .into_iter()
                    .enumerate()
                    {
                        for (mask, target) in
                            [(Mask::All, Target::Gpu), (Mask::Live, Target::Host), (Mask::Live, Target::Gpu)]
                        {
                            let plan = try_plan(&model, (shape.0, shape.1, mask), &limits, target);
                            if let Some(plan) = outcomes[at].count(&format!("{cell} {direction:?}"), plan) {
                                assert!(plan.steps.iter().all(|step| covers(&plan, step)), "{plan}");
                                let names: BTreeSet<_> = plan.slots.iter().map(|slot| &slot.name).collect();
                                assert_eq!(names.len(), plan.slots.len(), "{plan}");
                                programs.extend(plan.programs.iter().map(ToString::to_string));
                            }
                        }
                    }
                }
            }
        }
    }
    let counts = outcomes.map(|outcomes| outcomes.counts());
    assert_eq!(counts, [(384, vec![]), (384, vec![]), (71, vec![("binding", 313)]), (384, vec![])]);
    for name in ["step lstm peepholes", "step rnn f relu", "merge average", "mask_outputs"] {
        assert!(programs.iter().any(|text| text.starts_with(name)), "no {name} among {programs:?}");
    }
}
