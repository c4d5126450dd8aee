//! Models with names and axes of their own, and weights that a call supplies.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use ndarray::{Array3, ArrayD, Axis, s};
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::support::fixtures::Array;
use crate::support::noise::noise;
use crate::{Folder, gatewave, read_tensors, write_tensors};

const T: usize = 4;
const B: usize = 3;
const I: usize = 2;
const H: usize = 5;

/// An LSTM whose weights are inputs, as ONNX has them: X `[T, B, I]`, Y `[T, 1, B, H]`.
fn onnx_like() -> Value {
    let port = |name: &str, value: &str, axes: Value| json!({"name": name, "value": value, "axes": axes});
    let weights =
        |name: &str, part: &str| json!({"name": name, "value": "weights", "layer": 0, "part": part, "axes": []});
    json!({
        "gatewave": 1,
        "batch_first": true,
        "layers": [{"type": "lstm", "input_size": I, "hidden_size": H, "weights": "lstm."}],
        "ports": {
            "inputs": [
                port("X", "sequence", json!(["time", "batch", "features"])),
                port("lens", "lengths", json!(["batch"])),
                weights("W", "input"),
                weights("R", "recurrent"),
                weights("B", "bias"),
            ],
            "outputs": [
                port("Y", "output", json!(["time", "directions", "batch", "features"])),
                {"name": "Y_h", "value": "hidden", "stacks": [0], "axes": ["batch", "features"]},
            ],
        },
    })
}

/// Writes a native file with only a description.
fn write_model(path: &str, description: &Value) {
    let metadata = HashMap::from([("gatewave.model".to_owned(), description.to_string())]);
    fs::write(path, safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), Some(metadata)).unwrap()).unwrap();
}

/// The tensors of a call: weights and input drawn from `seed`.
fn call(seed: usize) -> BTreeMap<String, Array> {
    let tensor = |name: &str, shape: &[usize], seed| (name.to_owned(), Array::F32(noise(shape, seed)));
    BTreeMap::from([
        tensor("X", &[T, B, I], 90),
        tensor("W", &[1, 4 * H, I], seed),
        tensor("R", &[1, 4 * H, H], seed + 1),
        tensor("B", &[1, 8 * H], seed + 2),
    ])
}

/// The same weights under PyTorch's names: gates input, forget, cell, output instead of i o f c.
fn by_pytorchs_names(call: &BTreeMap<String, Array>) -> BTreeMap<String, Array> {
    let cut = |name: &str, first: usize| {
        let whole = call[name].f32().index_axis(Axis(0), 0).to_owned();
        let gates =
            [0, 2, 3, 1].map(|gate| whole.slice_axis(Axis(0), (first + gate * H..first + (gate + 1) * H).into()));
        Array::F32(ndarray::concatenate(Axis(0), &gates).unwrap().into_dyn())
    };
    BTreeMap::from([
        ("lstm.weight_ih_l0".to_owned(), cut("W", 0)),
        ("lstm.weight_hh_l0".to_owned(), cut("R", 0)),
        ("lstm.bias_ih_l0".to_owned(), cut("B", 0)),
        ("lstm.bias_hh_l0".to_owned(), cut("B", 4 * H)),
    ])
}

/// Returns the results of the plain model for the input and weights of `call`: output `[B, T, H]`, `h_n`.
fn plainly(folder: &Folder, call: &BTreeMap<String, Array>) -> (ArrayD<f64>, ArrayD<f64>) {
    let [weights, input, description, output] =
        ["plain.safetensors", "plain-in.safetensors", "plain.json", "plain-out.safetensors"].map(|n| folder.path(n));
    write_tensors(&weights, &by_pytorchs_names(call));
    let x = call["X"].f32().clone().permuted_axes(vec![1, 0, 2]).as_standard_layout().into_owned();
    write_tensors(&input, &BTreeMap::from([("x".to_owned(), Array::F32(x))]));
    let mut plain = onnx_like();
    plain.as_object_mut().unwrap().remove("ports");
    fs::write(&description, plain.to_string()).unwrap();
    gatewave(["run", &weights, "--model", &description, "--input", &input, "--output", &output, "--force"]).done();
    let got = read_tensors(&output);
    (got["output"].clone(), got["h_n"].clone())
}

