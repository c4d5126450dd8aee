//! Steps whose numbers are received later: they are steps like any other, in the same order.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use gatewave::train::{Adam, Batch, Convention, CrossEntropy, Loss, Sgd, Targets, Trained, Update};
use gatewave::{ErrorKind, Input, Linear, Lstm, Model, Trainer, Weights};
use ndarray::Array3;

use super::{begin, devices, features, updates, window};

/// The bytes of all weights.
fn bytes(trainer: &Trainer) -> Vec<u32> {
    let tensors = trainer.weights().expect("weights").to_tensors(trainer.model()).expect("tensors of the model");
    let bits = |x: &f32| x.to_bits();
    tensors
        .iter()
        .flat_map(|(_, tensor)| tensor.read().expect("a tensor of the model").iter().map(bits).collect::<Vec<_>>())
        .collect()
}

/// Trains on `batches`; each step is received after `behind` later ones were submitted.
fn run(mut trainer: Trainer, batches: &[Batch], behind: usize) -> (Vec<Trained>, Vec<u32>) {
    let mut all = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        trainer.submit(batch).expect("a step");
        if index >= behind {
            all.push(trainer.receive().expect("a step that waits"));
        }
    }
    while all.len() < batches.len() {
        all.push(trainer.receive().expect("a step that waits"));
    }
    (all, bytes(&trainer))
}

#[test]
fn submitted_steps_are_steps() {
    let batches: Vec<_> = (0..9).map(window).collect();
    for device in devices() {
        for update in updates() {
            let trainer = || begin(update, 7, &device);
            let mut stepped = trainer();
            let want: Vec<_> = batches.iter().map(|batch| stepped.step(batch).unwrap()).collect();
            for behind in [0, 1, 8] {
                assert_eq!(run(trainer(), &batches, behind), (want.clone(), bytes(&stepped)), "{device:?} {behind}");
            }
        }
    }
}

#[test]
fn steps_that_the_host_has_a_part_in_are_submitted_too() {
    let model = Model::new().layer(Lstm::new(3, 5).learned_states()).layer(Linear::new(5, 2));
    let batches: Vec<_> =
        (0..4).map(|seed| Batch::new(Input::features(features((2, 4, 3), seed)), Targets::none())).collect();
    for device in devices() {
        let trainer = || {
            let (weights, update) = (Weights::random(&model, 2).unwrap(), Update::by(Adam::like(Convention::Keras)));
            Trainer::new(&model, &weights, Loss::SumOfSquares, update, device.clone()).unwrap()
        };
        assert_eq!(run(trainer(), &batches, 2), run(trainer(), &batches, 0), "{device:?}");
    }
}

/// A step whose loss is no number changes nothing, and the next one goes on.
#[test]
fn a_submitted_loss_that_is_no_number_is_told_when_it_is_received() {
    let model = Model::new().layer(Lstm::new(3, 4)).layer(Linear::new(4, 2));
    let batch = |x: f32| Batch::new(Input::features(Array3::from_elem((2, 3, 3), x)), Targets::none());
    for device in devices() {
        let trainer = || {
            let update = Update::by(Sgd::like(Convention::Torch).learning_rate(0.1));
            let weights = Weights::random(&model, 2).unwrap();
            Trainer::new(&model, &weights, Loss::SumOfSquares, update, device.clone()).unwrap()
        };
        let (mut with, mut without) = (trainer(), trainer());
        for x in [0.5, f32::NAN, -0.5] {
            with.submit(&batch(x)).unwrap();
        }
        let want: Vec<_> = [0.5, -0.5].iter().map(|&x| without.step(&batch(x)).unwrap()).collect();
        assert_eq!(with.receive().unwrap(), want[0], "{device:?}");
        let error = with.receive().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Numeric);
        assert!(error.to_string().starts_with("update 2: expected a finite loss"), "{error}");
        let last = with.receive().unwrap();
        assert_eq!((last.loss, last.norm, last.update), (want[1].loss, want[1].norm, 3), "{device:?}");
        assert_eq!(bytes(&with), bytes(&without), "{device:?}");
    }
}

#[test]
fn what_waits_is_counted_and_named() {
    let device = &devices()[0];
    let mut trainer = Trainer::new(
        super::tagger(),
        &Weights::random(&super::tagger(), 1).unwrap(),
        CrossEntropy::default(),
        Update::by(Sgd::like(Convention::Torch)),
        device.clone(),
    )
    .unwrap();
    let error = trainer.receive().unwrap_err();
    assert_eq!(error.to_string(), "receive: expected a submitted step that waits, got none");
    for seed in 0..16 {
        trainer.submit(&window(seed)).unwrap();
    }
    let error = trainer.submit(&window(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().starts_with("submit: expected at most 16 steps that wait"), "{error}");
    let error = trainer.step(&window(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    assert!(error.to_string().contains("expected no submitted steps that wait, got 16"), "{error}");
    for update in 1..=16 {
        assert_eq!(trainer.receive().unwrap().update, update);
    }
    assert_eq!(trainer.step(&window(0)).unwrap().update, 17);
}

/// A future that is dropped before it is ready has received nothing: the next receive gives the same step.
#[test]
fn a_receive_that_is_dropped_half_way_is_asked_for_again() {
    for device in devices() {
        let trainer = || begin(updates()[4], 7, &device);
        let (mut with, mut without) = (trainer(), trainer());
        let want: Vec<_> = (0..3).map(|seed| without.step(&window(seed)).unwrap()).collect();
        (0..3).for_each(|seed| with.submit(&window(seed)).unwrap());
        for want in want {
            let first = pin!(with.receive_async()).poll(&mut Context::from_waker(Waker::noop()));
            let got = match first {
                Poll::Ready(trained) => trained,
                Poll::Pending => with.receive(),
            };
            assert_eq!(got.unwrap(), want, "{device:?}");
        }
        assert_eq!(bytes(&with), bytes(&without), "{device:?}");
    }
}
