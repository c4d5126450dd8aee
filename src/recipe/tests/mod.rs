//! Optimizers and schedules, compared with numbers of PyTorch and
//! Keras, and initial weights, compared with their distributions.

mod initial;
mod optimizers;
mod schedules;
mod settings;

use std::fs;
use std::path::Path;

/// Reads the numbers of `name`, which `tests/golden/optimizers/make.py` wrote.
fn golden(name: &str) -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/optimizers").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}
