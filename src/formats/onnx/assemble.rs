//! Links → the layers of a model, their tensors, and the value of each link.
//!
//! Knows links and layers; knows no port.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use super::constant::Origin;
use super::graph::{ELSEWHERE, Graph};
use super::links::{Link, QUANTIZED, What};
use super::misfit;
use crate::cell::Activation;
use crate::error::{Error, Result};
use crate::model::{InputKind, Layer, LayerKind, Linear, Model, ModelInput, Pin, Select, Value};
use crate::weights::Tensors;

/// A model without its names, and what became of its links.
pub(super) struct Assembled {
    pub(super) model: Model,
    pub(super) tensors: Tensors,
    /// The layers of each node. There are several if the node's outputs are used in several ways.
    pub(super) places: HashMap<usize, Vec<LayerIndex>>,
    /// The value of each link.
    pub(super) values: HashMap<usize, Value>,
    /// The inputs of the graph that flow, in the model's order.
    pub(super) inputs: Vec<usize>,
}

/// The index of a link's layer.
#[derive(Clone, Copy)]
pub(super) struct LayerIndex {
    pub(super) layer: usize,
    /// The number of stacks before it.
    pub(super) stack: usize,
}

/// Returns the links that `roots` need, each after its parents.
pub(super) fn needed(graph: &Graph, roots: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut needed = HashSet::new();
    let mut open: Vec<usize> = roots.into_iter().collect();
    while let Some(link) = open.pop() {
        if needed.insert(link) {
            let Link { parents, initial, .. } = graph.links.link(link);
            open.extend(parents.iter().chain(initial.iter().flatten()));
        }
    }
    let mut links: Vec<usize> = needed.into_iter().collect();
    links.sort_unstable();
    links
}

/// Assembles a chain from `links`, each after its parents. The values of a chain need no names.
pub(super) fn chain(graph: &Graph, links: &[usize]) -> Result<Assembled> {
    let mut work = Work::new(graph, links, &[]);
    let source = links.iter().find_map(|&link| source(graph, link));
    work.done.inputs.extend(source);
    for &link in links {
        work.add(link, true)?;
    }
    Ok(work.done)
}

/// Assembles a graph from `links`, each after its parents. `roots` are the links of its outputs.
pub(super) fn network(graph: &Graph, links: &[usize], roots: &[usize]) -> Result<Assembled> {
    let mut work = Work::new(graph, links, roots);
    for (input, kind) in inputs(graph, links) {
        let name = graph.inputs[input].name.clone();
        work.done.inputs.push(input);
        work.done.model.inputs.push(ModelInput { name, kind });
    }
    for &link in links {
        work.add(link, false)?;
    }
    Ok(work.done)
}

/// Returns the input that `link` is, if it is one.
fn source(graph: &Graph, link: usize) -> Option<usize> {
    if let What::Source(input) = graph.links.link(link).what { Some(input) } else { None }
}

/// Returns the kind of each input of `links`. An input without a time
/// axis is a row, unless a recurrent layer takes it as one step.
fn inputs(graph: &Graph, links: &[usize]) -> BTreeMap<usize, InputKind> {
    let mut kinds = BTreeMap::new();
    // For each group of inputs with the same time axis: whether one has a time axis, and the first input.
    let mut groups: BTreeMap<usize, (bool, usize)> = BTreeMap::new();
    for &link in links {
        if let Some(input) = source(graph, link) {
            let features = graph.links.link(link).features;
            let timed = graph.has_time(input) || features == 0;
            let kind = if timed { InputKind::Sequence(features) } else { InputKind::Row(features) };
            kinds.insert(input, kind);
            let group = groups.entry(graph.links.times.first(input)).or_insert((timed, input));
            *group = (group.0 || timed, group.1.min(input));
        }
    }
    for link in links.iter().map(|&link| graph.links.link(link)) {
        let (bound, time) = match &link.what {
            What::Layer(LayerKind::Embedding(layer)) => (Some(layer.num_embeddings), link.time),
            What::Layer(LayerKind::OneHot(layer)) => (Some(layer.num_classes), link.time),
            What::Layer(LayerKind::Recurrent(_)) => (None, link.time),
            _ => continue,
        };
        let Some(time) = time else { continue };
        match (bound, groups.get(&graph.links.times.first(time))) {
            (Some(bound), _) => {
                let input = link.parent().and_then(|parent| source(graph, parent));
                if let Some(kind) = input.and_then(|input| kinds.get_mut(&input)) {
                    // Several tables may look up the same tokens.
                    let least = if let InputKind::Tokens(other) = *kind { bound.min(other) } else { bound };
                    *kind = InputKind::Tokens(least);
                }
            }
            (None, Some(&(false, first))) => {
                if let Some(&InputKind::Row(features)) = kinds.get(&first) {
                    kinds.insert(first, InputKind::Sequence(features));
                }
            }
            (None, _) => {}
        }
    }
    kinds
}

