//! Keras' and ONNX' fixtures on the adapter: the results of their frameworks, and the same bits from native files.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gatewave::conformance::{Tolerance, compare};
use gatewave::formats;
use gatewave::weights::Tensors;
use gatewave::{Engine, Model, NamedTensors, Precision, Result, Values};
use ndarray::ArrayD;
use serde_json::Value;

use crate::support::devices::adapter;
use crate::support::fixtures::{each_model, named, read_io};

/// The results of successive calls, by name.
type Results = Vec<Vec<(String, Values)>>;

/// Walks a manifest of `tests/golden` and counts the model files.
fn walk(manifest: &str) -> usize {
    // Tests run in parallel in one process, so each writes its own file.
    let native = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("formats-{}-{}", std::process::id(), manifest.replace('/', "-")))
        .with_extension("safetensors");
    each_model(manifest, |case, file, calls| {
        let calls: Vec<_> = calls.iter().map(|io| read_io(io)).collect();
        let inputs: Vec<NamedTensors> = calls.iter().map(|(inputs, _)| named(inputs)).collect();
        let place = file.display();
        let (given, again) = both(file, &native, &inputs).unwrap_or_else(|e| panic!("{place}: {e}"));
        assert!(given == again, "{place}: the native file gives other bits");
        for ((_, wanted), given) in calls.iter().zip(&given) {
            assert_close(&format!("{place}"), given, wanted, &case["tolerance"]);
        }
    })
}

/// Returns the results of a file, and those of the native file made from it.
fn both(file: &Path, native: &Path, calls: &[NamedTensors]) -> Result<(Results, Results)> {
    let (model, tensors) = formats::read(file)?;
    let given = run(&model, tensors.clone(), calls)?;
    formats::write(native, &model, tensors, Precision::F32)?;
    let (model, tensors) = formats::read(native)?;
    let again = run(&model, tensors, calls);
    fs::remove_file(native).expect("the native file was written");
    Ok((given, again?))
}

fn run(model: &Model, mut tensors: Tensors, calls: &[NamedTensors]) -> Result<Results> {
    // Weights from the caller come with the first call.
    tensors.extend([model.named_weights(&calls[0])?]);
    let engine = Engine::builder().device(adapter()).load(model, &tensors)?;
    engine.poison();
    calls.iter().map(|call| model.named_output(&engine.run(&model.named_input(call)?)?)).collect()
}

fn assert_close(place: &str, given: &[(String, Values)], wanted: &BTreeMap<String, ArrayD<f64>>, tolerance: &Value) {
    let number = |key: &str| tolerance[key].as_f64().expect("a tolerance");
    let tolerance = Tolerance { abs: number("atol"), rel: number("rtol") };
    for (name, wanted) in wanted {
        let (_, got) = given.iter().find(|(given, _)| given == name).unwrap_or_else(|| panic!("{place}: no {name}"));
        let compared =
            compare(got.to_f32().view(), wanted.view(), tolerance).unwrap_or_else(|e| panic!("{place}: {name}: {e}"));
        assert!(compared.passed(), "{place}: {name}: {compared}");
    }
}

#[test]
fn keras_files_give_what_keras_gives_and_the_same_as_native_files() {
    assert_eq!(walk("keras.json"), 68);
}

#[test]
fn onnx_files_give_what_their_runtime_gives_and_the_same_as_native_files() {
    assert_eq!(walk("onnx/manifest.json"), 131);
}
