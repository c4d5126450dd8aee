//! A graph, evaluated node by node: each operator gives its outputs a meaning from the meanings of its inputs.
//!
//! Holds what operators share: values, inputs and links. In the end, `ports`
//! makes a model of it. Knows no operator: `operators` has the table of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::constant::{MAX_RANK, Origin, decode};
use super::links::Links;
use super::misfit;
use super::node::Node;
use super::proto;
use super::roles::Roles;
use super::size::{Known, Size};
use super::source::Sources;
use super::table::ATTRIBUTES;
use super::uses::states_and_features;
use super::value::{Feed, FeedAxis, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::support::Treatment;
use crate::model::{Dim, InputValue};

/// The most nodes of a graph. No recurrent model has more.
pub(super) const MAX_NODES: usize = 16_384;
/// The oldest supported version of ONNX's operators.
const OLDEST: i64 = 7;
/// The newest version of ONNX's operators when this was written.
pub(super) const NEWEST: i64 = 28;
/// The hint for a graph that is not supported.
pub(super) const ELSEWHERE: &str = "a general runtime such as ONNX Runtime may run this graph";

/// Returns how to give the input `name` a number before the file is read.
pub(super) fn to_set(name: &str, number: &str) -> String {
    format!("give it a number as the file is read: --set {name}={number}, or formats::Reader::set in Rust")
}

/// A function that reads an operator: it returns the meanings of its outputs, in order.
pub(super) type Operator = fn(&mut Graph, &Node<'_>) -> Result<Vec<Value>>;

/// An input of the graph without a value of its own.
pub(super) struct GraphInput {
    pub(super) name: String,
    /// ONNX's type of its elements.
    pub(super) data_type: i32,
    pub(super) sizes: Vec<Size>,
    /// The index of its first axis in the roles.
    pub(super) first_axis: usize,
    /// The link that gives it, if it flows through layers.
    pub(super) link: Option<usize>,
}

/// An input port.
pub(super) struct Draft {
    pub(super) input: usize,
    /// Its stack or layer is 0 until the order of layers is known.
    pub(super) value: InputValue,
    pub(super) axes: Vec<Dim>,
    pub(super) of: Of,
}

/// The owner of a port.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The stack or layer with this serial number.
    Link(usize),
    /// The steps of this input.
    Steps(usize),
}

pub(super) struct Graph {
    opset: i64,
    /// The most elements of a computed weight: the number of bytes in the file.
    pub(super) limit: usize,
    pub(super) links: Links,
    pub(super) inputs: Vec<GraphInput>,
    pub(super) roles: Roles,
    /// What nodes have shown about variables so far.
    pub(super) known: Known,
    pub(super) drafts: Vec<Draft>,
    /// The inputs that both begin recurrent nodes and flow into others. Their states are rows
    /// that flow. The value is whether the input is also the sequence of a recurrent node.
    both: HashMap<String, bool>,
    operator: fn(&str) -> Option<Operator>,
    /// The number of tensors of the file so far.
    tensors: usize,
    /// ONNX's types of the tensors of the file, by name.
    types: HashMap<String, i32>,
    /// The links whose results are whole numbers that await their scale.
    pub(super) integers: HashSet<usize>,
    /// Whether the graph rounds values that flow, which is left out here.
    pub(super) rounds: bool,
    /// The number of nodes, including those of inner graphs.
    nodes: usize,
    values: HashMap<String, Value>,
    variables: HashMap<String, usize>,
    sources: Sources,
}

impl Graph {
    /// Evaluates the nodes that the outputs of `model` need.
    /// `operator` returns the function for each supported operator.
    pub(super) fn evaluate(
        model: proto::Model,
        sources: Sources,
        operator: fn(&str) -> Option<Operator>,
    ) -> Result<(Self, Vec<String>)> {
        let opset = opset(&model)?;
        let graph = model.graph.ok_or_else(|| misfit("expected a graph, got none; is this an ONNX file?".into()))?;
        let mut this = Self {
            opset,
            limit: 0,
            links: Links::new(),
            inputs: Vec::new(),
            roles: Roles::default(),
            known: Known::default(),
            drafts: Vec::new(),
            both: HashMap::new(),
            operator,
            tensors: 0,
            types: HashMap::new(),
            integers: HashSet::new(),
            rounds: false,
            nodes: 0,
            values: HashMap::new(),
            variables: HashMap::new(),
            sources,
        };
        this.initializers(&graph.initializer)?;
        graph.input.into_iter().for_each(|input| this.add_input(input));
        this.limit = usize::try_from(this.sources.total_bytes()).unwrap_or(usize::MAX).max(1 << 16);
        let outputs: Vec<String> = graph.output.into_iter().map(|output| output.name).collect();
        let inputs: Vec<String> = this.inputs.iter().map(|input| input.name.clone()).collect();
        this.both = states_and_features(&needed(&graph.node, &outputs)?, &inputs);
        this.run(&graph.node, &outputs)?;
        Ok((this, outputs))
    }

    fn initializers(&mut self, tensors: &[proto::Tensor]) -> Result<()> {
        for tensor in tensors {
            let value = self.decode(tensor).map_err(|e| e.at(format!("initializer {:?}", tensor.name)))?;
            self.tell_type(&tensor.name, tensor.data_type);
            self.values.insert(tensor.name.clone(), value);
        }
        Ok(())
    }

    /// Evaluates those of `nodes` that `outputs` need.
    fn run(&mut self, nodes: &[proto::Node], outputs: &[String]) -> Result<()> {
        self.nodes = self.nodes.saturating_add(nodes.len());
        if self.nodes > MAX_NODES {
            return Err(misfit(format!("a graph of {} nodes; {ELSEWHERE}", self.nodes)));
        }
        let nodes = needed(nodes, outputs)?;
        check(&nodes, self.opset)?;
        nodes.into_iter().try_for_each(|node| self.node(node))
    }

    /// Returns the outputs of an inner graph.
    pub(super) fn inner(&mut self, graph: &proto::Graph) -> Result<Vec<Value>> {
        let given = graph.node.iter().flat_map(|node| &node.output).chain(graph.initializer.iter().map(|t| &t.name));
        if let Some(twice) = given.into_iter().find(|name| self.values.contains_key(*name)) {
            return Err(misfit(format!("{twice:?} is given inside of the node and outside")));
        }
        self.initializers(&graph.initializer)?;
        let outputs: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
        let outer = self.links.node.clone();
        self.run(&graph.node, &outputs)?;
        self.links.node = outer;
        outputs.iter().map(|name| self.value(name)).collect()
    }

    /// Adds an input without a value. Before IR version 4, initializers are among the inputs.
    fn add_input(&mut self, input: proto::ValueInfo) {
        if self.values.contains_key(&input.name) {
            return;
        }
        let tensor = input.of.and_then(|of| of.tensor).unwrap_or_default();
        let shape = tensor.shape.filter(|shape| shape.dim.len() <= MAX_RANK);
        let value = match shape {
            None => Value::Unread(format!("the input {:?}, of which the file tells no shape", input.name)),
            Some(shape) => {
                let dims = shape.dim.into_iter().enumerate();
                let sizes: Vec<Size> =
                    dims.map(|(i, dim)| self.dimension(dim, &format!("{}.shape[{i}]", input.name))).collect();
                let axis = |(i, size): (usize, &Size)| FeedAxis {
                    source: Some(i),
                    size: size.clone(),
                    start: 0,
                    whole: true,
                    sorted: None,
                };
                let index = self.inputs.len();
                let axes = sizes.iter().enumerate().map(axis).collect();
                let feed = Feed { input: index, axes, fixed: Vec::new() };
                let first_axis = self.roles.add(index, sizes.len());
                let (name, data_type) = (input.name.clone(), tensor.elem_type);
                self.inputs.push(GraphInput { name, data_type, sizes, first_axis, link: None });
                Value::Input(feed)
            }
        };
        self.values.insert(input.name, value);
    }

    /// Returns the name of the input that `value` is, if it has one number.
    pub(super) fn lone_input(&self, value: &Value) -> Option<&str> {
        match value {
            Value::Input(feed) if feed.axes.iter().all(|axis| axis.size.is(1)) => {
                Some(self.inputs[feed.input].name.as_str())
            }
            _ => None,
        }
    }

    /// Returns the error of a `value` that is not known before a call, where `expected` is. It leads to a number for an
    /// input of one number.
    pub(super) fn untold(&self, value: &Value, expected: &str) -> Error {
        match self.lone_input(value) {
            Some(name) => {
                let text = format!("expected {expected}, got the input {name:?}; {}", to_set(name, "NUMBER"));
                misfit(text).of_input(name)
            }
            None => misfit(format!("expected {expected}, got {}", value.kind())),
        }
    }

    /// Returns the length of axis `place`: a number, or a variable that all axes of that name share.
    fn dimension(&mut self, dim: proto::Dimension, place: &str) -> Size {
        let next = self.variables.len();
        match (dim.value, dim.param) {
            (Some(n), _) if n > 0 => Size::of(n),
            // These words mean no particular length.
            (_, Some(name)) if !["", "?", "-1", "None", "unk"].contains(&name.as_str()) => {
                Size::variable(*self.variables.entry(name.clone()).or_insert(next), &name)
            }
            _ => {
                // No file can have such a name for a variable, so it is never looked up.
                self.variables.insert(format!("\0{next}"), next);
                Size::variable(next, place)
            }
        }
    }

    /// Whether the states in `feed` also flow into other nodes.
    pub(super) fn flows_too(&self, feed: &Feed) -> bool {
        self.both.contains_key(&self.inputs[feed.input].name)
    }

    /// Whether `feed` is part of a sequence that also begins a recurrent node.
    /// Then a part along an axis before its features is some of its steps.
    pub(super) fn begins_at_steps(&self, feed: &Feed) -> bool {
        let GraphInput { name, sizes, .. } = &self.inputs[feed.input];
        sizes.len() == 3 && self.both.get(name) == Some(&true)
    }

    /// Returns a length that depends on a call.
    pub(super) fn unknown(&mut self) -> Size {
        self.dimension(proto::Dimension::default(), "?")
    }

    fn node(&mut self, node: &proto::Node) -> Result<()> {
        let read = Node::new(node, self.opset).map_err(elsewhere)?;
        let operator = (self.operator)(read.op).expect("a test holds both tables of operators equal");
        self.links.node = read.called().into();
        self.settle_features(&read).map_err(|e| elsewhere(read.error(e)))?;
        let values = operator(self, &read).map_err(|e| elsewhere(read.error(e)))?;
        for (name, value) in node.output.iter().zip(values) {
            if !name.is_empty() {
                self.values.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// Gives the value with the name `name` another meaning.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Returns the value with the name `name`.
    pub(super) fn value(&self, name: &str) -> Result<Value> {
        let value = self.values.get(name).cloned();
        let mut value = value.ok_or_else(|| misfit(format!("{name:?} is neither an input nor computed before")))?;
        if !self.known.is_empty() {
            value = value.resized(&self.known);
        }
        if let Value::Data(data) = value {
            let mut data = self.links.renewed(data);
            data.axes.iter_mut().for_each(|axis| *axis = self.told(axis));
            value = Value::Data(data);
        }
        Ok(value)
    }

    /// Returns input `index` of a node, which is required.
    pub(super) fn input(&self, node: &Node<'_>, index: usize) -> Result<Value> {
        self.optional(node, index)?.ok_or_else(|| misfit(format!("expected an input {index}, got none")))
    }

    /// Returns input `index` of a node, if the node has it.
    pub(super) fn optional(&self, node: &Node<'_>, index: usize) -> Result<Option<Value>> {
        node.input(index).map(|name| self.value(name)).transpose()
    }

    /// Returns the axes of an operator: an input since version 13, an attribute before.
    pub(super) fn axes(&self, node: &Node<'_>, rank: usize) -> Result<Option<Vec<usize>>> {
        let given = match (node.ints("axes")?, self.whole_numbers(node, 1)?) {
            (Some(axes), _) => Some(axes.to_vec()),
            (None, Some(axes)) => {
                let known = axes.iter().map(Size::value).collect::<Option<Vec<_>>>();
                Some(known.ok_or_else(|| misfit("axes: expected numbers of the file".into()))?)
            }
            (None, None) => None,
        };
        let Some(given) = given else { return Ok(None) };
        if given.len() > MAX_RANK {
            return Err(misfit(format!("axes: expected at most {MAX_RANK}, got {}", given.len())));
        }
        let mut axes = given.into_iter().map(|axis| Value::axis(axis, rank)).collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(misfit(format!("axes: expected each once, got {axes:?}")));
        }
        Ok(Some(axes))
    }

    /// Returns the whole numbers of input `index` or, in older versions, of attribute `name` of a node.
    pub(super) fn whole_numbers(&self, node: &Node<'_>, index: usize) -> Result<Option<Vec<Size>>> {
        match self.optional(node, index)? {
            None => Ok(None),
            Some(Value::Numbers(numbers)) if numbers.ndim() <= 1 => Ok(Some(numbers.iter().cloned().collect())),
            Some(other) => {
                Err(self.untold(&other, "numbers that the file or shapes tell").at(format_args!("input {index}")))
            }
        }
    }

    /// Records that the tensor `name` is of ONNX's type `data_type`.
    pub(super) fn tell_type(&mut self, name: &str, data_type: i32) {
        self.types.insert(name.to_owned(), data_type);
    }

    /// Returns ONNX's type of the tensor `name`, if it is one of the file.
    pub(super) fn type_of(&self, name: &str) -> Option<i32> {
        self.types.get(name).copied()
    }

    /// Returns the tensor of an attribute as a value.
    pub(super) fn decode(&mut self, tensor: &proto::Tensor) -> Result<Value> {
        self.tensors += 1;
        let origin = Arc::new(Origin { tensor: self.tensors, changes: Vec::new() });
        Ok(match decode(tensor.clone(), &mut self.sources)?.into() {
            Value::Constant(constant) => Value::Constant(constant.from(Some(origin))),
            Value::Whole(constant) => Value::Whole(constant.from(Some(origin))),
            other => other,
        })
    }
}

/// Checks that every node is supported. Errors with a reason come first, since other nodes exist only to serve those.
fn check(nodes: &[&proto::Node], opset: i64) -> Result<()> {
    let refused =
        |node: &&&proto::Node| ATTRIBUTES.iter().any(|a| a.is(&node.op_type, "") && a.treatment == Treatment::Refused);
    for node in nodes.iter().filter(refused).chain(nodes) {
        Node::new(node, opset).map_err(elsewhere)?;
    }
    Ok(())
}

/// Adds the hint where unsupported graphs can run.
fn elsewhere(error: Error) -> Error {
    if error.kind() == ErrorKind::Model { error.hint(ELSEWHERE) } else { error }
}

fn opset(model: &proto::Model) -> Result<i64> {
    let own = model.opset_import.iter().find(|set| ["", "ai.onnx"].contains(&set.domain.as_str()));
    match own.map(|set| set.version) {
        Some(version) if version > NEWEST => {
            log::warn!("version {version} of ONNX's operators is read as {NEWEST}, the newest that is known here");
            Ok(version)
        }
        Some(version) if version >= OLDEST => Ok(version),
        Some(version) => Err(misfit(format!("expected version {OLDEST} or newer of ONNX's operators, got {version}"))),
        None => Err(misfit("expected the version of ONNX's operators, got none; is this an ONNX file?".into())),
    }
}

/// Returns the nodes that `outputs` need, in the graph's order.
fn needed<'a>(nodes: &'a [proto::Node], outputs: &[String]) -> Result<Vec<&'a proto::Node>> {
    let mut giver: HashMap<&str, usize> = HashMap::new();
    for (i, node) in nodes.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if giver.insert(name, i).is_some() {
                return Err(misfit(format!("two nodes give {name:?}")));
            }
        }
    }
    let mut used = HashSet::new();
    let mut open: Vec<&str> = outputs.iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if let Some(&node) = giver.get(name)
            && used.insert(node)
        {
            open.extend(names(&nodes[node]));
        }
    }
    Ok(nodes.iter().enumerate().filter(|(i, _)| used.contains(i)).map(|(_, node)| node).collect())
}

/// Returns the names that `node` takes, and those that its inner graphs may take from outside.
pub(super) fn names(node: &proto::Node) -> Vec<&str> {
    let (mut names, mut nodes) = (Vec::new(), vec![node]);
    while let Some(node) = nodes.pop() {
        names.extend(node.input.iter().map(String::as_str));
        for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()) {
            names.extend(graph.output.iter().map(|output| output.name.as_str()));
            nodes.extend(&graph.node);
        }
    }
    names
}
