//! Files of PyTorch: a description is drafted, and the file runs and is converted with it.

use crate::pipes::piped;
use crate::support::fixtures::Array;
use crate::{Folder, gatewave, write_tensors};

/// A file that `make.py` made.
fn golden(name: &str) -> String {
    format!("{}/tests/golden/torch/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_state_dict_is_described_runs_and_is_converted() {
    let folder = Folder::new("torch");
    let (description, input) = (folder.path("model.json"), folder.path("in.safetensors"));
    let x = ndarray::ArrayD::from_elem(vec![2, 5, 3], 0.25);
    write_tensors(&input, &[("x".to_owned(), Array::F32(x))].into());
    for name in ["zip.pt", "legacy.pt", "lightning.ckpt", "weight_norm.pt", "plain.npz"] {
        let file = golden(name);
        let error = gatewave(["run", &file, "--input", &input]).refused();
        let hint = "expected a description of the model beside the file, got none; gatewave describe FILE -o model.json drafts";
        assert!(error.starts_with(&format!("{file}: {hint}")), "{error}");
        gatewave(["describe", &file, "-o", &description, "--force"]).done();
        let model = [file.as_str(), "--model", &description];
        let summary = gatewave(["summary"].iter().chain(&model)).done();
        assert!(summary.contains("154 (616"), "{name}: {summary}");
        let native = folder.path("native.safetensors");
        gatewave(["convert"].iter().chain(&model).chain(&[native.as_str(), "--force"])).done();
        let run = |model: &[&str]| {
            gatewave(["run"].iter().chain(model).chain(&["--input", &input, "--device", "cpu"])).done()
        };
        assert_eq!(run(&model), run(&[&native]), "{name}");
    }
}

#[test]
fn what_is_computed_into_a_weight_is_marked() {
    let shown = gatewave(["describe", &golden("weight_norm.pt")]).out;
    let row = |name: &str| shown.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{shown}"));
    assert!(row("fc.weight_g ").contains("a weight is computed from it"), "{shown}");
    assert!(row("fc.weight ").contains("computed") && row("fc.weight ").contains("linear(4→2)"), "{shown}");
}

#[test]
fn a_stream_of_such_a_file_is_known_by_its_first_bytes() {
    let folder = Folder::new("torch-stream");
    let description = folder.path("model.json");
    gatewave(["describe", &golden("zip.pt"), "-o", &description]).done();
    for name in ["zip.pt", "legacy.pt", "traced.pt", "plain.npz"] {
        let summary = piped(&golden(name), &["summary", "-", "--model", &description]).done();
        assert_eq!(summary, gatewave(["summary", &golden(name), "--model", &description]).done(), "{name}");
    }
}

#[test]
fn a_module_saved_whole_is_refused_with_its_class() {
    let file = golden("module.pt");
    let error = gatewave(["describe", &file]).refused();
    assert!(
        error.contains("got a module saved whole, of class __main__.Net, whose code would have to be run"),
        "{error}"
    );
}
