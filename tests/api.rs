//! What a user of the library sees, on the CPU: results in the user's axes, and properties that hold for all weights.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "api/generate.rs"]
mod generate;
#[path = "api/graph_streams.rs"]
mod graph_streams;
#[path = "api/integers.rs"]
mod integers;
#[path = "api/learned.rs"]
mod learned;
#[path = "api/loading.rs"]
mod loading;
#[path = "api/refused.rs"]
mod refused;
#[path = "api/stateful.rs"]
mod stateful;
#[path = "api/streams.rs"]
mod streams;

use std::sync::Arc;
use std::thread;

use gatewave::conformance::{Tolerance, compare};
use gatewave::inspect::Planner;
use gatewave::inspect::kernel::Mask;
use gatewave::inspect::plan::Shape;
use gatewave::interface::Axes;
use gatewave::layer::{Cell, Recurrent};
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{
    Activation, Device, Embedding, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, OneHot, Output, Precision, Rnn,
    Select, States, Weights,
};
use ndarray::{
    Array, Array1, Array2, Array3, ArrayD, ArrayView, Axis, Dimension, Ix3, ShapeBuilder, array, concatenate, s,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The tolerance between two runs of one model on the CPU: that of the largest model here, over the longest sequence.
fn tolerance() -> Tolerance {
    Tolerance::executors(&Model::new().layer(Lstm::new(5, 33).num_layers(2)), 9)
}

fn cpu(model: &Model) -> Engine {
    let weights = Weights::random(model, 1).unwrap();
    Engine::new(model, &weights, Device::Cpu).unwrap()
}

fn random<Sh: ShapeBuilder<Dim = D>, D: Dimension>(shape: Sh, seed: u64) -> Array<f32, D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Array::from_shape_simple_fn(shape, || rng.random_range(-1.0..1.0))
}

#[track_caller]
fn assert_close<D: Dimension>(got: ArrayView<'_, f32, D>, expected: ArrayView<'_, f32, D>) {
    let compared = compare(got.into_dyn(), expected.mapv(f64::from).into_dyn().view(), tolerance()).unwrap();
    assert!(compared.passed(), "{compared}");
}

#[track_caller]
fn assert_same(got: &Output, expected: &Output) {
    assert_close(got.output.view(), expected.output.view());
    assert_eq!(got.states.len(), expected.states.len());
    for (got, expected) in got.states.iter().zip(&expected.states) {
        assert_close(got.h.view(), expected.h.view());
        assert_eq!(got.c.is_some(), expected.c.is_some());
        if let (Some(got), Some(expected)) = (&got.c, &expected.c) {
            assert_close(got.view(), expected.view());
        }
    }
}

/// One stack of each cell, two layers, forward: stacks whose states can be carried from call to call.
fn stacks() -> Vec<Recurrent> {
    let mut stacks: Vec<_> = Cell::ALL.map(|cell| Recurrent::new(cell, 5, 18).num_layers(2)).into();
    stacks.push(Lstm::new(5, 18).num_layers(2).proj_size(7));
    stacks
}

fn three(array: &ArrayD<f32>) -> ndarray::ArrayView3<'_, f32> {
    array.view().into_dimensionality::<Ix3>().unwrap()
}

fn assert_refused(engine: &Engine, input: &Input, message: &str) {
    let refused = engine.run(input).unwrap_err();
    assert_eq!(refused.to_string(), message);
    assert_eq!(refused.kind(), ErrorKind::Shape);
}

#[test]
fn a_simple_rnn_gives_the_numbers_of_its_equation() {
    let model = Model::new().layer(Rnn::new(1, 1));
    let cell = CellWeights::new(array![[0.5]], array![[0.25]]).b_x(array![0.1]).b_h(array![0.2]);
    let weights = Weights::new(vec![LayerWeights::Recurrent(vec![cell])]);
    let engine = Engine::new(model, &weights, Device::Cpu).unwrap();
    let result =
        engine.run(&Input::features(array![[1.0_f32], [2.0]]).states(States::hidden(array![[-0.5_f32]]))).unwrap();
    let first = (0.5_f32 + 0.3 - 0.125).tanh();
    let second = (1.0 + 0.3 + 0.25 * first).tanh();
    assert_close(result.output.view(), array![[first], [second]].into_dyn().view());
    assert_close(result.states[0].h.view(), array![[second]].into_dyn().view());
}

