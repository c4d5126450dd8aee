//! What a trainer takes and gives: a batch, and gradients.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::call::{Input, States};
use crate::loss::Targets;

/// What a model is trained on at once: an input, and what its outputs are compared with.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What the model takes.
    pub input: Input,
    /// The targets of each loss of the objective, in its order.
    pub targets: Vec<Targets>,
}

impl Batch {
    /// A batch of an objective of one loss.
    pub fn new(input: Input, targets: Targets) -> Self {
        Self { input, targets: vec![targets] }
    }

    /// A batch of an objective of several losses.
    pub fn of_several(input: Input, targets: impl IntoIterator<Item = Targets>) -> Self {
        Self { input, targets: targets.into_iter().collect() }
    }
}

/// What a model loses on a batch, and the gradients of that.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradients {
    /// The objective.
    pub loss: f64,
    /// The gradient of each tensor of the model, by its name: elements in row-major order.
    pub weights: BTreeMap<String, Vec<f32>>,
    /// Those of the inputs of features, by their names, in the axes of the input: 0 where there is no step.
    pub inputs: BTreeMap<String, ArrayD<f32>>,
    /// Those of where each stack begins, whether the batch says it or it begins at zero; none of a stack that begins at what it
    /// has learned, or at a value of the model.
    pub states: BTreeMap<usize, States>,
}

impl Gradients {
    /// Adds `share` of `other`: gradients of several batches, averaged. Those of inputs and states stay as they are.
    pub fn add(&mut self, other: &Self, share: f32) {
        self.loss += f64::from(share) * other.loss;
        for (name, sum) in &mut self.weights {
            if let Some(own) = other.weights.get(name) {
                sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += share * own);
            }
        }
    }

    /// The norm of the gradient of each tensor.
    pub fn norms(&self) -> impl Iterator<Item = (&str, f64)> {
        let norm = |gradient: &Vec<f32>| gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        self.weights.iter().map(move |(name, gradient)| (name.as_str(), norm(gradient)))
    }
}
