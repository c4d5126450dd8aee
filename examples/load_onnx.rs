//! Loads a model that PyTorch exported to ONNX, and runs it.
//!
//! `cargo run --release --example load_onnx [FILE [DEVICE]]` opens an `.onnx` file on a
//! device, and prints the progress of loading. DEVICE is `auto`, `cpu`, or a part of an
//! adapter's name. Without a file it takes a small tagger from the repository's tests.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use gatewave::{Device, Engine, NamedTensors, Result};
use ndarray::{Axis, array};

/// The tagger; its graph and its weights are those of `load_keras`'s file.
const TAGGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/roads/model.onnx");

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let file = args.next();
    let device: Device = args.next().as_deref().unwrap_or("auto").parse()?;
    let engine = Engine::builder()
        .device(device)
        .progress(|loading| println!("{} of {} bytes", loading.done_bytes, loading.total_bytes))
        .open(file.as_deref().unwrap_or(TAGGER))?;
    println!("on {}: {}", engine.device(), engine.device().reason());
    println!("{}", engine.model().summary());
    if file.is_some() {
        return Ok(());
    }

    // The exporter's `input_names` and `output_names` are the names of the tensors.
    let words = array![[3_i64, 14, 15, 9, 2], [6, 5, 3, 5, 8], [9, 7, 9, 3, 2]];
    let facts = array![[0.5_f32, -1.0, 0.0], [0.0, 0.25, 1.0], [-0.5, 0.0, 2.0]];
    let inputs: NamedTensors = [("words".to_owned(), words.into()), ("facts".to_owned(), facts.into())].into();
    for (name, values) in engine.run_named(&inputs)? {
        println!("{name}, of the first sentence: {:.4}", values.to_f32().index_axis(Axis(0), 0));
    }
    Ok(())
}
