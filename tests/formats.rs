//! The promises of the readers of models and weights: what is read, what is inferred, and every error as text.

mod support;

#[path = "formats/describe.rs"]
mod describe;
#[path = "formats/elements.rs"]
mod elements;
#[path = "formats/files.rs"]
mod files;
#[path = "formats/integers.rs"]
mod integers;
#[path = "formats/names.rs"]
mod names;
#[path = "formats/options.rs"]
mod options;
#[cfg(feature = "torch")]
#[path = "formats/pickles.rs"]
mod pickles;
#[path = "formats/refused.rs"]
mod refused;
#[cfg(feature = "torch")]
#[path = "formats/torch.rs"]
mod torch;

use std::fs;
use std::path::{Path, PathBuf};

use gatewave::formats::{description, open, open_with, read, safetensors, save, write};
use gatewave::interface::Axes;
use gatewave::layer::{Bias, Cell, LayerKind, Reset};
use gatewave::weights::{Tensor, Tensors, draw_supplied};
use gatewave::{
    Activation, Embedding, ErrorKind, Gru, Linear, Lstm, Model, OneHot, Precision, Result, Rnn, Select, Weights,
};
use half::{bf16, f16};
use serde_json::{Value, json};
use support::fixtures;

fn tensor(shape: &[usize]) -> Tensor {
    Tensor::new(shape, (0..shape.iter().product::<usize>()).map(|i| i as f32 / 64.0).collect())
}

fn tensors(shapes: &[(&str, &[usize])]) -> Tensors {
    shapes.iter().map(|&(name, shape)| (name, tensor(shape))).collect()
}

/// The tensors of a two-layer LSTM of 6 features and 4 units, under `lstm.`.
fn lstm_tensors() -> Tensors {
    tensors(&[
        ("lstm.weight_ih_l0", &[16, 6]),
        ("lstm.weight_hh_l0", &[16, 4]),
        ("lstm.bias_ih_l0", &[16]),
        ("lstm.bias_hh_l0", &[16]),
        ("lstm.weight_ih_l1", &[16, 4]),
        ("lstm.weight_hh_l1", &[16, 4]),
        ("lstm.bias_ih_l1", &[16]),
        ("lstm.bias_hh_l1", &[16]),
    ])
}

fn described(layers: Value) -> String {
    json!({"gatewave": 1, "layers": layers}).to_string()
}

/// The model of `layers` and its weights from `tensors`.
fn load(layers: Value, tensors: Tensors) -> Result<(Model, Weights)> {
    let model = description::from_json(&described(layers), &tensors)?;
    let weights = Weights::from_tensors(&model, tensors)?;
    Ok((model, weights))
}

/// Returns the error of loading.
fn refusal(layers: Value, tensors: Tensors) -> (ErrorKind, String) {
    let error = load(layers, tensors).expect_err("this must be refused");
    (error.kind(), error.to_string())
}

fn weights_error(message: &str) -> (ErrorKind, String) {
    (ErrorKind::Weights, message.to_owned())
}

fn model_error(message: &str) -> (ErrorKind, String) {
    (ErrorKind::Model, message.to_owned())
}

