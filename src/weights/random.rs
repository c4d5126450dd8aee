//! Random weights from a seed, much as PyTorch draws them, for benchmarks and tests. A
//! training begins elsewhere: in `train`.
//!
//! The same seed gives the same weights on every machine.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Weights;
use super::named::supplied;
use super::tensor::Tensor;
use super::tensors::Tensors;
use crate::error::{Result, SMALLER_MODEL, zeros};
use crate::model::{Model, Param};
use crate::platform::affordable;

impl Weights {
    /// Draws weights from a seed. They are uniform: between ±1/√H for a recurrent layer (biases too), between ±1/√in
    /// for a linear layer, and between ±1 for an embedding. A training begins with [`Weights::initial`].
    ///
    /// # Errors
    ///
    /// Returns an error of kind
    ///
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other, or if two layers give one
    ///   name to tensors of different shapes;
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if there is no memory for the weights.
    pub fn random(model: &Model, seed: u64) -> Result<Self> {
        model.check()?;
        affordable("weights", (model.parameters() as u64).saturating_mul(4), SMALLER_MODEL)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut tensors = Tensors::new();
        for layer in &model.layers {
            for Param { name, shape, init, .. } in layer.kind.tensors() {
                let name = layer.prefix.clone() + &name;
                let mut data = zeros(format_args!("weights {name}"), &shape, SMALLER_MODEL)?;
                let [least, most] = init.range;
                data.fill_with(|| rng.random_range(least..=most));
                tensors.insert(name, Tensor::new(shape, data));
            }
        }
        Self::from_tensors(model, tensors)
    }
}

/// Draws the tensors that the caller of `model` supplies, as [`Weights::random`] does,
/// to run the model without that caller.
///
/// # Errors
///
/// As [`Weights::random`].
pub fn draw_supplied(model: &Model, tensors: &mut Tensors, seed: u64) -> Result<()> {
    let supplied = supplied(model);
    if supplied.names().next().is_some() {
        let mut drawn = Weights::random(model, seed)?.to_tensors(model)?;
        drawn.retain(|name| supplied.contains(name));
        tensors.extend([drawn]);
    }
    Ok(())
}
