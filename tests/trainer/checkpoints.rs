//! Checkpoints: runs that are interrupted and resumed, files that are models, and errors that overwrite nothing.

use std::path::{Path, PathBuf};
use std::{env, fs};

use gatewave::train::{Adam, Batch, Convention, CrossEntropy, Loss, Plateau, Schedule, Sgd, Targets, Update};
use gatewave::weights::LayerWeights;
use gatewave::{
    Device, Embedding, Engine, EngineBuilder, ErrorKind, Gru, Input, Linear, Lstm, Model, Precision, Trainer, Weights,
    formats,
};
use ndarray::{Array2, Array3};

use crate::{begin, devices, features, tagger, updates, window};

/// A folder that is removed with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = env::temp_dir().join(format!("gatewave-trainer-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn plateau() -> Schedule {
    Schedule::plateau(Plateau::like(Convention::Torch).patience(0).factor(0.3))
}

/// Trains windows `from` to `to`, with a row that ends inside, and an epoch that ends after every second window.
fn go_on(trainer: &mut Trainer, from: usize, to: usize) -> Vec<f64> {
    let mut losses = Vec::new();
    for seed in from..to {
        losses.push(trainer.step(&window(seed)).expect("a step").loss);
        if seed == 2 {
            trainer.reset_rows(&[1]).expect("a row");
        }
        if seed % 2 == 1 {
            // The loss gets worse, so that the rate falls.
            trainer.end_epoch(seed as f64);
        }
    }
    losses
}

#[test]
fn a_run_that_is_cut_and_resumed_gives_the_same_bytes() {
    let folder = Folder::new("cut");
    for device in devices() {
        for update in updates() {
            let start = |seed| {
                let mut trainer = begin(update, seed, &device);
                trainer.carry(true).expect("a stack to carry");
                trainer.set_schedule(plateau()).expect("a schedule");
                trainer
            };
            let mut whole = start(0);
            let mut losses = go_on(&mut whole, 0, 3);
            let (cut, again, end) =
                (folder.file("cut.safetensors"), folder.file("again.safetensors"), folder.file("end.safetensors"));
            whole.save(&cut).expect("a checkpoint");
            losses.extend(go_on(&mut whole, 3, 7));
            whole.save(&end).expect("a checkpoint");
            // It has other weights, states and counters.
            let mut resumed = start(1);
            go_on(&mut resumed, 0, 2);
            resumed.resume(&cut).expect("a checkpoint of the same training");
            assert_eq!((resumed.updates(), resumed.epochs()), (3, 1));
            resumed.save(&again).expect("a checkpoint");
            assert!(fs::read(&cut).unwrap() == fs::read(&again).unwrap(), "{device:?} {update:?}");
            assert_eq!(go_on(&mut resumed, 3, 7), losses[3..], "{device:?} {update:?}");
            resumed.save(&again).expect("a checkpoint");
            assert!(fs::read(&end).unwrap() == fs::read(&again).unwrap(), "{device:?} {update:?}");
            assert_eq!(resumed.learning_rate(), whole.learning_rate());
            assert!(resumed.learning_rate() < 0.2 * update.optimizer.learning_rate(), "the schedule has seen epochs");
        }
    }
}

#[test]
fn a_checkpoint_is_a_model_that_an_engine_runs() {
    let folder = Folder::new("model");
    let mut trainer = begin(updates()[4], 0, &Device::Cpu);
    go_on(&mut trainer, 0, 2);
    let path = folder.file("trained.safetensors");
    trainer.save(&path).expect("a checkpoint");
    let (model, weights) = formats::open(&path).expect("a model");
    assert_eq!((&model, &weights), (&tagger(), &trainer.weights().unwrap()));
    let (model, tensors) = formats::read(&path).expect("a model");
    let engine = Engine::builder().device(Device::Cpu).load(model, &tensors).expect("an engine");
    let input = window(0).input;
    assert_eq!(engine.run(&input).unwrap().output, trainer.engine(Device::Cpu).unwrap().run(&input).unwrap().output);
    // The converted file is only the model.
    let alone = folder.file("alone.safetensors");
    formats::write(&alone, &tagger(), tensors, Precision::F32).expect("a model");
    assert_eq!(
        formats::read(&alone).unwrap().1.names().count(),
        weights.to_tensors(&tagger()).unwrap().names().count()
    );
}

