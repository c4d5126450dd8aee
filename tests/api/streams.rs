//! Streams: each gives what one call over all its frames gives. Frames may
//! come in any order, and streams may join, leave and begin again in between.

use gatewave::layer::{BatchNorm, Direction, L2Norm, LayerNorm, Masking, PRelu, Padding, RmsNorm};
use gatewave::stream::StreamId;
use gatewave::{Embedding, Results, Streams};

use super::*;

/// A stream so far: its frames and their results.
struct Session {
    id: StreamId,
    frames: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

/// Returns the results of one call over all of a session's frames, frame
/// by frame. A model without a time axis gives one row for each call.
fn whole(engine: &Engine, frames: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let run = |frames: &[Vec<f32>]| {
        let x = Array2::from_shape_fn((frames.len(), frames[0].len()), |(t, i)| frames[t][i]);
        engine.run(&Input::features(x)).unwrap().output
    };
    match run(frames) {
        steps if steps.ndim() == 2 => steps.outer_iter().map(|row| row.iter().copied().collect()).collect(),
        _ => (1..=frames.len()).map(|len| run(&frames[..len]).into_iter().collect()).collect(),
    }
}

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    rows.iter().map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
}

/// Sixty pushes in which everything happens.
fn interleave(engine: &Engine, seed: u64, mut compare: impl FnMut(&Session)) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut streams = Streams::new(engine, 2).unwrap();
    let mut sessions: Vec<Session> = Vec::new();
    for _ in 0..60 {
        if rng.random_range(0..3) == 0 && sessions.len() < 7 {
            sessions.push(Session { id: streams.join(), frames: Vec::new(), outputs: Vec::new() });
        }
        if rng.random_range(0..8) == 0 && !sessions.is_empty() {
            let session = sessions.swap_remove(rng.random_range(0..sessions.len()));
            compare(&session);
            streams.leave(session.id).unwrap();
        }
        if rng.random_range(0..8) == 0 && !sessions.is_empty() {
            let index = rng.random_range(0..sessions.len());
            compare(&sessions[index]);
            streams.reset(sessions[index].id).unwrap();
            (sessions[index].frames, sessions[index].outputs) = (Vec::new(), Vec::new());
        }
        let mut frames = Vec::new();
        for _ in 0..rng.random_range(0..2 * sessions.len() + 1) {
            let index = rng.random_range(0..sessions.len());
            frames.push((index, random(5, rng.random_range(0..1 << 30)).to_vec()));
        }
        let pushed: Vec<_> = frames.iter().map(|(index, frame)| (sessions[*index].id, frame)).collect();
        let outputs = streams.push(&pushed, Results::Wanted).unwrap();
        assert_eq!(outputs.nrows(), frames.len());
        for ((index, frame), output) in frames.iter().zip(outputs.outer_iter()) {
            sessions[*index].frames.push(frame.clone());
            sessions[*index].outputs.push(output.to_vec());
        }
        assert_eq!(streams.len(), sessions.len());
    }
    sessions.iter().for_each(compare);
    assert!(streams.capacity() > 2, "room was never made");
}

#[test]
fn any_interleaving_gives_bit_for_bit_what_whole_calls_give() {
    let mut models: Vec<_> = stacks().into_iter().map(|stack| Model::new().layer(stack)).collect();
    models.push(Model::new().layer(Linear::new(5, 7)).layer(Gru::new(7, 18)).layer(Lstm::new(18, 9)));
    models.push(Model::new().layer(Lstm::new(5, 18)).layer(Select::FinalHidden).layer(Linear::new(18, 2)));
    models.push(Model::new().layer(Gru::new(5, 18)).layer(Select::LastStep));
    models.push(Model::new().layer(Gru::new(5, 18).stateful()).axes(Axes::TimeMajor));
    let model = Model::new().layer(LayerNorm::new(5)).layer(Gru::new(5, 18)).layer(BatchNorm::new(18));
    models.push(model.layer(PRelu::new(18)).layer(Lstm::new(18, 9)).layer(RmsNorm::new(9)).layer(L2Norm::new(9)));
    for (seed, model) in models.into_iter().enumerate() {
        let engine = cpu(&model);
        let mut compared = 0;
        interleave(&engine, seed as u64, |session| {
            engine.reset_states();
            if !session.frames.is_empty() {
                let expected = match engine.model().layers.len() {
                    1 if engine.model().axes == Axes::TimeMajor => {
                        whole(&cpu(&Model::new().layer(Gru::new(5, 18))), &session.frames)
                    }
                    _ => whole(&engine, &session.frames),
                };
                assert_eq!(bits(&session.outputs), bits(&expected), "{:?}", engine.model().layers);
                compared += session.frames.len();
            }
        });
        assert!(compared > 60, "only {compared} frames compared");
    }
}

