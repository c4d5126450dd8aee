//! Streams of models that are no chain: what is refused and with
//! which message, what is given once, and what begins again.

use gatewave::interface::{Graph, Pin, State, Value};
use gatewave::layer::{Join, LayerKind, Masking, SliceSteps};
use gatewave::stream::{FrameValue, Sampling, StreamId};
use gatewave::{Embedding, NamedTensors, Results, Streams};

use super::*;

fn built(build: impl FnOnce(&mut Graph)) -> Model {
    let mut graph = Model::graph();
    build(&mut graph);
    graph.finish().unwrap()
}

/// Tokens and a sequence that are joined, and a row at each step.
fn three_inputs() -> Model {
    built(|g| {
        let (words, sensor, facts) = (g.tokens("words", 9), g.sequence("sensor", 2), g.row("facts", 3));
        let vectors = g.add("vectors", Embedding::new(9, 4), words);
        let joined = g.add("joined", Join::Concat, [vectors.y(), sensor, facts]);
        let stack = g.add("stack", Gru::new(9, 8), joined);
        let tags = g.add("tags", Linear::new(8, 5), stack);
        g.output("tags", tags);
        g.output("state", stack.hidden());
        g.output("newest", stack.final_hidden());
    })
}

/// A row that begins a stack, and one that is combined with each step.
fn captions() -> Model {
    built(|g| {
        let (words, picture) = (g.tokens("words", 30), g.row("picture", 20));
        let h = g.state("h", State::Hidden);
        let vectors = g.add("vectors", Embedding::new(30, 8), words);
        let upper = g.add("upper", Gru::new(8, 20), vectors);
        g.begin(upper, State::Hidden, picture);
        let lower = g.add("lower", Gru::new(20, 6), upper);
        g.begin(lower, State::Hidden, h);
        let next = g.add("next", Linear::new(6, 30), lower);
        g.output("next", next);
    })
}

#[test]
fn what_needs_later_frames_is_refused_by_its_name() {
    let encoder = |pin: Pin, begin: bool| {
        built(|g| {
            let (source, target) = (g.sequence("source", 4), g.sequence("target", 8));
            let encoder = g.add("encoder", Gru::new(4, 8), source);
            let end = if pin == Pin::Hidden { encoder.hidden() } else { encoder.final_hidden() };
            if begin {
                let decoder = g.add("decoder", Gru::new(8, 8), target);
                g.begin(decoder, State::Hidden, end);
            } else {
                g.add("sum", Join::Add, [target, end]);
            }
        })
    };
    let both_ways = built(|g| {
        let x = g.sequence("x", 4);
        let lower = g.add("lower", Gru::new(4, 4), x);
        let upper = g.add("upper", Lstm::new(4, 2).bidirectional(), lower);
        g.output("y", upper);
    });
    let last = built(|g| {
        let x = g.sequence("x", 4);
        let lower = g.add("lower", Gru::new(4, 4), x);
        let last = g.add("last", Select::LastStep, lower);
        let head = g.add("head", Linear::new(4, 4), last);
        let product = g.add("product", Join::Multiply, [lower, head]);
        g.output("y", product);
    });
    let pieces = built(|g| {
        let x = g.sequence("x", 4);
        let later = g.add("later", SliceSteps::from(1), x);
        let lower = g.add("lower", Gru::new(4, 4), later);
        g.output("y", lower);
    });
    let joined = built(|g| {
        let (x, row) = (g.sequence("x", 4), g.row("row", 4));
        let before = g.add("before", Join::ConcatSteps, [row, x]);
        let lower = g.add("lower", Gru::new(4, 4), before);
        g.output("y", lower);
    });
    let (expected, instead) = ("expected what each frame gives, got", "; run whole sequences, without a stream");
    let cases = [
        (
            encoder(Pin::Hidden, true),
            "layer 1 decoder (gru): expected to begin with what is known before the first frame, got encoder.hidden, which is \
             known after the last one"
                .to_owned(),
        ),
        (
            encoder(Pin::FinalHidden, false),
            format!("layer 1 sum (add): {expected} encoder.final_hidden, which is known after the last one"),
        ),
        (
            both_ways,
            "layer 1 upper (lstm): expected a forward stack, got a bidirectional one: it needs later frames".to_owned(),
        ),
        (last, format!("layer 3 product (multiply): {expected} head, which is known after the last one")),
        (pieces, format!("layer 0 later (slice_steps): {expected} steps that are sliced or joined{instead}")),
        (joined, format!("layer 0 before (concat_steps): {expected} steps that are sliced or joined{instead}")),
    ];
    for (model, text) in cases {
        let refused = Streams::new(&cpu(&model), 1).unwrap_err();
        assert_eq!((refused.kind(), refused.to_string()), (ErrorKind::Model, text));
    }
}

