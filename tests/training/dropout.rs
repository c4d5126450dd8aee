//! Dropout in training: what is dropped, and that it is the same on every device and for every split of a batch.

use gatewave::inspect::plan::Limits;
use gatewave::layer::Dropout;
use gatewave::train::{Batch, Convention, Gradients, Loss, Sgd, Targets, Update};
use gatewave::{
    Activation, Device, Engine, EngineBuilder, ErrorKind, Gru, Input, Linear, Lstm, Model, Rnn, Select, Trainer,
    Weights, oracle,
};
use ndarray::{Array3, Axis};

use crate::{compare, devices};

pub(crate) fn features(batch: usize, time: usize, size: usize) -> Batch {
    let x = Array3::from_shape_fn((batch, time, size), |(b, t, n)| ((b * 7 + t * 3 + n) as f32).sin());
    Batch::new(Input::features(x), Targets::none())
}

pub(crate) fn trainer(model: &Model, options: EngineBuilder, seed: Option<u64>) -> Trainer {
    let weights = Weights::random(model, 3).expect("the model is right");
    let update = Update::by(Sgd::like(Convention::Torch).learning_rate(0.001));
    let mut trainer = Trainer::new(model, &weights, Loss::SumOfSquares, update, options).expect("a trainer");
    trainer.set_dropout_seed(seed);
    trainer
}

/// Options with room for a sequence of `rows` rows, so that a larger batch is cut into tiles.
pub(crate) fn in_tiles(device: Device, rows: usize, (time, size): (usize, usize)) -> EngineBuilder {
    let bytes = (rows * time * size.next_multiple_of(16) * 4) as u64;
    let limits = Limits { binding_bytes: bytes, buffer_bytes: bytes, ..Limits::HOST };
    Engine::builder().device(device).limits(limits)
}

/// Returns the factor of `dropout` for each element of a batch `[B, T, F]`. The loss of
/// ones is the sum of the squares, so its gradient is twice the square of the factor.
fn factors(dropout: Dropout, options: EngineBuilder, seed: u64, dims: (usize, usize, usize)) -> Array3<f32> {
    let mut graph = Model::graph();
    let x = graph.sequence("x", dims.2);
    let dropped = graph.add("dropped", dropout, x);
    // The identity for positive numbers: an output must be a layer's result.
    let y = graph.add("shown", Activation::Relu, dropped);
    graph.output("y", y);
    let model = graph.finish().expect("the model is right");
    let batch = Batch::new(Input::features(Array3::ones(dims)), Targets::none());
    let found = trainer(&model, options, Some(seed)).gradients(&batch).expect("gradients");
    let factors = found.inputs["x"].mapv(|d| (d / 2.0).sqrt());
    let loss: f64 = factors.iter().map(|&factor| f64::from(factor * factor)).sum();
    assert!((found.loss - loss).abs() <= 1e-4 * loss, "{} {loss}: forward drops what the way back drops", found.loss);
    factors.into_dimensionality().expect("features of steps")
}

pub(crate) fn on(device: Device) -> EngineBuilder {
    Engine::builder().device(device)
}

#[test]
fn a_share_is_dropped_and_the_mean_stays() {
    let dims = (50, 40, 21);
    let elements = (dims.0 * dims.1 * dims.2) as f64;
    for rate in [0.1_f32, 0.5, 0.9] {
        let factors = factors(Dropout::new(rate), on(Device::Cpu), 7, dims);
        let kept = 1.0 / (1.0 - rate);
        assert!(factors.iter().all(|&factor| factor == 0.0 || (factor - kept).abs() < 1e-5 * kept));
        let dropped = factors.iter().filter(|&&factor| factor == 0.0).count() as f64;
        let p = f64::from(rate);
        // Five standard deviations of a binomial distribution.
        let bound = 5.0 * (elements * p * (1.0 - p)).sqrt();
        assert!((dropped - elements * p).abs() < bound, "{rate}: {dropped} of {elements}");
        let mean = factors.iter().map(|&factor| f64::from(factor)).sum::<f64>() / elements;
        assert!((mean - 1.0).abs() < bound / elements * f64::from(kept), "{rate}: {mean}");
    }
    assert!(factors(Dropout::new(1.0), on(Device::Cpu), 7, dims).iter().all(|&factor| factor == 0.0));
    assert!(factors(Dropout::new(0.0), on(Device::Cpu), 7, dims).iter().all(|&factor| factor == 1.0));
}

