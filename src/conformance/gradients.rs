//! The gradients of a case: its objective, the true gradients, and how far an executor may be from them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ndarray::{Array3, ArrayD, IxDyn};

use super::compare::UNIT;
use super::{Case, Part, Tolerance, aims, compare, weights_map};
use crate::call::States;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Initial, Model};
use crate::oracle::{self, TrueGradients};
use crate::trainer::{Batch, Gradients};
use crate::weights::Weights;

/// The training of a case.
#[derive(Clone, Debug)]
pub struct TrainingCase {
    /// The model.
    pub model: Model,
    /// Its weights.
    pub weights: Weights,
    /// The objective.
    pub objective: Objective,
    /// The input and the targets.
    pub batch: Batch,
    /// The seed of dropout.
    pub seed: u64,
}

impl Case {
    /// Returns the training of the case with `weights`. Losses and targets are drawn from the
    /// case's seed. The weights are used unchanged in any precision, since floats are trained.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`] if the input does
    /// not fit the model, which never happens for cases of the table.
    pub fn training(&self, weights: &Weights) -> Result<TrainingCase> {
        let (model, input) = (self.model.clone(), self.input());
        let (objective, targets) = aims::objective(&model, &input, self.seed)?;
        let batch = Batch::of_several(input, targets);
        Ok(TrainingCase { model, weights: weights.clone(), objective, batch, seed: self.seed })
    }
}

impl TrainingCase {
    /// Returns the true gradients of the first update.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`] if input or targets do not fit the model.
    pub fn truth(&self) -> Result<TrueGradients> {
        let (Self { model, weights, batch, .. }, aims) = (self, (&self.objective, &self.batch.targets[..]));
        oracle::gradients_with_dropout(model, weights, &batch.input, aims, (self.seed, 1))
    }

    /// Compares the loss and all gradients of an executor with the true ones.
    ///
    /// If some exceed the tolerance, a larger one is derived from how well the case determines them. The true
    /// gradients are computed again nearby, and the executor may be off by a few times the change, since it rounds at
    /// every step. Errors that are far below the largest gradient of all are also allowed. A loss subtracts the
    /// target from an output near it, so a row with small differences has the rounding of one with large differences.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`] if a gradient is missing, is one too many, or has another shape.
    pub fn compare(&self, got: &Gradients, want: &TrueGradients) -> Result<Vec<Part>> {
        let parts = compare_gradients(got, want)?;
        if parts.iter().all(|part| part.comparison.passed()) {
            return Ok(parts);
        }
        let mut moved: BTreeMap<String, f64> = BTreeMap::new();
        for salt in 0..MOVES {
            let nearby = self.nearby(salt)?.truth()?;
            for ((name, a), (_, b)) in arrays(want).into_iter().zip(arrays(&nearby)) {
                let most = moved.entry(name).or_default();
                *most = a.iter().zip(b.iter()).fold(*most, |most, (a, b)| most.max((a - b).abs()));
            }
        }
        let gradients = arrays(want).into_iter().filter(|(name, _)| name != LOSS);
        let largest = gradients.fold(0.0, |most: f64, (_, a)| a.iter().fold(most, |most, a| most.max(a.abs())));
        let known = |part: Part| {
            let most = moved.get(&part.name).copied().unwrap_or_default().max(UNIT * largest);
            Part { comparison: part.comparison.within(Tolerance { abs: ROUNDINGS * most, rel: 0.0 }), ..part }
        };
        Ok(parts.into_iter().map(known).collect())
    }

    /// Returns the training with weights that differ in their last bits, and with states
    /// just above or below zero where they begin at zero. An executor treats numbers
    /// below the range of f32 as zero, and zero may be the corner of a function.
    fn nearby(&self, salt: u32) -> Result<Self> {
        let mut near = Self { weights: last_bits(&self.weights, salt), ..self.clone() };
        let call = self.batch.input.check(&self.model)?;
        for (index, stack) in self.model.stacks().enumerate() {
            let begun = self.model.begun(index);
            if stack.initial != Initial::Zero || call.initial(index).is_some() || begun.all(stack) {
                continue;
            }
            let least = |zeros: Array3<f32>| {
                let mut number = 0;
                zeros.mapv_into(|_| {
                    number += 1;
                    if is_above(number, salt) { f32::MIN_POSITIVE } else { -f32::MIN_POSITIVE }
                })
            };
            let (h, c) = call.beginning(index, stack)?;
            let states = States { h: least(h).into_dyn(), c: c.map(|c| least(c).into_dyn()) }.without(begun);
            near.batch.input = near.batch.input.stack_states(index, states);
        }
        Ok(near)
    }

    /// Creates a trainer of the case. Its kind of update does not matter, since none is made.
    ///
    /// # Errors
    ///
    /// As [`Trainer::new`](crate::Trainer::new).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn trainer(&self, options: impl Into<crate::engine::EngineBuilder>) -> Result<crate::trainer::Trainer> {
        use crate::recipe::{Convention, Sgd, Update};
        use crate::trainer::Trainer;