#[test]
fn a_frame_that_does_not_fit_is_refused_and_changes_nothing() {
    let engine = cpu(&three_inputs());
    let mut streams = Streams::new(&engine, 1).unwrap();
    let id = streams.join();
    let (word, sensor) = (("words", FrameValue::Token(3)), ("sensor", FrameValue::Features(&[0.5, 1.0])));
    let message = |error: gatewave::Error| {
        assert_eq!(error.kind(), ErrorKind::Shape);
        error.to_string()
    };
    let refused = streams.push_named(&[(id, [word, sensor])], Results::Wanted).unwrap_err();
    let text = "stream 0.0: facts: expected 3 features before its first frame, got none; set_row sets them";
    assert_eq!(message(refused), text);
    streams.set_row(id, "facts", &[0.1, 0.2, 0.3]).unwrap();
    let long = [0.5, 1.0, 2.0];
    let cases: [(&[(&str, FrameValue<'_>)], &str); 8] = [
        (&[word], "sensor: expected it once in a frame, got none"),
        (&[word, sensor, word], "words: expected it once in a frame, got two"),
        (
            &[word, ("noise", FrameValue::Token(1))],
            "noise: expected a part of a frame (words, sensor), got another name",
        ),
        (
            &[word, sensor, ("facts", FrameValue::Features(&long))],
            "facts: expected no part of a frame, since it has no time axis: set_row sets it, got one",
        ),
        (&[("words", FrameValue::Token(9)), sensor], "words: expected a token from 0 to 8, got 9"),
        (&[("words", FrameValue::Features(&[1.0])), sensor], "words: expected a token, got features"),
        (&[word, ("sensor", FrameValue::Features(&long))], "sensor: expected 2 features, got 3"),
        (&[word, ("sensor", FrameValue::Token(1))], "sensor: expected 2 features, got a token"),
    ];
    for (frame, text) in cases {
        let refused = streams.push_named(&[(id, &[word, sensor][..]), (id, frame)], Results::Wanted).unwrap_err();
        assert_eq!(message(refused), format!("frame 1: {text}"));
    }
    let refused = streams.push(&[(id, [0.0; 2])], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frames: expected words, sensor in each (push_named), got features alone");
    let refused = streams.push_tokens(&[(id, 1)], Results::Wanted).unwrap_err();
    assert_eq!(message(refused), "frames: expected words, sensor in each (push_named), got tokens alone");
    let refused = streams.set_row(id, "words", &[1.0]).unwrap_err();
    assert_eq!(message(refused), "words: expected an input without a time axis (facts), got another name");
    let refused = streams.set_row(id, "facts", &[1.0]).unwrap_err();
    assert_eq!(message(refused), "facts: expected 3 features, got 1");
    let refused = streams.output("state").unwrap_err();
    assert_eq!(message(refused), "state: expected an output that each frame gives (tags, newest), got another name");

    let tags = streams.push_named(&[(id, [sensor, word])], Results::Wanted).unwrap().to_owned();
    let newest = streams.output("newest").unwrap().to_owned();
    let input = Input::tokens(array![3_i64])
        .with_features("sensor", array![[0.5, 1.0]])
        .with_features("facts", array![0.1, 0.2, 0.3]);
    let expected = engine.run(&input).unwrap();
    assert_eq!((tags.into_dyn(), newest.row(0).to_owned().into_dyn()), (expected.output, expected.others[0].clone()));
    assert_eq!(streams.output("tags").unwrap().shape(), [1, 5]);
}

#[test]
fn a_row_meets_each_frame_until_it_is_set_again() {
    let model = built(|g| {
        let (x, row) = (g.sequence("x", 2), g.row("row", 2));
        let sum = g.add("sum", Join::Add, [x, row]);
        g.output("y", sum);
    });
    let engine = cpu(&model);
    let mut streams = Streams::new(&engine, 1).unwrap();
    let (a, b) = (streams.join(), streams.join());
    streams.set_row(a, "row", &[1.0, 2.0]).unwrap();
    streams.set_row(b, "row", &[5.0, 5.0]).unwrap();
    // The plain `push` works as well, since there is one sequence.
    let y = streams.push(&[(a, [0.0, 0.0]), (b, [1.0, 1.0]), (a, [3.0, 3.0])], Results::Wanted).unwrap();
    assert_eq!(y, array![[1.0, 2.0], [6.0, 6.0], [4.0, 5.0]]);
    streams.set_row(a, "row", &[0.0, -1.0]).unwrap();
    streams.reset(b).unwrap();
    let y = streams.push(&[(a, [0.0, 0.0]), (b, [1.0, 1.0])], Results::Wanted).unwrap();
    assert_eq!(y, array![[0.0, -1.0], [6.0, 6.0]]);
    streams.leave(b).unwrap();
    let next = streams.join();
    let refused = streams.push(&[(next, [1.0, 1.0])], Results::Wanted).unwrap_err();
    let text = "stream 1.1: row: expected 2 features before its first frame, got none; set_row sets them";
    assert_eq!(refused.to_string(), text, "what was another's");
}

/// Words after a picture, by one call.
fn whole(engine: &Engine, words: &[i64], picture: &[f32], h: Option<&Array2<f32>>) -> Array1<f32> {
    let mut input = Input::tokens(Array1::from_iter(words.iter().copied()))
        .with_features("picture", Array1::from_iter(picture.iter().copied()));
    if let Some(h) = h {
        input = input.stack_states(1, States::hidden(h.clone()));
    }
    let output = engine.run(&input).unwrap().output;
    output.index_axis(Axis(0), words.len() - 1).to_owned().into_dimensionality().unwrap()
}

#[test]
fn a_stream_begins_with_what_it_was_given_each_time_it_begins() {
    let engine = cpu(&captions());
    let pictures: Vec<Vec<f32>> = (0..3).map(|seed| random(20, seed).to_vec()).collect();
    let h: Array2<f32> = random((1, 6), 9);
    let mut streams = Streams::new(&engine, 1).unwrap();
    let push = |streams: &mut Streams<&Engine>, id: StreamId, word: i64| {
        streams.push_tokens(&[(id, word)], Results::Wanted).unwrap().row(0).to_owned()
    };
    let a = streams.join();
    streams.set_row(a, "picture", &pictures[0]).unwrap();
    streams.set_states(a, 1, &States::hidden(h.clone())).unwrap();
    assert_eq!(push(&mut streams, a, 3), whole(&engine, &[3], &pictures[0], Some(&h)));
    // One begins while another goes on. Setting a row again changes no stream that has begun.
    let b = streams.join();
    streams.set_row(b, "picture", &pictures[1]).unwrap();
    streams.set_row(a, "picture", &pictures[2]).unwrap();
    let both = streams.push_tokens(&[(b, 4), (a, 5)], Results::Wanted).unwrap().to_owned();
    assert_eq!(both.row(0), whole(&engine, &[4], &pictures[1], None));
    assert_eq!(both.row(1), whole(&engine, &[3, 5], &pictures[0], Some(&h)));
    // It begins again: with the row as it is now, and without states.
    streams.reset(a).unwrap();
    assert_eq!(push(&mut streams, a, 6), whole(&engine, &[6], &pictures[2], None));
    assert_eq!(push(&mut streams, b, 7), whole(&engine, &[4, 7], &pictures[1], None));
    streams.set_states(b, 1, &States::hidden(h.clone())).unwrap();
    streams.reset(b).unwrap();
    assert_eq!(push(&mut streams, b, 1), whole(&engine, &[1], &pictures[1], None), "states that nobody saw");

    let message = |error: gatewave::Error| error.to_string();
    let refused = streams.set_states(a, 0, &States::hidden(h.clone())).unwrap_err();
    assert_eq!(message(refused), "states of stack 0 (gru): expected none, since a value of the model begins it");
    let refused = streams.set_states(a, 2, &States::hidden(h.clone())).unwrap_err();
    assert_eq!(message(refused), "states of stack 2: the model has 2 recurrent stack(s), counted from 0");
    let refused = streams.set_states(a, 1, &States::hidden(array![[1.0]])).unwrap_err();
    let text = "states of stack 1 (gru): h: expected [1, 6] (layers · directions, size), got [1, 1]";
    assert_eq!(message(refused), text);
}

#[test]
fn what_is_given_once_goes_by_names_too() {
    let engine = cpu(&captions());
    let (picture, h): (Array2<f32>, Array3<f32>) = (random((1, 20), 1), random((1, 1, 6), 2));
    let mut streams = Streams::new(&engine, 1).unwrap();
    let id = streams.join();
    let mut tensors = NamedTensors::new();
    tensors.insert("h".into(), h.clone().into());
    let refused = streams.set_named(id, &tensors).unwrap_err();
    assert!(refused.to_string().starts_with("picture: expected 20 features without a time axis"), "{refused}");
    tensors.insert("picture".into(), picture.clone().into());
    streams.set_named(id, &tensors).unwrap();
    let y = streams.push_tokens(&[(id, 8)], Results::Wanted).unwrap().row(0).to_owned();
    let h = h.into_shape_with_order((1, 6)).unwrap();
    assert_eq!(y, whole(&engine, &[8], picture.as_slice().unwrap(), Some(&h)));
    tensors.insert("words".into(), array![[1_i64]].into());
    let refused = streams.set_named(id, &tensors).unwrap_err();
    assert_eq!(refused.to_string(), "words: expected what a stream is given once, got what comes frame by frame");
}

#[test]
fn a_graph_that_tokens_cannot_be_drawn_from_is_refused_by_name() {
    let refused = |model: &Model, output: Option<&str>| {
        let engine = cpu(model);
        let mut streams = Streams::new(&engine, 1).unwrap();
        let id = streams.join();
        for row in model.inputs.iter().filter(|input| input.name == "facts") {
            streams.set_row(id, &row.name, &[0.0; 3]).unwrap();
        }
        if let Some(output) = output {
            streams.draw_from(output).unwrap();
        }
        let error = streams.generate(&[(id, 0, Sampling::default())], 3).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Model);
        error.to_string()
    };
    let text = "sensor: expected no sequence beside words, whose tokens are drawn, got one; nothing gives its steps";
    assert_eq!(refused(&three_inputs(), None), text);
    let features = built(|g| {
        let (x, words) = (g.sequence("x", 2), g.tokens("words", 5));
        let vectors = g.add("vectors", Embedding::new(5, 2), words);
        g.add("sum", Join::Add, [x, vectors.y()]);
    });
    assert_eq!(refused(&features, None), "x: expected tokens, to take those that are drawn, got features");
    let ends = built(|g| {
        let words = g.tokens("words", 5);
        let vectors = g.add("vectors", Embedding::new(5, 2), words);
        let stack = g.add("stack", Lstm::new(2, 4), vectors);
        let next = g.add("next", Linear::new(4, 5), stack);
        let cell = g.add("cell", Linear::new(4, 5), stack.final_cell());
        let wide = g.add("wide", Linear::new(4, 6), stack);
        g.output("next", next);
        g.output("cell", cell);
        g.output("wide", wide);
    });
    // The last one is not drawn from, and yet nothing gives a cell state at each step of a draw.
    let text = "the output: expected a number for each of 5 tokens or fewer, got 6";
    assert_eq!(refused(&ends, Some("wide")), text);
    let text = "layer 3 cell (linear): expected what a step gives, to draw from, got a final cell state";
    assert_eq!(refused(&ends, Some("cell")), text);
    let engine = cpu(&ends);
    let mut streams = Streams::new(&engine, 1).unwrap();
    let id = streams.join();
    assert_eq!(streams.generate(&[(id, 0, Sampling::default())], 3).unwrap().shape(), [1, 3]);
    let unknown = streams.draw_from("x").unwrap_err().to_string();
    assert_eq!(unknown, "x: expected an output that each frame gives (next, cell, wide), got another name");
}

#[test]
fn steps_of_one_branch_that_a_model_takes_out_stay_in_the_other() {
    let model = built(|g| {
        let (a, b) = (g.sequence("a", 2), g.sequence("b", 2));
        let masking = g.add("masking", Masking::new(2, 0.0), a);
        let upper = g.add("upper", Gru::new(2, 4), masking);
        let lower = g.add("lower", Gru::new(2, 4), b);
        g.output("upper", upper);
        g.output("lower", lower);
    });
    assert!(
        matches!(model.layers[0].kind, LayerKind::Masking(_)) && model.layers[1].from == [Value::Layer(0, Pin::Output)]
    );
    let engine = cpu(&model);
    let (a, b) = (array![[1.0_f32, 2.0], [0.0, 0.0], [3.0, 0.0]], array![[0.0_f32, 0.0], [1.0, 1.0], [0.0, 0.0]]);
    let expected = engine.run(&Input::features(a.clone()).with_features("b", b.clone())).unwrap();
    for each in [1, 2, 3] {
        let mut streams = Streams::new(&engine, 2).unwrap();
        let (_, id) = (streams.join(), streams.join());
        let (mut upper, mut lower) = (Vec::new(), Vec::new());
        for rows in [0, 1, 2].chunks(each) {
            let rows: Vec<_> = rows.iter().map(|&t| (a.row(t).to_vec(), b.row(t).to_vec())).collect();
            let part = |(a, b)| (id, [("b", FrameValue::Features(b)), ("a", FrameValue::Features(a))]);
            let frames: Vec<_> = rows.iter().map(|(a, b): &(Vec<f32>, Vec<f32>)| part((&a[..], &b[..]))).collect();
            upper.extend(streams.push_named(&frames, Results::Wanted).unwrap().iter().copied());
            lower.extend(streams.output("lower").unwrap().iter().copied());
        }
        assert_eq!(
            (&upper, &lower),
            (&expected.output.iter().copied().collect(), &expected.others[0].iter().copied().collect())
        );
    }
}
