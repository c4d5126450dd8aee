//! What the readers of models and weights promise: what is read, what is inferred, and every error as text.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gatewave::weights::{Tensor, Tensors, description, non_finite, open, safetensors, save};
use gatewave::{
    Activation, Axes, Bias, Cell, Direction, Embedding, ErrorKind, Gru, LayerKind, Linear, Lstm, Model, Nonlinearity,
    OneHot, Reset, Result, Rnn, Select, Weights,
};
use half::{bf16, f16};
use serde_json::{Value, json};
use support::fixtures;

fn tensor(shape: &[usize]) -> Tensor {
    Tensor { shape: shape.to_vec(), data: (0..shape.iter().product::<usize>()).map(|i| i as f32 / 64.0).collect() }
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

/// What loading fails with.
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

/// A path of its own for each test.
fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Every variant that a description has a word for.
fn models() -> Vec<Model> {
    let mut models = vec![
        Model::new()
            .layer(Embedding { padding_idx: Some(2), ..Embedding::new(7, 3) })
            .named_layer("encoder.rnn.", Lstm::new(3, 5).num_layers(2).bidirectional().proj_size(2))
            .layer(Select::FinalHidden)
            .layer(Linear::new(4, 3).no_bias())
            .layer(Activation::Relu),
        Model { vocabulary: Some("a\n\"é".chars().collect()), ..Model::new() }
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
    models
}

// What is read.

#[test]
fn every_pytorch_fixture_loads_with_its_description() {
    for fixture in fixtures::all() {
        let description = scratch(&format!("{}.json", fixture.id));
        fs::write(&description, &fixture.description_json).unwrap();
        let (model, weights) =
            open(&fixture.weights, Some(&description)).unwrap_or_else(|e| panic!("{}: {e}", fixture.id));
        assert_eq!(model.parameters(), fixture.params, "{}", fixture.id);
        let held: usize = weights.to_tensors(&model).unwrap().iter().map(|(_, tensor)| tensor.data.len()).sum();
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
        assert_eq!(tensor.shape, view.shape());
        assert_eq!(bytemuck::cast_slice::<f32, u8>(&tensor.data), view.data(), "{name}");
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
    assert_eq!(read.get("double").unwrap().data, [1.0 / 3.0, -2.5, 65504.0]);
    assert_eq!(read.get("half").unwrap().data, [0.333_251_95, -2.5, 65504.0]);
    assert_eq!(read.get("brain").unwrap().data, [0.333_984_38, -2.5, 65536.0]);
    assert_eq!(read.get("brain").unwrap().shape, [3, 1]);
}

#[test]
fn a_scalar_and_an_empty_tensor_are_read() {
    let header = json!({
        "empty": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]},
        "scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    });
    let read = safetensors::read_bytes(&file(&header, &1.5f32.to_le_bytes())).unwrap().tensors;
    assert_eq!(read.get("scalar").unwrap(), &Tensor { shape: vec![], data: vec![1.5] });
    assert_eq!(read.get("empty").unwrap(), &Tensor { shape: vec![0, 3], data: vec![] });
}

#[test]
fn tensors_and_description_survive_a_round_trip() {
    let tensors = lstm_tensors();
    let bytes = safetensors::to_bytes(&tensors, Some("{\"gatewave\": 1}")).unwrap();
    let read = safetensors::read_bytes(&bytes).unwrap();
    assert_eq!(read.tensors, tensors);
    assert_eq!(read.description.as_deref(), Some("{\"gatewave\": 1}"));
    assert_eq!(safetensors::read_bytes(&safetensors::to_bytes(&tensors, None).unwrap()).unwrap().description, None);
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
    for (index, model) in models().into_iter().enumerate() {
        let weights = Weights::random(&model, 7).unwrap();
        let path = scratch(&format!("saved-{index}.safetensors"));
        save(&path, &model, &weights).unwrap();
        assert_eq!(open(&path, None).unwrap(), (model, weights));
    }
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
        .named_layer("", Rnn::new(2, 3).cell(Cell::Rnn(Nonlinearity::Tanh)))
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
            LayerKind::OneHot(OneHot { num_classes }) => num_classes,
            ref other => panic!("expected a one_hot, got {other:?}"),
        };
    let layers = json!([{"type": "one_hot"}, {"type": "lstm", "weights": "lstm."}]);
    assert_eq!(classes(json!({"gatewave": 1, "layers": layers}), &lstm_tensors()), 6);
    let layers = json!([{"type": "one_hot"}]);
    assert_eq!(classes(json!({"gatewave": 1, "vocabulary": "aé\n", "layers": layers}), &Tensors::new()), 3);
}

// Files that are damaged.

#[test]
fn a_file_too_short_for_a_length_is_refused() {
    let message = "expected at least 8 bytes (the header's length), got 3; is this a .safetensors file?";
    assert_eq!(read_refusal(b"abc"), weights_error(message));
}

#[test]
fn a_file_cut_off_in_its_header_is_refused() {
    let bytes = safetensors::to_bytes(&lstm_tensors(), None).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let message = format!("header: expected {length} bytes, got 12; the file is cut off, or is no .safetensors file");
    assert_eq!(read_refusal(&bytes[..20]), weights_error(&message));
}

#[test]
fn a_file_cut_off_in_its_data_is_refused() {
    let bytes = safetensors::to_bytes(&tensors(&[("w", &[4])]), None).unwrap();
    let message = "data: expected 16 bytes, got 13; the file is cut off";
    assert_eq!(read_refusal(&bytes[..bytes.len() - 3]), weights_error(message));
}

#[test]
fn no_prefix_of_a_file_is_read() {
    let bytes = safetensors::to_bytes(&lstm_tensors(), Some("{}")).unwrap();
    for length in 0..bytes.len() {
        assert_eq!(read_refusal(&bytes[..length]).0, ErrorKind::Weights, "{length} bytes");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let mut bytes = safetensors::to_bytes(&tensors(&[("w", &[4])]), None).unwrap();
    bytes.push(0);
    let message = "data: expected 16 bytes, got 17; there are bytes that belong to no tensor";
    assert_eq!(read_refusal(&bytes), weights_error(message));
}

#[test]
fn a_header_that_lies_about_a_size_is_refused() {
    let header = json!({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}});
    let message = "tensor w: expected 16 bytes for F32 [2, 2], got 12 (data_offsets [0, 12])";
    assert_eq!(read_refusal(&file(&header, &[0; 12])), weights_error(message));
    let header =
        json!({"w": {"dtype": "F32", "shape": [4_294_967_296_u64, 4_294_967_296_u64], "data_offsets": [0, 0]}});
    let message =
        "tensor w: expected more than 2^64 bytes for F32 [4294967296, 4294967296], got 0 (data_offsets [0, 0])";
    assert_eq!(read_refusal(&file(&header, &[])), weights_error(message));
}

#[test]
fn a_header_whose_tensors_overlap_or_run_backwards_is_refused() {
    let header = json!({
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
    });
    let message = "header: tensor b: expected data_offsets [8, …] (where the one before ends), got [4, 12]";
    assert_eq!(read_refusal(&file(&header, &[0; 12])), weights_error(message));
    let header = json!({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "b": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}});
    let message = "header: tensor b: expected data_offsets [8, …] (where the one before ends), got [8, 0]";
    assert_eq!(read_refusal(&file(&header, &[0; 8])), weights_error(message));
}

#[test]
fn a_header_that_is_not_json_is_refused() {
    let bytes = [&4u64.to_le_bytes()[..], b"oops"].concat();
    let message = "header: expected a JSON object, got expected value at line 1 column 1; is this a .safetensors file?";
    assert_eq!(read_refusal(&bytes), weights_error(message));
}

#[test]
fn a_header_without_a_shape_is_refused() {
    let header = json!({"w": {"dtype": "F32", "data_offsets": [0, 0]}});
    let message = "header: tensor w: expected dtype, shape and data_offsets, got missing field `shape`";
    assert_eq!(read_refusal(&file(&header, &[])), weights_error(message));
}

#[test]
fn an_integer_tensor_is_refused_only_where_the_model_needs_it() {
    let header = json!({
        "rnn.weight_hh_l0": {"dtype": "F32", "shape": [1, 1], "data_offsets": [8, 12]},
        "rnn.weight_ih_l0": {"dtype": "F32", "shape": [1, 1], "data_offsets": [12, 16]},
        "steps": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]},
    });
    let read = safetensors::read_bytes(&file(&header, &[0; 16])).unwrap().tensors;
    load(json!([{"type": "rnn", "weights": "rnn."}]), read).unwrap();

    let header = json!({"fc.weight": {"dtype": "I64", "shape": [1, 2], "data_offsets": [0, 16]}});
    let read = safetensors::read_bytes(&file(&header, &[0; 16])).unwrap().tensors;
    let message = "layer 0 linear: fc.weight: expected elements of type F32, F16, BF16 or F64, got I64; \
                   save it as one of them";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), read), weights_error(message));
}

