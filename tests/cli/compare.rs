//! `gatewave run --compare`: reference outputs in a file of inputs.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayD;

use crate::support::fixtures::Array;
use crate::{Folder, MODEL, gatewave, read_tensors, write_tensors};

/// Writes tokens of the model and its logits for them; one logit is off by `off`.
fn references(folder: &Folder, path: &str, off: f32) {
    let (input, output) = (folder.path("tokens.safetensors"), folder.path("logits.safetensors"));
    let ids = ArrayD::from_shape_vec(vec![1, 3], vec![1, 2, 3]).unwrap();
    let mut tensors = BTreeMap::from([("ids".to_owned(), Array::I64(ids))]);
    write_tensors(&input, &tensors);
    gatewave(["run", MODEL, "--input", &input, "--output", &output, "--force"]).done();
    #[expect(clippy::cast_possible_truncation, reason = "they were written as such")]
    let mut logits = read_tensors(&output)["output"].mapv(|x| x as f32);
    logits[[0, 1, 2]] += off;
    tensors.insert("output".to_owned(), Array::F32(logits));
    write_tensors(path, &tensors);
}

#[test]
fn outputs_are_compared_with_references_and_what_differs_has_a_place() {
    let folder = Folder::new("compare");
    let input = folder.path("references.safetensors");
    references(&folder, &input, 0.0);
    let run = ["run", MODEL, "--input", &input];
    let alike = gatewave(run.into_iter().chain(["--compare"]));
    assert_eq!(alike.done(), "output [1, 3, 65]: alike, off by 0.00e0 at most\n");

    references(&folder, &input, 0.25);
    let other = gatewave(run.into_iter().chain(["--compare"]));
    assert_eq!(other.status, 1, "{other:?}");
    let begin = "output [1, 3, 65]: 1 of 195 differ, off by 2.50e-1 at most at [0, 1, 2]: expected ";
    assert!(other.out.starts_with(begin) && other.out.contains(", got "), "{other:?}");
    // Less far off than allowed.
    assert_eq!(gatewave(run.into_iter().chain(["--compare=0.3"])).status, 0);
    // The other outputs are those of the model.
    let output = folder.path("out.safetensors");
    let both = gatewave(run.into_iter().chain(["--compare=1", "--output", &output]));
    assert!(both.done().starts_with("output [1, 3, 65]: alike, off by 2.50e-1") && Path::new(&output).exists());
}

#[test]
fn references_that_are_not_asked_for_say_how_and_none_at_all_is_refused() {
    let folder = Folder::new("compare-refused");
    let input = folder.path("references.safetensors");
    references(&folder, &input, 0.0);
    let error = gatewave(["run", MODEL, "--input", &input]).refused();
    let hint =
        "output: expected an input, got the name of an output; --compare compares the outputs of the model with it";
    assert_eq!(error, format!("{input}: {hint}"));
    let passages = Path::new(MODEL).with_file_name("passages.safetensors");
    let error = gatewave(["run", MODEL, "--input", passages.to_str().unwrap(), "--compare"]).refused();
    assert!(
        error.ends_with("--compare: expected a reference by the name of an output (output, h_n, c_n), got none"),
        "{error}"
    );
}
