//! The last activation of an output, which a cross-entropy takes as a part of itself.

use super::Loss;
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{LayerKind, Model, Pin, Value};

/// The layer whose activation is part of `loss`, where the output `value` has such a last layer: the loss is taken from the
/// logits before it.
///
/// # Errors
///
/// Kind `Model`, where the last activation is that of the other cross-entropy.
pub(super) fn part_of(loss: &Loss, model: &Model, value: Value) -> Result<Option<usize>> {
    use Activation::{LogSoftmax, Sigmoid, Softmax};
    let Some((layer, activation)) = last_activation(model, value) else { return Ok(None) };
    let other = match (loss, activation) {
        (Loss::CrossEntropy(_), Softmax | LogSoftmax) | (Loss::BinaryCrossEntropy(_), Sigmoid) => {
            return Ok(Some(layer));
        }
        (Loss::CrossEntropy(_), Sigmoid) => "softmax or none in the layer, or the loss binary_cross_entropy",
        (Loss::BinaryCrossEntropy(_), Softmax | LogSoftmax) => {
            "sigmoid or none in the layer, or the loss cross_entropy"
        }
        _ => return Ok(None),
    };
    Err(Error::new(
        ErrorKind::Model,
        format!(
            "expected a loss that fits the last layer, got {} after {activation} of layer {}; try {other}",
            loss.name(),
            model.place(layer)
        ),
    ))
}

/// The layer that gives `value` and its activation, where it is of the softmax or sigmoid family. Looks behind dropout and
/// selections, which leave each row's features together.
fn last_activation(model: &Model, value: Value) -> Option<(usize, Activation)> {
    let Value::Layer(layer, Pin::Output) = value else { return None };
    let activation = match &model.layers[layer].kind {
        LayerKind::Linear(linear) => linear.activation,
        LayerKind::Activation(activation) => *activation,
        LayerKind::Dropout(_) | LayerKind::Select(_) => return last_activation(model, model.layers[layer].from[0]),
        _ => return None,
    };
    let taken = matches!(activation, Activation::Softmax | Activation::LogSoftmax | Activation::Sigmoid);
    taken.then_some((layer, activation))
}
