//! The end of the reading: the one path of links that the outputs need becomes a model, the graph's names its interface.

use std::collections::HashMap;

use super::chain::What;
use super::graph::{ELSEWHERE, Graph};
use super::misfit;
use super::size::Size;
use super::value::{At, Data, Role, Segment, Value};
use crate::cell::Activation;
use crate::error::Result;
use crate::model::{
    Axes, Dim, InputPort, InputValue, Interface, Layer, LayerKind, Linear, Model, OutputPort, OutputValue, Required,
    State,
};
use crate::weights::Tensors;

/// What an output of the graph is, before the layers are in order.
enum Found {
    /// Final states of the stacks of these serial numbers.
    States { state: State, stacks: Vec<usize>, links: Vec<usize> },
    /// What a link gives, or a direction of it.
    Link { link: usize, value: OutputValue },
}

/// The model that `graph` is, and its tensors.
pub(super) fn finish(mut graph: Graph, names: &[String]) -> Result<(Model, Tensors)> {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        found.push(output(&mut graph, name).map_err(|e| e.at(format!("output {name:?}")).hint(ELSEWHERE))?);
    }
    let path = path(&graph, names, &found)?;
    let (model, tensors, places) = layers(&graph, &path)?;
    let mut interface = Interface {
        inputs: inputs(&graph, &places)?,
        outputs: Vec::with_capacity(names.len()),
        required: Required::All,
    };
    for (name, (found, axes)) in names.iter().zip(found) {
        let value = match found {
            Found::Link { value, .. } => value,
            Found::States { state, stacks, .. } => {
                let stacks = stacks.iter().map(|serial| places.get(serial).map(|place| place.stack));
                let stacks = stacks.collect::<Option<Vec<_>>>();
                let text = format!("output {name:?}: the final state of a layer beside the path; {ELSEWHERE}");
                OutputValue::States { state, stacks: stacks.ok_or_else(|| misfit(text))? }
            }
        };
        interface.outputs.push(OutputPort { name: name.clone(), value, axes });
    }
    let place = |dim| {
        let sequence = interface.inputs.iter().find(|port| port.value == InputValue::Sequence);
        sequence.and_then(|port| port.axes.iter().position(|&axis| axis == dim))
    };
    let time_major = matches!((place(Dim::Time), place(Dim::Batch)), (Some(time), Some(batch)) if time < batch);
    let axes = if time_major { Axes::TimeMajor } else { Axes::BatchFirst };
    let model = Model { axes, interface: Some(interface), ..model };
    model.check()?;
    Ok((model, tensors))
}

/// What the output `name` is, and its axes.
fn output(graph: &mut Graph, name: &str) -> Result<(Found, Vec<Dim>)> {
    let data = match graph.value(name)? {
        Value::Data(data) => data,
        other => return Err(misfit(format!("expected what layers give, got {}", other.kind()))),
    };
    let (found, parts) = match states(graph, &data) {
        Some(found) => (found, Dim::Layers),
        None => (link(graph, &data)?, Dim::Directions),
    };
    let dims = data.axes.iter().map(|axis| dim(graph, &axis.role, parts)).collect::<Result<Vec<_>>>()?;
    if dims.iter().filter(|&&dim| dim == parts).count() > 1 {
        return Err(misfit(format!("layers and directions in axes of their own: {}", data.axes_text())));
    }
    Ok((found, dims))
}

fn dim(graph: &Graph, role: &Role, parts: Dim) -> Result<Dim> {
    Ok(match role {
        Role::Time => Dim::Time,
        Role::Batch => Dim::Batch,
        Role::Features => Dim::Features,
        Role::Parts => parts,
        Role::One => Dim::One,
        Role::Open(axis) => {
            let dims = graph.sequence.as_ref().map(|sequence| &sequence.dims);
            let settled = dims.and_then(|dims| dims.get(*axis).copied().flatten());
            settled.ok_or_else(|| misfit(format!("axis {axis} of the input is neither time nor batch")))?
        }
        Role::Joined(_) => return Err(misfit("time and batch in one axis".into())),
    })
}

/// The stacks whose final states `data` is, if it is that: each whole, all in one state.
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
        let stack = graph.chain.stack(first.link)?;
        let own = rest.get(..stack.directions())?;
        let whole = own.iter().enumerate().all(|(d, segment)| {
            (segment.link, segment.at) == (first.link, cells[0].at)
                && (segment.start, segment.len) == (d * stack.hidden_size, stack.hidden_size)
        });
        if !whole {
            return None;
        }
        stacks.push(graph.chain.link(first.link).serial);
        links.push(first.link);
        rest = &rest[stack.directions()..];
    }
    Some(Found::States { state, stacks, links })
}

