//! Layers that workgroups share: the results are right whether or not
//! the workgroups run side by side, and a stalled run is noticed.
//!
//! No adapter has to run workgroups side by side: `SwiftShader` promises as little as WGSL. On a busy machine
//! they may not meet in time. Two workgroups are used here, and the results must be right in any case.

use std::sync::Arc;

use gatewave::conformance::{self, Tolerance, cases};
use gatewave::inspect::kernel::{Kernel, Mask};
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Limits, Shape};
use gatewave::{Device, Engine, EngineBuilder, Input, Lstm, Model, Precision, Rnn, States, Strategy, Weights};
use ndarray::{Array2, Array3};

use crate::runs::{assert_near, exclusive};
use crate::support::devices::{adapter, adapter_name};
use crate::support::executor::{engine, engine_for};
use crate::support::noise::noise;
use crate::support::plans::plan_of;

/// Options that assume co-resident workgroups on any adapter.
fn taken(co_resident_workgroups: u32) -> EngineBuilder {
    let options = Engine::builder().strategy(Strategy::Persistent);
    options.co_resident_workgroups(co_resident_workgroups)
}

/// The adapter by another spelling of its name: engines with the same spelling share a device.
fn apart(capitals: usize) -> Device {
    let name = adapter_name();
    let (head, tail) = name.split_at(capitals);
    Device::Named(head.to_uppercase() + tail)
}

#[test]
fn cases_of_the_table_give_the_truth_by_workgroups_that_share_layers() {
    let limits = Limits { co_resident_workgroups: 2, ..Limits::WEBGPU };
    let tuning = Tuning::of(Target::Software).with_strategy(Some(Strategy::Persistent));
    let is_shared =
        |case: &conformance::Case| plan_of(case, tuning, &limits).is_ok_and(|plan| plan.mailbox().is_some());
    let cases: Vec<_> = cases().into_iter().filter(is_shared).step_by(13).collect();
    assert!(cases.len() > 3, "only {}", cases.len());
    let device = apart(2);
    // It stays open for all cases, so that a stall is waited for only once.
    let model = Model::new().layer(Rnn::new(1, 1));
    let _held = engine(&device, Precision::F32, &model, &Weights::random(&model, 0).unwrap()).unwrap();
    for case in cases {
        let result = conformance::run(&case, &mut |case, model, weights, input| {
            engine_for(&taken(2), &device, case.precision, model, weights)?.run(&input)
        });
        assert!(result.passed(), "{result}");
    }
}

/// 64 workgroups are more than an adapter of the tests runs side by side.
#[test]
fn where_workgroups_stall_the_call_runs_by_steps_and_so_do_all_others() {
    let model = Model::new().layer(Rnn::new(5, 1024));
    let weights = Weights::random(&model, 3).unwrap();
    let shape = Shape::new(4, 1, Mask::All);
    let input = Input::features(noise(&[1, 4, 5], 1));
    let want = engine(&Device::Cpu, Precision::F32, &model, &weights).unwrap().run(&input).unwrap();
    let open = || engine_for(&taken(64), &apart(1), Precision::F32, &model, &weights).unwrap();
    let (first, second) = (open(), open());
    assert!(first.plan(shape).unwrap().mailbox().is_some());
    let got = first.run(&input).unwrap();
    assert_near(&got.output, &want.output, Tolerance::executors(&model, 4));
    assert_near(&got.states[0].h, &want.states[0].h, Tolerance::executors(&model, 4));
    for engine in [first, second, open()] {
        assert!(engine.plan(shape).unwrap().mailbox().is_none(), "it would wait again");
    }
}

#[test]
fn a_workgroup_that_never_comes_is_an_error_and_no_numbers() {
    let model = Model::new().layer(Lstm::new(5, 40));
    let weights = Weights::random(&model, 3).unwrap();
    let engine = exclusive(taken(2), &model, &weights);
    let mut plan = Arc::unwrap_or_clone(engine.plan(Shape::new(4, 1, Mask::All)).unwrap());
    let shared = plan.steps.iter_mut().find(|step| step.grid[0] == 2).expect("two share the layer");
    shared.grid[0] = 1;
    let error = engine.trace_plan(&Arc::new(plan), &Input::features(noise(&[1, 4, 5], 1))).expect_err("one waits");
    assert!(
        error.to_string().ends_with("workgroups stalled: others of their dispatch did not run beside them"),
        "{error}"
    );
}

/// A state may be the NaN that marks an empty mailbox.
#[test]
fn a_state_of_any_nan_is_handed_on() {
    let model = Model::new().layer(Lstm::new(5, 40));
    let weights = Weights::random(&model, 3).unwrap();
    let mut h = Array3::from_elem((1, 2, 40), 0.25);
    h[[0, 0, 7]] = f32::from_bits(u32::MAX);
    // The first step of the first row is dead, and keeps its state.
    let live = Array2::from_shape_fn((2, 4), |(b, t)| b == 1 || t > 0);
    let states = States::with_cell(h.clone(), h);
    let input = Input::features(noise(&[2, 4, 5], 1)).mask(live).states(states);
    let got = exclusive(taken(2), &model, &weights).run(&input).unwrap();
    let want = engine(&Device::Cpu, Precision::F32, &model, &weights).unwrap().run(&input).unwrap();
    let is_nan = |output: &ndarray::ArrayD<f32>| output.mapv(f32::is_nan);
    assert_eq!(is_nan(&got.output), is_nan(&want.output));
    assert_eq!(is_nan(&got.states[0].h), is_nan(&want.states[0].h));
    assert!(want.states[0].h.iter().filter(|h| h.is_nan()).count() == 40, "it spreads to its row, and to no other");
}

/// On any adapter: co-resident workgroups share a layer. If
/// none are known to be, one workgroup has the layer by itself.
#[test]
fn any_device_goes_by_persistent_workgroups() {
    // Two panels for each direction, to share, and few weights: SwiftShader takes minutes to compile more.
    let model = Model::new().layer(Lstm::new(5, 20).bidirectional());
    let weights = Weights::random(&model, 3).unwrap();
    let options = Engine::builder().device(adapter()).strategy(Strategy::Persistent);
    let engine = options.build(&model, &weights).unwrap();
    let plan = engine.plan(Shape::new(4, 3, Mask::All)).unwrap();
    let goes = |kernel| plan.programs.iter().any(|program| program.kernel() == kernel);
    assert!(goes(Kernel::Persistent) || goes(Kernel::Scan), "{plan}");
    let input = Input::features(noise(&[3, 4, 5], 1));
    let want = self::engine(&Device::Cpu, Precision::F32, &model, &weights).unwrap().run(&input).unwrap();
    assert_near(&engine.run(&input).unwrap().output, &want.output, Tolerance::executors(&model, 4));
}
