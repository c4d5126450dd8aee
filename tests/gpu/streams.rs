//! Streams on the adapter: their states stay there, and each gives what one call over all its frames gives.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use gatewave::conformance::Tolerance;
use gatewave::stream::StreamId;
use gatewave::{Device, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, Results, Select, Streams, Weights};
use ndarray::{Array2, ArrayD, Axis};

use crate::runs::{self, assert_near, engine};
use crate::support::devices::adapter;
use crate::support::noise::noise;
use crate::support::{forward_graphs, graph_streams};

const FEATURES: usize = 5;

/// [`engine`] on a device of its own.
fn exclusive(model: &Model) -> Engine {
    runs::exclusive(Engine::builder(), model, &Weights::random(model, 5).expect("the model is right"))
}

fn frame(seed: usize) -> Vec<f32> {
    noise(&[FEATURES], seed).into_iter().collect()
}

/// Returns the frames of stream `stream` in push `push`: none, one or two.
fn frames(push: usize, stream: usize) -> Vec<Vec<f32>> {
    (0..(push * 7 + stream * 5) % 3).map(|n| frame(push * 100 + stream * 10 + n)).collect()
}

#[test]
fn streams_give_what_whole_calls_give_on_the_cpu() {
    let stack = Model::new().layer(Lstm::new(FEATURES, 33).num_layers(2)).layer(Gru::new(33, 20));
    for model in [stack.clone(), stack.layer(Linear::new(20, 3))] {
        let (gpu, cpu) = (engine(adapter(), &model), engine(Device::Cpu, &model));
        let mut streams = Streams::new(&gpu, 3).unwrap();
        let mut ids: Vec<StreamId> = (0..3).map(|_| streams.join()).collect();
        let mut given: Vec<(Vec<f32>, Vec<f32>, usize)> = vec![Default::default(); 8];
        for push in 0..12 {
            match push {
                // Room is made while there are states; a row changes its stream; a stream begins again.
                2..=6 => ids.push(streams.join()),
                8 => {
                    streams.leave(ids[1]).unwrap();
                    ids[1] = streams.join();
                    given[1] = Default::default();
                }
                10 => {
                    streams.reset(ids[4]).unwrap();
                    given[4] = Default::default();
                }
                _ => {}
            }
            let pushed: Vec<(usize, Vec<f32>)> =
                (0..ids.len()).flat_map(|s| frames(push, s).into_iter().map(move |frame| (s, frame))).collect();
            let of_streams: Vec<_> = pushed.iter().map(|(s, frame)| (ids[*s], frame)).collect();
            let outputs = streams.push(&of_streams, Results::Wanted).unwrap();
            for ((s, frame), output) in pushed.iter().zip(outputs.outer_iter()) {
                given[*s].0.extend(frame);
                given[*s].1.extend(output);
                given[*s].2 += 1;
            }
        }
        for (frames, outputs, time) in given.into_iter().filter(|given| given.2 > 0) {
            let x = Array2::from_shape_vec((time, FEATURES), frames).unwrap();
            let expected = cpu.run(&Input::features(x)).unwrap().output;
            let got = ArrayD::from_shape_vec(expected.shape(), outputs).unwrap();
            assert_near(&got, &expected, Tolerance::executors(&model, time));
        }
    }
}

#[test]
fn frames_of_graphs_give_what_whole_calls_give_on_the_cpu() {
    let graphs = forward_graphs::graphs().into_iter().map(|(name, model)| (name.to_owned(), model));
    let random = (0..4).map(|seed| (format!("graph {seed}"), forward_graphs::random(seed)));
    graph_streams::frames_give_what_whole_calls_give(&adapter(), graphs.chain(random));
}