#[test]
fn a_checkpoint_of_something_else_is_refused_by_name_and_changes_nothing() {
    let folder = Folder::new("refused");
    let path = folder.file("checkpoint.safetensors");
    let sgd = Update::by(Sgd::like(Convention::Torch).learning_rate(0.1));
    let mut trainer = begin(sgd, 0, &Device::Cpu);
    go_on(&mut trainer, 0, 2);
    trainer.save(&path).unwrap();
    let refused = |mut other: Trainer, path: &Path| {
        let before = other.weights().unwrap();
        let error = other.resume(path).unwrap_err();
        assert_eq!((other.updates(), other.epochs()), (0, 0), "{error}");
        assert!(other.weights().unwrap() == before, "{error}");
        let text = error.to_string();
        (error.kind(), text.replace(&format!("{}: ", path.display()), ""))
    };
    let other_model = |model: Model| {
        let weights = Weights::initial(&model, Convention::Torch, 0).unwrap();
        Trainer::new(model, &weights, CrossEntropy::default(), sgd, Device::Cpu).unwrap()
    };
    let wider = tagger().layer(Linear::new(9, 9));
    let deeper = Model::new().layer(Embedding::new(9, 4)).layer(Lstm::new(4, 5).num_layers(3)).layer(Linear::new(5, 9));
    let hint = "the checkpoint is of another model";
    assert_eq!(
        refused(other_model(wider), &path),
        (ErrorKind::Model, format!("model.layers: expected 4 of them, got 3; {hint}"))
    );
    let text = format!("model.layers[1].num_layers: expected 3, got 2; {hint}");
    assert_eq!(refused(other_model(deeper), &path), (ErrorKind::Model, text));
    let hint = "the checkpoint is of another update, make the trainer with that one's settings";
    let adam = begin(updates()[4], 0, &Device::Cpu);
    let text = format!("optimizer: expected adam of PyTorch, got sgd of PyTorch; {hint}");
    assert_eq!(refused(adam, &path), (ErrorKind::Training, text));
    let momentum = begin(Update::by(Sgd::like(Convention::Torch).learning_rate(0.1).momentum(0.9)), 0, &Device::Cpu);
    let text = format!("momentum: expected 0.9, got 0; {hint}");
    assert_eq!(refused(momentum, &path), (ErrorKind::Training, text));
    let mut scheduled = begin(sgd, 0, &Device::Cpu);
    scheduled.set_schedule(plateau()).unwrap();
    let (kind, text) = refused(scheduled, &path);
    assert_eq!(kind, ErrorKind::Training);
    assert!(text.starts_with("schedule: expected Schedule") && text.contains(", got none; give the trainer"), "{text}");
    // No checkpoint.
    let model = folder.file("model.safetensors");
    formats::save(&model, &tagger(), &trainer.weights().unwrap()).unwrap();
    let (kind, text) = refused(begin(sgd, 0, &Device::Cpu), &model);
    assert_eq!(kind, ErrorKind::Weights);
    assert!(text.starts_with("expected a checkpoint (metadata under gatewave.training), got a file without"), "{text}");
    // Damaged: the last weight is NaN; cut off; of a later version.
    let bytes = fs::read(&path).unwrap();
    let broken = folder.file("broken.safetensors");
    let mut nan = bytes.clone();
    let end = nan.len() - 4;
    nan[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&broken, nan).unwrap();
    let text = "2.weight: expected finite weights, got NaN".to_owned();
    assert_eq!(refused(begin(sgd, 0, &Device::Cpu), &broken), (ErrorKind::Weights, text));
    fs::write(&broken, &bytes[..bytes.len() - 4]).unwrap();
    let (kind, text) = refused(begin(sgd, 0, &Device::Cpu), &broken);
    assert!(kind == ErrorKind::Weights && text.ends_with("the file is cut off"), "{text}");
    let later = String::from_utf8_lossy(&bytes).find(r#"\"version\":1"#).expect("a version");
    let mut newer = bytes.clone();
    newer[later + r#"\"version\":"#.len()] = b'7';
    fs::write(&broken, newer).unwrap();
    let text = "metadata gatewave.training: expected version 1, got 7".to_owned();
    assert_eq!(refused(begin(sgd, 0, &Device::Cpu), &broken), (ErrorKind::Weights, text));
    let error = begin(sgd, 0, &Device::Cpu).resume(folder.file("nothing.safetensors")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    let error = trainer.save(folder.file("model.bin")).unwrap_err();
    assert!(error.to_string().ends_with("expected a name that ends in .safetensors"), "{error}");
}

#[test]
fn a_loss_that_is_no_number_stops_and_overwrites_nothing() {
    let folder = Folder::new("nan");
    let (path, again) = (folder.file("good.safetensors"), folder.file("again.safetensors"));
    for device in devices() {
        let model = Model::new().layer(Gru::new(2, 4)).layer(Linear::new(4, 1));
        let weights = Weights::random(&model, 1).unwrap();
        let update = Update::by(Adam::like(Convention::Torch));
        let mut trainer = Trainer::new(&model, &weights, Loss::MeanSquared, update, device.clone()).unwrap();
        trainer.carry(true).unwrap();
        let batch = |x: f32, y: f32| {
            let features = features((2, 3, 2), 0).mapv(|v| v * x);
            Batch::new(Input::features(features), Targets::values(Array3::from_elem((2, 3, 1), y)))
        };
        trainer.step(&batch(1.0, 0.5)).unwrap();
        trainer.save(&path).unwrap();
        for bad in [batch(f32::NAN, 0.5), batch(1.0, 1e30)] {
            let error = trainer.step(&bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Numeric, "{error}");
            let text = error.to_string();
            let parts = [
                "update 2: expected a finite loss and finite gradients, got a loss of ",
                " and a norm of ",
                "the weights are as they were; try a smaller learning rate",
            ];
            assert!(parts.iter().all(|part| text.contains(part)), "{text}");
            // Weights, moments, counters and carried states.
            trainer.save(&again).unwrap();
            assert!(fs::read(&path).unwrap() == fs::read(&again).unwrap(), "{device:?}: {text}");
        }
        assert_eq!(trainer.step(&batch(1.0, 0.5)).unwrap().update, 2);
    }
    // Weights that are no numbers start no training, and are not saved over good ones.
    let model = Model::new().layer(Linear::new(1, 1).no_bias());
    let of = |w: f32| Weights::new(vec![LayerWeights::Linear { w: Array2::from_elem((1, 1), w), b: None }]);
    let trainer = |w, rate| {
        let update = Update::by(Sgd::like(Convention::Torch).learning_rate(rate));
        Trainer::new(&model, &of(w), Loss::MeanSquared, update, Device::Cpu)
    };
    let error = trainer(f32::INFINITY, 0.1).expect_err("refused");
    assert_eq!(error.to_string(), "0.weight: expected finite weights to train, got inf at element 0");
    let mut far = trainer(1.0, 3e38).unwrap();
    far.save(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let batch =
        Batch::new(Input::features(Array3::ones((1, 1, 1))), Targets::values(Array3::from_elem((1, 1, 1), -9.0)));
    far.step(&batch).expect("the gradient is finite, and the weight is not then");
    let error = far.save(&path).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "0.weight: 1 of 1 elements is NaN or infinite; expected finite weights to save, nothing was written"
        ),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn integers_are_refused_by_name_and_train_once_they_are_widened() {
    let folder = Folder::new("integers");
    let (rounded, widened) = (folder.file("rounded.safetensors"), folder.file("widened.safetensors"));
    let model = Model::new().layer(Embedding::new(9, 4)).layer(Lstm::new(4, 5)).layer(Linear::new(5, 9));
    let tensors = || Weights::random(&model, 3).unwrap().to_tensors(&model).unwrap();
    formats::write(&rounded, &model, tensors(), Precision::I8).unwrap();
    let begin = |path: &Path, options: EngineBuilder| {
        let (model, weights) = formats::open(path).unwrap();
        let sgd = Update::by(Sgd::like(Convention::Torch).learning_rate(0.1));
        Trainer::new(model, &weights, CrossEntropy::default(), sgd, options)
    };
    let cpu = || Engine::builder().device(Device::Cpu);
    let error = begin(&rounded, cpu()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Weights, "{error}");
    assert_eq!(
        error.to_string(),
        "1.weight_ih_l0: expected floats to train, got integers of 8 bits; train the model that they were rounded \
         from, or widen them with `gatewave convert MODEL OUT.safetensors`"
    );
    let (_, read) = formats::read(&rounded).unwrap();
    formats::write(&widened, &model, read, Precision::F32).unwrap();
    let mut trainer = begin(&widened, cpu()).unwrap();
    trainer.step(&window(0)).unwrap();
    // And weights are not rounded while they are trained.
    let error = begin(&widened, cpu().precision(Precision::F16)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Training, "{error}");
    assert_eq!(error.to_string(), "precision: expected F32 to train, got F16; round a model when it is trained");
}
