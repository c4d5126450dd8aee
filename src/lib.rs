//! gatewave.

mod call;
mod cell;
mod error;
mod kernel;
mod layout;
mod model;
mod pack;
mod plan;
pub mod weights;

pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use error::{Error, ErrorKind, Result};
pub use model::*;
pub use weights::Weights;