/// A kind of layer with tensors of the file: their names and origins.
type Weights = (Discriminant<LayerKind>, Vec<(String, Arc<Origin>)>);

/// The assembly of a model, link after link.
struct Work<'a> {
    graph: &'a Graph,
    /// The number of links and outputs that take each link.
    takers: HashMap<usize, usize>,
    /// The links without steps.
    rows: HashSet<usize>,
    stacks: usize,
    /// The prefix of the layers with these tensors.
    prefixes: HashMap<Weights, String>,
    done: Assembled,
}

impl<'a> Work<'a> {
    fn new(graph: &'a Graph, links: &[usize], roots: &[usize]) -> Self {
        let mut takers = HashMap::new();
        let taken = links.iter().flat_map(|&link| {
            let Link { parents, initial, .. } = graph.links.link(link);
            parents.iter().chain(initial.iter().flatten())
        });
        for &link in taken.chain(roots) {
            *takers.entry(link).or_insert(0) += 1;
        }
        let done = Assembled {
            model: Model::new(),
            tensors: Tensors::new(),
            places: HashMap::new(),
            values: HashMap::new(),
            inputs: Vec::new(),
        };
        Self { graph, takers, rows: HashSet::new(), stacks: 0, prefixes: HashMap::new(), done }
    }

    /// Finds the value of link `index`, and adds a layer for it if it
    /// needs one. In a `chain`, layers select the results of a stack.
    fn add(&mut self, index: usize, chain: bool) -> Result<()> {
        let link = self.graph.links.link(index);
        let at_node = |e: Error| link.node.error(e).hint(ELSEWHERE);
        let alone = |text: &str| Err(at_node(misfit(text.into())));
        let from: Vec<Value> = link.parents.iter().map(|parent| self.done.values[parent]).collect();
        let rows = match &link.what {
            What::Source(input) => {
                let place = self.place(*input);
                matches!(self.done.model.inputs.get(place).map(|input| input.kind), Some(InputKind::Row(_)))
            }
            what if what.ends_steps() => true,
            what if what.begins_steps() => false,
            What::Layer(LayerKind::Attention(_)) => {
                link.what.ends_steps() || link.parents.first().is_some_and(|query| self.rows.contains(query))
            }
            _ => link.parents.iter().all(|parent| self.rows.contains(parent)),
        };
        let value = match (&link.what, &from[..]) {
            (What::Source(input), _) => Value::Input(self.place(*input)),
            (What::FinalCell, [Value::Layer(layer, _)]) => Value::Layer(*layer, Pin::FinalCell),
            (What::Row, [value]) if self.rows.contains(&link.parents[0]) => *value,
            (What::Row, _) => self.push(index, Select::LastStep.into(), from),
            (
                What::Layer(LayerKind::Select(select @ (Select::FinalHidden | Select::LastOutput))),
                [Value::Layer(layer, _)],
            ) => {
                let pin = if *select == Select::FinalHidden { Pin::FinalHidden } else { Pin::LastOutput };
                let pinned = Value::Layer(*layer, pin);
                if chain { self.push(index, (*select).into(), vec![pinned]) } else { pinned }
            }
            (What::Layer(LayerKind::Activation(activation)), _) => match self.fused(link, *activation) {
                Some(value) => value,
                None => self.push(index, (*activation).into(), from),
            },
            (What::Layer(LayerKind::Recurrent(_)), _) if rows => {
                return alone("X: expected a sequence, got what has no steps");
            }
            (What::Layer(kind), _) => self.push(index, kind.clone(), from),
            (What::Scaled, _) => return alone("an input times or plus a constant, but for a layer"),
            (What::Reversed(_), _) => return alone("steps in reverse, but for an RNN, LSTM or GRU"),
            (What::Padded(..), _) => return alone("zeros around steps, but for a Conv"),
            (What::Erf | What::TwiceGelu, _) => return alone("Erf outside of what makes a Gelu"),
            (What::Largest, _) => return alone("the place of the largest feature, but for an output"),
            (What::Statistic(_), _) => return alone("a mean or a length of the features, but for what it normalises"),
            (What::Quantized(_), _) => return alone(QUANTIZED),
            (What::FinalCell, _) => return alone("a cell state of no stack"),
        };
        self.done.values.insert(index, value);
        if rows {
            self.rows.insert(index);
        }
        Ok(())
    }

