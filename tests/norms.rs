//! Layers that normalise, with the numbers of Keras and PyTorch: `tests/golden/norms/make.py` made the files.

#![cfg(all(feature = "keras", feature = "onnx"))]

mod support;

use std::path::{Path, PathBuf};

use gatewave::conformance::{Tolerance, compare};
use gatewave::formats::{description, keras, onnx, safetensors};
use gatewave::layer::{BatchNorm, L2Norm, LayerKind, LayerNorm, PRelu, RmsNorm};
use gatewave::train::{Convention, Loss, Objective, Sgd, Targets, Update};
use gatewave::weights::{LayerWeights, NormWeights, Tensors};
use gatewave::{Device, Engine, ErrorKind, Input, Linear, Lstm, Model, Trainer, Weights, oracle};
use ndarray::{Array3, Ix3, arr1};
use support::files::files;
use support::fixtures::{named, read_io};

/// The number of model files.
const COUNT: usize = 18;

const CLOSE: Tolerance = Tolerance { abs: 1e-5, rel: 1e-5 };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/norms")
}

fn read(path: &Path) -> gatewave::Result<(Model, Tensors)> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("onnx") => onnx::read(path),
        _ => keras::read(path),
    }
}

#[test]
fn every_file_gives_what_its_framework_gives() {
    let files = files(&folder(), &["keras", "h5", "onnx"]);
    assert_eq!(files.len(), COUNT, "model files in tests/golden/norms");
    let wrong: Vec<_> =
        files.iter().filter_map(|path| run(path).err().map(|e| format!("{}: {e}", path.display()))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run(path: &Path) -> Result<(), String> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let (inputs, wanted) = read_io(&folder().join(format!("{stem}.io.safetensors")));
    let inputs = named(&inputs);
    let (model, tensors) = read(path).map_err(|e| e.to_string())?;
    let json = description::to_json(&model);
    if description::from_json(&json, &tensors).map_err(|e| e.to_string())? != model {
        return Err(format!("{json} is read as another model"));
    }
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.to_string())?;
    let input = model.named_input(&inputs).map_err(|e| e.to_string())?;
    let truth = oracle::run(&model, &weights, &input).map_err(|e| e.to_string())?;
    let engine = Engine::new(&model, &weights, Device::Cpu).map_err(|e| e.to_string())?;
    let got = engine.run(&input).map_err(|e| e.to_string())?;
    let wanted = &wanted["y"];
    let near = |what: &str, got: ndarray::ArrayViewD<'_, f32>| match compare(got, wanted.view(), CLOSE) {
        Ok(compared) if compared.passed() => Ok(()),
        Ok(compared) => Err(format!("{what}: {compared}")),
        Err(error) => Err(format!("{what}: {error}")),
    };
    #[expect(clippy::cast_possible_truncation, reason = "what is compared is f32")]
    near("the oracle", truth.output.mapv(|x| x as f32).view())?;
    near("the engine", got.output.view())
}

/// The model of PyTorch, whose sizes its tensors tell.
fn torch() -> (Model, Weights) {
    let tensors = safetensors::read(folder().join("torch.safetensors")).expect("a file of tensors").tensors;
    let json = std::fs::read_to_string(folder().join("torch.json")).expect("a description");
    let model = description::from_json(&json, &tensors).expect("a description");
    let weights = Weights::from_tensors(&model, tensors).expect("its weights");
    (model, weights)
}

#[test]
fn gradients_are_those_of_pytorch() {
    let (model, weights) = torch();
    let (inputs, wanted) = read_io(&folder().join("torch.io.safetensors"));
    let inputs = named(&inputs);
    let input = model.named_input(&inputs).expect("its input");
    #[expect(clippy::cast_possible_truncation, reason = "they were f32")]
    let targets = wanted["target"].mapv(|x| x as f32).into_dimensionality::<Ix3>().expect("targets");
    let targets = [Targets::values(targets)];
    let objective: Objective = Loss::MeanSquared.into();
    let truth = oracle::gradients(&model, &weights, &input, &objective, &targets).expect("gradients");
    assert!((truth.loss - wanted["loss"][[0]]).abs() < 1e-6, "{} of {}", truth.loss, wanted["loss"]);
    let named = truth.weights.iter().map(|(name, got)| (name.clone(), got)).chain([("x".into(), &truth.inputs["x"])]);
    let mut count = 0;
    for (name, got) in named {
        let want = &wanted[&format!("of.{name}")];
        let most = want.iter().chain(got).fold(0.0_f64, |most, x| most.max(x.abs()));
        let off = got.iter().zip(want).fold(0.0_f64, |off, (a, b)| off.max((a - b).abs()));
        assert!(off <= 1e-5 * most.max(1e-3), "{name}: off by {off} of {most}");
        count += 1;
    }
    assert_eq!(count, wanted.keys().filter(|name| name.starts_with("of.")).count());
    assert!(!truth.weights.contains_key("batch.running_mean"));
}

/// Trains a few steps, and returns the weights.
#[allow(clippy::cast_precision_loss, reason = "small numbers")]
fn trained(model: &Model, weights: &Weights) -> gatewave::Result<Weights> {
    let update = Update::by(Sgd::like(Convention::Torch).learning_rate(0.1));
    let mut trainer = Trainer::new(model, weights, Loss::MeanSquared, update, Engine::builder().device(Device::Cpu))?;
    let x = Array3::from_shape_fn((3, 5, 6), |(b, t, n)| ((b + 3 * t + 7 * n) as f32).sin());
    let y = Array3::from_shape_fn((3, 5, 3), |(b, t, n)| ((b + t + n) as f32).cos());
    for _ in 0..3 {
        trainer.step(&gatewave::train::Batch::new(Input::features(x.clone()), Targets::values(y.clone())))?;
    }
    trainer.weights()
}

