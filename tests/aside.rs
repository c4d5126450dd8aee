//! Futures on the CPU: polling does not block, and a future that is dropped early leaves everything in order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use gatewave::stream::Sampling;
use gatewave::train::{Adam, Batch, Convention, Dataset, Fit, Loss, Targets, Update};
use gatewave::{
    Device, Embedding, Engine, Gru, Input, Linear, Lstm, Model, NamedTensors, Results, Streams, Trainer, Weights,
};
use ndarray::{Array1, Array2, Array3, ArrayD};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// Wakes the thread that polls.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Returns the result of `future` if it takes at most `limit`, as with an executor's timer.
fn timeout<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, begin) = (pin!(future), Instant::now());
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
        thread::park_timeout(limit.checked_sub(begin.elapsed())?);
        // The timer is looked at first, however late the thread wakes.
        limit.checked_sub(begin.elapsed())?;
    }
}

/// Returns the result of `future`, and how often it was polled in vain by a caller that does nothing else.
fn polled_in_vain<T>(future: impl Future<Output = T>) -> (T, usize) {
    let mut future = pin!(future);
    for polls in 0.. {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (result, polls);
        }
        thread::yield_now();
    }
    unreachable!("the range has no end")
}

/// Polls `future` until it has been woken `wakes` times, and drops it. Returns whether it was ready before.
fn dropped_after<T>(wakes: usize, future: impl Future<Output = T>) -> bool {
    struct Count(std::sync::mpsc::Sender<()>);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let (wake, woken) = std::sync::mpsc::channel();
    let (waker, mut future) = (Waker::from(Arc::new(Count(wake))), pin!(future));
    for wakes in (0..=wakes).rev() {
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            return true;
        }
        if wakes > 0 {
            woken.recv().expect("whoever sleeps is woken");
        }
    }
    false
}

fn engine(model: Model) -> Engine {
    let weights = Weights::random(&model, 1).unwrap();
    Engine::new(model, &weights, Device::Cpu).unwrap()
}

fn features(batch: usize, time: usize, size: usize) -> Array3<f32> {
    Array3::from_shape_fn((batch, time, size), |(b, t, i)| ((b * 31 + t * 7 + i) % 17) as f32 / 17.0 - 0.5)
}

/// A call that takes some tenths of a second in any build.
fn long() -> (Engine, Input<'static>) {
    let time = if cfg!(debug_assertions) { 400 } else { 6000 };
    (engine(Model::new().layer(Lstm::new(8, 96))), Input::features(features(1, time, 8)))
}

fn bits(array: &ArrayD<f32>) -> Vec<u32> {
    array.iter().map(|x| x.to_bits()).collect()
}

/// Counts polls, not time: another process may take the core during any of them.
#[test]
fn a_long_call_holds_nobody_up_and_gives_the_same_bits() {
    let (engine, input) = long();
    let want = engine.run(&input).unwrap();
    let (got, polls) = polled_in_vain(engine.run_async(&input));
    assert_eq!(bits(&got.unwrap().output), bits(&want.output));
    assert!(polls > 10, "ready after {polls} polls");
}

/// A plan for a new shape is also made in the background.
#[test]
fn a_call_that_takes_too_long_is_given_up_in_time_and_the_next_is_right() {
    let (engine, input) = long();
    let given_up = (0..5).map(|_| {
        let begin = Instant::now();
        assert!(timeout(Duration::from_millis(1), engine.run_async(&input)).is_none());
        begin.elapsed()
    });
    // The shortest of five, since another process may take the core during some.
    let given_up = given_up.min().unwrap();
    let begin = Instant::now();
    let again = engine.run(&input).unwrap();
    let whole = begin.elapsed();
    assert!(given_up < whole, "{given_up:?} of {whole:?}");
    let want = long().0.run(&input).unwrap();
    assert_eq!(bits(&again.output), bits(&want.output));
}

