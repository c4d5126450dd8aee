//! The golden cases of `tests/golden/manifest.json`: PyTorch's weights,
//! inputs and outputs, and the description of each weights file.
//!
//! Knows the manifest and nothing of the library, so that any test can use it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatewave::{NamedTensors, Values};
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// The number of cases in the manifest: a test that visits fewer has lost some.
pub const COUNT: usize = 58;

/// One golden case.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The unique name: `pt_o01_lstm`.
    pub id: String,
    /// The description, in the project's own format.
    pub description_json: String,
    /// The `.safetensors` file of the weights; it has no description in its metadata.
    pub weights: PathBuf,
    /// `x`, `ids`, `lengths`, `h_0`, `c_0`, if they are there.
    pub inputs: BTreeMap<String, Array>,
    /// `output` (models: `logits`), `h_n`, `c_n`: computed in f64 if the case has that, else in f32.
    pub wanted: BTreeMap<String, ArrayD<f64>>,
    /// Accept `|got - wanted| <= atol + rtol * |wanted|`.
    pub atol: f64,
    /// See `atol`.
    pub rtol: f64,
    /// Whether rows have lengths; `x` is then 1000 past the end of a row, and `output` is 0 there.
    pub packed: bool,
    /// The number of trainable parameters, by PyTorch's count.
    pub params: usize,
    /// The options of the case, as the manifest has them.
    pub config: Value,
}

/// An input of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Array {
    F32(ArrayD<f32>),
    I32(ArrayD<i32>),
    I64(ArrayD<i64>),
}

impl Array {
    /// Returns the reals; panics if the array holds integers.
    pub fn f32(&self) -> &ArrayD<f32> {
        match self {
            Self::F32(array) => array,
            other => panic!("expected f32, got {other:?}"),
        }
    }

    /// Returns the numbers as named tensors of a call.
    pub fn values(&self) -> Values {
        match self {
            Self::F32(array) => array.clone().into(),
            Self::I32(_) | Self::I64(_) => self.i64().into(),
        }
    }

    /// Returns the integers, widened; panics if the array holds reals.
    pub fn i64(&self) -> ArrayD<i64> {
        match self {
            Self::I32(array) => array.mapv(i64::from),
            Self::I64(array) => array.clone(),
            Self::F32(array) => panic!("expected integers, got {array:?}"),
        }
    }
}

/// Calls `each` with every model file of a manifest of `tests/golden`: its case,
/// the file, and the files of its successive calls. Returns the number of files.
pub fn each_model(manifest: &str, mut each: impl FnMut(&Value, &Path, &[PathBuf])) -> usize {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(manifest);
    let golden = manifest.parent().expect("a file has a folder");
    let text = fs::read(&manifest).expect("the manifest is there");
    let cases: Vec<Value> = serde_json::from_slice(&text).expect("the manifest is a list");
    let path = |value: &Value| golden.join(value.as_str().expect("a path"));
    let mut count = 0;
    for case in &cases {
        let calls: Vec<_> = case["files"]["io"].as_array().expect("files.io is a list").iter().map(path).collect();
        for file in ["model", "model_h5"].iter().map(|key| &case["files"][key]).filter(|file| file.is_string()) {
            each(case, &path(file), &calls);
            count += 1;
        }
    }
    count
}

/// Every case, in the manifest's order.
pub fn all() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let manifest = fs::read(folder.join("manifest.json")).expect("tests/golden/manifest.json is there");
    let cases: Vec<Value> = serde_json::from_slice(&manifest).expect("the manifest is a list");
    let fixtures: Vec<Fixture> = cases.iter().map(|case| fixture(&folder, case)).collect();
    assert_eq!(fixtures.len(), COUNT, "cases in tests/golden/manifest.json");
    fixtures
}

/// The case named `id`.
pub fn one(id: &str) -> Fixture {
    all().into_iter().find(|fixture| fixture.id == id).unwrap_or_else(|| panic!("no fixture is named {id}"))
}

fn fixture(folder: &Path, case: &Value) -> Fixture {
    let id = text(&case["id"]).to_owned();
    let config = case["config"].clone();
    let io = case["files"]["io"].as_array().expect("files.io is a list");
    assert_eq!(io.len(), 1, "{id}: one data set");
    let (inputs, wanted) = read_io(&folder.join(text(&io[0])));
    Fixture {
        description_json: description(case).to_string(),
        weights: folder.join(text(&case["files"]["weights"])),
        inputs,
        wanted,
        atol: case["tolerance"]["atol"].as_f64().expect("tolerance.atol is a number"),
        rtol: case["tolerance"]["rtol"].as_f64().expect("tolerance.rtol is a number"),
        packed: config["packed"].as_bool().expect("config.packed is a bool"),
        params: usize::try_from(config["params"].as_u64().expect("config.params is a number")).expect("a count fits"),
        id,
        config,
    }
}

