//! gatewave.

mod call;
mod cell;
mod error;
mod feed;
mod kernel;
mod layout;
mod model;
mod pack;
mod plan;
mod summary;
mod weights;

pub use call::{Input, Output, States};
pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use error::{Error, ErrorKind, Result};
pub use model::*;
pub use summary::Summary;
