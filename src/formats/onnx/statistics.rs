//! Recognizes layers that normalise from the arithmetic that exporters write: means, squares, roots and quotients of the
//! features. Each part is a link of the value that it is made of; the quotient is a layer.

use super::change::Change;
use super::constant::Constant;
use super::graph::Graph;
use super::links::What;
use super::misfit;
use super::node::Node;
use super::size::Size;
use super::value::{At, Data, Role, Segment, Value};
use super::what::{Divisor, Statistic};
use crate::cell::{Activation, Constant as Number};
use crate::error::Result;
use crate::model::{Join, L2Norm, LayerKind, LayerNorm, RmsNorm};
use crate::weights::dialect::{BIAS, WEIGHT};

const ZERO: Number = Number::new(0.0);

impl Graph {
    /// Returns the statistic that `data` is, and the link that it is of.
    pub(super) fn statistic(&self, data: &Data) -> Option<(Statistic, usize)> {
        let mut segments = data.segments();
        let (Some(segment), None) = (segments.next(), segments.next()) else { return None };
        let link = self.links.link(segment.link);
        match (&link.what, link.parent()) {
            (What::Statistic(statistic), Some(of)) => Some((*statistic, of)),
            _ => None,
        }
    }

    /// Returns `data`, which is of link `of`, as `statistic` of it. One number stands for all features.
    fn as_statistic(&mut self, mut data: Data, of: usize, statistic: Statistic) -> Data {
        let features = if statistic.is_of_each() { self.links.link(of).features } else { 1 };
        let link = self.links.child(of, What::Statistic(statistic), features);
        data.content.fill(self.links.whole(link));
        data
    }
}

/// Reads a reduction over the features of `value`, if `axes` are those: a mean, a sum of squares, or a length. Returns
/// `None` for another.
pub(super) fn reduced(graph: &mut Graph, node: &Node<'_>, value: &Value, axes: &[usize]) -> Result<Option<Value>> {
    if !graph.flows(value) {
        return Ok(None);
    }
    let rank = value.sizes()?.len();
    let &[axis] = axes else { return Ok(None) };
    let data = match value {
        Value::Data(data) => data.clone(),
        value if axis + 1 == rank => graph.data(value.clone(), None)?,
        _ => return Ok(None),
    };
    if data.axes[axis].role != Role::Features || data.content.ndim() > 0 {
        return Ok(None);
    }
    let (of, statistic) = match (node.op, graph.statistic(&data)) {
        ("ReduceMean", Some((Statistic::CentredSquares, of))) => {
            (of, Statistic::Squares { centred: true, summed: false, eps: ZERO })
        }
        (_, Some(_)) => return Err(unknown()),
        (op, None) => {
            let of = graph.links.exact(&data.flat())?;
            let squared = squared(graph, of);
            match (op, squared) {
                ("ReduceMean", None) => (of, Statistic::Mean),
                ("ReduceMean", Some(of)) => (of, Statistic::Squares { centred: false, summed: false, eps: ZERO }),
                ("ReduceSum", Some(of)) => (of, Statistic::Squares { centred: false, summed: true, eps: ZERO }),
                ("ReduceL2", _) => (of, Statistic::Divisor(Divisor::Length { eps: ZERO })),
                _ => return Ok(None),
            }
        }
    };
    let mut data = graph.as_statistic(data, of, statistic);
    match node.int("keepdims")?.unwrap_or(1) {
        0 => drop(data.axes.remove(axis)),
        _ => data.axes[axis].size = Size::of(1),
    }
    Ok(Some(Value::Data(data)))
}

/// Returns the link whose squares link `of` is.
fn squared(graph: &Graph, of: usize) -> Option<usize> {
    let link = graph.links.link(of);
    match (&link.what, &link.parents[..]) {
        (What::Layer(LayerKind::Join(Join::Multiply)), &[a, b]) if a == b => Some(a),
        _ => None,
    }
}

