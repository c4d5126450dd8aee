//! A graph in parts: recurrent regions, which are models here, and graphs of all other nodes for another runtime.
//!
//! `net` has the graph's nodes, `shapes` what is known of its tensors, and `regions` what can be read. Here the rest is
//! sorted by what must be computed before it. Knows no engine and no other runtime.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::foreign::foreign;
use super::misfit;
use super::net::{Kind, Net, Nodes, Piece, called};
use super::proto;
use super::regions::{Finder, Region};
use super::shapes;
use super::source::Sources;
use super::uses::RECURRENT;
use crate::error::{Error, Result, some_of};
use crate::formats::cut::{Axis, Cut, Element, Entry, Foreign, Own, Part, PartKind};

/// The most elements that a tensor between the nodes of another runtime may have, where the file tells their number.
const MAX_ELEMENTS: i64 = 1 << 31;

/// Cuts the graph of `model` into parts. A graph that is read whole is one part.
///
/// # Errors
///
/// Returns an error if nothing recurrent in the graph can be read, or if the graph is broken.
pub(super) fn cut(model: &proto::Model, sources: &Sources) -> Result<Cut> {
    let graph =
        model.graph.as_ref().ok_or_else(|| misfit("expected a graph, got none; is this an ONNX file?".into()))?;
    let net = Net::new(graph)?;
    let types = shapes::types(graph, &mut sources.clone());
    let regions = Finder::new(&net, (model.ir_version, &model.opset_import), &types, sources).find();
    if regions.is_empty() {
        return Err(misfit("expected an RNN, LSTM or GRU that is read by itself, got none".into()));
    }
    let rounds = regions.iter().any(|region| region.rounds);
    let parts = sorted(&net, regions)?;
    let foreign = |piece: &Piece| -> Result<Foreign> {
        bounded(&net, piece, &types)?;
        Ok(foreign(model, &net, piece, sources.clone()))
    };
    let parts = parts.into_iter().map(|part| {
        let (piece, kind) = match part {
            Sorted::Own(region) => {
                let Region { piece, model, tensors, .. } = *region;
                (piece, PartKind::Own(Box::new(Own { model, tensors })))
            }
            Sorted::Foreign(piece) => {
                let foreign = foreign(&piece)?;
                (piece, PartKind::Foreign(foreign))
            }
        };
        let (nodes, operators) = (piece.nodes.len(), operators(&net, &piece.nodes));
        Ok(Part { nodes, operators, takes: piece.takes, gives: piece.gives, kind })
    });
    let inputs = graph.input.iter().filter(|input| !net.is_initializer(&input.name)).map(entry).collect();
    let outputs = net.outputs.iter().map(|&name| name.to_owned()).collect();
    Ok(Cut { parts: parts.collect::<Result<_>>()?, inputs, outputs, rounds })
}

/// A part, in the order in which they are computed.
enum Sorted {
    Own(Box<Region>),
    Foreign(Piece),
}

/// Sorts regions and all other nodes by what must be computed before them.
fn sorted(net: &Net<'_>, regions: Vec<Region>) -> Result<Vec<Sorted>> {
    let owner: HashMap<usize, usize> = regions
        .iter()
        .enumerate()
        .flat_map(|(index, region)| region.nodes.iter().map(move |&node| (node, index)))
        .collect();
    let levels = levels(net, &owner, &regions)?;
    let mut groups: BTreeMap<usize, Nodes> = BTreeMap::new();
    for node in net.of_kind(Kind::Data).chain(net.of_kind(Kind::Size)).filter(|node| !owner.contains_key(node)) {
        groups.entry(levels.nodes[node]).or_default().insert(node);
    }
    // What the caller wants of weights alone.
    for node in net.outputs.iter().filter_map(|name| net.giver(name)).filter(|&n| net.kind(n) == Some(Kind::Constant)) {
        groups.entry(0).or_default().insert(node);
    }
    let mut wanted: HashSet<String> = net.outputs.iter().map(|&name| name.to_owned()).collect();
    let last = groups.keys().chain(&levels.regions).copied().max().unwrap_or(0);
    let mut regions: Vec<(usize, Region)> = levels.regions.into_iter().zip(regions).collect();
    let mut parts = Vec::new();
    // Backward, so that it is known what later parts take.
    for level in (0..=last).rev() {
        while let Some(at) = regions.iter().rposition(|(own, _)| *own == level) {
            let (_, region) = regions.remove(at);
            wanted.extend(region.piece.takes.iter().cloned());
            parts.push(Sorted::Own(Box::new(region)));
        }
        let Some(group) = groups.get(&level) else { continue };
        let gives: Vec<&str> =
            group.iter().flat_map(|&node| net.gives(node)).filter(|name| wanted.contains(*name)).collect();
        let (mut nodes, mut open) = (Nodes::new(), gives.iter().filter_map(|name| net.giver(name)).collect::<Vec<_>>());
        while let Some(node) = open.pop() {
            if group.contains(&node) && nodes.insert(node) {
                open.extend(net.takes(node).iter().filter_map(|name| net.giver(name)));
            }
        }
        if !nodes.is_empty() {
            let piece = net.piece(&nodes, Some(gives));
            wanted.extend(piece.takes.iter().cloned());
            parts.push(Sorted::Foreign(piece));
        }
    }
    parts.reverse();
    Ok(parts)
}

