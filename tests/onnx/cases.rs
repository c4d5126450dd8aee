//! The cases of `tests/golden/onnx/manifest.json`: files, inputs and wanted outputs. Knows only the manifest.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::ArrayD;
use serde_json::Value;

use crate::support::fixtures::{Array, read_io};

/// The number of cases in the manifest: a test that visits fewer has lost some.
pub(crate) const COUNT: usize = 131;

/// The number of cases with external data.
pub(crate) const EXTERNAL: usize = 1;

/// Input tensors by name, and output tensors.
pub(crate) type Call = (BTreeMap<String, Array>, BTreeMap<String, ArrayD<f64>>);

/// A golden case.
pub(crate) struct Case {
    pub(crate) id: String,
    pub(crate) model: PathBuf,
    pub(crate) calls: Vec<Call>,
    pub(crate) atol: f64,
    pub(crate) rtol: f64,
}

/// The folder of the files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx")
}

/// Every case, in the manifest's order.
pub(crate) fn all() -> Vec<Case> {
    let manifest = fs::read(folder().join("manifest.json")).expect("the manifest is there");
    let cases: Vec<Value> = serde_json::from_slice(&manifest).expect("the manifest is a list");
    assert_eq!(cases.len(), COUNT, "cases in tests/golden/onnx/manifest.json");
    cases.iter().map(case).collect()
}

fn case(case: &Value) -> Case {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let calls = case["files"]["io"].as_array().expect("files.io is a list");
    Case {
        id: text(&case["id"]),
        model: folder().join(text(&case["files"]["model"])),
        calls: calls.iter().map(|path| read_io(&folder().join(text(path)))).collect(),
        atol: case["tolerance"]["atol"].as_f64().expect("tolerance.atol is a number"),
        rtol: case["tolerance"]["rtol"].as_f64().expect("tolerance.rtol is a number"),
    }
}
