//! Named tensors → the targets of a loss and their sample weights: under which names they come, and in which axes.

use std::collections::BTreeSet;

use ndarray::{ArrayD, IxDyn};

use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Objective, Targets, Term};
use crate::model::{Dim, Model, OutputPort, OutputValue, Ports};
use crate::named::{NamedTensors, Values, arrange};

/// The name of the targets if the model has one output; otherwise the prefix of their names.
const TARGETS: &str = "y";
/// The name or prefix of sample weights, which multiply the loss of each row or step; it is Keras' name.
const WEIGHTS: &str = "sample_weight";

/// Splits `tensors` into the targets of each loss of `objective`,
/// with their sample weights if given, and all other tensors.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if a loss has no targets, or if two
/// tensors are its targets or its weights. It is the same if the axes of one differ from those of the output.
pub(super) fn read(
    model: &Model,
    objective: &Objective,
    tensors: &NamedTensors,
) -> Result<(Vec<Targets>, NamedTensors)> {
    let ports = model.all_ports();
    let (mut all, mut used) = (Vec::with_capacity(objective.terms().len()), BTreeSet::new());
    for term in objective.terms() {
        let (name, mut targets) = wanted(model, &ports, term, tensors)?;
        used.extend(name);
        let names = weight_names(model, &ports, term.output);
        if let Some(name) = one_of(&names, tensors)? {
            let weights = tensors[name].to_f32().into_owned();
            let weights = of_rows(model, term, port(&ports, term.output), weights).map_err(|e| e.at(name))?;
            targets = targets.sample_weights(weights);
            used.insert(name.clone());
        }
        all.push(targets);
    }
    let others = tensors.iter().filter(|(name, _)| !used.contains(*name));
    let others: NamedTensors = others.map(|(name, values)| (name.clone(), values.clone())).collect();
    if others.contains_key(WEIGHTS) && ports.inputs.iter().all(|port| port.name != WEIGHTS) {
        let names = objective.terms().iter().flat_map(|term| weight_names(model, &ports, term.output));
        let names = names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ");
        return Err(shape(format!("{WEIGHTS}: expected weights for each output ({names}), got some for all")));
    }
    Ok((all, others))
}

/// Returns the targets of `term`, and the name of their tensor.
fn wanted(model: &Model, ports: &Ports, term: &Term, tensors: &NamedTensors) -> Result<(Option<String>, Targets)> {
    if term.loss == Loss::SumOfSquares {
        return Ok((None, Targets::none()));
    }
    let names = names(model, ports, term.output, TARGETS);
    let Some(name) = one_of(&names, tensors)? else {
        let got: Vec<_> = tensors.keys().map(String::as_str).collect();
        let (names, got) = (names.join(" or "), got.join(", "));
        let loss = term.loss.name();
        return Err(shape(format!("{names}: expected the targets of {loss} under this name, got {got}")));
    };
    let port = port(ports, term.output);
    let values = match &tensors[name] {
        Values::F32(array) => Values::F32(arranged(model, term, port, array.clone()).map_err(|e| e.at(name))?),
        Values::I64(array) => Values::I64(arranged(model, term, port, array.clone()).map_err(|e| e.at(name))?),
    };
    let targets = match (&term.loss, values) {
        (Loss::CrossEntropy(_), Values::I64(classes)) => Targets::classes(classes),
        (_, values) => Targets::values(values.to_f32().into_owned()),
    };
    Ok((Some(name.clone()), targets))
}

/// Returns the one of `names` that is given.
fn one_of<'n>(names: &'n [String], tensors: &NamedTensors) -> Result<Option<&'n String>> {
    let mut given = names.iter().filter(|name| tensors.contains_key(*name));
    match (given.next(), given.next()) {
        (Some(first), Some(second)) => Err(shape(format!("{first} and {second}: expected one of them, got both"))),
        (name, _) => Ok(name),
    }
}

/// Returns the axes of the tensor `name` with `count` axes, if it holds the targets of `term` or their sample weights.
pub(super) fn axes(model: &Model, term: &Term, name: &str, count: usize) -> Option<Vec<Dim>> {
    let ports = model.all_ports();
    let is_among = |names: Vec<String>| names.iter().any(|known| known == name);
    let are_targets = term.loss != Loss::SumOfSquares && is_among(names(model, &ports, term.output, TARGETS));
    if !are_targets && !is_among(weight_names(model, &ports, term.output)) {
        return None;
    }
    let whole = match port(&ports, term.output) {
        Some(port) => port.axes.clone(),
        None => model_axes(model, term.output),
    };
    let rows = rows(&whole);
    Some(match are_targets {
        true if count == rows.len() => rows,
        true => whole,
        // One for all steps of a row.
        false if count == 1 => vec![Dim::Batch],
        false => rows,
    })
}

