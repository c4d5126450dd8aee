//! `Input` → `Call`: checks that the user's input fits a model, and says what it is at each step.
//!
//! A call copies nothing: it is a view of the input in the road's order, and is read step by step when it is laid out.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3};

use super::form::Form;
use super::inputs::Values;
use super::states::{self, Batched, Initial};
use super::steps::{Piece, Steps};
use super::{Input, shape};
use crate::error::Result;
use crate::model::{Clocks, InputKind, Model, Recurrent};

/// A checked call: time-major, batched, with the model's sizes.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    /// The axes that the user wrote, and the sizes of the main input.
    pub(crate) form: Form,
    pub(super) model: &'a Model,
    pub(super) clocks: Cow<'a, Clocks>,
    /// The main input and the others as the user wrote them, dead steps included.
    main: Values<'a>,
    others: BTreeMap<usize, Values<'a>>,
    /// The steps by the first clock, and by the others.
    pub(super) first: Steps<'a>,
    pub(super) rest: Vec<Steps<'a>>,
    /// The pieces of the layers that slice or join steps.
    pub(super) pieces: BTreeMap<usize, Vec<Piece>>,
    /// The live steps of each row after a layer of windows, if any of them is dead.
    pub(super) ends: BTreeMap<usize, Vec<Range<usize>>>,
    initial: Initial<'a>,
}

impl Input<'_> {
    /// Checks this input against `model`, and returns the call.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if the input does not fit the model.
    pub(crate) fn check<'a>(&'a self, model: &'a Model) -> Result<Call<'a>> {
        self.check_by(model, Cow::Owned(Clocks::of(model)))
    }

    /// [`check`](Self::check), for a model whose clocks are known.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(crate) fn check_by<'a>(&'a self, model: &'a Model, clocks: Cow<'a, Clocks>) -> Result<Call<'a>> {
        let form = Form::of(self, model)?;
        let (main, others) = (self.main_values(model, form), self.other_values(model, form, &clocks)?);
        let (first, rest) = (Steps::all(form.time), Vec::new());
        let (pieces, ends) = (BTreeMap::new(), BTreeMap::new());
        let initial = Initial { batching: form.batching, given: &self.states, kept: &[], learned: &[] };
        let call = Call { form, model, clocks, main, others, first, rest, pieces, ends, initial };
        let call = call.with_steps(self)?;
        call.check_tokens(model)?;
        self.check_states(model, form)?;
        Ok(call)
    }

    fn check_states(&self, model: &Model, form: Form) -> Result<()> {
        let stacks = model.stacks().count();
        if let Some(stack) = self.states.keys().find(|&&stack| stack >= stacks) {
            return Err(shape(format!(
                "states of stack {stack}: the model has {stacks} recurrent stack(s), counted from 0"
            )));
        }
        model.stacks().enumerate().try_for_each(|(index, stack)| match self.states.get(&index) {
            None => Ok(()),
            Some(given) => states::check(given, (stack, model.begun(index)), form)
                .map_err(|e| e.at(format!("states of stack {index} ({})", stack.cell.name()))),
        })
    }
}

impl<'a> Call<'a> {
    /// Sets the states that an engine `kept`. Stacks to which the user gave states do not use them.
    pub(crate) fn keeping(mut self, kept: &'a [Option<Batched>]) -> Self {
        self.initial.kept = kept;
        self
    }

    /// Sets the `learned` states of stacks. They are used if no states are given or kept.
    pub(crate) fn learning(mut self, learned: &'a [Option<Batched>]) -> Self {
        self.initial.learned = learned;
        self
    }

    /// Returns the initial states of stack `stack`: `h` `[L · D, B, state_size]` and `c` `[L · D, B, H]`. `None` is
    /// zero. States that begin at a value of the model are not among them.
    pub(crate) fn initial(&self, stack: usize) -> Option<[Option<ArrayView3<'a, f32>>; 2]> {
        self.initial.of(stack)
    }

    /// [`initial`](Self::initial) as arrays of their own, with zeros in place of `None`; `r` is stack `stack`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Limits` if there is no memory for them.
    pub(crate) fn beginning(&self, stack: usize, r: &Recurrent) -> Result<Batched> {
        let (mut h, mut c) = states::initial(r, self.form)?;
        let [given_h, given_c] = self.initial(stack).unwrap_or_default();
        if let Some(given) = given_h {
            h.assign(&given);
        }
        if let (Some(c), Some(given)) = (&mut c, given_c) {
            c.assign(&given);
        }
        Ok((h, c))
    }

    /// Returns the clocks of the model.
    pub(crate) fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// Returns whether the main input holds tokens.
    pub(crate) fn has_tokens(&self) -> bool {
        matches!(self.main, Values::Tokens(_))
    }

    /// Returns T by clock `clock`.
    pub(crate) fn time(&self, clock: usize) -> usize {
        self.steps(clock).map_or(self.form.time, |steps| steps.time)
    }

    /// Returns whether some row has a dead step by clock `clock`.
    pub(crate) fn masked(&self, clock: usize) -> bool {
        self.steps(clock).is_some_and(|steps| steps.masked)
    }

