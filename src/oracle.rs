//! The oracle: the textbook equations in f64 on unpacked weights. Everything else is compared with it.
//!
//! It knows no layout, no plan and no kernel, and it fuses and hoists nothing. Everything else
//! shares gate order, packing and planning, so only the oracle can find a bug there. It is written
//! to be read step by step, in the order of the equations. It is fast only where that costs no line.
//!
//! `forward` has the layers, `stack` the directions and the dead steps, `cell` the equations,
//! and `activation` the functions. Each has its backward pass beside it: `back`, `stack_back`,
//! `cell_back`, `slope`; [`gradients`] uses them. `differences` checks the oracle itself.
//!
//! Letters: T time, B batch, I input, H hidden, G gates, L layers, D directions, F features.

mod across;
mod activation;
mod attention;
mod back;
mod cell;
mod cell_back;
mod conv;
mod differences;
mod dropout;
mod forward;
mod join;
mod layers;
mod loss;
mod norm;
mod params;
mod slope;
mod stack;
mod stack_back;
#[cfg(test)]
mod tests;
mod values;
mod windows;

use std::collections::BTreeMap;

use ndarray::{Array3, Array4, ArrayD, Axis, IxDyn};

use self::forward::{Point, forward};
use self::stack::{Keep, States};
use self::values::Values;
use crate::call::{Call, Form, Input};
use crate::dropout::Dropping;
use crate::error::Result;
use crate::loss::{Aim, Objective, Targets};
use crate::model::Model;
use crate::weights::Weights;

pub use self::differences::{Along, Difference, differences};

/// The true results of a model, in the axes of the input: an [`Output`](crate::Output) in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The last layer's output: `[B, T, F]` (`[T, B, F]`), or `[B, F]` if
    /// there is no time axis. Without a batch it is `[T, F]` or `[F]`.
    pub output: ArrayD<f64>,
    /// The final states of each recurrent stack.
    pub states: Vec<TrueStates>,
    /// The other outputs of the model.
    pub others: Vec<ArrayD<f64>>,
}

/// The true final states of one recurrent stack, layer-major, forward before reverse.
#[derive(Clone, Debug, PartialEq)]
pub struct TrueStates {
    /// The hidden states, `[L · D, B, state_size]`; without a batch `[L · D, state_size]`.
    pub h: ArrayD<f64>,
    /// The cell states of an LSTM, `[L · D, B, H]`; without a batch `[L · D, H]`.
    pub c: Option<ArrayD<f64>>,
}

/// The gradients of an objective in f64, each in the axes of its variable.
#[derive(Clone, Debug, PartialEq)]
pub struct TrueGradients {
    /// The objective itself.
    pub loss: f64,
    /// The gradients of the weights, with the names and shapes of [`Weights::to_tensors`]. Shared
    /// weights have the sum of their gradients. Learned initial states have the sum over the rows.
    pub weights: BTreeMap<String, ArrayD<f64>>,
    /// The gradients of the inputs of features, by name; 0 at dead steps. The input of a model that names none is `x`.
    pub inputs: BTreeMap<String, ArrayD<f64>>,
    /// The gradients of each stack's initial states, by stack, whether given by the call or zero. A stack is missing
    /// if its states are learned or all come from values of the model. A state that comes from a value has no element.
    pub states: BTreeMap<usize, TrueStates>,
    /// The gradients of the hidden state after each step, by stack: `[L · D, T, B, state_size]`. They are layer-major,
    /// forward before reverse, in the order of the input; 0 at dead steps. A stack is missing if no loss depends on it.
    pub hidden: BTreeMap<usize, Array4<f64>>,
}

/// Runs `model` with `weights` on `input`.
///
/// # Errors
///
/// Returns an error of one of these kinds:
///
/// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the layers do not fit each other,
/// - [`ErrorKind::Weights`](crate::ErrorKind::Weights) if the weights are those of another model,
/// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the input does not fit the model.
pub fn run(model: &Model, weights: &Weights, input: &Input) -> Result<Truth> {
    let (call, point) = call(model, weights, input)?;
    let forward = forward(model, &call, &point, Keep::Nothing)?;
    let form = call.form;
    let mut outputs = model.feature_outputs().into_iter().map(|value| forward.values[&value].clone().in_form(form));
    let output = outputs.next().expect("a model has an output");
    let others = outputs.collect();
    let states = forward.states.into_iter().map(|states| states.in_form(form)).collect();
    Ok(Truth { output, states, others })
}