/// Returns `data` to the power of `exponent`, if it is a part of what normalises.
pub(super) fn raised(graph: &mut Graph, data: Data, exponent: f32) -> Result<Data> {
    let (statistic, of) = graph.statistic(&data).ok_or_else(|| {
        misfit(format!("expected what normalises features, got {} to the power of {exponent}", data.axes_text()))
    })?;
    let divisor = match statistic {
        Statistic::Squares { centred, summed: false, eps } => Some(Divisor::Deviation { centred, eps }),
        Statistic::Squares { centred: false, summed: true, eps: ZERO } => Some(Divisor::Length { eps: ZERO }),
        Statistic::AtLeast(least) => Some(Divisor::Length { eps: Number::new(least.get().sqrt()) }),
        _ => None,
    };
    let raised = match (statistic, divisor) {
        (_, Some(divisor)) if exponent == 0.5 => Statistic::Divisor(divisor),
        (_, Some(divisor)) if exponent == -0.5 => Statistic::Inverse(divisor),
        (Statistic::Divisor(divisor), _) if exponent == -1.0 => Statistic::Inverse(divisor),
        _ => return Err(unknown()),
    };
    Ok(graph.as_statistic(data, of, raised))
}

/// Returns `weight` divided by `data`: 1 by what normalises.
pub(super) fn inverse(graph: &mut Graph, data: Data, weight: &Constant) -> Result<Data> {
    match (graph.statistic(&data), weight.scalar()?) {
        (Some(_), Some(1.0)) => raised(graph, data, -1.0),
        _ => Err(misfit("a weight divided by what flows".into())),
    }
}

/// Returns the combination of two values if one is a part of what normalises the other.
pub(super) fn both(graph: &mut Graph, op: &str, a: &Data, b: &Data) -> Result<Option<Data>> {
    let (first, second) = (graph.statistic(a), graph.statistic(b));
    match (op, first, second) {
        (_, None, None) => Ok(None),
        ("Sub", None, Some((Statistic::Mean, of))) => match is_of(graph, a, of) {
            Ok(()) => Ok(Some(graph.as_statistic(a.clone(), of, Statistic::Centred))),
            Err(_) => Ok(None),
        },
        ("Mul", Some((Statistic::Centred, x)), Some((Statistic::Centred, y))) if x == y => {
            Ok(Some(graph.as_statistic(a.clone(), x, Statistic::CentredSquares)))
        }
        ("Div", _, Some((Statistic::Divisor(divisor), of))) | ("Mul", _, Some((Statistic::Inverse(divisor), of))) => {
            divided(graph, a, (divisor, of)).map(Some)
        }
        ("Mul", Some((Statistic::Inverse(divisor), of)), _) => divided(graph, b, (divisor, of)).map(Some),
        _ if [first, second].iter().flatten().all(|(statistic, _)| statistic.is_value()) => Ok(None),
        _ => Err(unknown()),
    }
}

/// Returns `data` by what normalises it.
fn divided(graph: &mut Graph, data: &Data, (divisor, of): (Divisor, usize)) -> Result<Data> {
    let mut data = data.clone();
    match (divisor, graph.statistic(&data)) {
        (Divisor::Deviation { centred: true, .. }, Some((Statistic::Centred, own))) if own == of => {
            // The layer takes what the mean was subtracted from.
            data.content.fill(graph.links.whole(of));
        }
        (Divisor::Deviation { centred: false, .. } | Divisor::Length { .. }, None) => is_of(graph, &data, of)?,
        _ => return Err(unknown()),
    }
    let axis = data.position(&Role::Features).ok_or_else(unknown)?;
    let n = features_at(&data, axis)?;
    let kind = match divisor {
        Divisor::Deviation { centred, eps } => with_eps(n, centred, eps),
        Divisor::Length { eps } => L2Norm::new(n).eps(eps.get()).into(),
    };
    normalized(graph, data, axis, kind, Vec::new())
}

/// Checks that `data` is all of link `of`.
fn is_of(graph: &mut Graph, data: &Data, of: usize) -> Result<()> {
    let own = graph.links.exact(&data.flat())?;
    if own == of { Ok(()) } else { Err(misfit("a mean or a length of other features".into())) }
}