/// Returns the names beginning with `what` under which a tensor of an output may come.
fn names(model: &Model, ports: &Ports, output: usize, what: &str) -> Vec<String> {
    let only = model.feature_outputs().len() == 1 && ports.inputs.iter().all(|port| port.name != what);
    let short = only.then(|| what.to_owned());
    let own = ports.outputs.iter().filter(|port| gives(port, output)).map(|port| format!("{what}_{}", port.name));
    short.into_iter().chain(own).collect()
}

/// Returns the names for sample weights. They are optional, so the name of an input belongs to that input.
fn weight_names(model: &Model, ports: &Ports, output: usize) -> Vec<String> {
    let mut names = names(model, ports, output, WEIGHTS);
    names.retain(|name| ports.inputs.iter().all(|port| port.name != *name));
    names
}

/// Returns the first port that gives an output unchanged.
fn port(ports: &Ports, output: usize) -> Option<&OutputPort> {
    ports.outputs.iter().find(|port| gives(port, output))
}

fn gives(port: &OutputPort, output: usize) -> bool {
    matches!(port.value, OutputValue::Output | OutputValue::Another(_)) && port.value.index() == output
}

/// Returns the axes of an output in a call.
fn model_axes(model: &Model, output: usize) -> Vec<Dim> {
    let flow = model.output_flows().ok().and_then(|flows| flows.get(output).copied());
    flow.map_or_else(|| model.axes_of(false), |flow| model.axes_of_flow(flow))
}

/// Returns the axes of rows, without features.
fn rows(axes: &[Dim]) -> Vec<Dim> {
    axes.iter().copied().filter(|dim| !matches!(dim, Dim::Features | Dim::Directions)).collect()
}

/// Returns `array` in the axes of a call; it comes in those of `port`.
fn arranged<A: Clone>(model: &Model, term: &Term, port: Option<&OutputPort>, array: ArrayD<A>) -> Result<ArrayD<A>> {
    let wanted = model_axes(model, term.output);
    let Some(port) = port.filter(|port| port.axes != wanted) else { return Ok(array) };
    let (all, of_rows) = (&port.axes, rows(&port.axes));
    let with_features = array.ndim() == all.len();
    if !with_features && array.ndim() != of_rows.len() {
        return Err(shape(format!("expected {} axes, as {} has, got {:?}", all.len(), port.name, array.shape())));
    }
    let axes = if with_features { all } else { &of_rows };
    let long: Vec<Dim> = axes.iter().copied().filter(|dim| *dim != Dim::One).collect();
    let lacks = |(dim, length): (&Dim, &usize)| *length != 1 && (*dim == Dim::One || !has(&wanted, *dim));
    if axes.iter().zip(array.shape()).any(lacks) {
        return Err(shape(format!("expected the axes of {}, got {:?}", port.name, array.shape())));
    }
    let order: Vec<Dim> = match (with_features, long.contains(&Dim::Directions)) {
        (false, _) => rows(&wanted),
        (true, false) => wanted.clone(),
        (true, true) => {
            let rows = rows(&wanted);
            rows.into_iter().chain([Dim::Directions, Dim::Features]).collect()
        }
    };
    let array = arrange(array, axes, &order);
    if array.ndim() == wanted.len() || !with_features {
        return Ok(array);
    }
    let mut lengths = array.shape().to_vec();
    let (features, directions) = (lengths.pop().unwrap_or(1), lengths.pop().unwrap_or(1));
    lengths.push(directions * features);
    Ok(array.as_standard_layout().into_owned().into_shape_with_order(IxDyn(&lengths)).expect("as many elements"))
}

/// Returns sample weights in the axes of a call; they come in those of
/// `port` without features. A call reports what is wrong with others.
fn of_rows(model: &Model, term: &Term, port: Option<&OutputPort>, array: ArrayD<f32>) -> Result<ArrayD<f32>> {
    let wanted = rows(&model_axes(model, term.output));
    let Some(port) = port else { return Ok(array) };
    let own = rows(&port.axes);
    if own == wanted || array.ndim() != own.len() {
        return Ok(array);
    }
    if own.iter().zip(array.shape()).any(|(dim, length)| *length != 1 && !wanted.contains(dim)) {
        let text = format!("expected the axes of {} without its features, got {:?}", port.name, array.shape());
        return Err(shape(text));
    }
    Ok(arrange(array, &own, &wanted))
}

/// Returns whether an axis is among those of a call; directions are part of its features.
fn has(axes: &[Dim], dim: Dim) -> bool {
    axes.contains(&dim) || dim == Dim::Directions && axes.contains(&Dim::Features)
}

fn shape(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Shape, text)
}
