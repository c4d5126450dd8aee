//! `Input` → `Call`: whether what a user wrote fits a model, and what it then is, step by step.
//!
//! A call copies nothing: it is views of the input in the road's order, and whoever lays it out asks it for each step.

use std::collections::BTreeMap;

use ndarray::{ArrayView1, ArrayView2, ArrayView3, s};

use super::form::{Batching, Form};
use super::others::Other;
use super::states::{self, Batched, Initial};
use super::{Input, Sequence, States, shape};
use crate::error::Result;
use crate::model::{Axes, Embedding, InputKind, Layer, LayerKind, Model, Value};

/// A checked call: time-major, batched, of the model's sizes.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    /// The axes the user wrote, and the sizes.
    pub(crate) form: Form,
    /// Features `[T, B, I]` or tokens `[T, B]`: what the user wrote, dead steps included.
    sequence: Sequence<ArrayView3<'a, f32>, ArrayView2<'a, i64>>,
    given: Given<'a>,
    own: Own,
    masked: bool,
    initial: Initial<'a>,
    encoder: Option<&'a Input>,
    /// By their place among the model's inputs.
    others: BTreeMap<usize, Other<'a>>,
}

/// Which steps there are by the caller.
#[derive(Clone, Debug)]
enum Given<'a> {
    All,
    /// As many as this of each row.
    Lengths(&'a [i64]),
    /// Those of this mask, `[T, B]`.
    Mask(ArrayView2<'a, bool>),
}

/// Which steps a model takes out by what its main input holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    None,
    /// Those whose features are all this.
    Value(f32),
    /// Those of this token.
    Token(usize),
}

impl Input {
    /// The call this input makes of `model`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where the input does not fit the model.
    pub(crate) fn check<'a>(&'a self, model: &'a Model) -> Result<Call<'a>> {
        let form = Form::of(self, model)?;
        self.check_encoder(model, form)?;
        let sequence = match &self.sequence {
            Sequence::Features(x) => Sequence::Features(form.time_major(x.view())),
            Sequence::Tokens(x) => Sequence::Tokens(form.time_major(x.view())),
        };
        let initial =
            Initial { batching: form.batching, given: &self.states, kept: &[], learned: &[], encoded: (&[], &[]) };
        let own = Own::of(model);
        let encoder = self.encoder.as_deref();
        let (given, others) = (self.given(form)?, self.check_others(model, form)?);
        let mut call = Call { form, sequence, given, own, masked: false, initial, encoder, others };
        call.check_tokens(model)?;
        call.masked = call.misses_steps();
        self.check_states(model, form)?;
        Ok(call)
    }

    /// Whether the encoder's input fits, where the model has one.
    fn check_encoder(&self, model: &Model, form: Form) -> Result<()> {
        let (encoder, input) = match (&model.encoder, &self.encoder) {
            (None, None) => return Ok(()),
            (Some(encoder), Some(input)) => (encoder, input),
            (Some(_), None) => {
                return Err(shape(
                    "encoder: expected an input of its own beside the decoder's (Input::encoder), got none",
                ));
            }
            (None, Some(_)) => return Err(shape("encoder: expected no input of one, which the model has not")),
        };
        if let Some(stack) = self.states.keys().find(|&&stack| model.is_linked(stack)) {
            return Err(shape(format!(
                "states of stack {stack}: expected none, since the encoder's final states begin it"
            )));
        }
        let own = input.check(&encoder.model).map_err(|e| e.at("encoder"))?.form;
        if (own.batching, own.batch) == (form.batching, form.batch) {
            return Ok(());
        }
        let text = |form: Form| match form.batching {
            Batching::Batch => format!("{} rows", form.batch),
            Batching::Single => "one sequence without a batch".into(),
        };
        Err(shape(format!("encoder: expected {} as the decoder's input has, got {}", text(form), text(own))))
    }

    fn check_states(&self, model: &Model, form: Form) -> Result<()> {
        let stacks = model.stacks().count();
        if let Some(stack) = self.states.keys().find(|&&stack| stack >= stacks) {
            return Err(shape(format!(
                "states of stack {stack}: the model has {stacks} recurrent stack(s), counted from 0"
            )));
        }
        let begun = |stack: usize| model.is_begun(stack);
        model.stacks().enumerate().try_for_each(|(index, stack)| match self.states.get(&index) {
            None => Ok(()),
            Some(_) if begun(index) => {
                Err(shape(format!("states of stack {index}: expected none, since a value of the model begins it")))
            }
            Some(given) => states::check(given, stack, form)
                .map_err(|e| e.at(format!("states of stack {index} ({})", stack.cell.name()))),
        })
    }

