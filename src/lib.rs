//! gatewave.

mod call;
mod cell;
pub mod conformance;
mod error;
mod kernel;
mod layout;
mod model;
pub mod oracle;
mod pack;
mod plan;
mod weights;

pub use call::{Input, Output, Sequence, States};
pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use error::{Error, ErrorKind, Result};
pub use model::*;
pub use weights::{CellWeights, LayerWeights, Weights};
