//! Counts memory allocations on the CPU executor, at sizes that one thread computes. A
//! repeated call at the same shape allocates only its outputs, and a push of streams allocates
//! nothing. On a GPU with wgpu's validator, no call allocates more than the one before.

#![allow(unsafe_code, reason = "an allocator is unsafe to write; this one counts and hands on")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell as Counter;

use gatewave::interface::State;
use gatewave::layer::{Cell, Join, Masking, Recurrent};
use gatewave::stream::{FrameValue, Sampling};
use gatewave::train::{Adam, Batch, Clip, Convention, CrossEntropy, Loss, Objective, RmsProp, Targets, Update};
use gatewave::{
    Device, Embedding, Engine, Gru, Input, Linear, Lstm, Model, OneHot, Output, Results, Rnn, Select, Streams, Trainer,
    Weights,
};
use ndarray::{Array1, Array2, Array3, Array4, array};

thread_local! {
    static COUNT: Counter<usize> = const { Counter::new(0) };
}

/// The system's allocator, with a count of each thread's allocations.
struct Counting;

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the result of `work`, and how often it allocated.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = COUNT.get();
    let result = work();
    (result, COUNT.get() - before)
}

fn engine(model: Model) -> Engine {
    let weights = Weights::random(&model, 1).unwrap();
    Engine::new(model, &weights, Device::Cpu).unwrap()
}

/// The arrays of an output, and the list of its states.
fn arrays(output: &Output) -> usize {
    let states = output.states.iter().map(|states| 1 + usize::from(states.c.is_some()));
    1 + usize::from(!output.states.is_empty()) + states.sum::<usize>()
}

#[track_caller]
fn assert_repeats(model: Model, inputs: &[Input]) {
    let engine = engine(model);
    for _ in 0..2 {
        inputs.iter().for_each(|input| drop(engine.run(input).unwrap()));
    }
    for round in 0..20 {
        for (index, input) in inputs.iter().enumerate() {
            let (output, count) = counted(|| engine.run(input).unwrap());
            assert_eq!(count, arrays(&output), "call {index} of round {round}: {:?}", engine.model().layers);
        }
    }
}

fn features(batch: usize, time: usize) -> Input<'static> {
    Input::features(Array3::from_shape_fn((batch, time, 5), |(b, t, i)| (b * 31 + t * 7 + i) as f32 / 100.0))
}

#[test]
fn the_allocator_counts() {
    assert_eq!(counted(|| vec![1_u8; 100]).1, 1);
    assert_eq!(counted(|| Array4::<f32>::zeros((1, 2, 3, 4)).into_dyn()).1, 1);
    assert_eq!(counted(|| 1 + 1).1, 0);
}

#[test]
fn a_repeated_call_asks_for_its_outputs_alone() {
    let cells = [Rnn::new(5, 20), Lstm::new(5, 20), Lstm::new(5, 20).proj_size(3), Gru::new(5, 20)];
    for stack in cells {
        let model = Model::new().layer(stack.num_layers(2).bidirectional());
        assert_repeats(model, &[features(3, 7), features(1, 1)]);
    }
    let sequence = Input::features(Array2::ones((6, 5)));
    let head = Model::new().layer(Lstm::new(5, 20)).layer(Select::FinalHidden).layer(Linear::new(20, 2));
    assert_repeats(head, &[features(3, 7), sequence]);
    assert_repeats(Model::new().layer(Linear::new(5, 4)), &[features(2, 3)]);
}

#[test]
fn masks_tokens_and_states_are_read_where_they_are() {
    let mask = Array2::from_shape_fn((3, 7), |(b, t)| (b + t) % 3 != 0);
    let first = engine(Model::new().layer(Gru::new(5, 20))).run(&features(3, 7)).unwrap();
    let model = Model::new().layer(Gru::new(5, 20)).layer(Linear::new(20, 3));
    let inputs =
        [features(3, 7).lengths([7, 0, 3]), features(3, 7).mask(mask), features(3, 7).states(first.states[0].clone())];
    assert_repeats(model, &inputs);
    assert_repeats(Model::new().layer(Masking::new(5, 0.0)).layer(Gru::new(5, 20)), &[features(3, 7)]);
    let tokens = || Input::tokens(array![[1_i64, 2, 3], [4, 0, 6]]);
    let embedding = Embedding::new(9, 6).mask_token(0);
    assert_repeats(Model::new().layer(embedding).layer(Lstm::new(6, 20)), &[tokens(), tokens().lengths([3, 2])]);
    assert_repeats(Model::new().layer(OneHot::new(9)).layer(Gru::new(9, 20)), &[tokens()]);
}

