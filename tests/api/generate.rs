//! Streams that generate by themselves: what a draw depends on, and every error message about one that cannot be.

use gatewave::layer::Masking;
use gatewave::stream::{Sampling, StreamId};
use gatewave::{Embedding, Gru, Results, Streams};

use super::*;

fn text_model() -> Model {
    Model::new().layer(Embedding::new(40, 6)).layer(Gru::new(6, 20)).layer(Linear::new(20, 40))
}

fn freely(seed: u64) -> Sampling {
    Sampling::default().temperature(3.0).seed(seed)
}

/// Returns tokens of a stream that begins with `first`; `calls` has the number of tokens of each call.
fn text(engine: &Engine, first: i64, sampling: Sampling, calls: &[usize]) -> Vec<i64> {
    let mut streams = Streams::new(engine, 1).unwrap();
    let id = streams.join();
    let (mut last, mut text) = (first, Vec::new());
    for &steps in calls {
        text.extend(streams.generate(&[(id, last, sampling)], steps).unwrap());
        last = text.last().copied().unwrap_or(first);
    }
    text
}

#[test]
fn any_number_of_steps_a_call_draws_the_same() {
    let engine = cpu(&text_model());
    let whole = text(&engine, 7, freely(1), &[40]);
    assert_eq!(whole.len(), 40);
    for calls in [&[1; 40][..], &[3, 5, 0, 9, 1, 22], &[32, 8], &[5; 8]] {
        assert_eq!(text(&engine, 7, freely(1), calls), whole, "{calls:?}");
    }
    assert_ne!(text(&engine, 7, freely(2), &[40]), whole);
    assert_ne!(text(&engine, 7, freely(1 + (1 << 32)), &[40]), whole, "the seed's high half counts");
}

#[test]
fn who_else_is_in_the_batch_changes_nothing() {
    let engine = cpu(&text_model());
    let alone: Vec<_> = (0..5).map(|n| text(&engine, n, freely(n as u64), &[12])).collect();
    let mut streams = Streams::new(&engine, 1).unwrap();
    let ids: Vec<StreamId> = (0..5).map(|_| streams.join()).collect();
    let given: Vec<_> = (0..5).rev().map(|n| (ids[n], n as i64, freely(n as u64))).collect();
    let drawn = streams.generate(&given, 12).unwrap();
    for (alone, drawn) in alone.iter().rev().zip(drawn.outer_iter()) {
        assert_eq!(drawn.to_vec(), *alone);
    }
    // The same stream begins again, while the others wait.
    streams.reset(ids[3]).unwrap();
    let drawn = streams.generate(&[(ids[3], 3, freely(3))], 12).unwrap();
    assert_eq!(drawn.row(0).to_vec(), alone[3]);
    streams.leave(ids[2]).unwrap();
    let next = streams.join();
    let drawn = streams.generate(&[(next, 2, freely(2))], 12).unwrap();
    assert_eq!(drawn.row(0).to_vec(), alone[2]);
}

#[test]
fn streams_of_one_seed_that_begin_alike_go_on_alike_and_otherwise_not() {
    let engine = cpu(&text_model());
    let mut streams = Streams::new(&engine, 3).unwrap();
    let (a, b, c) = (streams.join(), streams.join(), streams.join());
    streams.push_tokens(&[(a, 1), (b, 1)], Results::Unwanted).unwrap();
    let drawn = streams.generate(&[(a, 5, freely(9)), (b, 5, freely(9)), (c, 5, freely(9))], 20).unwrap();
    assert_eq!(drawn.row(0), drawn.row(1));
    assert_ne!(drawn.row(0), drawn.row(2), "another beginning");
    let waiting = pollster::block_on(streams.generate_async(&[(c, 5, freely(9))], 2)).unwrap().to_owned();
    assert_eq!(waiting.shape(), [1, 2]);
    assert_eq!(streams.generate(&[], 7).unwrap().shape(), [0, 7]);
    assert_eq!(streams.generate(&[(a, 0, freely(9))], 0).unwrap().shape(), [1, 0]);
}

type Given = (StreamId, i64, Sampling);

#[test]
fn a_generation_that_is_refused_changes_nothing() {
    let engine = cpu(&text_model());
    let mut streams = Streams::new(&engine, 2).unwrap();
    let (a, gone) = (streams.join(), streams.join());
    streams.leave(gone).unwrap();
    streams.push_tokens(&[(a, 3)], Results::Unwanted).unwrap();
    let s = Sampling::default();
    let refused: [(&[Given], &str); 6] = [
        (&[(a, 40, s)], "frame 0: expected a token from 0 to 39, got 40"),
        (&[(a, 1, s), (a, 2, s)], "frame 1: stream 0.0: it is there twice"),
        (&[(a, 1, s), (gone, 2, s)], "frame 1: stream 1.0: it has left, or is of other streams"),
        (&[(a, 1, s.temperature(-0.5))], "frame 0: temperature: expected a number, 0 or more, got -0.5"),
        (&[(a, 1, s.temperature(f32::NAN))], "frame 0: temperature: expected a number, 0 or more, got NaN"),
        (&[(a, 1, s.top_k(0))], "frame 0: top_k: expected 1 or more, got 0"),
    ];
    for (given, text) in refused {
        let error = streams.generate(given, 4).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Shape, text));
    }
    let error = streams.generate(&[(a, 1, s)], 2_000_000).unwrap_err();
    let text = "needs 6000000 dispatches or more, a plan has at most 4194304; try fewer steps a call";
    assert!(error.kind() == ErrorKind::Limits && error.to_string().ends_with(text), "{error}");
    let mut expected = Streams::new(&engine, 1).unwrap();
    let b = expected.join();
    expected.push_tokens(&[(b, 3)], Results::Unwanted).unwrap();
    let want = expected.generate(&[(b, 1, freely(4))], 9).unwrap();
    assert_eq!(streams.generate(&[(a, 1, freely(4))], 9).unwrap(), want);
}

#[test]
fn a_model_that_gives_no_number_for_each_of_its_tokens_is_refused() {
    let tokens = || Model::new().layer(Embedding::new(9, 6));
    let models = [
        (
            Model::new().layer(Gru::new(6, 6)),
            "layer 0: expected an embedding or one_hot, to take the tokens that are drawn",
        ),
        (
            Model::new().layer(Masking::new(6, 0.0)),
            "layer 0: expected an embedding or one_hot, to take the tokens that are drawn",
        ),
        (tokens().layer(Gru::new(6, 10)), "the output: expected a number for each of 9 tokens or fewer, got 10"),
        (
            tokens().layer(Linear::new(6, 9).activation(Activation::Relu)),
            "the output: expected linear, softmax or log_softmax, got relu",
        ),
        (tokens().layer(Activation::Sigmoid), "the output: expected linear, softmax or log_softmax, got sigmoid"),
        (
            Model::new().layer(Embedding::new(9, 6).mask_token(0)).layer(Linear::new(6, 9)),
            "layer 0 embedding: expected every token to be a step, got one that is none (0)",
        ),
    ];
    for (model, text) in models {
        let engine = cpu(&model);
        let mut streams = Streams::new(&engine, 1).unwrap();
        let id = streams.join();
        let error = streams.generate(&[(id, 0, Sampling::default())], 3).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Model, text));
    }
}
