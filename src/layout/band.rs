//! Where the weights of a convolution are in its matrix.

use super::{Form, Layout, Role};
use crate::error::Result;
use crate::kernel::{Band, LANES};
use crate::model::{Conv1d, Features, LayerKind, Model};

/// Returns where the weights of layer `layer` are in its matrix, if it is a convolution that no linear layer computes.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other.
pub(crate) fn band(model: &Model, layer: usize) -> Result<Option<Band>> {
    let LayerKind::Conv1d(conv) = &model.layers[layer].kind else { return Ok(None) };
    let Some(&taken) = model.taken()?.get(layer) else { return Ok(None) };
    Ok(of(conv, taken.features()))
}

/// Returns the band of `conv`, whose input has `features`.
fn of(conv: &Conv1d, features: Features) -> Option<Band> {
    if conv.as_linear().is_some() {
        return None;
    }
    Some(Band::of(conv.kernel_size, conv.of_group(), [features.parts, features.size]))
}

/// Returns what the depth of the matrix of `conv` has, whose input has `features`: a part for each tap.
pub(super) fn depth_of(conv: &Conv1d, features: Features) -> Features {
    of(conv, features).map_or(features, |band| Features { parts: band.taps, size: band.width })
}

impl Layout {
    /// Adds the buffer of the product of a linear layer or a convolution.
    pub(super) fn product(&mut self, model: &Model, layer: usize, units: usize, source: Features) {
        let form = Form::Matrix { matrices: 1, panels: units.div_ceil(LANES), source, gates: 1, extra: 0, units };
        self.add(model, format!("{layer}.w"), Role::Linear { layer }, form);
    }
}
