//! A step on a device: the gradients of the batch, and the arithmetic of the update on the tensors of a checkpoint.

use std::collections::BTreeMap;

use gatewave::inspect::plan::Limits;
use gatewave::inspect::rule::{clip_factor, squares, update};
use gatewave::layer::{Bias, Cell, Masking, Recurrent, Reset, Role};
use gatewave::train::{Batch, Clip, Convention, CrossEntropy, L2, Loss, RmsProp, Sgd, Targets, Update, WeightDecay};
use gatewave::{Device, Embedding, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, Rnn, Select, Trainer, Weights};
use ndarray::{Array2, Array3};

use super::{devices, features, updates};

/// Every cell and every kind of rows: peepholes, projections, both resets, one bias and none, directions, parts.
fn models() -> Vec<Model> {
    vec![
        Model::new()
            .layer(Lstm::new(3, 18).peepholes().bidirectional())
            .layer(Gru::new(36, 5).bias(Bias::One))
            .layer(Linear::new(5, 4).no_bias()),
        Model::new()
            .layer(Recurrent::new(Cell::Gru(Reset::Before), 3, 17).num_layers(2))
            .layer(Lstm::new(17, 6).proj_size(4)),
        Model::new().layer(Lstm::new(3, 5).learned_states().bidirectional()).layer(Select::LastStep),
        shared_states(),
    ]
}

/// A layer that is called twice, with learned initial states.
fn shared_states() -> Model {
    let gru = || Gru::new(5, 5).learned_states();
    let mut model = Model::new().layer(Linear::new(3, 5)).layer(gru()).layer(gru());
    model.layers[2].prefix = model.layers[1].prefix.clone();
    model
}

/// The naive update's state of a tensor: its weights and moments.
type Kept = (Vec<f32>, Vec<Vec<f32>>);

fn role_of(name: &str) -> Role {
    match name {
        _ if name.contains("weight_hh") => Role::Recurrent,
        _ if name.contains("weight_hr") => Role::Projection,
        _ if name.contains("bias") => Role::Bias,
        _ if name.contains("weight_c") => Role::Diagonal,
        _ if name.ends_with("_0") => Role::State,
        _ => Role::Matrix,
    }
}

fn tensors(trainer: &Trainer) -> BTreeMap<String, Vec<f32>> {
    let weights =
        trainer.weights().expect("tensors of the model").to_tensors(trainer.model()).expect("tensors of the model");
    weights
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.read().expect("tensors of the model").into_owned()))
        .collect()
}

/// Computes the update of each tensor naively.
fn by_hand(
    change: &Update,
    rate: f64,
    t: u64,
    kept: &mut BTreeMap<String, Kept>,
    gradients: &BTreeMap<String, Vec<f32>>,
) {
    let scalars = |name: &str| change.scalars(role_of(name), rate, t).expect("tensors of the model");
    let norms: BTreeMap<&String, f64> =
        kept.iter().map(|(name, (w, _))| (name, squares(&scalars(name), w, &gradients[name]))).collect();
    let all: f64 = norms.values().sum();
    let norms: BTreeMap<String, f64> = norms.into_iter().map(|(name, own)| (name.clone(), own)).collect();
    for (name, (w, moments)) in kept {
        let square = if let Clip::TensorNorm(_) = change.clip { norms[name] } else { all };
        let s = scalars(name);
        let mut moments: Vec<&mut [f32]> = moments.iter_mut().map(Vec::as_mut_slice).collect();
        let factor = clip_factor(&s, super::to_f32(square));
        update(change.rule(), &s, factor, w, &gradients[name], &mut moments);
    }
}