#[test]
fn a_call_that_brings_weights_runs_with_them_and_the_next_with_its_own() {
    let folder = Folder::new("brought");
    let model = folder.path("model.safetensors");
    write_model(&model, &onnx_like());
    let calls = [call(10), call(10), call(20)];
    let mut args = vec!["run".to_owned(), model.clone()];
    for (index, call) in calls.iter().enumerate() {
        let (input, output) =
            (folder.path(&format!("in{index}.safetensors")), folder.path(&format!("out{index}.safetensors")));
        write_tensors(&input, call);
        args.extend(["--input".to_owned(), input, "--output".to_owned(), output]);
    }
    let ran = gatewave(&args);
    assert_eq!(ran.err.lines().filter(|line| line.starts_with("device: ")).count(), 2, "an engine for each weights");
    ran.done();
    for (index, call) in calls.iter().enumerate() {
        let got = read_tensors(folder.path(&format!("out{index}.safetensors")));
        let (output, hidden) = plainly(&folder, call);
        assert_eq!(got["Y"].shape(), [T, 1, B, H]);
        let y: Array3<f64> = got["Y"].slice(s![.., 0, .., ..]).permuted_axes([1, 0, 2]).to_owned();
        assert_eq!(y.into_dyn(), output, "call {index}");
        assert_eq!(got["Y_h"].clone().insert_axis(Axis(0)), hidden, "call {index}");
        assert_eq!(got.len(), 2);
    }
}

