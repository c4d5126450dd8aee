//! A golden case of PyTorch in the library's types: its model, weights and input, and the wanted outputs.

use gatewave::conformance::{Comparison, Tolerance, compare};
use gatewave::formats::{description, safetensors};
use gatewave::{Input, Model, Output, States, Weights};

use super::fixtures::Fixture;

/// The model and the weights of a case.
pub fn load(fixture: &Fixture) -> (Model, Weights) {
    let tensors = safetensors::read(&fixture.weights).expect("a fixture is read").tensors;
    let model = description::from_json(&fixture.description_json, &tensors).expect("a fixture is described");
    let weights = Weights::from_tensors(&model, tensors).expect("a fixture has its weights");
    (model, weights)
}

/// The input of a case.
pub fn input_of(fixture: &Fixture) -> Input<'static> {
    let mut input = match (fixture.inputs.get("x"), fixture.inputs.get("ids")) {
        (Some(x), None) => Input::features(x.f32().clone()),
        (None, Some(ids)) => Input::tokens(ids.i64()),
        other => panic!("{}: x or ids, got {other:?}", fixture.id),
    };
    if let Some(lengths) = fixture.inputs.get("lengths") {
        input = input.lengths(lengths.i64());
    }
    if let Some(h) = fixture.inputs.get("h_0") {
        let c = fixture.inputs.get("c_0").map(|c| c.f32().clone());
        input = input.states(States { h: h.f32().clone(), c });
    }
    input
}

/// Compares every tensor that a case wants with that of `got`: its name and its worst element.
pub fn compare_wanted(fixture: &Fixture, got: &Output, tolerance: Tolerance) -> Vec<(String, Comparison)> {
    let states = &got.states[0];
    let compared = fixture.wanted.iter().map(|(name, want)| {
        let got = match name.as_str() {
            "output" | "logits" => &got.output,
            "h_n" => &states.h,
            "c_n" => states.c.as_ref().expect("an lstm has a cell state"),
            other => panic!("{}: {other} is not compared", fixture.id),
        };
        let comparison = compare(got.view(), want.view(), tolerance);
        (name.clone(), comparison.unwrap_or_else(|error| panic!("{} {name}: {error}", fixture.id)))
    });
    compared.collect()
}
