//! The end of reading: the links that the outputs need become a model, and the names of the graph become its ports.
//!
//! A chain of layers stays one; any other graph names its inputs and outputs.

use std::collections::{HashMap, HashSet};

use super::assemble::{Assembled, LayerIndex, chain, needed, network};
use super::graph::{Draft, ELSEWHERE, Graph, Of};
use super::links::What;
use super::misfit;
use super::packed;
use super::value::{At, Axis, Data, Role, Segment, Value};
use crate::error::Result;
use crate::model::{
    self, Axes, Dim, InputKind, InputPort, InputValue, Join, LayerKind, Model, ModelOutput, OutputPort, OutputValue,
    Pin, Ports, Required, State,
};
use crate::weights::Tensors;

/// An output of the graph, before the order of layers is known.
enum Found {
    /// Final states of the stacks with these serial numbers.
    States { state: State, stacks: Vec<usize>, links: Vec<usize> },
    /// Results of links, part after part, or the index of their largest feature.
    Features { cells: Vec<Vec<Segment>>, largest: bool },
}

/// An output of the graph.
struct Output {
    name: String,
    found: Found,
    axes: Vec<Dim>,
    /// The length of the axis of directions, if there is one.
    parts: Option<usize>,
}

/// Makes a model of `graph`, and returns it with its tensors.
pub(super) fn finish(mut graph: Graph, names: &[String]) -> Result<(Model, Tensors)> {
    if names.is_empty() {
        return Err(misfit(format!("expected an output, got none; {ELSEWHERE}")));
    }
    let mut outputs = Vec::with_capacity(names.len());
    for name in names {
        outputs.push(output(&mut graph, name).map_err(|e| e.at(format!("output {name:?}")).hint(ELSEWHERE))?);
    }
    let (assembled, given) = match as_chain(&mut graph, &outputs) {
        Some((path, given)) => (chain(&graph, &path)?, given),
        None => as_network(&mut graph, &outputs)?,
    };
    let inputs = Called { graph: &graph, assembled: &assembled }.inputs()?;
    let Assembled { model, tensors, places, .. } = assembled;
    let stack = |serial: &usize| places[serial][0].stack;
    let port = |(output, value): (&Output, OutputValue)| {
        let value = match &output.found {
            Found::States { state, stacks, .. } => {
                OutputValue::States { state: *state, stacks: stacks.iter().map(stack).collect() }
            }
            Found::Features { .. } => value,
        };
        OutputPort { name: output.name.clone(), value, axes: output.axes.clone() }
    };
    let outgoing = outputs.iter().zip(given).map(port).collect();
    let ports = Ports { inputs, outputs: outgoing, required: Required::All };
    let model = Model { axes: axes(&ports), ports, ..model };
    model.check().map_err(|e| e.hint(ELSEWHERE))?;
    check_parts(&model, &outputs)?;
    Ok((model, tensors))
}

/// If the main sequence has time before batch, all sequences must.
fn axes(ports: &Ports) -> Axes {
    let sequence = ports.inputs.iter().find(|port| port.value == InputValue::Sequence);
    let place = |dim| sequence.and_then(|port| port.axes.iter().position(|&axis| axis == dim));
    match (place(Dim::Time), place(Dim::Batch)) {
        (Some(time), Some(batch)) if time < batch => Axes::TimeMajor,
        _ => Axes::BatchFirst,
    }
}

/// Finds what the output `name` is, and its axes.
fn output(graph: &mut Graph, name: &str) -> Result<Output> {
    let data = match graph.value(name)? {
        value @ (Value::Data(_) | Value::Delayed(_)) => graph.data(value, None)?,
        other => return Err(misfit(format!("expected what layers give, got {}", other.kind()))),
    };
    let data = packed::as_steps(graph, data)?;
    let data = settled(graph, data)?;
    if data.axes.iter().any(|axis| axis.sorted.is_some()) {
        return Err(misfit("rows in the order of their lengths, which is not undone".into()));
    }
    let (found, dim) = match states(graph, &data) {
        Some(found) => (found, Dim::Layers),
        None => (features(graph, &data), Dim::Directions),
    };
    let axes = data.axes.iter().map(|axis| self::dim(axis, dim)).collect::<Result<Vec<_>>>()?;
    if axes.iter().filter(|&&axis| axis == dim).count() > 1 {
        return Err(misfit(format!("layers and directions in axes of their own: {}", data.axes_text())));
    }
    let parts = axes.contains(&Dim::Directions).then_some(data.content.len());
    Ok(Output { name: name.to_owned(), found, axes, parts })
}

