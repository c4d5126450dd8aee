//! Fits that are interrupted after any batch, saved and resumed end in the same bytes as one that was not interrupted.

use std::path::Path;
use std::time::Duration;

use super::*;
use gatewave::formats::{self, Metadata};
use gatewave::train::{EarlyStopping, FitEnd, FitEvent, Fitting, Metric};

fn task() -> (Model, [Dataset; 2]) {
    let model = Model::new().layer(Gru::new(3, 6).dropout(0.25).num_layers(2)).layer(Select::LastStep);
    let model = model.layer(Linear::new(6, 2));
    let y = Array1::from_shape_fn(28, |b| i64::from((b * b * 7 + b * 3) % 11 > 5));
    let lengths = Array1::from_shape_fn(28, |b| 1 + (b as i64 * 5) % 6);
    let tensors = NamedTensors::from([
        ("x".to_owned(), features((28, 6, 3), 5).into()),
        ("lengths".to_owned(), lengths.into()),
        ("y".to_owned(), y.into()),
    ]);
    let data = Dataset::new(&model, CrossEntropy::default(), tensors).expect("examples");
    (model, data.split(0.25).expect("two parts"))
}

fn trainer(model: &Model, device: &Device) -> Trainer {
    let weights = Weights::initial(model, Convention::Torch, 1).expect("weights");
    let update = Update::by(RmsProp::like(Convention::Keras).learning_rate(0.02)).clip(Clip::GlobalNorm(1.0));
    let mut trainer =
        Trainer::new(model, &weights, CrossEntropy::default(), update, device.clone()).expect("a trainer");
    trainer.set_schedule(Schedule::step(1, 0.7)).expect("a schedule");
    trainer
}

fn settings() -> Fit {
    Fit::default().epochs(4).batch_size(4).buckets(true).seed(3).metrics([Metric::Accuracy]).measure_training(true)
}

/// Goes on for `events` events, or to the end.
fn go_on(fitting: &mut Fitting, trainer: &mut Trainer, data: &[Dataset; 2], events: usize) -> Option<FitEnd> {
    for _ in 0..events {
        if let FitEvent::Ended(end) = fitting.next(trainer, &data[0], Some(&data[1])).expect("it goes on") {
            return Some(end);
        }
    }
    None
}

/// Returns the history of a fit without the times.
fn seen(fitting: &Fitting) -> Vec<(u64, f64, Option<f64>, f64, bool, String)> {
    let of = |epoch: &gatewave::train::Epoch| {
        let metrics = format!("{:?} {:?}", epoch.metrics, epoch.validation_metrics);
        (epoch.number, epoch.loss, epoch.validation_loss, epoch.learning_rate, epoch.better, metrics)
    };
    fitting.epochs().iter().map(of).collect()
}

#[test]
fn a_fit_that_is_cut_anywhere_ends_in_the_same_bytes() {
    let (folder, (model, data)) = (Folder::new("fitting"), task());
    let note = Metadata::from([("gatewave.note".to_owned(), "a \"text\"".to_owned())]);
    for device in devices() {
        let end = |path: &Path, every: usize| {
            let mut fitting = Fitting::new(settings()).expect("settings");
            let mut trainer = self::trainer(&model, &device);
            while go_on(&mut fitting, &mut trainer, &data, every).is_none() {
                fitting.settle(&mut trainer).expect("received");
                trainer.save_fitting(path, &fitting, &note).expect("saved");
                assert_eq!(formats::metadata(path).expect("texts")["gatewave.note"], note["gatewave.note"]);
                trainer = self::trainer(&model, &device);
                trainer.resume(path).expect("a checkpoint");
                fitting = Fitting::resume(path, settings()).expect("a fit");
            }
            trainer.save(path).expect("saved");
            (fs::read(path).expect("bytes"), seen(&fitting))
        };
        let whole = end(&folder.file("whole.safetensors"), usize::MAX);
        assert_eq!(whole.1.len(), 4);
        for every in [1, 2, 5, 6, 7, 13] {
            let cut = end(&folder.file("cut.safetensors"), every);
            assert_eq!(cut.1, whole.1, "{device:?}, cut every {every}");
            assert!(cut.0 == whole.0, "{device:?}, cut every {every}: other bytes");
        }
    }
}

