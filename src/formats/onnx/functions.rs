//! Elementwise functions, and the softmax family over the features.

use super::folded;
use super::graph::Graph;
use super::join;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::scores;
use super::statistics;
use super::value::{Axis, Late, Role, Value};
use crate::cell::{Activation, Constant as Number};
use crate::error::{Error, Result};
use crate::model::Join;

/// The operators that are a function of single numbers.
pub(super) const FUNCTIONS: [&str; 18] = [
    "Sigmoid",
    "Tanh",
    "Relu",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Celu",
    "HardSigmoid",
    "HardSwish",
    "Softplus",
    "Softsign",
    "ThresholdedRelu",
    "Gelu",
    "Mish",
    "Exp",
    "Shrink",
    "Swish",
    "Neg",
];

/// Returns the function of `node`, with its constants.
fn activation(node: &Node<'_>) -> Result<Activation> {
    let number = |name: &str, default: f32| Ok::<_, Error>(Number::new(node.float(name)?.unwrap_or(default)));
    Ok(match node.op {
        "Sigmoid" => Activation::Sigmoid,
        "Tanh" => Activation::Tanh,
        "Relu" => Activation::Relu,
        "LeakyRelu" => Activation::LeakyRelu { alpha: number("alpha", 0.01)? },
        "Elu" => Activation::Elu { alpha: number("alpha", 1.0)? },
        "Selu" => Activation::Selu { alpha: number("alpha", 1.673_263_2)?, gamma: number("gamma", 1.050_701)? },
        "Celu" => Activation::Celu { alpha: number("alpha", 1.0)? },
        "HardSigmoid" => Activation::HardSigmoid { alpha: number("alpha", 0.2)?, beta: number("beta", 0.5)? },
        "HardSwish" => Activation::HardSilu { alpha: Number::new(1.0 / 6.0), beta: Number::new(0.5) },
        "Softplus" => Activation::Softplus,
        "Softsign" => Activation::Softsign,
        "ThresholdedRelu" => Activation::ThresholdedRelu { alpha: number("alpha", 1.0)? },
        "Mish" => Activation::Mish,
        "Exp" => Activation::Exponential,
        "Neg" => Activation::Affine { alpha: Number::new(-1.0), beta: Number::new(0.0) },
        "Gelu" => match node.text("approximate")?.as_deref() {
            None | Some("none") => Activation::Gelu,
            Some("tanh") => Activation::GeluTanh,
            Some(other) => return Err(misfit(format!("approximate: expected none or tanh, got {other:?}"))),
        },
        "Swish" => match node.float("alpha")?.unwrap_or(1.0) {
            1.0 => Activation::Silu,
            other => return Err(misfit(format!("alpha: expected 1, got {other}"))),
        },
        "Shrink" => {
            let (alpha, bias) = (number("lambd", 0.5)?, node.float("bias")?.unwrap_or(0.0));
            match bias {
                0.0 => Activation::HardShrink { alpha },
                bias if bias == alpha.get() => Activation::SoftShrink { alpha },
                bias => return Err(misfit(format!("bias: expected 0 or lambd ({alpha}), got {bias}"))),
            }
        }
        other => return Err(misfit(format!("no function {other}"))),
    })
}

pub(super) fn function(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    if let Some(value) = folded::unary(graph, node.op, &x)? {
        return Ok(vec![value]);
    }
    let activation = activation(node)?;
    if let Some(delayed) = graph.delayed(&x, &Late::Through(What::activation(activation))) {
        return Ok(vec![delayed]);
    }
    let data = graph.data(x, None)?;
    graph.links.activate(data, activation).map(|data| vec![Value::Data(data)])
}

pub(super) fn erf(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let data = graph.data(x, None)?;
    graph.links.through(data, What::Erf, true).map(|data| vec![Value::Data(data)])
}

/// Reads functions that only constants have here; and the size of a number, which is the larger of it and its negative.
pub(super) fn of_constants(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    if let Some(value) = folded::unary(graph, node.op, &x)? {
        return Ok(vec![value]);
    }
    if node.op != "Abs" {
        let text =
            format!("expected constants of the file, got {}: no layer here computes {} of it", x.kind(), node.op);
        return Err(misfit(text));
    }
    let data = graph.data(x, None)?;
    let negative = Activation::Affine { alpha: Number::new(-1.0), beta: Number::new(0.0) };
    let turned = graph.links.activate(data.clone(), negative)?;
    join::elementwise(graph, Join::Maximum, vec![data, turned]).map(|data| vec![Value::Data(data)])
}