        let update = Update::by(Sgd::like(Convention::Torch));
        let mut trainer = Trainer::new(&self.model, &self.weights, self.objective.clone(), update, options)?;
        trainer.set_dropout_seed(Some(self.seed));
        Ok(trainer)
    }
}

/// How often the weights of a case are changed to find how well it determines its gradients.
const MOVES: u32 = 4;

/// The allowed multiple of the change that last bits cause. Weights are read
/// once for each step, and each step also rounds sums, functions and states.
const ROUNDINGS: f64 = 8.0;

/// Returns the weights, each the next number above or below. Equal ones go the same way, since layers may share them.
fn last_bits(weights: &Weights, salt: u32) -> Weights {
    weights_map(weights, |w| if is_above(w.to_bits(), salt) { w.next_up() } else { w.next_down() })
}

/// Draws one of two sides for each number.
fn is_above(bits: u32, salt: u32) -> bool {
    (bits ^ salt.wrapping_mul(0x85EB_CA6B)).wrapping_mul(0x9E37_79B1) >> 31 == 0
}

/// The name of the loss among the gradients.
const LOSS: &str = "loss";

/// Returns the loss and all gradients by name.
fn arrays(gradients: &TrueGradients) -> Vec<(String, Cow<'_, ArrayD<f64>>)> {
    let loss = ArrayD::from_elem(IxDyn(&[1]), gradients.loss);
    let mut all = vec![(LOSS.to_owned(), Cow::Owned(loss))];
    let named = gradients.weights.iter().chain(&gradients.inputs);
    all.extend(named.map(|(name, array)| (name.clone(), Cow::Borrowed(array))));
    for (stack, states) in &gradients.states {
        let [h, c] = state_names(*stack);
        all.push((h, Cow::Borrowed(&states.h)));
        all.extend(states.c.as_ref().map(|array| (c, Cow::Borrowed(array))));
    }
    // A state that begins at a value of the model has none.
    all.retain(|(_, array)| !array.is_empty());
    all
}

/// Returns the loss and all gradients of an executor by name, in the shapes of `want`.
fn given(got: &Gradients, want: &TrueGradients) -> BTreeMap<String, ArrayD<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "what is compared is f32")]
    let loss = ArrayD::from_elem(IxDyn(&[1]), got.loss as f32);
    let mut all = BTreeMap::from([(LOSS.to_owned(), loss)]);
    for (name, data) in &got.weights {
        let shape = want.weights.get(name).map_or_else(|| IxDyn(&[data.len()]), |want| want.raw_dim());
        let flat = || ArrayD::from_shape_vec(IxDyn(&[data.len()]), data.clone());
        let shaped = ArrayD::from_shape_vec(shape, data.clone()).or_else(|_| flat());
        all.insert(name.clone(), shaped.expect("a vector has its own shape"));
    }
    all.extend(got.inputs.iter().map(|(name, array)| (name.clone(), array.clone())));
    for (stack, states) in &got.states {
        let [h, c] = state_names(*stack);
        all.insert(h, states.h.clone());
        all.extend(states.c.as_ref().map(|array| (c, array.clone())));
    }
    all.retain(|_, array| !array.is_empty());
    all
}

/// Compares the loss and all gradients of an executor with the true ones. The true ones do
/// not include the states of a stack that no loss depends on: their gradient must be zero.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`] if a gradient is missing, is one too many, or has another shape.
pub fn compare_gradients(got: &Gradients, want: &TrueGradients) -> Result<Vec<Part>> {
    let mut given = given(got, want);
    let part = |name: String, got: &ArrayD<f32>, want: &ArrayD<f64>| {
        let comparison = compare(got.view(), want.view(), Tolerance::gradient(want)).map_err(|e| e.at(&name))?;
        Ok(Part { name, comparison })
    };
    let mut parts = Vec::new();
    for (name, want) in arrays(want) {
        match given.remove(&name) {
            Some(got) => parts.push(part(name, &got, &want)?),
            None => return Err(Error::new(ErrorKind::Shape, "expected a gradient, got none").at(name)),
        }
    }
    let idle = |stack: usize| !want.states.contains_key(&stack);
    for stack in got.states.keys().copied().filter(|&stack| idle(stack)) {
        for name in state_names(stack) {
            if let Some(got) = given.remove(&name) {
                parts.push(part(name, &got, &ArrayD::zeros(got.raw_dim()))?);
            }
        }
    }
    match given.keys().next() {
        Some(name) => Err(Error::new(ErrorKind::Shape, "expected no gradient, got one").at(name)),
        None => Ok(parts),
    }
}

/// Returns the names of the gradients of a stack's initial states, hidden and cell.
fn state_names(stack: usize) -> [String; 2] {
    ["h_0", "c_0"].map(|state| format!("{state} of stack {stack}"))
}