/// The link that gives `data`, all of it or one direction.
fn link(graph: &mut Graph, data: &Data) -> Result<Found> {
    let segments: Vec<Segment> = data.segments().cloned().collect();
    let (link, runs) = graph.chain.resolve(&segments)?;
    let features = graph.chain.link(link).features;
    // Next to each other they are all features, or all directions one after the other.
    let follow = runs.iter().try_fold(0, |end, &(start, len)| (start == end).then_some(start + len));
    if follow == Some(features) {
        return Ok(Found::Link { link, value: OutputValue::Output });
    }
    let given = match &graph.chain.link(link).what {
        What::Layer(LayerKind::Select(_)) => graph.chain.link(link).parent,
        _ => Some(link),
    };
    let size = given
        .and_then(|link| graph.chain.stack(link))
        .filter(|stack| !stack.is_merged())
        .map(|stack| stack.hidden_size);
    match (size, &runs[..]) {
        (Some(size), &[(start, len)]) if len == size && start % size == 0 => {
            Ok(Found::Link { link, value: OutputValue::Direction(start / size) })
        }
        _ => Err(misfit("expected all features or a direction, got a part of them or another order".into())),
    }
}

/// The links of the model: those of the output that is furthest from the input, which are all others'.
fn path(graph: &Graph, names: &[String], found: &[(Found, Vec<Dim>)]) -> Result<Vec<usize>> {
    let mut last: Option<(usize, &str)> = None;
    for ((found, _), name) in found.iter().zip(names) {
        let Found::Link { link, .. } = found else { continue };
        match last {
            Some((other, first)) if other != *link => {
                let text = format!(
                    "outputs {first:?} and {name:?}: expected one layer's outputs beside final states, got those of two; {ELSEWHERE}"
                );
                return Err(misfit(text));
            }
            _ => last = Some((*link, name)),
        }
    }
    let paths = found.iter().flat_map(|(found, _)| match found {
        Found::States { links, .. } => links.clone(),
        Found::Link { .. } => Vec::new(),
    });
    let longest = || paths.map(|link| graph.chain.path(link)).max_by_key(Vec::len);
    let path = last.map(|(link, _)| graph.chain.path(link)).or_else(longest);
    path.ok_or_else(|| misfit(format!("expected an output, got none; {ELSEWHERE}")))
}

/// Where a link of the path went.
struct Place {
    layer: usize,
    /// How many stacks come before.
    stack: usize,
}

/// The layers of the path, their tensors, and where the link of each serial number went.
fn layers(graph: &Graph, path: &[usize]) -> Result<(Model, Tensors, HashMap<usize, Place>)> {
    let (mut model, mut tensors, mut places) = (Model::new(), Tensors::new(), HashMap::new());
    let mut stacks = 0;
    for &index in path {
        let link = graph.chain.link(index);
        let kind = match &link.what {
            What::Layer(kind) => kind.clone(),
            What::Source => continue,
            What::Scaled => {
                return Err(misfit(format!("an input times or plus a constant, but for a layer; {ELSEWHERE}")));
            }
            What::Reversed => {
                return Err(misfit(format!("steps in reverse, but for an RNN, LSTM or GRU; {ELSEWHERE}")));
            }
            What::Erf | What::TwiceGelu => {
                return Err(misfit(format!("Erf outside of what makes a Gelu; {ELSEWHERE}")));
            }
        };
        // A product goes through its activation at once.
        if let (LayerKind::Activation(activation), Some(Layer { kind: LayerKind::Linear(linear), .. })) =
            (&kind, model.layers.last_mut())
            && linear.activation == Activation::Linear
        {
            *linear = Linear { activation: *activation, ..linear.clone() };
            continue;
        }
        let layer = model.layers.len();
        let prefix = format!("{layer}.");
        places.insert(link.serial, Place { layer, stack: stacks });
        stacks += usize::from(matches!(kind, LayerKind::Recurrent(_)));
        for (name, constant) in &link.tensors {
            tensors.insert(format!("{prefix}{name}"), constant.tensor.clone());
        }
        model.push(kind, prefix);
    }
    if stacks == 0 {
        return Err(misfit(format!("expected an RNN, LSTM or GRU on the way to the outputs, got none; {ELSEWHERE}")));
    }
    Ok((model, tensors, places))
}

fn inputs(graph: &Graph, places: &HashMap<usize, Place>) -> Result<Vec<InputPort>> {
    let sequence = graph.sequence.as_ref().expect("a recurrent node has a sequence");
    let input = &graph.inputs[sequence.input];
    let dims = sequence.dims.iter().zip(&input.sizes).enumerate().map(|(axis, (dim, size))| match dim {
        Some(dim) => Ok(*dim),
        None if *size == Size::of(1) => Ok(Dim::One),
        None => Err(misfit(format!("input {:?}: axis {axis} is neither time nor batch; {ELSEWHERE}", input.name))),
    });
    let axes = dims.collect::<Result<Vec<_>>>()?;
    let mut ports = vec![InputPort { name: input.name.clone(), value: InputValue::Sequence, axes }];
    for draft in &graph.drafts {
        let value = match (draft.value, draft.serial.map(|serial| places.get(&serial))) {
            (value, None) => value,
            (InputValue::State { state, first, .. }, Some(Some(place))) => {
                InputValue::State { stack: place.stack, state, first }
            }
            (InputValue::Weights { part, .. }, Some(Some(place))) => InputValue::Weights { layer: place.layer, part },
            // A layer beside the path.
            _ => continue,
        };
        ports.push(InputPort { name: graph.inputs[draft.input].name.clone(), value, axes: draft.axes.clone() });
    }
    Ok(ports)
}
