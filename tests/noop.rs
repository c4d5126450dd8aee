//! Every plan of a sweep, checked by wgpu's validator without an adapter: bindings, windows, sizes, grids, copies.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use gatewave::conformance::cases;
use gatewave::inspect::kernel::{Kernel, Mask, Program, link};
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Limits, Plan, Shape};
use gatewave::{Embedding, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, Precision, Select, Strategy, Weights};
use ndarray::ArrayD;
use support::plans::{NARROW, Outcomes, plan, plan_of};

/// Creates an engine whose weights are where plans for `target` read them.
fn engine(model: &Model, precision: Precision, target: Target) -> Engine {
    let weights = Weights::random(model, 1).expect("the model is right");
    let options = Engine::builder().precision(precision).target(target);
    Engine::on_validator(model.clone(), &weights, options).expect("the validator opens")
}

#[test]
fn the_validator_takes_every_plan_of_the_table_for_every_device() {
    let mut outcomes = <[Outcomes; 2]>::default();
    let mut kernels = BTreeSet::new();
    for case in cases() {
        for target in [Target::Software, Target::Gpu] {
            let engine = engine(&case.model, case.precision, target);
            engine.run(&case.input()).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            for (at, limits) in [Limits::WEBGPU, NARROW].into_iter().enumerate() {
                let Some(plan) = outcomes[at].count(&case.name, plan_of(&case, target, &limits)) else { continue };
                let traced = engine.trace_plan(&plan, &case.input());
                traced.unwrap_or_else(|error| panic!("{} for {target:?}, {limits:?}: {error}", case.name));
                kernels.extend(plan.programs.iter().map(|program| program.kernel()));
            }
        }
    }
    // Only streams draw tokens, and only co-resident workgroups share layers: see below.
    kernels.extend([Kernel::Sample, Kernel::Persistent, Kernel::ResetMailbox]);
    // Those of training are in plans of gradients: adapters run them in `training`.
    kernels.extend(link::programs().iter().filter(|program| program.training().is_some()).map(Program::kernel));
    kernels.extend([Kernel::PoolBack, Kernel::WindowBack, Kernel::ScoresBack, Kernel::ConvBack, Kernel::ConvOuter]);
    assert_eq!(kernels.into_iter().collect::<Vec<_>>(), Kernel::ALL);
    let all = 2 * cases().len();
    assert_eq!(outcomes.map(|outcomes| outcomes.counts()), [(all, vec![]), (all - 17, vec![("binding", 17)])]);
}

/// The validator computes nothing, so every run with shared layers looks stalled. Nothing else may be wrong.
#[test]
fn the_validator_takes_layers_that_workgroups_share() {
    let limits = Limits { co_resident_workgroups: 8, ..Limits::WEBGPU };
    let mut plans = 0;
    for case in cases().iter().step_by(9) {
        for target in [Target::Software, Target::Gpu] {
            let tuning = Tuning::of(target).with_strategy(Some(Strategy::Persistent));
            let plan = plan_of(case, tuning, &limits).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            if plan.mailbox().is_some() {
                let engine = engine(&case.model, case.precision, target);
                let error = engine.trace_plan(&plan, &case.input()).expect_err("nothing is computed");
                assert!(error.to_string().ends_with("others of their dispatch did not run beside them"), "{error}");
                plans += 1;
            }
        }
    }
    assert!(plans > 10, "only {plans}");
}

#[test]
fn the_validator_takes_long_sequences_in_chunks() {
    let tagger = Model::new().layer(Embedding::new(300, 40)).layer(Gru::new(40, 16).num_layers(2).bidirectional());
    let last = Model::new().layer(Lstm::new(64, 256)).layer(Select::LastStep).layer(Linear::new(256, 2));
    let tokens = Input::tokens(ArrayD::zeros(vec![2, 600]));
    let features = Input::features(ArrayD::zeros(vec![1, 20_000, 64]));
    for (model, input, time, batch, limits) in
        [(tagger, tokens, 600, 2, NARROW), (last, features, 20_000, 1, Limits::WEBGPU)]
    {
        let shape = Shape::new(time, batch, Mask::All);
        let plan = plan(&model, Precision::F32, shape, Target::Gpu, &limits).expect("the plan fits");
        let products = plan.steps.iter().filter(|step| plan.programs[step.program].kernel() == Kernel::Gemm);
        assert!(products.count() > 4, "{}: not in chunks", plan.title);
        engine(&model, Precision::F32, Target::Gpu).trace_plan(&plan, &input).expect("the validator takes it");
    }
}

/// The counter is the executor's own. wgpu makes an encoder for each submit, which is not counted.
#[test]
fn a_repeated_call_makes_no_gpu_object() {
    let mut compared = 0;
    for case in cases() {
        let (engine, input) = (engine(&case.model, case.precision, Target::Gpu), case.input());
        let run = || engine.run(&input).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        run();
        let made = engine.gpu_objects();
        assert!(made > 3, "{}: only {made} objects", case.name);
        (0..3).for_each(|_| drop(run()));
        assert_eq!(engine.gpu_objects(), made, "{}", case.name);
        compared += 1;
    }
    assert!(compared > 100, "only {compared} cases");
}

type Fault = fn(&mut Plan);

#[test]
fn the_validator_refuses_planted_faults() {
    let model = Model::new().layer(Lstm::new(8, 32).bidirectional());
    let shape = Shape::new(4, 3, Mask::All);
    let right = plan(&model, Precision::F32, shape, Target::Gpu, &Limits::WEBGPU).expect("the plan fits");
    let (engine, input) = (engine(&model, Precision::F32, Target::Gpu), Input::features(ArrayD::zeros(vec![3, 4, 8])));
    engine.trace_plan(&right, &input).expect("it is right");
    let faults: [(&str, Fault); 4] = [
        ("a window past its slot", |plan| plan.steps[1].windows[1].bytes += 1 << 20),
        ("an unaligned window", |plan| plan.steps[1].windows[0].offset = 4),
        ("a grid past the limit", |plan| plan.steps[1].grid[0] = 70_000),
        ("a slot that is read and written", |plan| plan.steps[1].windows[1] = plan.steps[1].windows[2]),
    ];
    for (what, break_it) in faults {
        let mut wrong = Plan::clone(&right);
        break_it(&mut wrong);
        let error = engine.trace_plan(&Arc::new(wrong), &input).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Device, "{what}: {error}");
    }
}
