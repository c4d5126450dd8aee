//! Trainers: runs that are interrupted and resumed, states that are kept
//! between batches, gradients that are averaged, and what is refused.
//!
//! On the CPU, and on the adapter that `GATEWAVE_ADAPTER` names.

#[path = "trainer/checkpoints.rs"]
mod checkpoints;
#[path = "trainer/classes.rs"]
mod classes;
#[path = "trainer/fitting.rs"]
mod fitting;
#[path = "trainer/metrics.rs"]
mod metrics;
#[path = "trainer/samples.rs"]
mod samples;
#[path = "trainer/stopping.rs"]
mod stopping;
#[path = "trainer/submitted.rs"]
mod submitted;
mod support;
#[path = "trainer/updates.rs"]
mod updates_on_devices;

use std::fs;
use std::num::NonZeroUsize;

use checkpoints::Folder;
use gatewave::inspect::Planner;
use gatewave::inspect::kernel::Mask;
use gatewave::inspect::plan::{Limits, Shape};
use gatewave::train::{
    Adam, AdamW, Batch, Clip, Convention, CrossEntropy, Dataset, Fit, Gradients, Loss, Objective, RmsProp, Schedule,
    Sgd, Targets, Update,
};
use gatewave::{
    Device, Embedding, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, NamedTensors, Rnn, Select, States, Trainer,
    Weights, oracle,
};
use ndarray::{Array1, Array2, Array3, ArrayD, Axis};
use support::devices::cpu_and_adapter as devices;

#[allow(clippy::cast_possible_truncation, reason = "states are 32-bit floats")]
fn to_f32(x: f64) -> f32 {
    x as f32
}

fn features(shape: (usize, usize, usize), seed: usize) -> Array3<f32> {
    Array3::from_shape_fn(shape, |(b, t, n)| ((b * 7 + t * 3 + n * 5 + seed * 11) as f32).sin())
}

fn tagger() -> Model {
    Model::new().layer(Embedding::new(9, 4)).layer(Lstm::new(4, 5).num_layers(2)).layer(Linear::new(5, 9))
}

/// Window `seed` of three rows of tokens, and the tokens to find.
fn window(seed: usize) -> Batch {
    let tokens =
        |shift: usize| Array2::from_shape_fn((3, 4), |(b, t)| ((b * 5 + (t + shift + 4 * seed) * 3) % 9) as i64);
    Batch::new(Input::tokens(tokens(0)), Targets::classes(tokens(1)))
}

fn begin(update: Update, seed: u64, device: &Device) -> Trainer {
    let weights = Weights::initial(&tagger(), Convention::Torch, seed).expect("weights");
    Trainer::new(tagger(), &weights, CrossEntropy::default(), update, device.clone()).expect("a trainer")
}

fn updates() -> Vec<Update> {
    vec![
        Update::by(Sgd::like(Convention::Torch).learning_rate(0.1)),
        Update::by(Sgd::like(Convention::Keras).learning_rate(0.05).momentum(0.9).nesterov(true))
            .clip(Clip::GlobalNorm(0.5)),
        Update::by(RmsProp::like(Convention::Torch)),
        Update::by(RmsProp::like(Convention::Keras).centered(true).momentum(0.5)),
        Update::by(Adam::like(Convention::Torch).learning_rate(0.01)).clip(Clip::Value(0.1)),
        Update::by(AdamW::like(Convention::Keras).amsgrad(true)),
    ]
}

