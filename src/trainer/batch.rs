//! What a trainer takes and gives: a batch, and gradients.

use std::collections::BTreeMap;

use ndarray::ArrayD;

use crate::call::{Input, States};
use crate::error::{Error, ErrorKind, Result};
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
    /// The mean of gradients of several batches or machines, each with its share, which together are 1: what counts in its
    /// batch (rows, or steps, that have a target) of what counts in all. Those of inputs and states are left out.
    ///
    /// # Example
    ///
    /// ```
    /// use gatewave::{Batch, Device, Gradients, Gru, Input, Like, Loss, Model, Sgd, Targets, Trainer, Update, Weights};
    /// use ndarray::Array3;
    ///
    /// # fn main() -> gatewave::Result<()> {
    /// let model = Model::new().layer(Gru::new(1, 4));
    /// let weights = Weights::initial(&model, Like::Torch, 0)?;
    /// let mut trainer = Trainer::new(model, &weights, Loss::MeanSquared, Update::by(Sgd::like(Like::Torch)), Device::Cpu)?;
    /// let batch = |rows| Batch::new(Input::features(Array3::ones((rows, 5, 1))), Targets::values(Array3::zeros((rows, 5, 4))));
    /// let (first, second) = (trainer.gradients(&batch(3))?, trainer.gradients(&batch(1))?);
    /// trainer.apply(&Gradients::mean([(&first, 0.75), (&second, 0.25)])?)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Kind `Training`, where there are none, their shares are not 1 together, or they are of different models.
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

    /// The norm of the gradient of each tensor.
    pub fn norms(&self) -> impl Iterator<Item = (&str, f64)> {
        let norm = |gradient: &Vec<f32>| gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
        self.weights.iter().map(move |(name, gradient)| (name.as_str(), norm(gradient)))
    }
}
