//! Files of PyTorch and NumPy: the tensors that their own libraries have, and every refusal as text.
//!
//! `tests/golden/torch/make.py` made the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gatewave::formats::{self, Format, numpy, safetensors, torch};
use gatewave::interface::Axes;
use gatewave::layer::{Initial, LayerKind};
use gatewave::weights::{Tensor, Tensors};
use gatewave::{Device, Engine, ErrorKind, Input, Precision, Result};
use ndarray::Array3;
use serde_json::{Value, json};

use crate::{scratch, weights_error};

/// The files that hold the `state_dict` of the LSTM and the linear layer, and no other tensor.
const STATE_DICTS: [&str; 9] = [
    "zip.pt",
    "legacy.pt",
    "legacy4.pt",
    "protocol4.pt",
    "parameters.pt",
    "traced.pt",
    "scripted.pt",
    "nested.pt",
    "trained.pt",
];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/torch").join(name)
}

fn bytes_of(name: &str) -> Vec<u8> {
    fs::read(golden(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// The tensors that a reader must find.
fn truth(name: &str) -> Tensors {
    safetensors::read(golden(name)).unwrap_or_else(|e| panic!("{e}")).tensors
}

fn read(name: &str) -> Tensors {
    torch::read(golden(name)).unwrap_or_else(|e| panic!("{e}")).tensors
}

/// Returns the error of reading `bytes`, without the name of a file.
fn refused(bytes: &[u8]) -> (ErrorKind, String) {
    let error = torch::read_bytes(bytes).expect_err("this must be refused");
    (error.kind(), error.to_string())
}

/// Writes a description of the LSTM and the linear layer, whose tensors have these prefixes.
fn description(name: &str, rnn: Value, fc: Value) -> PathBuf {
    let layers = json!([{"type": "lstm", "weights": rnn}, {"type": "linear", "weights": fc}]);
    let path = scratch(name);
    fs::write(&path, json!({"gatewave": 1, "batch_first": true, "layers": layers}).to_string())
        .expect("the disk has room");
    path
}

/// Runs the model of a file and a description on the inputs that PyTorch ran. Returns the largest difference.
fn difference(path: &Path, description: &Path) -> Result<f32> {
    let (model, tensors) = formats::read_with(path, description)?;
    assert_eq!(model.axes, Axes::BatchFirst);
    let engine = Engine::builder().device(Device::Cpu).load(model, &tensors)?;
    let io = truth("io.safetensors");
    let array = |name: &str| {
        let tensor = io.get(name).unwrap_or_else(|| panic!("no {name}"));
        let &[b, t, f] = tensor.shape() else { panic!("three axes") };
        Array3::from_shape_vec((b, t, f), tensor.read().expect("a tensor of floats").into_owned())
            .expect("the shape of its elements")
    };
    let output = engine.run(&Input::features(array("x")))?.output;
    let wanted = array("output");
    assert_eq!(output.shape(), wanted.shape());
    Ok(output.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max))
}

#[test]
fn every_container_and_every_checkpoint_gives_its_state_dict() {
    let wanted = truth("lstm.safetensors");
    for name in STATE_DICTS {
        assert_eq!(read(name), wanted, "{name}");
        assert_eq!(torch::read_bytes(&bytes_of(name)).unwrap().tensors, wanted, "{name}");
        let listed = torch::read(golden(name)).unwrap().listed;
        assert!(listed.iter().all(|tensor| tensor.dtype == "F32"), "{name}");
        assert_eq!(
            listed.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>(),
            wanted.names().collect::<Vec<_>>()
        );
    }
    let prefixed = |prefix: &str| -> Tensors {
        wanted.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
    };
    assert_eq!(read("lightning.ckpt"), prefixed("net."));
    assert_eq!(read("wrapped.pt"), prefixed("module._orig_mod."));
    assert_eq!(read("two.pt"), truth("two.safetensors"));
}

#[test]
fn a_model_of_such_a_file_gives_what_pytorch_gives() {
    let plain = description("torch-plain.json", json!("rnn."), json!("fc."));
    let files = STATE_DICTS.iter().chain(&["lightning.ckpt", "wrapped.pt", "plain.npz", "packed.npz"]);
    for name in files {
        let off = difference(&golden(name), &plain).unwrap_or_else(|e| panic!("{e}"));
        assert!(off <= 1e-5, "{name}: {off}");
    }
    // The whole names do as well.
    let whole = description("torch-whole.json", json!("net.rnn."), json!("net.fc."));
    assert!(difference(&golden("lightning.ckpt"), &whole).unwrap() <= 1e-5);
    let first = description("torch-first.json", json!("first.rnn."), json!("first.fc."));
    assert!(difference(&golden("two.pt"), &first).unwrap() <= 1e-5);
    assert!(difference(&golden("two.pt"), &plain).unwrap() <= 1e-5, "only one prefix has all names");
}

#[test]
fn a_converted_file_runs_alone_and_has_the_names_of_the_description() {
    let plain = description("torch-convert.json", json!("rnn."), json!("fc."));
    for name in ["lightning.ckpt", "weight_norm.pt", "packed.npz"] {
        let (model, tensors) = formats::read_with(golden(name), &plain).unwrap();
        let path = scratch("torch-converted.safetensors");
        formats::write(&path, &model, tensors.clone(), Precision::F32).unwrap();
        let (again, stored) = formats::read(&path).unwrap();
        assert_eq!(again, model);
        assert!(stored.names().all(|name| name.starts_with("rnn.") || name.starts_with("fc.")), "{name}");
        for (name, tensor) in stored.iter() {
            assert_eq!(tensor.read().unwrap(), tensors.get(name).unwrap().read().unwrap(), "{name}");
        }
    }
}

#[test]
fn a_file_in_memory_is_the_file() {
    let json = fs::read_to_string(description("torch-memory.json", json!("rnn."), json!("fc."))).unwrap();
    let path = scratch("torch-memory-2.json");
    fs::write(&path, &json).unwrap();
    for name in ["zip.pt", "legacy.pt", "legacy4.pt", "plain.npz", "packed.npz", "traced.pt"] {
        let bytes = bytes_of(name);
        let format = Format::of(golden(name)).unwrap();
        assert_eq!(Format::of_bytes(&bytes).unwrap(), format, "{name}");
        let from_bytes = formats::read_bytes(bytes, format, Some(&json)).unwrap();
        assert_eq!(formats::read_with(golden(name), &path).unwrap(), from_bytes, "{name}");
    }
}

#[test]
fn views_are_read_in_row_major_order_and_types_that_are_not_floats_by_name() {
    let wanted = truth("views.safetensors");
    for name in ["views.pt", "views_legacy.pt"] {
        let got = read(name);
        for (tensor, wanted) in wanted.iter() {
            let got = got.get(tensor).unwrap_or_else(|| panic!("{name}: {tensor}"));
            assert_eq!(got.shape(), wanted.shape(), "{name}: {tensor}");
            assert_eq!(got.read().unwrap(), wanted.read().unwrap(), "{name}: {tensor}");
        }
        assert_eq!(got.iter().count(), wanted.iter().count());
        let types: BTreeMap<_, _> =
            torch::read(golden(name)).unwrap().listed.into_iter().map(|listed| (listed.name, listed.dtype)).collect();
        let kept = [
            ("whole", "F32"),
            ("half", "F16"),
            ("bfloat", "BF16"),
            ("double", "F64"),
            ("num_batches_tracked", "I64"),
            ("flags", "BOOL"),
            ("bytes", "U8"),
            ("waves", "C64"),
        ];
        for (tensor, dtype) in kept {
            assert_eq!(types[tensor], dtype, "{name}: {tensor}");
        }
        assert!(got.contains("flags") && got.get("flags").is_none());
    }
    assert!(read("views.pt").contains("tiny"));
}

#[test]
fn normalized_weights_are_those_that_pytorch_computes() {
    for name in ["weight_norm", "parametrized"] {
        let got = formats::contents(golden(&format!("{name}.pt"))).unwrap().tensors;
        for (tensor, wanted) in truth(&format!("{name}.safetensors")).iter() {
            let (got, wanted) = (got.get(tensor).expect(tensor).read().unwrap(), wanted.read().unwrap());
            for (got, wanted) in got.iter().zip(wanted.iter()) {
                assert!((got - wanted).abs() <= 1e-6, "{name}: {tensor}: {got} {wanted}");
            }
        }
        let usual =
            ["fc.bias", "fc.weight", "rnn.bias_hh_l0", "rnn.bias_ih_l0", "rnn.weight_hh_l0", "rnn.weight_ih_l0"];
        assert_eq!(got.names().collect::<Vec<_>>(), usual, "{name}");
    }
}

#[test]
fn spectral_normalization_is_refused_by_name_and_with_the_way_on() {
    let plain = description("torch-spectral.json", json!("rnn."), json!("fc."));
    let hints = [
        (
            "spectral.pt",
            "fc.weight_orig, under spectral normalization; call torch.nn.utils.remove_spectral_norm(module) before it is saved",
        ),
        (
            "spectral_parametrized.pt",
            "fc.parametrizations.weight.original, under spectral normalization; call \
             torch.nn.utils.parametrize.remove_parametrizations(module, name) before it is saved",
        ),
    ];
    for (name, hint) in hints {
        let error = difference(&golden(name), &plain).unwrap_err();
        let wanted = format!(
            "{}: layer 1 linear: fc.weight: expected a tensor of that name, got none; the file has it as {hint}",
            plain.display()
        );
        assert_eq!((error.kind(), error.to_string()), weights_error(&wanted));
    }
}

#[test]
fn what_only_python_could_run_is_refused_by_its_name_and_place() {
    const SAVE: &str = "save the weights alone: torch.save(model.state_dict(), \"model.pt\")";
    let whole = |place: usize, class: &str| {
        format!(
            "data.pkl: byte {place}: expected weights by name (a state_dict), got a module saved whole, of class {class}, \
             whose code would have to be run; {SAVE}"
        )
    };
    let outside = |place: usize, name: &str| {
        format!("data.pkl: byte {place}: expected plain data and tensors, got {name}, which is never run; {SAVE}")
    };
    for (name, wanted) in [
        ("module.pt", whole(2, "__main__.Net")),
        ("sequential.pt", whole(2, "torch.nn.modules.container.Sequential")),
        ("inside.pt", outside(18, "__main__.Net")),
        ("call.pt", outside(178, "__builtin__.print")),
    ] {
        assert_eq!(refused(&bytes_of(name)), weights_error(&wanted), "{name}");
    }
}

#[test]
fn what_holds_no_tensors_by_name_is_refused() {
    let data = |text: &str| weights_error(&format!("data.pkl: {text}"));
    assert_eq!(
        refused(&bytes_of("tensor.pt")),
        data(
            "expected a dict of tensors by name, got a tensor; save a state_dict: torch.save(model.state_dict(), \"model.pt\")"
        )
    );
    assert_eq!(
        refused(&bytes_of("none.pt")),
        data("expected tensors by name, got a dict with none in it, of epoch, loss")
    );
    assert_eq!(
        refused(b"abc"),
        weights_error(
            "expected a file of torch.save, got another by the first bytes; save it again: torch.save(model.state_dict(), \
             \"model.pt\")"
        )
    );
    let (_, error) = refused(&bytes_of("plain.npz"));
    assert_eq!(error, "expected data.pkl in the archive, got none; arrays of NumPy have a name that ends in .npz");
}

#[test]
fn arrays_are_read_in_any_order_of_bytes_and_axes() {
    let wanted = truth("lstm.safetensors");
    assert_eq!(numpy::read(golden("plain.npz")).unwrap().tensors, wanted);
    let packed = numpy::read(golden("packed.npz")).unwrap().tensors;
    for (name, tensor) in wanted.iter() {
        assert_eq!(packed.get(name).unwrap().read().unwrap(), tensor.read().unwrap(), "{name}");
    }
    assert_eq!(packed.get("steps").unwrap().read().unwrap()[..], [0.0, 1.0, 2.0]);
    assert!(packed.contains("names") && packed.get("names").is_none());
    let listed = numpy::read(golden("packed.npz")).unwrap().listed;
    let types: BTreeMap<_, _> = listed.into_iter().map(|listed| (listed.name, listed.dtype)).collect();
    assert_eq!(
        (types["fc.weight"].as_str(), types["steps"].as_str(), types["names"].as_str()),
        ("F64", "I64", "'<U2'")
    );
}

#[test]
fn a_file_without_a_description_says_how_to_get_one() {
    let path = golden("zip.pt");
    let error = formats::read(&path).unwrap_err();
    let wanted = format!(
        "{}: expected a description of the model beside the file, got none; gatewave describe FILE -o model.json drafts one \
         from the tensors: correct it, and give it beside the file (--model model.json)",
        path.display()
    );
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Model, wanted));
    let draft = formats::describe(&formats::contents(&path).unwrap().tensors).unwrap();
    assert_eq!(draft.model.layers.iter().map(|layer| layer.prefix.as_str()).collect::<Vec<_>>(), ["rnn.", "1.", "fc."]);
}