/// Each window has the gradients of its own steps, from the final states of the window before.
#[test]
fn carried_states_are_given_states_without_their_gradient() {
    let models = [
        Model::new().layer(Lstm::new(3, 6).num_layers(2).bidirectional()).layer(Linear::new(12, 4)),
        Model::new().layer(Gru::new(3, 5)).layer(Lstm::new(5, 6).proj_size(4)).layer(Rnn::new(4, 3)),
        Model::new().layer(Gru::new(3, 5)).layer(Select::LastStep).layer(Linear::new(5, 4)),
    ];
    for device in devices() {
        for model in &models {
            let weights = Weights::random(model, 5).unwrap();
            let update = Update::by(Sgd::like(Convention::Torch).learning_rate(0.05));
            let mut trainer = Trainer::new(model, &weights, Loss::SumOfSquares, update, device.clone()).unwrap();
            trainer.carry(true).unwrap();
            let stacks = model.stacks().count();
            let mut states: Vec<Option<States>> = vec![None; stacks];
            for seed in 0..5 {
                let input = Input::features(features((3, 6, 3), seed)).lengths([6, 3, 5]);
                let mut given = input.clone();
                for (stack, states) in states.iter().enumerate() {
                    if let Some(states) = states {
                        given = given.stack_states(stack, states.clone());
                    }
                }
                let (now, objective) = (trainer.weights().unwrap(), Objective::new(Loss::SumOfSquares));
                let want = oracle::gradients(model, &now, &given, &objective, &[Targets::none()]).unwrap();
                let batch = Batch::new(input, Targets::none());
                // A step carries states as gradients do, and computes with the weights from before its update.
                if seed % 2 == 0 {
                    let got = trainer.gradients(&batch).unwrap();
                    close(&got, &want, &format!("{device:?}, window {seed}:\n{}", model.summary()));
                } else {
                    let got = trainer.step(&batch).unwrap();
                    assert!((got.loss - want.loss).abs() <= 1e-4 * want.loss, "{device:?}, window {seed}");
                }
                let truth = oracle::run(model, &now, &given).unwrap();
                let rounded = |x: &ArrayD<f64>| x.mapv(to_f32);
                states = truth
                    .states
                    .iter()
                    .map(|s| Some(States { h: rounded(&s.h), c: s.c.as_ref().map(rounded) }))
                    .collect();
                if seed == 1 {
                    trainer.reset_rows(&[0, 2]).unwrap();
                    for state in states.iter_mut().flatten().flat_map(|s| [Some(&mut s.h), s.c.as_mut()]).flatten() {
                        state.index_axis_mut(Axis(1), 0).fill(0.0);
                        state.index_axis_mut(Axis(1), 2).fill(0.0);
                    }
                }
                if seed == 3 {
                    trainer.reset_states();
                    states.fill(None);
                }
            }
            assert!(
                trainer
                    .reset_rows(&[3])
                    .unwrap_err()
                    .to_string()
                    .ends_with("expected rows below 3, as the last batch had, got 3")
            );
            let other = Batch::new(Input::features(features((2, 6, 3), 0)), Targets::none());
            let error = trainer.step(&other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Shape);
            assert!(
                error.to_string().starts_with("states of stack 0: expected 3 row(s), as the batch before had"),
                "{error}"
            );
            trainer.reset_states();
            trainer.step(&other).unwrap();
        }
    }
}

fn close(got: &Gradients, want: &oracle::TrueGradients, place: &str) {
    assert!((got.loss - want.loss).abs() <= 1e-4 * want.loss.abs(), "{place}: {} for {}", got.loss, want.loss);
    for (name, want) in &want.weights {
        let most = want.iter().fold(1e-3_f64, |most, x| most.max(x.abs()));
        for (&got, want) in got.weights[name].iter().zip(want) {
            assert!((f64::from(got) - want).abs() <= 5e-4 * most, "{place}: {name}: {got} for {want}");
        }
    }
}