#[test]
fn steps_that_a_model_takes_out_are_taken_out_of_streams() {
    let engine = cpu(&Model::new().layer(Embedding::new(9, 6).mask_token(0)).layer(Lstm::new(6, 20)));
    let held = Lstm::new(6, 20).padding(Padding::Held);
    let held = cpu(&Model::new().layer(Embedding::new(9, 6).mask_token(0)).layer(held));
    let tokens = [0, 3, 0, 0, 5, 1, 0];
    for engine in [engine, held] {
        let expected = engine.run(&Input::tokens(Array1::from_iter(tokens))).unwrap().output;
        for each in [1, 2, 7] {
            let mut streams = Streams::new(&engine, 3).unwrap();
            let (_, id) = (streams.join(), streams.join());
            let mut outputs = Vec::new();
            for tokens in tokens.chunks(each) {
                let tokens: Vec<_> = tokens.iter().map(|&token| (id, token)).collect();
                outputs.extend(streams.push_tokens(&tokens, Results::Wanted).unwrap().iter().copied());
            }
            assert_eq!(outputs, expected.iter().copied().collect::<Vec<_>>(), "{each} at a time");
        }
    }
    let engine = cpu(&Model::new().layer(Masking::new(2, 0.0)).layer(Gru::new(2, 20)));
    let x = array![[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]];
    let expected = engine.run(&Input::features(x.clone())).unwrap().output;
    let mut streams = Streams::new(&engine, 1).unwrap();
    let id = streams.join();
    for (row, expected) in x.outer_iter().zip(expected.outer_iter()) {
        let output = streams.push(&[(id, row.to_vec())], Results::Wanted).unwrap();
        assert_eq!(output.row(0).to_vec(), expected.iter().copied().collect::<Vec<_>>());
    }
}

#[test]
fn unwanted_results_do_not_come_back_and_their_states_go_on() {
    let engine = cpu(&Model::new().layer(Lstm::new(5, 18)));
    let frames: Vec<_> = (0..4).map(|seed| random(5, seed).to_vec()).collect();
    let mut streams = Streams::new(Arc::new(engine), 4).unwrap();
    let id = streams.join();
    for frame in &frames[..3] {
        assert_eq!(streams.push(&[(id, frame)], Results::Unwanted).unwrap().shape(), [0, 18]);
    }
    let last = streams.push(&[(id, &frames[3])], Results::Wanted).unwrap().row(0).to_vec();
    let expected = whole(&cpu(&Model::new().layer(Lstm::new(5, 18))), &frames);
    assert_eq!(last, expected[3]);
    assert_eq!(streams.push(&[] as &[(StreamId, Vec<f32>)], Results::Wanted).unwrap().shape(), [0, 18]);
}

#[test]
fn results_for_later_are_those_of_each_push_in_turn_whatever_comes_between() {
    let engine = cpu(&Model::new().layer(Gru::new(5, 18)));
    let frames: Vec<_> = (0..7).map(|seed| random(5, seed).to_vec()).collect();
    let expected = whole(&engine, &frames);
    let mut streams = Streams::new(&engine, 4).unwrap();
    let (id, other) = (streams.join(), streams.join());
    assert_eq!(streams.push(&[(id, &frames[0])], Results::Deferred).unwrap().shape(), [0, 18]);
    streams.push(&[(id, &frames[1]), (other, &frames[0]), (id, &frames[2])], Results::Deferred).unwrap();
    streams.push(&[] as &[(StreamId, Vec<f32>)], Results::Deferred).unwrap();
    let here = streams.push(&[(id, &frames[3])], Results::Wanted).unwrap().row(0).to_vec();
    assert_eq!(here, expected[3]);
    streams.push(&[(id, &frames[4])], Results::Deferred).unwrap();
    assert_eq!(streams.receive().unwrap().row(0).to_vec(), expected[0]);
    streams.push(&[(id, &frames[5])], Results::Unwanted).unwrap();
    // A stream that begins again keeps its earlier results.
    streams.reset(other).unwrap();
    let second: Vec<_> = streams.receive().unwrap().outer_iter().map(|row| row.to_vec()).collect();
    assert_eq!(second, [1, 0, 2].map(|step| expected[step].clone()));
    assert_eq!(streams.receive().unwrap().shape(), [0, 18]);
    assert_eq!(streams.receive().unwrap().row(0).to_vec(), expected[4]);
    let refused = streams.receive().unwrap_err();
    let text = "receive: expected a push whose results are deferred, got none that waits";
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Shape, text));
    for _ in 0..16 {
        streams.push(&[(other, &frames[0])], Results::Deferred).unwrap();
    }
    let refused = streams.push(&[(id, &frames[0])], Results::Deferred).unwrap_err();
    let text = "deferred results: expected at most 16 pushes that wait, got one more; receive the first of them";
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Busy, text));
    let last = streams.push(&[(id, &frames[6])], Results::Wanted).unwrap().row(0).to_vec();
    assert_eq!(last, expected[6], "what was refused is no frame of the stream");
}

