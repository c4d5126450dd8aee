//! The work list of `bench/shapes.json`, as models and calls.

use std::fs;
use std::path::Path;

use gatewave::Model;
use gatewave::inspect::kernel::Mask;
use gatewave::inspect::plan::Shape;
use gatewave::interface::Axes;
use gatewave::layer::{Cell, Recurrent, Reset};
use serde_json::Value;

/// Each shape of the work list: its model, T and B.
pub(crate) fn work_list() -> Vec<(String, Model, Shape)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/shapes.json");
    let text = fs::read_to_string(path).expect("it is in the repository");
    let list: Value = serde_json::from_str(&text).expect("it is JSON");
    let shapes = list["shapes"].as_array().expect("it is a list").iter().map(|shape| {
        let size = |key: &str| usize::try_from(shape[key].as_u64().expect("a size")).expect("a small one");
        let cell = match shape["cell"].as_str() {
            Some("lstm") => Cell::Lstm,
            Some("gru") => Cell::Gru(Reset::After),
            _ => Cell::Rnn,
        };
        let stack = Recurrent::new(cell, size("I"), size("H")).num_layers(size("L"));
        let stack = if size("D") == 2 { stack.bidirectional() } else { stack };
        let call = Shape::new(size("T"), size("B"), Mask::All);
        (shape["id"].as_str().expect("an id").to_owned(), Model::new().axes(Axes::TimeMajor).layer(stack), call)
    });
    shapes.collect()
}