/// A row that was reset begins at the learned states, and only it sends a gradient there.
#[test]
fn rows_that_are_reset_begin_where_the_model_has_learned_to() {
    let model = Model::new().layer(Lstm::new(2, 4).learned_states()).layer(Linear::new(4, 3));
    let weights = Weights::random(&model, 2).unwrap();
    let objective = Objective::new(Loss::SumOfSquares);
    let x = |seed| features((3, 5, 2), seed);
    let begun = oracle::run(&model, &weights, &Input::features(x(0))).unwrap();
    for device in devices() {
        let update = Update::by(Sgd::like(Convention::Torch));
        let mut trainer = Trainer::new(&model, &weights, Loss::SumOfSquares, update, device.clone()).unwrap();
        trainer.carry(true).unwrap();
        let batch = |seed| Batch::new(Input::features(x(seed)), Targets::none());
        trainer.gradients(&batch(0)).unwrap();
        trainer.reset_rows(&[1]).unwrap();
        let got = trainer.gradients(&batch(1)).unwrap();
        // A sum over rows: rows 0 and 2 from the carried states, and row 1 from the beginning.
        let rows = |array: &ArrayD<f64>| array.mapv(to_f32).select(Axis(1), &[0, 2]);
        let states = &begun.states[0];
        let going_on = Input::features(x(1).select(Axis(0), &[0, 2]))
            .states(States { h: rows(&states.h), c: states.c.as_ref().map(rows) });
        let anew = Input::features(x(1).select(Axis(0), &[1]));
        let [mut want, other] = [going_on, anew]
            .map(|input| oracle::gradients(&model, &weights, &input, &objective, &[Targets::none()]).unwrap());
        want.loss += other.loss;
        for (name, sum) in &mut want.weights {
            *sum += &other.weights[name];
        }
        assert!(other.weights["0.h_0"].iter().any(|g| g.abs() > 1e-2), "there is a gradient to find");
        close(&got, &want, &format!("{device:?}"));
        // All rows go on now: none begins at the learned states.
        let none = trainer.gradients(&batch(2)).unwrap();
        assert!(none.weights["0.h_0"].iter().chain(&none.weights["0.c_0"]).all(|&g| g == 0.0));
    }
}

#[test]
fn a_stateful_stack_carries_its_states_and_others_do_not() {
    let model = Model::new().layer(Gru::new(2, 4).stateful());
    let weights = Weights::random(&model, 2).unwrap();
    let batch = Batch::new(Input::features(features((2, 3, 2), 0)), Targets::none());
    let losses = |model: &Model| {
        let update = Update::by(Sgd::like(Convention::Torch).learning_rate(0.0));
        let mut trainer = Trainer::new(model, &weights, Loss::SumOfSquares, update, Device::Cpu).unwrap();
        let mut losses = [0.0; 2].map(|_| trainer.step(&batch).unwrap().loss).to_vec();
        trainer.reset_states();
        losses.push(trainer.loss(&batch).unwrap());
        losses.push(trainer.step(&batch).unwrap().loss);
        losses
    };
    let [first, second, third, fourth] = losses(&model).try_into().unwrap();
    assert!(first != second && first == third && first == fourth, "{first} {second} {third} {fourth}");
    let all = losses(&Model::new().layer(Gru::new(2, 4)));
    assert!(all.iter().all(|loss| *loss == first), "{all:?}");
    let rows = Model::new().layer(Linear::new(2, 2));
    let weights = Weights::random(&rows, 0).unwrap();
    let mut trainer =
        Trainer::new(rows, &weights, Loss::SumOfSquares, Update::by(Sgd::like(Convention::Torch)), Device::Cpu)
            .unwrap();
    assert_eq!(trainer.carry(true).unwrap_err().kind(), ErrorKind::Model);
}

/// Rows with fewer and fewer steps, and targets that do not count.
fn uneven(rows: std::ops::Range<usize>) -> (Batch, f64) {
    let tokens =
        |shift| Array2::from_shape_fn((rows.len(), 8), |(b, t)| (((rows.start + b) * 5 + (t + shift) * 3) % 9) as i64);
    let lengths: Vec<i64> = rows.clone().map(|row| 8 - (row as i64 % 5)).collect();
    let mut targets = tokens(1);
    let mut count = 0;
    for ((b, t), target) in targets.indexed_iter_mut() {
        if (rows.start + b + t).is_multiple_of(3) {
            *target = -100;
        }
        count += usize::from(*target >= 0 && (t as i64) < lengths[b]);
    }
    (Batch::new(Input::tokens(tokens(0)).lengths(lengths), Targets::classes(targets)), count as f64)
}

