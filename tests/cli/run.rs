//! `gatewave run`: the results of PyTorch, and errors in a call's tensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ndarray::ArrayD;

#[cfg(feature = "gpu")]
use crate::support;
use crate::support::fixtures::{self, Array, Fixture};
use crate::{Folder, MODEL, Ran, assert_close, command, gatewave, ran, read_tensors, write_tensors};

/// Runs a golden case from its files and compares every tensor that comes out.
fn run_fixture(fixture: &Fixture, device: &str) {
    let folder = Folder::new(&format!("{device}-{}", fixture.id));
    let (description, input, output) =
        (folder.path("model.json"), folder.path("in.safetensors"), folder.path("out.safetensors"));
    fs::write(&description, &fixture.description_json).unwrap();
    write_tensors(&input, &fixture.inputs);
    let weights = fixture.weights.to_str().unwrap();
    let files = ["run", weights, "--model", &description, "--input", &input, "--output", &output];
    let ran = ran(command().args(files).args(["--device", device]));
    assert!(ran.err.starts_with("device: "), "{ran:?}");
    assert_eq!(ran.err.starts_with("device: CPU"), device == "cpu", "{ran:?}");
    assert_eq!(ran.done(), "", "with --output nothing is printed");
    let got = read_tensors(&output);
    for (name, want) in &fixture.wanted {
        let name = if name == "logits" { "output" } else { name };
        assert_close(&format!("{} {name}", fixture.id), &got[name], want, fixture.atol, fixture.rtol);
    }
    assert_eq!(got.len(), fixture.wanted.len(), "{:?}", got.keys());
    assert_eq!(folder.names(), ["in.safetensors", "model.json", "out.safetensors"], "no temporary file is left");
}

#[test]
fn run_gives_what_pytorch_gives_for_every_fixture() {
    fixtures::all().iter().for_each(|fixture| run_fixture(fixture, "cpu"));
}

/// Every cell, packed and not, projected, both directions, time-major, without a batch, tokens, half precision.
#[test]
#[cfg(feature = "gpu")]
fn run_on_an_adapter_gives_what_pytorch_gives() {
    let device = support::devices::adapter_name();
    for id in [
        "pt_o00_rnn_relu",
        "pt_o04_rnn_tanh",
        "pt_o07_gru",
        "pt_o09_lstm",
        "pt_os_lstm_unbatched",
        "pt_os_lstm_proj_bi2",
        "pt_os_gru_bf16w",
        "pt_om_char_lstm",
        "pt_om_clf_bilstm_packed",
        "pt_om_clf_rnn_sigmoid",
    ] {
        run_fixture(&fixtures::one(id), &device);
    }
}

#[test]
fn run_gives_shakespeares_logits_and_states() {
    let folder = Folder::new("shakespeare");
    let models = Path::new(MODEL).parent().unwrap();
    let (input, output) = (models.join("passages.safetensors"), folder.path("out.safetensors"));
    gatewave(["run", MODEL, "--input", input.to_str().unwrap(), "--output", &output]).done();
    let got = read_tensors(&output);
    let want = read_tensors(models.join("expected.safetensors"));
    assert_eq!(want.len(), 3);
    for (name, want) in &want {
        assert_close(name, &got[name], want, 1e-4, 0.0);
    }
}

#[test]
fn run_without_output_prints_a_line_for_each_tensor() {
    let input = Path::new(MODEL).with_file_name("passages.safetensors");
    let out = gatewave(["run", MODEL, "--input", input.to_str().unwrap()]).done();
    let starts = ["output [4, 300, 65]: ", "h_n [2, 4, 256]: ", "c_n [2, 4, 256]: "];
    assert_eq!(out.lines().count(), starts.len(), "{out}");
    for (line, start) in out.lines().zip(starts) {
        assert!(line.starts_with(start) && line.ends_with(" …"), "{line}");
    }
}

/// The input of [`run_shakespeare`]: tokens of one row, changed by `change`.
fn run_shakespeare(test: &str, change: impl FnOnce(&mut BTreeMap<String, Array>)) -> Ran {
    let folder = Folder::new(test);
    let input = folder.path("in.safetensors");
    let ids = ArrayD::from_shape_vec(vec![2, 3], vec![1, 2, 3, 4, 5, 6]).unwrap();
    let mut tensors = BTreeMap::from([("ids".to_owned(), Array::I64(ids))]);
    change(&mut tensors);
    write_tensors(&input, &tensors);
    gatewave(["run", MODEL, "--input", &input])
}

fn vector(values: Vec<i64>) -> Array {
    Array::I64(ArrayD::from_shape_vec(vec![values.len()], values).unwrap())
}

#[test]
fn a_token_out_of_the_vocabulary_is_refused_with_its_place() {
    let ids = ArrayD::from_shape_vec(vec![2, 3], vec![1, 2, 3, 4, 65, 6]).unwrap();
    let error = run_shakespeare("token", |tensors| drop(tensors.insert("ids".into(), Array::I64(ids)))).refused();
    assert!(error.contains("expected tokens from 0 to 64, got 65 at [1, 1]"), "{error}");
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let refused = |test, lengths| {
        run_shakespeare(test, |tensors| drop(tensors.insert("lengths".into(), vector(lengths)))).refused()
    };
    let error = refused("long", vec![3, 4]);
    assert!(error.contains("lengths: expected 0 to 3 (T) for row 1, got 4"), "{error}");
    let error = refused("few", vec![3]);
    assert!(error.contains("lengths: expected 2, one for each row of the batch, got 1"), "{error}");
    run_shakespeare("fit", |tensors| drop(tensors.insert("lengths".into(), vector(vec![3, 1])))).done();
}

#[test]
fn an_unknown_tensor_is_refused_with_the_names_that_are_known() {
    let error = run_shakespeare("unknown", |tensors| drop(tensors.insert("hx".into(), vector(vec![1])))).refused();
    assert!(error.ends_with("hx: unknown tensor; this model takes x, ids, lengths, mask, h_0, c_0"), "{error}");
}

#[test]
fn a_nan_among_the_weights_is_warned_of_by_its_name_and_carried_on() {
    let folder = Folder::new("nan");
    let reals = |shape: &[usize], values: &[f32]| Array::F32(ArrayD::from_shape_vec(shape, values.to_vec()).unwrap());
    let (weights, description, input) =
        (folder.path("w.safetensors"), folder.path("m.json"), folder.path("x.safetensors"));
    let w = reals(&[2, 3], &[1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
    write_tensors(
        &weights,
        &BTreeMap::from([("fc.weight".to_owned(), w), ("fc.bias".to_owned(), reals(&[2], &[0.5; 2]))]),
    );
    fs::write(&description, r#"{"gatewave": 1, "layers": [{"type": "linear", "weights": "fc."}]}"#).unwrap();
    write_tensors(&input, &BTreeMap::from([("x".to_owned(), reals(&[1, 1, 3], &[1.0; 3]))]));
    let ran = gatewave(["run", &weights, "--model", &description, "--input", &input]);
    let warnings: Vec<_> = ran.err.lines().filter(|line| line.starts_with("warning: ")).collect();
    assert_eq!(warnings, ["warning: fc.weight: 1 of 6 elements is NaN or infinite"], "{ran:?}");
    assert_eq!(ran.done(), "output [1, 1, 2]: 6.500000 NaN\n");
}
