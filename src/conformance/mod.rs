//! The one table of cases, run on any executor and compared with the oracle, and their tolerances.
//!
//! A case is a model, a shape and a seed. Weights and inputs are drawn from the seed alone, so that every machine
//! runs the same numbers. An executor is a closure; it may use the CPU or a GPU, which is not known here.
//!
//! # Example
//!
//! ```no_run
//! use gatewave::conformance::{cases, run};
//! use gatewave::{Device, Engine};
//!
//! for case in cases() {
//!     let result = run(&case, &mut |_case, model, weights, input| {
//!         Engine::new(model, weights, Device::Cpu)?.run(&input)
//!     });
//!     println!("{result}");
//! }
//! ```

mod aims;
mod bugs;
mod cases;
mod compare;
mod draw;
mod gradients;
mod plan_bugs;

use std::fmt;

pub use aims::objective;
pub use bugs::Bug;
pub use cases::cases;
pub use compare::{Comparison, Tolerance, compare};
pub use gradients::{TrainingCase, compare_gradients};
pub use plan_bugs::PlanBug;

use half::f16;
use ndarray::{Array1, Array2, Array3};

use crate::call::{Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::oracle::{self, Truth};
use crate::precision::Precision;
use crate::weights::{CellWeights, LayerWeights, LearnedStates, Weights, round_rows};

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The name, unique in the table.
    pub name: String,
    /// The model.
    pub model: Model,
    /// T, the timesteps.
    pub time: usize,
    /// B, the batch.
    pub batch: usize,
    /// The precision in which the executor stores the weights.
    pub precision: Precision,
    /// Which steps are live.
    pub mask: MaskKind,
    /// The initial states of the recurrent stacks.
    pub states: InitialStates,
    /// The seed of weights and input.
    pub seed: u64,
}

/// Which steps of a batch's rows are live. In any case but [`All`](Self::All),
/// the input also makes a masking model mask some steps itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaskKind {
    /// All steps.
    All,
    /// All steps that the model itself does not mask.
    Own,
    /// The first few steps of each row; the rows are in any order.
    Lengths,
    /// Any steps.
    Holes,
}

/// The initial states of a case's recurrent stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitialStates {
    /// Zero.
    Zero,
    /// States that are drawn with the input.
    Given,
}

/// The result of a case on an executor.
#[derive(Debug)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// The worst element of each tensor, or the error of the run.
    pub outcome: Result<Vec<Part>>,
}

/// The comparison of one tensor of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its name: `output`, `h`, `c`, or `h of stack 1` if the model has several stacks.
    pub name: String,
    /// Its worst element.
    pub comparison: Comparison,
}

/// A closure that runs a model with weights on an input. It stores the weights in the precision of the case.
pub type Executor<'a> = dyn FnMut(&Case, &Model, &Weights, Input) -> Result<Output> + 'a;

/// Runs a case on an executor and compares the results with the oracle's.
pub fn run(case: &Case, executor: &mut Executor<'_>) -> CaseResult {
    run_with(case, &case.weights(), executor)
}

/// Runs a case with `weights` of a user.
pub fn run_with(case: &Case, weights: &Weights, executor: &mut Executor<'_>) -> CaseResult {
    let mut outcome = || {
        let want = case.truth(weights)?;
        let got = executor(case, &case.model, weights, case.input())?;
        compare_outputs(&got, &want, case.tolerance())
    };
    CaseResult { name: case.name.clone(), outcome: outcome() }
}

/// Compares all results of a run with the true ones.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Shape`] if a tensor is missing, is one too many, or has another shape.
pub fn compare_outputs(got: &Output, want: &Truth, tolerance: Tolerance) -> Result<Vec<Part>> {
    if got.states.len() != want.states.len() {
        return Err(Error::new(
            ErrorKind::Shape,
            format!("states: expected those of {} stacks, got {}", want.states.len(), got.states.len()),
        ));
    }
    let mut tensors = vec![("output".to_owned(), Some(&got.output), Some(&want.output))];
    for (index, (got, want)) in got.states.iter().zip(&want.states).enumerate() {
        let of = if index == 0 { String::new() } else { format!(" of stack {index}") };
        tensors.push((format!("h{of}"), Some(&got.h), Some(&want.h)));
        tensors.push((format!("c{of}"), got.c.as_ref(), want.c.as_ref()));
    }
    for index in 0..got.others.len().max(want.others.len()) {
        tensors.push((format!("output {}", index + 1), got.others.get(index), want.others.get(index)));
    }
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, got, want) in tensors {
        match (got, want) {
            (Some(got), Some(want)) => {
                let comparison = compare(got.view(), want.view(), tolerance).map_err(|e| e.at(&name))?;
                parts.push(Part { name, comparison });
            }
            (None, None) => {}
            (got, _) => {
                let (expected, got) = if got.is_some() { ("none", "one") } else { ("one", "none") };
                return Err(Error::new(ErrorKind::Shape, format!("{name}: expected {expected}, got {got}")));
            }
        }
    }
    Ok(parts)
}

impl Case {
    /// Returns the weights, drawn from the seed.
    pub fn weights(&self) -> Weights {
        draw::weights(self)
    }

    /// Returns the input, drawn from the seed, in the model's axes. Dead steps hold NaN, or tokens that do not exist.
    pub fn input(&self) -> Input<'static> {
        draw::input(self)
    }

    /// Returns the number of steps of input `input` of the model, which must lead its time axis.
    pub fn time_of(&self, input: usize) -> usize {
        draw::time_of(self, input)
    }

    /// Returns the true results of the case with `weights`, rounded to its precision.
    ///
    /// # Errors
    ///
    /// As [`rounded`]. Returns an error of kind [`ErrorKind::Shape`] if the
    /// input does not fit the model, which never happens for cases of the table.
    pub fn truth(&self, weights: &Weights) -> Result<Truth> {
        oracle::run(&self.model, &rounded(weights, self.precision)?, &self.input())
    }

    /// Returns the tolerance of an executor in f32.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance::executor(&self.model, self.time)
    }
}