#[test]
fn gradients_of_parts_averaged_by_what_counts_are_those_of_the_whole() {
    for device in devices() {
        let mut whole = begin(updates()[0], 0, &device);
        let (batch, count) = uneven(0..40);
        let (first, some) = uneven(0..17);
        let (second, others) = uneven(17..40);
        assert_eq!(some + others, count);
        assert!((some / count - 17.0 / 40.0).abs() > 1e-3, "what counts is not the rows");
        let want = whole.gradients(&batch).unwrap();
        let parts = [&first, &second].map(|batch| whole.gradients(batch).unwrap());
        let mean = Gradients::mean([(&parts[0], some / count), (&parts[1], others / count)]).unwrap();
        near(&mean, &want, 1e-5);
        // A step on the whole batch, and an update by the mean of two machines.
        let mut other = begin(updates()[0], 0, &device);
        let (step, applied) = (whole.step(&batch).unwrap(), other.apply(&mean).unwrap());
        assert!((step.loss - applied.loss).abs() < 1e-5 && (step.norm - applied.norm).abs() < 1e-5 * step.norm);
        let after = [whole, other].map(|trainer| trainer.gradients(&batch).unwrap());
        near(&after[0], &after[1], 1e-4);
        // The device computes the batch in tiles. Means are over all that counts in it.
        let limits = Limits { binding_bytes: 12 << 10, ..Limits::HOST };
        let options = Engine::builder().device(device.clone()).limits(limits);
        let weights = Weights::initial(&tagger(), Convention::Torch, 0).unwrap();
        let engine = options.clone().build(tagger(), &weights).unwrap();
        let tile = engine.plan(Shape::new(8, 40, Mask::Live)).unwrap().shape.batch;
        assert!(tile < 40, "a batch in tiles of {tile}");
        let tiled = Trainer::new(tagger(), &weights, CrossEntropy::default(), updates()[0], options).unwrap();
        near(&tiled.gradients(&batch).unwrap(), &want, 1e-5);
        // The caller sets how many rows are computed at once.
        let options = Engine::builder().device(device.clone()).tile_rows(NonZeroUsize::new(7));
        let engine = options.clone().build(tagger(), &weights).unwrap();
        let shape = Shape::new(8, 40, Mask::Live);
        let planner = Planner::for_training(tagger(), &options).unwrap();
        let objective = Objective::new(CrossEntropy::default());
        assert_eq!(planner.plan_gradients(&objective, shape).unwrap().shape.batch, 7);
        assert_eq!(engine.plan(shape).unwrap().shape.batch, 7);
        let tiled = Trainer::new(tagger(), &weights, CrossEntropy::default(), updates()[0], options).unwrap();
        near(&tiled.gradients(&batch).unwrap(), &want, 1e-5);
    }
    let parts = [0.0; 2].map(|_| begin(updates()[0], 0, &Device::Cpu).gradients(&window(0)).unwrap());
    let refused = |parts: &[(&Gradients, f64)]| Gradients::mean(parts.iter().copied()).unwrap_err().to_string();
    assert_eq!(refused(&[]), "expected gradients to average, got none");
    assert_eq!(refused(&[(&parts[0], 1.0), (&parts[1], 0.5)]), "expected shares that are 1 together, got 1.5");
    let mut less = parts[1].clone();
    less.weights.remove("2.bias");
    let text = "2.bias: expected a gradient of 9 elements, got 0";
    assert_eq!(refused(&[(&parts[0], 0.5), (&less, 0.5)]), text);
    assert!(refused(&[(&less, 0.5), (&parts[0], 0.5)]).starts_with("2.bias: expected gradients of one model"));
    let error = begin(updates()[0], 0, &Device::Cpu).apply(&less).unwrap_err();
    assert_eq!(error.to_string(), "update 1: expected a gradient of 2.bias, got none");
}

