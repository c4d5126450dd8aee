//! Tensors of a layer under names of their own: `weights` is then an object in place of a prefix.
//!
//! `{"weight": "W_out", "bias": "b_out"}` says that the file calls the layer's `weight` `W_out`. The key `prefix` is of
//! the names that the object leaves out. Knows JSON and names.

use std::iter::successors;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::formats::encoder;
use crate::formats::keys::{parse, wrong};

/// The key of the layer's tensors.
const WEIGHTS: &str = "weights";

/// The key of the prefix of all other names.
const PREFIX: &str = "prefix";

/// Returns the layers of a description, and then those of its encoder, which may have one of its own.
pub(crate) fn layers_of(description: &Value) -> impl Iterator<Item = &[Value]> {
    let models = successors(Some(description), |model| model.get(encoder::KEY));
    models.map(|model| model.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default())
}

/// Replaces an object of names by the prefix of layer `index`. `under` is what the names of its model begin with.
pub(super) fn shorten(layer: &mut Value, index: usize, under: &str) -> Result<()> {
    let Some(Value::Object(names)) = layer.get(WEIGHTS) else { return Ok(()) };
    let prefix = prefix_of(names, layer, index, under)?;
    if let Some(weights) = layer.get_mut(WEIGHTS) {
        *weights = prefix.into();
    }
    Ok(())
}

/// Returns pairs of the name that the description's model gives to a tensor, and the name in the file.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Model` if `json` is no JSON, or a name is no text.
pub(crate) fn own_names(json: &str) -> Result<Vec<(String, String)>> {
    let description = parse(json)?;
    let mut pairs = Vec::new();
    for (depth, layers) in layers_of(&description).enumerate() {
        let under = encoder::PREFIX.repeat(depth);
        for (index, layer) in layers.iter().enumerate() {
            let Some(Value::Object(names)) = layer.get(WEIGHTS) else { continue };
            let place = format!("{}layer {index}", format!("{}: ", encoder::KEY).repeat(depth));
            let at_layer = |e: Error| e.at(&place);
            let prefix = prefix_of(names, layer, index, &under).map_err(at_layer)?;
            for (usual, own) in names.iter().filter(|(usual, _)| *usual != PREFIX) {
                let own = own.as_str().ok_or_else(|| at_layer(no_name(usual, own)))?;
                pairs.push((format!("{prefix}{usual}"), own.to_owned()));
            }
        }
    }
    Ok(pairs)
}

/// Returns the prefix that `names` gives, or else one that no module of PyTorch has.
fn prefix_of(names: &Map<String, Value>, layer: &Value, index: usize, under: &str) -> Result<String> {
    match names.get(PREFIX) {
        Some(Value::String(prefix)) => Ok(prefix.clone()),
        Some(other) => Err(no_name(PREFIX, other)),
        None => {
            let kind = layer.get("type").and_then(Value::as_str).unwrap_or("layer");
            Ok(format!("{under}{kind}_{index}."))
        }
    }
}

fn no_name(key: &str, got: &Value) -> Error {
    wrong(format!("{WEIGHTS}: {key}: expected the name of a tensor, got {got}"))
}