// Tensors that are not the model's.

#[test]
fn a_gru_read_as_an_lstm_is_recognised() {
    let mut given = lstm_tensors();
    given.insert("lstm.weight_hh_l1", tensor(&[12, 4]));
    let message = "layer 0 lstm: lstm.weight_hh_l1: expected [16, 4] (4 gates × 4), got [12, 4]; \
                   12 = 3 × 4: is this a GRU?";
    assert_eq!(refusal(json!([{"type": "lstm", "weights": "lstm."}]), given), weights_error(message));
}

#[test]
fn an_lstm_read_as_an_rnn_is_recognised() {
    let message = "layer 0 rnn: lstm.weight_ih_l0: expected [4, 6], got [16, 6]; 16 = 4 × 4: is this an LSTM?";
    assert_eq!(refusal(json!([{"type": "rnn", "weights": "lstm."}]), lstm_tensors()), weights_error(message));
}

#[test]
fn a_transposed_matrix_is_recognised() {
    let mut given = lstm_tensors();
    given.insert("lstm.weight_ih_l1", tensor(&[4, 16]));
    let message = "layer 0 lstm: lstm.weight_ih_l1: expected [16, 4] (4 gates × 4), got [4, 16]; is it transposed?";
    assert_eq!(refusal(json!([{"type": "lstm", "weights": "lstm."}]), given), weights_error(message));
}

