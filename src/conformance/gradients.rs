//! The gradients of a case: what its outputs are compared with, what is true, and how far an executor may be from it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{ArrayD, IxDyn};

use super::{Case, Part, Tolerance, aims, compare, weights_map};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::Model;
use crate::oracle::{self, TrueGradients};
use crate::trainer::{Batch, Gradients};
use crate::weights::Weights;

/// What a case is trained by.
#[derive(Clone, Debug)]
pub struct TrainingCase {
    /// The model.
    pub model: Model,
    /// Its weights.
    pub weights: Weights,
    /// What is to become small.
    pub objective: Objective,
    /// The input and the targets.
    pub batch: Batch,
    /// What dropout is drawn from.
    pub seed: u64,
}

impl Case {
    /// The training of the case with `weights`: losses and targets are drawn from the case's seed. Weights are taken as they are,
    /// however the case stores them: what is trained is floats.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model: not for cases of the table.
    pub fn training(&self, weights: &Weights) -> Result<TrainingCase> {
        let (model, input) = (self.model.clone(), self.input());
        let (objective, targets) = aims::objective(&model, &input, self.seed)?;
        let batch = Batch::of_several(input, targets);
        Ok(TrainingCase { model, weights: weights.clone(), objective, batch, seed: self.seed })
    }
}

impl TrainingCase {
    /// The true gradients of the first update.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where input or targets do not fit the model.
    pub fn truth(&self) -> Result<TrueGradients> {
        let (Self { model, weights, batch, .. }, aims) = (self, (&self.objective, &self.batch.targets[..]));
        oracle::gradients_with_dropout(model, weights, &batch.input, aims, (self.seed, 1))
    }

    /// Compares all gradients that an executor gave, and the loss, with the true ones.
    ///
    /// Where some are past the tolerance, it is asked how well the case says what they are: its true gradients are found
    /// once more at weights that are away by their last bits. An executor rounds at every step, and may be off by a few times
    /// as much.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a gradient is missing, is one too many, or has another shape.
    pub fn compare(&self, got: &Gradients, want: &TrueGradients) -> Result<Vec<Part>> {
        let parts = compare_gradients(got, want)?;
        if parts.iter().all(|part| part.comparison.passed()) {
            return Ok(parts);
        }
        let mut moved: BTreeMap<String, f64> = BTreeMap::new();
        for salt in 0..MOVES {
            let nearby = Self { weights: last_bits(&self.weights, salt), ..self.clone() }.truth()?;
            for ((name, a), (_, b)) in arrays(want).into_iter().zip(arrays(&nearby)) {
                let most = moved.entry(name).or_default();
                *most = a.iter().zip(b.iter()).fold(*most, |most, (a, b)| most.max((a - b).abs()));
            }
        }
        let known = |part: Part| {
            let abs = ROUNDINGS * moved.get(&part.name).copied().unwrap_or_default();
            Part { comparison: part.comparison.within(Tolerance { abs, rel: 0.0 }), ..part }
        };
        Ok(parts.into_iter().map(known).collect())
    }

    /// A trainer of the case. Its update changes nothing that matters: none is made.
    ///
    /// # Errors
    ///
    /// Those of a trainer.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn trainer(&self, options: impl Into<crate::engine::Options>) -> Result<crate::trainer::Trainer> {
        use crate::train::{Like, Sgd, Update};
        use crate::trainer::Trainer;

        let update = Update::by(Sgd::like(Like::Torch));
        let mut trainer = Trainer::new(self.model.clone(), &self.weights, self.objective.clone(), update, options)?;
        trainer.set_dropout_seed(Some(self.seed));
        Ok(trainer)
    }
}

/// How often the weights of a case are moved to see how well it says what its gradients are.
const MOVES: u32 = 4;

/// How many times what their last bits explain the roundings of an executor may be: weights are read once a step, and each
/// step rounds sums, functions and states besides.
const ROUNDINGS: f64 = 8.0;

/// The weights, each the next number above or below. Equal ones go the same way, since layers may share them.
fn last_bits(weights: &Weights, salt: u32) -> Weights {
    weights_map(weights, |w| {
        let drawn = (w.to_bits() ^ salt.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1);
        if drawn >> 31 == 0 { w.next_up() } else { w.next_down() }
    })
}

/// All that gradients hold, by name.
fn arrays(gradients: &TrueGradients) -> Vec<(String, Cow<'_, ArrayD<f64>>)> {
    let loss = ArrayD::from_elem(IxDyn(&[1]), gradients.loss);
    let mut all = vec![("loss".to_owned(), Cow::Owned(loss))];
    let named = gradients.weights.iter().chain(&gradients.inputs);
    all.extend(named.map(|(name, array)| (name.clone(), Cow::Borrowed(array))));
    for (stack, states) in &gradients.states {
        all.push((format!("h_0 of stack {stack}"), Cow::Borrowed(&states.h)));
        all.extend(states.c.as_ref().map(|c| (format!("c_0 of stack {stack}"), Cow::Borrowed(c))));
    }
    // A state that begins at a value of the model has none.
    all.retain(|(_, array)| !array.is_empty());
    all
}

/// The same of what an executor gave, in the shapes of `want`.
fn given(got: &Gradients, want: &TrueGradients) -> BTreeMap<String, ArrayD<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "what is compared is f32")]
    let loss = ArrayD::from_elem(IxDyn(&[1]), got.loss as f32);
    let mut all = BTreeMap::from([("loss".to_owned(), loss)]);
    for (name, data) in &got.weights {
        let shape = want.weights.get(name).map_or_else(|| IxDyn(&[data.len()]), |want| want.raw_dim());
        let flat = || ArrayD::from_shape_vec(IxDyn(&[data.len()]), data.clone());
        let shaped = ArrayD::from_shape_vec(shape, data.clone()).or_else(|_| flat());
        all.insert(name.clone(), shaped.expect("a vector has its own shape"));
    }
    all.extend(got.inputs.iter().map(|(name, array)| (name.clone(), array.clone())));
    for (stack, states) in &got.states {
        all.insert(format!("h_0 of stack {stack}"), states.h.clone());
        all.extend(states.c.as_ref().map(|c| (format!("c_0 of stack {stack}"), c.clone())));
    }
    all.retain(|_, array| !array.is_empty());
    all
}

/// Compares all gradients that an executor gave, and the loss, with the true ones.
///
/// # Errors
///
/// Kind `Shape`, where a gradient is missing, is one too many, or has another shape.
pub fn compare_gradients(got: &Gradients, want: &TrueGradients) -> Result<Vec<Part>> {
    let mut given = given(got, want);
    let mut parts = Vec::new();
    for (name, want) in arrays(want) {
        let Some(got) = given.remove(&name) else {
            return Err(Error::new(ErrorKind::Shape, "expected a gradient, got none").at(name));
        };
        let comparison = compare(got.view(), want.view(), Tolerance::gradient(&want)).map_err(|e| e.at(&name))?;
        parts.push(Part { name, comparison });
    }
    match given.keys().next() {
        Some(name) => Err(Error::new(ErrorKind::Shape, "expected no gradient, got one").at(name)),
        None => Ok(parts),
    }
}