#[test]
fn verify_chooses_calls_that_a_model_takes_and_says_what_it_leaves_out() {
    let folder = Folder::new("fits");
    let path = folder.path("model.safetensors");
    let verified = |layers: Value, tensors: &[(&str, &[usize])]| {
        let description = json!({"gatewave": 1, "batch_first": true, "layers": layers});
        let metadata = HashMap::from([("gatewave.model".to_owned(), description.to_string())]);
        let bytes: Vec<Vec<u8>> = (1..)
            .zip(tensors)
            .map(|(seed, (_, shape))| noise(shape, seed).iter().flat_map(|x| x.abs().to_le_bytes()).collect())
            .collect();
        let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
            (*name, TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        fs::write(&path, safetensors::serialize(views, Some(metadata)).unwrap()).unwrap();
        let ran = gatewave(["verify", &path]);
        assert!(ran.status == 0 && ran.out.ends_with(" passed, 0 failed\n"), "{ran:?}");
        ran.err
    };
    let layers = json!([
        {"type": "conv1d", "in_features": 2, "out_features": 3, "kernel_size": 4, "weights": "0."},
        {"type": "batch_norm", "features": 3, "weights": "1."},
        {"type": "window_pool", "reduce": "max", "size": 2},
        {"type": "flatten", "steps": 3},
        {"type": "linear", "in_features": 9, "out_features": 2, "weights": "4."},
    ]);
    let norm = ["weight", "bias", "running_mean", "running_var"].map(|name| format!("1.{name}"));
    let mut tensors: Vec<(&str, &[usize])> = vec![("0.weight", &[3, 2, 4]), ("0.bias", &[3])];
    tensors.extend(norm.iter().map(|name| (name.as_str(), &[3_usize][..])));
    tensors.extend([("4.weight", &[2_usize, 9][..]), ("4.bias", &[2])]);
    let said = verified(layers, &tensors);
    assert!(said.contains("left out: gradients: layer 1 batch_norm: expected a batch_norm that is frozen"), "{said}");
    let layers = json!([
        {"type": "conv1d", "in_features": 2, "out_features": 3, "kernel_size": 3, "stride": 2, "padding": "same",
         "weights": "0."},
        {"type": "gru", "input_size": 3, "hidden_size": 2, "weights": "1."},
    ]);
    let gru = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"].map(|name| format!("1.{name}"));
    let mut tensors: Vec<(&str, &[usize])> = vec![("0.weight", &[3, 2, 3]), ("0.bias", &[3])];
    tensors.extend(gru.iter().map(String::as_str).zip([&[6_usize, 3][..], &[6, 2], &[6], &[6]]));
    let said = verified(layers, &tensors);
    assert!(said.contains("left out: ") && said.contains("T=12 B=4") && said.contains("row "), "{said}");
}

#[test]
fn a_model_whose_weights_are_brought_is_summed_up_planned_verified_and_converted_without_them() {
    let folder = Folder::new("absent");
    let (model, native) = (folder.path("model.safetensors"), folder.path("native.safetensors"));
    write_model(&model, &onnx_like());
    let parameters = 4 * H * (I + H + 2);
    assert!(gatewave(["summary", &model]).done().contains(&format!("Total params: {parameters} ")));
    assert!(gatewave(["plan", &model, "--batch", "2", "--steps", "3"]).done().contains("dispatches"));
    assert!(gatewave(["verify", &model]).done().ends_with(" passed, 0 failed\n"));
    gatewave(["convert", &model, &native]).done();
    assert_eq!(read_tensors(&native).len(), 0);
    let input = folder.path("in.safetensors");
    write_tensors(&input, &call(10));
    let out = |model: &str| gatewave(["run", model, "--input", &input]).done();
    assert_eq!(out(&native), out(&model));
}

#[test]
fn tensors_that_are_of_no_port_are_refused_with_the_axes_in_letters() {
    let folder = Folder::new("axes");
    let model = folder.path("model.safetensors");
    write_model(&model, &onnx_like());
    let refused = |change: &dyn Fn(&mut BTreeMap<String, Array>)| {
        let (input, mut tensors) = (folder.path("in.safetensors"), call(10));
        change(&mut tensors);
        write_tensors(&input, &tensors);
        let error = gatewave(["run", &model, "--input", &input, "--device", "no such device"]).refused();
        error.strip_prefix(&format!("{input}: ")).unwrap_or_else(|| panic!("{error}")).to_owned()
    };
    let with = |name: &'static str, shape: &'static [usize]| {
        refused(&|tensors| drop(tensors.insert(name.into(), Array::F32(noise(shape, 1)))))
    };
    assert_eq!(with("X", &[T, I]), "X: expected [T, B, 2] (T, B, I), got [4, 2]");
    assert_eq!(with("W", &[1, 4 * H, H]), "W: expected [1, 20, 2], got [1, 20, 5]");
    assert_eq!(with("x", &[T]), "x: unknown tensor; this model takes X, lens, W, R, B");
    assert_eq!(with("lens", &[B]), "lens: expected [B] integers, got floats [3]");
    let lens = |tensors: &mut BTreeMap<String, Array>| {
        tensors.insert("lens".into(), Array::I32(ArrayD::zeros(vec![2])));
    };
    assert_eq!(refused(&lens), "lens: expected [3] (B), got [2]");
    assert_eq!(refused(&|tensors| drop(tensors.remove("R"))), "R: expected weights under this name, got none");
    assert_eq!(refused(&|tensors| drop(tensors.remove("X"))), "X: expected the input under this name, got B, R, W");
}

#[test]
fn an_npy_file_is_the_models_sequence_whatever_its_name() {
    let folder = Folder::new("npy");
    let model = folder.path("model.safetensors");
    write_model(&model, &onnx_like());
    let input = folder.path("in.npy");
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2), }\n";
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    fs::write(&input, [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), &[0; 8]].concat()).unwrap();
    let error = gatewave(["run", &model, "--input", &input]).refused();
    assert_eq!(error, format!("{input}: W: expected weights under this name, got none"), "X was there");
}