#[test]
fn a_sequence_in_two_calls_with_the_states_carried_is_the_whole() {
    for stack in stacks() {
        let engine = cpu(&Model::new().layer(stack));
        let x = random((3, 9, 5), 2);
        let whole = engine.run(&Input::features(x.clone())).unwrap();
        let first = engine.run(&Input::features(x.slice(s![.., ..4, ..]).to_owned())).unwrap();
        let rest = Input::features(x.slice(s![.., 4.., ..]).to_owned()).states(first.states[0].clone());
        let second = engine.run(&rest).unwrap();
        let joined = concatenate![Axis(1), three(&first.output), three(&second.output)].into_dyn();
        assert_same(&Output::new(joined, second.states), &whole);
    }
}

#[test]
fn one_sequence_without_a_batch_is_a_batch_of_one_without_its_axis() {
    for stack in stacks() {
        let engine = cpu(&Model::new().layer(stack.bidirectional()));
        let x = random((6, 5), 3);
        let alone = engine.run(&Input::features(x.clone())).unwrap();
        let mut batch = engine.run(&Input::features(x.insert_axis(Axis(0)))).unwrap();
        batch.output.index_axis_inplace(Axis(0), 0);
        for states in &mut batch.states {
            states.h.index_axis_inplace(Axis(1), 0);
            states.c.iter_mut().for_each(|c| c.index_axis_inplace(Axis(1), 0));
        }
        assert_same(&alone, &batch);
        let carried = Input::features(random((2, 5), 4)).states(alone.states[0].clone());
        assert_eq!(engine.run(&carried).unwrap().output.ndim(), 2, "its states go in as they came out");
    }
}

#[test]
fn a_time_major_model_gives_the_same_with_its_axes_swapped() {
    for stack in stacks() {
        let model = Model::new().layer(stack);
        let (batch_first, time_major) = (cpu(&model), cpu(&model.axes(Axes::TimeMajor)));
        let x = random((3, 6, 5), 5);
        let swapped = x.view().permuted_axes([1, 0, 2]).to_owned();
        let expected = batch_first.run(&Input::features(x).lengths([6, 2, 4])).unwrap();
        let mut got = time_major.run(&Input::features(swapped).lengths([6, 2, 4])).unwrap();
        got.output.swap_axes(0, 1);
        assert_same(&got, &expected);
    }
}

#[test]
fn each_row_of_any_length_is_what_it_is_alone() {
    let lengths = [2_usize, 7, 0, 5, 7, 1];
    for stack in stacks() {
        for stack in [stack.clone(), stack.bidirectional()] {
            let engine = cpu(&Model::new().layer(stack));
            let mut x = random((6, 7, 5), 6);
            for (row, &length) in lengths.iter().enumerate() {
                x.slice_mut(s![row, length.., ..]).fill(f32::NAN);
            }
            let batch = engine.run(&Input::features(x.clone()).lengths(lengths.map(|n| n as i64))).unwrap();
            let output = three(&batch.output);
            for (row, &length) in lengths.iter().enumerate() {
                assert!(output.slice(s![row, length.., ..]).iter().all(|&y| y == 0.0), "the padding's output is zero");
                let state = three(&batch.states[0].h).slice_move(s![.., row, ..]);
                if length == 0 {
                    assert!(state.iter().all(|&h| h == 0.0), "no step, no change");
                    continue;
                }
                let alone = engine.run(&Input::features(x.slice(s![row, ..length, ..]).to_owned())).unwrap();
                assert_close(output.slice(s![row, ..length, ..]).into_dyn(), alone.output.view());
                assert_close(state.into_dyn(), alone.states[0].h.view());
            }
        }
    }
}

#[test]
fn a_mask_has_the_batch_first_whatever_the_axes_of_the_model() {
    let live = Array2::from_shape_fn((3, 5), |(b, t)| t < [5, 2, 3][b]);
    for (axes, dims) in [(Axes::BatchFirst, (3, 5, 4)), (Axes::TimeMajor, (5, 3, 4))] {
        let engine = cpu(&Model::new().layer(Gru::new(4, 7)).axes(axes));
        let x = || Input::features(random(dims, 2));
        let by_lengths = engine.run(&x().lengths([5, 2, 3])).unwrap();
        assert_eq!(engine.run(&x().mask(live.clone())).unwrap(), by_lengths);
    }
}

