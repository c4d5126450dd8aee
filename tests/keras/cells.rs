//! Cells in an `RNN`, layers of cuDNN, and directions that are no mirror of each other: each file in
//! `tests/golden/keras-cells` comes with inputs and Keras' results for them in float64. Also what is refused.

use std::path::PathBuf;

use gatewave::layer::LayerKind;
use gatewave::{ErrorKind, Model};
use serde_json::{Value, json};

use crate::files::folder;
use crate::graphs::run;
use crate::refused::{Archive, archive};

/// The number of model files.
const COUNT: usize = 14;

fn files() -> Vec<PathBuf> {
    let files = crate::support::files::files(&folder().join("keras-cells"), &["h5", "keras"]);
    let whole = |path: &PathBuf| !path.to_string_lossy().ends_with(".weights.h5");
    let files: Vec<_> = files.into_iter().filter(whole).collect();
    assert_eq!(files.len(), COUNT, "model files in tests/golden/keras-cells");
    files
}

fn cells(name: &str) -> Archive {
    archive(&format!("../keras-cells/{name}"))
}

/// The prefixes of the tensors of all recurrent layers.
fn prefixes(model: &Model) -> Vec<&str> {
    let stacks = model.layers.iter().filter(|layer| matches!(layer.kind, LayerKind::Recurrent(_)));
    stacks.map(|layer| layer.prefix.as_str()).collect()
}

#[test]
fn every_cell_gives_what_keras_gives() {
    let wrong: Vec<_> =
        files().iter().filter_map(|path| run(path).err().map(|e| format!("{}: {e}", path.display()))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_tensors_of_several_cells_have_their_numbers_and_those_of_two_directions_their_names() {
    let model = cells("both-ways-3").read().expect("a model");
    let wanted = ["forward.0.", "forward.1.", "backward.0.", "backward.1."].map(|end| format!("bidirectional.{end}"));
    assert_eq!(prefixes(&model), wanted);
    // A cell alone is a layer like any other.
    assert_eq!(prefixes(&cells("one-cell-3").read().expect("a model")), ["rnn.", "rnn_1.", "rnn_2."]);
}

#[test]
fn states_of_cells_may_be_lists_in_lists_as_keras_2_writes_them() {
    let wanted = cells("begun-3").read().expect("a model");
    let mut lists = cells("begun-3");
    let layers = lists.config["config"]["layers"].as_array_mut().expect("layers");
    let rnn = layers.iter_mut().find(|layer| layer["class_name"] == "RNN").expect("an RNN");
    let tensor = |name: &str| json!([name, 0, 0, {}]);
    rnn["inbound_nodes"] = json!([[tensor("x"), [tensor("h"), tensor("c")], [tensor("g")]]]);
    assert_eq!(lists.read().expect("a model"), wanted);
    rnn_of(&mut lists)["inbound_nodes"] = json!([[tensor("x"), [tensor("h"), tensor("c")]]]);
    let words = ["layer rnn (RNN): initial_state: expected 3 tensors (states of each cell and direction), got 2"];
    lists.refused(ErrorKind::Model, &words);
}

fn rnn_of(archive: &mut Archive) -> &mut Value {
    let layers = archive.config["config"]["layers"].as_array_mut().expect("layers");
    layers.iter_mut().find(|layer| layer["class_name"] == "RNN").expect("an RNN")
}

#[test]
fn what_is_no_cell_of_keras_is_an_error_that_names_layer_cell_and_key() {
    let refused = |change: &dyn Fn(&mut Value), words: &str| {
        let mut begun = cells("begun-3");
        change(&mut rnn_of(&mut begun)["config"]["cell"]);
        begun.refused(ErrorKind::Model, &[&format!("layer rnn (RNN): cell: {words}")]);
    };
    let stack = "layer stacked_rnn_cells (StackedRNNCells): ";
    refused(&|cell| *cell = Value::Null, "expected a cell, got nothing");
    refused(&|cell| cell["config"]["cells"] = json!([]), &format!("{stack}cells: expected a list of cells, got []"));
    refused(&|cell| cell["config"]["depth"] = json!(2), &format!("{stack}depth: unknown key, with the value 2"));
    let first = format!("{stack}cells: layer lstm_cell (LSTMCell): ");
    let set = |key: &'static str, value: Value| {
        move |cell: &mut Value| cell["config"]["cells"][0]["config"][key] = value.clone()
    };
    refused(&set("units", json!(0)), &format!("{first}units: expected a whole number from 1"));
    refused(&set("peepholes", json!(true)), &format!("{first}peepholes: unknown key, with the value true"));
    refused(&set("recurrent_activation", json!("softmax")), &format!("{first}activation: expected one of each unit"));
    refused(
        &|cell| cell["config"]["cells"][0]["class_name"] = json!("LSTM"),
        &format!(
            "{stack}cells: layer lstm_cell (LSTM): expected a SimpleRNNCell, an LSTMCell, a GRUCell or StackedRNNCells"
        ),
    );
    refused(
        &|cell| cell["config"]["cells"][0]["registered_name"] = json!("mine>LSTMCell"),
        &format!("{first}registered_name: expected a layer of Keras"),
    );
    let mut shape = cells("begun-3");
    rnn_of(&mut shape)["config"]["cell"]["config"]["cells"][1]["config"]["units"] = json!(5);
    let words = ["layer rnn (RNN): layers/rnn/cell/cells/gru_cell/vars/0: expected [4, 15], got [4, 9]"];
    shape.refused(ErrorKind::Weights, &words);
}
