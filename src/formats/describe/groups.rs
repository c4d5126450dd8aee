//! The prefixes of a file's tensors, and the possible layers under each.
//!
//! Knows names and shapes of one prefix; knows no order.

use std::collections::{BTreeMap, HashMap};

use crate::error::Result;
use crate::formats::description::layer_of;
use crate::model::{Flow, LayerKind};
use crate::weights::Tensors;
use crate::weights::dialect::{BIAS, WEIGHT};

/// The largest number of prefixes that are looked at: far more than a model has layers.
const MOST: usize = 256;

/// Parts of common names of embeddings. PyTorch's own language model has an `encoder` and a `decoder`.
const OF_TABLES: [&str; 2] = ["emb", "encoder"];

/// A prefix, and its possible layers: one, or for a single matrix an embedding and a linear layer.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) prefix: String,
    pub(super) readings: Vec<LayerKind>,
}

impl Part {
    /// Returns why no chain has the layer.
    pub(super) fn unfit(&self) -> String {
        match self.readings.last().and_then(taken) {
            Some(features) => {
                format!("takes {features} features, and in a chain no layer that gives as many is left before it")
            }
            None => "an embedding, and another one is the first layer".into(),
        }
    }
}

/// Returns the number of features that a layer takes; `None` for tokens.
pub(super) fn taken(kind: &LayerKind) -> Option<usize> {
    match kind.takes() {
        Some(Flow::Steps(features) | Flow::Rows(features)) => Some(features.len()),
        _ => None,
    }
}

/// Returns the number of features that a layer gives.
pub(super) fn given(kind: &LayerKind) -> usize {
    let flow = kind.takes().and_then(|taken| kind.flow(&[taken]).ok());
    flow.map_or(0, |flow| flow.features().len())
}

/// Splits a name into its prefix, with its last dot, and the rest.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_at(name.rfind('.').map_or(0, |dot| dot + 1))
}

/// Returns the prefixes of possible layers, in natural order, and the reason why each other one is none.
pub(super) fn parts(tensors: &Tensors) -> (Vec<Part>, HashMap<String, String>) {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in tensors.names() {
        let (prefix, local) = split(name);
        groups.entry(prefix).or_default().push(local);
    }
    // PyTorch's containers number their layers, and 10 comes after 9.
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_cached_key(|(prefix, _)| natural(prefix));
    let (mut parts, mut reasons) = (Vec::new(), HashMap::new());
    for (prefix, locals) in groups {
        let read = if parts.len() < MOST {
            readings(prefix, &locals, tensors)
        } else {
            Err(format!("only {MOST} layers are looked at"))
        };
        match read {
            Ok(readings) => parts.push(Part { prefix: prefix.to_owned(), readings }),
            Err(why) => {
                reasons.insert(prefix.to_owned(), why);
            }
        }
    }
    // Of two single matrices, the one with the name of an embedding goes first.
    let is_table = |part: &Part| part.readings.len() > 1 && OF_TABLES.iter().any(|word| part.prefix.contains(word));
    parts.sort_by_key(|part| !is_table(part));
    (parts, reasons)
}

/// Returns the possible layers of the tensors under `prefix`, or why there are none.
fn readings(prefix: &str, locals: &[&str], tensors: &Tensors) -> std::result::Result<Vec<LayerKind>, String> {
    let has = |local: &str| locals.contains(&local);
    let shape = |local: &str| tensors.shape(&format!("{prefix}{local}"));
    let layer = |kind: &str, direction| {
        let read: Result<LayerKind> = layer_of(kind, prefix, direction, tensors);
        read.map_err(|e| e.to_string())
    };
    let is_needed = |local: &&&str| local.starts_with(WEIGHT) || local.starts_with(BIAS);
    let is_unread = |local: &&&str| tensors.get(&format!("{prefix}{local}")).is_none();
    if let Some(unread) = locals.iter().filter(is_needed).find(is_unread) {
        return Err(format!("{unread} is of a type that is not read"));
    }
    if locals.iter().any(|local| local.starts_with("weight_ih")) {
        let is_reverse = !has("weight_ih_l0") && has("weight_ih_l0_reverse");
        let way = if is_reverse { "_reverse" } else { "" };
        let of = |stem: &str| shape(&format!("{stem}_l0{way}")).or_else(|| shape(stem));
        // The rows of all gates, divided by the units. With a projection,
        // the units are the columns of weight_hr, else those of weight_hh.
        let gates = match (of("weight_hh"), of("weight_hr")) {
            (Some(&[_, 0]), _) | (_, Some(&[_, 0])) => 0,
            (Some(&[rows, _]), Some(&[_, units])) | (Some(&[rows, units]), None) if rows % units == 0 => rows / units,
            (None, _) => return Err("a recurrent layer without weight_hh".into()),
            _ => 0,
        };
        let kind = match gates {
            1 => "rnn",
            3 => "gru",
            4 => "lstm",
            _ => {
                let text = "expected 1, 3 or 4 gates (rnn, gru, lstm) in weight_hh, by rows over columns";
                return Err(format!("{text}, got {:?}", of("weight_hh").unwrap_or_default()));
            }
        };
        return layer(kind, is_reverse.then_some("reverse")).map(|kind| vec![kind]);
    }
    match (shape(WEIGHT), shape(BIAS)) {
        (Some(&[rows, _]), Some(&[bias])) if rows == bias => layer("linear", None).map(|kind| vec![kind]),
        (Some(&[_, _]), None) => Ok(vec![layer("embedding", None)?, layer("linear", None)?]),
        (Some(weight @ (&[_] | &[_, _, _])), bias) => {
            let name = guess(has("running_mean"), weight.len(), bias.is_some());
            match LayerKind::NAMES.contains(&name) {
                true => layer(name, None).map(|kind| vec![kind]),
                false => Err(format!("by its tensors a {name}, which no layer here computes")),
            }
        }
        _ if has("kernel") || has("embeddings") => {
            Err("Keras' name: save the whole model (model.save(\"model.keras\")), which needs no description".into())
        }
        _ => Err("no layer that is known has a tensor of that name".into()),
    }
}

/// Returns the name in descriptions of a layer whose `weight` has this many axes and is no matrix.
fn guess(has_statistics: bool, axes: usize, has_bias: bool) -> &'static str {
    match (axes, has_statistics, has_bias) {
        (3, ..) => "conv1d",
        (_, true, _) => "batch_norm",
        (_, false, true) => "layer_norm",
        (_, false, false) => "rms_norm",
    }
}

/// Returns the sort key of a name in natural order: texts as texts, numbers as numbers.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut key = vec![(String::new(), 0_u64)];
    let mut in_number = false;
    for letter in name.chars() {
        match letter.to_digit(10) {
            Some(digit) => {
                in_number = true;
                if let Some((_, number)) = key.last_mut() {
                    *number = number.saturating_mul(10).saturating_add(u64::from(digit));
                }
            }
            None => {
                if in_number {
                    key.push((String::new(), 0));
                }
                in_number = false;
                if let Some((text, _)) = key.last_mut() {
                    text.push(letter);
                }
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_as_numbers() {
        let mut names = ["b.", "layers.10.", "layers.9.", "a2.b", "a2.", "a10."];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["a2.", "a2.b", "a10.", "b.", "layers.9.", "layers.10."]);
    }
}