#[test]
fn a_fit_that_ended_can_be_prolonged_and_keeps_its_patience() {
    let (folder, (model, data)) = (Folder::new("prolonged"), task());
    let path = folder.file("fit.safetensors");
    let patient = |epochs, patience| settings().epochs(epochs).early_stopping(EarlyStopping::after(patience));
    let mut whole = Fitting::new(patient(12, 2)).expect("settings");
    let mut first = trainer(&model, &Device::Cpu);
    let stopped = go_on(&mut whole, &mut first, &data, usize::MAX);
    for epochs in 1..=whole.epochs().len() {
        let mut fitting = Fitting::new(patient(epochs as u64, 2)).expect("settings");
        let mut trainer = self::trainer(&model, &Device::Cpu);
        go_on(&mut fitting, &mut trainer, &data, usize::MAX);
        trainer.save_fitting(&path, &fitting, &Metadata::new()).expect("saved");
        let mut resumed = self::trainer(&model, &Device::Cpu);
        resumed.resume(&path).expect("a checkpoint");
        let mut fitting = Fitting::resume(&path, patient(12, 2)).expect("a fit");
        assert_eq!(go_on(&mut fitting, &mut resumed, &data, usize::MAX), stopped);
        assert_eq!(seen(&fitting), seen(&whole), "prolonged after {epochs}");
    }
    assert_eq!(
        whole.best().map(|best| best.number),
        Some(whole.epochs().iter().rposition(|e| e.better).unwrap() as u64 + 1)
    );
}

#[test]
fn a_fit_ends_at_its_time_and_takes_as_many_batches_as_it_is_told() {
    let (model, data) = task();
    let mut fitting = Fitting::new(settings().time_limit(Duration::ZERO)).expect("settings");
    let mut late = trainer(&model, &Device::Cpu);
    assert_eq!(go_on(&mut fitting, &mut late, &data, 1), Some(FitEnd::TimeLimit));
    assert_eq!((late.updates(), fitting.epochs().len()), (0, 0));
    let mut fitting = Fitting::new(settings().most_batches(2).epochs(3)).expect("settings");
    let mut quick = trainer(&model, &Device::Cpu);
    assert_eq!(go_on(&mut fitting, &mut quick, &data, usize::MAX), Some(FitEnd::Epochs));
    assert_eq!(quick.updates(), 6);
    let position = fitting.position();
    assert_eq!((position.epoch, position.batches), (4, 0));
}

#[test]
fn what_would_go_on_otherwise_is_refused() {
    let (folder, (model, data)) = (Folder::new("otherwise"), task());
    let path = folder.file("fit.safetensors");
    let mut fitting = Fitting::new(settings()).expect("settings");
    let mut saved = trainer(&model, &Device::Cpu);
    go_on(&mut fitting, &mut saved, &data, 3);
    let unsettled = saved.save_fitting(&path, &fitting, &Metadata::new()).expect_err("one waits").to_string();
    assert!(unsettled.starts_with("save: expected no submitted steps that wait, got 1"), "{unsettled}");
    fitting.settle(&mut saved).expect("received");
    for key in ["gatewave.model", "gatewave.training", "note"] {
        let metadata = Metadata::from([(key.to_owned(), "x".to_owned())]);
        let refused = saved.save_fitting(&path, &fitting, &metadata).expect_err("a key that is taken").to_string();
        assert!(refused.contains(&format!("got {key:?}")), "{refused}");
    }
    saved.save_fitting(&path, &fitting, &Metadata::new()).expect("saved");
    let refused = |settings: Fit| Fitting::resume(&path, settings).expect_err("another fit").to_string();
    let said = refused(settings().batch_size(5));
    assert!(said.ends_with("batch_size: expected 4, as the fit was begun with, got 5"), "{said}");
    assert!(refused(settings().seed(4)).contains("seed: expected 3"));
    assert!(refused(settings().buckets(false)).contains("buckets: expected true"));
    let mut resumed = trainer(&model, &Device::Cpu);
    resumed.resume(&path).expect("a checkpoint");
    let mut fitting = Fitting::resume(&path, settings()).expect("a fit");
    let other = fitting.next(&mut resumed, &data[1], None).expect_err("other rows").to_string();
    assert!(other.ends_with("fit: expected 21 rows to train on, as it was begun with, got 7"), "{other}");
    saved.save(&path).expect("saved");
    let said = refused(settings());
    assert!(said.contains("expected a checkpoint of a fit, got one of a trainer alone"), "{said}");
    let said = Fit::default().shuffle(false).buckets(true).check().expect_err("no order to draw").to_string();
    assert_eq!(said, "buckets: expected a shuffle, got rows in their order");
}
