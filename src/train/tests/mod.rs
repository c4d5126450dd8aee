//! Optimizers and schedules against numbers of PyTorch and Keras, and initial weights against what their laws say.

mod initial;
mod optimizers;
mod schedules;
mod settings;

use std::fs;
use std::path::Path;

/// The numbers of `name`, which `tests/golden/optimizers/make.py` wrote.
fn golden(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimizers").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