/// Returns `data` with the axes of its inputs told. Where no node tells them, the first is the batch, and the other
/// time.
fn settled(graph: &mut Graph, mut data: Data) -> Result<Data> {
    data.axes.iter_mut().for_each(|axis| *axis = graph.told(axis));
    let is_open = |axis: &Axis| matches!(axis.role, Role::Open(_)) && !axis.size.is(1);
    let open: Vec<usize> = (0..data.axes.len()).filter(|&at| is_open(&data.axes[at])).collect();
    let left = [(Role::Batch, Dim::Batch), (Role::Time, Dim::Time)];
    let left = left.into_iter().filter(|(role, _)| data.position(role).is_none()).map(|(_, dim)| dim);
    for (at, dim) in open.into_iter().zip(left.collect::<Vec<_>>()) {
        data.axes[at] = graph.settle(&data.axes[at], dim)?;
    }
    Ok(data)
}

fn dim(axis: &Axis, parts: Dim) -> Result<Dim> {
    Ok(match axis.role {
        Role::Time => Dim::Time,
        Role::Batch => Dim::Batch,
        Role::Features => Dim::Features,
        Role::Parts => parts,
        Role::One => Dim::One,
        Role::Open(_) if axis.size.is(1) => Dim::One,
        Role::Open(_) => return Err(misfit("an axis of an input that is neither time nor batch".into())),
        Role::Stretched => return Err(misfit("a row again and again".into())),
        Role::Joined(_) => return Err(misfit("time and batch in one axis".into())),
    })
}

/// Returns the stacks whose final states `data` is, if it is that: each whole, and all of one state.
fn states(graph: &Graph, data: &Data) -> Option<Found> {
    let cells: Vec<&Segment> =
        data.content.iter().map(|cell| if let [one] = &cell[..] { Some(one) } else { None }).collect::<Option<_>>()?;
    let state = match cells.first()?.at {
        At::Hidden => State::Hidden,
        At::Cell => State::Cell,
        _ => return None,
    };
    let (mut stacks, mut links, mut rest) = (Vec::new(), Vec::new(), &cells[..]);
    while let Some(first) = rest.first() {
        let stack = graph.links.stack(first.link)?;
        let own = rest.get(..stack.directions())?;
        let whole = own.iter().enumerate().all(|(d, segment)| {
            (segment.link, segment.at) == (first.link, cells[0].at)
                && (segment.start, segment.len) == (d * stack.hidden_size, stack.hidden_size)
        });
        if !whole {
            return None;
        }
        stacks.push(graph.links.link(first.link).serial);
        links.push(first.link);
        rest = &rest[stack.directions()..];
    }
    Some(Found::States { state, stacks, links })
}

/// Returns what `data` is, if it is no final states.
fn features(graph: &Graph, data: &Data) -> Found {
    let cells: Vec<Vec<Segment>> = data.content.iter().cloned().collect();
    // If the link is the index of the largest feature, takes the features themselves.
    if let [Segment { link, .. }] = cells.concat()[..]
        && let (What::Largest, Some(parent)) = (&graph.links.link(link).what, graph.links.link(link).parent())
    {
        let len = graph.links.link(parent).features;
        let cells = vec![vec![Segment { link: parent, at: At::All, start: 0, len }]];
        return Found::Features { cells, largest: true };
    }
    Found::Features { cells, largest: false }
}

