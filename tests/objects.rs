//! What repeated steps of training make on a GPU: nothing. By itself, since a device counts for all who share it.
//!
//! On the CPU, which makes none, and on the adapter that `GATEWAVE_ADAPTER` names.

mod support;

use gatewave::{
    Adam, Batch, Clip, CrossEntropy, Device, Embedding, Input, Like, Linear, Lstm, Model, RmsProp, Sgd, Targets,
    Trainer, Update, Weights,
};
use ndarray::Array2;
use support::devices::cpu_and_adapter;

/// Three rows of tokens, and the tokens to find.
fn window(seed: usize) -> Batch {
    let tokens = |shift: usize| Array2::from_shape_fn((3, 4), |(b, t)| ((b * 5 + (t + shift + seed) * 3) % 9) as i64);
    Batch::new(Input::tokens(tokens(0)), Targets::classes(tokens(1)))
}

/// Steps that are waited for, and steps that are received later: the objects that there are after them.
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
            Update::by(Sgd::like(Like::Torch)).clip(Clip::GlobalNorm(0.5)),
            Update::by(RmsProp::like(Like::Keras)),
            Update::by(Adam::like(Like::Torch)).clip(Clip::Value(0.1)),
        ];
        for update in updates {
            let weights = Weights::initial(&model, Like::Torch, 7).expect("weights");
            let trainer = Trainer::new(model.clone(), &weights, CrossEntropy::default(), update, device.clone());
            let mut trainer = trainer.expect("a trainer");
            let made: Vec<_> = (0..5).map(|seed| made_by_steps(&mut trainer, seed)).collect();
            assert_eq!(made[0] > 0, device != Device::Cpu, "{device:?}: nothing is counted");
            // How soon a ring of uploads needs its second and third buffer is the device's pace; a fourth never is. Two
            // plans have rings: the gradients', and the update's.
            assert!(made[4] <= made[0] + 4, "{device:?}: {made:?}");
        }
    }
}