    /// The array that the user gave as input `input` of the model.
    pub(super) fn values(&self, input: usize) -> Option<&Values<'a>> {
        if input == self.model.main_input() { Some(&self.main) } else { self.others.get(&input) }
    }

    /// Returns the features of row b at t of input `input` of the model, if the step is live. A dead step may hold
    /// anything, and is 0 to the model.
    pub(crate) fn features(&self, input: usize, t: usize, b: usize) -> Option<ArrayView1<'_, f32>> {
        let is_live = self.clocks.of_read(input).is_none_or(|clock| self.is_live(clock, t, b));
        self.values(input).filter(|_| is_live)?.features(t, b)
    }

    /// Returns the token of row b at t of input `input` of the model, or 0 if the caller has no step there. Such a step
    /// may hold anything. A token that masks its own step stays.
    pub(crate) fn token(&self, input: usize, t: usize, b: usize) -> u32 {
        match self.values(input).and_then(|values| values.token(t, b)) {
            Some(token) if self.is_given(input, t, b) => u32::try_from(token).expect("a checked token"),
            _ => 0,
        }
    }

    /// Returns the features of row b of input `input` of the model, which has no time axis.
    pub(crate) fn row(&self, input: usize, b: usize) -> ArrayView1<'_, f32> {
        self.values(input).and_then(|values| values.row(b)).expect("a checked row")
    }

    /// Whether row b of input `input` has a step at t by the caller.
    fn is_given(&self, input: usize, t: usize, b: usize) -> bool {
        let steps = self.clocks.of_read(input).and_then(|clock| self.steps(clock));
        steps.is_none_or(|steps| steps.is_given(t, b))
    }

    /// Checks that the model knows every token of the caller's steps.
    fn check_tokens(&self, model: &Model) -> Result<()> {
        for index in 0..model.inputs.len().max(1) {
            let Some(Values::Tokens(tokens)) = self.values(index) else { continue };
            let (name, bound) = match model.inputs.get(index) {
                Some(input) => match input.kind {
                    InputKind::Tokens(bound) => (input.name.as_str(), bound),
                    _ => continue,
                },
                None => ("input", model.input()?.tokens().unwrap_or(0)),
            };
            let known = |token: i64| u32::try_from(token).is_ok_and(|token| (token as usize) < bound);
            let wrong = tokens.indexed_iter().find(|&((t, b), &token)| !known(token) && self.is_given(index, t, b));
            if let Some(((t, b), token)) = wrong {
                let (last, position) = (bound.saturating_sub(1), self.form.position(t, b));
                return Err(shape(format!("{name}: expected tokens from 0 to {last}, got {token} at {position:?}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::model::{Embedding, Lstm, Masking};

    /// The steps of each row, live or dead.
    fn live_of(call: &Call<'_>) -> Vec<Vec<bool>> {
        assert!(call.masked(0));
        let Form { time, batch, .. } = call.form;
        (0..batch).map(|b| (0..time).map(|t| call.is_live(0, t, b)).collect()).collect()
    }

    #[test]
    fn a_token_that_masks_and_the_callers_mask_both_take_steps_out() {
        let model = Model::new().layer(Embedding::new(9, 2).mask_token(3)).layer(Lstm::new(2, 2));
        let tokens = Input::tokens(array![[3_i64, 1, 3, 2], [5, 6, 7, -1]]);
        assert!(tokens.check(&model).is_err(), "a token of a live step must be in the table");
        let input = tokens.lengths([4, 3]);
        let call = input.check(&model).unwrap();
        assert_eq!(live_of(&call), [[false, true, false, true], [true, true, true, false]]);
        let tokens = |b| (0..4).map(|t| call.token(0, t, b)).collect::<Vec<_>>();
        assert_eq!(tokens(0), [3, 1, 3, 2], "the embedding of the token itself goes on");
        assert_eq!(tokens(1), [5, 6, 7, 0], "what the caller masks is not read");
    }

    #[test]
    fn a_step_is_masked_where_all_its_features_are_the_value() {
        let model = Model::new().layer(Masking::new(2, -1.0)).layer(Lstm::new(2, 2));
        let nan = f32::NAN;
        let input = Input::features(array![[[-1.0, -1.0], [-1.0, 2.0], [nan, -1.0], [nan, nan]]]).lengths([3]);
        let call = input.check(&model).unwrap();
        assert_eq!(live_of(&call), [[false, true, true, false]]);
        let first = |t| call.features(0, t, 0).map(|features| features[0].to_bits());
        assert_eq!([0, 1, 2, 3].map(first), [None, Some((-1.0_f32).to_bits()), Some(nan.to_bits()), None]);
    }

    #[test]
    fn masks_that_take_nothing_out_are_none() {
        let model = Model::new().layer(Masking::new(1, 0.0)).layer(Lstm::new(1, 2));
        let x = array![[[1.0_f32], [2.0]]];
        for input in [Input::features(x.clone()).lengths([2]), Input::features(x).mask(array![[true, true]])] {
            let call = input.check(&model).unwrap();
            assert!(!call.masked(0) && call.is_live(0, 1, 0));
        }
    }
}
