//! The CPU executor against the oracle, PyTorch, a trained model and a naive generator of tokens, and at large sizes.

mod support;

use gatewave::conformance::{Tolerance, compare};
use gatewave::layer::{Cell, Recurrent, Reset};
use gatewave::{Activation, Device, Engine, Gru, Input, Linear, Lstm, Model, Output, Precision, Rnn, Weights, oracle};
use ndarray::{Axis, concatenate, s};
use support::noise::noise;
use support::{drawing, executor, forward_graphs, graph_streams};

#[test]
fn every_case_of_the_table_gives_the_truth() {
    executor::table(&Device::Cpu, 1, &[Engine::builder()]);
}

#[test]
fn a_planted_bug_overshoots_the_tolerance_tenfold() {
    executor::planted_bugs(&Device::Cpu);
}

#[test]
fn every_fixture_gives_what_pytorch_gives() {
    executor::fixtures_of_pytorch(&Device::Cpu);
}

#[test]
fn shakespeares_logits_and_states_are_pytorchs() {
    executor::shakespeare(&Device::Cpu);
}

#[test]
fn chains_are_those_drawn_by_hand() {
    drawing::chains_are_those_drawn_by_hand(&Device::Cpu);
}

#[test]
fn streams_go_on_as_if_they_were_pushed() {
    drawing::streams_go_on_as_if_they_were_pushed(&Device::Cpu, drawing::models());
}

#[test]
fn frames_of_graphs_give_what_whole_calls_give() {
    let graphs = forward_graphs::graphs().into_iter().map(|(name, model)| (name.to_owned(), model));
    let random = (0..60).map(|seed| (format!("graph {seed}"), forward_graphs::random(seed)));
    graph_streams::frames_give_what_whole_calls_give(&Device::Cpu, graphs.chain(random));
}

#[test]
fn draws_of_graphs_are_the_likeliest_of_whole_calls() {
    graph_streams::draws_are_the_likeliest_of_whole_calls(&Device::Cpu);
}

#[test]
fn infinities_end_in_the_limits_of_the_gates() {
    executor::infinities(&Device::Cpu);
}

#[test]
fn a_draw_from_nothing_is_an_error() {
    drawing::a_draw_from_nothing_is_an_error(&Device::Cpu);
}

#[test]
fn a_large_vocabulary_is_drawn_from() {
    drawing::a_large_vocabulary_is_drawn_from(&Device::Cpu);
}

#[test]
fn numbers_drawn_by_hand_are_those_of_random123() {
    let known = [
        ([0; 2], [0; 2], [0x6b20_0159, 0x99ba_4efe]),
        ([u32::MAX; 2], [u32::MAX; 2], [0x1cb9_96fc, 0xbb00_2be7]),
        ([0x1319_8a2e, 0x0370_7344], [0x243f_6a88, 0x85a3_08d3], [0xc492_3a9c, 0x483d_f7a0]),
    ];
    for (key, counter, words) in known {
        assert_eq!(drawing::threefry(key, counter), words);
    }
}

fn engine(model: &Model, weights: &Weights) -> Engine {
    executor::engine(&Device::Cpu, Precision::F32, model, weights).expect("the engine opens")
}

#[test]
fn a_hundred_thousand_steps_in_one_call_are_ten_calls_with_the_state_carried() {
    const TIME: usize = 100_000;
    const PIECES: usize = 10;
    let model = Model::new().layer(Lstm::new(3, 16));
    let engine = engine(&model, &Weights::random(&model, 5).expect("the model is right"));
    let x = noise(&[1, TIME, 3], 2);
    let whole = engine.run(&Input::features(x.clone())).expect("the whole runs");
    let mut pieces: Vec<Output> = Vec::new();
    for piece in x.axis_chunks_iter(Axis(1), TIME / PIECES) {
        let mut input = Input::features(piece.to_owned());
        if let Some(before) = pieces.last() {
            input = input.states(before.states[0].clone());
        }
        pieces.push(engine.run(&input).expect("a piece runs"));
    }
    assert_eq!(pieces.len(), PIECES);
    let outputs: Vec<_> = pieces.iter().map(|piece| piece.output.view()).collect();
    let joined = concatenate(Axis(1), &outputs).expect("pieces of one sequence");
    // Every sum is the same, so not a bit may differ.
    assert!(joined == whole.output);
    assert!(pieces[PIECES - 1].states == whole.states);
    // Carried states matter during the first steps of a piece.
    let fresh = engine.run(&Input::features(x.slice(s![.., TIME / PIECES..2 * TIME / PIECES, ..]).to_owned()));
    assert!(fresh.expect("a piece runs").output != pieces[1].output);
}