/// A file with `header`, then `data`.
fn file(header: &Value, data: &[u8]) -> Vec<u8> {
    let header = header.to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn read_refusal(bytes: &[u8]) -> (ErrorKind, String) {
    let error = safetensors::read_bytes(bytes).expect_err("this must be refused");
    (error.kind(), error.to_string())
}

/// Returns a path for one test alone.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Models with everything that a description has a word for.
fn models() -> Vec<Model> {
    let mut characters = Model::new();
    characters.vocabulary = Some("a\n\"é".chars().collect());
    let mut models = vec![
        Model::new()
            .layer(Embedding::new(7, 3).padding_idx(2))
            .named_layer("encoder.rnn.", Lstm::new(3, 5).num_layers(2).bidirectional().proj_size(2))
            .layer(Select::FinalHidden)
            .layer(Linear::new(4, 3).no_bias())
            .layer(Activation::Relu),
        characters
            .axes(Axes::TimeMajor)
            .layer(OneHot::new(4))
            .layer(Gru::new(4, 3).bias(Bias::One))
            .layer(Select::AllSteps),
        Model::new().layer(Rnn::new(2, 3).bias(Bias::None)).layer(Select::LastStep),
    ];
    models.extend(Cell::ALL.map(|cell| Model::new().named_layer("", Rnn::new(2, 3).cell(cell))));
    models.extend(
        Activation::ALL.map(|activation| Model::new().named_layer("fc.", Linear::new(2, 3).activation(activation))),
    );
    models.extend(options::models());
    models
}

#[test]
fn every_pytorch_fixture_loads_with_its_description() {
    for fixture in fixtures::all() {
        let description = scratch(&format!("{}.json", fixture.id));
        fs::write(&description, &fixture.description_json).unwrap();
        let (model, weights) =
            open_with(&fixture.weights, &description).unwrap_or_else(|e| panic!("{}: {e}", fixture.id));
        assert_eq!(model.parameters(), fixture.params, "{}", fixture.id);
        let held: usize =
            weights.to_tensors(&model).unwrap().iter().map(|(_, tensor)| tensor.read().unwrap().len()).sum();
        assert_eq!(held, fixture.params, "{}", fixture.id);
    }
}

#[test]
fn every_size_of_every_fixture_can_be_left_out() {
    const SIZES: [&str; 10] = [
        "input_size",
        "hidden_size",
        "num_layers",
        "bidirectional",
        "bias",
        "proj_size",
        "num_embeddings",
        "embedding_dim",
        "in_features",
        "out_features",
    ];
    for fixture in fixtures::all() {
        let tensors = safetensors::read(&fixture.weights).unwrap().tensors;
        let full = description::from_json(&fixture.description_json, &tensors).unwrap();
        let mut json: Value = serde_json::from_str(&fixture.description_json).unwrap();
        for layer in json["layers"].as_array_mut().unwrap() {
            layer.as_object_mut().unwrap().retain(|key, _| !SIZES.contains(&key.as_str()));
        }
        assert_eq!(description::from_json(&json.to_string(), &tensors).unwrap(), full, "{}", fixture.id);
    }
}

#[test]
fn f32_files_are_read_as_the_safetensors_crate_reads_them() {
    let fixture = fixtures::one("pt_o03_lstm");
    let bytes = fs::read(&fixture.weights).unwrap();
    let theirs = ::safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let ours = safetensors::read(&fixture.weights).unwrap().tensors;
    assert_eq!(ours.names().count(), theirs.len());
    for (name, view) in theirs.iter() {
        let tensor = ours.get(name).unwrap();
        assert_eq!(tensor.shape(), view.shape());
        assert_eq!(bytemuck::cast_slice::<f32, u8>(&tensor.read().unwrap()), view.data(), "{name}");
    }
}

#[test]
fn halves_are_widened_and_doubles_rounded() {
    let values = [1.0 / 3.0, -2.5, 65504.0];
    let f16s: Vec<u8> = values.iter().flat_map(|&x| f16::from_f64(x).to_le_bytes()).collect();
    let bf16s: Vec<u8> = values.iter().flat_map(|&x| bf16::from_f64(x).to_le_bytes()).collect();
    let f64s: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    let header = json!({
        "double": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]},
        "brain": {"dtype": "BF16", "shape": [3, 1], "data_offsets": [24, 30]},
        "half": {"dtype": "F16", "shape": [1, 3], "data_offsets": [30, 36]},
    });
    let read = safetensors::read_bytes(&file(&header, &[f64s, bf16s, f16s].concat())).unwrap().tensors;
    assert_eq!(read.get("double").unwrap().read().unwrap().as_ref(), [1.0 / 3.0, -2.5, 65504.0]);
    assert_eq!(read.get("half").unwrap().read().unwrap().as_ref(), [0.333_251_95, -2.5, 65504.0]);
    assert_eq!(read.get("brain").unwrap().read().unwrap().as_ref(), [0.333_984_38, -2.5, 65536.0]);
    assert_eq!(read.get("brain").unwrap().shape(), [3, 1]);
}

#[test]
fn a_scalar_and_an_empty_tensor_are_read() {
    let header = json!({
        "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]},
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    });
    let read = safetensors::read_bytes(&file(&header, &1.5f32.to_le_bytes())).unwrap().tensors;
    assert_eq!(read.get("scalar").unwrap(), &Tensor::new(vec![], vec![1.5]));
    assert_eq!(read.get("empty").unwrap(), &Tensor::new([0, 3], vec![]));
}

#[test]
fn tensors_and_description_survive_a_round_trip() {
    let tensors = lstm_tensors();
    let bytes = safetensors::to_bytes(&tensors, Some("{\"gatewave\": 1}"), Precision::F32).unwrap();
    let read = safetensors::read_bytes(&bytes).unwrap();
    assert_eq!(read.tensors, tensors);
    assert_eq!(read.description.as_deref(), Some("{\"gatewave\": 1}"));
    assert_eq!(
        safetensors::read_bytes(&safetensors::to_bytes(&tensors, None, Precision::F32).unwrap()).unwrap().description,
        None
    );
}

#[test]
fn a_description_written_is_the_model_read() {
    for model in models() {
        let json = description::to_json(&model);
        assert_eq!(description::from_json(&json, &Tensors::new()).unwrap(), model, "{json}");
    }
}

#[test]
fn a_description_is_written_in_the_order_one_reads_it() {
    let model = Model::new().named_layer("gru.", Gru::new(2, 3)).named_layer("fc.", Linear::new(3, 1));
    assert_eq!(
        description::to_json(&model),
        r#"{"gatewave":1,"batch_first":true,"layers":[{"type":"gru","reset_after":true,"input_size":2,"hidden_size":3,"num_layers":1,"bidirectional":false,"bias":true,"weights":"gru."},{"type":"linear","in_features":3,"out_features":1,"bias":true,"activation":"linear","weights":"fc."}]}"#
    );
}

