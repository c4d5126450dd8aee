//! `gatewave convert`: the native file gives the same results as the model that it was made from.

use std::collections::BTreeMap;
use std::fs;

use half::f16;
use ndarray::ArrayD;

use crate::support::fixtures::{self, Array, Fixture};
use crate::{Folder, MODEL, gatewave, read_tensors, write_tensors};

/// Returns the bytes that `run` writes for `input`.
fn results(folder: &Folder, model: &[&str], input: &str) -> Vec<u8> {
    let output = folder.path("out.safetensors");
    gatewave(["run"].iter().chain(model).chain(&["--input", input, "--output", &output, "--force"])).done();
    fs::read(&output).unwrap()
}

fn convert_fixture(fixture: &Fixture) {
    let folder = Folder::new(&format!("convert-{}", fixture.id));
    let (description, input) = (folder.path("model.json"), folder.path("in.safetensors"));
    let (native, half, widened) =
        (folder.path("native.safetensors"), folder.path("half.safetensors"), folder.path("widened.safetensors"));
    fs::write(&description, &fixture.description_json).unwrap();
    write_tensors(&input, &fixture.inputs);
    let model = [fixture.weights.to_str().unwrap(), "--model", &description];
    let said = gatewave(["convert"].iter().chain(&model).chain(&[native.as_str()])).done();
    let bytes = fs::metadata(&native).unwrap().len();
    assert!(said.starts_with(&format!("{native}: ")), "{said}");
    assert!(said.ends_with(&format!(" {} parameters, f32, {bytes} bytes\n", fixture.params)), "{said}");
    assert!(results(&folder, &model, &input) == results(&folder, &[&native], &input), "{}", fixture.id);

    gatewave(["convert", &native, &half, "--precision", "f16"]).done();
    gatewave(["convert", &half, &widened]).done();
    assert!(results(&folder, &[&half], &input) == results(&folder, &[&widened], &input), "{}", fixture.id);
    let (full, rounded) = (read_tensors(&native), read_tensors(&widened));
    assert_eq!(full.len(), rounded.len());
    for (name, full) in full {
        assert_eq!(rounded[&name], full.mapv(|x| f16::from_f64(x).to_f64()), "{} {name}", fixture.id);
    }
}

#[test]
fn a_converted_model_runs_alike_bit_for_bit_and_in_halves_as_rounded() {
    fixtures::all().iter().for_each(convert_fixture);
}

#[test]
fn a_model_in_integers_runs_as_an_engine_of_integers_does_and_converts_to_itself() {
    let (folder, fixture) = (Folder::new("convert-integers"), &fixtures::all()[0]);
    let files = ["in", "model.json", "int8", "again", "f32"].map(|name| folder.path(&format!("{name}.safetensors")));
    let [input, description, integers, again, floats] = files.each_ref().map(String::as_str);
    fs::write(description, &fixture.description_json).unwrap();
    write_tensors(input, &fixture.inputs);
    let model = [fixture.weights.to_str().unwrap(), "--model", description];
    let said = gatewave(["convert"].iter().chain(&model).chain(&[integers, "--precision", "int8"])).done();
    assert!(said.contains(" parameters, int8, "), "{said}");
    gatewave(["convert", integers, again, "--precision", "int8"]).done();
    assert!(fs::read(integers).unwrap() == fs::read(again).unwrap());
    gatewave(["convert", integers, floats]).done();
    let wanted = results(&folder, &[&model[..], &["--precision", "int8"]].concat(), input);
    for (file, precision) in [(integers, "int8"), (integers, "f32"), (floats, "f32"), (floats, "int8")] {
        assert!(results(&folder, &[file, "--precision", precision], input) == wanted, "{file} {precision}");
    }
    assert!(results(&folder, &model, input) != wanted);
}

#[test]
fn convert_writes_over_no_model_that_it_reads_and_over_others_when_forced() {
    let folder = Folder::new("convert-over");
    let (model, other) = (folder.path("model.safetensors"), folder.path("other.safetensors"));
    fs::copy(MODEL, &model).unwrap();
    let before = fs::read(&model).unwrap();
    let again = folder.path("./model.safetensors");
    for force in [&[][..], &["--force"]] {
        let error = gatewave(["convert", &model, &again].iter().chain(force)).refused();
        assert_eq!(error, format!("OUT: expected a file of its own, got {again}, which is read in this call"));
    }
    assert!(fs::read(&model).unwrap() == before);

    fs::write(&other, "before").unwrap();
    let error = gatewave(["convert", &model, &other]).refused();
    assert_eq!(error, format!("{other}: already exists; --force overwrites it"));
    assert_eq!(fs::read_to_string(&other).unwrap(), "before");
    gatewave(["convert", &model, &other, "--force"]).done();
    assert_eq!(read_tensors(&other), read_tensors(&model));
    assert_eq!(folder.names(), ["model.safetensors", "other.safetensors"], "no temporary file is left");

    let error = gatewave(["convert", &model, &folder.path("other.npz")]).refused();
    assert!(error.ends_with("other.npz: expected a name that ends in .safetensors"), "{error}");
}

#[test]
fn convert_leaves_out_what_no_layer_needs_and_refuses_what_no_half_holds() {
    let folder = Folder::new("convert-large");
    let (weights, description) = (folder.path("w.safetensors"), folder.path("m.json"));
    let tensor = |value| Array::F32(ArrayD::from_elem(vec![1, 2], value));
    let both = BTreeMap::from([("fc.weight".to_owned(), tensor(7e4)), ("stray".to_owned(), tensor(1.0))]);
    write_tensors(&weights, &both);
    fs::write(&description, r#"{"gatewave": 1, "layers": [{"type": "linear", "weights": "fc."}]}"#).unwrap();
    let out = folder.path("out.safetensors");
    let error = gatewave(["convert", &weights, &out, "--model", &description, "--precision", "f16"]).refused();
    let message =
        "tensor fc.weight: expected at most 65504 in magnitude for 16-bit floats, got 70000; use 32-bit floats";
    assert_eq!(error, format!("{out}: {message}"));
    assert_eq!(folder.names(), ["m.json", "w.safetensors"]);
    gatewave(["convert", &weights, &out, "--model", &description]).done();
    assert_eq!(read_tensors(&out).into_keys().collect::<Vec<_>>(), ["fc.weight"]);
}