#[test]
fn a_call_of_what_it_borrows_copies_none_of_it() {
    let (x, mask) = (Array3::<f32>::ones((3, 7, 5)), Array2::from_elem((3, 7), true));
    let numbers = vec![0.5_f32; 7 * 5];
    let gru = engine(Model::new().layer(Gru::new(5, 20)));
    let words = engine(Model::new().layer(Embedding::new(9, 6)).layer(Gru::new(6, 20)));
    let (ids, list) = (array![[1_i64, 2, 3], [4, 0, 6]], vec![5_i64, 6, 7]);
    for round in 0..20 {
        let calls = [
            counted(|| gru.run(&Input::features(&x)).unwrap()),
            counted(|| gru.run(&Input::features(x.view()).mask(&mask)).unwrap()),
            counted(|| gru.run(&Input::features((&numbers, [7, 5]))).unwrap()),
            counted(|| words.run(&Input::tokens(&ids)).unwrap()),
            counted(|| words.run(&Input::tokens(&list)).unwrap()),
        ];
        for (index, (output, count)) in calls.iter().enumerate() {
            // The first two rounds make plans and their memory.
            assert!(round < 2 || *count == arrays(output), "call {index} of round {round}: {count}");
        }
    }
}

#[test]
fn states_that_an_engine_keeps_take_no_memory_anew() {
    assert_repeats(Model::new().layer(Lstm::new(5, 20).stateful()), &[features(3, 7)]);
}

#[test]
fn many_shapes_in_turn_are_kept_together() {
    let inputs: Vec<_> = (1..=12).map(|time| features(2, time)).collect();
    assert_repeats(Model::new().layer(Gru::new(5, 20)), &inputs);
}

#[test]
fn streams_that_go_on_by_themselves_ask_for_nothing() {
    let engine = engine(Model::new().layer(Embedding::new(30, 5)).layer(Lstm::new(5, 20)).layer(Linear::new(20, 30)));
    let mut streams = Streams::new(&engine, 5).unwrap();
    let given = [(streams.join(), 1, Sampling::default()), (streams.join(), 2, Sampling::default().top_k(3))];
    for round in 0..10 {
        let (steps, count) = counted(|| {
            streams.generate(&given[..1], 7).unwrap();
            streams.generate(&given, 5).unwrap().ncols()
        });
        assert!(round < 2 || count == 0, "{count} in round {round}");
        assert_eq!(steps, 5);
    }
}

#[test]
fn a_push_of_streams_asks_for_nothing() {
    let engine = engine(Model::new().layer(Lstm::new(5, 20)).layer(Linear::new(20, 3)));
    let mut streams = Streams::new(&engine, 50).unwrap();
    let ids: Vec<_> = (0..40).map(|_| streams.join()).collect();
    let frame = Array1::from_iter((0..5).map(|i| i as f32)).to_vec();
    let all: Vec<_> = ids.iter().map(|&id| (id, &frame)).collect();
    let some: Vec<_> = ids.iter().step_by(3).map(|&id| (id, &frame)).collect();
    for (round, &id) in ids.iter().take(20).enumerate() {
        let ((), count) = counted(|| {
            streams.push(&all, Results::Wanted).unwrap();
            streams.push(&some, Results::Unwanted).unwrap();
            streams.push(&some, Results::Deferred).unwrap();
            streams.push(&all, Results::Deferred).unwrap();
            assert_eq!([streams.receive().unwrap().nrows(), streams.receive().unwrap().nrows()], [14, 40]);
            streams.reset(id).unwrap();
            let guest = streams.join();
            streams.push(&[(guest, &frame)], Results::Wanted).unwrap();
            streams.leave(guest).unwrap();
        });
        assert!(round < 2 || count == 0, "{count} in round {round}");
    }
}

