//! The two spellings of a cell's tensors: that of PyTorch's stacks, `weight_ih_l0`, and that of its cells (`nn.LSTMCell`),
//! `weight_ih`.
//!
//! Knows names and layers; reads no element.

use super::tensors::Tensors;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Layer, LayerKind, Param};

/// What cells call the tensors that stacks have too.
const OF_CELLS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// How a file calls the tensors of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As a stack does: with the number of the layer.
    Stack,
    /// As a cell does: without.
    Cell,
}

impl Spelling {
    /// That of the recurrent layer under `prefix`.
    ///
    /// # Errors
    ///
    /// Kind `Weights`, where there are tensors of both.
    pub(crate) fn under(prefix: &str, tensors: &Tensors) -> Result<Self> {
        let Some(cell) = OF_CELLS.map(|stem| format!("{prefix}{stem}")).into_iter().find(|name| tensors.contains(name))
        else {
            return Ok(Self::Stack);
        };
        let stacked =
            |stem| (0..10).find_map(|digit| tensors.names_that_begin(&format!("{prefix}{stem}_l{digit}")).next());
        match OF_CELLS.into_iter().find_map(stacked) {
            None => Ok(Self::Cell),
            Some(stacked) => Err(Error::new(
                ErrorKind::Weights,
                format!("expected the names of a cell or those of a stack, got {cell} and {stacked}; leave one out"),
            )),
        }
    }

    /// That of the tensors of `layer`. Only a stack of one layer and one direction can be a cell.
    ///
    /// # Errors
    ///
    /// As [`under`](Self::under).
    pub(super) fn of_layer(layer: &Layer, tensors: &Tensors) -> Result<Self> {
        match &layer.kind {
            LayerKind::Recurrent(stack) if stack.num_layers == 1 && stack.directions() == 1 => {
                Self::under(&layer.weights, tensors)
            }
            _ => Ok(Self::Stack),
        }
    }

    /// What the tensor `usual` of a stack's only cell is called.
    pub(crate) fn of(self, usual: &str) -> &str {
        let is_of = |stem: &&str| matches!(usual.strip_prefix(*stem), Some("_l0" | "_l0_reverse"));
        match self {
            Self::Stack => usual,
            Self::Cell => OF_CELLS.into_iter().find(is_of).unwrap_or(usual),
        }
    }
}

/// The table of `layer`, and the name of each of its tensors among `tensors`.
///
/// # Errors
///
/// As [`Spelling::under`].
pub(super) fn spelled(layer: &Layer, tensors: &Tensors) -> Result<impl Iterator<Item = (Param, String)>> {
    let spelling = Spelling::of_layer(layer, tensors)?;
    Ok(layer.kind.tensors().map(move |param| {
        let name = format!("{}{}", layer.weights, spelling.of(&param.name));
        (param, name)
    }))
}
