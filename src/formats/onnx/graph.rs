//! A graph, evaluated node by node: each operator gives its outputs a meaning from the meanings of its inputs.
//!
//! Holds what operators share: values, inputs and the chain of layers. `interface` makes a model of it in the end. Knows no
//! operator: `operators` has the table of them.

use std::collections::{HashMap, HashSet};

use super::chain::Chain;
use super::constant::{MAX_RANK, decode};
use super::misfit;
use super::node::Node;
use super::proto;
use super::size::Size;
use super::source::Sources;
use super::table::ATTRIBUTES;
use super::value::{Axis, Data, Feed, FeedAxis, Role, Value};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::support::Treatment;
use crate::model::{Dim, InputValue};

/// Graphs of more nodes are no chains of recurrent layers.
const MAX_NODES: usize = 16_384;
/// The least version of ONNX's operators that is read.
const OLDEST: i64 = 7;
/// The newest version that this was written for.
const NEWEST: i64 = 28;
/// What to do with a graph that is not read.
pub(super) const ELSEWHERE: &str = "a general runtime such as ONNX Runtime may run this graph";

/// What an operator does: the meanings of its outputs, in order.
pub(super) type Operator = fn(&mut Graph, &Node<'_>) -> Result<Vec<Value>>;

/// An input of the graph that has no value of its own.
pub(super) struct GraphInput {
    pub(super) name: String,
    /// ONNX's type of its elements.
    pub(super) data_type: i32,
    pub(super) sizes: Vec<Size>,
}

/// The input that is the sequence.
pub(super) struct Sequence {
    pub(super) input: usize,
    /// What each axis is, as far as it is known.
    pub(super) dims: Vec<Option<Dim>>,
    /// The link that gives it, where it is features.
    pub(super) link: Option<usize>,
}

/// A port of the interface, its stack or layer told by a link's serial number.
pub(super) struct Draft {
    pub(super) input: usize,
    /// Its stack or layer is 0 until the layers are in order.
    pub(super) value: InputValue,
    pub(super) axes: Vec<Dim>,
    pub(super) serial: Option<usize>,
}

pub(super) struct Graph {
    opset: i64,
    /// The most elements of a computed weight: as many as the file has bytes.
    pub(super) limit: usize,
    pub(super) chain: Chain,
    pub(super) inputs: Vec<GraphInput>,
    pub(super) sequence: Option<Sequence>,
    /// The input that holds the lengths of the rows, or none: the same for all recurrent nodes, once there is one.
    pub(super) lengths: Option<Option<usize>>,
    pub(super) drafts: Vec<Draft>,
    values: HashMap<String, Value>,
    variables: HashMap<String, usize>,
    sources: Sources,
}

impl Graph {
    /// Evaluates the nodes that the outputs of `model` need; `operator` gives each operator that is read, by its name.
    pub(super) fn evaluate(
        model: proto::Model,
        sources: Sources,
        operator: impl Fn(&str) -> Option<Operator>,
    ) -> Result<(Self, Vec<String>)> {
        let opset = opset(&model)?;
        let graph = model.graph.ok_or_else(|| misfit("expected a graph, got none; is this an ONNX file?".into()))?;
        if graph.node.len() > MAX_NODES {
            return Err(misfit(format!("a graph of {} nodes; {ELSEWHERE}", graph.node.len())));
        }
        let mut this = Self {
            opset,
            limit: 0,
            chain: Chain::new(),
            inputs: Vec::new(),
            sequence: None,
            lengths: None,
            drafts: Vec::new(),
            values: HashMap::new(),
            variables: HashMap::new(),
            sources,
        };
        for tensor in graph.initializer {
            let name = tensor.name.clone();
            let value = decode(tensor, &mut this.sources).map_err(|e| e.at(format!("initializer {name:?}")))?.into();
            this.values.insert(name, value);
        }
        for input in graph.input {
            this.add_input(input);
        }
        this.limit = usize::try_from(this.sources.total_bytes()).unwrap_or(usize::MAX).max(1 << 16);
        let outputs: Vec<String> = graph.output.into_iter().map(|output| output.name).collect();
        let nodes = needed(&graph.node, &outputs)?;
        check(&nodes, opset)?;
        for node in nodes {
            this.node(node, &operator)?;
        }
        Ok((this, outputs))
    }

    /// An input without a value; before IR version 4 initializers are listed among the inputs.
    fn add_input(&mut self, input: proto::ValueInfo) {
        if self.values.contains_key(&input.name) {
            return;
        }
        let tensor = input.of.and_then(|of| of.tensor).unwrap_or_default();
        let shape = tensor.shape.filter(|shape| shape.dim.len() <= MAX_RANK);
        let value = match shape {
            None => Value::Unread(format!("the input {:?}, of which the file tells no shape", input.name)),
            Some(shape) => {
                let sizes: Vec<Size> = shape.dim.into_iter().map(|dim| self.dimension(dim)).collect();
                let axis =
                    |(i, size): (usize, &Size)| FeedAxis { source: Some(i), size: size.clone(), start: 0, whole: true };
                let feed = Feed { input: self.inputs.len(), axes: sizes.iter().enumerate().map(axis).collect() };
                self.inputs.push(GraphInput { name: input.name.clone(), data_type: tensor.elem_type, sizes });
                Value::Input(feed)
            }
        };
        self.values.insert(input.name, value);
    }

    /// The length of an axis: known, or a variable, the same for each axis of that name.
    fn dimension(&mut self, dim: proto::Dimension) -> Size {
        let next = self.variables.len();
        match (dim.value, dim.param) {
            (Some(n), _) if n > 0 => Size::of(n),
            // Words that stand for no length in particular.
            (_, Some(name)) if !["", "?", "-1", "None", "unk"].contains(&name.as_str()) => {
                Size::variable(*self.variables.entry(name).or_insert(next))
            }
            _ => {
                // No file can name a variable so: these names are not looked up.
                self.variables.insert(format!("\0{next}"), next);
                Size::variable(next)
            }
        }
    }

    fn node(&mut self, node: &proto::Node, operator: &impl Fn(&str) -> Option<Operator>) -> Result<()> {
        let read = Node::new(node, self.opset).map_err(elsewhere)?;
        let operator = operator(read.op).expect("a test holds both tables of operators equal");
        let values = operator(self, &read).map_err(|e| elsewhere(read.error(e)))?;
        for (name, value) in node.output.iter().zip(values) {
            if !name.is_empty() {
                self.values.insert(name.clone(), value);
            }
        }
        Ok(())
    }

    /// The value named `name`.
    pub(super) fn value(&self, name: &str) -> Result<Value> {
        match self.values.get(name) {
            Some(value) => Ok(value.clone()),
            None => Err(misfit(format!("{name:?} is neither an input nor computed before"))),
        }
    }

    /// Input `index` of a node, which it must have.
    pub(super) fn input(&self, node: &Node<'_>, index: usize) -> Result<Value> {
        self.optional(node, index)?.ok_or_else(|| misfit(format!("expected an input {index}, got none")))
    }

    /// Input `index` of a node, if it has it.
    pub(super) fn optional(&self, node: &Node<'_>, index: usize) -> Result<Option<Value>> {
        node.input(index).map(|name| self.value(name)).transpose()
    }

    /// Whole numbers that input `index` or, in older versions, attribute `name` of a node holds.
    pub(super) fn whole_numbers(&self, node: &Node<'_>, index: usize) -> Result<Option<Vec<Size>>> {
        match self.optional(node, index)? {
            None => Ok(None),
            Some(Value::Numbers(numbers)) if numbers.ndim() <= 1 => Ok(Some(numbers.iter().cloned().collect())),
            Some(other) => Err(misfit(format!(
                "input {index}: expected numbers that the file or shapes tell, got {}",
                other.kind()
            ))),
        }
    }

    /// The tensor of an attribute, as a value.
    pub(super) fn decode(&mut self, tensor: &proto::Tensor) -> Result<Value> {
        Ok(decode(tensor.clone(), &mut self.sources)?.into())
    }

    /// `value` as what flows through the layers; an input becomes the sequence, whose last axis is its features.
    ///
    /// `features`: how many there must be, where the operator knows.
    pub(super) fn data(&mut self, value: Value, features: Option<usize>) -> Result<Data> {
        match value {
            Value::Data(data) => Ok(data),
            Value::Input(feed) => self.features(&feed, features),
            other => Err(misfit(format!("expected a sequence, got {}", other.kind()))),
        }
    }

    fn features(&mut self, feed: &Feed, wanted: Option<usize>) -> Result<Data> {
        if !super::constant::is_real(self.inputs[feed.input].data_type) {
            let name = &self.inputs[feed.input].name;
            return Err(misfit(format!("the input {name:?}: expected real numbers, or tokens that Gather looks up")));
        }
        let (mut axes, last) = (self.claim(feed)?, feed.axes.len().saturating_sub(1));
        let axis = feed.axes.last().and_then(|axis| axis.source.map(|source| (source, &axis.size)));
        let (source, size) = axis.ok_or_else(|| misfit("an input without an axis of features".into()))?;
        let told = size.value().and_then(|n| usize::try_from(n).ok());
        let features = wanted.or(told).ok_or_else(|| misfit("an input of an unknown number of features".into()))?;
        if told.is_some_and(|told| told != features) {
            return Err(misfit(format!("expected an input of {features} features, got {size}")));
        }
        axes[last] = Axis::new(Role::Features, Size::len(features));
        let sequence = self.sequence.as_mut().expect("just claimed");
        if sequence.dims[source].is_some_and(|dim| dim != Dim::Features) {
            return Err(misfit(format!("axis {source} of the input as its features, which it was not before")));
        }
        sequence.dims[source] = Some(Dim::Features);
        let link = match sequence.link {
            Some(link) => link,
            None => *sequence.link.insert(self.chain.source(features)),
        };
        if self.chain.link(link).features != features {
            return Err(misfit(format!(
                "expected an input of {} features, got {features}",
                self.chain.link(link).features
            )));
        }
        let segment = super::value::Segment { link, at: super::value::At::All, start: 0, len: features };
        Ok(Data { content: ndarray::arr0(vec![segment]).into_dyn(), axes })
    }

    /// The axes of `feed` as the sequence, of which there is one.
    pub(super) fn claim(&mut self, feed: &Feed) -> Result<Vec<Axis>> {
        let name = &self.inputs[feed.input].name;
        if !feed.axes.iter().all(|axis| axis.whole) {
            return Err(misfit(format!("a part of the input {name:?} as the sequence")));
        }
        let rank = self.inputs[feed.input].sizes.len();
        let sequence =
            self.sequence.get_or_insert_with(|| Sequence { input: feed.input, dims: vec![None; rank], link: None });
        if sequence.input != feed.input {
            let other = &self.inputs[sequence.input].name;
            return Err(misfit(format!("the inputs {other:?} and {name:?} are both a sequence")));
        }
        let axis = |axis: &FeedAxis| match axis.source {
            Some(source) => Axis::new(Role::Open(source), axis.size.clone()),
            None => Axis::one(),
        };
        Ok(feed.axes.iter().map(axis).collect())
    }

    /// Says that axis `axis` of `data` is time or batch.
    pub(super) fn settle(&mut self, axis: &Axis, dim: Dim) -> Result<Axis> {
        let role = if dim == Dim::Time { Role::Time } else { Role::Batch };
        let got = match &axis.role {
            Role::Open(source) => {
                let dims = &mut self.sequence.as_mut().expect("an open axis is the sequence's").dims;
                if dims.iter().enumerate().any(|(i, &d)| d == Some(dim) && i != *source) {
                    return Err(misfit(format!("another axis of the input is {dim:?}")));
                }
                *dims[*source].get_or_insert(dim)
            }
            Role::Time => Dim::Time,
            Role::Batch => Dim::Batch,
            Role::One => dim,
            _ => return Err(misfit(format!("expected an axis of {dim:?}, got another"))),
        };
        if got != dim {
            return Err(misfit(format!("expected {dim:?} in an axis that is {got:?}: are time and batch swapped?")));
        }
        Ok(Axis::new(role, axis.size.clone()))
    }
}

/// Whether every node is one that is read: those that are refused for a reason go first, since others serve them.
fn check(nodes: &[&proto::Node], opset: i64) -> Result<()> {
    let refused =
        |node: &&&proto::Node| ATTRIBUTES.iter().any(|a| a.is(&node.op_type, "") && a.treatment == Treatment::Refused);
    for node in nodes.iter().filter(refused).chain(nodes) {
        Node::new(node, opset).map_err(elsewhere)?;
    }
    Ok(())
}

/// Says where graphs run that this does not read.
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

/// The nodes that `outputs` need, in the graph's order.
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
            open.extend(nodes[node].input.iter().map(String::as_str));
        }
    }
    Ok(nodes.iter().enumerate().filter(|(i, _)| used.contains(i)).map(|(_, node)| node).collect())
}
