//! States that last from call to call of an engine (`Memory::Engine`, Keras' `stateful`).
//!
//! Holds them between calls and puts calls in a row; knows nothing of how they are computed. An engine of a model
//! without such stacks has none of it.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_intrusive::sync::{Mutex, MutexGuard};
use ndarray::{Array3, Axis, Ix2, Ix3};

use crate::call::{Batching, Call, Form, Input, Output, States};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{self, Model};

/// The states that an engine keeps.
pub(super) struct Memory {
    /// Held for as long as a call takes.
    kept: Mutex<Kept>,
    /// How often they have been reset: a call does not wait for a reset, nor a reset for a call.
    resets: AtomicU64,
}

/// What the last call left.
struct Kept {
    /// For each stack of the model, as in [`Call::states`]; none of a stack whose states last for a call, and before the
    /// first call.
    states: Vec<Option<Batched>>,
    /// How often they had been reset when that call began.
    resets: u64,
}

type Batched = (Array3<f32>, Option<Array3<f32>>);

/// The turn of one call.
pub(super) struct Turn<'a> {
    kept: MutexGuard<'a, Kept>,
}

impl Memory {
    /// A memory for the stacks of `model` whose states last, if there are any.
    pub(super) fn of(model: &Model) -> Option<Self> {
        let stacks = model.stacks().count();
        model.stacks().any(|stack| stack.memory == model::Memory::Engine).then(|| Self {
            // Fair: calls run in the order in which they came.
            kept: Mutex::new(Kept { states: vec![None; stacks], resets: 0 }, true),
            resets: AtomicU64::new(0),
        })
    }

    /// Forgets the states. A call that is under way ends as it began, and leaves none.
    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for the calls before, and lets `call` begin where the last one ended, but for the stacks to which `input`
    /// gives states.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the last call had another batch.
    pub(super) async fn turn(&self, input: &Input, call: &mut Call, model: &Model, form: Form) -> Result<Turn<'_>> {
        let mut kept = self.kept.lock().await;
        let resets = self.resets.load(Ordering::Acquire);
        if kept.resets != resets {
            kept.states.fill(None);
            kept.resets = resets;
        }
        let stacks = model.stacks().zip(&kept.states).zip(&mut call.states).enumerate();
        for (index, ((stack, kept), states)) in stacks {
            let Some(kept) = kept.as_ref().filter(|_| !input.states.contains_key(&index)) else { continue };
            let batch = kept.0.len_of(Axis(1));
            if batch != form.batch {
                let text = format!(
                    "states of stack {index} ({}): expected {batch} row(s), as the call before had (the stack is \
                     stateful), got {}; Engine::reset_states() begins anew",
                    stack.cell.name(),
                    form.batch
                );
                return Err(Error::new(ErrorKind::Shape, text));
            }
            states.clone_from(kept);
        }
        Ok(Turn { kept })
    }
}

impl Turn<'_> {
    /// Keeps what the call gave. A turn that ends without it leaves the states as they were.
    pub(super) fn keep(mut self, output: &Output, model: &Model, form: Form) {
        for ((stack, states), kept) in model.stacks().zip(&output.states).zip(&mut self.kept.states) {
            *kept = (stack.memory == model::Memory::Engine).then(|| batched(states, form));
        }
    }
}

/// A call's final states as the next call takes them.
fn batched(states: &States, form: Form) -> Batched {
    let one = |state: &ndarray::ArrayD<f32>| match form.batching {
        Batching::Batch => state.clone().into_dimensionality::<Ix3>(),
        Batching::Single => state.clone().into_dimensionality::<Ix2>().map(|state| state.insert_axis(Axis(1))),
    };
    let one = |state| one(state).expect("the axes that the call's form says");
    (one(&states.h), states.c.as_ref().map(one))
}