/// The description of a case, in the project's own format.
fn description(case: &Value) -> Value {
    let c = &case["config"];
    let layers = match text(&case["kind"]) {
        "pytorch.layer" => {
            let mut layer = json!({
                "type": text(&c["kind"]).to_lowercase(),
                "input_size": c["input_size"],
                "hidden_size": c["hidden_size"],
                "num_layers": c["num_layers"],
                "bidirectional": c["bidirectional"],
                "bias": c["bias"],
                "proj_size": c["proj_size"],
                "weights": c["key_prefix"],
            });
            set_nonlinearity(&mut layer, c);
            vec![layer]
        }
        "pytorch.model" => model_layers(c),
        other => panic!("a case of kind {other} needs its own description"),
    };
    json!({"gatewave": 1, "batch_first": c["batch_first"], "layers": layers})
}

fn model_layers(c: &Value) -> Vec<Value> {
    let directions = if c["bi"] == json!(true) { 2 } else { 1 };
    let hidden = c["hidden"].as_u64().expect("config.hidden is a number");
    let select = match text(&c["head"]) {
        "per_step" => "all_steps",
        same @ ("last_step" | "final_hidden") => same,
        other => panic!("unknown head {other}"),
    };
    let mut cell = json!({
        "type": text(&c["cell"]).to_lowercase(),
        "input_size": c["embed"],
        "hidden_size": hidden,
        "num_layers": c["layers"],
        "bidirectional": c["bi"],
        "bias": true,
        "weights": c["modules"]["rnn"],
    });
    set_nonlinearity(&mut cell, c);
    vec![
        json!({
            "type": "embedding",
            "num_embeddings": c["vocab"],
            "embedding_dim": c["embed"],
            "padding_idx": c.get("padding_idx"),
            "weights": c["modules"]["embedding"],
        }),
        cell,
        json!({"type": "select", "what": select}),
        json!({
            "type": "linear",
            "in_features": directions * hidden,
            "out_features": c["classes"],
            "bias": true,
            "activation": c.get("final").unwrap_or(&json!("linear")),
            "weights": c["modules"]["fc"],
        }),
    ]
}

fn set_nonlinearity(layer: &mut Value, config: &Value) {
    if layer["type"] == "rnn" {
        layer["nonlinearity"] = json!(config["nonlinearity"].as_str().unwrap_or("tanh"));
    }
}

/// Returns inputs as the named tensors of a call.
pub fn named(inputs: &BTreeMap<String, Array>) -> NamedTensors {
    inputs.iter().map(|(name, array)| (name.clone(), array.values())).collect()
}

/// The inputs and the wanted outputs of an io file; `truth.NAME` (f64) goes before `out.NAME` (f32).
pub fn read_io(path: &Path) -> (BTreeMap<String, Array>, BTreeMap<String, ArrayD<f64>>) {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mut inputs, mut outputs, mut truths) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (name, view) in tensors.iter() {
        let (data, shape) = (view.data(), view.shape());
        match (name.split_once('.').expect("in.NAME, out.NAME or truth.NAME"), view.dtype()) {
            (("in", name), dtype) => {
                let array = match dtype {
                    Dtype::F32 => Array::F32(array(shape, data, f32::from_le_bytes)),
                    Dtype::I32 => Array::I32(array(shape, data, i32::from_le_bytes)),
                    Dtype::I64 => Array::I64(array(shape, data, i64::from_le_bytes)),
                    other => panic!("{}: in.{name} is {other}", path.display()),
                };
                inputs.insert(name.to_owned(), array);
            }
            (("out", name), Dtype::F32) => {
                outputs.insert(name.to_owned(), array(shape, data, |bytes| f64::from(f32::from_le_bytes(bytes))));
            }
            (("truth", name), Dtype::F64) => {
                truths.insert(name.to_owned(), array(shape, data, f64::from_le_bytes));
            }
            ((group, name), dtype) => panic!("{}: {group}.{name} is {dtype}", path.display()),
        }
    }
    outputs.extend(truths);
    (inputs, outputs)
}

/// Tensor `name` of a file, which is i32 or i64.
pub fn read_i64(file: &[u8], name: &str) -> ArrayD<i64> {
    let tensors = SafeTensors::deserialize(file).expect("a file of tensors");
    let view = tensors.tensor(name).expect("the tensor is there");
    match view.dtype() {
        Dtype::I32 => array(view.shape(), view.data(), i32::from_le_bytes).mapv(i64::from),
        Dtype::I64 => array(view.shape(), view.data(), i64::from_le_bytes),
        other => panic!("{name} is {other}"),
    }
}

/// Tensor `name` of a file, which is f64.
pub fn read_f64(file: &[u8], name: &str) -> ArrayD<f64> {
    let tensors = SafeTensors::deserialize(file).expect("a file of tensors");
    let view = tensors.tensor(name).expect("the tensor is there");
    assert_eq!(view.dtype(), Dtype::F64, "{name}");
    array(view.shape(), view.data(), f64::from_le_bytes)
}

fn array<const N: usize, T>(shape: &[usize], data: &[u8], read: impl Fn([u8; N]) -> T) -> ArrayD<T> {
    let (elements, rest) = data.as_chunks::<N>();
    assert!(rest.is_empty(), "whole elements");
    ArrayD::from_shape_vec(IxDyn(shape), elements.iter().map(|&bytes| read(bytes)).collect())
        .expect("the data has as many elements as the shape")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}"))
}
