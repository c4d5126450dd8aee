//! A graph as a net: which node gives a tensor, which nodes take it, and what may stand in several parts at once.
//!
//! Knows names and operators; knows no meaning of a value.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::graph::{ELSEWHERE, MAX_NODES, names};
use super::misfit;
use super::proto;
use crate::error::Result;

/// What a node depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// On weights alone. Each part that takes its result has it.
    Constant,
    /// On weights and on sizes of a call.
    Size,
    /// On the numbers of a call.
    Data,
}

/// Operators that take nothing and still give other numbers each time.
const DRAWS: [&str; 6] =
    ["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"];
/// Operators that look only at the axes of a value.
const MEASURES: [&str; 2] = ["Shape", "Size"];

/// The most nodes that compute a size which a part computes itself. Exporters take a dozen.
const MAX_SIZES: usize = 256;

/// A set of nodes, in the graph's order.
pub(super) type Nodes = BTreeSet<usize>;

pub(super) struct Net<'g> {
    pub(super) graph: &'g proto::Graph,
    pub(super) outputs: Vec<&'g str>,
    wanted: HashSet<&'g str>,
    giver: HashMap<&'g str, usize>,
    takes: Vec<Vec<&'g str>>,
    users: HashMap<&'g str, Vec<usize>>,
    /// `None` for a node that no output needs.
    kinds: Vec<Option<Kind>>,
    initializers: HashMap<&'g str, usize>,
}

/// Some nodes as a graph of their own.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) nodes: Nodes,
    /// Indices of initializers.
    pub(super) initializers: BTreeSet<usize>,
    pub(super) takes: Vec<String>,
    pub(super) gives: Vec<String>,
}

impl<'g> Net<'g> {
    /// Finds out which nodes the outputs need, and how they hang together.
    ///
    /// # Errors
    ///
    /// Returns an error if the nodes are not in an order in which they can be computed: in a circle, there is none.
    pub(super) fn new(graph: &'g proto::Graph) -> Result<Self> {
        if graph.node.len() > MAX_NODES {
            return Err(misfit(format!("a graph of {} nodes; {ELSEWHERE}", graph.node.len())));
        }
        let initializers: HashMap<&str, usize> =
            graph.initializer.iter().enumerate().map(|(i, tensor)| (tensor.name.as_str(), i)).collect();
        let mut known: HashSet<&str> = initializers.keys().copied().collect();
        known.extend(graph.input.iter().map(|input| input.name.as_str()));
        let mut giver: HashMap<&str, usize> = HashMap::new();
        let mut takes: Vec<Vec<&str>> = Vec::with_capacity(graph.node.len());
        for (i, node) in graph.node.iter().enumerate() {
            let direct = |name: &&str| node.input.iter().any(|input| input == name);
            let mut own: Vec<&str> = names(node);
            // An inner graph has names of its own besides those from outside.
            own.retain(|name| !name.is_empty() && (direct(name) || known.contains(name)));
            if let Some(name) = own.iter().find(|name| !known.contains(*name)) {
                let text = format!("{name:?} is neither an input nor computed before");
                return Err(misfit(text).at(called(node)));
            }
            let mut seen = HashSet::new();
            own.retain(|name| seen.insert(*name));
            takes.push(own);
            for name in node.output.iter().filter(|name| !name.is_empty()) {
                if !known.insert(name) || giver.insert(name, i).is_some() {
                    return Err(misfit(format!("{name:?} is given twice")).at(called(node)));
                }
            }
        }
        let outputs: Vec<&str> = graph.output.iter().map(|output| output.name.as_str()).collect();
        if let Some(unknown) = outputs.iter().find(|name| !known.contains(*name)) {
            return Err(misfit(format!("the output {unknown:?} is neither an input nor computed")));
        }
        let mut this = Self {
            graph,
            wanted: outputs.iter().copied().collect(),
            outputs,
            giver,
            takes,
            users: HashMap::new(),
            kinds: vec![None; graph.node.len()],
            initializers,
        };
        this.classify();
        Ok(this)
    }

    /// Finds the kind of each node that an output needs, and the nodes that take each tensor.
    fn classify(&mut self) {
        let mut needed = HashSet::new();
        let mut open: Vec<usize> = self.outputs.iter().filter_map(|name| self.giver.get(name)).copied().collect();
        while let Some(node) = open.pop() {
            if needed.insert(node) {
                open.extend(self.takes[node].iter().filter_map(|name| self.giver.get(name)));
            }
        }
        for node in 0..self.takes.len() {
            if !needed.contains(&node) {
                continue;
            }
            let op = self.graph.node[node].op_type.as_str();
            let mut kind = if DRAWS.contains(&op) { Kind::Data } else { Kind::Constant };
            for name in &self.takes[node] {
                let of = match self.giver.get(name) {
                    Some(&giver) => self.kinds[giver].unwrap_or(Kind::Data),
                    None if self.initializers.contains_key(name) => Kind::Constant,
                    None => Kind::Data,
                };
                let of = if of == Kind::Data && MEASURES.contains(&op) { Kind::Size } else { of };
                kind = match (kind, of) {
                    (Kind::Data, _) | (_, Kind::Data) => Kind::Data,
                    (Kind::Size, _) | (_, Kind::Size) => Kind::Size,
                    _ => Kind::Constant,
                };
                self.users.entry(name).or_default().push(node);
            }
            self.kinds[node] = Some(kind);
        }
    }

