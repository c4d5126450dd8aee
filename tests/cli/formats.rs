//! Models of other formats through the command line: the results of their framework, and the same bits after `convert`.

use std::fs;
use std::path::{Path, PathBuf};

#[cfg(feature = "onnx")]
use ndarray::{ArrayD, IxDyn};
use serde_json::Value;

#[cfg(feature = "onnx")]
use crate::support::fixtures::Array;
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
    assert_eq!(each_model("onnx/manifest.json", run_and_convert), 131);
}

#[test]
#[cfg(feature = "onnx")]
fn an_input_of_one_number_is_set_as_the_file_is_read() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/set/rates.onnx");
    let folder = Folder::new("set");
    let (input, output) = (folder.path("in.safetensors"), folder.path("out.safetensors"));
    let x = ArrayD::from_shape_fn(IxDyn(&[4, 1, 3]), |i| (i[0] * 3 + i[2]) as f32 * 0.25 - 1.0);
    // What ONNX Runtime gives: tests/golden/set/make.py prints it.
    for (rate, wanted) in [(16_000, [0.506_928_68, 0.565_897_23]), (8000, [0.520_343_48, 0.552_626_61])] {
        let tensors = [("x", Array::F32(x.clone())), ("sr", Array::I64(ndarray::arr0(rate).into_dyn()))];
        write_tensors(&input, &tensors.map(|(name, array)| (name.to_owned(), array)).into());
        let run = |set: &str| gatewave(["run", model, "--set", set, "--input", &input, "--output", &output, "--force"]);
        run(&format!("sr={rate}")).done();
        let wanted = ndarray::arr2(&[wanted]).into_dyn();
        assert_close("y", &read_tensors(&output)["y"], &wanted, 1e-6, 0.0);
        let other = run("sr=48000").refused();
        assert!(other.ends_with(&format!("sr: expected 48000, as --set has it, got {rate}")), "{other}");
        assert!(run("sr").err.contains("expected INPUT=NUMBER, such as sr=16000"));
        // Without a number, that of the call is taken.
        gatewave(["run", model, "--input", &input, "--output", &output, "--force"]).done();
        assert_close("y", &read_tensors(&output)["y"], &wanted, 1e-6, 0.0);
    }
    let open = gatewave(["summary", model]).refused();
    assert!(open.contains("on whether the input \"sr\" is 16000"), "{open}");
    assert!(open.contains("--set sr=16000"), "{open}");
}
