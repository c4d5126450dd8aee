//! Layers that normalise, with options that are refused. `tests/norms.rs` compares those that are read with Keras.

use gatewave::ErrorKind;
use serde_json::{Value, json};

use crate::refused::archive;

/// Returns the error of a file whose layer `name` has another value of `key`.
fn changed(file: &str, name: &str, key: &str, value: Value) -> String {
    let mut archive = archive(&format!("../norms/{file}"));
    let layers = archive.config["config"]["layers"].as_array_mut().expect("layers");
    let layer = layers.iter_mut().find(|layer| layer["config"]["name"] == name).expect("the layer");
    layer["config"][key] = value;
    let error = archive.read().map(|model| model.summary().to_string()).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Model, "{error}");
    error.to_string()
}

#[test]
fn what_a_norm_cannot_do_is_refused_by_its_key() {
    let refused = [
        (
            changed("keras-layer", "norm", "axis", json!([1])),
            "layer norm (LayerNormalization): axis: expected -1 (the features), got [1]",
        ),
        (
            changed("keras-layer", "norm", "rms_scaling", json!(true)),
            "layer norm (LayerNormalization): rms_scaling: expected false, got true (refused: all but false: Keras divides \
             by the deviation there; RMSNormalization is read)",
        ),
        (
            changed("keras-batch", "norm", "axis", json!(1)),
            "layer norm (BatchNormalization): axis: expected -1 (the features), got 1",
        ),
        (
            changed("keras-wide", "slopes", "shared_axes", Value::Null),
            "layer slopes (PReLU): shared_axes: expected [1] (the steps), got []: a slope for each step",
        ),
        (
            changed("keras-wide", "norm", "mean", json!([1.0, 2.0])),
            "layer norm (Normalization): mean: expected one number or 6, got 2",
        ),
        (
            changed("keras-first", "adapted", "axis", Value::Null),
            "layer adapted (Normalization): axis: expected -1 (the features), got null: one number of all features, which \
             `adapt` found, is not read; give it as mean and variance",
        ),
    ];
    for (got, expected) in refused {
        assert_eq!(got, expected);
    }
}