    /// Which steps there are by the lengths or the mask.
    fn given(&self, form: Form) -> Result<Given<'_>> {
        match (&self.lengths, &self.mask) {
            (None, None) => Ok(Given::All),
            (Some(_), Some(_)) => Err(shape("lengths and mask: expected one of them, got both; a mask says it all")),
            (Some(lengths), None) => {
                form.check_lengths(lengths)?;
                Ok(Given::Lengths(lengths))
            }
            (None, Some(mask)) => {
                let (expected, letters): (&[usize], _) = match form.batching {
                    Batching::Batch => (&[form.batch, form.time], "B, T"),
                    Batching::Single => (&[form.time], "T"),
                };
                if mask.shape() != expected {
                    return Err(shape(format!("mask: expected {expected:?} ({letters}), got {:?}", mask.shape())));
                }
                // A mask has one order of axes, as lengths have one: a row of it is a row of the batch.
                let rows = Form { axes: Axes::BatchFirst, ..form };
                Ok(Given::Mask(rows.time_major(mask.view())))
            }
        }
    }
}

impl Own {
    /// Those of `model`.
    pub(crate) fn of(model: &Model) -> Self {
        let main = [Value::Input(model.main_input())];
        let own = |layer: &Layer| match layer.kind {
            LayerKind::Masking(masking) => Some(Self::Value(masking.value.get())),
            LayerKind::Embedding(Embedding { mask_token: Some(token), .. }) => Some(Self::Token(token)),
            _ => None,
        };
        // Other layers may take the input before the one that masks it.
        model.layers.iter().filter(|layer| layer.from == main).find_map(own).unwrap_or(Self::None)
    }

    /// Whether a step of these features stays.
    pub(crate) fn keeps<'x>(self, features: impl IntoIterator<Item = &'x f32>) -> bool {
        match self {
            Self::Value(value) => features.into_iter().any(|&x| x != value),
            Self::None | Self::Token(_) => true,
        }
    }

    /// Whether a step of this token stays.
    pub(crate) fn keeps_token(self, token: i64) -> bool {
        match self {
            Self::Token(own) => usize::try_from(token) != Ok(own),
            Self::None | Self::Value(_) => true,
        }
    }
}

impl<'a> Call<'a> {
    /// The same, its stacks beginning with what an engine `kept` for them, but for those to which the user gave states.
    pub(crate) fn keeping(mut self, kept: &'a [Option<Batched>]) -> Self {
        self.initial.kept = kept;
        self
    }

    /// The same, stacks beginning with what they have learned where nobody gave or kept states for them.
    pub(crate) fn learning(mut self, learned: &'a [Option<Batched>]) -> Self {
        self.initial.learned = learned;
        self
    }

    /// The same, the stacks that the encoder of `model` begins at its final states, `encoded`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where they are not of the stacks' sizes.
    pub(crate) fn begin(mut self, model: &'a Model, encoded: &'a [States]) -> Result<Self> {
        let links = model.encoder.as_ref().map_or(&[][..], |encoder| &encoder.states);
        for link in links {
            let stack = model.stacks().nth(link.to).expect("a checked link");
            states::check(&encoded[link.from], stack, self.form)?;
        }
        self.initial.encoded = (links, encoded);
        Ok(self)
    }

    /// What stack `stack` begins with, `h` `[L · D, B, state_size]` and `c` `[L · D, B, H]`; `None` is zero.
    pub(crate) fn initial(&self, stack: usize) -> Option<(ArrayView3<'a, f32>, Option<ArrayView3<'a, f32>>)> {
        self.initial.of(stack)
    }