/// How many regions come before a node, at most.
struct Levels {
    nodes: Vec<usize>,
    regions: Vec<usize>,
}

fn levels(net: &Net<'_>, owner: &HashMap<usize, usize>, regions: &[Region]) -> Result<Levels> {
    let mut levels = Levels { nodes: vec![0; net.graph.node.len()], regions: vec![0; regions.len()] };
    // Nodes are in order, and regions may not be: each pass brings one of them to its place.
    for _ in 0..=regions.len() + 1 {
        let mut changed = false;
        let after = |levels: &Levels, giver: usize| match owner.get(&giver) {
            Some(&region) => levels.regions[region] + 1,
            None => levels.nodes[giver],
        };
        for node in (0..net.graph.node.len()).filter(|node| !owner.contains_key(node)) {
            let before = net.takes(node).iter().filter_map(|name| net.giver(name));
            let level = before.map(|giver| after(&levels, giver)).max().unwrap_or(0);
            changed |= level > levels.nodes[node];
            levels.nodes[node] = level.max(levels.nodes[node]);
        }
        // A region computes some sizes itself, which are no part of what it waits for.
        for (index, region) in regions.iter().enumerate() {
            let before = region.piece.takes.iter().filter_map(|name| net.giver(name));
            let level = before.map(|giver| after(&levels, giver)).max().unwrap_or(0);
            changed |= level > levels.regions[index];
            levels.regions[index] = level.max(levels.regions[index]);
        }
        if !changed {
            return Ok(levels);
        }
    }
    Err(Error::internal("parts of a graph that wait for each other"))
}

/// Returns the operators of those `nodes` that compute with numbers of a call, and how many nodes each has. Recurrent
/// ones come first, and then those of most nodes.
fn operators(net: &Net<'_>, nodes: &Nodes) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for &node in nodes.iter().filter(|&&node| net.is_data(node)) {
        *counts.entry(&net.graph.node[node].op_type).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().map(|(op, n)| (op.to_owned(), n)).collect();
    counts.sort_by_key(|(op, n)| (!RECURRENT.contains(&op.as_str()), std::cmp::Reverse(*n)));
    counts
}

/// Checks that no tensor in `piece` is known to be longer than any memory: the other runtime does not.
fn bounded(net: &Net<'_>, piece: &Piece, types: &HashMap<String, proto::TensorType>) -> Result<()> {
    for &node in &piece.nodes {
        for shape in net.gives(node).filter_map(|name| types.get(name)?.shape.as_ref()) {
            let lengths: Vec<i64> = shape.dim.iter().map(|dim| dim.value.unwrap_or(1).max(1)).collect();
            let elements = lengths.iter().try_fold(1_i64, |n, &d| n.checked_mul(d));
            if elements.is_none_or(|n| n > MAX_ELEMENTS) {
                let text = format!("expected at most {MAX_ELEMENTS} elements, got {lengths:?}");
                return Err(misfit(text).at(called(&net.graph.node[node])));
            }
        }
    }
    Ok(())
}

/// Returns what a caller must know of an input.
fn entry(input: &proto::ValueInfo) -> Entry {
    let tensor = input.of.as_ref().and_then(|of| of.tensor.as_ref());
    let element = match tensor.map_or(0, |tensor| tensor.elem_type) {
        0 => None,
        of if super::constant::is_real(of) => Some(Element::Real),
        _ => Some(Element::Whole),
    };
    let axis = |dim: &proto::Dimension| match (&dim.value, &dim.param) {
        (Some(n), _) if *n > 0 => Axis::Length(usize::try_from(*n).unwrap_or(usize::MAX)),
        (_, Some(name)) if !name.is_empty() => Axis::Named(name.clone()),
        _ => Axis::Any,
    };
    let axes = tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.iter().map(axis).collect());
    Entry { name: input.name.clone(), element, axes }
}

/// Returns the end of an error of the reader, if the graph can be run in parts.
pub(super) fn lead(model: &proto::Model, sources: &Sources) -> Option<String> {
    let cut = cut(model, sources).ok()?;
    let operators = cut.parts.iter().filter(|part| part.is_foreign()).flat_map(|part| &part.operators);
    let mut seen = HashSet::new();
    let names = operators.map(|(op, _)| op.as_str()).filter(|op| seen.insert(*op));
    let own: Vec<String> = cut.parts.iter().filter(|part| !part.is_foreign()).map(Part::ends).collect();
    Some(format!(
        "its recurrent part ({}) is read by itself, and what stands around it ({}) runs by another runtime: gatewave run, or \
         gatewave::parts::Parts in Rust, with the feature `foreign`",
        own.join(", "),
        some_of(names, 4)
    ))
}