#[test]
fn features_are_dropped_at_every_step() {
    let dropout = Dropout::new(0.5).features();
    let factors = factors(dropout, on(Device::Cpu), 1, (9, 6, 21));
    let first = factors.index_axis(Axis(1), 0);
    assert!(factors.axis_iter(Axis(1)).all(|step| step == first));
    let dropped = first.iter().filter(|&&factor| factor == 0.0).count();
    assert!((60..130).contains(&dropped), "{dropped} of 189");
    assert_ne!(first.row(0), first.row(1));
}

#[test]
fn the_same_is_dropped_on_every_device_and_in_tiles_of_a_batch() {
    let dims = (7, 5, 19);
    for dropout in [Dropout::new(0.4), Dropout::new(0.4).features()] {
        let want = factors(dropout, on(Device::Cpu), 5, dims);
        assert_ne!(factors(dropout, on(Device::Cpu), 6, dims), want, "another seed");
        for device in devices() {
            assert_eq!(factors(dropout, on(device.clone()), 5, dims), want, "{device:?}");
            let tiles = factors(dropout, in_tiles(device.clone(), 2, (dims.1, dims.2)), 5, dims);
            assert_eq!(tiles, want, "{device:?} in tiles");
        }
    }
}

/// Stacks with dropout between layers, in one, two and reverse
/// directions, merged and projected, together with dropout layers.
fn models() -> Vec<Model> {
    let head = |model: Model, size| model.layer(Select::LastStep).layer(Dropout::new(0.2)).layer(Linear::new(size, 3));
    vec![
        head(Model::new().layer(Rnn::new(6, 9).num_layers(3).dropout(0.3)), 9),
        head(Model::new().layer(Lstm::new(6, 19).num_layers(2).bidirectional().dropout(0.5)), 38),
        Model::new().layer(Lstm::new(6, 20).num_layers(2).proj_size(5).dropout(0.25)).layer(Dropout::new(0.5)),
        Model::new()
            .layer(Gru::new(6, 17).num_layers(2).bidirectional().merge(gatewave::layer::Merge::Sum).dropout(0.4)),
        Model::new()
            .layer(Gru::new(6, 7).direction(gatewave::layer::Direction::Backwards).num_layers(2).dropout(0.4))
            .layer(Dropout::new(0.3).features())
            .layer(Rnn::new(7, 4)),
        head(
            Model::new()
                .layer(Gru::new(6, 19).input_dropout(0.4))
                .layer(Lstm::new(19, 9).num_layers(2).input_dropout(0.2)),
            9,
        ),
    ]
}

/// Returns the true gradients of the next update of a trainer after `updates` updates.
pub(crate) fn truth(model: &Model, batch: &Batch, weights: &Weights, seed: u64, updates: u64) -> oracle::TrueGradients {
    let (objective, targets) = (Loss::SumOfSquares.into(), [Targets::none()]);
    oracle::gradients_with_dropout(model, weights, &batch.input, (&objective, &targets), (seed, updates + 1))
        .expect("the truth")
}

pub(crate) fn close(got: &Gradients, want: &oracle::TrueGradients, what: &str) {
    let (used, worst) = compare(got, want);
    assert!(used <= 1.0, "{what}: {worst}");
}

/// Compares the gradients of two updates, which drop different elements.
pub(crate) fn are_true_update_by_update(model: &Model, batch: &Batch, device: &Device) {
    let what = format!("{device:?}: {}", model.summary());
    let mut trainer = trainer(model, on(device.clone()), Some(11));
    let mut losses = Vec::new();
    for update in 0..2 {
        let weights = trainer.weights().expect("weights");
        let got = trainer.gradients(batch).expect("gradients");
        close(&got, &truth(model, batch, &weights, 11, update), &what);
        losses.push(got.loss);
        assert_eq!(trainer.step(batch).expect("an update").loss, got.loss, "{what}");
    }
    assert_ne!(losses[0], losses[1], "{what}");
}

