//! Which tensors a training changes, and gradients that come from elsewhere.

use std::collections::{BTreeMap, HashSet};

use super::Trainer;
use super::batch::Gradients;
use crate::model::Role;

impl Trainer {
    /// Returns the shape of each tensor that has a gradient, by its name: all but the means and variances that layers
    /// keep. [`Gradients::weights`] has these names in this order, which depends on the model alone. So gradients laid
    /// side by side in it can be summed over machines.
    pub fn gradient_shapes(&self) -> BTreeMap<String, Vec<usize>> {
        let kept: HashSet<String> = self
            .model()
            .layers
            .iter()
            .flat_map(|layer| layer.kind.tensors().map(move |param| (layer, param)))
            .filter(|(_, param)| param.role == Role::Statistic)
            .map(|(layer, param)| layer.prefix.clone() + &param.name)
            .collect();
        let trained = self.shapes.iter().filter(|(name, _)| !kept.contains(*name));
        trained.map(|(name, shape)| (name.clone(), shape.clone())).collect()
    }
}

impl Gradients {
    /// Makes gradients that were computed elsewhere, for [`Trainer::apply`]. `weights` has a gradient for each name of
    /// [`Trainer::gradient_shapes`].
    pub fn of_weights(loss: f64, weights: BTreeMap<String, Vec<f32>>) -> Self {
        Self { loss, weights, inputs: BTreeMap::new(), states: BTreeMap::new() }
    }
}
