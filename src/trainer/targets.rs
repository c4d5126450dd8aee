//! Named tensors → the targets of a loss: under which names they come, and in which axes.

use ndarray::{ArrayD, IxDyn};

use crate::error::{Error, ErrorKind, Result};
use crate::loss::{Loss, Targets, Term};
use crate::model::{Dim, Model, OutputPort, OutputValue, Ports};
use crate::named::{NamedTensors, Values, arrange};

/// The name of the targets of a model of one output; of another output it comes before its name.
const NAME: &str = "y";

/// The targets of `term`, and the tensor that they were.
///
/// # Errors
///
/// Kind `Shape`, where there is none or more than one, or it has other axes than the output.
pub(super) fn read(model: &Model, term: &Term, tensors: &NamedTensors) -> Result<(Option<String>, Targets)> {
    if term.loss == Loss::SumOfSquares {
        return Ok((None, Targets::none()));
    }
    let ports = model.all_ports();
    let names = names(model, &ports, term.output);
    let given: Vec<_> = names.iter().filter(|name| tensors.contains_key(*name)).collect();
    let name = match given[..] {
        [name] => name,
        [] => {
            let got: Vec<_> = tensors.keys().map(String::as_str).collect();
            let (names, got) = (names.join(" or "), got.join(", "));
            let loss = term.loss.name();
            return Err(shape(format!("{names}: expected the targets of {loss} under this name, got {got}")));
        }
        [first, second, ..] => {
            return Err(shape(format!("{first} and {second}: expected one of them, got both")));
        }
    };
    let port = port(&ports, term.output);
    let values = match &tensors[name] {
        Values::Real(array) => Values::Real(arranged(model, term, port, array.clone()).map_err(|e| e.at(name))?),
        Values::Whole(array) => Values::Whole(arranged(model, term, port, array.clone()).map_err(|e| e.at(name))?),
    };
    let targets = match (&term.loss, values) {
        (Loss::CrossEntropy(_), Values::Whole(classes)) => Targets::classes(classes),
        (_, values) => Targets::values(values.real().into_owned()),
    };
    Ok((Some(name.clone()), targets))
}

/// The axes of the tensor `name`, which has so many, where it is the targets of `term`.
pub(super) fn axes(model: &Model, term: &Term, name: &str, count: usize) -> Option<Vec<Dim>> {
    let ports = model.all_ports();
    if term.loss == Loss::SumOfSquares || !names(model, &ports, term.output).iter().any(|known| known == name) {
        return None;
    }
    let whole = match port(&ports, term.output) {
        Some(port) => port.axes.clone(),
        None => model_axes(model, term.output),
    };
    let rows = rows(&whole);
    Some(if count == rows.len() { rows } else { whole })
}

/// The names under which the targets of an output may come.
fn names(model: &Model, ports: &Ports, output: usize) -> Vec<String> {
    let only = model.feature_outputs().len() == 1 && ports.inputs.iter().all(|port| port.name != NAME);
    let short = only.then(|| NAME.to_owned());
    let own = ports.outputs.iter().filter(|port| gives(port, output)).map(|port| format!("{NAME}_{}", port.name));
    short.into_iter().chain(own).collect()
}

/// The first port that gives an output as it is.
fn port(ports: &Ports, output: usize) -> Option<&OutputPort> {
    ports.outputs.iter().find(|port| gives(port, output))
}

fn gives(port: &OutputPort, output: usize) -> bool {
    matches!(port.value, OutputValue::Output | OutputValue::Another(_)) && port.value.index() == output
}

/// The axes of an output as a call has them.
fn model_axes(model: &Model, output: usize) -> Vec<Dim> {
    let flow = model.output_flows().ok().and_then(|flows| flows.get(output).copied());
    flow.map_or_else(|| model.axes_of(false), |flow| model.axes_of_flow(flow))
}

/// Those of its rows, without features.
fn rows(axes: &[Dim]) -> Vec<Dim> {
    axes.iter().copied().filter(|dim| !matches!(dim, Dim::Features | Dim::Directions)).collect()
}

/// `array`, which has the axes of `port`, in those of a call.
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

/// Whether an axis is among those of a call; directions are parts of its features.
fn has(axes: &[Dim], dim: Dim) -> bool {
    axes.contains(&dim) || dim == Dim::Directions && axes.contains(&Dim::Features)
}

fn shape(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Shape, text)
}
