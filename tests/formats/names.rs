//! Other names of a tensor: those that `safetensors.torch.save_model` leaves out, and those of PyTorch's cells.

use std::collections::BTreeMap;
use std::fs;

use gatewave::formats::{self, Format, safetensors};
use gatewave::layer::{Bias, Direction, LayerKind};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Device, Embedding, Engine, Gru, Input, Linear, Lstm, Model, Precision, Rnn, Weights};
use ndarray::Array3;
use serde_json::{Value, json};

use crate::{described, file, load, lstm_tensors, refusal, scratch, tensors, weights_error};

/// A file with tensors of these shapes, and with `metadata`.
fn with_metadata(shapes: &[(&str, &[usize])], metadata: Value) -> Vec<u8> {
    let (mut header, mut data) = (json!({"__metadata__": metadata}), Vec::new());
    for (at, &(name, shape)) in shapes.iter().enumerate() {
        let begin = data.len();
        let elements = (0..shape.iter().product::<usize>()).map(|i| (at + 1) as f32 / 8.0 - i as f32 / 64.0);
        data.extend(elements.flat_map(f32::to_le_bytes));
        header[name] = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, data.len()]});
    }
    file(&header, &data)
}

/// The tensors of that file.
fn tied(shapes: &[(&str, &[usize])], metadata: Value) -> Tensors {
    safetensors::read_bytes(&with_metadata(shapes, metadata)).expect("a file is read").tensors
}

/// Returns the error of loading `layers`.
fn refused(layers: Value, given: Tensors) -> String {
    refusal(layers, given).1
}

/// Loads the model `layers` from `given` and from the file that `convert` writes, and compares the two results.
fn given_twice(name: &str, layers: &Value, given: &Tensors) -> Model {
    let (model, weights) = load(layers.clone(), given.clone()).expect("the tensors are those of the layers");
    let path = scratch(name);
    formats::write(&path, &model, given.clone(), Precision::F32).expect("a scratch file");
    let (again, stored) = formats::read(&path).expect("what was written is read");
    assert_eq!(again, model);
    let options = || Engine::builder().device(Device::Cpu);
    let engines = [
        Engine::new(&model, &weights, Device::Cpu).expect("a CPU"),
        options().load(&model, given).expect("a CPU"),
        options().load(again, &stored).expect("a CPU"),
    ];
    let input = match model.layers[0].kind {
        LayerKind::Embedding(_) => Input::tokens(ndarray::array![[0, 2, 1]]),
        _ => Input::features(Array3::from_shape_fn((2, 1, 3), |(t, _, i)| t as f32 - i as f32 / 4.0)),
    };
    let [first, second, third] = engines.map(|engine| engine.run(&input).expect("an input of the model").output);
    assert!(first == second && first == third);
    let is_usual = |name: &str| !name.ends_with("_ih") && !name.ends_with("_hh");
    let both_ways = model.layers[0].prefix == model.layers[1 % model.layers.len()].prefix && model.layers.len() > 1;
    assert_eq!(stored.names().all(is_usual), !both_ways);
    model
}

#[test]
fn a_layer_that_asks_for_a_name_that_was_left_out_gets_the_tensor_that_was_kept() {
    let layers = json!([
        {"type": "embedding", "weights": "words."},
        {"type": "linear", "weights": "out."},
    ]);
    for (kept, left_out) in [("words.weight", "out.weight"), ("out.weight", "words.weight")] {
        let shapes: [(&str, &[usize]); 2] = [(kept, &[3, 2]), ("out.bias", &[3])];
        let given = tied(&shapes, json!({left_out: kept, "format": "pt"}));
        let model = given_twice(&format!("tied-{kept}.safetensors"), &layers, &given);
        let wanted = Model::new().named_layer("words.", Embedding::new(3, 2)).named_layer("out.", Linear::new(2, 3));
        assert_eq!(model.layers, wanted.layers);
    }
}

