//! Fits that end early, and the weights that they leave.

use super::*;
use gatewave::train::EarlyStopping;

/// Noise: learning some rows does not help with others, so that validation soon gets worse.
fn noise() -> (Model, [Dataset; 2]) {
    noise_for(Gru::new(3, 16))
}

fn noise_for(gru: gatewave::layer::Recurrent) -> (Model, [Dataset; 2]) {
    let model = Model::new().layer(gru).layer(Select::LastStep).layer(Linear::new(16, 2));
    let y = Array1::from_shape_fn(30, |b| i64::from((b * b * 7 + b * 3) % 11 > 5));
    let tensors = NamedTensors::from([("x".to_owned(), features((30, 6, 3), 5).into()), ("y".to_owned(), y.into())]);
    let data = Dataset::new(&model, CrossEntropy::default(), tensors).expect("examples");
    (model, data.split(0.4).expect("two parts"))
}

fn trainer(model: &Model, device: &Device) -> Trainer {
    let weights = Weights::initial(model, Convention::Torch, 1).expect("weights");
    let update = Update::by(Adam::like(Convention::Torch).learning_rate(0.03));
    Trainer::new(model, &weights, CrossEntropy::default(), update, device.clone()).expect("a trainer")
}

#[test]
fn a_fit_that_stops_early_leaves_the_weights_of_its_best_epoch() {
    let (model, [training, validation]) = noise();
    for device in devices() {
        let settings = |epochs: u64| Fit::default().epochs(epochs).batch_size(6);
        let mut stopped = trainer(&model, &device);
        let stopping = settings(60).early_stopping(EarlyStopping::after(4));
        let epochs = stopped.fit(&training, Some(&validation), &stopping, |_| {}).expect("epochs");
        let losses: Vec<f64> = epochs.iter().map(|epoch| epoch.validation_loss.expect("validated")).collect();
        let best = (0..losses.len()).fold(0, |best, at| if losses[at] < losses[best] { at } else { best });
        assert!(epochs.len() < 60 && epochs.len() == best + 1 + 4, "{losses:?}");
        assert_eq!(epochs.iter().rposition(|epoch| epoch.better), Some(best));
        // The restored weights are those of a fit with that number of epochs.
        let mut shorter = trainer(&model, &device);
        shorter.fit(&training, Some(&validation), &settings(best as u64 + 1), |_| {}).expect("epochs");
        assert_eq!(stopped.weights().expect("weights"), shorter.weights().expect("weights"));
        assert_eq!(stopped.evaluate(&validation, 6).expect("a loss"), losses[best]);
        assert_eq!(stopped.epochs(), epochs.len() as u64);
    }
}

#[test]
fn a_fit_that_is_not_stopped_leaves_its_best_epoch_too() {
    let (model, [training, validation]) = noise();
    let settings = Fit::default().epochs(40).batch_size(6).early_stopping(EarlyStopping::after(1000));
    let mut trainer = trainer(&model, &Device::Cpu);
    let epochs = trainer.fit(&training, Some(&validation), &settings, |_| {}).expect("epochs");
    let best = epochs.iter().rfind(|epoch| epoch.better).expect("the first is");
    assert!(epochs.len() == 40 && !epochs[39].better, "{epochs:?}");
    assert_eq!(Some(trainer.evaluate(&validation, 6).expect("a loss")), best.validation_loss);
}

#[test]
fn states_that_are_learned_are_put_back_too() {
    let (model, [training, validation]) = noise_for(Gru::new(3, 16).learned_states());
    let mut stopped = trainer(&model, &Device::Cpu);
    let settings = Fit::default().epochs(60).batch_size(6).early_stopping(EarlyStopping::after(4));
    let epochs = stopped.fit(&training, Some(&validation), &settings, |_| {}).expect("epochs");
    let best = epochs.iter().rposition(|epoch| epoch.better).expect("the first is");
    assert!(best + 1 < epochs.len());
    let mut shorter = trainer(&model, &Device::Cpu);
    shorter.fit(&training, None, &Fit::default().epochs(best as u64 + 1).batch_size(6), |_| {}).expect("epochs");
    assert_eq!(stopped.weights().expect("weights"), shorter.weights().expect("weights"));
}

#[test]
fn stopping_early_needs_something_to_validate_with() {
    let (model, [training, _]) = noise();
    let settings = Fit::default().early_stopping(EarlyStopping::after(1));
    let error = trainer(&model, &Device::Cpu).fit(&training, None, &settings, |_| {}).expect_err("nothing to watch");
    assert_eq!(error.to_string(), "early stopping: expected examples to validate with, got none");
    let settings = Fit::default().early_stopping(EarlyStopping::after(0));
    let error = settings.check().expect_err("no patience");
    assert_eq!(error.to_string(), "early stopping: patience: expected 1 or more, got 0");
}
