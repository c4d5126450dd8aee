//! Graphs of which only a part is a model: `run`, `summary` and `plan` show and run the parts, and others say why not.

use std::collections::BTreeMap;

use crate::support::fixtures::{Array, read_io};
use crate::{Folder, assert_close, gatewave, read_tensors, write_tensors};

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/parts/image.onnx");

/// The tensors of a call, with what ONNX Runtime gives for them.
fn call() -> (BTreeMap<String, Array>, BTreeMap<String, ndarray::ArrayD<f64>>) {
    read_io(IMAGE.replace(".onnx", ".io0.safetensors").as_ref())
}

#[test]
fn a_graph_runs_in_parts_with_a_line_on_each_that_is_foreign() {
    let folder = Folder::new("parts");
    let (inputs, outputs) = call();
    let (input, output) = (folder.path("in.safetensors"), folder.path("out.safetensors"));
    write_tensors(&input, &inputs);
    let ran = gatewave(["run", IMAGE, "--input", &input, "--output", &output]);
    let lines: Vec<&str> = ran.err.lines().collect();
    let foreign = [
        "part 0, 11 nodes from image to x: no layers here, run by rten on the host",
        "part 2, 1 node from scores to best, places: no layers here, run by rten on the host",
    ];
    assert_eq!(lines[..2], foreign, "{}", ran.err);
    assert!(lines[2].starts_with("device: CPU"), "{}", ran.err);
    ran.done();
    let results = read_tensors(&output);
    for (name, wanted) in &outputs {
        assert_close(name, &results[name], wanted, 1e-5, 1e-5);
    }
    // The middle alone, and its file.
    let middle = folder.path("middle.safetensors");
    gatewave(["convert", IMAGE, &middle, "--from", "x", "--to", "scores"]).done();
    let whole = gatewave(["summary", IMAGE]).done();
    let (table, summary) = whole.split_once("\npart 1\n").expect("part 1 has a summary");
    assert!(table.contains("│ 0    ┆ rten     ┆    11 ┆ Conv, MaxPool, Relu and 2 more "), "{table}");
    assert!(table.contains(" ┆ x → scores            │"), "{table}");
    assert_eq!(gatewave(["summary", IMAGE, "--from", "x", "--to", "scores"]).done(), summary);
    assert_eq!(gatewave(["summary", &middle]).done(), summary);
    let plan = gatewave(["plan", IMAGE, "-t", "5"]).done();
    assert!(plan.starts_with(table) && plan.contains("\npart 1\n") && plan.contains("dispatches"), "{plan}");
}

#[test]
fn commands_that_take_a_whole_model_say_which_part_is_one() {
    let folder = Folder::new("parts-refused");
    let out = folder.path("out.safetensors");
    let lead = "its recurrent part (x → scores) is read by itself, and what stands around it (Conv, MaxPool, Relu, Reshape \
                and 2 more) runs by another runtime: gatewave run, or gatewave::parts::Parts in Rust, with the feature \
                `foreign`";
    for args in [&["verify", IMAGE][..], &["convert", IMAGE, &out], &["generate", IMAGE, "--prompt", "a"]] {
        let error = gatewave(args).refused();
        assert!(error.ends_with(lead), "{error}");
    }
    let error = gatewave(["summary", IMAGE, "--from", "nowhere"]).refused();
    assert!(error.contains("the graph has no tensor \"nowhere\"; nearest: "), "{error}");
    let error = gatewave(["summary", crate::MODEL, "--to", "scores"]).refused();
    assert!(
        error.contains("expected an .onnx file, a part of which ends at \"scores\", got a .safetensors file"),
        "{error}"
    );
}
