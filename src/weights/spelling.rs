//! The two spellings of a recurrent layer's tensors: that of PyTorch's stacks, `weight_ih_l0`, and that of its cells
//! (`nn.LSTMCell`), `weight_ih`.
//!
//! Knows names and layers; reads no element.

use super::tensors::Tensors;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Layer, LayerKind, Param};

/// The names of cells for tensors that stacks have too.
const OF_CELLS: [&str; 4] = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"];

/// How a file names the tensors of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// As a stack: with the number of the layer.
    Stack,
    /// As a cell: without it.
    Cell,
}

impl Spelling {
    /// Finds the spelling of the recurrent layer under `prefix`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Weights` if there are tensors of both.
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

    /// Finds the spelling of the tensors of `layer`. Only a stack of one layer and one direction can have a cell's.
    ///
    /// # Errors
    ///
    /// As [`under`](Self::under).
    pub(super) fn of_layer(layer: &Layer, tensors: &Tensors) -> Result<Self> {
        match &layer.kind {
            LayerKind::Recurrent(stack) if stack.num_layers == 1 && stack.directions() == 1 => {
                Self::under(&layer.prefix, tensors)
            }
            _ => Ok(Self::Stack),
        }
    }

    /// Returns the name of the tensor that is `usual` in a stack.
    pub(crate) fn of(self, usual: &str) -> &str {
        let is_of = |stem: &&str| matches!(usual.strip_prefix(*stem), Some("_l0" | "_l0_reverse"));
        match self {
            Self::Stack => usual,
            Self::Cell => OF_CELLS.into_iter().find(is_of).unwrap_or(usual),
        }
    }
}

/// Returns the table of `layer`, with the name of each tensor among `tensors`.
///
/// # Errors
///
/// As [`Spelling::under`].
pub(crate) fn spelled(layer: &Layer, tensors: &Tensors) -> Result<impl Iterator<Item = (Param, String)>> {
    let spelling = Spelling::of_layer(layer, tensors)?;
    Ok(layer.kind.tensors().map(move |param| {
        let name = format!("{}{}", layer.prefix, spelling.of(&param.name));
        (param, name)
    }))
}
