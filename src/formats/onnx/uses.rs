//! How the nodes of a graph use its inputs, before any node is evaluated.
//!
//! Knows only names; knows no meaning of a value.

use std::collections::{HashMap, HashSet};

use super::proto;

/// Operators whose result is elements of their first input, with other axes or only some of them.
const MOVES: [&str; 12] = [
    "Cast",
    "Expand",
    "Flatten",
    "Gather",
    "GatherND",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];
/// Operators that look only at the axes of a value.
const MEASURES: [&str; 2] = ["Shape", "Size"];
pub(super) const RECURRENT: [&str; 4] = ["DynamicQuantizeLSTM", "GRU", "LSTM", "RNN"];
/// The inputs of a recurrent operator that are initial states.
const STATES: std::ops::Range<usize> = 5..7;

/// Returns the inputs of a graph of `nodes` that both begin recurrent nodes and flow
/// into others. The value is whether an input is also the sequence of a recurrent node.
pub(super) fn states_and_features(nodes: &[&proto::Node], inputs: &[String]) -> HashMap<String, bool> {
    let mut origins: HashMap<&str, &str> = inputs.iter().map(|name| (name.as_str(), name.as_str())).collect();
    let (mut states, mut features, mut sequences) = (HashSet::new(), HashSet::new(), HashSet::new());
    for node in nodes {
        let op = node.op_type.as_str();
        for (place, name) in node.input.iter().enumerate() {
            let Some(&origin) = origins.get(name.as_str()) else { continue };
            if MOVES.contains(&op) && place == 0 {
                origins.extend(node.output.iter().map(|output| (output.as_str(), origin)));
            } else if RECURRENT.contains(&op) && STATES.contains(&place) {
                states.insert(origin);
            } else if !MEASURES.contains(&op) {
                features.insert(origin);
                if RECURRENT.contains(&op) && place == 0 {
                    sequences.insert(origin);
                }
            }
        }
    }
    states.intersection(&features).map(|name| ((*name).to_owned(), sequences.contains(name))).collect()
}