#[test]
fn layers_and_directions_of_stacks_may_be_tied_and_several_names_be_left_out() {
    let shapes: [(&str, &[usize]); 4] =
        [("a.weight_ih_l0", &[9, 3]), ("a.weight_hh_l0", &[9, 3]), ("a.bias_ih_l0", &[9]), ("a.bias_hh_l0", &[9])];
    let every = |suffix: &str, of: &str| -> BTreeMap<String, String> {
        shapes.iter().map(|(kept, _)| (kept.replace("a.", of).replace("_l0", suffix), (*kept).to_owned())).collect()
    };
    let gru = |prefix| json!({"type": "gru", "weights": prefix});
    let mut two = every("_l0", "b.");
    two.extend(every("_l0", "c."));
    let chain =
        given_twice("tied-a.safetensors", &json!([gru("a."), gru("b."), gru("c.")]), &tied(&shapes, json!(two)));
    assert_eq!(chain.layers[2].kind, LayerKind::from(Gru::new(3, 3)));
    let stacked = given_twice("tied-b.safetensors", &json!([gru("a.")]), &tied(&shapes, json!(every("_l1", "a."))));
    assert_eq!(stacked.layers[0].kind, LayerKind::from(Gru::new(3, 3).num_layers(2)));
    let ways = tied(&shapes, json!(every("_l0_reverse", "a.")));
    let both = given_twice("tied-c.safetensors", &json!([gru("a.")]), &ways);
    assert_eq!(both.layers[0].kind, LayerKind::from(Gru::new(3, 3).bidirectional()));
}

#[test]
fn a_file_and_its_bytes_have_the_same_ties_and_its_own_description() {
    let layers = json!([{"type": "embedding", "weights": "a."}, {"type": "linear", "weights": "b."}]);
    let metadata = json!({"gatewave.model": described(layers), "b.weight": "a.weight"});
    let bytes = with_metadata(&[("a.weight", &[3, 2])], metadata);
    let path = scratch("tied-file.safetensors");
    fs::write(&path, &bytes).unwrap();
    let (from_file, from_bytes) = (formats::read(&path), formats::read_bytes(bytes, Format::Safetensors, None));
    assert_eq!(from_file.unwrap(), from_bytes.unwrap());
}

#[test]
fn a_tie_that_leads_to_no_tensor_is_refused_where_a_layer_asks_for_it() {
    let linear = |sizes| match sizes {
        true => json!([{"type": "linear", "weights": "b.", "in_features": 2, "out_features": 3, "bias": true}]),
        false => json!([{"type": "linear", "weights": "b."}]),
    };
    let ties = [
        (json!({"b.weight": "c.weight"}), "c.weight, which is no tensor of the file"),
        (json!({"b.weight": "b.weight"}), "b.weight, and that back to it: a cycle"),
        (json!({"b.weight": "c.weight", "c.weight": "b.weight"}), "c.weight, and that back to it: a cycle"),
        (
            json!({"b.weight": "c.weight", "c.weight": "a.weight"}),
            "c.weight, and that to a.weight; tie it to a tensor of the file",
        ),
    ];
    for (metadata, trouble) in ties {
        for sizes in [true, false] {
            let given = tied(&[("a.weight", &[3, 2]), ("b.bias", &[3])], metadata.clone());
            let message = format!(
                "layer 0 linear: b.weight: expected a tensor of that name, got none; the metadata ties it to {trouble}"
            );
            assert_eq!(refusal(linear(sizes), given), weights_error(&message));
        }
        // No layer needs it.
        let given = tied(&[("a.weight", &[3, 2])], metadata);
        load(json!([{"type": "linear", "weights": "a."}]), given).unwrap();
    }
    // A layer whose bias is lost must not be read as one without a bias.
    let given = tied(&[("b.weight", &[3, 2])], json!({"b.bias": "a.bias"}));
    let message = "layer 0 linear: b.bias: expected a tensor of that name, got none; the metadata ties it to a.bias, which \
                   is no tensor of the file";
    assert_eq!(refusal(linear(false), given), weights_error(message));
}

