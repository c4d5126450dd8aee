//! Prefixes that wrappers put before the names of tensors: `module.` of `DataParallel`, `_orig_mod.` of
//! `torch.compile`, the attribute of a Lightning module that holds the network.
//!
//! A description has the names of the network alone. If the file has them behind one prefix, it is taken off. Knows
//! names; reads no element.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::description;
use crate::weights::Tensors;

/// The segments of names that only wrappers have.
const WRAPPERS: [&str; 5] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"];

/// The segments that often hold the network, if several prefixes would do. The first of them counts.
const USUAL: [&str; 5] = ["model", "net", "network", "generator", "student"];

/// How many segments of a name are looked at.
const MOST_SEGMENTS: usize = 16;

/// Takes wrappers' prefixes off the names of `tensors` where the description `json` names tensors without them.
///
/// Nothing changes if the description's names are there. A text that is no description changes nothing either: its
/// reader says what is wrong.
pub(super) fn unwrap(json: &str, tensors: &mut Tensors) {
    let Ok(text) = serde_json::from_str::<Value>(json) else { return };
    let layers = description::layers_of(&text).flatten();
    let named = |layer: &Value| {
        let weights = layer.get("weights")?;
        weights.as_str().or_else(|| weights.get("prefix")?.as_str()).map(str::to_owned)
    };
    let mut wanted: BTreeSet<String> = layers.filter_map(named).filter(|prefix| !prefix.is_empty()).collect();
    if wanted.is_empty() {
        bare(tensors);
        return;
    }
    wanted.retain(|prefix| !has(tensors, prefix));
    if wanted.is_empty() {
        return;
    }
    if let Some(prefix) = common(&wanted, tensors) {
        tensors.rename_all(|name| name.strip_prefix(&prefix).map(str::to_owned));
        wanted.retain(|prefix| !has(tensors, prefix));
    }
    // A wrapper around a part of the network stands within a name.
    let unwrapped = |name: &str| {
        let segments: Vec<_> = name.split('.').filter(|segment| !WRAPPERS.contains(segment)).collect();
        let unwrapped = segments.join(".");
        let is_wanted = heads(&unwrapped).any(|head| wanted.contains(head));
        (unwrapped != name && is_wanted).then_some(unwrapped)
    };
    if !wanted.is_empty() {
        tensors.rename_all(unwrapped);
    }
}

/// Takes the wrappers off names of a model without prefixes, if all names have them.
fn bare(tensors: &mut Tensors) {
    let wrappers = |name: &str| {
        let segments = name.split('.').take_while(|segment| WRAPPERS.contains(segment));
        segments.map(|segment| segment.len() + 1).sum::<usize>()
    };
    let length = tensors.names().map(wrappers).min().unwrap_or_default();
    let Some(prefix) = tensors.names().next().and_then(|name| name.get(..length)).map(str::to_owned) else { return };
    if length > 0 && tensors.names().all(|name| name.starts_with(&prefix)) {
        tensors.rename_all(|name| name.strip_prefix(&prefix).map(str::to_owned));
    }
}

/// Returns what a name begins with, up to each of its first dots.
fn heads(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').take(MOST_SEGMENTS).map(|(at, _)| &name[..=at])
}

/// Whether a tensor of a layer is there: its name has no dot behind the prefix.
fn has(tensors: &Tensors, prefix: &str) -> bool {
    tensors.names_that_begin(prefix).any(|name| !name[prefix.len()..].contains('.'))
}

