//! What a trainer takes and returns: a batch, and gradients.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::call::{Input, States};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Targets;

/// A batch to train on: an input, and the targets of the model's outputs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// The input of the model.
    pub input: Input<'static>,
    /// The targets of each loss of the objective, in its order.
    pub targets: Vec<Targets>,
}

impl Batch {
    /// Makes a batch for an objective of one loss. Copies what the input borrows.
    pub fn new(input: Input<'_>, targets: Targets) -> Self {
        Self::of_several(input, [targets])
    }

    /// Makes a batch for an objective of several losses. Copies what the input borrows.
    pub fn of_several(input: Input<'_>, targets: impl IntoIterator<Item = Targets>) -> Self {
        Self { input: input.into_owned(), targets: targets.into_iter().collect() }
    }
}

/// The loss of a model on a batch, and its gradients.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Gradients {
    /// The loss, by the objective.
    pub loss: f64,
    /// The gradient of each tensor of the model, by its name: elements in row-major order.
    pub weights: BTreeMap<String, Vec<f32>>,
    /// The gradients of feature inputs, by their names, in the axes of the input: 0 if there is no step.
    pub inputs: BTreeMap<String, ArrayD<f32>>,
    /// The gradients of the initial states of each stack, whether the batch gives them or they are
    /// zero. Stacks with learned initial states, or that begin at a value of the model, have none.
    pub states: BTreeMap<usize, States>,
}

impl Gradients {
    /// Returns the weighted mean of gradients of several batches or machines; the
    /// shares add up to 1. The share of a batch is its part of all that counts: rows
    /// or steps that have a target. Gradients of inputs and states are left out.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::train::{Batch, Convention, Gradients, Loss, Sgd, Targets, Update};
    /// use gatewave::{Device, Gru, Input, Model, Trainer, Weights};
    /// use ndarray::Array3;
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(1, 4));
    /// let weights = Weights::initial(&model, Convention::Torch, 0)?;
    /// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, Update::by(Sgd::like(Convention::Torch)), Device::Cpu)?;
    /// let batch = |rows| Batch::new(Input::features(Array3::ones((rows, 5, 1))), Targets::values(Array3::zeros((rows, 5, 4))));
    /// let (first, second) = (trainer.gradients(&batch(3))?, trainer.gradients(&batch(1))?);
    /// trainer.apply(&Gradients::mean([(&first, 0.75), (&second, 0.25)])?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if there
    /// are no gradients, their shares do not add up to 1, or they are of different models.
    pub fn mean<'a>(parts: impl IntoIterator<Item = (&'a Self, f64)>) -> Result<Self> {
        let wrong = |text: String| Error::new(ErrorKind::Training, text);
        let mut parts = parts.into_iter().peekable();
        let Some(&(first, _)) = parts.peek() else {
            return Err(wrong("expected gradients to average, got none".into()));
        };
        let mut all: BTreeMap<&String, Vec<f64>> =
            first.weights.iter().map(|(name, own)| (name, vec![0.0; own.len()])).collect();
        let (mut loss, mut whole) = (0.0, 0.0);
        for (part, share) in parts {
            (loss, whole) = (loss + share * part.loss, whole + share);
            if let Some(other) = part.weights.keys().find(|name| !all.contains_key(name)) {
                return Err(wrong(format!("{other}: expected gradients of one model, got one that only some have")));
            }
            for (name, sum) in &mut all {
                let own = part.weights.get(*name).map_or(&[][..], Vec::as_slice);
                if own.len() != sum.len() {
                    let (wanted, got) = (sum.len(), own.len());
                    return Err(wrong(format!("{name}: expected a gradient of {wanted} elements, got {got}")));
                }
                sum.iter_mut().zip(own).for_each(|(sum, &own)| *sum += share * f64::from(own));
            }
        }
        if whole.is_nan() || (whole - 1.0_f64).abs() > 1e-6 {
            return Err(wrong(format!("expected shares that are 1 together, got {whole}")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "rounded once, as is meant")]
        let rounded = |sum: Vec<f64>| sum.into_iter().map(|x| x as f32).collect();
        let weights = all.into_iter().map(|(name, sum)| (name.clone(), rounded(sum))).collect();
        Ok(Self { loss, weights, inputs: BTreeMap::new(), states: BTreeMap::new() })
    }

    /// Returns the norm of the gradient of each tensor.
    pub fn norms(&self) -> impl Iterator<Item = (&str, f64)> {
        let norm = |gradient: &Vec<f32>| gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        self.weights.iter().map(move |(name, gradient)| (name.as_str(), norm(gradient)))
    }
}
