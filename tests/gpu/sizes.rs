//! Sizes near the limits of a device, and models of unusual width: the adapter gives the CPU's results.

use gatewave::conformance::{Tolerance, compare};
use gatewave::weights::LayerWeights;
use gatewave::{
    Device, Embedding, ErrorKind, Gru, Input, Linear, Lstm, Model, OneHot, Output, Precision, Rnn, Weights,
};
use ndarray::{Array1, Array2, s};

use crate::runs::{assert_near, engine};
use crate::support::devices::adapter;
use crate::support::executor;
use crate::support::noise::noise;

/// Returns the result of the adapter, which must be that of the CPU.
#[track_caller]
fn same_as_the_cpu(model: &Model, input: &Input, time: usize) -> Output {
    let [got, want] = [adapter(), Device::Cpu].map(|device| engine(device, model).run(input).expect("it runs"));
    let tolerance = Tolerance::executors(model, time);
    assert_near(&got.output, &want.output, tolerance);
    assert_eq!(got.states.len(), want.states.len());
    for (got, want) in got.states.iter().zip(&want.states) {
        assert_near(&got.h, &want.h, tolerance);
        if let Some(want) = &want.c {
            assert_near(got.c.as_ref().expect("a cell state"), want, tolerance);
        }
    }
    got
}

fn tokens(classes: i64) -> Input<'static> {
    let tokens = vec![0, classes - 1, classes / 2, 65_537 % classes];
    Input::tokens(Array2::from_shape_vec((2, 2), tokens).expect("four tokens"))
}

/// The deepest product within the 65,535 loop iterations that a dispatch may have: two rows, then one.
#[test]
fn a_dispatch_whose_loops_come_near_the_limit_gives_the_cpus_numbers() {
    for (depth, rows) in [(262_096, 2), (262_112, 1)] {
        let model = Model::new().layer(Linear::new(depth, 16));
        let weights = Weights::random(&model, 5).unwrap();
        let x = noise(&[rows, 1, depth], 3);
        let [got, want] = [adapter(), Device::Cpu].map(|device| {
            let engine = executor::engine(&device, Precision::F32, &model, &weights).unwrap();
            engine.run(&Input::features(x.clone())).unwrap().output
        });
        let tolerance = Tolerance::executors(&model, 1);
        assert_near(&got, &want, tolerance);
        // A loop that stopped before its last sixteen turns would be clearly off.
        let [LayerWeights::Linear { w, .. }] = &weights.layers[..] else { panic!("one linear layer") };
        let last = depth - 64;
        let missing: Array1<f32> = w.slice(s![.., last..]).dot(&x.slice(s![0, 0, last..]));
        let early = &want - &missing.broadcast(want.shape()).unwrap();
        let stopped = compare(early.view(), want.mapv(f64::from).view(), tolerance).unwrap();
        assert!(stopped.used > 10.0, "{stopped}");
    }
}

#[test]
fn a_product_too_deep_for_the_loops_of_a_dispatch_is_refused() {
    const DEPTH: usize = 262_113;
    let model = Model::new().layer(Linear::new(DEPTH, 16));
    let refused = engine(adapter(), &model).run(&Input::features(noise(&[2, 1, DEPTH], 3))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Limits, "{refused}");
    let text = refused.to_string();
    assert!(text.contains("iterations of loops an invocation, the device is trusted with 65535"), "{text}");
    assert!(text.contains("--device cpu"), "{text}");
}

#[test]
fn a_vocabulary_of_a_hundred_thousand_gives_the_cpus_numbers() {
    const VOCABULARY: usize = 100_000;
    let models = [
        Model::new().layer(OneHot::new(VOCABULARY)).layer(Rnn::new(VOCABULARY, 16)),
        Model::new().layer(Embedding::new(VOCABULARY, 8)).layer(Rnn::new(8, 16)),
    ];
    for model in models.map(|model| model.layer(Linear::new(16, VOCABULARY))) {
        let got = same_as_the_cpu(&model, &tokens(100_000), 2);
        assert_eq!(got.output.shape(), [2, 2, VOCABULARY]);
    }
}

#[test]
fn a_batch_of_three_thousand_gives_the_cpus_numbers() {
    let model = Model::new().layer(Gru::new(5, 20));
    same_as_the_cpu(&model, &Input::features(noise(&[3_000, 2, 5], 1)), 2);
}

#[test]
fn a_hidden_state_of_more_than_a_thousand_gives_the_cpus_numbers() {
    let model = Model::new().layer(Lstm::new(7, 1_100));
    same_as_the_cpu(&model, &Input::features(noise(&[1, 2, 7], 1)), 2);
}