/// Returns the prefix behind which most of `wanted` are found, if there is one such prefix.
fn common(wanted: &BTreeSet<String>, tensors: &Tensors) -> Option<String> {
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for name in tensors.names() {
        for before in heads(name) {
            let prefixes = heads(&name[before.len()..]).filter_map(|head| wanted.get(head));
            for prefix in prefixes {
                found.entry(before).or_default().insert(prefix);
            }
        }
    }
    let most = found.values().map(BTreeSet::len).max()?;
    let mut best: Vec<&str> =
        found.into_iter().filter(|(_, all)| all.len() == most).map(|(prefix, _)| prefix).collect();
    if let [one] = best[..] {
        return Some(one.to_owned());
    }
    // Of several, one of wrappers alone, and then one that is usual.
    let segments = |prefix: &str| prefix.trim_end_matches('.').split('.').map(str::to_owned).collect::<Vec<_>>();
    let rank = |prefix: &&str| {
        let segments = segments(prefix).into_iter().filter(|segment| !WRAPPERS.contains(&segment.as_str()));
        segments.map(|segment| USUAL.iter().position(|usual| *usual == segment).map_or(100, |at| at + 1)).sum::<usize>()
    };
    best.sort_by_key(rank);
    match best[..] {
        [first, second, ..] if rank(&first) < rank(&second) && rank(&first) < 100 => Some(first.to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Tensor;

    /// The names that are left of `names` for a description whose layers have these prefixes.
    fn left(prefixes: &[&str], names: &[&str]) -> Vec<String> {
        let layers: Vec<_> =
            prefixes.iter().map(|prefix| serde_json::json!({"type": "x", "weights": prefix})).collect();
        let json = serde_json::json!({"layers": layers}).to_string();
        let mut tensors: Tensors = names.iter().map(|&name| (name, Tensor::new([], vec![0.0]))).collect();
        unwrap(&json, &mut tensors);
        tensors.names().map(str::to_owned).collect()
    }

    #[test]
    fn a_prefix_of_all_names_that_the_description_leaves_out_is_taken_off() {
        for wrapper in ["module.", "_orig_mod.", "model.", "module._orig_mod.net.", "any.thing."] {
            let names = ["fc.weight", "rnn.weight_ih_l0"].map(|name| format!("{wrapper}{name}"));
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            assert_eq!(left(&["rnn.", "fc."], &names), ["fc.weight", "rnn.weight_ih_l0"], "{wrapper}");
            // A layer without tensors is not found behind any prefix.
            assert_eq!(left(&["rnn.", "relu.", "fc."], &names), ["fc.weight", "rnn.weight_ih_l0"], "{wrapper}");
            assert_eq!(left(&[&format!("{wrapper}rnn."), &format!("{wrapper}fc.")], &names), names);
        }
    }

    #[test]
    fn names_that_are_there_stay() {
        let names = ["fc.weight", "other.fc.weight", "other.rnn.weight_ih_l0", "rnn.weight_ih_l0"];
        assert_eq!(left(&["rnn.", "fc."], &names), names);
    }

    #[test]
    fn of_two_prefixes_that_of_the_network_counts_and_else_none() {
        let names = ["ema.fc.weight", "model.fc.weight"];
        assert_eq!(left(&["fc."], &names), ["ema.fc.weight", "fc.weight"]);
        let names = ["ema.fc.weight", "other.fc.weight"];
        assert_eq!(left(&["fc."], &names), names);
        let names = ["a.fc.weight", "b.fc.weight", "b.rnn.weight_ih_l0"];
        assert_eq!(left(&["rnn.", "fc."], &names), ["a.fc.weight", "fc.weight", "rnn.weight_ih_l0"]);
    }

    #[test]
    fn wrappers_within_names_are_taken_off() {
        let names = ["head.weight", "rnn._orig_mod.weight_ih_l0", "net.module.fc.weight"];
        assert_eq!(left(&["rnn.", "head.", "net.fc."], &names), ["head.weight", "net.fc.weight", "rnn.weight_ih_l0"]);
        assert_eq!(left(&[""], &["module.weight_hh_l0", "module.weight_ih_l0"]), ["weight_hh_l0", "weight_ih_l0"]);
        assert_eq!(left(&[""], &["module.weight_hh_l0", "weight_ih_l0"]), ["module.weight_hh_l0", "weight_ih_l0"]);
    }
}
