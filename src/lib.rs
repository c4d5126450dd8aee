//! gatewave.

mod call;
mod cell;
mod cpu;
mod error;
mod kernel;
mod layout;
mod model;
mod pack;
mod plan;
mod weights;

pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use error::{Error, ErrorKind, Result};
pub use model::*;
