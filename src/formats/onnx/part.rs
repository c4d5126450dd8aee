//! A part of a graph: from some of its tensors to others, by their names.
//!
//! Knows names; knows no operator.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::constant::{MAX_RANK, is_real};
use super::graph::names;
use super::misfit;
use super::proto;
use super::shapes;
use super::source::Sources;
use crate::error::{Error, Result, some_of};

/// ONNX's numbers of types.
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// Leaves of `graph` what computes the tensors `to` from the tensors `from`. Without `to`, these are the outputs of the
/// graph. Inputs of the graph that are still needed stay inputs.
///
/// # Errors
///
/// Returns an error if there is no such tensor, or if one of `to` is not computed from those of `from`.
pub(super) fn between(graph: &mut proto::Graph, from: &[String], to: &[String], sources: &mut Sources) -> Result<()> {
    if from.is_empty() && to.is_empty() {
        return Ok(());
    }
    let mut giver: HashMap<&str, usize> = HashMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        giver.extend(node.output.iter().filter(|name| !name.is_empty()).map(|name| (name.as_str(), i)));
    }
    let inputs: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    let weights: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for name in from.iter().chain(to).map(String::as_str) {
        if weights.contains(name) {
            return Err(misfit(format!("{name:?} is a weight of the file: expected a tensor that is computed")));
        }
        if from.iter().any(|other| other == name) && to.iter().any(|other| other == name) {
            return Err(misfit(format!("{name:?}: expected another tensor as the end than as the begin")));
        }
        if !giver.contains_key(name) && !inputs.contains(name) {
            return Err(unknown(name, giver.keys().chain(&inputs).copied()));
        }
    }
    let ends: Vec<String> = match to {
        [] => graph.output.iter().map(|output| output.name.clone()).collect(),
        _ => distinct(to),
    };
    let begins: HashSet<&str> = from.iter().map(String::as_str).collect();
    let (mut kept, mut met, mut taken) = (HashSet::new(), HashSet::new(), HashSet::new());
    for end in &ends {
        let (mut open, mut seen, mut begun) = (vec![end.as_str()], HashSet::new(), begins.is_empty());
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            if begins.contains(name) {
                met.insert(name);
                begun = true;
            } else if let Some(&node) = giver.get(name) {
                kept.insert(node);
                open.extend(names(&graph.node[node]));
            } else if inputs.contains(name) {
                taken.insert(name);
            }
        }
        if !begun {
            let text = format!("{end:?} is not computed from {}", quoted(from));
            return Err(misfit(text + "; name a tensor before it with --from, or one behind with --to"));
        }
    }
    if let Some(unmet) = from.iter().find(|name| !met.contains(name.as_str())) {
        return Err(misfit(format!("{} is not computed from {unmet:?}", quoted(&ends))));
    }
    let types = if from.is_empty() { HashMap::new() } else { shapes::types(graph, sources) };
    let begun = |name: String| {
        let tensor = types.get(&name).cloned();
        proto::ValueInfo { name, of: tensor.map(|tensor| proto::Type { tensor: Some(tensor) }) }
    };
    let mut entries: Vec<proto::ValueInfo> = distinct(from).into_iter().map(begun).collect();
    let stays =
        |input: &&proto::ValueInfo| taken.contains(input.name.as_str()) && !begins.contains(input.name.as_str());
    entries.extend(graph.input.iter().filter(stays).cloned());
    let output = |name: String| match graph.output.iter().find(|output| output.name == name) {
        Some(output) => output.clone(),
        None => proto::ValueInfo { name, of: None },
    };
    let outputs = ends.into_iter().map(output).collect();
    let node = |(_, node): (usize, &proto::Node)| {
        let mut node = node.clone();
        // A node may be needed for another of its outputs.
        node.output.iter_mut().filter(|name| begins.contains(name.as_str())).for_each(String::clear);
        node
    };
    let nodes = graph.node.iter().enumerate().filter(|(i, _)| kept.contains(i)).map(node).collect();
    (graph.node, graph.input, graph.output) = (nodes, entries, outputs);
    Ok(())
}

/// Makes weights of the inputs of `graph` that are `set`. Each takes one number.
///
/// # Errors
///
/// Returns an error if there is no such input, or it takes another number.
pub(super) fn settle(graph: &mut proto::Graph, set: &BTreeMap<String, f64>) -> Result<()> {
    let names: Vec<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    if let Some(unknown) = set.keys().find(|name| !names.contains(&name.as_str())) {
        return Err(misfit(format!("a number for the input {unknown:?}: expected one of {names:?}")));
    }
    for (name, &number) in set {
        let at = |text: String| Err(misfit(format!("a number for the input {name:?}: expected {text}")));
        let of = graph.input.iter().find(|input| input.name == *name).and_then(|input| input.of.as_ref());
        let tensor = of.and_then(|of| of.tensor.clone()).unwrap_or_default();
        let dims = tensor.shape.map_or(Vec::new(), |shape| shape.dim);
        if dims.len() > MAX_RANK || dims.iter().any(|dim| dim.value.is_some_and(|n| n > 1)) {
            return at("an input of one number, got a longer one".into());
        }
        let mut weight = proto::Tensor { name: name.clone(), dims: vec![1; dims.len()], ..proto::Tensor::default() };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "checked to be whole and small, or rounded as all reals are"
        )]
        if is_real(tensor.elem_type) {
            (weight.data_type, weight.float_data) = (FLOAT, vec![number as f32]);
        } else if number.fract() == 0.0 && number.abs() < 1e15 {
            (weight.data_type, weight.int64_data) = (INT64, vec![number as i64]);
        } else {
            return at(format!("a whole one, got {number}"));
        }
        graph.initializer.push(weight);
    }
    graph.input.retain(|input| !set.contains_key(&input.name));
    Ok(())
}

/// Returns each of `names` once, in their order.
fn distinct(names: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// The error of a tensor that the graph does not have, with the names that are most like its own.
fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    const SHOWN: usize = 3;
    /// Longer names are compared no further.
    const LONGEST: usize = 256;
    let mut near: Vec<(usize, &str)> =
        known.filter(|other| other.len() <= LONGEST).map(|other| (distance(name, other), other)).collect();
    near.sort_unstable();
    near.truncate(SHOWN);
    let near = near.into_iter().map(|(_, other)| format!("{other:?}"));
    misfit(format!("the graph has no tensor {name:?}; nearest: {}", some_of(near, SHOWN)))
}

/// Returns how many characters of `a` must be changed, added or left out to have `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(256).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_as_far_from_another_as_one_must_type() {
        assert_eq!([distance("output", "outputs"), distance("", "ab"), distance("Y", "Y")], [1, 2, 0]);
    }
}