#[test]
fn a_tensor_that_is_there_is_not_another_and_other_metadata_is_text() {
    let shapes: [(&str, &[usize]); 2] = [("weight", &[3, 2]), ("other", &[3, 2])];
    let metadata = json!({"weight": "other", "bias": "True", "format": "pt", "step": 3});
    let given = tied(&shapes, metadata);
    assert_eq!(given, tied(&shapes, json!({})));
    let (model, _) = load(json!([{"type": "linear"}]), given).unwrap();
    assert_eq!(model.layers[0].kind, LayerKind::from(Linear::new(2, 3).no_bias()));
    let odd = tied(&shapes, json!(["weight"]));
    assert_eq!(odd, tied(&shapes, Value::Null));
}

#[test]
fn a_tied_tensor_of_another_shape_is_told_by_both_names() {
    let given = tied(&[("a.weight", &[2, 3]), ("b.bias", &[3])], json!({"b.weight": "a.weight"}));
    let layers = json!([{"type": "linear", "weights": "b.", "in_features": 2, "out_features": 3}]);
    let message = "layer 0 linear: in_features: the description says 2, the tensors say 3 (b.weight [2, 3])";
    assert_eq!(refused(layers, given), message);
    let model = Model::new().named_layer("b.", Linear::new(2, 3));
    let given = tied(&[("a.weight", &[2, 3]), ("b.bias", &[3])], json!({"b.weight": "a.weight"}));
    let error = Weights::from_tensors(&model, given).unwrap_err().to_string();
    let message = "layer 0 linear: b.weight (tied to a.weight): expected [3, 2], got [2, 3]; is it transposed?";
    assert_eq!(error, message);
}

#[test]
fn a_missing_weights_error_tells_what_it_could_be_tied_to() {
    let given = || tensors(&[("words.weight", &[3, 2]), ("norm.weight", &[2]), ("out.bias", &[3])]);
    let hint = "if it is tied to words.weight, say so in the metadata, as safetensors.torch.save_model does: \
                \"out.weight\": \"words.weight\"";
    for sizes in [json!({}), json!({"in_features": 2, "out_features": 3})] {
        let mut layer = sizes;
        layer["type"] = "linear".into();
        layer["weights"] = "out.".into();
        let error = refused(json!([{"type": "embedding", "weights": "words."}, layer]), given());
        assert!(error.starts_with("layer 1 linear: ") && error.ends_with(hint), "{error}");
    }
    // No tensor of that shape.
    let error = refused(json!([{"type": "linear", "weights": "out.", "in_features": 9, "out_features": 3}]), given());
    assert!(!error.contains("tied"), "{error}");
}

/// The tensors of a cell of `gates` gates, 3 features and 3 units.
fn cell_tensors(gates: usize, biases: bool) -> Tensors {
    let rows = gates * 3;
    let shapes: [(&str, &[usize]); 4] = [
        ("cell.weight_ih", &[rows, 3]),
        ("cell.weight_hh", &[rows, 3]),
        ("cell.bias_ih", &[rows]),
        ("cell.bias_hh", &[rows]),
    ];
    tensors(&shapes[..if biases { 4 } else { 2 }])
}

#[test]
fn the_names_of_cells_are_those_of_a_stack_of_one_layer_and_one_direction() {
    for biases in [true, false] {
        let bare: [LayerKind; 3] = match biases {
            true => [Rnn::new(3, 3).into(), Lstm::new(3, 3).into(), Gru::new(3, 3).into()],
            false => [
                Rnn::new(3, 3).bias(Bias::None).into(),
                Lstm::new(3, 3).bias(Bias::None).into(),
                Gru::new(3, 3).bias(Bias::None).into(),
            ],
        };
        for (kind, gates) in bare.into_iter().zip([1, 4, 3]) {
            let given = cell_tensors(gates, biases);
            let told = json!([{"type": kind.name(), "weights": "cell."}]);
            let name = format!("cell-{}-{biases}.safetensors", kind.name());
            assert_eq!(given_twice(&name, &told, &given).layers[0].kind, kind);
            let said = json!([{"type": kind.name(), "weights": "cell.", "input_size": 3, "hidden_size": 3,
                "num_layers": 1, "bidirectional": false, "bias": biases}]);
            assert_eq!(given_twice(&name, &said, &given).layers[0].kind, kind);
        }
    }
}

