//! What a new user writes in the first hour, as it comes to mind. Each of these once failed to compile, or said too little.

use std::path::{Path, PathBuf};

use gatewave::formats::{self, Format};
use gatewave::layer::Dropout;
use gatewave::train::{Loss, Sgd, Update};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{
    Device, Embedding, Engine, ErrorKind, Gru, Input, Linear, Lstm, Model, Precision, Select, Trainer, Weights,
};
use ndarray::{Array2, Array3, arr2};

/// Returns a path for one test alone.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("first-hour-{name}.safetensors"))
}

fn model() -> Model {
    Model::new().layer(Lstm::new(3, 4)).layer(Select::LastStep).layer(Linear::new(4, 2))
}

#[test]
fn a_path_is_whatever_is_one() {
    let (model, path) = (model(), scratch("paths"));
    let weights = Weights::random(&model, 0).unwrap();
    formats::save(&path, &model, &weights).unwrap();
    let text = path.to_str().unwrap().to_owned();
    let read = (model, weights);
    assert_eq!(formats::open(&path).unwrap(), read);
    assert_eq!(formats::open(path.clone()).unwrap(), read);
    assert_eq!(formats::open(path.as_path()).unwrap(), read);
    assert_eq!(formats::open(text.as_str()).unwrap(), read);
    assert_eq!(formats::open(text).unwrap(), read);
    assert_eq!(Format::of("model.onnx").unwrap(), Format::Onnx);
    let (described, tensors) = formats::read_with(
        "models/shakespeare/shakespeare.safetensors",
        PathBuf::from("models/shakespeare/model.json"),
    )
    .unwrap();
    assert!(described.vocabulary.is_some() && tensors.names().count() > 0);
}

#[test]
fn a_file_becomes_an_engine_in_one_step() {
    let (model, path) = (model(), scratch("open"));
    let weights = Weights::random(&model, 0).unwrap();
    formats::save(&path, &model, &weights).unwrap();
    let input = Input::features(Array3::ones((2, 5, 3)));
    let expected = Engine::new(&model, &weights, Device::Cpu).unwrap().run(&input).unwrap();
    let builder = || Engine::builder().device(Device::Cpu);
    assert_eq!(builder().open(&path).unwrap().run(&input).unwrap(), expected);
    let later = pollster::block_on(async { builder().open_async(&path).await?.run_async(&input).await });
    assert_eq!(later.unwrap(), expected);
    // By itself it takes the best available device.
    let auto = Engine::open(&path).unwrap();
    assert!(auto.device().reason().starts_with("auto"), "{}", auto.device().reason());

    let error = Engine::open("nowhere.safetensors").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with("nowhere.safetensors: "), "{error}");
    let error = Engine::builder().device(Device::Named("voodoo".into())).open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Device);
    assert!(error.to_string().starts_with("device ") && error.to_string().contains("voodoo"), "{error}");
    let error = Engine::builder().open_with("model.keras", "model.json").unwrap_err();
    assert!(error.to_string().contains("expected no description beside model.keras"), "{error}");
}

#[test]
fn a_builder_ends_in_a_file_weights_or_tensors() {
    let model = model();
    let weights = Weights::random(&model, 0).unwrap();
    let tensors = weights.to_tensors(&model).unwrap();
    let builder = Engine::builder().device(Device::Cpu).precision(Precision::F16).tile_rows(None);
    let input = Input::features(Array3::ones((2, 5, 3)));
    let built = builder.clone().build(&model, &weights).unwrap().run(&input).unwrap();
    let loaded = builder.clone().load(&model, &tensors).unwrap().run(&input).unwrap();
    let built_later = pollster::block_on(builder.clone().build_async(&model, &weights)).unwrap();
    let loaded_later = pollster::block_on(builder.load_async(model, &tensors)).unwrap();
    assert_eq!(loaded, built);
    assert_eq!(built_later.run(&input).unwrap(), built);
    assert_eq!(loaded_later.run(&input).unwrap(), built);
}

