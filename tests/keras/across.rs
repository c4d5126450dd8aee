//! Layers between steps and rows: what is refused, and in which words. The files are those of `tests/golden/across`.

use gatewave::ErrorKind;
use serde_json::json;

use crate::refused::{Archive, archive};

fn file(name: &str) -> Archive {
    archive(&format!("../across/{name}"))
}

#[test]
fn a_pool_over_another_axis_is_refused() {
    let mut pool = file("k_kept");
    pool.layer(2)["data_format"] = json!("channels_first");
    let text = "data_format: expected \"channels_last\", got \"channels_first\" (refused: all but channels_last)";
    pool.refused(ErrorKind::Model, &["(GlobalAveragePooling1D): ", text]);
    let mut features = file("k_operations");
    let layers = features.config["config"]["layers"].as_array_mut().expect("layers");
    let max = layers.iter_mut().find(|layer| layer["class_name"] == "Max").expect("an operation");
    max["config"]["axis"] = json!(2);
    features.refused(ErrorKind::Model, &["(Max): expected it over the steps of a sequence (axis=1)"]);
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let refused = |key: &str, value: serde_json::Value, text: &str| {
        let mut pool = file("k_windows");
        pool.layer(2)[key] = value;
        pool.refused(ErrorKind::Model, &["(MaxPooling1D): ", text]);
    };
    refused("pool_size", json!([10]), "pool_size: expected at most the steps of [B, 9, 5], got 10");
    refused("pool_size", json!([2, 2]), "pool_size: expected a whole number from 1 to 2147483647, got [2,2]");
    refused("strides", json!(0), "strides: expected a whole number from 1 to 2147483647, got 0");
    refused("padding", json!("causal"), "padding: expected valid or same, got \"causal\"");
    refused("data_format", json!("channels_first"), "data_format: expected \"channels_last\", got \"channels_first\"");
}

#[test]
fn shapes_that_no_layer_here_makes_are_refused() {
    let mut permute = file("k_permute");
    permute.layer(2)["dims"] = json!([1, 3]);
    let text = "(Permute): dims: expected [1,2], or [2, 1] of time and features, got [1,3]";
    permute.refused(ErrorKind::Model, &[text]);
    let mut reshape = file("k_steps_reshaped");
    reshape.layer(1)["target_shape"] = json!([5, 5]);
    reshape.refused(ErrorKind::Model, &["(Reshape): expected the 24 numbers of [B, 6, 4] in another shape"]);
    reshape.layer(1)["target_shape"] = json!([2, 3, 4]);
    reshape
        .refused(ErrorKind::Model, &["(Reshape): expected one axis of features, or time and features, got 2 × 3 × 4"]);
    let mut repeat = file("k_repeat");
    repeat.layer(1)["return_sequences"] = json!(true);
    repeat.refused(ErrorKind::Model, &["(RepeatVector): expected features without a time axis, got [B, 6, 5]"]);
}

#[test]
fn what_a_convolution_cannot_do_is_refused_by_its_key() {
    for (layer, key, value, text) in [
        (1, "data_format", json!("channels_first"), "data_format: expected \"channels_last\", got \"channels_first\""),
        (1, "padding", json!("full"), "padding: expected valid, same or causal, got \"full\""),
        (1, "strides", json!([1, 2]), "strides: expected a whole number from 1 to 2147483647, got [1,2]"),
        (2, "groups", json!(4), "groups: expected a divisor of 6 features, got 4"),
        (2, "filters", json!(9), "expected [2, 3, 9], got [2, 3, 8]"),
    ] {
        let mut conv = file("k_conv");
        conv.layer(layer)[key] = value;
        let kind = if key == "filters" { ErrorKind::Weights } else { ErrorKind::Model };
        conv.refused(kind, &[text]);
    }
}