#[test]
fn gradients_with_dropout_are_true_update_by_update() {
    let lengths: Vec<i64> = vec![9, 1, 4, 7, 9];
    for model in models() {
        let mut batch = features(5, 9, 6);
        batch.input = batch.input.lengths(lengths.clone());
        for device in devices() {
            are_true_update_by_update(&model, &batch, &device);
        }
    }
}

#[test]
fn in_tiles_gradients_with_dropout_are_true() {
    let model = Model::new().layer(Lstm::new(6, 9).num_layers(2).dropout(0.5)).layer(Dropout::new(0.3));
    let batch = features(30, 40, 6);
    for device in devices() {
        // Room for the hidden states of twenty rows, and for the params of each dispatch.
        let trainer = trainer(&model, in_tiles(device.clone(), 20, (41, 16)), Some(2));
        let weights = trainer.weights().expect("weights");
        let got = trainer.gradients(&batch).expect("gradients");
        close(&got, &truth(&model, &batch, &weights, 2, 0), &format!("{device:?}"));
    }
}

#[test]
fn the_same_training_gives_the_same_bits_and_evaluation_drops_nothing() {
    let model = &models()[1];
    let batch = features(4, 6, 6);
    let plain = {
        let mut model = model.clone();
        model.layers.iter_mut().for_each(|layer| match &mut layer.kind {
            gatewave::layer::LayerKind::Recurrent(r) => *r = r.clone().dropout(0.0),
            gatewave::layer::LayerKind::Dropout(dropout) => *dropout = Dropout::new(0.0),
            _ => {}
        });
        trainer(&model, on(Device::Cpu), Some(1))
    };
    let trained = |seed| {
        let mut trainer = trainer(model, on(Device::Cpu), seed);
        assert_eq!(trainer.loss(&batch).expect("a loss"), plain.loss(&batch).expect("a loss"));
        let output = trainer.run(&batch.input).expect("an output").output;
        assert_eq!(output, plain.run(&batch.input).expect("an output").output);
        for _ in 0..3 {
            trainer.step(&batch).expect("an update");
        }
        trainer.gradients(&batch).expect("gradients")
    };
    assert!(trained(Some(1)) == trained(Some(1)));
    assert!(trained(Some(1)) != trained(Some(2)));
    let first = trainer(model, on(Device::Cpu), None).gradients(&batch).expect("gradients");
    assert!(first == plain.gradients(&batch).expect("gradients"), "without a seed nothing is dropped");
}

#[test]
fn dropout_that_cannot_be_done_is_refused() {
    let refused = |model: Model, loss: Loss| {
        let weights = Weights::random(&model, 1).expect("the model is right");
        let update = Update::by(Sgd::like(Convention::Torch));
        let targets = Targets::classes(ndarray::arr1(&[0, 1]));
        let batch = Batch::new(Input::features(Array3::ones((2, 3, 2))), targets);
        let trainer = Trainer::new(model, &weights, loss, update, on(Device::Cpu));
        trainer.and_then(|trainer| trainer.gradients(&batch)).expect_err("it must be refused")
    };
    let unseen = Model::new().layer(Rnn::new(2, 4)).layer(Dropout::new(0.5)).layer(Select::LastOutput);
    let error = refused(unseen, Loss::SumOfSquares);
    assert_eq!(error.kind(), ErrorKind::Training);
    assert_eq!(
        error.to_string(),
        "layer 1 dropout: expected dropout of something that is taken, got one that nothing takes; a selection takes what it selects of \
         the stack itself: try the dropout after it"
    );
    let softmax = Linear::new(4, 3).activation(gatewave::Activation::Softmax);
    let behind = Model::new().layer(Rnn::new(2, 4)).layer(Select::LastStep).layer(softmax).layer(Dropout::new(0.5));
    let error = refused(behind, gatewave::train::CrossEntropy::default().into());
    assert_eq!(error.kind(), ErrorKind::Model);
    assert_eq!(
        error.to_string(),
        "loss: expected no dropout between cross_entropy and the activation of layer 2 linear, got 0.5 of layer 3 dropout; try it before that \
         layer"
    );
}
