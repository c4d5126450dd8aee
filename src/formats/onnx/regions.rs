//! The recurrent regions of a graph: sets of nodes that the reader takes as a model of their own.
//!
//! A region begins as one recurrent node, and grows by nodes beside it as long as it can be read. It is convex: what
//! it takes never depends on what it gives. Knows the reader as a whole; knows no operator's meaning.

use std::collections::{HashMap, HashSet};

use super::graph::{Graph, NEWEST};
use super::net::{Net, Nodes, Piece};
use super::operators;
use super::ports;
use super::proto;
use super::source::Sources;
use super::uses::RECURRENT;
use crate::error::Result;
use crate::model::Model;
use crate::weights::Tensors;

/// The most nodes that are evaluated to find regions, again and again.
const WORK: usize = 4_000_000;
/// Some layers are several nodes, which cannot be read one without the others.
const AHEAD: usize = 8;

/// A region, and what it is read as.
pub(super) struct Region {
    /// Its nodes, without those that other parts may have as well.
    pub(super) nodes: Nodes,
    pub(super) piece: Piece,
    pub(super) model: Model,
    pub(super) tensors: Tensors,
    pub(super) rounds: bool,
}

/// Finds the regions of a graph.
pub(super) struct Finder<'a, 'g> {
    net: &'a Net<'g>,
    ir_version: i64,
    opset_import: &'a [proto::OperatorSet],
    types: &'a HashMap<String, proto::TensorType>,
    sources: &'a Sources,
    found: Vec<Region>,
    /// The region of each node that has one.
    owner: HashMap<usize, usize>,
    work: usize,
}

