//! States that go from one call of a training to the next: truncated backpropagation through time.
//!
//! A call begins where the last one ended, and sends no gradient there: the earlier state is a constant, as with
//! PyTorch's `detach`. Knows stacks and rows; knows no plan.

use std::collections::BTreeSet;

use ndarray::{ArrayView3, ArrayViewMut3, Axis};

use crate::call::{Batched, Call, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Model, StateLifetime};

/// What the last call left, and which rows were reset since.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// For each stack of the model, whether its states go on.
    stacks: Vec<bool>,
    /// Those states; `None` before the first call.
    states: Vec<Option<Batched>>,
    /// The rows that have been reset since the last call.
    anew: BTreeSet<usize>,
}

impl Carried {
    /// Makes it for `all` stacks of `model`, or for the stateful ones, except stacks that begin at
    /// values of the model. `None` if there are no such stacks.
    pub(crate) fn of(model: &Model, all: bool) -> Option<Self> {
        let goes_on = |(index, lifetime)| (all || lifetime == StateLifetime::Engine) && !model.begun(index).any();
        let stacks: Vec<bool> = model.stacks().map(|stack| stack.state_lifetime).enumerate().map(goes_on).collect();
        let states = vec![None; stacks.len()];
        stacks.contains(&true).then_some(Self { stacks, states, anew: BTreeSet::new() })
    }

    /// Forgets the states: the next call begins where the model does.
    pub(crate) fn reset(&mut self) {
        self.states.fill(None);
        self.anew.clear();
    }

    /// Forgets the states of some rows.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if there is no such row. Nothing is forgotten then.
    pub(crate) fn reset_rows(&mut self, rows: &[usize]) -> Result<()> {
        let Some(batch) = self.batch() else { return Ok(()) };
        if let Some(row) = rows.iter().find(|row| **row >= batch) {
            let text = format!("reset_rows: expected rows below {batch}, as the last batch had, got {row}");
            return Err(Error::new(ErrorKind::Shape, text));
        }
        self.anew.extend(rows);
        Ok(())
    }

    /// The number of rows of the last call.
    fn batch(&self) -> Option<usize> {
        self.states.iter().flatten().next().map(|(h, _)| h.len_of(Axis(1)))
    }

    /// Returns the states with which each stack begins a call of `input`; `None` if its states do not go on or are not
    /// there yet. Rows that were reset begin at the stack's `learned` states, or at zero.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if the last call had another number of rows.
    pub(crate) fn begin(
        &self,
        input: &Input,
        call: &Call<'_>,
        learned: &[Option<Batched>],
    ) -> Result<Vec<Option<Batched>>> {
        let mut all = self.states.clone();
        for (index, states) in all.iter_mut().enumerate() {
            let Some((h, c)) = states.as_mut().filter(|_| !input.states.contains_key(&index)) else { continue };
            let (batch, got) = (h.len_of(Axis(1)), call.form.batch);
            if batch != got {
                let text = format!(
                    "states of stack {index}: expected {batch} row(s), as the batch before had (its states are carried), got \
                     {got}; begin anew with Trainer::reset_states, or give batches of one size"
                );
                return Err(Error::new(ErrorKind::Shape, text));
            }
            let learned = learned.get(index).and_then(Option::as_ref);
            for &row in &self.anew {
                begin_row(h.view_mut(), learned.map(|(h, _)| h.view()), row);
                if let Some(c) = c {
                    begin_row(c.view_mut(), learned.and_then(|(_, c)| c.as_ref()).map(|c| c.view()), row);
                }
            }
        }
        Ok(all)
    }

    /// Whether row `row` of stack `stack` begins where the model does.
    pub(crate) fn begins_anew(&self, stack: usize, row: usize) -> bool {
        self.states.get(stack).is_none_or(Option::is_none) || self.anew.contains(&row)
    }

    /// Keeps the final states of a call, stack by stack.
    pub(crate) fn keep(&mut self, finals: Vec<Option<Batched>>) {
        let kept = finals.into_iter().zip(&self.stacks).map(|(states, goes_on)| states.filter(|_| *goes_on));
        self.states = kept.collect();
        self.anew.clear();
    }

    /// The states that go on, by stack, and the rows that have been reset: for a checkpoint.
    pub(crate) fn parts(&self) -> (&[Option<Batched>], &BTreeSet<usize>) {
        (&self.states, &self.anew)
    }

    /// Restores these parts from a checkpoint.
    pub(crate) fn set(&mut self, states: Vec<Option<Batched>>, anew: BTreeSet<usize>) {
        (self.states, self.anew) = (states, anew);
    }
}

fn begin_row(mut states: ArrayViewMut3<'_, f32>, learned: Option<ArrayView3<'_, f32>>, row: usize) {
    let mut own = states.index_axis_mut(Axis(1), row);
    match learned {
        Some(learned) => own.assign(&learned.index_axis(Axis(1), row)),
        None => own.fill(0.0),
    }
}