#[test]
fn a_layer_may_have_tensors_of_any_names() {
    let lstm = truth("lstm.safetensors");
    let new = |name: &str| match name {
        "fc.weight" => "W_out".to_owned(),
        "fc.bias" => "b_out".to_owned(),
        other => format!("module.{}", other.replace("rnn.weight", "cell.kernel")),
    };
    let renamed: Tensors = lstm.iter().map(|(name, tensor)| (new(name), tensor.clone())).collect();
    let path = scratch("own-names.safetensors");
    safetensors::write(&path, &renamed, None, Precision::F32).unwrap();
    let rnn =
        json!({"prefix": "module.rnn.", "weight_ih_l0": "cell.kernel_ih_l0", "weight_hh_l0": "cell.kernel_hh_l0"});
    let own = description("own-names.json", rnn, json!({"weight": "W_out", "bias": "b_out"}));
    assert!(difference(&path, &own).unwrap() <= 1e-5);
    let (model, _) = formats::read_with(&path, &own).unwrap();
    assert_eq!(model.layers[1].prefix, "linear_1.");

    let wrong = description("own-wrong.json", json!("rnn."), json!({"weight": "W_in"}));
    let error = difference(&path, &wrong).unwrap_err().to_string();
    assert!(error.contains("W_in: expected a tensor of that name, got none; near it, there is W_out"), "{error}");
    let wrong = description("own-number.json", json!("rnn."), json!({"weight": 3}));
    let error = difference(&path, &wrong).unwrap_err().to_string();
    let wanted = format!("{}: layer 1: weights: weight: expected the name of a tensor, got 3", wrong.display());
    assert_eq!(error, wanted);
}

#[test]
fn learned_states_may_have_names_and_a_batch_axis_of_their_own() {
    let lstm = truth("lstm.safetensors");
    for shape in [&[1, 4][..], &[1, 1, 4], &[4]] {
        let mut tensors = lstm.clone();
        tensors.insert("h0", Tensor::new(shape, vec![0.5, -0.25, 0.125, 1.0]));
        tensors.insert("c0", Tensor::new(shape, vec![1.0, 2.0, 3.0, 4.0]));
        let path = scratch("states.safetensors");
        safetensors::write(&path, &tensors, None, Precision::F32).unwrap();
        let own = description("states.json", json!({"prefix": "rnn.", "h_0": "h0", "c_0": "c0"}), json!("fc."));
        let (model, tensors) = formats::read_with(&path, &own).unwrap();
        let LayerKind::Recurrent(stack) = &model.layers[0].kind else { panic!("a stack") };
        assert_eq!(stack.initial, Initial::Learned);
        assert_eq!(tensors.get("rnn.c_0").unwrap().read().unwrap()[..], [1.0, 2.0, 3.0, 4.0]);
        let off = difference(&path, &own).unwrap();
        assert!(off > 1e-3, "the states change the output");
    }
}
