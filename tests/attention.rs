//! Attention from files of Keras and ONNX, compared with what the framework itself gives in float64.
//!
//! `tests/golden/attention/make.py` makes the files.

#![cfg(all(feature = "keras", feature = "onnx"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use gatewave::conformance::{Tolerance, compare};
use gatewave::interface::Value;
use gatewave::layer::{Attention, LayerKind};
use gatewave::{Device, Engine, Input, Lstm, Model, Streams, Weights, formats, oracle};
use ndarray::{Array2, Array3, s};
use support::fixtures::{named, read_io};

/// The number of model files.
const COUNT: usize = 26;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/attention")
}

fn files() -> Vec<PathBuf> {
    let files = support::files::files(&folder(), &["keras", "h5", "onnx"]);
    assert_eq!(files.len(), COUNT, "model files in tests/golden/attention");
    files
}

fn read(name: &str) -> Model {
    formats::read(folder().join(name)).unwrap_or_else(|e| panic!("{e}")).0
}

#[test]
fn every_file_gives_what_its_framework_gives() {
    let wrong: Vec<_> =
        files().iter().filter_map(|path| run(path).err().map(|e| format!("{}: {e}", path.display()))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run(path: &Path) -> Result<(), String> {
    let (inputs, wanted) = read_io(&path.with_extension("io.safetensors"));
    let inputs = named(&inputs);
    let (model, tensors) = formats::read(path).map_err(|e| e.to_string())?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.to_string())?;
    let input = model.named_input(&inputs).map_err(|e| e.to_string())?;
    let engine = Engine::new(&model, &weights, Device::Cpu).map_err(|e| e.to_string())?;
    let got = engine.run(&input).map_err(|e| e.to_string())?;
    let truth = oracle::run(&model, &weights, &input).map_err(|e| e.to_string())?;
    let tolerance = Tolerance { abs: 1e-5, rel: 1e-5 };
    let compared = compare(got.output.view(), truth.output.view(), tolerance).map_err(|e| e.to_string())?;
    if !compared.passed() {
        return Err(format!("the oracle: {compared}"));
    }
    let named = model.named_output(&got).map_err(|e| e.to_string())?;
    // The first is the model's own output. Final states may follow.
    let (_, got) = named.first().ok_or("expected an output, got none")?;
    let wanted = wanted.values().next().ok_or("expected an output, got none")?;
    let compared = compare(got.to_f32().view(), wanted.view(), tolerance).map_err(|e| e.to_string())?;
    if compared.passed() { Ok(()) } else { Err(compared.to_string()) }
}

#[test]
fn attention_by_hand_is_read_as_one_layer() {
    let of = |name: &str| {
        let model = read(name);
        let all = model.layers.into_iter().filter_map(|layer| match layer.kind {
            LayerKind::Attention(attention) => Some(attention),
            _ => None,
        });
        all.collect::<Vec<_>>()
    };
    assert_eq!(of("products.onnx"), [Attention::dot(4).scale(0.5)]);
    assert_eq!(of("alone.onnx"), [Attention::dot(10).scale(0.3)]);
    for name in ["pooled.onnx", "pooled-by-product.onnx", "pooled-from-the-left.onnx", "bahdanau.onnx"] {
        assert_eq!(of(name), [Attention::given()], "{name}");
    }
    assert_eq!(of("by-state.onnx"), [Attention::dot(5)]);
    // One for each head of two features.
    for name in ["heads-apart.onnx", "heads-dynamo.onnx", "heads-alone-dynamo.onnx", "heads-apart-dynamo.onnx"] {
        assert_eq!(of(name).len(), 5, "{name}");
    }
    assert_eq!(of("additive.keras"), [Attention::additive(7)]);
    assert_eq!(of("unscaled.keras"), [Attention::additive(5).weight(false).causal(true)]);
    let unscaled = |name| of(name).into_iter().map(|attention| attention.scale(1.0)).collect::<Vec<_>>();
    assert_eq!(unscaled("masked.keras"), unscaled("masked-h5.h5"));
}

/// A model whose value is the same sequence as its query.
fn itself() -> (Model, Weights) {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let lstm = g.add("lstm", Lstm::new(3, 5).bidirectional(), x);
    let sums = g.add("sums", Attention::scaled_dot(10), [lstm, lstm]);
    g.output("y", sums);
    let model = g.finish().unwrap();
    let weights = Weights::random(&model, 3).unwrap();
    (model, weights)
}

#[test]
fn padding_changes_nothing_and_a_row_gives_what_it_gives_alone() {
    let (model, weights) = itself();
    let engine = Engine::new(&model, &weights, Device::Cpu).unwrap();
    let x = Array3::from_shape_fn((3, 9, 3), |(b, t, n)| ((7 * b + 5 * t + 3 * n) % 11) as f32 / 5.0 - 1.0);
    let lengths = [9_usize, 4, 6];
    let all =
        engine.run(&Input::features(x.clone()).lengths(lengths.map(|n| i64::try_from(n).unwrap()))).unwrap().output;
    for (b, &length) in lengths.iter().enumerate() {
        let own = x.slice(s![b..b + 1, ..length, ..]).to_owned();
        let alone = engine.run(&Input::features(own)).unwrap().output;
        let seen = all.slice(s![b..b + 1, ..length, ..]);
        let most = seen.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-6, "row {b}: {most}");
        assert!(all.slice(s![b, length.., ..]).iter().all(|&y| y == 0.0), "row {b}: padding");
    }
}

#[test]
fn a_row_without_steps_of_the_value_gives_zero() {
    let (model, weights) = {
        let mut g = Model::graph();
        let x = g.sequence("x", 3);
        let lstm = g.add("lstm", Lstm::new(3, 5), x);
        let sum = g.add("sum", Attention::dot(5), [lstm.final_hidden(), lstm.y()]);
        g.output("y", sum);
        let model = g.finish().unwrap();
        let weights = Weights::random(&model, 3).unwrap();
        (model, weights)
    };
    let engine = Engine::new(&model, &weights, Device::Cpu).unwrap();
    let mask = Array2::from_shape_fn((2, 4), |(b, t)| b == 0 && t != 1);
    let input = Input::features(Array3::ones((2, 4, 3))).mask(mask);
    let y = engine.run(&input).unwrap().output;
    assert!(y.slice(s![1, ..]).iter().all(|&y| y == 0.0) && y.slice(s![0, ..]).iter().all(|&y| y != 0.0), "{y}");
}

#[test]
fn streams_refuse_what_needs_all_steps() {
    let mut g = Model::graph();
    let x = g.sequence("x", 3);
    let lstm = g.add("lstm", Lstm::new(3, 5), x);
    let sums = g.add("sums", Attention::dot(5).causal(true), [lstm, lstm]);
    g.output("y", sums);
    let model = g.finish().unwrap();
    assert!(matches!(model.layers[1].from[..], [Value::Layer(0, _), Value::Layer(0, _)]));
    let engine = Engine::new(&model, &Weights::random(&model, 0).unwrap(), Device::Cpu).unwrap();
    let error = Streams::new(&engine, 1).map(drop).expect_err("no stream has all steps").to_string();
    let text = "expected what each frame gives, got sums over all steps; run whole sequences, without a stream";
    assert_eq!(error, format!("layer 1 sums (attention): {text}"));
}