#[test]
fn a_setter_is_there_for_each_key_of_a_description() {
    let model = Model::new()
        .vocabulary("abc".chars())
        .layer(Embedding::new(3, 4).padding_idx(0))
        .layer(Dropout::new(0.25).features())
        .layer(Gru::new(4, 5).num_layers(2).dropout(0.5))
        .layer(Linear::new(5, 3).bias(false));
    let described = formats::description::from_json(
        r#"{"gatewave": 1, "batch_first": true, "vocabulary": "abc", "layers": [
            {"type": "embedding", "num_embeddings": 3, "embedding_dim": 4, "padding_idx": 0, "weights": "0."},
            {"type": "dropout", "p": 0.25, "drops": "features", "weights": "1."},
            {"type": "gru", "input_size": 4, "hidden_size": 5, "num_layers": 2, "dropout": 0.5, "weights": "2."},
            {"type": "linear", "in_features": 5, "out_features": 3, "bias": false, "weights": "3."}
        ]}"#,
        &Tensors::new(),
    );
    assert_eq!(described.unwrap(), model);
    assert_eq!(Linear::new(5, 3).bias(false).bias(true), Linear::new(5, 3));
    assert!(Weights::initial(&model, gatewave::train::Convention::Torch, 0).is_ok());
}

#[test]
fn a_tensor_is_an_array_and_an_array_a_tensor() {
    let array = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let tensors: Tensors = [("w", Tensor::from(array.clone()))].into_iter().collect();
    let back = tensors.get("w").unwrap().to_array().unwrap();
    assert_eq!(back, array.into_dyn());
}

#[test]
fn an_engine_and_a_trainer_are_told_in_a_few_words() {
    let model = Model::new()
        .layer(Embedding::new(9, 4))
        .layer(Lstm::new(4, 5).num_layers(2))
        .layer(Select::FinalHidden)
        .layer(Linear::new(5, 5))
        .layer(Linear::new(5, 2))
        .layer(Linear::new(2, 1));
    let weights = Weights::random(&model, 0).unwrap();
    let engine = Engine::new(&model, &weights, Device::Cpu).unwrap();
    let layers = "embedding(9→4) → lstm(4→5)×2 → final_hidden → linear(5→5) → 2 more";
    assert_eq!(format!("{engine:?}"), format!("Engine {{ model: {layers}, device: {}, .. }}", engine.device()));
    let update = Update::by(Sgd::like(gatewave::train::Convention::Torch));
    let trainer = Trainer::new(&model, &weights, Loss::MeanSquared, update, Device::Cpu).unwrap();
    let text = format!("Trainer {{ model: {layers}, device: {}, updates: 0, .. }}", engine.device());
    assert_eq!(format!("{trainer:?}"), text);
}

#[test]
fn an_error_names_the_layer_and_the_tensor() {
    let model = model();
    let mut tensors = Weights::random(&model, 0).unwrap().to_tensors(&model).unwrap();
    tensors.insert("2.weight", Tensor::from(Array2::zeros((4, 2))));
    let error = Weights::from_tensors(&model, tensors.clone()).unwrap_err();
    assert_eq!((error.kind(), error.layer(), error.tensor()), (ErrorKind::Weights, Some("2"), Some("2.weight")));
    let error = Engine::builder().device(Device::Cpu).load(&model, &tensors).unwrap_err();
    assert_eq!((error.layer(), error.node(), error.tensor()), (Some("2"), None, Some("2.weight")));

    let error = Model::new().layer(Lstm::new(3, 4)).layer(Linear::new(5, 2)).check().unwrap_err();
    assert_eq!((error.kind(), error.layer(), error.tensor()), (ErrorKind::Model, Some("1"), None));
    let json = r#"{"gatewave": 1, "batch_first": true, "layers": [
        {"type": "lstm", "name": "encoder", "input_size": 3, "hidden_size": "many", "weights": "0."}
    ]}"#;
    let error = formats::description::from_json(json, &Tensors::new()).unwrap_err();
    assert_eq!((error.kind(), error.layer()), (ErrorKind::Model, Some("encoder")), "{error}");
}

#[test]
fn a_format_that_is_left_out_says_what_to_add_to_cargo_toml() {
    for (file, feature, is_built) in
        [("model.keras", "keras", cfg!(feature = "keras")), ("model.onnx", "onnx", cfg!(feature = "onnx"))]
    {
        let error = Engine::open(file).unwrap_err().to_string();
        let line = format!("add it to the line of gatewave in Cargo.toml: features = [\"{feature}\"]");
        assert_eq!(error.ends_with(&line), !is_built, "{error}");
    }
}
