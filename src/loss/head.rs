//! The last activation of an output, which a cross-entropy includes.

use super::Loss;
use crate::cell::Activation;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Dropout, LayerKind, Model, Pin, Value};

/// Returns the layer whose activation is part of `loss`, if the output `value` has
/// such a last layer. The loss is then computed from the logits before the activation.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the last
/// activation is that of the other cross-entropy, or if dropout comes between it and the loss.
pub(super) fn part_of(loss: &Loss, model: &Model, value: Value) -> Result<Option<usize>> {
    use Activation::{LogSoftmax, Sigmoid, Softmax};
    let Some((layer, activation)) = last_activation(model, value) else { return Ok(None) };
    let other = match (loss, activation) {
        (Loss::CrossEntropy(_), Softmax | LogSoftmax) | (Loss::BinaryCrossEntropy(_), Sigmoid) => {
            undropped(loss, model, value, layer)?;
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

/// Refuses dropout between the activation and the loss, since dropped probabilities have no logits.
fn undropped(loss: &Loss, model: &Model, value: Value, of: usize) -> Result<()> {
    let mut value = value;
    while let Value::Layer(layer, _) = value
        && layer != of
    {
        if let LayerKind::Dropout(Dropout { rate, .. }) = &model.layers[layer].kind
            && rate.get() > 0.0
        {
            let text = format!(
                "expected no dropout between {} and the activation of layer {}, got {rate} of layer {}; try it before that layer",
                loss.name(),
                model.place(of),
                model.place(layer)
            );
            return Err(Error::new(ErrorKind::Model, text));
        }
        value = model.layers[layer].from[0];
    }
    Ok(())
}

/// Returns the layer that computes `value` and its activation, if that is of the softmax or
/// sigmoid family. Looks behind dropout and selections, which leave each row's features together.
pub(crate) fn last_activation(model: &Model, value: Value) -> Option<(usize, Activation)> {
    let Value::Layer(layer, Pin::Output) = value else { return None };
    let activation = match &model.layers[layer].kind {
        LayerKind::Linear(linear) => linear.activation,
        LayerKind::Conv1d(conv) => conv.activation,
        LayerKind::Activation(activation) => *activation,
        LayerKind::Dropout(_) | LayerKind::Select(_) => return last_activation(model, model.layers[layer].from[0]),
        _ => return None,
    };
    let taken = matches!(activation, Activation::Softmax | Activation::LogSoftmax | Activation::Sigmoid);
    taken.then_some((layer, activation))
}