#[test]
fn a_mask_with_holes_is_the_sequence_without_the_holes() {
    let mask = [true, false, true, true, false, false, true];
    let steps: Vec<usize> = (0..7).filter(|&t| mask[t]).collect();
    for stack in stacks() {
        let engine = cpu(&Model::new().layer(stack.bidirectional()));
        let x = random((7, 5), 7);
        let masked = engine.run(&Input::features(x.clone()).mask(Array1::from(mask.to_vec()))).unwrap();
        let dense = engine.run(&Input::features(x.select(Axis(0), &steps))).unwrap();
        assert_close(masked.output.select(Axis(0), &steps).view(), dense.output.view());
        assert_close(masked.states[0].h.view(), dense.states[0].h.view());
        for t in (0..7).filter(|&t| !mask[t]) {
            assert!(masked.output.index_axis(Axis(0), t).iter().all(|&y| y == 0.0));
        }
    }
}

#[test]
fn a_classifier_of_tokens_reads_each_rows_own_last_step() {
    let model = Model::new()
        .layer(Embedding::new(50, 16))
        .layer(Lstm::new(16, 20).num_layers(2).bidirectional())
        .layer(Select::FinalHidden)
        .layer(Linear::new(40, 3).activation(Activation::Softmax));
    let engine = cpu(&model);
    let tokens = array![[4_i64, 49, 7, -1], [9, 0, 3, 8], [1, 1000, -5, 2]];
    let batch = engine.run(&Input::tokens(tokens).lengths([3, 4, 1])).unwrap();
    assert_eq!(batch.output.shape(), [3, 3]);
    for (row, alone) in [array![4_i64, 49, 7], array![9, 0, 3, 8], array![1]].into_iter().enumerate() {
        let alone = engine.run(&Input::tokens(alone)).unwrap();
        assert_close(batch.output.index_axis(Axis(0), row), alone.output.view());
        assert!((f64::from(alone.output.sum()) - 1.0).abs() < tolerance().abs, "softmax sums to one");
    }
}

#[test]
fn one_hot_tokens_are_unit_vectors() {
    let stack = Gru::new(11, 18).bidirectional();
    let (tokens, vectors) = (Model::new().layer(OneHot::new(11)).layer(stack.clone()), Model::new().layer(stack));
    let cells = Weights::random(&vectors, 1).unwrap();
    let folded = Weights::new(vec![LayerWeights::None, cells.layers[0].clone()]);
    let by_token = Engine::new(tokens, &folded, Device::Cpu).unwrap();
    let by_vector = Engine::new(vectors, &cells, Device::Cpu).unwrap();
    let ids = array![[0_i64, 10, 3], [5, 5, 9]];
    let unit = Array3::from_shape_fn((2, 3, 11), |(b, t, v)| f32::from(u8::from(ids[[b, t]] == v as i64)));
    assert_same(&by_token.run(&Input::tokens(ids)).unwrap(), &by_vector.run(&Input::features(unit)).unwrap());
}

#[test]
fn each_stack_takes_and_gives_its_own_states() {
    let model = Model::new().layer(Gru::new(5, 6)).layer(Lstm::new(6, 4).bidirectional());
    let engine = cpu(&model);
    let x = random((2, 3, 5), 8);
    let fresh = engine.run(&Input::features(x.clone())).unwrap();
    assert_eq!(fresh.states[0].h.shape(), [1, 2, 6]);
    assert_eq!(fresh.states[1].c.as_ref().unwrap().shape(), [2, 2, 4]);
    let states = States::with_cell(random((2, 2, 4), 9), random((2, 2, 4), 10));
    let carried = engine.run(&Input::features(x).stack_states(1, states)).unwrap();
    assert_close(carried.states[0].h.view(), fresh.states[0].h.view());
    assert!(carried.states[1].h != fresh.states[1].h, "the second stack's states matter");
}

#[test]
fn threads_share_an_engine_without_disturbing_each_other() {
    let engine = cpu(&Model::new().layer(Lstm::new(5, 33).num_layers(2)));
    let inputs: Vec<_> = (0..4).map(|n| Input::features(random((n + 1, 3 + n, 5), n as u64))).collect();
    let alone: Vec<_> = inputs.iter().map(|input| engine.run(input).unwrap()).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..20 {
                    for (input, alone) in inputs.iter().zip(&alone) {
                        assert_same(&engine.run(input).unwrap(), alone);
                    }
                }
            });
        }
    });
}

