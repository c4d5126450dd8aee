//! The inputs of a call: whether they fit those of the model, and their values at each step and row.
//!
//! They have one batch size, and as many steps as their time axis. All are views of what the user wrote.

use std::collections::BTreeMap;

use ndarray::{ArrayView1, ArrayView2, ArrayView3, Axis};

use super::form::{Batching, Form};
use super::{Input, Sequence, UserArray, shape};
use crate::error::Result;
use crate::model::{Axes, Clocks, InputKind, Model, ModelInput};

/// A checked input of a call.
#[derive(Clone, Debug)]
pub(super) enum Values<'a> {
    /// `[T, B, F]`.
    Features(ArrayView3<'a, f32>),
    /// `[T, B]`.
    Tokens(ArrayView2<'a, i64>),
    /// `[B, F]`.
    Row(ArrayView2<'a, f32>),
}

impl Input<'_> {
    /// Returns the inputs of `model` beside its main one, by index, without initial states.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if one is missing, unknown, or does not fit.
    pub(super) fn other_values(
        &self,
        model: &Model,
        form: Form,
        clocks: &Clocks,
    ) -> Result<BTreeMap<usize, Values<'_>>> {
        let main = model.main_input();
        let wanted = |(index, input): &(usize, &ModelInput)| *index != main && input.kind.flow().is_some();
        let wanted = || model.inputs.iter().enumerate().filter(wanted);
        let known = |name: &String| wanted().any(|(_, input)| input.name == *name);
        if let Some(unknown) = self.others.keys().find(|name| !known(name)) {
            let names: Vec<_> = wanted().map(|(_, input)| input.name.as_str()).collect();
            let names = if names.is_empty() { "none beside its sequence".to_owned() } else { names.join(", ") };
            return Err(shape(format!("{unknown}: expected an input of the model ({names}), got another name")));
        }
        let shapes = |index: usize| {
            let name = model.input_name(index);
            let given = if index == main { Some(&self.sequence) } else { self.others.get(name) };
            given.map(|given| (name, given.shape()))
        };
        let mut values: BTreeMap<usize, Values<'_>> = BTreeMap::new();
        for (index, input) in wanted() {
            let Some(given) = self.others.get(&input.name) else {
                let main = model.main_name();
                return Err(shape(format!("{}: expected an input of this name beside {main}, got none", input.name)));
            };
            // An input that leads a time axis has its own number of steps; any other has that of its leader.
            let leader = clocks.leader(index).unwrap_or(main);
            let own = leader == index;
            let time = match values.get(&leader).and_then(Values::time) {
                Some(time) => time,
                None if own => own_time(given, form).unwrap_or(form.time),
                None => form.time,
            };
            let beside = if own { main } else { leader };
            values.insert(index, checked(input, given, (Form { time, ..form }, own), shapes(beside))?);
        }
        Ok(values)
    }

    /// Returns the main input, in the road's order of axes.
    pub(super) fn main_values(&self, model: &Model, form: Form) -> Values<'_> {
        let kind = model.inputs.get(model.main_input()).map(|input| input.kind);
        match &self.sequence {
            Sequence::Features(x) if matches!(kind, Some(InputKind::Row(_))) => Values::Row(form.rows(x.view())),
            Sequence::Features(x) => Values::Features(form.time_major(x.view())),
            Sequence::Tokens(x) => Values::Tokens(form.time_major(x.view())),
        }
    }
}

impl Model {
    /// The name of an input, for messages.
    pub(super) fn input_name(&self, index: usize) -> &str {
        self.inputs.get(index).map_or("input", |input| input.name.as_str())
    }

    /// The name of the main input, for messages.
    pub(super) fn main_name(&self) -> &str {
        self.input_name(self.main_input())
    }
}

impl UserArray<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Features(x) => x.shape(),
            Self::Tokens(x) => x.shape(),
        }
    }
}

