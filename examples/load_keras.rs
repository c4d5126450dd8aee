//! Loads a model that Keras saved, and runs it.
//!
//! `cargo run --release --example load_keras [FILE]` reads a `.keras` or `.h5` file, and prints its layers, inputs
//! and outputs. Without a file it takes a small tagger from the repository's tests, and runs that on three sentences.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use gatewave::{Engine, NamedTensors, Result};
use ndarray::{Axis, array};

/// The tagger; its graph and its weights are those of `load_onnx`'s file.
const TAGGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/roads/model.keras");

fn main() -> Result<()> {
    let file = std::env::args().nth(1);
    let engine = Engine::open(file.as_deref().unwrap_or(TAGGER))?;
    println!("{}", engine.model().summary());

    // Tensors have the names that the file gives them.
    let ports = engine.model().all_ports();
    for port in &ports.inputs {
        println!("takes {} {:?}", port.name, port.axes);
    }
    for port in &ports.outputs {
        println!("gives {} {:?}", port.name, port.axes);
    }
    if file.is_some() {
        return Ok(());
    }

    let words = array![[3_i64, 14, 15, 9, 2], [6, 5, 3, 5, 8], [9, 7, 9, 3, 2]];
    let facts = array![[0.5_f32, -1.0, 0.0], [0.0, 0.25, 1.0], [-0.5, 0.0, 2.0]];
    let inputs: NamedTensors = [("words".to_owned(), words.into()), ("facts".to_owned(), facts.into())].into();
    for (name, values) in engine.run_named(&inputs)? {
        println!("{name}, of the first sentence: {:.4}", values.to_f32().index_axis(Axis(0), 0));
    }
    Ok(())
}