#[test]
fn a_bias_of_the_wrong_length_is_refused() {
    let given = tensors(&[("fc.weight", &[2, 3]), ("fc.bias", &[3])]);
    let message = "layer 0 linear: fc.bias: expected [2], got [3]";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), given), weights_error(message));
}

#[test]
fn a_matrix_of_three_axes_is_refused() {
    let given = tensors(&[("fc.weight", &[2, 3, 1])]);
    let message = "layer 0 linear: fc.weight: expected a matrix, got [2, 3, 1]";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), given), weights_error(message));
}

#[test]
fn a_missing_tensors_error_tells_the_prefix_of_the_file() {
    let given: Tensors = lstm_tensors().iter().map(|(name, t)| (format!("module.{name}"), t.clone())).collect();
    let sizes = json!([{"type": "lstm", "input_size": 6, "hidden_size": 4, "num_layers": 2, "weights": "lstm."}]);
    let message = "layer 0 lstm: lstm.weight_ih_l0: expected a tensor of that name, got none; \
                   there is module.lstm.weight_ih_l0; set \"weights\": \"module.lstm.\"";
    assert_eq!(refusal(sizes, given.clone()), weights_error(message));
    let message = "layer 0 lstm: input_size: left out, and there is no weight_ih_l0 to tell it; \
                   there is module.lstm.weight_ih_l0; set \"weights\": \"module.lstm.\"";
    assert_eq!(refusal(json!([{"type": "lstm"}]), given), weights_error(message));
}

#[test]
fn a_missing_tensors_error_lists_the_layers_it_could_be() {
    let given = tensors(&[("a.fc.weight", &[1, 2]), ("b.fc.weight", &[1, 2]), ("c.weight", &[1, 2])]);
    let message = "layer 0 linear: in_features: left out, and there is no fc.weight to tell it; \
                   there is a.fc.weight, b.fc.weight; set \"weights\" to what stands before weight";
    assert_eq!(refusal(json!([{"type": "linear", "weights": "fc."}]), given), weights_error(message));
}

