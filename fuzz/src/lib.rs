//! What every target does with a model that was read: whatever a caller could do next, short of computing.
//!
//! Knows no format.

use gatewave::formats::description;
use gatewave::weights::Tensors;
use gatewave::{Model, Weights};

/// Tensors of more elements in all are not read: a target looks for what a small file can do.
const MOST_ELEMENTS: usize = 1 << 18;

/// Checks and prints `model`, reads `tensors`, and makes weights of them.
///
/// # Panics
///
/// Where one of them does, and where a model that is right is not the one that its own description describes.
pub fn explore(model: &Model, tensors: Tensors) {
    let checked = model.check();
    let _ = model.summary().to_string();
    let _ = model.parameters();
    if checked.is_ok() {
        let text = description::to_json(model);
        let again = description::from_json(&text, &Tensors::new()).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(description::to_json(&again), text);
    }
    if let Some(tensors) = read(tensors)
        && let Ok(weights) = Weights::from_tensors(model, tensors)
    {
        weights.to_tensors(model).expect("weights that fit the model");
    }
}

/// Reads every tensor, where they are small.
fn read(tensors: Tensors) -> Option<Tensors> {
    let elements = |shape: &[usize]| shape.iter().fold(1, |product: usize, &n| product.saturating_mul(n));
    let total = tensors.iter().map(|(_, tensor)| elements(tensor.shape())).fold(0, usize::saturating_add);
    if total > MOST_ELEMENTS {
        return None;
    }
    for (_, tensor) in tensors.iter() {
        if let Ok(read) = tensor.read() {
            assert_eq!(read.len(), elements(tensor.shape()));
        }
    }
    Some(tensors)
}