/// Returns the combination of `data` with a weight, if it is a part of what normalises, or what a layer
/// that normalises multiplies with or adds.
pub(super) fn weighted(graph: &mut Graph, op: &str, data: &Data, weight: &Constant) -> Result<Option<Data>> {
    if let Some((statistic, of)) = graph.statistic(data) {
        let number = match weight.scalar()? {
            None if statistic.is_value() => return Ok(None),
            number => number.ok_or_else(unknown)?,
        };
        let changed = match (op, statistic) {
            ("Add", Statistic::Squares { centred, summed, eps: ZERO }) => {
                Statistic::Squares { centred, summed, eps: Number::new(number) }
            }
            _ if statistic.is_value() => return Ok(None),
            _ => return Err(unknown()),
        };
        return Ok(Some(graph.as_statistic(data.clone(), of, changed)));
    }
    let flat = data.flat();
    let ([Segment { link, at: At::All, start: 0, len }], Some(axis)) = (&flat[..], data.position(&Role::Features))
    else {
        return Ok(None);
    };
    let (old, n) = (graph.links.link(*link), weight.len());
    let is_vector = weight.dims().last() == Some(&n) && axis + 1 == data.axes.len() && old.features == n && *len == n;
    let (name, kind): (_, LayerKind) = match (op, &old.what) {
        _ if !is_vector => return Ok(None),
        ("Mul", What::Layer(LayerKind::LayerNorm(norm))) if !norm.scale && !norm.bias => {
            (WEIGHT, LayerNorm { scale: true, ..norm.clone() }.into())
        }
        ("Mul", What::Layer(LayerKind::RmsNorm(norm))) if !norm.scale => {
            (WEIGHT, RmsNorm { scale: true, ..norm.clone() }.into())
        }
        ("Add", What::Layer(LayerKind::LayerNorm(norm))) if !norm.bias => {
            (BIAS, LayerNorm { bias: true, ..norm.clone() }.into())
        }
        _ => return Ok(None),
    };
    let (parent, mut tensors) = (old.parents[0], old.tensors.clone());
    tensors.push((name.to_owned(), weight.clone().changed(Change::Reshape(vec![n]))?));
    let link = graph.links.layer(parent, kind, n, tensors);
    let mut data = data.clone();
    data.fill(link);
    Ok(Some(data))
}

/// Returns `data` between two bounds. A length or a sum of squares with a lower one is a part of what normalises.
pub(super) fn clamped(graph: &mut Graph, data: Data, least: f32, most: f32) -> Result<Data> {
    let Some((statistic, of)) = graph.statistic(&data).filter(|_| most >= f32::MAX) else {
        return graph.links.activate(data, Activation::Clamp { alpha: Number::new(least), beta: Number::new(most) });
    };
    let bounded = match statistic {
        Statistic::Divisor(Divisor::Length { eps }) => {
            Statistic::Divisor(Divisor::Length { eps: Number::new(eps.get().max(least)) })
        }
        Statistic::Squares { centred: false, summed: true, eps: ZERO } if least >= 0.0 => {
            Statistic::AtLeast(Number::new(least))
        }
        _ => return Err(unknown()),
    };
    Ok(graph.as_statistic(data, of, bounded))
}

fn unknown() -> crate::error::Error {
    misfit("a mean, square or length of the features, but in what makes a LayerNorm, an RMSNorm or an L2 norm".into())
}

/// Returns how many features are at `axis` of `data`.
pub(super) fn features_at(data: &Data, axis: usize) -> Result<usize> {
    let size = data.axes.get(axis).filter(|axis| axis.role == Role::Features).and_then(|axis| axis.size.value());
    let size = size.and_then(|n| usize::try_from(n).ok()).filter(|_| data.content.ndim() == 0);
    size.ok_or_else(|| misfit(format!("expected the features, got axis {axis} of {}", data.axes_text())))
}

/// Returns `data`, whose features are at `axis`, behind a layer that normalises it.
pub(super) fn normalized(
    graph: &mut Graph,
    mut data: Data,
    axis: usize,
    kind: LayerKind,
    tensors: Vec<(String, Constant)>,
) -> Result<Data> {
    let n = features_at(&data, axis)?;
    let parent = graph.links.exact(&data.flat())?;
    let link = graph.links.layer(parent, kind, n, tensors);
    data.fill(link);
    data.axes[axis].size = Size::len(n);
    Ok(data)
}

/// Returns `kind`, a layer without weight and bias, with ε.
fn with_eps(n: usize, centred: bool, eps: Number) -> LayerKind {
    match centred {
        true => LayerNorm::new(n).eps(eps.get()).scale(false).bias(false).into(),
        false => RmsNorm::new(n).eps(eps.get()).scale(false).into(),
    }
}
