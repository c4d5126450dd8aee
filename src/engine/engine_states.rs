//! States that last from call to call of an engine (`StateLifetime::Engine`, Keras' `stateful`).
//!
//! Holds them between calls and runs those calls one after another; knows nothing of how they are computed. An engine
//! of a model without such stacks has none of this.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_intrusive::sync::{Mutex, MutexGuard};
use ndarray::Axis;

use crate::call::{Batched, Form, Input, Output, batched};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{self, Model};

/// The states that an engine keeps.
pub(super) struct EngineStates {
    /// Locked for the whole of a call.
    kept: Mutex<Kept>,
    /// The number of resets so far: a call does not wait for a reset, nor a reset for a call.
    resets: AtomicU64,
}

/// What the last call left.
struct Kept {
    /// For each stack of the model; `None` if its states last for one call, and before the first call.
    states: Vec<Option<Batched>>,
    /// The number of resets when that call began.
    resets: u64,
}

/// The turn of one call.
pub(super) struct Turn<'a> {
    kept: MutexGuard<'a, Kept>,
}

impl EngineStates {
    /// Makes the states for the stacks of `model` whose states last, if there are any.
    pub(super) fn of(model: &Model) -> Option<Self> {
        let stacks = model.stacks().count();
        model.stacks().any(|stack| stack.state_lifetime == model::StateLifetime::Engine).then(|| Self {
            // A fair lock: calls run in the order in which they came.
            kept: Mutex::new(Kept { states: vec![None; stacks], resets: 0 }, true),
            resets: AtomicU64::new(0),
        })
    }

    /// Forgets the states. A call that is under way ends as it began, and leaves none.
    pub(super) fn reset(&self) {
        self.resets.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits for earlier calls. A call of `input` then begins where the last one
    /// ended, except in stacks to which it gives states.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if the last call had another batch.
    pub(super) async fn turn(&self, input: &Input<'_>, model: &Model, form: Form) -> Result<Turn<'_>> {
        let mut kept = self.kept.lock().await;
        let resets = self.resets.load(Ordering::Acquire);
        if kept.resets != resets {
            kept.states.fill(None);
            kept.resets = resets;
        }
        for (index, (stack, kept)) in model.stacks().zip(&kept.states).enumerate() {
            let Some((h, _)) = kept.as_ref().filter(|_| !input.states.contains_key(&index)) else { continue };
            let batch = h.len_of(Axis(1));
            if batch != form.batch {
                let text = format!(
                    "states of stack {index} ({}): expected {batch} row(s), as the call before had (the stack is \
                     stateful), got {}; begin anew with Engine::reset_states, or in a new run",
                    stack.cell.name(),
                    form.batch
                );
                return Err(Error::new(ErrorKind::Shape, text));
            }
        }
        Ok(Turn { kept })
    }
}

impl Turn<'_> {
    /// What the last call left for each stack.
    pub(super) fn states(&self) -> &[Option<Batched>] {
        &self.kept.states
    }

    /// Keeps the final states of the call. A turn that ends without this leaves the states as they were.
    pub(super) fn keep(mut self, output: &Output, model: &Model, form: Form) {
        for ((stack, states), kept) in model.stacks().zip(&output.states).zip(&mut self.kept.states) {
            if stack.state_lifetime == model::StateLifetime::Call {
                continue;
            }
            let (h, c) = (batched(&states.h, form.batching), states.c.as_ref().map(|c| batched(c, form.batching)));
            match kept {
                // A next call of the same size allocates no memory for them.
                Some((kept_h, kept_c)) if kept_h.dim() == h.dim() => {
                    kept_h.assign(&h);
                    kept_c.iter_mut().zip(&c).for_each(|(kept, c)| kept.assign(c));
                }
                _ => *kept = Some((h.to_owned(), c.map(|c| c.to_owned()))),
            }
        }
    }
}
