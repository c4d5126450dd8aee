//! `gatewave describe`: the tensors of a file of any kind, and a description that runs.

use std::collections::BTreeMap;
use std::fs;

use ndarray_npy::NpzWriter;

use crate::support::fixtures::{self, Array};
use crate::{Folder, MODEL, gatewave, write_tensors};

/// Returns the cells of the table, row by row.
fn rows(out: &str) -> Vec<Vec<&str>> {
    let lines = out.lines().filter_map(|line| line.strip_prefix('│')?.strip_suffix('│'));
    lines.map(|line| line.split('┆').map(str::trim).collect()).collect()
}

#[test]
fn the_description_of_a_state_dict_is_drafted_and_runs() {
    let folder = Folder::new("describe");
    let fixture = fixtures::one("pt_om_clf_bilstm_packed");
    let weights = fixture.weights.to_str().unwrap();
    let shown = gatewave(["describe", weights]);
    let table = rows(&shown.out);
    assert_eq!(table[1..].len(), 11, "{}", shown.out);
    assert_eq!(table[1], ["embedding.weight", "F32", "[120, 12]", "0 embedding(120→12)"], "{}", shown.out);
    assert_eq!(table[2], ["fc.bias", "F32", "[4]", "3 linear(32→4)"], "{}", shown.out);
    assert!(shown.err.contains("note: fc: tensors do not tell whether it takes each step or the last; "), "{shown:?}");
    let json = &shown.out[shown.out.find("{\n").expect("a description")..];

    let description = folder.path("model.json");
    let said = gatewave(["describe", weights, "-o", &description]).done();
    assert!(said.ends_with(&format!("{description}: {} bytes\n", json.len())), "{said}");
    assert_eq!(fs::read_to_string(&description).unwrap(), json);
    let input = folder.path("in.safetensors");
    write_tensors(&input, &fixture.inputs);
    let results = gatewave(["run", weights, "--model", &description, "--input", &input]).done();
    assert!(results.starts_with("output [5, 4]: "), "{results}");

    let error = gatewave(["describe", weights, "-o", &description]).refused();
    assert_eq!(error, format!("{description}: already exists; --force overwrites it"));
    gatewave(["describe", weights, "-o", &description, "--force"]).done();
    let error = gatewave(["describe", weights, "-o", weights, "--force"]).refused();
    assert!(error.starts_with("--output: expected a file of its own, got "), "{error}");
}

#[test]
fn a_file_that_describes_itself_has_its_own_description_printed() {
    let golden = format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![MODEL.to_owned()];
    if cfg!(feature = "keras") {
        files.push(format!("{golden}/roads/model.keras"));
    }
    if cfg!(feature = "onnx") {
        files.push(format!("{golden}/roads/model.onnx"));
    }
    let folder = Folder::new("describe-own");
    for (at, file) in files.iter().enumerate() {
        let shown = gatewave(["describe", file]);
        assert!(shown.err.contains("note: the file describes itself: "), "{shown:?}");
        let json = &shown.out[shown.out.find("{\n").expect("a description")..];
        let table = rows(&shown.out);
        assert!(table[1..].iter().all(|row| row.len() == 4 && row[3].starts_with(char::is_numeric)), "{}", shown.out);
        // The description has every size: its summary alone is that of the file.
        let alone = folder.path(&format!("{at}.json"));
        fs::write(&alone, json).unwrap();
        assert_eq!(gatewave(["summary", &alone]).done(), gatewave(["summary", file]).done(), "{file}");
    }
}

#[test]
fn an_archive_of_arrays_is_described_and_what_belongs_to_no_layer_is_marked() {
    let folder = Folder::new("describe-npz");
    let fixture = fixtures::one("pt_o02_gru");
    let archive = folder.path("weights.npz");
    let bytes = fs::read(&fixture.weights).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut npz = NpzWriter::new(fs::File::create(&archive).unwrap());
    let mut count = 0;
    for (name, view) in file.tensors() {
        npz.add_array(name, &ndarray::ArrayD::<f32>::zeros(view.shape())).unwrap();
        count += 1;
    }
    npz.add_array("steps", &ndarray::Array1::<i64>::zeros(3)).unwrap();
    npz.finish().unwrap();
    let shown = gatewave(["describe", &archive]);
    let table = rows(&shown.out);
    assert_eq!(table[1..].len(), count + 1, "{}", shown.out);
    let none = table.iter().find(|row| row[0] == "steps").expect("it is listed");
    assert_eq!(none[1..], ["I64", "[3]", "none: the layer has no tensor of that name"], "{}", shown.out);
    assert!(shown.out.contains(r#"{"type":"gru","#), "{}", shown.out);
    // The archive runs with its description.
    let description = folder.path("model.json");
    gatewave(["describe", &archive, "-o", &description]).done();
    let summary = gatewave(["summary", &archive, "--model", &description]).done();
    assert!(summary.contains("gru (GRU, 2 layers)"), "{summary}");
}

#[test]
fn tensors_of_no_layer_are_listed_before_the_error() {
    let folder = Folder::new("describe-none");
    let path = folder.path("in.safetensors");
    write_tensors(&path, &BTreeMap::from([("x".to_owned(), Array::F32(ndarray::ArrayD::zeros(vec![1, 2])))]));
    let ran = gatewave(["describe", &path]);
    assert_eq!(ran.status, 2, "{ran:?}");
    assert_eq!(rows(&ran.out)[1][..3], ["x", "F32", "[1, 2]"], "{ran:?}");
    let text = "expected tensors that PyTorch's layers have (NAME.weight_ih_l0, NAME.weight), got x";
    assert!(ran.err.contains(&format!("error: {path}: {text}")), "{ran:?}");
}