#[test]
fn a_missing_tensors_error_lists_near_names() {
    let shapes: [(&str, &[usize]); 3] = [("r.weight_ih_l0", &[3, 2]), ("r.weight_hh_10", &[3, 3]), ("b", &[3])];
    let layer = json!([{"type": "rnn", "input_size": 2, "hidden_size": 3, "weights": "r."}]);
    let message = "layer 0 rnn: r.weight_hh_l0: expected a tensor of that name, got none; \
                   near it, there is r.weight_hh_10, r.weight_ih_l0";
    assert_eq!(refusal(layer, tensors(&shapes)), weights_error(message));
}

#[test]
fn a_missing_tensors_error_says_what_else_there_is() {
    let layer = json!([{"type": "rnn", "input_size": 2, "hidden_size": 3}]);
    let given = tensors(&[("a", &[1]), ("b", &[1]), ("c", &[1]), ("d", &[1]), ("e", &[1]), ("f", &[1])]);
    let missing = "layer 0 rnn: weight_ih_l0: expected a tensor of that name, got none; ";
    assert_eq!(refusal(layer.clone(), given), weights_error(&format!("{missing}there is a, b, c, d and 2 more")));
    assert_eq!(refusal(layer, Tensors::new()), weights_error(&format!("{missing}the file holds no tensors")));
}

#[test]
fn a_description_that_contradicts_the_tensors_is_refused() {
    let against = |key: &str, value: Value| {
        let mut layer = json!({"type": "lstm", "weights": "lstm."});
        layer[key] = value;
        refusal(json!([layer]), lstm_tensors())
    };
    let cases = [
        ("hidden_size", json!(5), "5, the tensors say 4 (lstm.weight_hh_l0 [16, 4])"),
        ("input_size", json!(7), "7, the tensors say 6 (lstm.weight_ih_l0 [16, 6])"),
        ("num_layers", json!(3), "3, the tensors say 2 (the last is lstm.weight_ih_l1)"),
        ("num_layers", json!(1), "1, the tensors say 2 (the last is lstm.weight_ih_l1)"),
        ("bidirectional", json!(true), "true, the tensors say false (there is no lstm.weight_ih_l0_reverse)"),
        ("bias", json!(false), "false, the tensors say true (lstm.bias_hh_l0)"),
        ("bias", json!("single"), "\"single\", the tensors say true (lstm.bias_hh_l0)"),
        ("proj_size", json!(2), "2, the tensors say 0 (there is no lstm.weight_hr_l0)"),
    ];
    for (key, value, rest) in cases {
        assert_eq!(against(key, value), model_error(&format!("layer 0 lstm: {key}: the description says {rest}")));
    }
    let linear = json!([{"type": "linear", "in_features": 4, "out_features": 2, "weights": "fc.", "bias": true}]);
    let message = "layer 0 linear: in_features: the description says 4, the tensors say 3 (fc.weight [2, 3])";
    assert_eq!(refusal(linear.clone(), tensors(&[("fc.weight", &[2, 3])])), model_error(message));
    let message = "layer 0 linear: bias: the description says true, the tensors say false (there is no fc.bias)";
    assert_eq!(refusal(linear, tensors(&[("fc.weight", &[2, 4])])), model_error(message));
    let embedding = json!([{"type": "embedding", "num_embeddings": 9}]);
    let message = "layer 0 embedding: num_embeddings: the description says 9, the tensors say 8 (weight [8, 2])";
    assert_eq!(refusal(embedding, tensors(&[("weight", &[8, 2])])), model_error(message));
}

#[test]
fn a_claim_of_more_layers_than_memory_holds_is_refused_at_the_first() {
    let layer = json!([{"type": "rnn", "input_size": 2, "hidden_size": 3, "num_layers": 2_147_483_647}]);
    let message = "layer 0 rnn: weight_ih_l0: expected a tensor of that name, got none; the file holds no tensors";
    assert_eq!(refusal(layer, Tensors::new()), weights_error(message));
}

