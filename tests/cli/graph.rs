//! Models that are no chain: their summary, their native file, and the names of their inputs.

use std::collections::BTreeMap;
use std::fs;

use ndarray::ArrayD;
use serde_json::json;

use crate::support::fixtures::Array;
use crate::support::noise::noise;
use crate::{Folder, gatewave, write_tensors};

#[test]
fn a_graph_is_summarized_and_converted_and_takes_its_own_names() {
    let folder = Folder::new("graph");
    let (model, weights, native) =
        (folder.path("model.json"), folder.path("weights.safetensors"), folder.path("native.safetensors"));
    let description = json!({"gatewave": 1, "batch_first": true,
        "inputs": [{"name": "frames", "type": "sequence"}, {"name": "facts", "type": "row", "size": 3}],
        "layers": [
            {"type": "linear", "name": "first", "from": "frames", "weights": "fc."},
            {"type": "linear", "name": "second", "from": "first", "weights": "fc."},
            {"type": "concat", "name": "joined", "from": ["second", "facts"]},
            {"type": "linear", "name": "head", "weights": "head."}],
        "outputs": [{"name": "y", "from": "head"}]});
    fs::write(&model, description.to_string()).unwrap();
    let tensor = |name: &str, shape: &[usize]| (name.to_owned(), Array::F32(noise(shape, 5)));
    write_tensors(
        &weights,
        &BTreeMap::from([
            tensor("fc.weight", &[4, 4]),
            tensor("fc.bias", &[4]),
            tensor("head.weight", &[2, 7]),
            tensor("head.bias", &[2]),
        ]),
    );
    let table = gatewave(["summary", &weights, "--model", &model]).done();
    for part in
        ["│ frames (InputLayer)", "│ frames[0][0], first[0][0] ", "│ first[1][0], facts[0][0] ", " Total params: 36 "]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    let said = gatewave(["convert", &weights, &native, "--model", &model]).done();
    assert!(said.contains(": 4 layers, 36 parameters, f32, "), "{said}");
    assert_eq!(gatewave(["summary", &native]).done(), table);

    let input = folder.path("in.safetensors");
    let frames = ("frames".to_owned(), Array::F32(ArrayD::zeros(vec![2, 5, 4])));
    write_tensors(&input, &BTreeMap::from([frames]));
    let error = gatewave(["run", &native, "--input", &input]).refused();
    let missing = "facts: expected 3 features without a time axis under this name, got frames";
    assert!(error.ends_with(missing), "{error}");
}