    /// Returns the index in the model of input `input` of the graph.
    fn place(&self, input: usize) -> usize {
        self.done.inputs.binary_search(&input).expect("every source is an input, in order")
    }

    /// Puts an activation into the product before it, if nothing else takes that product.
    fn fused(&mut self, link: &Link, activation: Activation) -> Option<Value> {
        let parent = link.parent()?;
        let value = self.done.values[&parent];
        let of = &self.graph.links.link(parent).what;
        let is_layer = matches!(of, What::Layer(LayerKind::Linear(_) | LayerKind::Conv1d(_)));
        let Value::Layer(layer, Pin::Output) = value else { return None };
        match &mut self.done.model.layers[layer].kind {
            LayerKind::Linear(linear)
                if is_layer && linear.activation == Activation::Linear && self.takers[&parent] == 1 =>
            {
                *linear = Linear { activation, ..linear.clone() };
                Some(value)
            }
            LayerKind::Conv1d(conv)
                if is_layer && conv.activation == Activation::Linear && self.takers[&parent] == 1 =>
            {
                conv.activation = activation;
                Some(value)
            }
            _ => None,
        }
    }

    /// Adds a layer for link `index`.
    fn push(&mut self, index: usize, kind: LayerKind, from: Vec<Value>) -> Value {
        let link = self.graph.links.link(index);
        let layer = self.done.model.layers.len();
        let weights = self.prefix(link, &kind);
        self.done.places.entry(link.serial).or_default().push(LayerIndex { layer, stack: self.stacks });
        self.stacks += usize::from(matches!(kind, LayerKind::Recurrent(_)));
        let initial = link.initial.map(|state| state.map(|link| self.done.values[&link]));
        self.done.model.layers.push(Layer { kind, prefix: weights, name: None, from, initial });
        Value::Layer(layer, Pin::Output)
    }

    /// Returns the prefix of the tensors of `link`: that of an earlier layer if both have the same tensors of the file.
    fn prefix(&mut self, link: &Link, kind: &LayerKind) -> String {
        let own = format!("{}.", self.done.model.layers.len());
        let origins = link.tensors.iter().map(|(name, constant)| Some((name.clone(), constant.origin.clone()?)));
        let origins = origins.collect::<Option<Vec<_>>>().filter(|origins| !origins.is_empty());
        if let Some(origins) = origins {
            let key = (discriminant(kind), origins);
            if let Some(prefix) = self.prefixes.get(&key) {
                return prefix.clone();
            }
            self.prefixes.insert(key, own.clone());
        }
        for (name, constant) in &link.tensors {
            self.done.tensors.insert(format!("{own}{name}"), constant.tensor.clone());
        }
        own
    }
}