#[test]
fn a_push_that_is_refused_changes_nothing() {
    let engine = cpu(&Model::new().layer(Gru::new(5, 18)));
    let mut streams = Streams::new(&engine, 1).unwrap();
    let (a, gone) = (streams.join(), streams.join());
    streams.leave(gone).unwrap();
    let frame = |seed| random(5, seed).to_vec();
    let first = streams.push(&[(a, frame(0))], Results::Wanted).unwrap().to_owned();
    let message = |error: gatewave::Error| {
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    let refused = streams.push(&[(a, frame(1)), (a, vec![0.0; 4])], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frame 1: expected 5 features, got 4");
    let refused = streams.push(&[(a, frame(1)), (gone, frame(1))], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frame 1: stream 1.0: it has left, or is of other streams");
    let refused = streams.push_tokens(&[(a, 1)], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frames: expected features (push), got tokens");
    assert!(streams.leave(gone).is_err() && streams.reset(gone).is_err());
    let next = streams.join();
    assert!(next != gone, "a row that is given again is another stream's");
    let second = streams.push(&[(a, frame(1))], Results::Wanted).unwrap().to_owned();
    let expected = whole(&engine, &[frame(0), frame(1)]);
    assert_eq!([first.row(0).to_vec(), second.row(0).to_vec()], expected[..]);

    let tokens = cpu(&Model::new().layer(Embedding::new(9, 6)).layer(Gru::new(6, 18)));
    let mut streams = Streams::new(&tokens, 1).unwrap();
    let id = streams.join();
    let refused = streams.push_tokens(&[(id, 3), (id, 9)], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frame 1: expected a token from 0 to 8, got 9");
    let refused = streams.push(&[(id, [0.0; 6])], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frames: expected tokens (push_tokens), got features");
}

#[test]
fn a_model_that_needs_later_frames_is_refused() {
    let mut backwards = Gru::new(5, 6);
    backwards.direction = Direction::Backwards;
    for (stack, direction) in [(Gru::new(5, 6).bidirectional(), "bidirectional"), (backwards, "backwards")] {
        let engine = cpu(&Model::new().layer(Linear::new(5, 5)).layer(stack));
        let refused = Streams::new(&engine, 1).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Model);
        let text = format!("layer 1 gru: expected a forward stack, got a {direction} one: it needs later frames");
        assert_eq!(refused.to_string(), text);
    }
}

#[test]
fn a_model_that_does_not_begin_at_zero_is_refused() {
    let refused = Streams::new(&cpu(&Model::new().layer(Gru::new(5, 6).learned_states())), 1).unwrap_err();
    let text = "layer 0 gru: expected a forward stack, got one with learned states: streams begin at zero";
    assert_eq!((refused.kind(), refused.to_string().as_str()), (ErrorKind::Model, text));
}

#[test]
fn a_thousand_streams_go_on_at_once() {
    let engine = cpu(&Model::new().layer(Lstm::new(5, 18)));
    let mut streams = Streams::new(&engine, 1).unwrap();
    let ids: Vec<_> = (0..1000).map(|_| streams.join()).collect();
    assert_eq!((streams.len(), streams.capacity(), streams.is_empty()), (1000, 1024, false));
    let mut last = Vec::new();
    for step in 0..3 {
        let frames: Vec<_> = ids.iter().zip(0..).map(|(&id, n)| (id, random(5, 1000 * step + n).to_vec())).collect();
        last = streams.push(&frames, Results::Wanted).unwrap().outer_iter().map(|row| row.to_vec()).collect();
    }
    for n in [0, 1, 500, 999] {
        let frames: Vec<_> = (0..3).map(|step| random(5, 1000 * step + n as u64).to_vec()).collect();
        assert_eq!(bits(&last[n..=n]), bits(&whole(&engine, &frames)[2..]), "stream {n}");
    }
}
