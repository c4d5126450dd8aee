//! Each layer is present everywhere: its names are looked for in the description, the summary, the oracle, the
//! conformance table, the page about descriptions and the plans. The test names the files that lack a layer.
//!
//! The models are those of the conformance table. So `src/model/layer/mod.rs` has the only list of layers.

mod support;

use std::fs;
use std::path::Path;

use gatewave::conformance::{self, Case, cases};
use gatewave::formats::description::{from_json, to_json};
use gatewave::inspect::plan::Limits;
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::layer::LayerKind;
use gatewave::weights::Tensors;
use gatewave::{Device, oracle};
use serde_json::Value;
use support::executor::engine;
use support::plans::plan_of;

/// Whether a place knows the layer of that name, which is in the case. The error is what the place has instead.
type Knows = fn(&str, &Case) -> Result<(), String>;

/// The places where a layer must be known.
const PLACES: [(&str, Knows); 6] = [
    ("src/formats/description/layers.rs", is_described),
    ("docs/model-format.md", is_documented),
    ("src/model/layer/, its text in a summary", is_summarized),
    ("src/oracle.rs", is_computed),
    ("src/layout.rs or src/plan/lower/ops.rs", is_lowered),
    ("src/layout.rs, src/pack.rs or src/plan/lower/", is_true),
];

/// The cheapest cases of each layer are enough to see whether a place knows it.
const CASES: usize = 3;

fn has(case: &Case, name: &str) -> bool {
    case.model.layers.iter().any(|layer| layer.kind.name() == name)
}

/// Returns the places that do not know layer `name`.
fn forgotten(name: &str, table: &[Case]) -> Vec<String> {
    let mut own: Vec<_> = table.iter().filter(|case| has(case, name)).collect();
    own.sort_by_key(|case| case.time * case.batch * (1 + case.model.parameters()));
    own.truncate(CASES);
    if own.is_empty() {
        return vec![format!("{name}: src/conformance/cases.rs: no case has it")];
    }
    let in_case = |case: &&Case| {
        let missing = PLACES.iter().filter_map(|(place, knows)| Some((place, knows(name, case).err()?)));
        missing.map(|(place, text)| format!("{name}: {place}: {text} (case {:?})", case.name)).collect::<Vec<_>>()
    };
    own.iter().flat_map(in_case).collect()
}

/// Its description is read back as it was written.
fn is_described(_: &str, case: &Case) -> Result<(), String> {
    let json = to_json(&case.model);
    let read = from_json(&json, &Tensors::new()).map_err(|error| error.to_string())?;
    if read == case.model { Ok(()) } else { Err(format!("{json} is read as another model")) }
}

/// The page names the layer and every key that its description may have.
fn is_documented(name: &str, case: &Case) -> Result<(), String> {
    const UNKNOWN: &str = "what_nobody_knows";
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/model-format.md");
    let page = fs::read_to_string(page).map_err(|error| error.to_string())?;
    let mut json: Value = serde_json::from_str(&to_json(&case.model)).expect("a description is JSON");
    let own = json["layers"].as_array_mut().and_then(|all| all.iter_mut().find(|layer| layer["type"] == name));
    own.ok_or("the layer is not in the description")?[UNKNOWN] = true.into();
    let error = from_json(&json.to_string(), &Tensors::new()).err().ok_or("an unknown key is no error")?.to_string();
    let (_, keys) = error.split_once("the known ones are ").ok_or(error.clone())?;
    let words = keys.split(", ").chain([name]);
    match words.map(|word| format!("`{word}`")).find(|word| !page.contains(word)) {
        None => Ok(()),
        Some(word) => Err(format!("expected {word} on the page, got nothing")),
    }
}

