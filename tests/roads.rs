//! One model of eight nodes, with two inputs, a residual sum, a concatenation and two
//! outputs, in four ways: built in Rust, described in JSON, saved by Keras, exported by
//! PyTorch. `tests/golden/roads/make.py` wrote the files; the numbers are PyTorch's.

#![cfg(all(feature = "keras", feature = "onnx"))]

mod support;

use std::path::PathBuf;
use std::{fs, iter};

use gatewave::conformance::{Tolerance, compare};
use gatewave::formats::{description, keras, onnx, safetensors};
use gatewave::weights::Tensors;
use gatewave::{Device, Engine, Model, NamedTensors, Values, oracle};
use support::fixtures::read_io;
use support::forward_graphs::eight_nodes;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/roads").join(name)
}

fn tensors(name: &str) -> Tensors {
    safetensors::read(file(name)).expect("the files of the roads").tensors
}

/// The four models, each with its weights, and the names of its outputs.
fn roads() -> Vec<(&'static str, Model, Tensors, [&'static str; 2])> {
    let mut g = Model::graph();
    eight_nodes(&mut g);
    let json = fs::read_to_string(file("model.json")).expect("the files of the roads");
    let described = description::from_json(&json, &tensors("weights.safetensors")).expect("the files of the roads");
    let (from_keras, keras_tensors) = keras::read(file("model.keras")).expect("the files of the roads");
    let (from_onnx, onnx_tensors) = onnx::read(file("model.onnx")).expect("the files of the roads");
    let own = ["score", "tags"];
    vec![
        ("Rust", g.finish().expect("the files of the roads"), tensors("weights.safetensors"), own),
        ("JSON", described, tensors("weights.safetensors"), own),
        ("Keras", from_keras, keras_tensors, ["y_0", "y_1"]),
        ("PyTorch", from_onnx, onnx_tensors, own),
    ]
}

#[test]
fn four_roads_lead_to_one_model() {
    let (given, wanted) = read_io(&file("io.safetensors"));
    let inputs: NamedTensors = [
        ("words".to_owned(), Values::I64(given["words"].i64())),
        ("facts".to_owned(), Values::F32(given["facts"].f32().clone())),
    ]
    .into();
    let wanted = ["score", "tags"].map(|name| &wanted[name]);
    let tolerance = Tolerance { abs: 1e-5, rel: 1e-5 };
    for (road, model, tensors, names) in roads() {
        let input = model.named_input(&inputs).unwrap();
        let weights = gatewave::Weights::from_tensors(&model, tensors.clone()).unwrap();
        let truth = oracle::run(&model, &weights, &input).unwrap();
        let engine = Engine::builder().device(Device::Cpu).load(model, &tensors).unwrap();
        let got = engine.run_named(&inputs).unwrap();
        for (name, wanted) in names.into_iter().zip(wanted) {
            let (_, values) = got.iter().find(|(other, _)| other == name).unwrap();
            let compared = compare(values.to_f32().view(), wanted.view(), tolerance).unwrap();
            assert!(compared.passed(), "{road}, {name}: {compared}");
        }
        #[expect(clippy::cast_possible_truncation, reason = "far nearer than the tolerance")]
        let truths = iter::once(&truth.output).chain(&truth.others).map(|output| output.mapv(|x| x as f32));
        for (truth, wanted) in truths.zip(wanted) {
            let compared = compare(truth.view(), wanted.view(), tolerance).unwrap();
            assert!(compared.passed(), "{road}, the oracle: {compared}");
        }
    }
}