    /// The input of the model's encoder, which fits it.
    pub(crate) fn encoder(&self) -> Option<&'a Input> {
        self.encoder
    }

    /// Whether there is a step that some row has not.
    pub(crate) fn masked(&self) -> bool {
        self.masked
    }

    /// Whether row b has a step at t, by the caller and by the model.
    pub(crate) fn is_live(&self, t: usize, b: usize) -> bool {
        !self.masked || self.is_given(t, b) && self.is_own(t, b)
    }

    /// The features of row b at t, where there is a step; a dead one may hold anything, and is 0 to the model.
    pub(crate) fn features(&self, t: usize, b: usize) -> Option<ArrayView1<'_, f32>> {
        match &self.sequence {
            Sequence::Features(x) if self.is_live(t, b) => Some(x.slice(s![t, b, ..])),
            _ => None,
        }
    }

    /// The token of row b at t; 0 where the caller has no step, which may hold anything. One that is itself what makes a
    /// step dead stays.
    pub(crate) fn token(&self, t: usize, b: usize) -> u32 {
        match &self.sequence {
            Sequence::Tokens(x) if self.is_given(t, b) => u32::try_from(x[[t, b]]).expect("a checked token"),
            _ => 0,
        }
    }

    /// The features of row b at t of input `input` of the model, where there is a step.
    pub(crate) fn features_of(&self, input: usize, t: usize, b: usize) -> Option<ArrayView1<'_, f32>> {
        match self.others.get(&input) {
            Some(other) if self.is_live(t, b) => other.features(t, b),
            Some(_) => None,
            None => self.features(t, b),
        }
    }

    /// The token of row b at t of input `input` of the model; 0 where the caller has no step.
    pub(crate) fn token_of(&self, input: usize, t: usize, b: usize) -> u32 {
        match self.others.get(&input).map(|other| other.token(t, b)) {
            Some(Some(token)) if self.is_given(t, b) => u32::try_from(token).expect("a checked token"),
            Some(_) => 0,
            None => self.token(t, b),
        }
    }

    /// The features of row b of input `input` of the model, which has no time axis.
    pub(crate) fn row_of(&self, input: usize, b: usize) -> ArrayView1<'_, f32> {
        self.others.get(&input).and_then(|other| other.row(b)).expect("a checked row")
    }

    fn is_given(&self, t: usize, b: usize) -> bool {
        match &self.given {
            Given::All => true,
            Given::Lengths(lengths) => usize::try_from(lengths[b]).is_ok_and(|steps| t < steps),
            Given::Mask(mask) => mask[[t, b]],
        }
    }

    fn is_own(&self, t: usize, b: usize) -> bool {
        match &self.sequence {
            Sequence::Features(x) => self.own.keeps(x.slice(s![t, b, ..])),
            Sequence::Tokens(x) => self.own.keeps_token(x[[t, b]]),
        }
    }

    /// Whether any step of any row is dead.
    fn misses_steps(&self) -> bool {
        let Form { time, batch, .. } = self.form;
        match (&self.given, self.own) {
            (Given::All, Own::None) => false,
            (Given::Lengths(lengths), Own::None) => lengths.iter().any(|&length| usize::try_from(length) != Ok(time)),
            _ => (0..time).any(|t| (0..batch).any(|b| !(self.is_given(t, b) && self.is_own(t, b)))),
        }
    }

    /// Whether every token of a step that the caller has is one that the model knows.
    fn check_tokens(&self, model: &Model) -> Result<()> {
        if let Sequence::Tokens(tokens) = &self.sequence {
            let bound = model.input()?.tokens().unwrap_or(0);
            let name = model.inputs.get(model.main_input()).map_or("input", |input| &input.name);
            self.check_tokens_of(name, bound, |t, b| tokens[[t, b]])?;
        }
        for (&index, other) in &self.others {
            if let InputKind::Tokens(bound) = model.inputs[index].kind {
                let token = |t, b| other.token(t, b).expect("an input of tokens");
                self.check_tokens_of(&model.inputs[index].name, bound, token)?;
            }
        }
        Ok(())
    }

    fn check_tokens_of(&self, name: &str, bound: usize, token: impl Fn(usize, usize) -> i64) -> Result<()> {
        let known = |token: i64| u32::try_from(token).is_ok_and(|token| (token as usize) < bound);
        for (t, b) in (0..self.form.time).flat_map(|t| (0..self.form.batch).map(move |b| (t, b))) {
            let token = token(t, b);
            if !known(token) && self.is_given(t, b) {
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
    use crate::model::{Lstm, Masking};

    /// Each row's steps, live or not.
    fn live_of(call: &Call<'_>) -> Vec<Vec<bool>> {
        assert!(call.masked());
        let Form { time, batch, .. } = call.form;
        (0..batch).map(|b| (0..time).map(|t| call.is_live(t, b)).collect()).collect()
    }

    #[test]
    fn a_token_that_masks_and_the_callers_mask_both_take_steps_out() {
        let model = Model::new().layer(Embedding::new(9, 2).mask_token(3)).layer(Lstm::new(2, 2));
        let tokens = Input::tokens(array![[3_i64, 1, 3, 2], [5, 6, 7, -1]]);
        assert!(tokens.check(&model).is_err(), "a token of a live step must be in the table");
        let input = tokens.lengths([4, 3]);
        let call = input.check(&model).unwrap();
        assert_eq!(live_of(&call), [[false, true, false, true], [true, true, true, false]]);
        let tokens = |b| (0..4).map(|t| call.token(t, b)).collect::<Vec<_>>();
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
        let first = |t| call.features(t, 0).map(|features| features[0].to_bits());
        assert_eq!([0, 1, 2, 3].map(first), [None, Some((-1.0_f32).to_bits()), Some(nan.to_bits()), None]);
    }

    #[test]
    fn masks_that_take_nothing_out_are_none() {
        let model = Model::new().layer(Masking::new(1, 0.0)).layer(Lstm::new(1, 2));
        let x = array![[[1.0_f32], [2.0]]];
        for input in [Input::features(x.clone()).lengths([2]), Input::features(x).mask(array![[true, true]])] {
            let call = input.check(&model).unwrap();
            assert!(!call.masked() && call.is_live(1, 0));
        }
    }
}
