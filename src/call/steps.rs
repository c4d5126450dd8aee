//! The steps of a call: how many each time axis has, and which of them there are, by the caller and by the model.
//!
//! Views of what the user wrote. Knows clocks and inputs; knows no state.

use std::collections::BTreeMap;

use ndarray::{ArrayD, ArrayView2};

use super::form::{Batching, Form};
use super::inputs::Values;
use super::{Input, shape};
use crate::error::Result;
use crate::model::{Axes, Clock, Clocks, Embedding, LayerKind, Model, Value};

/// The steps by one clock.
#[derive(Clone, Debug)]
pub(super) struct Steps<'a> {
    /// T.
    pub(super) time: usize,
    given: Given<'a>,
    /// Which input tells more, and how.
    own: Vec<(usize, Own)>,
    /// Whether there is a step that some row has not.
    pub(super) masked: bool,
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

/// What a user says of the steps of an axis.
enum Told<'a> {
    Lengths(&'a [i64]),
    Mask(&'a ArrayD<bool>),
}

/// Which steps a layer takes out by what its input holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// Those whose features are all this.
    Value(f32),
    /// Those of this token.
    Token(usize),
}

impl Own {
    /// Which steps layer `layer` of `model` takes out, and the input that tells.
    pub(crate) fn of(model: &Model, layer: usize) -> Option<(usize, Self)> {
        let of = model.layers.get(layer)?;
        let own = match of.kind {
            LayerKind::Masking(masking) => Self::Value(masking.value.get()),
            LayerKind::Embedding(Embedding { mask_token: Some(token), .. }) => Self::Token(token),
            _ => return None,
        };
        match model.origin(*of.from.first()?) {
            Value::Input(input) => Some((input, own)),
            Value::Layer(..) => None,
        }
    }

    /// All of those of the clock at `clock` of `clocks`.
    pub(crate) fn of_clock(model: &Model, clocks: &Clocks, clock: usize) -> Vec<(usize, Self)> {
        let masking = clocks.all().get(clock).map_or(&[][..], |clock| &clock.masking);
        masking.iter().filter_map(|&layer| Self::of(model, layer)).collect()
    }

    /// Whether a step of these features stays.
    pub(crate) fn keeps<'x>(self, features: impl IntoIterator<Item = &'x f32>) -> bool {
        match self {
            Self::Value(value) => features.into_iter().any(|&x| x != value),
            Self::Token(_) => true,
        }
    }

    /// Whether a step of this token stays.
    pub(crate) fn keeps_token(self, token: i64) -> bool {
        match self {
            Self::Token(own) => usize::try_from(token) != Ok(own),
            Self::Value(_) => true,
        }
    }
}

