//! Repeated steps of training create no objects on a GPU. A test
//! of its own, since a device counts the objects of all its users.
//!
//! On the CPU, which creates none, and on the adapter that `GATEWAVE_ADAPTER` names.

mod support;

use gatewave::train::{Adam, Batch, Clip, Convention, CrossEntropy, RmsProp, Sgd, Targets, Update};
use gatewave::{Device, Embedding, Input, Linear, Lstm, Model, Trainer, Weights};
use ndarray::Array2;
use support::devices::cpu_and_adapter;

/// Three rows of tokens, and the tokens to find.
fn window(seed: usize) -> Batch {
    let tokens = |shift: usize| Array2::from_shape_fn((3, 4), |(b, t)| ((b * 5 + (t + shift + seed) * 3) % 9) as i64);
    Batch::new(Input::tokens(tokens(0)), Targets::classes(tokens(1)))
}

/// Returns the number of objects after steps that are waited for, and steps that are received later.
fn made_by_steps(trainer: &mut Trainer, seed: usize) -> u64 {
    trainer.step(&window(seed)).expect("a step");
    for batch in 1..4 {
        trainer.submit(&window(seed + batch)).expect("a step");
    }
    for _ in 1..4 {
        trainer.receive().expect("a step that waits");
    }
    trainer.gpu_objects()
}

#[test]
fn a_step_at_a_known_shape_makes_no_object() {
    let model = Model::new().layer(Embedding::new(9, 4)).layer(Lstm::new(4, 5).num_layers(2)).layer(Linear::new(5, 9));
    for device in cpu_and_adapter() {
        let updates = [
            Update::by(Sgd::like(Convention::Torch)).clip(Clip::GlobalNorm(0.5)),
            Update::by(RmsProp::like(Convention::Keras)),
            Update::by(Adam::like(Convention::Torch)).clip(Clip::Value(0.1)),
        ];
        for update in updates {
            let weights = Weights::initial(&model, Convention::Torch, 7).expect("weights");
            let trainer = Trainer::new(&model, &weights, CrossEntropy::default(), update, device.clone());
            let mut trainer = trainer.expect("a trainer");
            let made: Vec<_> = (0..5).map(|seed| made_by_steps(&mut trainer, seed)).collect();
            assert_eq!(made[0] > 0, device != Device::Cpu, "{device:?}: nothing is counted");
            // The device's pace decides when a ring of uploads needs its second and third buffer; a fourth
            // never is needed. Two plans have rings: that of the gradients, and that of the update.
            assert!(made[4] <= made[0] + 4, "{device:?}: {made:?}");
        }
    }
}
