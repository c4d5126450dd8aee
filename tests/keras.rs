//! Keras files: how they are read, compared with the files' own manifest and with Keras' results.

#![cfg(feature = "keras")]

#[path = "keras/across.rs"]
mod across;
#[path = "keras/attention.rs"]
mod attention;
#[path = "keras/cells.rs"]
mod cells;
#[path = "keras/files.rs"]
mod files;
#[path = "keras/graphs.rs"]
mod graphs;
#[path = "keras/norms.rs"]
mod norms;
#[path = "keras/refused.rs"]
mod refused;
#[path = "keras/summaries.rs"]
mod summaries;
mod support;
#[path = "keras/table.rs"]
mod table;
#[path = "keras/weights.rs"]
mod weights;

use std::collections::BTreeMap;

use files::{Case, all, prefix};
use gatewave::conformance::{Tolerance, compare};
use gatewave::formats::keras;
use gatewave::layer::StateLifetime;
use gatewave::{Device, Engine, Weights, oracle};

#[test]
fn every_fixture_has_the_parameters_of_its_manifest() {
    for case in all() {
        for path in &case.models {
            let (model, tensors) = keras::read(path).unwrap_or_else(|e| panic!("{e}"));
            let weights = Weights::from_tensors(&model, tensors).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(weights.layers.len(), model.layers.len());
            assert_eq!(model.parameters(), case.parameters, "{}", path.display());
            let mut got: BTreeMap<String, usize> = BTreeMap::new();
            for layer in model.layers.iter().filter(|layer| layer.kind.parameters() > 0) {
                got.insert(layer.prefix.clone(), layer.kind.parameters());
            }
            let mut want = case.layers.clone();
            want.retain(|_, params| *params > 0);
            assert_eq!(got, want.into_iter().map(|(name, params)| (prefix(&name), params)).collect());
            assert!(model.summary().to_string().contains(&grouped(case.parameters)), "{}", model.summary());
        }
    }
}

/// A number as summaries write it.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|three| std::str::from_utf8(three).expect("digits")).collect();
    groups.join(",")
}

#[test]
fn an_archive_and_an_h5_file_of_one_model_are_one_model() {
    let mut pairs = 0;
    for case in all() {
        if let [one, other] = &case.models[..] {
            let (a, b) = (keras::read(one).expect("an archive"), keras::read(other).expect("an h5 file"));
            assert_eq!(a.0, b.0, "{}", case.id);
            assert!(a.1 == b.1, "{}: other elements", case.id);
            pairs += 1;
        }
    }
    assert!(pairs > 30, "only {pairs} pairs seen");
}

#[test]
fn a_file_whose_matrices_lie_in_small_compressed_chunks_is_the_file_without_them() {
    let of = |name: &str| keras::read(files::folder().join(name)).expect("an h5 file");
    assert!(of("hostile/chunked.h5") == of("keras/k3_o_rnn3_42params.h5"));
}

#[test]
fn a_file_in_memory_is_the_file_on_disk() {
    for case in all() {
        for path in &case.models {
            let bytes = std::fs::read(path).expect("a fixture");
            assert!(keras::read_bytes(&bytes).expect("bytes are read") == keras::read(path).expect("a file is read"));
        }
    }
}

#[test]
fn every_fixture_gives_what_keras_gives() {
    let mut failed = Vec::new();
    for case in all() {
        for path in &case.models {
            if let Err(text) = run(&case, path) {
                failed.push(format!("{}: {text}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn run(case: &Case, path: &std::path::Path) -> Result<(), String> {
    let (model, tensors) = keras::read(path).map_err(|e| e.to_string())?;
    let weights = Weights::from_tensors(&model, tensors).map_err(|e| e.to_string())?;
    let tolerance = Tolerance { abs: case.atol, rel: case.rtol };
    if model.stacks().all(|stack| stack.state_lifetime == StateLifetime::Call) {
        let got = oracle::run(&model, &weights, &case.calls[0].input(&model)).map_err(|e| e.to_string())?;
        #[expect(clippy::cast_possible_truncation, reason = "far nearer than the tolerance")]
        let got = got.output.mapv(|x| x as f32);
        let compared = compare(got.view(), case.calls[0].wanted.view(), tolerance).map_err(|e| e.to_string())?;
        if !compared.passed() {
            return Err(format!("the oracle: {compared}"));
        }
    }
    let engine = Engine::new(&model, &weights, Device::Cpu).map_err(|e| e.to_string())?;
    for call in &case.calls {
        let got = engine.run(&call.input(&model)).map_err(|e| e.to_string())?;
        let compared = compare(got.output.view(), call.wanted.view(), tolerance).map_err(|e| e.to_string())?;
        if !compared.passed() {
            return Err(compared.to_string());
        }
    }
    Ok(())
}