/// A row of the summary has a Keras class that computes it. A selection has no row, and is part of the layer before it.
fn is_summarized(name: &str, case: &Case) -> Result<(), String> {
    let table = case.model.summary().to_string();
    if name == "select" {
        return if table.contains("(Select") {
            Err(format!("expected no row of a selection, got\n{table}"))
        } else {
            Ok(())
        };
    }
    let classes: &[&str] = match name {
        "rnn" => &["SimpleRNN", "Bidirectional"],
        "lstm" => &["LSTM", "Bidirectional"],
        "gru" => &["GRU", "Bidirectional"],
        "linear" => &["Dense"],
        "conv1d" => &["Conv1D"],
        "dropout" => &["Dropout", "SpatialDropout1D"],
        "attention" => &["Attention", "AdditiveAttention"],
        "slice" | "slice_steps" => &["GetItem"],
        "concat" | "concat_steps" => &["Concatenate"],
        "one_hot" => &["OneHot"],
        "embedding" => &["Embedding"],
        "masking" => &["Masking"],
        "activation" => &["Activation"],
        "batch_norm" => &["BatchNormalization"],
        "layer_norm" => &["LayerNormalization"],
        "rms_norm" => &["RMSNormalization"],
        "l2_norm" => &["UnitNormalization"],
        "prelu" => &["PReLU"],
        "add" => &["Add"],
        "subtract" => &["Subtract"],
        "multiply" => &["Multiply"],
        "average" => &["Average"],
        "maximum" => &["Maximum"],
        "global_pool" => &["GlobalMaxPooling1D", "GlobalAveragePooling1D", "Min", "Sum"],
        "window_pool" => &["MaxPooling1D", "AveragePooling1D", "Min", "Sum"],
        "pad_steps" => &["Pad"],
        "repeat" => &["RepeatVector"],
        "flatten" => &["Flatten"],
        "reshape" => &["Reshape"],
        "permute" => &["Permute"],
        _ => &[],
    };
    let is_there = classes.iter().any(|class| table.contains(&format!("({class}")));
    let short = |kind: &LayerKind| kind.to_string();
    if case.model.layers.iter().any(|layer| short(&layer.kind).is_empty()) {
        return Err("expected a few words of each layer, got none".into());
    }
    if is_there { Ok(()) } else { Err(format!("expected one of {classes:?} in it, got\n{table}")) }
}

fn is_computed(_: &str, case: &Case) -> Result<(), String> {
    oracle::run(&case.model, &case.weights(), &case.input()).map(|_| ()).map_err(|error| error.to_string())
}

fn is_lowered(_: &str, case: &Case) -> Result<(), String> {
    plan_of(case, Tuning::of(Target::Gpu), &Limits::WEBGPU).map(|_| ()).map_err(|error| error.to_string())
}

/// A plan computes what the oracle computes.
fn is_true(_: &str, case: &Case) -> Result<(), String> {
    let result = conformance::run(case, &mut |case, model, weights, input| {
        engine(&Device::Cpu, case.precision, model, weights)?.run(&input)
    });
    if result.passed() { Ok(()) } else { Err(format!("{:?}", result.outcome)) }
}

#[test]
fn every_layer_has_all_its_places() {
    let table = cases();
    let forgotten: Vec<_> = LayerKind::NAMES.iter().flat_map(|name| forgotten(name, &table)).collect();
    assert!(forgotten.is_empty(), "{}", forgotten.join("\n"));
}

#[test]
fn every_layer_of_the_table_is_in_the_list_of_names() {
    for case in &cases() {
        for layer in &case.model.layers {
            let name = layer.kind.name();
            assert!(LayerKind::NAMES.contains(&name), "src/model/layer/mod.rs: {name} has no row of that name");
        }
    }
}

#[test]
fn a_forgotten_place_is_told_by_file() {
    let table = cases();
    let told = |name| forgotten(name, &table).join("\n");
    assert!(told("telepathy").contains("src/conformance/cases.rs: no case has it"));
    let case = table.iter().find(|case| has(case, "lstm") && !has(case, "linear")).expect("a stack alone");
    assert!(is_documented("telepathy", case).is_err());
    assert!(is_summarized("telepathy", case).is_err());
}