/// The number of steps of an input that leads a time axis, if it has that axis.
fn own_time(given: &UserArray<'_>, form: Form) -> Option<usize> {
    let axis = match (form.batching, form.axes) {
        (Batching::Single, _) | (Batching::Batch, Axes::TimeMajor) => 0,
        (Batching::Batch, Axes::BatchFirst) => 1,
    };
    given.shape().get(axis).copied().filter(|&time| time > 0)
}

/// Checks that `given` fits `input`. The number of steps in `form` is the input's own, or else that of the input
/// `beside` it. The error then shows that input's name and shape.
fn checked<'a>(
    input: &ModelInput,
    given: &'a UserArray<'_>,
    (form, own): (Form, bool),
    beside: Option<(&str, &[usize])>,
) -> Result<Values<'a>> {
    let steps = match (form.batching, form.axes) {
        (Batching::Single, _) => vec![form.time],
        (Batching::Batch, Axes::BatchFirst) => vec![form.batch, form.time],
        (Batching::Batch, Axes::TimeMajor) => vec![form.time, form.batch],
    };
    let rows = if form.batching == Batching::Single { Vec::new() } else { vec![form.batch] };
    let expected: Vec<usize> = match input.kind {
        InputKind::Sequence(size) => steps.into_iter().chain([size]).collect(),
        InputKind::Tokens(_) => steps,
        InputKind::Row(size) => rows.into_iter().chain([size]).collect(),
        InputKind::State(_) => unreachable!("states are no other inputs"),
    };
    let any_steps = if own && !matches!(input.kind, InputKind::Row(_)) { " of any number of steps" } else { "" };
    let as_beside = beside.map_or_else(String::new, |(name, shape)| format!(", as {name} is {shape:?}"));
    let fits = |got: &[usize]| {
        if got == expected {
            return Ok(());
        }
        Err(shape(format!("{}: expected {expected:?}{any_steps}{as_beside}, got {got:?}", input.name)))
    };
    match (input.kind, given) {
        (InputKind::Tokens(_), Sequence::Tokens(tokens)) => {
            fits(tokens.shape())?;
            Ok(Values::Tokens(form.time_major(tokens.view())))
        }
        (InputKind::Tokens(_), Sequence::Features(x)) => {
            Err(shape(format!("{}: expected integer tokens {expected:?}, got features {:?}", input.name, x.shape())))
        }
        (_, Sequence::Tokens(x)) => {
            Err(shape(format!("{}: expected features {expected:?}, got tokens {:?}", input.name, x.shape())))
        }
        (InputKind::Row(_), Sequence::Features(x)) => {
            fits(x.shape())?;
            Ok(Values::Row(form.rows(x.view())))
        }
        (_, Sequence::Features(x)) => {
            fits(x.shape())?;
            Ok(Values::Features(form.time_major(x.view())))
        }
    }
}

impl Values<'_> {
    /// The number of steps, if there is a time axis.
    pub(super) fn time(&self) -> Option<usize> {
        match self {
            Self::Features(x) => Some(x.len_of(Axis(0))),
            Self::Tokens(x) => Some(x.len_of(Axis(0))),
            Self::Row(_) => None,
        }
    }

    /// The features of row b at step t.
    pub(super) fn features(&self, t: usize, b: usize) -> Option<ArrayView1<'_, f32>> {
        match self {
            Self::Features(x) => Some(x.slice(ndarray::s![t, b, ..])),
            Self::Tokens(_) | Self::Row(_) => None,
        }
    }

    /// The token of row b at step t.
    pub(super) fn token(&self, t: usize, b: usize) -> Option<i64> {
        match self {
            Self::Tokens(x) => Some(x[[t, b]]),
            Self::Features(_) | Self::Row(_) => None,
        }
    }

    /// The features of row b.
    pub(super) fn row(&self, b: usize) -> Option<ArrayView1<'_, f32>> {
        match self {
            Self::Row(x) => Some(x.row(b)),
            Self::Features(_) | Self::Tokens(_) => None,
        }
    }
}
