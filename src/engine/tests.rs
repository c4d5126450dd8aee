//! Calls that do not fit the device: the batch in tiles, and the message if one row is too long.

mod windows;

use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::error::ErrorKind;
use crate::kernel::Mask;
use crate::model::{Axes, Lstm, Select};
use crate::plan::{Goal, Limits, Shape, Strategy};

/// An engine on the CPU that refuses bindings of more than `binding_bytes`.
fn small(model: &Model, binding_bytes: u64) -> Engine {
    let weights = Weights::random(model, 1).unwrap();
    let mut engine = Engine::new(model, &weights, Device::Cpu).unwrap();
    Arc::get_mut(&mut engine.planner).unwrap().limits =
        Limits { binding_bytes, buffer_bytes: binding_bytes, ..Limits::WEBGPU };
    engine
}

fn features(dims: (usize, usize, usize)) -> Array3<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    Array3::from_shape_simple_fn(dims, || rng.random_range(-1.0..1.0))
}

#[test]
fn a_batch_that_does_not_fit_runs_in_tiles_of_one_size_and_a_rest() {
    let layer = Lstm::new(16, 16).bidirectional();
    for model in [
        Model::new().layer(layer.clone()),
        Model::new().layer(layer.clone()).layer(Select::FinalHidden),
        Model::new().layer(layer).axes(Axes::TimeMajor),
    ] {
        let dims = if model.axes == Axes::BatchFirst { (19, 50, 16) } else { (50, 19, 16) };
        let lengths: Vec<i64> = (0..19).map(|b| 50 - b).collect();
        for input in [Input::features(features(dims)), Input::features(features(dims)).lengths(lengths)] {
            let whole = small(&model, 1 << 30);
            let tiled = small(&model, 64 << 10);
            let call = input.check(&model).unwrap();
            let sizes = |engine: &Engine| -> Vec<_> {
                let mut tiles = Tiles::of(&engine.planner, &call);
                std::iter::from_fn(|| block_on(tiles.next()).unwrap()).map(|tile| tile.plan.shape.batch).collect()
            };
            assert_eq!(sizes(&whole), [19]);
            let tiles = sizes(&tiled);
            assert!(tiles.len() > 2, "{tiles:?}");
            let (rest, even) = tiles.split_last().unwrap();
            assert!(even.iter().all(|size| size == &even[0]) && *rest <= even[0], "{tiles:?}");
            assert_eq!(tiles.iter().sum::<usize>(), 19);
            let (tiled, whole) = (tiled.run(&input).unwrap(), whole.run(&input).unwrap());
            assert!(tiled.output == whole.output, "output, {:?}", model.axes);
            assert!(tiled.states == whole.states, "states, {:?}", model.axes);
        }
    }
}

#[test]
fn a_sequence_too_long_for_the_device_is_refused_with_what_would_fit() {
    let engine = small(&Model::new().layer(Lstm::new(16, 16)), 64 << 10);
    let refused = engine.run(&Input::features(features((2, 5_000, 16)))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limits);
    let message = refused.to_string();
    assert!(message.starts_with("one sequence of 5000 steps on CPU: "), "{message}");
    let time = message.split("; a sequence of ").nth(1).and_then(|tail| tail.split(' ').next()).unwrap();
    let time: usize = time.parse().unwrap();
    assert!(engine.run(&Input::features(features((2, time, 16)))).is_ok(), "{message}");
    assert!(message.ends_with(" steps would fit: split it and carry the states over"), "{message}");
}

#[test]
fn a_model_too_large_for_the_device_is_refused_as_such() {
    let engine = small(&Model::new().layer(Lstm::new(16, 16)), 256);
    let refused = engine.run(&Input::features(features((2, 5, 16)))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limits);
    let message = refused.to_string();
    assert!(message.ends_with("not even one step fits: the model is too large for this device"), "{message}");
}

#[test]
fn a_trace_gives_slots_by_name() {
    let engine = small(&Model::new().layer(Lstm::new(16, 16)), 1 << 30);
    let slots = engine.trace(&Input::features(features((2, 5, 16)))).unwrap();
    assert!(slots.len() > 1);
    assert!(slots.iter().all(|(name, data)| !name.is_empty() && !data.is_empty()));
}

#[test]
fn states_that_last_go_through_tiles_and_stay_where_a_call_fails_half_way() {
    let model = Model::new().layer(Lstm::new(16, 16).bidirectional().stateful());
    let (whole, tiled) = (small(&model, 1 << 30), small(&model, 64 << 10));
    let run = |engine: &Engine| engine.run(&Input::features(features((19, 50, 16)))).unwrap();
    let first = run(&whole);
    assert!(tiled.plan(Shape::new(50, 19, Mask::All)).unwrap().shape.batch < 19);
    assert!(run(&tiled) == first);
    let refused = tiled.run(&Input::features(features((19, 5_000, 16)))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limits);
    let second = run(&whole);
    assert!(second.states != first.states);
    assert!(run(&tiled) == second);
}

#[test]
fn a_reset_while_a_call_computes_is_a_reset_after_it() {
    let model = Model::new().layer(Lstm::new(16, 16).stateful());
    let engine = small(&model, 1 << 30);
    let input = Input::features(features((2, 3, 16)));
    let states = engine.states.as_ref().expect("a stateful stack");
    let form = input.check(&model).unwrap().form;
    let turn = block_on(states.turn(&input, &model, form)).unwrap();
    engine.reset_states();
    let output = small(&model, 1 << 30).run(&input).unwrap();
    turn.keep(&output, &model, form);
    assert!(engine.run(&input).unwrap() == output, "from zero");
    assert!(engine.run(&input).unwrap() != output, "and on from there");
}

/// wgpu's validator runs no workgroup, so a workgroup that waits for another waits for ever.
#[cfg(feature = "gpu")]
#[test]
fn a_call_whose_workgroups_stall_runs_by_steps_and_streams_never_wait() {
    let model = Model::new().layer(Lstm::new(3, 40));
    let options = Engine::builder().strategy(Strategy::Persistent).co_resident_workgroups(8);
    let engine = Engine::on_validator(model.clone(), &Weights::random(&model, 1).unwrap(), options).unwrap();
    let shape = Shape::new(5, 2, Mask::All);
    let is_shared = |goal| engine.planner.plan_to(goal, shape).unwrap().mailbox().is_some();
    assert!(is_shared(Goal::Outputs) && !is_shared(Goal::Frames));
    engine.run(&Input::features(Array3::zeros((2, 5, 3)))).expect("steps take its place");
    assert!(!is_shared(Goal::Outputs), "it would wait again");
}