#[test]
fn training_moves_weights_and_biases_but_no_statistics() {
    let (model, weights) = torch();
    let after = trained(&model, &weights).expect("it is trained");
    let mut norms = 0;
    for (before, after) in weights.layers.iter().zip(&after.layers) {
        if let (LayerWeights::Norm(before), LayerWeights::Norm(after)) = (before, after) {
            assert_eq!((&before.mean, &before.variance), (&after.mean, &after.variance));
            assert_ne!(before.weight, after.weight);
            assert!(before.bias.is_none() || before.bias != after.bias);
            norms += 1;
        }
    }
    assert_eq!(norms, 5);
}

#[test]
fn a_batch_norm_that_would_learn_its_statistics_is_not_trained() {
    let model = Model::new().layer(Lstm::new(6, 4)).layer(BatchNorm::new(4)).layer(Linear::new(4, 3));
    let weights = Weights::random(&model, 1).expect("weights");
    let error = trained(&model, &weights).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Training);
    assert_eq!(
        error.to_string(),
        "layer 1 batch_norm: expected a batch_norm that is frozen to train, got one that would learn its mean and \
         variance; set \"frozen\": true to train with those that it has, or use a layer_norm"
    );
}

/// Returns the oracle's output of a layer for one row of one step.
fn of_row(kind: impl Into<LayerKind>, weights: NormWeights, x: [f32; 4]) -> Vec<f64> {
    let model = Model::new().layer(kind);
    let mut all = Weights::random(&model, 1).expect("weights");
    if let LayerWeights::Norm(own) = &mut all.layers[0] {
        *own = weights;
    }
    let input = Input::features(Array3::from_shape_vec((1, 1, 4), x.to_vec()).expect("four numbers"));
    oracle::run(&model, &all, &input).expect("a row").output.iter().copied().collect()
}

#[track_caller]
fn near(got: &[f64], want: [f64; 4]) {
    assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{got:?}, expected {want:?}");
}

#[test]
fn a_row_worked_by_hand() {
    let x = [1.0, 3.0, -1.0, 5.0];
    let none = NormWeights::new;
    // The mean is 2, and the variance 5.
    let layer = LayerNorm::new(4).eps(4.0);
    let weights = none().weight(arr1(&[1.0, 2.0, 3.0, -1.0])).bias(arr1(&[0.0, 0.0, 1.0, 0.0]));
    near(&of_row(layer, weights, x), [-1.0 / 3.0, 2.0 / 3.0, -2.0, -1.0]);
    // The mean square is 9.
    near(&of_row(RmsNorm::new(4).eps(16.0).scale(false), none(), x), [0.2, 0.6, -0.2, 1.0]);
    near(&of_row(L2Norm::new(4), none(), x), [1.0 / 6.0, 0.5, -1.0 / 6.0, 5.0 / 6.0]);
    near(&of_row(L2Norm::new(4).eps(10.0), none(), x), [0.1, 0.3, -0.1, 0.5]);
    near(&of_row(PRelu::new(4).shared(), none().weight(arr1(&[0.25])), x), [1.0, 3.0, -0.25, 5.0]);
    let batch = none().statistics(arr1(&[1.0, 1.0, 1.0, 1.0]), arr1(&[3.0, 3.0, 15.0, 3.0]));
    near(&of_row(BatchNorm::new(4).eps(1.0).scale(false).bias(false), batch, x), [0.0, 1.0, -0.5, 2.0]);
}

#[test]
fn numbers_that_do_not_fit_are_refused_by_name() {
    let read = |json: &str| {
        let numbers = gatewave::weights::Tensor::new([4], vec![1.0; 4]);
        let tensors: Tensors = [("n.weight", numbers)].into_iter().collect();
        let layers = format!(
            "{{\"gatewave\": 1, \"layers\": [{{\"type\": \"lstm\", \"input_size\": 2, \"hidden_size\": 4}}, {json}]}}"
        );
        description::from_json(&layers, &tensors).map(|_| ()).expect_err("it is refused").to_string()
    };
    assert_eq!(
        read(r#"{"type": "layer_norm", "features": 5, "weights": "n."}"#),
        "layer 1 layer_norm: features: the description says 5, the tensors say 4 (n.weight [4])"
    );
    assert_eq!(
        read(r#"{"type": "layer_norm", "bias": true, "weights": "n."}"#),
        "layer 1 layer_norm: bias: the description says true, the tensors say false (there is no n.bias)"
    );
    assert_eq!(
        read(r#"{"type": "rms_norm", "eps": -1, "weights": "n."}"#),
        "layer 1 rms_norm: eps: expected a number from 0 on, got -1"
    );
    assert!(read(r#"{"type": "l2_norm"}"#).starts_with("layer 1 l2_norm: features: left out, and there is no weight"));
    let model = Model::new().layer(Lstm::new(2, 3)).layer(LayerNorm::new(4));
    assert_eq!(
        model.check().expect_err("the sizes differ").to_string(),
        "layer 1 layer_norm: expected 4 features (features), got a sequence of 3 features"
    );
}
