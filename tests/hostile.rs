//! Malicious model files: each reader gives an error of kind `Model` or `Weights`. It neither
//! panics nor allocates memory for sizes that a file only claims. See also `tests/onnx/hostile.rs`,
//! `tests/keras/refused.rs` and `tests/formats/files.rs`; `fuzz/` looks for more.

#![cfg(all(feature = "keras", feature = "onnx"))]

#[path = "onnx/build.rs"]
#[allow(dead_code, reason = "a part of what the tests of ONNX files build")]
mod build;

use std::path::Path;
use std::{env, fs};

use build::{Graph, Message, gru, ints, reals, sequence, shaped};
use gatewave::formats::{description, keras, onnx, safetensors};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Error, ErrorKind, Model, Result};
use serde_json::json;

/// A file of `tests/golden/hostile`.
fn hostile(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hostile").join(name);
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Reads every tensor of the result.
fn whole((model, tensors): (Model, Tensors)) -> Result<Model> {
    tensors.iter().try_for_each(|(_, tensor)| tensor.read().map(drop))?;
    Ok(model)
}

/// Returns the error of `result`.
fn refused(result: Result<Model>) -> Error {
    let error = result.map(|model| model.summary().to_string()).expect_err("this must be refused");
    assert!(matches!(error.kind(), ErrorKind::Model | ErrorKind::Weights), "{error}");
    error
}

fn keras_refusal(name: &str) -> String {
    refused(keras::read_bytes(&hostile(name)).and_then(whole)).to_string()
}

fn onnx_refusal(graph: &Graph) -> String {
    refused(onnx::read_bytes(&graph.bytes()).and_then(whole)).to_string()
}

// What claims to be huge.

#[test]
fn a_safetensors_header_that_claims_two_to_the_60_elements_is_refused() {
    for (shape, end) in [(json!([1_u64 << 60]), 1_u64 << 62), (json!([1_u64 << 60]), 0), (json!([0, 1_u64 << 60]), 4)] {
        let header = json!({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat();
        let error = safetensors::read_bytes(&bytes).expect_err("this must be refused");
        assert_eq!(error.kind(), ErrorKind::Weights, "{error}");
    }
    let error = safetensors::read_bytes(&(1_u64 << 60).to_le_bytes()).expect_err("this must be refused");
    assert_eq!(error.kind(), ErrorKind::Weights, "{error}");
}

#[test]
fn a_description_that_claims_two_to_the_60_of_anything_is_refused_for_its_size() {
    let huge = 1_u64 << 60;
    for layer in [
        json!({"type": "embedding", "num_embeddings": huge, "embedding_dim": huge}),
        json!({"type": "linear", "in_features": huge, "out_features": huge}),
        json!({"type": "lstm", "input_size": huge, "hidden_size": huge, "num_layers": huge, "bidirectional": true}),
        json!({"type": "gru", "input_size": 1, "hidden_size": 1, "num_layers": huge}),
        json!({"type": "one_hot", "num_classes": huge}),
    ] {
        let text = json!({"gatewave": 1, "layers": [layer]}).to_string();
        let error = description::from_json(&text, &Tensors::new()).expect_err("this must be refused");
        assert_eq!(error.kind(), ErrorKind::Model, "{error}");
        assert!(error.to_string().contains("expected at most 2147483647"), "{error}");
    }
}

#[test]
fn an_hdf5_dataset_that_claims_two_to_the_60_elements_is_refused() {
    let error = keras_refusal("huge_dataset.h5");
    assert!(error.contains("k/kernel"), "{error}");
    let error = keras_refusal("huge_table.h5");
    assert!(error.contains("input_dim: expected a whole number from 1 to 2147483647"), "{error}");
}

#[test]
fn an_onnx_tensor_that_claims_two_to_the_60_elements_is_refused() {
    for dims in [vec![1, 6, 1 << 60], vec![1 << 60, 6, 3], vec![i64::MAX, i64::MAX, 3], vec![1, -6, 3]] {
        let graph =
            sequence(Graph::new()).initializer(&shaped("W", 1, &dims)).initializer(&reals("R", &[1, 6, 2], 0.1));
        onnx_refusal(&graph.node("GRU", &["X", "W", "R"], &["Y"], &[]).output("Y"));
    }
}

// What is many.

#[test]
fn a_description_of_forty_thousand_layers_and_a_file_of_as_many_stacks_are_read() {
    // If the time grew with the square, this would take minutes.
    let layers = std::iter::once(json!({"type": "rnn", "input_size": 1, "hidden_size": 1}));
    let relu = json!({"type": "activation", "activation": "relu"});
    let text = json!({"gatewave": 1, "layers": layers.chain(vec![relu; 40_000]).collect::<Vec<_>>()}).to_string();
    let model = description::from_json(&text, &Tensors::new()).expect("a long model");
    let summary = model.summary().to_string();
    assert!(summary.contains("activation_39999 (Activation)"), "{}", &summary[..400]);

    const STACKS: usize = 40_000;
    let one = |i: usize| ["ih", "hh"].map(|part| (format!("r{i}.weight_{part}_l0"), Tensor::new([1, 1], vec![0.5])));
    let tensors: Tensors = (0..STACKS).flat_map(one).collect();
    let layers: Vec<_> = (0..STACKS).map(|i| json!({"type": "rnn", "weights": format!("r{i}.")})).collect();
    let text = json!({"gatewave": 1, "layers": layers}).to_string();
    let model = description::from_json(&text, &tensors).expect("a long model");
    assert_eq!(model.parameters(), 2 * STACKS);
}

// What nests, loops or doubles.

/// `inner` inside a million messages, each in field `number` of the next.
fn million_deep(number: u8, inner: &[u8]) -> Vec<u8> {
    // From the end to the beginning: a message's length is known once its fields are.
    let mut reversed: Vec<u8> = inner.iter().rev().copied().collect();
    for _ in 0..1_000_000 {
        let length = Message::default().int(1, i64::try_from(reversed.len()).expect("a length")).0;
        reversed.extend(length[1..].iter().rev());
        reversed.push(number << 3 | 2);
    }
    reversed.reverse();
    reversed
}

#[test]
fn an_onnx_file_nested_a_million_deep_is_refused() {
    // In the model's graph, in a node's inner graph, in a tensor and a type; and any message inside itself.
    for number in [1, 2, 5, 6, 7, 8, 11, 12, 13] {
        let bytes =
            [million_deep(number, &[]), Message::default().message(8, &Message::default().int(2, 17)).0].concat();
        refused(onnx::read_bytes(&bytes).and_then(whole));
    }
    // Groups, which protobuf has abandoned: each has an end.
    let mut groups = vec![0x0b; 1_000_000];
    groups.extend(vec![0x0c; 1_000_000]);
    refused(onnx::read_bytes(&groups).and_then(whole));
    let graph = Message::default().message(12, &Message(groups));
    let bytes = Message::default().message(7, &graph).message(8, &Message::default().int(2, 17)).0;
    refused(onnx::read_bytes(&bytes).and_then(whole));
}

#[test]
fn a_description_nested_a_million_deep_is_refused() {
    for (open, close) in [("[", "]"), ("{\"layers\":", "}")] {
        let text = open.repeat(1_000_000) + "1" + &close.repeat(1_000_000);
        let error = description::from_json(&text, &Tensors::new()).expect_err("this must be refused");
        assert_eq!(error.kind(), ErrorKind::Model, "{error}");
        let header = format!("{{\"w\":{text}}}");
        let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes()].concat();
        let error = safetensors::read_bytes(&bytes).expect_err("this must be refused");
        assert_eq!(error.kind(), ErrorKind::Weights, "{error}");
    }
}

#[test]
fn hdf5_links_that_loop_are_refused() {
    let (model, _) = keras::read_bytes(&hostile("links_fine.h5")).expect("the same file, without a loop");
    assert_eq!(model.parameters(), 15);
    for name in ["soft_links_loop.h5", "dataset_links_loop.h5", "hard_links_loop.h5"] {
        let error = keras_refusal(name);
        assert!(error.contains("rnn"), "{name}: {error}");
    }
}

#[test]
fn hdf5_links_that_go_on_and_on_or_out_of_the_file_are_refused() {
    keras_refusal("soft_links_chain.h5");
    // In the folder of the file that it names, where links to other files are not followed either.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hostile/external_link.h5");
    refused(keras::read(&path).and_then(whole));
}

#[test]
fn an_onnx_weight_that_is_added_to_itself_again_and_again_is_refused() {
    let mut graph = gru();
    let mut name = "R".to_owned();
    for i in 0..30 {
        let next = format!("r{i}");
        graph = graph.node("Add", &[&name, &name], &[&next], &[]);
        name = next;
    }
    let error = onnx_refusal(&graph.node("GRU", &["X", "W", &name], &["Y2"], &[]).output("Y2"));
    assert!(error.contains("made of more than 1024 others"), "{error}");
}

#[test]
fn an_onnx_product_that_gets_thousands_of_biases_is_refused() {
    let mut graph = gru().initializer(&reals("M", &[2, 4], 0.1)).initializer(&reals("b", &[4], 0.1));
    graph =
        graph.node("Squeeze", &["Y"], &["z"], &[ints("axes", &[1])]).opset(11).node("MatMul", &["z", "M"], &["y"], &[]);
    let mut name = "y".to_owned();
    for i in 0..10_000 {
        let next = format!("y{i}");
        graph = graph.node("Add", &[&name, "b"], &[&next], &[]);
        name = next;
    }
    let error = onnx_refusal(&graph.output(&name));
    assert!(error.contains("rearranged more than 32 times"), "{error}");
}
