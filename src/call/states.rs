//! The initial states of the stacks of a call: given by the user, kept by an engine, learned, or zero.
//!
//! Views of these, checked against the model. Knows stacks and sizes; knows no sequence.

use std::collections::BTreeMap;

use ndarray::{Array3, ArrayD, ArrayView3, Axis, Ix2, Ix3};

use super::form::{Batching, Form};
use super::{States, shape};
use crate::error::{Result, SMALLER_CALL, zeros};
use crate::model::{Begun, Recurrent};

/// The states of a stack, with a batch: `h` `[L · D, B, state_size]` and `c` `[L · D, B, H]`.
pub(crate) type Batched = (Array3<f32>, Option<Array3<f32>>);

/// Where the initial states of a call come from, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Initial<'a> {
    pub(super) batching: Batching,
    /// The states that the user gave, by stack.
    pub(super) given: &'a BTreeMap<usize, States>,
    /// The states that an engine kept from the call before, for each stack or for none.
    pub(super) kept: &'a [Option<Batched>],
    /// The learned states, for each stack or for none.
    pub(super) learned: &'a [Option<Batched>],
}

impl<'a> Initial<'a> {
    /// Returns the initial hidden and cell states of stack `stack`; `None` is zero.
    pub(super) fn of(&self, stack: usize) -> Option<[Option<ArrayView3<'a, f32>>; 2]> {
        let view = |state: &'a ArrayD<f32>| batched(state, self.batching);
        let hidden = |h: &'a ArrayD<f32>| (!h.is_empty()).then(|| view(h));
        let states = |states: &'a States| [hidden(&states.h), states.c.as_ref().map(view)];
        self.given.get(&stack).map(states).or_else(|| {
            let of = |states: &'a [Option<Batched>]| states.get(stack)?.as_ref();
            let (h, c) = of(self.kept).or_else(|| of(self.learned))?;
            Some([Some(h.view()), c.as_ref().map(|c| c.view())])
        })
    }
}

/// Views a state in the user's axes, which have been checked, with a batch axis.
pub(crate) fn batched(state: &ArrayD<f32>, batching: Batching) -> ArrayView3<'_, f32> {
    let view = state.view();
    let with_batch = match batching {
        Batching::Batch => view.into_dimensionality::<Ix3>(),
        Batching::Single => view.into_dimensionality::<Ix2>().map(|state| state.insert_axis(Axis(1))),
    };
    with_batch.expect("the axes have been checked")
}

/// Makes the states of `stack` before a call: zeros.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
pub(crate) fn initial(stack: &Recurrent, form: Form) -> Result<Batched> {
    let array = |size| {
        let dims = (stack.num_layers * stack.directions(), form.batch, size);
        let data = zeros("the states", &[dims.0, dims.1, dims.2], SMALLER_CALL)?;
        Ok(Array3::from_shape_vec(dims, data).expect("as many elements as the dims say"))
    };
    let c = (stack.cell.states() > 1).then(|| array(stack.hidden_size)).transpose()?;
    Ok((array(stack.state_size())?, c))
}

/// Checks that `given` can be the states of `stack` in a call of `form`. States in `begun` begin at values of the
/// model, and must not be given.
///
/// # Errors
///
/// Returns an error of kind `ErrorKind::Shape` if they cannot.
pub(crate) fn check(given: &States, (stack, begun): (&Recurrent, Begun), form: Form) -> Result<()> {
    const BEGUN: &str = "expected none, since a value of the model begins";
    if begun.all(stack) {
        return Err(shape(format!("{BEGUN} it")));
    }
    let rows = stack.num_layers * stack.directions();
    let one = |name: &str, state: &ArrayD<f32>, size: usize| {
        let (expected, letters): (&[usize], _) = match form.batching {
            Batching::Batch => (&[rows, form.batch, size], "layers · directions, B, size"),
            Batching::Single => (&[rows, size], "layers · directions, size"),
        };
        if state.shape() == expected {
            return Ok(());
        }
        Err(shape(format!("{name}: expected {expected:?} ({letters}), got {:?}", state.shape())))
    };
    match given.h.is_empty() {
        true if begun.hidden => {}
        false if begun.hidden => {
            let got = given.h.shape();
            return Err(shape(format!("h: {BEGUN} it, got {got:?}")).hint("States::cell has cell states alone"));
        }
        _ => one("h", &given.h, stack.state_size())?,
    }
    match (stack.cell.states() > 1, &given.c) {
        (true, None) if begun.cell => Ok(()),
        (true, Some(c)) if begun.cell => {
            Err(shape(format!("c: {BEGUN} it, got {:?}", c.shape())).hint("States::hidden has hidden states alone"))
        }
        (true, Some(c)) => one("c", c, stack.hidden_size),
        (false, None) => Ok(()),
        (true, None) => Err(shape("c: expected cell states beside h, got none; zeros will do")),
        (false, Some(c)) => Err(shape(format!("c: expected none (only an lstm has cell states), got {:?}", c.shape()))),
    }
}