impl<'a> Steps<'a> {
    /// Those by each clock of a call of `input`, whose main sequence has `form` and whose inputs are `values`.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where lengths or a mask do not fit, or an axis has both.
    pub(super) fn of(
        input: &'a Input,
        model: &Model,
        form: Form,
        clocks: &Clocks,
        values: &[Option<Values<'a>>],
    ) -> Result<Vec<Self>> {
        let by_axis = input.given(model, form, clocks, values)?;
        let one = |(index, clock): (usize, &Clock)| {
            let time = values.get(clock.input).and_then(|values| values.as_ref()?.time()).unwrap_or(form.time);
            let given = by_axis.get(&clock.input).cloned().unwrap_or(Given::All);
            let mut steps = Self { time, given, own: Own::of_clock(model, clocks, index), masked: false };
            steps.masked = steps.misses(form.batch, values);
            steps
        };
        Ok(clocks.all().iter().enumerate().map(one).collect())
    }

    /// Whether row b has a step at t by the caller.
    pub(super) fn is_given(&self, t: usize, b: usize) -> bool {
        match &self.given {
            Given::All => true,
            Given::Lengths(lengths) => usize::try_from(lengths[b]).is_ok_and(|steps| t < steps),
            Given::Mask(mask) => mask[[t, b]],
        }
    }

    /// Whether row b has a step at t, by the caller and by the model.
    pub(super) fn is_live(&self, values: &[Option<Values<'_>>], t: usize, b: usize) -> bool {
        !self.masked || self.is_given(t, b) && self.is_own(values, t, b)
    }

    fn is_own(&self, values: &[Option<Values<'_>>], t: usize, b: usize) -> bool {
        self.own.iter().all(|&(input, own)| match values.get(input).and_then(Option::as_ref) {
            Some(Values::Features(x)) => own.keeps(x.slice(ndarray::s![t, b, ..])),
            Some(Values::Tokens(x)) => own.keeps_token(x[[t, b]]),
            Some(Values::Row(_)) | None => true,
        })
    }

    /// Whether any step of any row is dead.
    fn misses(&self, batch: usize, values: &[Option<Values<'_>>]) -> bool {
        match &self.given {
            Given::All if self.own.is_empty() => false,
            Given::Lengths(lengths) if self.own.is_empty() => {
                lengths.iter().any(|&length| usize::try_from(length) != Ok(self.time))
            }
            _ => (0..self.time).any(|t| (0..batch).any(|b| !(self.is_given(t, b) && self.is_own(values, t, b)))),
        }
    }
}

impl Input {
    /// The lengths or the mask of each time axis, by the input that tells its number of steps.
    fn given<'a>(
        &'a self,
        model: &Model,
        form: Form,
        clocks: &Clocks,
        values: &[Option<Values<'a>>],
    ) -> Result<BTreeMap<usize, Given<'a>>> {
        let main = model.main_input();
        let own = |name: &str| model.inputs.iter().position(|input| input.name == name);
        let mut all: BTreeMap<usize, (&str, Given<'a>)> = BTreeMap::new();
        let lengths_of = self.lengths_of.iter().map(|(name, lengths)| (name.as_str(), lengths));
        let lengths = self.lengths.iter().map(|lengths| ("", lengths)).chain(lengths_of);
        let masks_of = self.masks_of.iter().map(|(name, mask)| (name.as_str(), mask));
        let masks = self.mask.iter().map(|mask| ("", mask)).chain(masks_of);
        let told = lengths.map(|(name, lengths)| (name, Told::Lengths(lengths)));
        for (name, told) in told.chain(masks.map(|(name, mask)| (name, Told::Mask(mask)))) {
            let input = if name.is_empty() { Some(main) } else { own(name) };
            let Some(leader) = input.and_then(|input| clocks.leader(input)) else {
                return Err(shape(format!("{name}: expected an input of steps, to give lengths or a mask for")));
            };
            let time = values.get(leader).and_then(|values| values.as_ref()?.time()).unwrap_or(form.time);
            let form = Form { time, ..form };
            let given = match told {
                Told::Lengths(lengths) => form.check_lengths(lengths).map(|()| Given::Lengths(lengths)),
                Told::Mask(mask) => checked_mask(form, mask).map(Given::Mask),
            };
            let given = given.map_err(|e| if name.is_empty() { e } else { e.at(name) })?;
            if let Some((other, _)) = all.insert(leader, (name, given)) {
                return Err(shape(match (other, name) {
                    ("", "") => "lengths and mask: expected one of them, got both; a mask says it all".to_owned(),
                    _ => {
                        let named =
                            |name: &str| if name.is_empty() { model.main_name().to_owned() } else { name.into() };
                        format!(
                            "lengths and masks: expected one for the time axis that {} and {} share, got two",
                            named(other),
                            named(name)
                        )
                    }
                }));
            }
        }
        Ok(all.into_iter().map(|(leader, (_, given))| (leader, given)).collect())
    }
}

/// The mask `[T, B]`, of any axes of the model.
fn checked_mask(form: Form, mask: &ArrayD<bool>) -> Result<ArrayView2<'_, bool>> {
    let (expected, letters): (&[usize], _) = match form.batching {
        Batching::Batch => (&[form.batch, form.time], "B, T"),
        Batching::Single => (&[form.time], "T"),
    };
    if mask.shape() != expected {
        return Err(shape(format!("mask: expected {expected:?} ({letters}), got {:?}", mask.shape())));
    }
    // A mask has one order of axes, as lengths have one: a row of it is a row of the batch.
    let rows = Form { axes: Axes::BatchFirst, ..form };
    Ok(rows.time_major(mask.view()))
}
