//! The numbers of layers that normalise: two of each feature, and in a layout for training the statistics of a batch
//! norm apart from them.

use super::contents::{Contents, Tensor};
use super::{Buffer, Form, Layout, Role};
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::{LANES, padded};
use crate::model::{self, BIAS, Consumers, LayerKind, Model, Pin, Value, WEIGHT};
use crate::precision::Precision;

/// Refuses to train a batch norm that is not frozen.
pub(super) fn check_trained(model: &Model) -> Result<()> {
    let learns = |kind: &LayerKind| matches!(kind, LayerKind::BatchNorm(norm) if !norm.frozen);
    match model.layers.iter().position(|layer| learns(&layer.kind)) {
        None => Ok(()),
        Some(layer) => Err(Error::new(
            ErrorKind::Training,
            format!(
                "layer {}: expected a batch_norm that is frozen to train, got one that would learn its mean and variance; \
                 set \"frozen\": true to train with those that it has, or use a layer_norm",
                model.place(layer)
            ),
        )),
    }
}

impl Role {
    /// Whether it is of a layer that normalises.
    pub(crate) fn is_of_norm(self) -> bool {
        matches!(self, Self::Norm { .. } | Self::Statistics { .. })
    }
}

/// Which products compute a batch norm, so that it needs no kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FoldedNorm {
    /// The linear layer before it: scale and shift go into its rows and its bias.
    IntoSource(usize),
    /// All layers that take it: they go into the columns and biases of their products.
    IntoConsumers,
}

impl Layout {
    /// Returns which products compute layer `layer`, if it is a batch norm that is folded. Products of smaller numbers
    /// would be rounded after the fold, and weights that are trained stay apart.
    pub(crate) fn folded_norm(&self, model: &Model, layer: usize) -> Option<FoldedNorm> {
        if self.trains || self.storage != Precision::F32 { None } else { folded(model, layer) }
    }

    /// Returns the batch norm that is folded into the columns of what layer `layer` multiplies.
    pub(crate) fn norm_before(&self, model: &Model, layer: usize) -> Option<usize> {
        let Value::Layer(norm, Pin::Output) = model.origin(*model.layers[layer].from.first()?) else { return None };
        (self.folded_norm(model, norm)? == FoldedNorm::IntoConsumers).then_some(norm)
    }

    /// Returns the batch norm that is folded into the rows of linear layer `layer`.
    pub(crate) fn norm_after(&self, model: &Model, layer: usize) -> Option<usize> {
        let is_it = |norm: &usize| self.folded_norm(model, *norm) == Some(FoldedNorm::IntoSource(layer));
        (layer + 1..model.layers.len()).find(is_it)
    }

    /// Adds the buffers of layer `layer` if it normalises: `[2][1][width]` each.
    pub(super) fn normalized(&mut self, model: &Model, layer: usize, kind: &LayerKind) {
        let Some(norm) = kind.norm().filter(|_| self.folded_norm(model, layer).is_none()) else { return };
        let of_len = |len: usize| Form::Table { directions: 2, rows: 1, width: padded(len) };
        if norm.has_statistics() && self.trains {
            let form = of_len(norm.features);
            self.add(model, format!("{layer}.statistics"), Role::Statistics { layer }, form);
            if norm.weight.is_none() && !norm.bias {
                return;
            }
        }
        let form = of_len(norm.weight.unwrap_or(norm.features));
        self.add(model, format!("{layer}.norm"), Role::Norm { layer }, form);
    }
}

/// Returns which products can compute layer `layer`, if it is a batch norm.
fn folded(model: &Model, layer: usize) -> Option<FoldedNorm> {
    let LayerKind::BatchNorm(_) = model.layers[layer].kind else { return None };
    let consumers = Consumers::of(model);
    let from = model.origin(*model.layers[layer].from.first()?);
    if let Value::Layer(source, Pin::Output) = from
        && let LayerKind::Linear(linear) = &model.layers[source].kind
        && linear.activation == Activation::Linear
        && consumers.of_steps(source) == [Some(layer)]
        && !consumers.begins(source)
    {
        return Some(FoldedNorm::IntoSource(source));
    }
    // Its consumers take its features as they are laid out.
    let taken = model.taken().ok()?.get(layer)?.features();
    let is_plain = taken.parts == 1 || taken.size.is_multiple_of(LANES);
    let multiplies = |consumer: &Option<usize>| {
        consumer.is_some_and(|consumer| {
            let kind = &model.layers[consumer].kind;
            matches!(kind, LayerKind::Linear(_) | LayerKind::Recurrent(_)) && !model.ports.supplies(consumer)
        })
    };
    let taken = consumers.of_steps(layer);
    let all = !taken.is_empty() && taken.iter().all(multiplies) && !consumers.begins(layer);
    (is_plain && all).then_some(FoldedNorm::IntoConsumers)
}

/// Returns which tensor is row `row` of a buffer of a layer that normalises.
pub(super) fn contents(model: &Model, buffer: &Buffer, row: usize) -> Option<Contents> {
    let layer = &model.layers[buffer.role.layer()?];
    let norm = layer.kind.norm()?;
    let tensor = |local: &str, role| Some(Tensor { name: layer.prefix.clone() + local, role });
    let (own, columns) = match (buffer.role, row) {
        (Role::Norm { .. }, 0) => {
            let weight = norm.weight.and_then(|_| tensor(WEIGHT, model::Role::Diagonal));
            (weight, norm.weight.unwrap_or(norm.features))
        }
        (Role::Norm { .. }, _) => (norm.bias.then(|| tensor(BIAS, model::Role::Bias)).flatten(), norm.features),
        // No update changes statistics.
        _ => (None, norm.features),
    };
    Some(Contents { tensors: [own, None, None], rows: 0..1, columns })
}
