//! gatewave.

mod call;
mod cell;
mod cpu;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod layout;
mod model;
mod pack;
#[doc(hidden)]
pub mod plan;
pub mod weights;

pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use error::{Error, ErrorKind, Result};
pub use model::*;
pub use weights::{CellWeights, LayerWeights, Weights};
