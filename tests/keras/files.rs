//! The Keras cases of `tests/golden/keras.json`: files, inputs and wanted outputs. Knows only the manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatewave::{Input, Model};
use ndarray::ArrayD;
use serde_json::Value;

use crate::support::fixtures::{Array, read_io};

/// The number of cases in the manifest: a test that visits fewer has lost some.
const COUNT: usize = 35;

/// A golden case.
pub(crate) struct Case {
    pub(crate) id: String,
    /// The same model as an archive and as an `.h5` file, if there are both.
    pub(crate) models: Vec<PathBuf>,
    /// Parameters, by Keras' count.
    pub(crate) parameters: usize,
    /// The same by layer.
    pub(crate) layers: BTreeMap<String, usize>,
    /// Successive calls: more than one, of a stateful model.
    pub(crate) calls: Vec<Call>,
    pub(crate) atol: f64,
    pub(crate) rtol: f64,
}

/// An input, and the wanted output.
pub(crate) struct Call {
    x: Array,
    /// The input of the encoder, if the model has one.
    encoder: Option<Array>,
    pub(crate) wanted: ArrayD<f64>,
}

impl Call {
    /// Returns the input for `model`. The encoder's input is not the main one.
    pub(crate) fn input(&self, model: &Model) -> Input<'static> {
        let tokens = model.input().is_ok_and(|flow| flow.tokens().is_some());
        let input = if tokens { Input::tokens(self.x.i64()) } else { Input::features(self.x.f32().clone()) };
        match (&self.encoder, &model.inputs[..]) {
            (None, _) => input,
            (Some(encoder), [_, other]) => input.with_features(&other.name, encoder.f32().clone()),
            (Some(_), inputs) => panic!("expected two inputs, got {inputs:?}"),
        }
    }
}

/// The folder of the files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every case.
pub(crate) fn all() -> Vec<Case> {
    let manifest = fs::read(folder().join("keras.json")).expect("tests/golden/keras.json is there");
    let cases: Vec<Value> = serde_json::from_slice(&manifest).expect("the manifest is a list");
    assert_eq!(cases.len(), COUNT, "cases in tests/golden/keras.json");
    cases.iter().map(case).collect()
}

/// The prefix of the tensors of a layer.
pub(crate) fn prefix(layer: &str) -> String {
    format!("{layer}.")
}

fn case(case: &Value) -> Case {
    let files = &case["files"];
    let io = files["io"].as_array().expect("files.io is a list");
    let count = |value: &Value| usize::try_from(value.as_u64().expect("a count")).expect("a count fits");
    let layers = case["config"]["layers"].as_array().expect("config.layers is a list");
    Case {
        id: text(&case["id"]).to_owned(),
        models: ["model", "model_h5"].iter().filter_map(|key| Some(folder().join(files[key].as_str()?))).collect(),
        parameters: count(&case["config"]["total_params"]),
        layers: layers.iter().map(|layer| (text(&layer["name"]).to_owned(), count(&layer["params"]))).collect(),
        calls: io.iter().map(|path| call(&folder().join(text(path)))).collect(),
        atol: case["tolerance"]["atol"].as_f64().expect("tolerance.atol is a number"),
        rtol: case["tolerance"]["rtol"].as_f64().expect("tolerance.rtol is a number"),
    }
}

fn call(path: &Path) -> Call {
    let (mut inputs, mut wanted) = read_io(path);
    let x = inputs.remove("x").or_else(|| inputs.remove("dec")).expect("in.x or in.dec");
    Call { x, encoder: inputs.remove("enc"), wanted: wanted.remove("y").expect("out.y or truth.y") }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("expected a string, got {value}"))
}
