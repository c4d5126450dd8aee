//! The operations that Keras writes for a mask, which must be the mask that the layers themselves make.
//!
//! Knows graphs, and of layers those that make masks.

use serde_json::Value;

use super::calls::{Node, at};
use super::config::wrong;
use crate::error::Result;

/// Every operation must compute the mask that an Embedding or a Masking makes of the same tensor, and a layer take the
/// mask of its own chain, which is one of `paths`.
pub(super) fn check(nodes: &[Node], paths: &[Vec<usize>]) -> Result<()> {
    let by_name = |name: &str| nodes.iter().find(|node| node.place.name == name);
    for node in nodes.iter().filter(|node| node.config.is_none()) {
        let only = |text: &str| Err(wrong(format!("{text}; only the operations of a mask are read")).at(at(node)));
        let [(input, 0)] = &node.inputs[..] else { return only("expected one tensor") };
        if node.class == "Any" {
            let of_unequal = by_name(input).is_some_and(|from| from.class == "NotEqual");
            let last_axis = node.keys.get("axis").is_some_and(|axis| *axis == -1 || *axis == serde_json::json!([-1]));
            let keeps = node.keys.get("keepdims").is_some_and(|keeps| *keeps == true);
            if !of_unequal || !last_axis || keeps {
                return only("expected any unequal feature");
            }
            continue;
        }
        let [value] = &node.constants[..] else { return only("expected one value") };
        let maker = nodes.iter().find(|other| {
            let value_of = |key: &str| other.config.as_ref().and_then(|config| config.peek(key)).cloned();
            let same = |masked: Option<Value>| masked.and_then(|v| v.as_f64()) == value.as_f64();
            other.inputs.first().is_some_and(|(from, _)| from == input)
                && match other.class.as_str() {
                    "Embedding" => value.as_f64() == Some(0.0) && value_of("mask_zero") == Some(Value::Bool(true)),
                    "Masking" => same(value_of("mask_value")),
                    _ => false,
                }
        });
        if maker.is_none() {
            return only("expected what an Embedding or a Masking of the same tensor makes");
        }
    }
    for node in nodes {
        if let Some(Some((mask, _))) = &node.mask
            && by_name(mask).is_none_or(|mask| mask.config.is_some())
        {
            return Err(wrong(format!("mask: expected the model's own, got {mask}")).at(at(node)));
        }
    }
    check_chains(nodes, paths)
}

/// No layer takes the mask of another chain.
fn check_chains(nodes: &[Node], paths: &[Vec<usize>]) -> Result<()> {
    let operand = |name: &str| {
        let node = nodes.iter().find(|node| node.place.name == name && node.config.is_none())?;
        node.inputs.first().map(|(input, _)| input.as_str())
    };
    for path in paths {
        for node in path.iter().map(|&index| &nodes[index]) {
            let Some(Some((mask, _))) = &node.mask else { continue };
            // What is masked: behind the comparison, and behind the joining of its features.
            let masked = operand(mask).map(|input| operand(input).unwrap_or(input));
            if !path.iter().any(|&index| Some(nodes[index].place.name.as_str()) == masked) {
                let text = format!("mask: expected that of its own input, got that of {}", masked.unwrap_or(mask));
                return Err(wrong(text).at(at(node)));
            }
        }
    }
    Ok(())
}
