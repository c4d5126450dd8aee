//! Stacks that keep their states between the calls of an engine.

use std::thread;

use gatewave::layer::Bias;
use gatewave::weights::{CellWeights, LayerWeights};
use gatewave::{Device, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, Output, Rnn, States, Weights};
use ndarray::{Array3, ArrayD, Axis, array};

use crate::{assert_refused, cpu, random};

/// A stateful LSTM in both directions, a GRU that is not stateful, and a stateful GRU.
fn model() -> Model {
    Model::new()
        .layer(Lstm::new(5, 18).num_layers(2).bidirectional().stateful())
        .layer(Gru::new(36, 7))
        .layer(Gru::new(7, 6).stateful())
        .layer(Linear::new(6, 3))
}

/// Makes the calls of `inputs`, and passes the states of the stateful stacks from each to the next.
fn carried(inputs: &[Input], stateful: &[usize], engine: impl Fn() -> Engine) -> Vec<Output> {
    let mut states: Vec<Option<States>> = Vec::new();
    let call = |input: &Input| {
        let input = states
            .iter()
            .enumerate()
            .filter_map(|(stack, states)| Some((stack, states.clone()?)))
            .fold(input.clone(), |input, (stack, states)| input.stack_states(stack, states));
        let output = engine().run(&input).unwrap();
        let kept = |(stack, states): (usize, &States)| stateful.contains(&stack).then(|| states.clone());
        states = output.states.iter().enumerate().map(kept).collect();
        output
    };
    inputs.iter().map(call).collect()
}

#[test]
fn a_call_begins_where_the_last_one_ended_to_the_bit() {
    let lengths = [[4_i64, 1, 0], [0, 4, 2], [4, 4, 4]];
    let batches = |n: usize| Input::features(random((3, 4, 5), n as u64)).lengths(lengths[n]);
    let sequences = |n: usize| Input::features(random((2 + n, 5), n as u64));
    for inputs in [[0, 1, 2].map(batches), [0, 1, 2].map(sequences)] {
        let engine = cpu(&model());
        let expected = carried(&inputs, &[0, 2], || cpu(&model()));
        for (n, (input, expected)) in inputs.iter().zip(&expected).enumerate() {
            assert_eq!(&engine.run(input).unwrap(), expected, "call {n}");
        }
        engine.reset_states();
        assert_eq!(engine.run(&inputs[0]).unwrap(), expected[0], "from zero again");
    }
}

#[test]
fn states_that_a_call_brings_are_used_and_what_it_ends_with_is_kept() {
    let engine = cpu(&Model::new().layer(Gru::new(5, 6).stateful()));
    let x = || Input::features(random((2, 3, 5), 1));
    let given = States::hidden(random((1, 2, 6), 2));
    engine.run(&x()).unwrap();
    let first = engine.run(&x().states(given.clone())).unwrap();
    let second = engine.run(&x()).unwrap();
    let fresh = cpu(&Model::new().layer(Gru::new(5, 6)));
    assert_eq!(first, fresh.run(&x().states(given)).unwrap());
    assert_eq!(second, fresh.run(&x().states(first.states[0].clone())).unwrap());
}

#[test]
fn another_batch_than_the_last_is_refused_until_the_states_are_reset() {
    let engine = cpu(&model());
    let x = |batch: usize| Input::features(random((batch, 3, 5), 1));
    engine.run(&x(2)).unwrap();
    assert_refused(
        &engine,
        &x(3),
        "states of stack 0 (lstm): expected 2 row(s), as the call before had (the stack is stateful), got 3; \
         begin anew with Engine::reset_states, or in a new run",
    );
    let one = Input::features(random((3, 5), 1));
    assert_eq!(engine.run(&one).unwrap_err().kind(), ErrorKind::Shape);
    let zeros = |dims: &[usize]| ArrayD::zeros(dims);
    let given = |batch: usize| States::with_cell(zeros(&[4, batch, 18]), zeros(&[4, batch, 18]));
    assert_refused(
        &engine,
        &x(3).stack_states(0, given(3)),
        "states of stack 2 (gru): expected 2 row(s), as the call before had (the stack is stateful), got 3; \
         begin anew with Engine::reset_states, or in a new run",
    );
    let both = x(3).stack_states(0, given(3)).stack_states(2, States::hidden(zeros(&[1, 3, 6])));
    engine.run(&both).unwrap();
    engine.run(&x(3)).unwrap();
    engine.reset_states();
    engine.run(&x(2)).unwrap();
    engine.reset_states();
    engine.run(&one).unwrap();
    engine.run(&one.clone()).unwrap();
}

#[test]
fn a_refused_call_leaves_the_states_as_they_were() {
    let inputs = [0, 1].map(|n| Input::features(random((2, 3, 5), n)));
    let expected = carried(&inputs, &[0, 2], || cpu(&model()));
    let engine = cpu(&model());
    assert_eq!(engine.run(&inputs[0]).unwrap(), expected[0]);
    for refused in [Input::features(random((2, 3, 4), 9)), Input::features(random((3, 3, 5), 9))] {
        assert_eq!(engine.run(&refused).unwrap_err().kind(), ErrorKind::Shape);
    }
    assert_eq!(engine.run(&inputs[1]).unwrap(), expected[1]);
}

/// An engine that counts its steps: h' = relu(x + h).
fn counter() -> Engine {
    let model = Model::new().layer(Rnn::new(1, 1).nonlinearity(gatewave::Activation::Relu).bias(Bias::None).stateful());
    let one = array![[1.0]];
    let cell = CellWeights::new(one.clone(), one);
    let weights = Weights::new(vec![LayerWeights::Recurrent(vec![cell])]);
    Engine::new(model, &weights, Device::Cpu).unwrap()
}

#[test]
fn calls_of_two_threads_run_one_after_another() {
    const CALLS: usize = 200;
    let engine = counter();
    let step = Input::features(Array3::ones((1, 1, 1)));
    let count = |_| engine.run(&step).unwrap().output.sum();
    let mut counts: Vec<f32> = thread::scope(|scope| {
        let threads = [0, 1].map(|_| scope.spawn(|| (0..CALLS).map(count).collect::<Vec<_>>()));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    counts.sort_by(f32::total_cmp);
    let every: Vec<f32> = (1..=2 * CALLS).map(|n| n as f32).collect();
    assert_eq!(counts, every, "each call saw what exactly one before it left");
}

#[test]
fn a_call_that_is_given_up_leaves_no_trace() {
    let engine = counter();
    let step = Input::features(Array3::ones((1, 1, 1)));
    drop(engine.run_async(&step));
    assert_eq!(engine.run(&step).unwrap().output.sum(), 1.0);
    assert_eq!(pollster::block_on(engine.run_async(&step)).unwrap().output.sum(), 2.0);
}

#[test]
fn a_model_without_stateful_stacks_keeps_nothing() {
    let engine = cpu(&Model::new().layer(Gru::new(5, 6)));
    let first = engine.run(&Input::features(random((2, 3, 5), 1))).unwrap();
    engine.run(&Input::features(random((4, 3, 5), 1))).unwrap();
    assert_eq!(engine.run(&Input::features(random((2, 3, 5), 1))).unwrap(), first);
    engine.reset_states();
    assert_eq!(first.states[0].h.len_of(Axis(1)), 2);
}
