//! The one table of cases, run on any executor and compared with the oracle, and the tolerances that go with it.
//!
//! A case is a model, a shape and a seed: weights and inputs are drawn from the seed alone, so that every machine
//! runs the same numbers. An executor is a closure; whether it ends on the CPU or on a GPU is not known here.
//!
//! # Example
//!
//! ```no_run
//! use gatewave::conformance::{cases, run};
//! use gatewave::{Device, Engine};
//!
//! for case in cases() {
//!     let result = run(&case, &mut |_case, model, weights, input| {
//!         Engine::new(model.clone(), weights, Device::Cpu)?.run(&input)
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
#[doc(hidden)]
pub use plan_bugs::PlanBug;

use half::f16;
use ndarray::{Array1, Array2};

use crate::call::{Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::kernel::Storage;
use crate::model::Model;
use crate::oracle::{self, Truth};
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
    /// How the executor is to store the weights.
    pub storage: Storage,
    /// Which steps there are.
    pub mask: MaskKind,
    /// Where the recurrent stacks begin.
    pub states: InitialStates,
    /// What weights and input are drawn from.
    pub seed: u64,
}

/// Which steps the rows of a batch have. Where some have not all, a model that takes steps out by itself finds some to
/// take out as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MaskKind {
    /// All.
    All,
    /// All that the model itself does not take out.
    Own,
    /// Each row its first few, the rows in any order.
    Lengths,
    /// Any.
    Holes,
}

/// Where the recurrent stacks of a case begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InitialStates {
    /// At zero.
    Zero,
    /// At states that are drawn with the input.
    Given,
}

/// What an executor made of a case.
#[derive(Debug)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// The worst element of each tensor that came back; or why there is none.
    pub outcome: Result<Vec<Part>>,
}

/// One of the tensors that a run gives, compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Which one: `output`, `h`, `c`; where the model has several stacks `h of stack 1`.
    pub name: String,
    /// Its worst element.
    pub comparison: Comparison,
}

/// What runs a case: a model with weights, stored as the case says, on an input.
pub type Executor<'a> = dyn FnMut(&Case, &Model, &Weights, Input) -> Result<Output> + 'a;

/// Runs a case on an executor and compares what comes back with the oracle.
pub fn run(case: &Case, executor: &mut Executor<'_>) -> CaseResult {
    run_with(case, &case.weights(), executor)
}

/// Runs a case with other weights than its own: a user's.
pub fn run_with(case: &Case, weights: &Weights, executor: &mut Executor<'_>) -> CaseResult {
    let mut outcome = || {
        let want = case.truth(weights)?;
        let got = executor(case, &case.model, weights, case.input())?;
        compare_outputs(&got, &want, case.tolerance())
    };
    CaseResult { name: case.name.clone(), outcome: outcome() }
}

/// Compares all that a run gave with all that is true.
///
/// # Errors
///
/// Kind `Shape`, where a tensor is missing, is one too many, or has another shape.
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
    /// The weights, drawn from the seed.
    pub fn weights(&self) -> Weights {
        draw::weights(self)
    }

    /// The input, drawn from the seed, in the model's axes. Where there is no step it holds NaN, or tokens that do
    /// not exist.
    pub fn input(&self) -> Input {
        draw::input(self)
    }

    /// The number of steps of input `input` of the model, where it has a time axis that no other leads.
    pub fn time_of(&self, input: usize) -> usize {
        draw::time_of(self, input)
    }

    /// What the case truly gives with `weights` as its storage holds them.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model: not for cases of the table; as [`rounded`].
    pub fn truth(&self, weights: &Weights) -> Result<Truth> {
        oracle::run(&self.model, &rounded(weights, self.storage)?, &self.input())
    }

    /// What an executor in f32 may be wrong by.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance::executor(&self.model, self.time)
    }
}

impl CaseResult {
    /// Whether the executor gave the truth, within the tolerance.
    pub fn passed(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|parts| parts.iter().all(|part| part.comparison.passed()))
    }

    /// How much of the tolerance the worst element of all uses: 1 is all of it. Infinite where the run failed.
    pub fn used(&self) -> f64 {
        self.worst().map_or(f64::INFINITY, |part| part.comparison.used)
    }

    /// The tensor with the worst element, where the run gave any.
    pub fn worst(&self) -> Option<&Part> {
        let parts = self.outcome.as_ref().ok()?;
        parts.iter().max_by(|a, b| a.comparison.used.total_cmp(&b.comparison.used))
    }
}

impl fmt::Display for CaseResult {
    /// One line: `ok   lstm H=33 …: output 3.1 % of tolerance, worst at [0, 1, 2]: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.passed() { "ok  " } else { "FAIL" };
        match (&self.outcome, self.worst()) {
            (Err(error), _) => write!(f, "{verdict} {}: {error}", self.name),
            (Ok(_), Some(part)) => write!(f, "{verdict} {}: {} {}", self.name, part.name, part.comparison),
            (Ok(_), None) => write!(f, "{verdict} {}: nothing was compared", self.name),
        }
    }
}

/// The weights as `storage` holds them.
///
/// # Errors
///
/// Kind `Weights`, where a weight is NaN or infinite, and `storage` holds no such.
pub fn rounded(weights: &Weights, storage: Storage) -> Result<Weights> {
    match storage {
        Storage::F32 => Ok(weights.clone()),
        Storage::F16 => Ok(rounded_to_half(weights)),
        Storage::I8 => rounded_to_integers(weights),
    }
}

/// The weights with the matrices of products as 8-bit integers hold them.
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
            LayerWeights::Embedding(_) | LayerWeights::None => {}
        }
    }
    Ok(weights)
}

/// The weights as half precision holds them: each rounded to the nearest.
pub fn rounded_to_half(weights: &Weights) -> Weights {
    weights_map(weights, |w| f16::from_f32(w).to_f32())
}

/// `f` of every weight.
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
        LayerWeights::Embedding(table) => LayerWeights::Embedding(table.mapv(f)),
        LayerWeights::Recurrent(cells) => LayerWeights::Recurrent(cells.iter().map(cell).collect()),
        LayerWeights::Linear { w, b } => LayerWeights::Linear { w: w.mapv(f), b: b.as_ref().map(|b| b.mapv(f)) },
    };
    let states =
        |states: &LearnedStates| LearnedStates { h: states.h.mapv(f), c: states.c.as_ref().map(|c| c.mapv(f)) };
    let initial = weights.initial.iter().map(|(stack, given)| (*stack, states(given))).collect();
    Weights { initial, ..Weights::new(weights.layers.iter().map(layer).collect()) }
}