    pub(super) fn kind(&self, node: usize) -> Option<Kind> {
        self.kinds[node]
    }

    pub(super) fn is_data(&self, node: usize) -> bool {
        self.kinds[node] == Some(Kind::Data)
    }

    /// Returns the nodes of `kind`, in the graph's order.
    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = usize> {
        (0..self.kinds.len()).filter(move |&node| self.kinds[node] == Some(kind))
    }

    pub(super) fn giver(&self, name: &str) -> Option<usize> {
        self.giver.get(name).copied()
    }

    /// Returns the tensors that `node` takes, also inside of its graphs.
    pub(super) fn takes(&self, node: usize) -> &[&'g str] {
        &self.takes[node]
    }

    pub(super) fn gives(&self, node: usize) -> impl Iterator<Item = &'g str> {
        self.graph.node[node].output.iter().map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Returns the nodes that take the tensor `name` and that an output needs.
    pub(super) fn users(&self, name: &str) -> &[usize] {
        self.users.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_initializer(&self, name: &str) -> bool {
        self.initializers.contains_key(name) && !self.giver.contains_key(name)
    }

    /// Returns the tensors of a call that the sizes of `node` are of. Returns `None` if its sizes take too many nodes.
    fn measured(&self, node: usize) -> Option<Vec<&'g str>> {
        let (mut of, mut seen, mut open) = (Vec::new(), HashSet::from([node]), vec![node]);
        while let Some(node) = open.pop() {
            if seen.len() > MAX_SIZES {
                return None;
            }
            for name in &self.takes[node] {
                match self.giver(name) {
                    Some(giver) if !self.is_data(giver) => {
                        if seen.insert(giver) {
                            open.push(giver);
                        }
                    }
                    None if self.initializers.contains_key(name) => {}
                    _ => of.push(*name),
                }
            }
        }
        Some(of)
    }

    /// Returns `nodes` as a graph that gives `gives`, or what others take of it. It has what it needs of weights, and it
    /// computes sizes itself where it has the tensor that they are of.
    pub(super) fn piece(&self, nodes: &Nodes, gives: Option<Vec<&'g str>>) -> Piece {
        let mut near: HashSet<&str> = nodes.iter().flat_map(|&node| self.gives(node)).collect();
        for name in nodes.iter().flat_map(|&node| self.takes(node)) {
            if self.giver(name).map_or(!self.initializers.contains_key(name), |giver| self.is_data(giver)) {
                near.insert(name);
            }
        }
        let mut piece =
            Piece { nodes: nodes.clone(), initializers: BTreeSet::new(), takes: Vec::new(), gives: Vec::new() };
        let mut seen = HashSet::new();
        let mut open: Vec<&str> = nodes.iter().rev().flat_map(|&node| self.takes(node).iter().rev()).copied().collect();
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            match self.giver(name) {
                Some(giver) if piece.nodes.contains(&giver) => {}
                Some(giver) if self.may_repeat(giver, &near) => {
                    piece.nodes.insert(giver);
                    open.extend(self.takes(giver));
                }
                None if self.initializers.contains_key(name) => {
                    piece.initializers.insert(self.initializers[name]);
                }
                _ => piece.takes.push(name.to_owned()),
            }
        }
        let gives = gives.unwrap_or_else(|| self.taken_of(nodes, &piece.nodes));
        piece.gives = gives.into_iter().map(str::to_owned).collect();
        piece
    }

    /// Whether a part that has the tensors `near` can have `node` too, wherever else it stands.
    fn may_repeat(&self, node: usize, near: &HashSet<&str>) -> bool {
        match self.kinds[node] {
            Some(Kind::Constant) => true,
            Some(Kind::Size) => self.measured(node).is_some_and(|of| of.iter().all(|name| near.contains(name))),
            _ => false,
        }
    }

    /// Returns what `nodes` give to others than `inside`, or to the caller.
    fn taken_of(&self, nodes: &Nodes, inside: &Nodes) -> Vec<&'g str> {
        let taken =
            |name: &&str| self.wanted.contains(name) || self.users(name).iter().any(|user| !inside.contains(user));
        nodes.iter().flat_map(|&node| self.gives(node)).filter(taken).collect()
    }

    /// Returns the graph of `piece`, with what is known about the tensors that it takes.
    pub(super) fn graph_of(&self, piece: &Piece, types: &HashMap<String, proto::TensorType>) -> proto::Graph {
        let named = |name: &String| {
            let tensor = types.get(name).cloned();
            proto::ValueInfo { name: name.clone(), of: tensor.map(|tensor| proto::Type { tensor: Some(tensor) }) }
        };
        proto::Graph {
            node: piece.nodes.iter().map(|&node| self.graph.node[node].clone()).collect(),
            initializer: piece.initializers.iter().map(|&tensor| self.graph.initializer[tensor].clone()).collect(),
            input: piece.takes.iter().map(named).collect(),
            output: piece.gives.iter().map(|name| proto::ValueInfo { name: name.clone(), of: None }).collect(),
            value_info: Vec::new(),
        }
    }
}

/// Returns the name of a node in errors.
pub(super) fn called(node: &proto::Node) -> String {
    let first = node.output.iter().find(|name| !name.is_empty()).map_or("", String::as_str);
    if node.name.is_empty() {
        format!("node of {first:?} ({})", node.op_type)
    } else {
        format!("node {:?} ({})", node.name, node.op_type)
    }
}