impl<'a, 'g> Finder<'a, 'g> {
    pub(super) fn new(
        net: &'a Net<'g>,
        (ir_version, opset_import): (i64, &'a [proto::OperatorSet]),
        types: &'a HashMap<String, proto::TensorType>,
        sources: &'a Sources,
    ) -> Self {
        Self { net, ir_version, opset_import, types, sources, found: Vec::new(), owner: HashMap::new(), work: WORK }
    }

    /// Returns all regions. A recurrent node that cannot be read is in none.
    pub(super) fn find(mut self) -> Vec<Region> {
        for node in 0..self.net.graph.node.len() {
            if self.net.is_data(node) && !self.owner.contains_key(&node) && is_recurrent(&self.net.graph.node[node]) {
                let Some(region) = self.grown(node) else { continue };
                self.owner.extend(region.nodes.iter().map(|&node| (node, self.found.len())));
                self.found.push(region);
            }
        }
        self.found
    }

    /// Returns the largest region around `seed` that is found.
    fn grown(&mut self, seed: usize) -> Option<Region> {
        let mut best = self.read(Nodes::from([seed]))?;
        // All that follows or comes before, at once.
        for forward in [true, false] {
            let mut all = best.nodes.clone();
            all.extend(self.reached(&best.nodes, forward).into_iter().filter(|&node| self.net.is_data(node)));
            best = self.read(all).unwrap_or(best);
        }
        let (mut refused, mut has_grown) = (HashSet::new(), false);
        loop {
            let next = self.beside(&best).into_iter().find(|beside| !refused.contains(beside));
            match next {
                Some((node, forward)) => match self.with(&best.nodes, node, forward) {
                    Some(larger) => (best, has_grown) = (larger, true),
                    None => drop(refused.insert((node, forward))),
                },
                // A node may fit now that did not before.
                None if has_grown => {
                    refused.clear();
                    has_grown = false;
                }
                None => return Some(best),
            }
        }
    }

    /// Returns the nodes that take what `region` gives (`true`) or give what it takes.
    fn beside(&self, region: &Region) -> Vec<(usize, bool)> {
        let outside =
            |node: &usize| !region.nodes.contains(node) && self.net.is_data(*node) && !self.owner.contains_key(node);
        let users = region.piece.gives.iter().flat_map(|name| self.net.users(name)).copied().filter(outside);
        let givers = region.piece.takes.iter().filter_map(|name| self.net.giver(name)).filter(outside);
        users.map(|node| (node, true)).chain(givers.map(|node| (node, false))).collect()
    }

    /// Returns a region of `nodes` and `node`, with a few more nodes if it needs them.
    fn with(&mut self, nodes: &Nodes, node: usize, forward: bool) -> Option<Region> {
        let (mut all, mut last) = (nodes.clone(), vec![node]);
        for _ in 0..AHEAD {
            all.extend(&last);
            if let Some(region) = self.read(all.clone()) {
                return Some(region);
            }
            let next: Vec<usize> = match forward {
                true => last
                    .iter()
                    .flat_map(|&n| self.net.gives(n))
                    .flat_map(|name| self.net.users(name))
                    .copied()
                    .collect(),
                false => last.iter().flat_map(|&n| self.net.takes(n)).filter_map(|name| self.net.giver(name)).collect(),
            };
            last = next.into_iter().filter(|n| self.net.is_data(*n) && !all.contains(n)).collect();
            last.sort_unstable();
            last.dedup();
            if last.is_empty() {
                return None;
            }
        }
        None
    }

    /// Returns the nodes that are computed from `nodes`, or that `nodes` are computed from. A region counts as one node.
    fn reached(&self, nodes: &Nodes, forward: bool) -> HashSet<usize> {
        let (mut reached, mut open) = (HashSet::new(), nodes.iter().copied().collect::<Vec<_>>());
        while let Some(node) = open.pop() {
            let mut visit = |node: usize| {
                if self.net.kind(node).is_some() && reached.insert(node) {
                    open.push(node);
                }
            };
            match forward {
                true => self.net.gives(node).flat_map(|name| self.net.users(name)).for_each(|&user| visit(user)),
                false => self.net.takes(node).iter().filter_map(|name| self.net.giver(name)).for_each(&mut visit),
            }
            if let Some(&owner) = self.owner.get(&node) {
                self.found[owner].nodes.iter().for_each(|&node| visit(node));
            }
        }
        reached
    }

    /// Reads `nodes`, and all between them, as a model.
    fn read(&mut self, mut nodes: Nodes) -> Option<Region> {
        let (after, before) = (self.reached(&nodes, true), self.reached(&nodes, false));
        self.work = self.work.checked_sub(after.len() + before.len() + nodes.len())?;
        nodes.extend(after.intersection(&before).copied().filter(|&node| self.net.is_data(node)));
        if nodes.iter().any(|node| self.owner.contains_key(node)) {
            return None;
        }
        let piece = self.net.piece(&nodes, None);
        self.work = self.work.checked_sub(piece.nodes.len() + piece.initializers.len())?;
        // Sizes that are computed outside may depend on what the region gives.
        if piece.takes.iter().filter_map(|name| self.net.giver(name)).any(|giver| after.contains(&giver)) {
            return None;
        }
        let (model, tensors, rounds) = self.model(&piece).ok()?;
        // An engine has its weights before a call.
        (!model.all_ports().takes_weights()).then_some(Region { nodes, piece, model, tensors, rounds })
    }

    fn model(&self, piece: &Piece) -> Result<(Model, Tensors, bool)> {
        let mut opset_import = self.opset_import.to_vec();
        // That a version is newer than what is known here has been told.
        opset_import.iter_mut().for_each(|set| set.version = set.version.min(NEWEST));
        let message = proto::Model {
            ir_version: self.ir_version,
            graph: Some(self.net.graph_of(piece, self.types)),
            opset_import,
        };
        let (graph, outputs) = Graph::evaluate(message, self.sources.clone(), operators::operator)?;
        let rounds = graph.rounds;
        let (model, tensors) = ports::finish(graph, &outputs)?;
        crate::weights::named::check(&model, &tensors)?;
        Ok((model, tensors, rounds))
    }
}

/// Whether `node` goes through time, or chooses a graph that does.
fn is_recurrent(node: &proto::Node) -> bool {
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        if RECURRENT.contains(&node.op_type.as_str()) {
            return true;
        }
        open.extend(node.attribute.iter().filter_map(|a| a.g.as_deref()).flat_map(|graph| &graph.node));
    }
    false
}