#[test]
fn pushes_whose_results_nobody_wants_follow_each_other_and_make_a_ring_of_buffers_once() {
    let model = Model::new().layer(Lstm::new(FEATURES, 33));
    let (gpu, cpu) = (exclusive(&model), engine(Device::Cpu, &model));
    let mut streams = Streams::new(&gpu, 1000).unwrap();
    let ids = [streams.join(), streams.join()];
    let mut x = Array2::zeros((0, FEATURES));
    let mut made = Vec::new();
    for push in 0..40 {
        let frame = frame(push);
        x.push(Axis(0), noise(&[FEATURES], push).into_dimensionality().unwrap().view()).unwrap();
        let results = if push % 13 == 12 || push < 2 { Results::Wanted } else { Results::Unwanted };
        streams.push(&ids.map(|id| (id, &frame)), results).unwrap();
        made.push(gpu.gpu_objects());
    }
    // The device's pace decides when the ring's second and third buffer are needed; a fourth never is.
    assert!(made[39] <= made[1] + 2, "{made:?}");
    let last = frame(40);
    let outputs = streams.push(&ids.map(|id| (id, &last)), Results::Wanted).unwrap().to_owned();
    x.push(Axis(0), noise(&[FEATURES], 40).into_dimensionality().unwrap().view()).unwrap();
    let expected = cpu.run(&Input::features(x)).unwrap().output;
    let expected = expected.index_axis(Axis(0), 40).to_owned();
    for output in outputs.outer_iter() {
        assert_near(&output.to_owned().into_dyn(), &expected, Tolerance::executors(&model, 41));
    }
}

/// More frames in a push than a row has, for a model with a time axis; and for one without, one run for each frame.
#[test]
fn results_for_later_land_while_the_device_goes_on_in_a_ring_of_buffers() {
    const AHEAD: usize = 3;
    let stack = Model::new().layer(Gru::new(FEATURES, 33));
    for model in [stack.clone(), stack.layer(Select::LastStep)] {
        let (gpu, cpu) = (exclusive(&model), engine(Device::Cpu, &model));
        let (mut streams, mut truth) = (Streams::new(&gpu, 2).unwrap(), Streams::new(&cpu, 2).unwrap());
        let (ids, true_ids) = ([streams.join(), streams.join()], [truth.join(), truth.join()]);
        let tolerance = Tolerance::executors(&model, 40);
        let (mut made, mut expected) = (Vec::new(), VecDeque::new());
        for push in 0..20 {
            let frames = [frame(3 * push), frame(3 * push + 1), frame(3 * push + 2)];
            let of = |ids: [StreamId; 2]| [0, 1, 0].into_iter().zip(&frames).map(move |(s, frame)| (ids[s], frame));
            expected.push_back(
                truth.push(&of(true_ids).collect::<Vec<_>>(), Results::Wanted).unwrap().to_owned().into_dyn(),
            );
            assert!(streams.push(&of(ids).collect::<Vec<_>>(), Results::Deferred).unwrap().is_empty());
            if push >= AHEAD {
                let outputs = match push % 2 {
                    0 => streams.receive().unwrap().to_owned(),
                    _ => pollster::block_on(streams.receive_async()).unwrap().to_owned(),
                };
                assert_near(&outputs.into_dyn(), &expected.pop_front().unwrap(), tolerance);
            }
            made.push(gpu.gpu_objects());
        }
        for expected in expected {
            assert_near(&streams.receive().unwrap().to_owned().into_dyn(), &expected, tolerance);
        }
        // The ring of uploads has up to three buffers, depending on the device's pace.
        assert!(made[19] <= made[AHEAD + 1] + 2, "{made:?}");
    }
}

/// While pushes are pending, room is made for more streams, and some begin again.
#[test]
fn results_for_later_are_those_of_their_push_whoever_joins_or_begins_anew_meanwhile() {
    let model = Model::new().layer(Lstm::new(FEATURES, 20));
    let (gpu, cpu) = (engine(adapter(), &model), engine(Device::Cpu, &model));
    let (mut streams, mut truth) = (Streams::new(&gpu, 1).unwrap(), Streams::new(&cpu, 1).unwrap());
    let (mut ids, mut true_ids, mut expected) = (Vec::new(), Vec::new(), Vec::new());
    for push in 0..5 {
        ids.push(streams.join());
        true_ids.push(truth.join());
        if push == 3 {
            streams.reset(ids[0]).unwrap();
            truth.reset(true_ids[0]).unwrap();
        }
        let of =
            |ids: &[StreamId]| ids.iter().enumerate().map(|(s, &id)| (id, frame(push * 10 + s))).collect::<Vec<_>>();
        streams.push(&of(&ids), Results::Deferred).unwrap();
        expected.push(truth.push(&of(&true_ids), Results::Wanted).unwrap().to_owned().into_dyn());
    }
    for expected in expected {
        let got = streams.receive().unwrap().to_owned().into_dyn();
        assert_near(&got, &expected, Tolerance::executors(&model, 5));
    }
}

