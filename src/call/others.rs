//! The inputs of a model beside its main one: whether they fit, and what they are at each step and row.
//!
//! They have the batch and the steps of the main input, and its mask. Views of what the user wrote.

use std::collections::BTreeMap;

use ndarray::{ArcArray, ArrayD, ArrayView, ArrayView1, ArrayView2, ArrayView3, Axis, Ix1, Ix2, IxDyn};

use super::form::{Batching, Form};
use super::{Input, Sequence, shape};
use crate::error::Result;
use crate::model::{Axes, InputKind, Model, ModelInput};

/// Another input of a call, checked.
#[derive(Clone, Debug)]
pub(super) enum Other<'a> {
    /// `[T, B, F]`.
    Features(ArrayView3<'a, f32>),
    /// `[T, B]`.
    Tokens(ArrayView2<'a, i64>),
    /// `[B, F]`.
    Row(ArrayView2<'a, f32>),
}

/// What a user gave under a name.
type Given = Sequence<ArcArray<f32, IxDyn>, ArrayD<i64>>;

impl Input {
    /// The other inputs of `model`, by their place among its inputs.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where one is missing, unknown, or does not fit.
    pub(super) fn check_others(&self, model: &Model, form: Form) -> Result<BTreeMap<usize, Other<'_>>> {
        let main = model.main_input();
        let wanted = |(index, input): &(usize, &ModelInput)| *index != main && input.kind.flow().is_some();
        let wanted: Vec<_> = model.inputs.iter().enumerate().filter(wanted).collect();
        let known = |name: &String| wanted.iter().any(|(_, input)| input.name == *name);
        if let Some(unknown) = self.others.keys().find(|name| !known(name)) {
            let names: Vec<_> = wanted.iter().map(|(_, input)| input.name.as_str()).collect();
            let names = if names.is_empty() { "none beside its sequence".to_owned() } else { names.join(", ") };
            return Err(shape(format!("{unknown}: expected an input of the model ({names}), got another name")));
        }
        let main = model.inputs.get(main).map_or("input", |input| input.name.as_str());
        let main_shape = match &self.sequence {
            Sequence::Features(x) => x.shape(),
            Sequence::Tokens(x) => x.shape(),
        };
        let one = |(index, input): (usize, &ModelInput)| {
            let Some(given) = self.others.get(&input.name) else {
                return Err(shape(format!("{}: expected an input of this name beside {main}, got none", input.name)));
            };
            Ok((index, checked(input, given, form, (main, main_shape))?))
        };
        wanted.into_iter().map(one).collect()
    }
}

/// `given` as what `input` takes; the main input's name and shape tell why.
fn checked<'a>(
    input: &ModelInput,
    given: &'a Given,
    form: Form,
    (main, main_shape): (&str, &[usize]),
) -> Result<Other<'a>> {
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
    let fits = |got: &[usize]| {
        if got == expected {
            return Ok(());
        }
        Err(shape(format!("{}: expected {expected:?}, as {main} is {main_shape:?}, got {got:?}", input.name)))
    };
    match (input.kind, given) {
        (InputKind::Tokens(_), Sequence::Tokens(tokens)) => {
            fits(tokens.shape())?;
            Ok(Other::Tokens(form.time_major(tokens.view())))
        }
        (InputKind::Tokens(_), Sequence::Features(x)) => {
            Err(shape(format!("{}: expected integer tokens {expected:?}, got features {:?}", input.name, x.shape())))
        }
        (_, Sequence::Tokens(x)) => {
            Err(shape(format!("{}: expected features {expected:?}, got tokens {:?}", input.name, x.shape())))
        }
        (InputKind::Row(_), Sequence::Features(x)) => {
            fits(x.shape())?;
            let rows: ArrayView<'a, f32, Ix2> = match form.batching {
                Batching::Single => {
                    x.view().into_dimensionality::<Ix1>().expect("the rank has been checked").insert_axis(Axis(0))
                }
                Batching::Batch => x.view().into_dimensionality().expect("the rank has been checked"),
            };
            Ok(Other::Row(rows))
        }
        (_, Sequence::Features(x)) => {
            fits(x.shape())?;
            Ok(Other::Features(form.time_major(x.view())))
        }
    }
}

impl Other<'_> {
    /// The features of row b at t.
    pub(super) fn features(&self, t: usize, b: usize) -> Option<ArrayView1<'_, f32>> {
        match self {
            Self::Features(x) => Some(x.slice(ndarray::s![t, b, ..])),
            Self::Tokens(_) | Self::Row(_) => None,
        }
    }

    /// The token of row b at t.
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