/// Reads the logarithm of a function, if the two together are one function.
pub(super) fn log(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    if let Some(value) = folded::unary(graph, node.op, &x)? {
        return Ok(vec![value]);
    }
    match x {
        Value::Data(data) => graph.links.logarithm(data).map(|data| vec![Value::Data(data)]),
        other => Err(misfit(format!("the logarithm of {}", other.kind()))),
    }
}

/// Reads bounds: attributes before version 11, inputs since.
pub(super) fn clip(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let bound = |index: usize, name: &str, default: f32| {
        let given = match graph.optional(node, index)? {
            None => node.float(name)?,
            Some(Value::Constant(bound)) if bound.len() == 1 => bound.scalar()?,
            Some(other) => return Err(misfit(format!("{name}: expected a number of the file, got {}", other.kind()))),
        };
        Ok::<_, Error>(given.unwrap_or(default))
    };
    let (least, most) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
    let clamp = Activation::Clamp { alpha: Number::new(least), beta: Number::new(most) };
    if let Some(delayed) = graph.delayed(&x, &Late::Through(What::activation(clamp))) {
        return Ok(vec![delayed]);
    }
    let data = graph.data(x, None)?;
    statistics::clamped(graph, data, least, most).map(|data| vec![Value::Data(data)])
}

/// Reads a softmax over the features; before version 13 it is over all axes from `axis` on.
pub(super) fn softmax(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    let old = node.opset < 13;
    let axis_of = |rank: usize| Value::axis(node.int("axis")?.unwrap_or(if old { 1 } else { -1 }), rank);
    if let Value::Scored(scored) = x {
        let axis = axis_of(scored.axes.len())?;
        if node.op != "Softmax" || old && scored.axes[axis + 1..].iter().any(|axis| !axis.is_one()) {
            return Err(misfit(format!("{} of {}", node.op, scored.axes_text())));
        }
        return scores::softmax(*scored, axis).map(|value| vec![value]);
    }
    let data = graph.data(x, None)?;
    let axis = axis_of(data.axes.len())?;
    let is_one = |axis: &Axis| axis.size.is(1);
    let is_steps = matches!(data.axes[axis].role, Role::Time | Role::Open(_)) && !is_one(&data.axes[axis]);
    if node.op == "Softmax" && is_steps && (!old || data.axes[axis + 1..].iter().all(is_one)) {
        return scores::softmax_of_steps(graph, data, axis).map(|value| vec![value]);
    }
    let over = if old { &data.axes[axis..] } else { &data.axes[axis..=axis] };
    let features = over.iter().filter(|axis| axis.role == Role::Features).count();
    if features != 1 || over.iter().any(|axis| axis.role != Role::Features && !axis.size.is(1)) {
        return Err(misfit(format!("expected the features, got axis {axis} of {}", data.axes_text())));
    }
    let activation = if node.op == "Softmax" { Activation::Softmax } else { Activation::LogSoftmax };
    graph.links.activate(data, activation).map(|data| vec![Value::Data(data)])
}

/// Reads the index of the largest feature.
pub(super) fn arg_max(graph: &mut Graph, node: &Node<'_>) -> Result<Vec<Value>> {
    let x = graph.input(node, 0)?;
    if node.flag("select_last_index")? {
        return Err(misfit("select_last_index: expected 0, the first of equal features".into()));
    }
    let keeps = node.int("keepdims")?.unwrap_or(1) != 0;
    largest(graph, x, node.int("axis")?.unwrap_or(0), keeps).map(|place| vec![place])
}

/// Returns the index of the largest feature of `x` along axis `axis`, which stays with length 1 if `keeps` is true.
pub(super) fn largest(graph: &mut Graph, x: Value, axis: i64, keeps: bool) -> Result<Value> {
    let data = graph.data(x, None)?;
    let axis = Value::axis(axis, data.axes.len())?;
    if data.axes[axis].role != Role::Features {
        return Err(misfit(format!("expected the features, got axis {axis} of {}", data.axes_text())));
    }
    let mut data = graph.links.through(data, What::Largest, false)?;
    match keeps {
        false => drop(data.axes.remove(axis)),
        true => data.axes[axis] = Axis::one(),
    }
    Ok(Value::Data(data))
}