#[test]
fn two_thousand_units_give_the_truth() {
    const TIME: usize = 2;
    let model = Model::new().layer(Gru::new(3, 2_000));
    let weights = Weights::random(&model, 5).expect("the model is right");
    let input = Input::features(noise(&[1, TIME, 3], 1));
    let got = engine(&model, &weights).run(&input).expect("the model runs");
    let want = oracle::run(&model, &weights, &input).expect("the oracle runs");
    for (got, want) in [(&got.output, &want.output), (&got.states[0].h, &want.states[0].h)] {
        let compared = compare(got.view(), want.view(), Tolerance::executor(&model, TIME)).expect("the same shapes");
        assert!(compared.passed(), "{compared}");
    }
}

#[test]
fn a_softmax_over_a_hundred_thousand_classes_sums_to_one() {
    const CLASSES: usize = 100_000;
    let model = Model::new().layer(Linear::new(8, CLASSES).activation(Activation::Softmax));
    let weights = Weights::random(&model, 5).expect("the model is right");
    let output = engine(&model, &weights).run(&Input::features(noise(&[2, 1, 8], 1))).expect("the model runs").output;
    for row in output.lanes(Axis(2)) {
        assert_eq!(row.len(), CLASSES);
        let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        assert!(row.iter().all(|&p| 0.0 < p && p < 1e-3), "no class has it all");
    }
}

/// Models of every kind of step, large enough for a team of threads.
fn models_for_crews() -> Vec<Model> {
    let before = Cell::Gru(Reset::Before);
    vec![
        Model::new().layer(Rnn::new(24, 272)),
        Model::new().layer(Lstm::new(24, 176).num_layers(2)),
        Model::new().layer(Lstm::new(24, 176).bidirectional()),
        Model::new().layer(Lstm::new(24, 176).proj_size(72)),
        Model::new().layer(Gru::new(24, 176)),
        Model::new().layer(Recurrent::new(before, 24, 176).bidirectional()),
    ]
}

#[test]
fn teams_of_any_size_give_the_bits_of_one_thread() {
    const TIME: usize = 15;
    for model in models_for_crews() {
        let engine = engine(&model, &Weights::random(&model, 5).expect("the model is right"));
        for batch in [1, 40] {
            let x = noise(&[batch, TIME, 24], 2);
            let lengths = (0..batch).map(|row| (TIME - row % 4) as i64);
            for input in [Input::features(x.clone()), Input::features(x).lengths(lengths)] {
                let run = |threads: usize| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
                    pool.install(|| engine.run(&input)).expect("the model runs")
                };
                let alone = run(1);
                for threads in [2, 4, 7] {
                    let together = run(threads);
                    assert!(together.output == alone.output, "{threads} threads, batch {batch}: {model:?}");
                    assert!(together.states == alone.states, "{threads} threads, batch {batch}: {model:?}");
                }
            }
        }
    }
}

#[test]
fn calls_that_share_too_few_threads_end_and_agree() {
    let model = Model::new().layer(Lstm::new(24, 176));
    let engine = engine(&model, &Weights::random(&model, 5).expect("the model is right"));
    let input = Input::features(noise(&[1, 40, 24], 2));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    let alone = engine.run(&input).expect("the model runs");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let got = pool.install(|| engine.run(&input)).expect("the model runs");
                    assert!(got.output == alone.output);
                }
            });
        }
    });
}