#[test]
fn a_step_is_the_gradients_of_its_batch_and_the_arithmetic_of_the_update() {
    let mut all = updates();
    let penalty = L2::none().on(Role::Matrix, 0.01).on(Role::Recurrent, 0.02);
    all.push(Update::by(RmsProp::like(Convention::Keras)).clip(Clip::TensorNorm(0.05)).l2(penalty));
    let decay = WeightDecay::new(0.1).except([Role::Bias]);
    all.push(Update::by(Sgd::like(Convention::Torch).momentum(0.5).weight_decay(decay)).clip(Clip::TensorNorm(0.5)));
    for device in devices() {
        // All updates with one model, and some updates with the others: pipelines take long to make.
        let of = |(index, model)| all.iter().step_by(1 + 2 * usize::from(index > 0)).map(move |change| (model, change));
        for (model, change) in models().iter().enumerate().flat_map(of) {
            let weights = Weights::random(model, 5).unwrap();
            // A step computes the batch in tiles, whose gradients are added on the device.
            let limits = Limits { binding_bytes: 48 << 10, ..Limits::WEBGPU };
            let options = Engine::builder().device(device.clone()).limits(limits);
            let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, *change, options).unwrap();
            let moments = change.rule().moments().len();
            let kept = |w: Vec<f32>| (w.clone(), vec![vec![0.0; w.len()]; moments]);
            let mut own: BTreeMap<String, Kept> =
                tensors(&trainer).into_iter().map(|(name, w)| (name, kept(w))).collect();
            for t in 1..=2_u64 {
                let input = Input::features(features((40, 4, 3), usize::try_from(t).unwrap()))
                    .lengths((0..40).map(|b| 1 + b % 4));
                let output = trainer.run(&input).unwrap().output;
                let targets = Targets::values(output.mapv(|y| 0.5 * y - 0.3));
                let batch = Batch::new(input, targets);
                let gradients = trainer.gradients(&batch).unwrap();
                by_hand(change, trainer.learning_rate(), t, &mut own, &gradients.weights);
                let trained = trainer.step(&batch).unwrap();
                assert_eq!(trained.update, t);
                assert!((trained.loss - gradients.loss).abs() <= 1e-6 * gradients.loss, "{trained:?}");
                for (name, w) in tensors(&trainer) {
                    for (got, want) in w.iter().zip(&own[&name].0) {
                        let close = (got - want).abs() <= 2e-5 * want.abs().max(1.0);
                        assert!(close, "{device:?}, {change:?}, update {t}, {name}: got {got}, by hand {want}");
                    }
                }
                // Rounding errors are not carried on.
                let now = tensors(&trainer);
                own.iter_mut().for_each(|(name, (w, _))| w.clone_from(&now[name]));
            }
        }
    }
}

#[test]
fn gradients_that_are_applied_are_a_step() {
    for device in devices() {
        for (model, change) in models().iter().zip(updates().into_iter().skip(2)) {
            let weights = Weights::random(model, 3).unwrap();
            let begin = || Trainer::new(model, &weights, Loss::SumOfSquares, change, device.clone()).unwrap();
            let (mut stepped, mut applied) = (begin(), begin());
            for seed in 0..3 {
                let batch = Batch::new(Input::features(features((3, 4, 3), seed)), Targets::none());
                let gradients = applied.gradients(&batch).unwrap();
                assert_eq!(stepped.step(&batch).unwrap(), applied.apply(&gradients).unwrap(), "{device:?}");
            }
            assert!(tensors(&stepped) == tensors(&applied), "{device:?}");
        }
    }
}

/// A table of tokens that is also the last layer's matrix, as in a language model with tied weights.
fn tied(vocabulary: usize, size: usize) -> Model {
    let mut model = Model::new()
        .layer(Embedding::new(vocabulary, size))
        .layer(Gru::new(size, size).bidirectional())
        .layer(Linear::new(2 * size, size))
        .layer(Linear::new(size, vocabulary).no_bias());
    model.layers[3].prefix = model.layers[0].prefix.clone();
    model
}

#[test]
fn tensors_that_layers_share_are_trained_once() {
    for device in devices() {
        for change in updates() {
            let model = tied(19, 6);
            let weights = Weights::initial(&model, Convention::Torch, 2).unwrap();
            let mut trainer = Trainer::new(&model, &weights, CrossEntropy::default(), change, device.clone()).unwrap();
            let mut applied = Trainer::new(&model, &weights, CrossEntropy::default(), change, device.clone()).unwrap();
            let tokens = |shift: usize| Array2::from_shape_fn((4, 5), |(b, t)| ((b * 5 + t * 3 + shift) % 19) as i64);
            let batch = Batch::new(Input::tokens(tokens(0)), Targets::classes(tokens(1)));
            let first = trainer.loss(&batch).unwrap();
            for _ in 0..4 {
                let gradients = applied.gradients(&batch).unwrap();
                let (a, b) = (trainer.step(&batch).unwrap(), applied.apply(&gradients).unwrap());
                assert!((a.norm - b.norm).abs() <= 1e-5 * a.norm, "{device:?}: {a:?}, {b:?}");
                // Both layers still have it.
                let (a, b) = (tensors(&trainer), tensors(&applied));
                for (name, w) in &a {
                    assert!(w.iter().zip(&b[name]).all(|(a, b)| (a - b).abs() < 1e-4), "{device:?}: {name}");
                }
            }
            assert!(trainer.loss(&batch).unwrap() < first, "{device:?}, {change:?}");
        }
    }
}

