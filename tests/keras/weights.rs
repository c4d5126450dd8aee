//! Weights without their model (`model.save_weights`), with Keras' own description beside (`model.to_json()`).

use std::path::{Path, PathBuf};

use gatewave::formats::{self, Format, keras};
use gatewave::weights::Tensors;
use gatewave::{ErrorKind, Model, Result};
use serde_json::{Value, json};

use crate::files::folder;
use crate::refused::{Archive, archive};

/// Every archive of the fixtures.
fn archives() -> Vec<PathBuf> {
    let folders = ["keras", "keras2", "keras-cells", "keras-graphs", "across", "attention", "norms"];
    let files = folders.iter().flat_map(|name| crate::support::files::files(&folder().join(name), &["keras"]));
    files.collect()
}

fn alone(archive: &Archive) -> Result<(Model, Tensors)> {
    formats::read_bytes(archive.weights.clone(), Format::Keras, Some(&archive.config.to_string()))
}

fn refused(archive: &Archive, kind: ErrorKind, words: &str) {
    let error = alone(archive).map(|(model, _)| model.summary().to_string()).expect_err("it is refused");
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(words), "expected {words:?} in: {text}");
}

fn layers(archive: &mut Archive) -> &mut Vec<Value> {
    archive.config["config"]["layers"].as_array_mut().expect("layers")
}

#[test]
fn weights_and_a_description_are_the_archive_that_has_both() {
    let mut seen = 0;
    for path in archives() {
        let id = path.strip_prefix(folder()).expect("a fixture").with_extension("");
        let (model, tensors) =
            alone(&archive(&format!("../{}", id.display()))).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let whole = formats::read(&path).expect("an archive");
        assert_eq!(model, whole.0, "{}", path.display());
        assert!(tensors == whole.1, "{}: other elements", path.display());
        seen += 1;
    }
    assert!(seen >= 100, "only {seen} archives seen");
}

#[test]
fn weights_of_keras_2_are_found_by_the_names_of_their_layers() {
    let file = |name: &str| folder().join("keras-cells").join(name);
    let read = |json: &Path| formats::read_with(file("weights-2.weights.h5"), json);
    let json = file("weights-2.json");
    let whole = formats::read(folder().join("keras2/k2_o_embed_mask_lstm_clf.h5")).expect("a whole model");
    assert!(read(&json).expect("a pair of files") == whole);

    let text = std::fs::read_to_string(&json).expect("a description");
    let weights = std::fs::read(file("weights-2.weights.h5")).expect("weights");
    let refused = |change: &dyn Fn(&mut Vec<Value>), words: &str| {
        let mut description: Value = serde_json::from_str(&text).expect("JSON");
        change(description["config"]["layers"].as_array_mut().expect("layers"));
        let error = formats::read_bytes(weights.clone(), Format::Keras, Some(&description.to_string()));
        let error = error.map(|(model, _)| model.summary().to_string()).expect_err("it is refused");
        assert_eq!(error.kind(), ErrorKind::Weights, "{error}");
        assert!(error.to_string().contains(words), "expected {words:?} in: {error}");
    };
    refused(&|layers| layers[2]["config"]["name"] = json!("other"), "layer other (LSTM): other: expected an attribute");
    refused(&|layers| drop(layers.pop()), "expected a layer of the description, got weights of another one; it has ");
    let last = |layers: &mut Vec<Value>| layers.len() - 1;
    refused(
        &|layers| {
            let last = last(layers);
            layers[last]["config"]["use_bias"] = json!(false);
        },
        "bias:0: expected no such variable by the description, got one",
    );
}

#[test]
fn weights_of_another_model_are_refused_with_the_layer_and_the_variable() {
    let model = || archive("k3_o_stack3_mixed");
    let mut more = archive("k3_o_lstm_seq");
    let mut second = layers(&mut more)[1].clone();
    second["config"]["name"] = json!("second");
    layers(&mut more).push(second);
    let words = "layer second (LSTM): layers/lstm_1/cell/vars/0: expected a dataset, got none";
    refused(&more, ErrorKind::Weights, words);
    let mut fewer = model();
    layers(&mut fewer).pop();
    refused(&fewer, ErrorKind::Weights, "expected a layer of the description, got weights of another one; it has ");
    let mut bias = archive("k3_o_td_dense");
    let dense = layers(&mut bias).iter_mut().find(|layer| layer["class_name"] == "TimeDistributed").expect("a layer");
    dense["config"]["layer"]["config"]["use_bias"] = json!(false);
    refused(&bias, ErrorKind::Weights, "/vars/1: expected no such variable by the description, got one");
    let mut shape = model();
    layers(&mut shape)[1]["config"]["units"] = json!(77);
    refused(&shape, ErrorKind::Weights, "layers/");
}

#[test]
fn each_description_is_told_from_the_other_and_from_none() {
    let mut own = archive("k3_o_lstm_seq");
    own.config = json!({"gatewave": 1, "layers": [{"type": "lstm", "weights": "lstm."}]});
    let words = "class_name: expected Keras' own description of the model (model.to_json()), got a description of another \
                 format";
    refused(&own, ErrorKind::Model, words);
    own.config = json!({"keras_version": "1.2.2", "class_name": "Sequential", "config": []});
    refused(&own, ErrorKind::Model, "keras_version: expected 2 or 3, got 1.2.2");

    let config = archive("k3_o_lstm_seq").config.to_string();
    let whole = std::fs::read(folder().join("keras/k3_o_lstm_seq.h5")).expect("a whole model");
    for bytes in [whole, std::fs::read(folder().join("keras/k3_o_lstm_seq.keras")).expect("an archive")] {
        let error = formats::read_bytes(bytes, Format::Keras, Some(&config)).map(drop).expect_err("it is refused");
        let text = "a Keras file in memory: expected no description beside a Keras file, which brings its own";
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Model, text.to_owned()));
    }
    let error = formats::description::from_json(&config, &Tensors::new()).expect_err("it is refused").to_string();
    assert!(error.ends_with("; Keras' own description goes with its weights (model.save_weights)"), "{error}");
    let error = keras::read_bytes(&archive("k3_o_lstm_seq").weights).map(drop).expect_err("it is refused").to_string();
    assert!(error.ends_with("or give what model.to_json() returns beside it (--model model.json)"), "{error}");
}