fn near(got: &Gradients, want: &Gradients, within: f32) {
    assert!((got.loss - want.loss).abs() <= f64::from(within) * want.loss, "{} for {}", got.loss, want.loss);
    assert_eq!(got.weights.len(), want.weights.len());
    for (name, want) in &want.weights {
        let most = want.iter().fold(1e-3_f32, |most, x| most.max(x.abs()));
        for (got, want) in got.weights[name].iter().zip(want) {
            assert!((got - want).abs() <= within * most, "{name}: {got} for {want}");
        }
    }
}

#[test]
fn epochs_are_counted_on_and_carried_states_want_rows_in_their_order() {
    let folder = Folder::new("epochs");
    let model = Model::new().layer(Gru::new(2, 4)).layer(Select::LastStep).layer(Linear::new(4, 1));
    let tensors = NamedTensors::from([
        ("x".to_owned(), features((10, 5, 2), 0).into()),
        ("y".to_owned(), Array1::from_iter((0..10).map(|n| n as f32 / 10.0)).insert_axis(Axis(1)).into()),
    ]);
    let data = Dataset::new(&model, Loss::MeanSquared, tensors).unwrap();
    let weights = Weights::initial(&model, Convention::Torch, 0).unwrap();
    let start = || {
        let update = Update::by(Adam::like(Convention::Torch).learning_rate(0.1));
        let mut trainer = Trainer::new(&model, &weights, Loss::MeanSquared, update, Device::Cpu).unwrap();
        trainer.set_schedule(Schedule::step(2, 0.5)).unwrap();
        trainer
    };
    let settings = Fit::default().batch_size(4);
    let mut whole = start();
    let epochs = whole.fit(&data, None, &settings.clone().epochs(4), |_| {}).unwrap();
    assert_eq!(epochs.iter().map(|epoch| epoch.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(epochs.iter().map(|epoch| epoch.learning_rate).collect::<Vec<_>>(), [0.1, 0.1, 0.05, 0.05]);
    let path = folder.file("epoch.safetensors");
    start().save(&path).unwrap();
    for (number, want) in (1..).zip(&epochs) {
        let mut resumed = start();
        resumed.resume(&path).unwrap();
        let epoch = resumed.fit(&data, None, &settings, |_| {}).unwrap().remove(0);
        assert_eq!((epoch.number, epoch.loss), (number, want.loss));
        resumed.save(&path).unwrap();
    }
    let end = folder.file("end.safetensors");
    whole.save(&end).unwrap();
    assert!(fs::read(&path).unwrap() == fs::read(&end).unwrap());
    whole.carry(true).unwrap();
    let refused =
        |trainer: &mut Trainer, settings: &Fit| trainer.fit(&data, None, settings, |_| {}).unwrap_err().to_string();
    assert!(refused(&mut whole, &settings).starts_with("shuffle: expected the rows in their order"));
    let in_order = settings.shuffle(false);
    let text = refused(&mut whole, &in_order);
    assert!(text.ends_with("got 10 rows in batches of 4"), "{text}");
    // An epoch begins with new states. At a rate of 0, all epochs have the same loss, but not that of separate batches.
    let mut still = start();
    still.set_learning_rate(0.0);
    still.carry(true).unwrap();
    let settings = in_order.batch_size(5).epochs(2);
    let carried = still.fit(&data, None, &settings, |_| {}).unwrap();
    assert_eq!(carried[0].loss, carried[1].loss);
    still.carry(false).unwrap();
    assert_ne!(still.fit(&data, None, &settings, |_| {}).unwrap()[0].loss, carried[0].loss);
}
