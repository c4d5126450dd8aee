//! gatewave.

mod call;
mod cell;
pub mod conformance;
mod error;
mod feed;
mod kernel;
mod layout;
mod model;
pub mod oracle;
mod pack;
mod plan;
mod summary;
pub mod weights;

pub use call::{Input, Output, States};
pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use error::{Error, ErrorKind, Result};
pub use kernel::Storage;
pub use model::*;
pub use summary::Summary;
pub use weights::{CellWeights, LayerWeights, Weights};