#[test]
fn a_cell_may_go_back_and_be_the_cell_of_two_layers() {
    for (word, direction) in [("reverse", Direction::Reverse), ("backwards", Direction::Backwards)] {
        let layers =
            json!([{"type": "gru", "weights": "cell.", "direction": word}, {"type": "gru", "weights": "cell."}]);
        let model = given_twice(&format!("cell-{word}.safetensors"), &layers, &cell_tensors(3, true));
        assert_eq!(model.layers[0].kind, LayerKind::from(Gru::new(3, 3).direction(direction)));
        assert_eq!(model.layers[1].kind, LayerKind::from(Gru::new(3, 3)));
    }
}

#[test]
fn cells_may_be_tied() {
    let given = cell_tensors(4, true);
    let mut names = serde_json::Map::new();
    for (name, _) in given.iter() {
        names.insert(name.replace("cell.", "upper."), name.into());
    }
    let shapes: Vec<_> = given.iter().map(|(name, tensor)| (name, tensor.shape())).collect();
    let layers = json!([{"type": "lstm", "weights": "cell."}, {"type": "lstm", "weights": "upper."}]);
    given_twice("cell-tied.safetensors", &layers, &tied(&shapes, names.into()));
}

#[test]
fn names_of_a_cell_and_of_a_stack_are_refused_together() {
    let mut given = cell_tensors(4, true);
    given.extend(lstm_tensors().iter().map(|(name, tensor)| (name.replace("lstm.", "cell."), tensor.clone())));
    let message = "layer 0 lstm: expected the names of a cell or those of a stack, got cell.weight_ih and \
                   cell.weight_ih_l0; leave one out";
    assert_eq!(refusal(json!([{"type": "lstm", "weights": "cell."}]), given.clone()), weights_error(message));
    let model = Model::new().named_layer("cell.", Lstm::new(3, 3));
    let error = Weights::from_tensors(&model, given).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), weights_error(message));
    let mut mixed = cell_tensors(4, false);
    mixed.insert("cell.bias_hh_l0", Tensor::new([12], vec![0.0; 12]));
    let error = refused(json!([{"type": "lstm", "weights": "cell."}]), mixed);
    assert!(error.contains("got cell.weight_ih and cell.bias_hh_l0"), "{error}");
}

#[test]
fn a_cell_is_no_stack_of_more() {
    let layer = |key: &str, value: Value| json!([{"type": "gru", "weights": "cell.", key: value}]);
    let error = refused(layer("num_layers", 2.into()), cell_tensors(3, true));
    let message = "layer 0 gru: num_layers: the description says 2, the tensors say 1 (the last is cell.weight_ih)";
    assert_eq!(error, message);
    let error = refused(layer("bidirectional", true.into()), cell_tensors(3, true));
    let message =
        "layer 0 gru: bidirectional: the description says true, the tensors say false (cell.weight_ih is a cell's)";
    assert_eq!(error, message);
    let model = Model::new().named_layer("cell.", Gru::new(3, 3).bidirectional());
    let error = Weights::from_tensors(&model, cell_tensors(3, true)).unwrap_err().to_string();
    assert!(error.starts_with("layer 0 gru: cell.weight_ih_l0: expected a tensor of that name, got none"), "{error}");
    let mut lost = cell_tensors(3, true);
    lost = lost.iter().filter(|(name, _)| *name != "cell.weight_hh").map(|(n, t)| (n.to_owned(), t.clone())).collect();
    let error = refused(json!([{"type": "gru", "weights": "cell."}]), lost.clone());
    assert!(error.contains("hidden_size: left out, and there is no cell.weight_hh to tell it"), "{error}");
    let error =
        Weights::from_tensors(&Model::new().named_layer("cell.", Gru::new(3, 3)), lost).unwrap_err().to_string();
    assert!(error.contains("cell.weight_hh: expected a tensor of that name, got none"), "{error}");
}