/// Returns the links of a chain of layers and its outputs, if the graph is one. The links are
/// those of the output that is furthest from the input; all other outputs must be among them.
fn as_chain(graph: &mut Graph, outputs: &[Output]) -> Option<(Vec<usize>, Vec<OutputValue>)> {
    let (mut last, mut given, mut stacks) = (None, Vec::with_capacity(outputs.len()), Vec::new());
    let mut longest: Vec<usize> = Vec::new();
    for Output { found, .. } in outputs {
        match found {
            Found::States { stacks: own, links, .. } => {
                stacks.extend(own);
                given.push(OutputValue::Output);
                for &link in links {
                    let path = path(graph, link)?;
                    longest = if path.len() > longest.len() { path } else { longest };
                }
            }
            Found::Features { cells, largest } => {
                let (link, value) = chain_output(graph, &cells.concat())?;
                if *last.get_or_insert(link) != link {
                    return None;
                }
                given.push(match (largest, value) {
                    (true, OutputValue::Output) => OutputValue::Largest(0),
                    (true, _) => return None,
                    (false, value) => value,
                });
            }
        }
    }
    let path = match last {
        Some(last) => path(graph, last)?,
        None => longest,
    };
    let serials: HashSet<usize> = path.iter().map(|&link| graph.links.link(link).serial).collect();
    stacks.iter().all(|stack| serials.contains(stack)).then_some((path, given))
}

/// Returns the link that gives `segments`, as all of it or one direction.
fn chain_output(graph: &mut Graph, segments: &[Segment]) -> Option<(usize, OutputValue)> {
    let (link, runs) = graph.links.resolve(segments).ok()?;
    let link = graph.links.valued(link).ok()?;
    let features = graph.links.link(link).features;
    // If they are contiguous, they are all features, or all directions one after the other.
    let follow = runs.iter().try_fold(0, |end, &(start, len)| (start == end).then_some(start + len));
    if follow == Some(features) {
        return Some((link, OutputValue::Output));
    }
    let given = match &graph.links.link(link).what {
        What::Layer(LayerKind::Select(_)) => graph.links.link(link).parent(),
        _ => Some(link),
    };
    let size = given
        .and_then(|link| graph.links.stack(link))
        .filter(|stack| !stack.is_merged())
        .map(|stack| stack.hidden_size);
    match (size, &runs[..]) {
        (Some(size), &[(start, len)]) if len == size && start % size == 0 => {
            Some((link, OutputValue::Direction(start / size)))
        }
        _ => None,
    }
}

/// Returns the links from the input to `last`, if each takes one that a layer of a chain can take.
fn path(graph: &Graph, last: usize) -> Option<Vec<usize>> {
    let mut path = vec![last];
    while let Some(parent) = graph.links.link(path[path.len() - 1]).parent() {
        path.push(parent);
    }
    path.reverse();
    let mut links = path.iter().map(|&link| graph.links.link(link));
    let begins = matches!(links.next()?.what, What::Source(_));
    let first = matches!(
        links.next()?.what,
        What::Layer(LayerKind::Recurrent(_) | LayerKind::Linear(_) | LayerKind::Conv1d(_) | LayerKind::Embedding(_) | LayerKind::OneHot(_))
            // Links that become no layer give an error with the name of their node.
            | What::Scaled | What::Reversed(_)
    );
    // By itself, the scaled input is a layer of a graph.
    if graph.links.link(last).what == What::Scaled {
        return None;
    }
    let fits = path.iter().all(|&link| {
        let link = graph.links.link(link);
        link.initial == [None; 2] && !matches!(link.what, What::FinalCell | What::Row | What::Largest)
    });
    // A chain takes a sequence: one of rows, of which a layer makes steps, is a graph.
    let source = graph.links.link(path[0]);
    let is_row = matches!(source.what, What::Source(input) if source.features > 0 && !graph.has_time(input));
    let makes_steps = path.iter().any(|&link| match &graph.links.link(link).what {
        What::Layer(kind) => kind.own_steps().is_some(),
        _ => false,
    });
    (begins && first && fits && !(is_row && makes_steps)).then_some(path)
}