impl CaseResult {
    /// Whether all results of the executor are within the tolerance.
    pub fn passed(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|parts| parts.iter().all(|part| part.comparison.passed()))
    }

    /// Returns how much of the tolerance the worst element of all
    /// uses: 1 is all of it. It is infinite if the run failed.
    pub fn used(&self) -> f64 {
        self.worst().map_or(f64::INFINITY, |part| part.comparison.used)
    }

    /// Returns the tensor with the worst element, if the run gave any.
    pub fn worst(&self) -> Option<&Part> {
        let parts = self.outcome.as_ref().ok()?;
        parts.iter().max_by(|a, b| a.comparison.used.total_cmp(&b.comparison.used))
    }
}

impl fmt::Display for CaseResult {
    /// Writes one line: `ok   lstm H=33 …: output 3.1 % of tolerance, worst at [0, 1, 2]: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "ok  " } else { "FAIL" };
        match (&self.outcome, self.worst()) {
            (Err(error), _) => write!(f, "{verdict} {}: {error}", self.name),
            (Ok(_), Some(part)) => write!(f, "{verdict} {}: {} {}", self.name, part.name, part.comparison),
            (Ok(_), None) => write!(f, "{verdict} {}: nothing was compared", self.name),
        }
    }
}

/// Returns the weights rounded to `precision`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Weights`] if a weight is NaN or infinite, and `precision` cannot hold it.
pub fn rounded(weights: &Weights, precision: Precision) -> Result<Weights> {
    match precision {
        Precision::F32 => Ok(weights.clone()),
        Precision::F16 => Ok(rounded_to_half(weights)),
        Precision::I8 => rounded_to_integers(weights),
    }
}

/// Returns the weights with the matrices of products rounded to 8-bit integers.
fn rounded_to_integers(weights: &Weights) -> Result<Weights> {
    let mut weights = weights.clone();
    let round = |w: &mut Array2<f32>| {
        w.rows_mut().into_iter().try_for_each(|mut row| {
            let mut rounded = row.to_vec();
            round_rows(&mut rounded, row.len())?;
            row.assign(&Array1::from(rounded));
            Ok(())
        })
    };
    for layer in &mut weights.layers {
        match layer {
            LayerWeights::Recurrent(cells) => {
                for cell in cells {
                    [Some(&mut cell.w_x), Some(&mut cell.w_h), cell.w_r.as_mut()]
                        .into_iter()
                        .flatten()
                        .try_for_each(round)?;
                }
            }
            LayerWeights::Linear { w, .. } => round(w)?,
            LayerWeights::Conv { w, .. } => {
                let (units, inputs, taps) = w.dim();
                let mut rows: Vec<f32> = w.iter().copied().collect();
                round_rows(&mut rows, inputs * taps)?;
                *w = Array3::from_shape_vec((units, inputs, taps), rows).expect("as many weights");
            }
            LayerWeights::Embedding(_) | LayerWeights::Norm(_) | LayerWeights::None => {}
        }
    }
    Ok(weights)
}

/// Returns the weights with each rounded to the nearest half.
pub fn rounded_to_half(weights: &Weights) -> Weights {
    let mut rounded = weights_map(weights, |w| f16::from_f32(w).to_f32());
    // The numbers of layers that normalise stay as they are.
    for (rounded, own) in rounded.layers.iter_mut().zip(&weights.layers) {
        if let LayerWeights::Norm(_) = own {
            rounded.clone_from(own);
        }
    }
    rounded
}

/// Applies `f` to every weight.
fn weights_map(weights: &Weights, f: impl Fn(f32) -> f32 + Copy) -> Weights {
    let cell = |cell: &CellWeights| CellWeights {
        w_x: cell.w_x.mapv(f),
        w_h: cell.w_h.mapv(f),
        b_x: cell.b_x.as_ref().map(|b| b.mapv(f)),
        b_h: cell.b_h.as_ref().map(|b| b.mapv(f)),
        w_r: cell.w_r.as_ref().map(|w| w.mapv(f)),
        peepholes: cell.peepholes.as_ref().map(|w| w.mapv(f)),
    };
    let layer = |layer: &LayerWeights| match layer {
        LayerWeights::None => LayerWeights::None,
        LayerWeights::Norm(norm) => LayerWeights::Norm(norm.map(f)),
        LayerWeights::Embedding(table) => LayerWeights::Embedding(table.mapv(f)),
        LayerWeights::Recurrent(cells) => LayerWeights::Recurrent(cells.iter().map(cell).collect()),
        LayerWeights::Linear { w, b } => LayerWeights::Linear { w: w.mapv(f), b: b.as_ref().map(|b| b.mapv(f)) },
        LayerWeights::Conv { w, b } => LayerWeights::Conv { w: w.mapv(f), b: b.as_ref().map(|b| b.mapv(f)) },
    };
    let states =
        |states: &LearnedStates| LearnedStates { h: states.h.mapv(f), c: states.c.as_ref().map(|c| c.mapv(f)) };
    let initial = weights.initial.iter().map(|(stack, given)| (*stack, states(given))).collect();
    Weights { initial, ..Weights::new(weights.layers.iter().map(layer).collect()) }
}