#[test]
fn half_precision_is_close_and_not_the_same() {
    let model = Model::new().layer(Lstm::new(5, 18));
    let weights = Weights::random(&model, 1).unwrap();
    let halves = Engine::builder().device(Device::Cpu).precision(Precision::F16);
    let halves = halves.build(&model, &weights).unwrap();
    let input = Input::features(random((2, 9, 5), 11));
    let (got, exact) = (halves.run(&input).unwrap(), cpu(&model).run(&input).unwrap());
    let worst = (&got.output - &exact.output).iter().fold(0.0_f32, |worst, d| worst.max(d.abs()));
    assert!(worst > 1e-6 && worst < 2e-3, "weights rounded to 11 bits: {worst}");
}

#[test]
fn plans_are_made_once_for_a_shape() {
    let engine = cpu(&Model::new().layer(Rnn::new(5, 6)));
    let shape = Shape::new(3, 2, Mask::All);
    let plan = engine.plan(shape).unwrap();
    assert_eq!(plan.shape, shape);
    assert!(Arc::ptr_eq(&plan, &engine.plan(shape).unwrap()));
    assert!(!Arc::ptr_eq(&plan, &engine.plan(Shape { time: 4, ..shape }).unwrap()));
    let refused = engine.plan(Shape { batch: 0, ..shape }).unwrap_err();
    assert_eq!(refused.to_string(), "plan: expected at least one step and one row, got T = 3, B = 0");
}

#[test]
fn the_time_of_a_run_is_accounted_for() {
    let engine = cpu(&Model::new().layer(Gru::new(64, 64)));
    let (output, timings) = engine.run_timed(&Input::features(random((8, 50, 64), 1))).unwrap();
    assert_eq!(output.output.shape(), [8, 50, 64]);
    assert!(!timings.upload.is_zero() && !timings.compute.is_zero() && !timings.readback.is_zero(), "{timings:?}");
}

#[test]
fn what_threads_share_is_send_and_sync() {
    fn shared<T: Send + Sync>() {}
    shared::<Engine>();
    shared::<gatewave::Error>();
    shared::<Model>();
    shared::<Weights>();
    shared::<Input>();
    shared::<Output>();
}

#[test]
fn devices_are_named_as_people_write_them() {
    assert_eq!("auto".parse::<Device>().unwrap(), Device::Auto);
    assert_eq!("CPU".parse::<Device>().unwrap(), Device::Cpu);
    assert_eq!("llvmpipe".parse::<Device>().unwrap(), Device::Named("llvmpipe".into()));
    assert_eq!(
        "".parse::<Device>().unwrap_err().to_string(),
        "device: expected auto, cpu, gpu or a part of an adapter's name, got nothing"
    );
    let engine = cpu(&Model::new().layer(Rnn::new(1, 1)));
    assert_eq!((engine.device().name(), engine.device().reason()), ("CPU", "asked for"));
    assert!(engine.device().to_string().starts_with("CPU: "), "{}", engine.device());
}

#[test]
fn there_is_no_falling_back_from_a_device_that_was_named() {
    let model = Model::new().layer(Rnn::new(1, 1));
    let weights = Weights::random(&model, 1).unwrap();
    let refused = Engine::new(model, &weights, Device::Named("no such adapter".into())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Device);
    assert!(refused.to_string().contains("no such adapter"), "{refused}");
    #[cfg(not(feature = "gpu"))]
    assert_eq!(
        refused.to_string(),
        "device \"no such adapter\": expected auto or cpu: this gatewave was built without the feature `gpu`"
    );
}

#[test]
fn a_planner_needs_no_weights_and_plans_as_an_engine_does() {
    let model = Model::new().layer(Lstm::new(5, 18).bidirectional()).layer(Linear::new(36, 3));
    let shape = Shape::new(7, 3, Mask::All);
    let options = Engine::builder().device(Device::Cpu);
    let planner = Planner::new(model.clone(), &options).unwrap();
    assert_eq!(planner.plan(shape).unwrap(), cpu(&model).plan(shape).unwrap());

    let vast = Planner::new(Model::new().layer(Lstm::new(4, 2_147_483_647)), &options).unwrap();
    let error = vast.plan(Shape::new(usize::MAX, usize::MAX, Mask::All)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limits, "{error}");
}