/// Returns the layers of a graph with names, and its outputs.
fn as_network(graph: &mut Graph, outputs: &[Output]) -> Result<(Assembled, Vec<OutputValue>)> {
    let mut roots = Vec::with_capacity(outputs.len());
    for Output { name, found, .. } in outputs {
        roots.push(match found {
            Found::Features { cells, .. } => {
                Some(root(graph, cells).map_err(|e| e.at(format!("output {name:?}")).hint(ELSEWHERE))?)
            }
            Found::States { .. } => None,
        });
    }
    let of_features: Vec<usize> = roots.iter().flatten().copied().collect();
    let mut links = needed(graph, of_features.iter().copied());
    // A stack whose outputs are merged has the states of its node, too.
    let known: HashSet<usize> = links.iter().map(|&link| graph.links.link(link).serial).collect();
    let of_states = outputs.iter().flat_map(|output| match &output.found {
        Found::States { links, .. } => links.clone(),
        Found::Features { .. } => Vec::new(),
    });
    let more: Vec<usize> = of_states.filter(|&link| !known.contains(&graph.links.link(link).serial)).collect();
    if !more.is_empty() {
        links = needed(graph, of_features.iter().copied().chain(more));
    }
    for (Output { name, .. }, root) in outputs.iter().zip(&roots) {
        if root.is_some_and(|root| sees_dead_steps(graph, &links, root)) {
            let text = "an input without a recurrent layer on the way, beside layers of rows with lengths: what stands after \
                        the end of a row is 0 here";
            return Err(misfit(text.into()).at(format!("output {name:?}")).hint(ELSEWHERE));
        }
    }
    let mut assembled = network(graph, &links, &of_features)?;
    let (mut values, mut given) = (HashMap::new(), Vec::with_capacity(outputs.len()));
    let mut names: HashSet<String> = outputs.iter().map(|output| output.name.clone()).collect();
    for (Output { name, found, .. }, root) in outputs.iter().zip(roots) {
        match (found, root) {
            (Found::Features { largest, .. }, Some(root)) => {
                let from = assembled.values[&root];
                let next = values.len();
                let index = *values.entry(from).or_insert_with(|| {
                    assembled.model.outputs.push(ModelOutput { name: name.clone(), from });
                    next
                });
                given.push(match (largest, index) {
                    (true, index) => OutputValue::Largest(index),
                    (false, 0) => OutputValue::Output,
                    (false, index) => OutputValue::Another(index),
                });
            }
            (Found::States { state, stacks, .. }, _) => {
                let pin = if *state == State::Hidden { Pin::Hidden } else { Pin::Cell };
                for (place, serial) in stacks.iter().enumerate() {
                    let mut name = if place == 0 { name.clone() } else { format!("{name}.{place}") };
                    while place > 0 && !names.insert(name.clone()) {
                        name.push('_');
                    }
                    let from = model::Value::Layer(assembled.places[serial][0].layer, pin);
                    assembled.model.outputs.push(ModelOutput { name, from });
                }
                given.push(OutputValue::Output);
            }
            (Found::Features { .. }, None) => unreachable!("every output of features has a link"),
        }
    }
    Ok((assembled, given))
}

/// Whether `root` depends on the values of an input after the end of its rows.
fn sees_dead_steps(graph: &Graph, links: &[usize], root: usize) -> bool {
    let times = &graph.links.times;
    let mut seen: HashSet<usize> = HashSet::new();
    for &index in links {
        let link = graph.links.link(index);
        let sees = match &link.what {
            What::Source(input) => times.has_lengths(*input),
            What::Layer(LayerKind::Recurrent(_)) => link.initial.iter().flatten().any(|link| seen.contains(link)),
            _ => link.parents.iter().any(|parent| seen.contains(parent)),
        };
        if sees {
            seen.insert(index);
        }
    }
    seen.contains(&root)
}

/// Returns the link that gives `cells`. If they are of several links, each cell is a part.
fn root(graph: &mut Graph, cells: &[Vec<Segment>]) -> Result<usize> {
    let all = cells.concat();
    if cells.len() < 2 || all.iter().all(|segment| segment.link == all[0].link && segment.at == all[0].at) {
        return graph.links.exact(&all);
    }
    // A part that is itself a join becomes a single part.
    let mut part = |cell: &Vec<Segment>| {
        let link = graph.links.exact(cell)?;
        Ok(graph.links.as_one_part(link))
    };
    let parts = cells.iter().map(&mut part).collect::<Result<_>>()?;
    graph.links.joined(Join::Concat, parts)
}

