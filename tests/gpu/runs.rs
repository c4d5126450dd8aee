//! Calls on the adapter: repeated, concurrent, long, and on a lost device.

use std::thread;
use std::time::{Duration, Instant};

use gatewave::conformance::{Tolerance, compare, rounded};
use gatewave::inspect::plan::tune::Target;
use gatewave::interface::Axes;
use gatewave::{
    Device, Engine, EngineBuilder, Error, ErrorKind, Gru, Input, Lstm, Model, Output, Precision, Select, Weights,
};
use ndarray::ArrayD;

use crate::support::devices::adapter;
use crate::support::executor;
use crate::support::noise::noise;

pub(crate) fn engine(device: Device, model: &Model) -> Engine {
    let weights = Weights::random(model, 5).expect("the model is right");
    let engine = Engine::new(model, &weights, device).expect("the engine opens");
    engine.poison();
    engine
}

/// An engine on a device of its own: on a shared one, other tests make objects, and workgroups stall.
pub(crate) fn exclusive(options: EngineBuilder, model: &Model, weights: &Weights) -> Engine {
    let engine = Engine::exclusive(model.clone(), weights, options.device(adapter())).expect("the engine opens");
    engine.poison();
    engine
}

fn tagger() -> Model {
    Model::new().layer(Gru::new(6, 40).num_layers(2).bidirectional())
}

fn call(seed: usize) -> Input<'static> {
    Input::features(noise(&[3, 20, 6], seed)).lengths([20, 7, 13])
}

#[track_caller]
pub(crate) fn assert_near(got: &ArrayD<f32>, want: &ArrayD<f32>, tolerance: Tolerance) {
    let comparison = compare(got.view(), want.mapv(f64::from).view(), tolerance).expect("the shapes are the same");
    assert!(comparison.passed(), "{comparison}");
}

#[test]
fn a_call_gives_the_same_bits_again_and_again_whoever_waits() {
    let engine = engine(adapter(), &tagger());
    let first = engine.run(&call(0)).unwrap();
    for _ in 0..3 {
        assert_eq!(engine.run(&call(0)).unwrap(), first);
        assert_ne!(engine.run(&call(1)).unwrap(), first);
        assert_eq!(pollster::block_on(engine.run_async(&call(0))).unwrap(), first);
    }
}

#[test]
fn threads_that_call_at_once_get_what_they_would_alone() {
    let engine = engine(adapter(), &tagger());
    let alone: Vec<Output> = (0..4).map(|seed| engine.run(&call(seed)).unwrap()).collect();
    thread::scope(|scope| {
        for (seed, alone) in alone.iter().enumerate() {
            let engine = &engine;
            scope.spawn(move || {
                for _ in 0..20 {
                    assert_eq!(engine.run(&call(seed)).unwrap(), *alone);
                }
            });
        }
    });
}

#[test]
fn kernels_take_some_time_each_and_no_more_than_the_call() {
    let engine = engine(adapter(), &tagger());
    engine.run_clocked(&call(0)).unwrap();
    let start = Instant::now();
    let kernels = engine.run_clocked(&call(0)).unwrap();
    let wall = start.elapsed();
    assert!(kernels.len() > 2, "{kernels:?}");
    assert!(kernels.iter().all(|kernel| kernel.programs.len() == 1 && kernel.time > Duration::ZERO), "{kernels:?}");
    let sum: Duration = kernels.iter().map(|kernel| kernel.time).sum();
    assert!(sum <= wall, "{sum:?} of {wall:?}: {kernels:?}");
}

#[test]
fn the_last_state_of_a_long_sequence_is_the_cpus() {
    const TIME: usize = 20_000;
    let model = Model::new().layer(Lstm::new(3, 16)).layer(Select::LastStep).axes(Axes::TimeMajor);
    let input = Input::features(noise(&[TIME, 1, 3], 2));
    let [got, want] = [adapter(), Device::Cpu].map(|device| engine(device, &model).run(&input).unwrap());
    let tolerance = Tolerance::executors(&model, TIME);
    assert_near(&got.output, &want.output, tolerance);
    assert_near(&got.states[0].h, &want.states[0].h, tolerance);
    assert_near(got.states[0].c.as_ref().unwrap(), want.states[0].c.as_ref().unwrap(), tolerance);
    // A run that stopped early would be clearly off: the state changes with every step.
    let shorter = Input::features(noise(&[TIME - 1, 1, 3], 2));
    let before = engine(Device::Cpu, &model).run(&shorter).unwrap();
    let moved = compare(before.output.view(), want.output.mapv(f64::from).view(), tolerance).unwrap();
    assert!(moved.used > 10.0, "{moved}");
}

#[test]
fn a_device_lost_in_mid_run_is_an_error_and_never_a_wrong_result() {
    const TIME: usize = 5_000;
    let model = Model::new().layer(Lstm::new(3, 16)).layer(Select::FinalHidden).axes(Axes::TimeMajor);
    let input = Input::features(noise(&[TIME, 1, 3], 2));
    // A device of its own, so that other tests keep theirs.
    let weights = Weights::random(&model, 5).unwrap();
    let engine = Engine::exclusive(model, &weights, Engine::builder().device(adapter())).unwrap();
    let right = engine.run(&input).unwrap();
    thread::scope(|scope| {
        let until_lost = || {
            loop {
                match engine.run(&input) {
                    Ok(output) => assert_eq!(output, right),
                    Err(error) => return error,
                }
            }
        };
        let runs = [scope.spawn(until_lost), scope.spawn(until_lost)];
        thread::sleep(Duration::from_millis(300));
        engine.lose();
        for run in runs {
            assert_lost(&engine, &run.join().unwrap());
        }
    });
    assert_lost(&engine, &engine.run(&input).unwrap_err());
}

/// Checks that the error names the device, and what to do.
#[track_caller]
fn assert_lost(engine: &Engine, error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Lost, "{error}");
    let name = engine.device().name();
    let text = format!("{name}: the device was lost: it was destroyed; make a new engine and call again");
    assert!(error.to_string().ends_with(&text), "{error}");
}

#[test]
fn an_adapter_that_is_not_there_is_an_error_and_not_the_cpu() {
    let model = tagger();
    let weights = Weights::random(&model, 5).unwrap();
    let error = Engine::new(model, &weights, Device::Named("no such adapter".to_owned())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().contains("no such adapter"), "{error}");
}

#[test]
fn integers_give_the_bits_of_the_floats_that_they_stand_for() {
    // One row and several, which have different tiles.
    let models = [
        (Model::new().layer(Gru::new(6, 40).num_layers(2).bidirectional()), 3),
        (Model::new().layer(Lstm::new(6, 30).peepholes()), 1),
    ];
    // Each has its own storage for a matrix.
    let targets = [Target::Software, Target::Gpu].map(|target| Engine::builder().target(target));
    for ((model, batch), options) in models.iter().flat_map(|model| targets.iter().map(move |of| (model, of))) {
        let weights = Weights::random(model, 5).expect("the model is right");
        let held = rounded(&weights, Precision::I8).expect("they are finite");
        let input = Input::features(noise(&[*batch, 20, 6], 2));
        let [integers, floats] = [(Precision::I8, &weights), (Precision::F32, &held)].map(|(precision, weights)| {
            let engine = executor::engine_for(options, &adapter(), precision, model, weights);
            engine.and_then(|engine| engine.run(&input)).unwrap()
        });
        assert_eq!(integers, floats, "batch {batch} {options:?}");
    }
}
