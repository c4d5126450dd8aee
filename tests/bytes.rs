//! A model's file in memory is the same as on disk: the same model, the same tensors, the same results.

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use gatewave::formats::{self, Format};
use gatewave::{Device, Engine, ErrorKind, Input};
use ndarray::Array2;
use support::fixtures;

/// Returns the files under `tests/golden/FOLDER` with any of these extensions.
#[cfg(any(feature = "keras", feature = "onnx"))]
fn golden(folder: &str, endings: &[&str]) -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    support::files::files(&folder, endings)
}

/// Compares reading `path` from memory with reading it from disk. Returns the error if only memory refuses it.
#[cfg(any(feature = "keras", feature = "onnx"))]
fn same(path: &Path) -> Result<(), String> {
    let from_file = formats::read(path).expect("a fixture is read");
    let bytes = fs::read(path).expect("a fixture");
    let from_bytes = formats::read_bytes(bytes, Format::of(path).expect("a known ending"), None);
    let from_bytes = from_bytes.map_err(|error| error.to_string())?;
    assert_eq!(from_bytes.0, from_file.0, "{}: another model", path.display());
    assert!(from_bytes.1.names().eq(from_file.1.names()), "{}: other tensors", path.display());
    for ((name, one), (_, other)) in from_bytes.1.iter().zip(from_file.1.iter()) {
        match (one.read(), other.read()) {
            (Ok(a), Ok(b)) => assert!(one.shape() == other.shape() && a == b, "{}: {name}", path.display()),
            // Weights that a call supplies are in no file.
            (a, b) => {
                let texts = [a.expect_err("not there").to_string(), b.expect_err("not there").to_string()];
                assert!(texts.iter().all(|text| text.contains("from the caller")), "{}: {texts:?}", path.display());
            }
        }
    }
    Ok(())
}

#[test]
fn every_golden_safetensors_file_is_the_same_in_memory() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bytes-description.json");
    let all = fixtures::all();
    for fixture in &all {
        fs::write(&file, &fixture.description_json).expect("a scratch file");
        let bytes: Arc<[u8]> = fs::read(&fixture.weights).expect("a fixture").into();
        let from_bytes = formats::read_bytes(bytes, Format::Safetensors, Some(&fixture.description_json));
        let from_file = formats::read_with(&fixture.weights, &file).expect("a file is read");
        assert!(from_bytes.expect("bytes are read") == from_file, "{}", fixture.id);
    }
    assert_eq!(all.len(), fixtures::COUNT);
}

#[cfg(feature = "onnx")]
#[test]
fn every_golden_onnx_file_is_the_same_in_memory_but_for_one_that_names_others() {
    let files = golden("onnx", &["onnx"]);
    assert!(files.len() > 60, "only {} files seen", files.len());
    let refused: Vec<_> = files.iter().filter_map(|path| same(path).err()).collect();
    let [text] = &refused[..] else { panic!("{refused:?}") };
    assert!(
        text.starts_with("an .onnx file in memory: ") && text.contains("a model in memory has no folder"),
        "{text}"
    );
}

#[cfg(feature = "keras")]
#[test]
fn every_golden_keras_file_is_the_same_in_memory() {
    let files = [golden("keras", &["keras", "h5"]), golden("keras2", &["keras", "h5"])].concat();
    assert!(files.len() > 60, "only {} files seen", files.len());
    let refused: Vec<_> = files.iter().filter_map(|path| same(path).err()).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn a_model_in_memory_gives_the_numbers_of_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/shakespeare");
    let (name, description) = (folder.join("shakespeare.safetensors"), folder.join("model.json"));
    let json = fs::read_to_string(&description).expect("a description");
    let bytes = fs::read(&name).expect("a model");
    let read = [
        formats::read_with(&name, &description).expect("a file is read"),
        formats::read_bytes(bytes, Format::of(&name).expect("safetensors"), Some(&json)).expect("bytes are read"),
    ];
    let input = Input::tokens(Array2::from_shape_fn((2, 9), |(b, t)| (7 * t + b) as i64));
    let [from_file, from_bytes] = read.map(|(model, tensors)| {
        let engine = Engine::builder().device(Device::Cpu).load(model, &tensors);
        engine.expect("it loads").run(&input).expect("it runs")
    });
    assert!(from_file == from_bytes);
}

#[test]
fn what_is_wrong_in_memory_says_where() {
    let refused = |bytes: &[u8], format, description: Option<&str>| {
        formats::read_bytes(bytes, format, description).expect_err("this must be refused")
    };
    let error = refused(b"\x05\0\0", Format::Safetensors, None);
    assert_eq!(error.kind(), ErrorKind::Weights);
    assert!(error.to_string().starts_with("a .safetensors file in memory: expected at least 8 bytes"), "{error}");

    let empty = [&2_u64.to_le_bytes()[..], b"{}"].concat();
    let error = refused(&empty, Format::Safetensors, None);
    assert_eq!(error.kind(), ErrorKind::Model);
    assert!(error.to_string().contains("expected a description of the model in the metadata"), "{error}");

    let error = refused(b"", Format::Onnx, Some("{}"));
    assert_eq!(error.to_string(), "expected no description beside an .onnx file, which brings its own");
    let error = Format::of(Path::new("model.tflite")).expect_err("a format that is not read");
    assert_eq!(error.kind(), ErrorKind::Io);
    for format in [Format::Onnx, Format::Keras] {
        assert!(refused(b"neither", format, None).to_string().starts_with(&format!("{format} file in memory: ")));
    }
}