/// Checks that outputs with an axis of parts are made of as many parts.
fn check_parts(model: &Model, outputs: &[Output]) -> Result<()> {
    let flows = model.output_flows()?;
    for (port, Output { name, parts, .. }) in model.ports.outputs.iter().zip(outputs) {
        let index = match port.value {
            OutputValue::Output => 0,
            OutputValue::Another(index) => index,
            _ => continue,
        };
        let got = flows.get(index).map(|flow| flow.features().parts);
        if parts.is_some() && *parts != got {
            return Err(misfit(format!("output {name:?}: parts of features in an axis of their own; {ELSEWHERE}")));
        }
    }
    Ok(())
}

/// The ports of inputs.
struct Called<'a> {
    graph: &'a Graph,
    assembled: &'a Assembled,
}

impl Called<'_> {
    /// Returns the ports of the inputs that flow, and those of the drafts.
    fn inputs(&self) -> Result<Vec<InputPort>> {
        let Assembled { model, inputs: flowing, .. } = self.assembled;
        let main = model.main_input();
        let mut ports = Vec::new();
        for (index, &input) in flowing.iter().enumerate() {
            let value = if index == main { InputValue::Sequence } else { InputValue::Input(index) };
            ports.push(InputPort { name: self.graph.inputs[input].name.clone(), value, axes: self.axes(input)? });
        }
        for draft in &self.graph.drafts {
            if let (Of::Link(serial), Ok(_)) = (draft.of, flowing.binary_search(&draft.input)) {
                let name = &self.graph.inputs[draft.input].name;
                let text = format!("the input {name:?} as initial states, which another node takes as features");
                return Err(self.graph.links.link(serial).node.error(misfit(text)).hint(ELSEWHERE));
            }
            self.drafted(draft, &mut ports);
        }
        Ok(ports)
    }

    fn drafted(&self, draft: &Draft, ports: &mut Vec<InputPort>) {
        let model = &self.assembled.model;
        let name = &self.graph.inputs[draft.input].name;
        let port = |value| InputPort { name: name.clone(), value, axes: draft.axes.clone() };
        match draft.of {
            Of::Steps(input) => {
                let times = &self.graph.links.times;
                let of_these = |&place: &usize| {
                    let same = times.first(self.assembled.inputs[place]) == times.first(input);
                    same && model.inputs.get(place).is_none_or(|input| !matches!(input.kind, InputKind::Row(_)))
                };
                // The steps of something that no output needs have no port.
                let Some(place) = (0..self.assembled.inputs.len()).find(of_these) else { return };
                // Inputs may have been united after their lengths were known.
                if !ports.iter().any(|port| port.value == InputValue::Lengths(place)) {
                    ports.push(port(InputValue::Lengths(place)));
                }
            }
            // A layer that no output needs has no port.
            Of::Link(serial) => {
                for &LayerIndex { layer, stack } in self.assembled.places.get(&serial).into_iter().flatten() {
                    ports.push(port(match draft.value {
                        InputValue::State { state, first, .. } => InputValue::State { stack, state, first },
                        InputValue::Weights { part, .. } => InputValue::Weights { layer, part },
                        value => value,
                    }));
                }
            }
        }
    }

    /// Returns the axes of input `input`.
    fn axes(&self, input: usize) -> Result<Vec<Dim>> {
        let name = &self.graph.inputs[input].name;
        let mut dims = self.graph.dims(input);
        // The axis besides time and features is the batch.
        let batch = dims.contains(&Some(Dim::Batch));
        if !batch && dims.iter().filter(|dim| dim.is_none()).count() == 1 {
            dims.iter_mut().filter(|dim| dim.is_none()).for_each(|dim| *dim = Some(Dim::Batch));
        }
        let dims = dims.into_iter().enumerate().map(|(axis, dim)| {
            dim.ok_or_else(|| misfit(format!("input {name:?}: axis {axis} is neither time nor batch; {ELSEWHERE}")))
        });
        dims.collect()
    }
}
