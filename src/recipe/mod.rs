//! The settings of a training: optimizers, clipping, schedules, initial weights.
//!
//! Knows models and weights; knows no device, no plan and no kernel. The formulas are PyTorch's or Keras',
//! as [`Convention`] says. Sources are named P (PyTorch 2.15, `torch/…`) and K (Keras 3.15, `keras/src/…`).

mod balance;
mod clip;
mod decay;
mod draw;
mod initial;
mod optimizer;
mod orthogonal;
mod plateau;
mod schedule;
mod settings;
mod split;
#[cfg(test)]
mod tests;
mod update;

pub(crate) use balance::balanced;
pub use clip::Clip;
pub use decay::{L2, WeightDecay};
pub use optimizer::{Adam, AdamW, Optimizer, RmsProp, Sgd};
pub use plateau::{Measure, Plateau, PlateauState};
pub use schedule::Schedule;
pub use settings::Convention;
pub(crate) use split::rows_before_split;
pub use update::Update;