#[test]
fn calls_overlap() {
    let engine = engine(Model::new().layer(Gru::new(5, 20).bidirectional()).layer(Linear::new(40, 3)));
    let inputs: Vec<_> = (1..9).map(|time| Input::features(features(3, 3 * time, 5))).collect();
    let mut calls: Vec<_> = inputs.iter().map(|input| Box::pin(engine.run_async(input))).collect();
    // All of them are started before the first is awaited.
    let begun = calls.iter_mut().map(|call| call.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    assert!(begun.collect::<Vec<_>>().iter().all(Poll::is_pending));
    for (call, input) in calls.into_iter().zip(&inputs) {
        assert_eq!(bits(&pollster::block_on(call).unwrap().output), bits(&engine.run(input).unwrap().output));
    }
}

#[test]
fn opening_holds_nobody_up() {
    let model = Model::new().layer(Embedding::new(300, 64)).layer(Lstm::new(64, 128).num_layers(2));
    let weights = Weights::random(&model, 1).unwrap();
    let tensors = weights.to_tensors(&model).unwrap();
    let input = Input::tokens(Array2::from_shape_fn((2, 5), |(b, t)| (b * 100 + t) as i64));
    for options in [Engine::builder(), Engine::builder().precision(gatewave::Precision::F16)] {
        let options = options.device(Device::Cpu);
        let want = options.clone().build(&model, &weights).unwrap().run(&input).unwrap();
        let opened = options.clone().load_async(&model, &tensors);
        assert!(pin!(opened).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let opened = [
            pollster::block_on(options.clone().load_async(&model, &tensors)).unwrap(),
            pollster::block_on(options.build_async(&model, &weights)).unwrap(),
        ];
        opened.iter().for_each(|engine| assert_eq!(bits(&engine.run(&input).unwrap().output), bits(&want.output)));
    }
}

#[test]
fn a_dropped_call_leaves_the_states_of_an_engine_as_they_were() {
    let stateful = || engine(Model::new().layer(Lstm::new(5, 20).stateful()));
    let (with, without) = (stateful(), stateful());
    for step in 0..4 {
        let input = Input::features(features(2, 4 + step, 5));
        assert!(!dropped_after(0, with.run_async(&input)));
        let (with, without) = (with.run(&input).unwrap(), without.run(&input).unwrap());
        assert_eq!(bits(&with.output), bits(&without.output), "{step}");
    }
}

/// Only streams with frames in the push need to be reset.
#[test]
fn a_dropped_push_leaves_other_streams_as_they_were() {
    let engine = engine(Model::new().layer(Lstm::new(5, 20)).layer(Linear::new(20, 3)));
    let (mut with, mut without) = (Streams::new(&engine, 3).unwrap(), Streams::new(&engine, 3).unwrap());
    let (a, b) = (with.join(), with.join());
    assert_eq!((without.join(), without.join()), (a, b));
    let frame = |n: u8| Array1::from_iter((0..5).map(|i| f32::from(n) / 9.0 + i as f32)).to_vec();
    let begin = [(a, frame(1)), (b, frame(2))];
    for streams in [&mut with, &mut without] {
        streams.push(&begin, Results::Wanted).unwrap();
    }
    for results in [Results::Wanted, Results::Unwanted, Results::Deferred] {
        assert!(!dropped_after(0, with.push_async(&[(a, frame(3)), (a, frame(4))], results)));
        with.reset(a).unwrap();
        without.reset(a).unwrap();
        let both = [(b, frame(5)), (a, frame(6))];
        let want = without.push(&both, Results::Wanted).unwrap().to_owned();
        assert_eq!(pollster::block_on(with.push_async(&both, Results::Wanted)).unwrap(), want, "{results:?}");
    }
    assert!(with.receive().is_err(), "a push that was dropped is not received");
}

#[test]
fn dropped_tokens_leave_streams_that_draw_as_they_were() {
    let engine = engine(Model::new().layer(Embedding::new(30, 5)).layer(Gru::new(5, 20)).layer(Linear::new(20, 30)));
    let (mut with, mut without) = (Streams::new(&engine, 2).unwrap(), Streams::new(&engine, 2).unwrap());
    let ids = [with.join(), with.join()];
    assert_eq!([without.join(), without.join()], ids);
    for round in 0..3 {
        let asked = ids.map(|id| (id, round, Sampling::default().seed(7)));
        assert!(!dropped_after(0, with.generate_async(&asked[..1], 9)));
        with.reset(ids[0]).unwrap();
        without.reset(ids[0]).unwrap();
        let want = without.generate(&asked, 9).unwrap().to_owned();
        assert_eq!(pollster::block_on(with.generate_async(&asked, 9)).unwrap(), want, "{round}");
    }
}

fn weights(trainer: &Trainer) -> Vec<u32> {
    let tensors = trainer.weights().unwrap().to_tensors(trainer.model()).unwrap();
    tensors.iter().flat_map(|(_, t)| t.read().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>()).collect()
}

fn trainer(model: &Model) -> Trainer {
    let weights = Weights::random(model, 2).unwrap();
    Trainer::new(model.clone(), &weights, Loss::MeanSquared, Update::by(Adam::like(Convention::Torch)), Device::Cpu)
        .unwrap()
}

fn batch() -> Batch {
    Batch::new(Input::features(features(3, 7, 5)), Targets::values(Array3::<f32>::ones((3, 7, 2))))
}

/// It may have been at any point: `updates` says whether it was done, and the next step follows it.
#[test]
fn a_dropped_step_is_done_or_not_done() {
    let stack = Lstm::new(5, 12);
    for stack in [stack.clone(), stack.clone().learned_states(), stack.stateful()] {
        let model = Model::new().layer(stack).layer(Linear::new(12, 2));
        let (mut with, mut without) = (trainer(&model), trainer(&model));
        let (mut want, mut left) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            want.push(without.step(&batch()).unwrap());
            left.push(weights(&without));
        }
        let (mut done, mut undone, mut counted) = (0, 0, 0);
        for wakes in [0, 1, 2, 3, 0, 1, 2, 1] {
            let was_ready = dropped_after(wakes, with.step_async(&batch()));
            let next = pollster::block_on(with.step_async(&batch())).unwrap();
            let skipped = usize::try_from(next.update).unwrap() - 1 - counted;
            assert!(skipped <= 1 && !(was_ready && skipped == 0), "{skipped} after {wakes}");
            if skipped == 1 {
                done += 1
            } else {
                undone += 1
            }
            counted += skipped + 1;
            assert_eq!(next, want[counted - 1], "after {wakes}");
            assert_eq!(weights(&with), left[counted - 1], "after {wakes}");
        }
        assert!(done > 0 && undone > 0, "{done} {undone}");
    }
}

#[test]
fn training_and_evaluating_hold_nobody_up() {
    let model = Model::new().layer(Lstm::new(5, 12)).layer(Linear::new(12, 2));
    let tensors = NamedTensors::from([
        ("x".to_owned(), features(9, 7, 5).into()),
        ("y".to_owned(), Array3::<f32>::ones((9, 7, 2)).into()),
    ]);
    let data = Dataset::new(&model, Loss::MeanSquared, tensors).unwrap();
    let (mut with, mut without) = (trainer(&model), trainer(&model));
    assert!(!dropped_after(0, with.step_async(&batch())));
    assert!(!dropped_after(0, with.evaluate_async(&data, 4)));
    assert!(!dropped_after(0, with.loss_async(&batch())));
    assert!(!dropped_after(0, with.gradients_async(&batch())));
    assert_eq!(pollster::block_on(with.evaluate_async(&data, 4)).unwrap(), without.evaluate(&data, 4).unwrap());
    let settings = Fit::default().epochs(2).batch_size(4);
    // What a dropped fit leaves does not disturb a later one: another trainer goes on alike from the same checkpoint.
    assert!(!dropped_after(3, with.fit_async(&data, None, &settings, |_| {})));
    with.step(&batch()).unwrap();
    let checkpoint = std::env::temp_dir().join(format!("gatewave-aside-{}.safetensors", std::process::id()));
    with.save(&checkpoint).unwrap();
    without.resume(&checkpoint).unwrap();
    std::fs::remove_file(&checkpoint).unwrap();
    assert_eq!(with.fit(&data, None, &settings, |_| {}).unwrap().len(), 2);
    without.fit(&data, None, &settings, |_| {}).unwrap();
    assert_eq!(weights(&with), weights(&without));
}

/// Neither a pool whose only thread is the caller's, nor one whose threads all wait.
#[test]
fn pools_whose_threads_wait_do_not_wait_for_ever() {
    let (engine, input) = long();
    let want = bits(&engine.run(&input).unwrap().output);
    let run = || bits(&pollster::block_on(engine.run_async(&input)).unwrap().output);
    thread::scope(|scope| {
        let alone = || {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().unwrap();
            pool.install(run)
        };
        assert_eq!(scope.spawn(alone).join().unwrap(), want);
    });
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let all: Vec<_> = pool.install(|| (0..4).into_par_iter().map(|_| run()).collect());
    assert!(all.iter().all(|bits| *bits == want));
}

#[test]
fn futures_go_from_thread_to_thread() {
    fn sent<T: Send>(_: &T) {}
    let engine = engine(Model::new().layer(Gru::new(5, 8)).layer(Linear::new(8, 2)));
    let mut streams = Streams::new(&engine, 1).unwrap();
    let id = streams.join();
    sent(&streams.push_async(&[(id, [0.0; 5])], Results::Wanted));
}

/// A step of a trainer begins in one thread and ends in another.
#[test]
fn a_step_goes_from_thread_to_thread() {
    let model = Model::new().layer(Lstm::new(5, 16)).layer(Linear::new(16, 2));
    let (mut with, mut without, batch) = (trainer(&model), trainer(&model), batch());
    without.step(&batch).unwrap();
    thread::scope(|scope| {
        let mut step = Box::pin(with.step_async(&batch));
        assert!(step.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(scope.spawn(move || pollster::block_on(step).unwrap().update).join().unwrap(), 1);
    });
    assert_eq!(weights(&with), weights(&without));
    let input = Input::features(features(1, 4, 5));
    let engine = pollster::block_on(with.engine_async(Device::Cpu)).unwrap();
    let before = engine.run(&input).unwrap().output;
    let apart = |trainer: &Trainer| {
        let now = trainer.run(&input).unwrap().output;
        now.iter().zip(&before).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(apart(&with) < 1e-6);
    // It has a copy of the weights, which no later step changes.
    with.step(&batch).unwrap();
    assert_eq!(bits(&engine.run(&input).unwrap().output), bits(&before));
    assert!(apart(&with) > 1e-4);
}