#[test]
fn who_stops_waiting_for_results_receives_them_with_the_next_wait() {
    let model = Model::new().layer(Gru::new(FEATURES, 20));
    let gpu = engine(adapter(), &model);
    let (mut streams, mut here) = (Streams::new(&gpu, 1).unwrap(), Streams::new(&gpu, 1).unwrap());
    let (id, other) = (streams.join(), here.join());
    for push in 0..2 {
        streams.push(&[(id, frame(push))], Results::Deferred).unwrap();
    }
    let mut context = Context::from_waker(Waker::noop());
    for push in 0..2 {
        let mut waiting = Box::pin(streams.receive_async());
        let came = waiting.as_mut().poll(&mut context).is_ready();
        drop(waiting);
        let expected = here.push(&[(other, frame(push))], Results::Wanted).unwrap().to_owned();
        if !came {
            assert_eq!(streams.receive().unwrap(), expected);
        }
    }
}

#[test]
fn streams_of_one_engine_in_two_threads_have_results_of_their_own() {
    let model = Model::new().layer(Gru::new(FEATURES, 20));
    let (gpu, cpu) = (engine(adapter(), &model), engine(Device::Cpu, &model));
    let ahead = |seed: usize| {
        let (mut streams, mut truth) = (Streams::new(&gpu, 1).unwrap(), Streams::new(&cpu, 1).unwrap());
        let (id, true_id) = (streams.join(), truth.join());
        for push in 0..30 {
            streams.push(&[(id, frame(seed + push))], Results::Deferred).unwrap();
            if push > 1 {
                let expected = truth.push(&[(true_id, frame(seed + push - 2))], Results::Wanted).unwrap().to_owned();
                let got = streams.receive().unwrap().to_owned();
                assert_near(&got.into_dyn(), &expected.into_dyn(), Tolerance::executors(&model, 30));
            }
        }
    };
    std::thread::scope(|scope| {
        let ahead = &ahead;
        for seed in [0, 1000] {
            scope.spawn(move || ahead(seed));
        }
    });
}

#[test]
fn results_that_were_for_later_are_lost_with_their_device() {
    let model = Model::new().layer(Gru::new(FEATURES, 20));
    let gpu = exclusive(&model);
    let mut streams = Streams::new(&gpu, 1).unwrap();
    let id = streams.join();
    streams.push(&[(id, frame(0))], Results::Deferred).unwrap();
    gpu.lose();
    for _ in 0..2 {
        assert_eq!(streams.push(&[(id, frame(1))], Results::Deferred).unwrap_err().kind(), ErrorKind::Lost);
    }
    // It may have arrived before.
    if let Err(error) = streams.receive() {
        assert_eq!(error.kind(), ErrorKind::Lost);
    }
    assert_eq!(streams.receive().unwrap_err().kind(), ErrorKind::Shape);
}

#[test]
fn streams_wait_without_blocking() {
    let model = Model::new().layer(Gru::new(FEATURES, 20));
    let gpu = engine(adapter(), &model);
    let (mut here, mut aside) = (Streams::new(&gpu, 1).unwrap(), Streams::new(&gpu, 1).unwrap());
    let (a, b) = (here.join(), aside.join());
    for push in 0..3 {
        let blocking = here.push(&[(a, frame(push))], Results::Wanted).unwrap();
        let frames = [(b, frame(push))];
        let waiting = pollster::block_on(aside.push_async(&frames, Results::Wanted)).unwrap();
        assert_eq!(blocking, waiting);
    }
}

#[test]
fn a_repeated_call_makes_no_object() {
    let model = Model::new().layer(Lstm::new(FEATURES, 33).bidirectional()).layer(Linear::new(66, 3));
    let gpu = exclusive(&model);
    let inputs: Vec<_> = (1..6).map(|time| Input::features(noise(&[2, time, FEATURES], time))).collect();
    let masked = Input::features(noise(&[2, 4, FEATURES], 9)).lengths([4, 1]);
    let run = || {
        inputs.iter().chain([&masked]).for_each(|input| drop(gpu.run(input).unwrap()));
        pollster::block_on(gpu.run_async(&masked)).unwrap();
    };
    run();
    let made = gpu.gpu_objects();
    assert!(made > 20, "only {made} objects made");
    (0..5).for_each(|_| run());
    assert_eq!(gpu.gpu_objects(), made);
}