#[test]
fn a_model_saved_is_the_model_opened() {
    for (index, model) in models().into_iter().filter(|model| !takes_weights(model)).enumerate() {
        let weights = Weights::random(&model, 7).unwrap();
        let path = scratch(&format!("saved-{index}.safetensors"));
        save(&path, &model, &weights).unwrap();
        assert_eq!(open(&path).unwrap(), (model, weights));
    }
}

fn takes_weights(model: &Model) -> bool {
    model.ports.takes_weights()
}

#[test]
fn weights_that_the_caller_brings_are_saved_and_opened_as_names_and_shapes() {
    let model = options::with_ports();
    let path = scratch("brought.safetensors");
    save(&path, &model, &Weights::random(&model, 7).unwrap()).unwrap();
    let stored = safetensors::read(&path).unwrap().tensors;
    assert!(stored.names().all(|name| name.starts_with("b.")) && stored.names().count() == 8);
    let (again, mut tensors) = read(&path).unwrap();
    assert_eq!(again, model);
    assert_eq!(tensors.shape("a.weight_ch_l0_reverse"), Some(&[3, 4][..]));
    let error = open(&path).unwrap_err();
    let message = "layer 0 lstm: a.weight_ih_l0: expected weights from the caller, who brings them as W with each call";
    assert_eq!((error.kind(), error.to_string()), weights_error(&format!("{}: {message}", path.display())));
    draw_supplied(&model, &mut tensors, 7).unwrap();
    assert_eq!(Weights::from_tensors(&model, tensors).unwrap(), Weights::random(&model, 7).unwrap());
}

#[test]
fn a_file_of_halves_holds_the_nearest_ones() {
    let model = Model::new().named_layer("fc.", Linear::new(2, 2).no_bias());
    let values = [1.0 / 3.0, -2.5, 65504.0, f32::INFINITY];
    let tensors = Tensors::from_iter([("fc.weight", Tensor::new([2, 2], values.to_vec()))]);
    let path = scratch("halves.safetensors");
    write(&path, &model, tensors, Precision::F16).unwrap();
    let read = read(&path).unwrap().1;
    let halves = values.map(|value| f16::from_f32(value).to_f32());
    assert_eq!(read.get("fc.weight").unwrap().read().unwrap().as_ref(), halves);
}

#[test]
fn a_tensor_that_two_layers_name_is_used_by_both() {
    let layers = json!([
        {"type": "embedding", "weights": "tied."},
        {"type": "linear", "weights": "tied.", "bias": false},
    ]);
    let (model, weights) = load(layers, tensors(&[("tied.weight", &[5, 3])])).unwrap();
    assert_eq!(weights.to_tensors(&model).unwrap(), tensors(&[("tied.weight", &[5, 3])]));
}

// What is inferred.

#[test]
fn left_out_words_have_pytorchs_defaults() {
    let layers = json!([
        {"type": "rnn", "input_size": 2, "hidden_size": 3},
        {"type": "gru", "input_size": 3, "hidden_size": 3, "weights": "gru."},
        {"type": "linear", "in_features": 3, "out_features": 1, "weights": "fc.", "bias": null},
    ]);
    let model = description::from_json(&described(layers), &Tensors::new()).unwrap();
    let wanted = Model::new()
        .axes(Axes::TimeMajor)
        .named_layer("", Rnn::new(2, 3).cell(Cell::Rnn))
        .named_layer("gru.", Gru::new(3, 3).cell(Cell::Gru(Reset::After)))
        .named_layer("fc.", Linear::new(3, 1));
    assert_eq!(model, wanted);
}

#[test]
fn a_lone_input_bias_is_a_single_bias() {
    let shapes: [(&str, &[usize]); 3] = [("weight_ih_l0", &[3, 2]), ("weight_hh_l0", &[3, 3]), ("bias_ih_l0", &[3])];
    let (model, _) = load(json!([{"type": "rnn"}]), tensors(&shapes)).unwrap();
    assert_eq!(model.layers[0].kind, LayerKind::Recurrent(Rnn::new(2, 3).bias(Bias::One)));
}

#[test]
fn a_one_hot_has_as_many_classes_as_the_vocabulary_or_the_next_layers_input() {
    let classes =
        |description: Value, tensors: &Tensors| match description::from_json(&description.to_string(), tensors)
            .unwrap()
            .layers[0]
            .kind
        {
            LayerKind::OneHot(OneHot { num_classes, .. }) => num_classes,
            ref other => panic!("expected a one_hot, got {other:?}"),
        };
    let layers = json!([{"type": "one_hot"}, {"type": "lstm", "weights": "lstm."}]);
    assert_eq!(classes(json!({"gatewave": 1, "layers": layers}), &lstm_tensors()), 6);
    let layers = json!([{"type": "one_hot"}]);
    assert_eq!(classes(json!({"gatewave": 1, "vocabulary": "aé\n", "layers": layers}), &Tensors::new()), 3);
}