#[test]
fn a_loss_that_is_no_number_changes_nothing_on_the_device() {
    for device in devices() {
        for change in updates() {
            let model = Model::new().layer(Masking::new(3, 7.0)).layer(Lstm::new(3, 5)).layer(Linear::new(5, 2));
            let weights = Weights::initial(&model, Convention::Torch, 1).unwrap();
            let mut trainer = Trainer::new(&model, &weights, Loss::MeanSquared, change, device.clone()).unwrap();
            let batch = |target: f32| {
                Batch::new(
                    Input::features(features((2, 3, 3), 1)),
                    Targets::values(Array3::from_elem((2, 3, 2), target)),
                )
            };
            trainer.step(&batch(0.5)).unwrap();
            let before = tensors(&trainer);
            // The loss overflows, and no gradient does.
            let error = trainer.step(&batch(1e30)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Numeric, "{error}");
            assert!(error.to_string().contains("the weights are as they were"), "{error}");
            assert!(tensors(&trainer) == before, "{device:?}, {change:?}");
            assert_eq!(trainer.step(&batch(0.5)).unwrap().update, 2);
        }
    }
}

/// The same run gives the same bytes, moments and all.
#[test]
fn the_same_run_gives_the_same_bytes() {
    for device in devices() {
        let run = |device: &Device| {
            let model = &models()[0];
            let weights = Weights::random(model, 5).unwrap();
            let change = updates()[4];
            let mut trainer = Trainer::new(model, &weights, Loss::SumOfSquares, change, device.clone()).unwrap();
            let batch = |seed| Batch::new(Input::features(features((40, 6, 3), seed)), Targets::none());
            let trained: Vec<_> = (0..4).map(|seed| trainer.step(&batch(seed)).unwrap()).collect();
            (trained, tensors(&trainer))
        };
        assert!(run(&device) == run(&device), "{device:?}");
    }
}

#[test]
fn a_row_too_long_to_train_on_is_refused_with_what_would_fit() {
    let model = Model::new().layer(Lstm::new(3, 16));
    let limits = Limits { binding_bytes: 64 << 10, buffer_bytes: 64 << 10, ..Limits::WEBGPU };
    let options = Engine::builder().device(Device::Cpu).limits(limits);
    let weights = Weights::random(&model, 5).unwrap();
    let update = Update::by(Sgd::like(Convention::Torch));
    let mut trainer = Trainer::new(model, &weights, Loss::SumOfSquares, update, options).unwrap();
    let batch = |steps| Batch::new(Input::features(features((2, steps, 3), 1)), Targets::none());
    let error = trainer.step(&batch(5_000)).unwrap_err();
    let said = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Limits, "{said}");
    assert!(said.starts_with("one sequence of 5000 steps with its gradients on CPU: "), "{said}");
    assert!(said.ends_with(" steps would fit: split it and carry the states over"), "{said}");
    let steps = said.split("; a sequence of ").nth(1).and_then(|tail| tail.split(' ').next()).unwrap();
    assert!(trainer.step(&batch(steps.parse().unwrap())).is_ok(), "{said}");
}

/// Threads share rows and columns of products, but no sum.
#[test]
fn one_thread_trains_to_the_bytes_of_several() {
    let run = |model: &Model, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let weights = Weights::random(model, 5).unwrap();
            let mut trainer = Trainer::new(model, &weights, Loss::SumOfSquares, updates()[4], Device::Cpu).unwrap();
            let batch = |seed| Batch::new(Input::features(features((37, 9, 24), seed)), Targets::none());
            let trained: Vec<_> = (0..3).map(|seed| trainer.step(&batch(seed)).unwrap()).collect();
            (trained, tensors(&trainer))
        })
    };
    for model in [
        Model::new().layer(Lstm::new(24, 130).bidirectional()).layer(Linear::new(260, 7)),
        Model::new().layer(Gru::new(24, 65).num_layers(2)).layer(Linear::new(65, 7)),
        Model::new().layer(Rnn::new(24, 33)).layer(Linear::new(33, 7)),
    ] {
        let alone = run(&model, 1);
        for threads in [2, 4] {
            assert!(run(&model, threads) == alone, "{threads} threads: {}", model.summary());
        }
    }
}
