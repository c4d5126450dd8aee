//! Models of other formats through the command line: the results of their framework, and the same bits after `convert`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::fixtures::{each_model, read_io};
use crate::{Folder, assert_close, gatewave, read_tensors, write_tensors};

/// Runs a model, compares its results, and does the same with the native file made from it.
fn run_and_convert(case: &Value, model: &Path, calls: &[PathBuf]) {
    let id = case["id"].as_str().unwrap();
    let folder = Folder::new(&format!("format-{id}"));
    let model = model.to_str().unwrap();
    let given = results(&folder, model, calls);
    let tolerance = |key: &str| case["tolerance"][key].as_f64().unwrap();
    for (io, bytes) in calls.iter().zip(&given) {
        let output = folder.path("given.safetensors");
        fs::write(&output, bytes).unwrap();
        let got = read_tensors(&output);
        for (name, want) in read_io(io).1 {
            assert_close(&format!("{id} {name}"), &got[&name], &want, tolerance("atol"), tolerance("rtol"));
        }
    }
    let native = folder.path("native.safetensors");
    gatewave(["convert", model, &native]).done();
    assert!(results(&folder, &native, calls) == given, "{id}: the converted model gives other bits");
    assert_eq!(gatewave(["summary", &native]).done(), gatewave(["summary", model]).done(), "{id}");
    if let Some(parameters) = case["config"]["total_params"].as_u64() {
        let digits: String = gatewave(["summary", model]).done().chars().filter(|c| *c != ',').collect();
        assert!(digits.contains(&format!("Total params: {parameters} ")), "{id}: {digits}");
    }
}

/// Returns the bytes of each output file of successive calls.
fn results(folder: &Folder, model: &str, calls: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut args = vec!["run".to_owned(), model.to_owned()];
    let mut outputs = Vec::new();
    for (index, io) in calls.iter().enumerate() {
        let (input, output) =
            (folder.path(&format!("{index}.safetensors")), folder.path(&format!("{index}.out.safetensors")));
        write_tensors(&input, &read_io(io).0);
        args.extend(["--input".to_owned(), input, "--output".to_owned(), output.clone()]);
        outputs.push(output);
    }
    args.push("--force".to_owned());
    gatewave(&args).done();
    outputs.iter().map(|output| fs::read(output).unwrap()).collect()
}

#[test]
#[cfg(feature = "keras")]
fn keras_models_give_what_keras_gives_and_converted_the_same_bits() {
    assert_eq!(each_model("keras.json", run_and_convert), 68);
}

#[test]
#[cfg(feature = "onnx")]
fn onnx_models_give_what_their_runtime_gives_and_converted_the_same_bits() {
    assert_eq!(each_model("onnx/manifest.json", run_and_convert), 129);
}
