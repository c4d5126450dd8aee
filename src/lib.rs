//! gatewave.

mod call;
mod cell;
pub mod conformance;
mod cpu;
mod engine;
mod error;
mod feed;
#[cfg(feature = "gpu")]
mod gpu;
#[doc(hidden)]
pub mod kernel;
#[doc(hidden)]
pub mod layout;
mod model;
pub mod oracle;
mod pack;
#[doc(hidden)]
pub mod plan;
mod summary;
pub mod weights;

pub use call::{Input, Output, Sequence, States};
pub use cell::{Activation, Cell, Nonlinearity, Reset};
pub use engine::{Device, DeviceInfo, Engine, Options, Precision, SelfCheck, Timings};
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "gpu")]
pub use gpu::{AdapterInfo, AdapterKind, adapters};
pub use kernel::{Mask, Storage};
pub use model::*;
pub use plan::Strategy;
pub use summary::Summary;
pub use weights::{CellWeights, LayerWeights, Weights};