/// Returns the gradients of `objective` at `weights`, `input`
/// and the initial states, with `targets` for each of its terms.
///
/// They are computed by backpropagation through time, layer by layer and step by step, from the equations of [`run`].
/// At the corner of a function, the derivative is PyTorch's. Nothing is dropped: see [`gradients_with_dropout`].
///
/// # Errors
///
/// As [`run`]; also an error of one of these kinds:
///
/// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if targets do not fit the outputs,
/// - [`ErrorKind::Training`](crate::ErrorKind::Training) if no target counts,
/// - [`ErrorKind::Model`](crate::ErrorKind::Model) if a loss does not fit the last layer.
///
/// # Example
///
/// ```
/// use gatewave::train::{CrossEntropy, Objective, Targets};
/// use gatewave::{Input, Linear, Lstm, Model, Select, Weights, oracle};
/// use ndarray::{Array3, arr1};
///
/// # fn main() -> gatewave::Result<()> {
/// let model = Model::new().layer(Lstm::new(3, 4)).layer(Select::LastStep).layer(Linear::new(4, 5));
/// let (weights, input) = (Weights::random(&model, 0)?, Input::features(Array3::ones((2, 7, 3))));
/// let objective = Objective::new(CrossEntropy::default());
/// let truth = oracle::gradients(&model, &weights, &input, &objective, &[Targets::classes(arr1(&[4, 0]))])?;
/// assert_eq!(truth.weights["0.weight_hh_l0"].shape(), [16, 4]);
/// assert_eq!(truth.inputs["x"].shape(), [2, 7, 3]);
/// # Ok(())
/// # }
/// ```
pub fn gradients(
    model: &Model,
    weights: &Weights,
    input: &Input,
    objective: &Objective,
    targets: &[Targets],
) -> Result<TrueGradients> {
    gradients_of(model, weights, input, (objective, targets), None)
}

/// Returns the [`gradients`] with the dropout of update `update` of a training with
/// `seed`: see [`Trainer::set_dropout_seed`](crate::Trainer::set_dropout_seed).
///
/// # Errors
///
/// As [`gradients`].
pub fn gradients_with_dropout(
    model: &Model,
    weights: &Weights,
    input: &Input,
    (objective, targets): (&Objective, &[Targets]),
    (seed, update): (u64, u64),
) -> Result<TrueGradients> {
    gradients_of(model, weights, input, (objective, targets), Some(Dropping::new(seed, update)))
}

fn gradients_of(
    model: &Model,
    weights: &Weights,
    input: &Input,
    (objective, targets): (&Objective, &[Targets]),
    dropping: Option<Dropping>,
) -> Result<TrueGradients> {
    let (call, aims, mut point) = start(model, weights, input, objective, targets)?;
    point.dropping = dropping;
    let forward = forward(model, &call, &point, Keep::Steps)?;
    let back = back::back(model, &call, &point, &forward, &aims);
    let (inputs, form) = (model.all_inputs()?, call.form);
    let named = |(index, d): (usize, Values)| (inputs[index].name.clone(), d.in_form(form));
    let states = |(stack, states): (usize, States)| {
        let (begun, TrueStates { h, c }) = (model.begun(stack), states.in_form(form));
        let h = if begun.hidden { ArrayD::zeros(IxDyn(&[0])) } else { h };
        (stack, TrueStates { h, c: c.filter(|_| !begun.cell) })
    };
    Ok(TrueGradients {
        loss: back.loss,
        weights: back.params.into_tensors(model),
        inputs: back.inputs.into_iter().map(named).collect(),
        states: back.states.into_iter().map(states).collect(),
        hidden: back.hidden.into_iter().map(|(stack, rows)| (stack, stacked(&rows))).collect(),
    })
}

/// Stacks rows of the same shape along a new axis.
fn stacked(rows: &[Array3<f64>]) -> Array4<f64> {
    let views: Vec<_> = rows.iter().map(|row| row.view()).collect();
    ndarray::stack(Axis(0), &views).expect("a stack has a layer, and all of one size")
}

/// Checks a call, and collects the numbers that it is computed from.
fn call<'a>(model: &'a Model, weights: &Weights, input: &'a Input) -> Result<(Call<'a>, Point)> {
    model.check()?;
    weights.to_tensors(model)?;
    let call = input.check(model)?;
    let point = Point::of(model, weights, &call)?;
    Ok((call, point))
}

/// Checks a call and its targets, and collects the numbers that it is computed from.
fn start<'a>(
    model: &'a Model,
    weights: &Weights,
    input: &'a Input,
    objective: &Objective,
    targets: &[Targets],
) -> Result<(Call<'a>, Vec<Aim>, Point)> {
    let (call, point) = call(model, weights, input)?;
    let aims = objective.check(model, &call, targets)?;
    Ok((call, aims, point))
}

impl States {
    /// Returns the states in the axes that the user chose.
    fn in_form(self, form: Form) -> TrueStates {
        let in_form = |states| Values::States(states).in_form(form);
        TrueStates { h: in_form(self.h), c: self.c.map(in_form) }
    }
}