#[test]
fn a_tensor_with_fewer_elements_than_its_shape_is_refused() {
    let given = Tensors::from_iter([("weight", Tensor { shape: vec![1, 2], data: vec![1.0] })]);
    let message = "layer 0 linear: weight: expected the elements of [1, 2], got 1";
    assert_eq!(refusal(json!([{"type": "linear"}]), given), weights_error(message));
}

// Descriptions that are wrong.

#[test]
fn a_wrong_description_is_refused() {
    let refusal = |json: &str| {
        let error = description::from_json(json, &lstm_tensors()).expect_err("this must be refused");
        (error.kind(), error.to_string())
    };
    let cases = [
        ("{", "expected JSON, got EOF while parsing an object at line 1 column 1"),
        ("[]", "expected an object, got []"),
        (r#"{"layers": []}"#, "gatewave: expected 1 (the format's version), got nothing"),
        (r#"{"gatewave": 2, "layers": []}"#, "gatewave: expected 1 (the format's version), got 2"),
        (r#"{"gatewave": 1}"#, "layers: expected a list, got nothing"),
        (r#"{"gatewave": 1, "layers": {}}"#, "layers: expected a list, got {}"),
        (r#"{"gatewave": 1, "layers": []}"#, "the model has no layers"),
        (r#"{"gatewave": 1, "batch_first": 1, "layers": []}"#, "batch_first: expected true or false, got 1"),
        (
            r#"{"gatewave": 1, "layer": [], "layers": []}"#,
            "layer: unknown key; the known ones are gatewave, batch_first, vocabulary, layers",
        ),
        (
            r#"{"gatewave": 1, "vocabulary": "ab", "layers": [{"type": "one_hot", "num_classes": 3}]}"#,
            "vocabulary: expected 3 characters, one for each token, got 2",
        ),
    ];
    for (json, message) in cases {
        assert_eq!(refusal(json), model_error(message), "{json}");
    }
}

#[test]
fn a_wrong_layer_is_refused() {
    let cases = [
        (json!(3), "layer 0: expected an object, got 3"),
        (
            json!({}),
            "layer 0: type: expected one of \"embedding\", \"one_hot\", \"rnn\", \"lstm\", \"gru\", \
             \"select\", \"linear\", \"activation\", got nothing",
        ),
        (
            json!({"type": "lstmm"}),
            "layer 0 lstmm: type: expected one of \"embedding\", \"one_hot\", \"rnn\", \"lstm\", \"gru\", \
             \"select\", \"linear\", \"activation\", got \"lstmm\"",
        ),
        (
            json!({"type": "lstm", "weights": "lstm.", "hiden_size": 4}),
            "layer 0 lstm: hiden_size: unknown key; the known ones are type, weights, input_size, hidden_size, \
             num_layers, proj_size, bidirectional, bias",
        ),
        (
            json!({"type": "lstm", "weights": "lstm.", "nonlinearity": "tanh"}),
            "layer 0 lstm: nonlinearity: unknown key; the known ones are type, weights, input_size, hidden_size, \
             num_layers, proj_size, bidirectional, bias",
        ),
        (json!({"type": "lstm", "hidden_size": "4"}), "layer 0 lstm: hidden_size: expected a whole number, got \"4\""),
        (json!({"type": "lstm", "hidden_size": -4}), "layer 0 lstm: hidden_size: expected a whole number, got -4"),
        (
            json!({"type": "lstm", "bias": "double"}),
            "layer 0 lstm: bias: expected one of true, false, \"single\", got \"double\"",
        ),
        (
            json!({"type": "rnn", "nonlinearity": "elu"}),
            "layer 0 rnn: nonlinearity: expected one of \"tanh\", \"relu\", got \"elu\"",
        ),
        (
            json!({"type": "select", "what": "first"}),
            "layer 0 select: what: expected one of \"all_steps\", \"last_step\", \"final_hidden\", got \"first\"",
        ),
        (
            json!({"type": "select"}),
            "layer 0 select: what: expected one of \"all_steps\", \"last_step\", \"final_hidden\", got nothing",
        ),
        (
            json!({"type": "activation", "activation": "elu"}),
            "layer 0 activation: activation: expected one of \"linear\", \"sigmoid\", \"tanh\", \"relu\", \"softmax\", \
             \"log_softmax\", got \"elu\"",
        ),
        (
            json!({"type": "one_hot"}),
            "layer 0 one_hot: num_classes: left out, and neither a vocabulary nor the next layer tells it",
        ),
        (json!({"type": "one_hot", "num_classes": 0}), "layer 0 one_hot: num_classes: expected at least 1, got 0"),
        (
            json!({"type": "gru", "input_size": 2, "hidden_size": 4, "proj_size": 2}),
            "layer 0 gru: proj_size: only an lstm has a projection",
        ),
    ];
    for (layer, message) in cases {
        assert_eq!(refusal(json!([layer]), lstm_tensors()), model_error(message), "{layer}");
    }
}

// Files that cannot be opened.

#[test]
fn a_format_that_is_not_read_is_refused_by_name() {
    let cases = [
        ("m.onnx", "m.onnx: expected a .safetensors file, got .onnx; this format is not read yet"),
        ("m.keras", "m.keras: expected a .safetensors file, got .keras; this format is not read yet"),
        ("m.h5", "m.h5: expected a .safetensors file, got .h5; this format is not read yet"),
        (
            "m.pt",
            "m.pt: expected a .safetensors file, got .pt; in PyTorch, \
             safetensors.torch.save_file(model.state_dict(), \"model.safetensors\") writes one",
        ),
        ("m", "m: expected a .safetensors file, got no extension"),
    ];
    for (path, message) in cases {
        let error = open(Path::new(path), None).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Io, message.to_owned()));
    }
}

#[test]
fn a_file_that_is_not_there_is_an_io_error_with_its_path() {
    let path = scratch("nowhere.safetensors");
    let error = open(&path, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
    assert!(std::error::Error::source(&error).is_some());

    let fixture = fixtures::one("pt_o00_rnn_relu");
    let description = scratch("nowhere.json");
    let error = open(&fixture.weights, Some(&description)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().starts_with(&format!("{}: ", description.display())), "{error}");
}

#[test]
fn a_file_without_a_description_says_how_to_give_one() {
    let fixture = fixtures::one("pt_o00_rnn_relu");
    let error = open(&fixture.weights, None).unwrap_err();
    let message = format!(
        "{}: expected a description of the model in the metadata (key gatewave.model), got none; \
         give one beside the file (--model model.json)",
        fixture.weights.display()
    );
    assert_eq!((error.kind(), error.to_string()), model_error(&message));
}

// Elements.

#[test]
fn tensors_with_nan_or_infinity_are_named() {
    let mut given = lstm_tensors();
    assert_eq!(non_finite(&given), [""; 0]);
    given.insert("a", Tensor { shape: vec![3], data: vec![f32::NAN, 1.0, f32::NEG_INFINITY] });
    given.insert("b", Tensor { shape: vec![1], data: vec![f32::INFINITY] });
    let warnings = ["a: 2 of 3 elements are NaN or infinite", "b: 1 of 1 elements is NaN or infinite"];
    assert_eq!(non_finite(&given), warnings);
}

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        LOGGED.lock().expect("no test panics with the lock").push(format!("{} {}", record.level(), record.args()));
    }

    fn flush(&self) {}
}

#[test]
fn a_nan_is_warned_of_and_loaded() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let nan = Tensor { shape: vec![1, 2], data: vec![f32::NAN, 1.0] };
    load(json!([{"type": "linear", "weights": "warned."}]), Tensors::from_iter([("warned.weight", nan)])).unwrap();
    let logged = LOGGED.lock().unwrap();
    assert!(logged.contains(&"WARN warned.weight: 1 of 2 elements is NaN or infinite".to_owned()), "{logged:?}");
}

#[test]
fn random_weights_are_those_of_the_seed_and_within_pytorchs_bounds() {
    let model = Model::new()
        .layer(Embedding::new(200, 8))
        .layer(Lstm::new(8, 16).bidirectional().proj_size(4))
        .layer(Linear::new(8, 100));
    let weights = Weights::random(&model, 1).unwrap();
    assert_eq!(weights, Weights::random(&model, 1).unwrap());
    assert_ne!(weights, Weights::random(&model, 2).unwrap());
    for (name, tensor) in weights.to_tensors(&model).unwrap().iter() {
        let bound = match name.split('.').next() {
            Some("0") => 1.0,
            Some("1") => 0.25,
            _ => 1.0 / 8f32.sqrt(),
        };
        let largest = tensor.data.iter().fold(0f32, |largest, x| largest.max(x.abs()));
        assert!(largest <= bound && largest > 0.9 * bound, "{name}: largest {largest}, bound {bound}");
        let mean = tensor.data.iter().sum::<f32>() / tensor.data.len() as f32;
        assert!(mean.abs() < bound / 4.0, "{name}: mean {mean}, bound {bound}");
    }
}

#[test]
fn a_seed_gives_known_numbers() {
    let model = Model::new().named_layer("", Rnn::new(1, 1));
    let tensors = Weights::random(&model, 42).unwrap().to_tensors(&model).unwrap();
    assert_eq!(tensors.get("weight_ih_l0").unwrap().data, [-0.551_838_64]);
}

#[test]
fn weights_of_another_model_are_refused() {
    let model = Model::new().named_layer("a.", Lstm::new(2, 3));
    let refusal = |other: &Model| {
        let error = Weights::random(other, 0).unwrap().to_tensors(&model).expect_err("this must be refused");
        (error.kind(), error.to_string())
    };
    let other = Model::new().named_layer("a.", Lstm::new(2, 3)).layer(Linear::new(3, 1));
    assert_eq!(refusal(&other), weights_error("expected weights of 1 layers, got 2"));
    let other = Model::new().named_layer("a.", Lstm::new(2, 3).bias(Bias::None));
    assert_eq!(refusal(&other), weights_error("layer 0 lstm: expected 4 tensors, got 2"));
    let other = Model::new().named_layer("a.", Gru::new(2, 3));
    let message = "layer 0 lstm: a.weight_ih_l0: expected [12, 2] (4 gates × 3), got [9, 2]; 9 = 3 × 3: is this a GRU?";
    assert_eq!(refusal(&other), weights_error(message));
}

#[test]
fn two_layers_of_one_name_cannot_be_saved_where_they_differ() {
    let apart = Model::new().named_layer("a.", Linear::new(2, 2)).named_layer("b.", Linear::new(2, 2));
    let weights = Weights::random(&apart, 0).unwrap();
    let same = Model::new().named_layer("a.", Linear::new(2, 2)).named_layer("a.", Linear::new(2, 2));
    let error = weights.to_tensors(&same).unwrap_err();
    let message = "layer 1 linear: a.weight: another layer has a tensor of that name; give each its own \"weights\"";
    assert_eq!((error.kind(), error.to_string()), model_error(message));
}

#[test]
fn directions_and_layers_keep_pytorchs_order() {
    let model = Model::new().named_layer("", Rnn::new(1, 1).num_layers(2).bidirectional().bias(Bias::None));
    let names = ["weight_ih_l0", "weight_ih_l0_reverse", "weight_ih_l1", "weight_ih_l1_reverse"];
    let mut given = Tensors::new();
    for (index, name) in names.into_iter().enumerate() {
        let inputs = if index < 2 { 1 } else { 2 };
        given.insert(name, Tensor { shape: vec![1, inputs], data: vec![index as f32; inputs] });
        given.insert(name.replace("ih", "hh"), Tensor { shape: vec![1, 1], data: vec![10.0 + index as f32] });
    }
    let weights = Weights::from_tensors(&model, given).unwrap();
    let gatewave::weights::LayerWeights::Recurrent(cells) = &weights.layers[0] else { panic!("a recurrent layer") };
    let firsts: Vec<(f32, f32)> = cells.iter().map(|cell| (cell.w_x[[0, 0]], cell.w_h[[0, 0]])).collect();
    assert_eq!(firsts, [(0.0, 10.0), (1.0, 11.0), (2.0, 12.0), (3.0, 13.0)]);
    assert_eq!(model.stacks().next().unwrap().direction, Direction::Both);
}