#[test]
fn a_push_of_streams_of_a_graph_asks_for_nothing() {
    let mut g = Model::graph();
    let (words, x, facts) = (g.tokens("words", 30), g.sequence("x", 5), g.row("facts", 20));
    let vectors = g.add("vectors", Embedding::new(30, 4), words);
    let joined = g.add("joined", Join::Concat, [vectors.y(), x, facts]);
    let stack = g.add("stack", Gru::new(29, 20), joined);
    g.begin(stack, State::Hidden, facts);
    let head = g.add("head", Linear::new(20, 3), stack);
    g.output("newest", stack.final_hidden());
    g.output("head", head);
    let engine = engine(g.finish().unwrap());
    let mut streams = Streams::new(&engine, 3).unwrap();
    let ids = [streams.join(), streams.join()];
    ids.iter().for_each(|&id| streams.set_row(id, "facts", &[0.5; 20]).unwrap());
    let frame = [("words", FrameValue::Token(7)), ("x", FrameValue::Features(&[0.1; 5]))];
    let (both, one) = (ids.map(|id| (id, frame)), [(ids[0], frame), (ids[0], frame)]);
    for round in 0..10 {
        let (shape, count) = counted(|| {
            streams.push_named(&both, Results::Wanted).unwrap();
            streams.push_named(&one, Results::Unwanted).unwrap();
            streams.push_named(&both, Results::Deferred).unwrap();
            streams.receive().unwrap();
            streams.output("head").unwrap().dim()
        });
        assert!(round < 2 || count == 0, "{count} in round {round}");
        assert_eq!(shape, (2, 3));
    }
}

/// All on one thread, which this pool has. Threads that share work allocate blocks of rayon's queue now and then.
#[test]
fn a_thousand_streams_of_128_units_ask_for_nothing() {
    let engine = engine(Model::new().layer(Lstm::new(40, 128)).layer(Linear::new(128, 1)));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| {
        let mut streams = Streams::new(&engine, 1000).unwrap();
        let ids: Vec<_> = (0..1000).map(|_| streams.join()).collect();
        let frame = Array1::from_iter((0..40).map(|i| i as f32)).to_vec();
        let all: Vec<_> = ids.iter().map(|&id| (id, &frame)).collect();
        for round in 0..5 {
            let (frames, count) = counted(|| streams.push(&all, Results::Wanted).unwrap().nrows());
            assert_eq!(frames, 1000);
            assert!(round < 1 || count == 0, "{count} in round {round}");
        }
    });
}

/// Returns the number of allocations of a training step, after some steps of the same shape.
fn step(model: Model, objective: impl Into<Objective>, update: Update, batch: &Batch) -> usize {
    let weights = Weights::random(&model, 1).unwrap();
    let mut trainer = Trainer::new(model, &weights, objective, update, Device::Cpu).unwrap();
    for _ in 0..3 {
        trainer.step(batch).unwrap();
    }
    counted(|| trainer.step(batch).unwrap()).1
}

#[test]
fn a_step_of_training_asks_for_nothing() {
    let classes = || Targets::classes(Array1::from_iter([0, 2, 1]));
    let tokens = Input::tokens(array![[1, 2, 3, 4], [4, 0, 2, 2], [0, 0, 5, 1]]);
    let adam = || Update::by(Adam::like(Convention::Keras));
    for cell in Cell::ALL {
        let stack = |input: usize| Recurrent::new(cell, input, 10);
        let embedded = Model::new().layer(Embedding::new(6, 6).mask_token(0));
        let model = embedded.layer(stack(6).bidirectional()).layer(Select::LastStep).layer(Linear::new(20, 3));
        let batch = Batch::new(tokens.clone(), classes());
        assert_eq!(step(model, CrossEntropy::default(), adam(), &batch), 0, "{cell}: classes of tokens");

        let model = Model::new().layer(stack(5).num_layers(2).dropout(0.5)).layer(Linear::new(10, 2));
        let batch = Batch::new(features(3, 5).lengths(vec![5, 3, 1]), Targets::values(Array3::<f32>::ones((3, 5, 2))));
        let update = Update::by(RmsProp::like(Convention::Torch)).clip(Clip::GlobalNorm(1.0));
        assert_eq!(step(model, Loss::MeanSquared, update, &batch), 0, "{cell}: numbers at each step");
    }
}

/// wgpu's allocations at each submit are its own affair. The test is that neither they nor ours grow from call to call.
#[cfg(feature = "gpu")]
#[test]
fn a_repeated_call_of_a_gpu_asks_for_no_more_than_the_one_before() {
    let model = Model::new().layer(Lstm::new(5, 20).num_layers(2)).layer(Linear::new(20, 3));
    let weights = Weights::random(&model, 1).unwrap();
    let engine = Engine::on_validator(model, &weights, gatewave::Engine::builder()).unwrap();
    let input = features(3, 7);
    let counts: Vec<_> = (0..40).map(|_| counted(|| drop(engine.run(&input).unwrap())).1).collect();
    let (first, last) = (counts[3..13].iter().max(), counts[30..].iter().max());
    assert!(first >= last, "{counts:?}");
}
