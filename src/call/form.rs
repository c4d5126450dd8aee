//! The axes that a user wrote: the road's own order is a view of them, and the output comes back in them.
//!
//! Knows axes and sizes; knows no feature and no state.

use ndarray::{ArrayView, ArrayView2, Axis, Dimension, IxDyn};

use super::{Input, Sequence, shape};
use crate::error::{Error, Result};
use crate::model::{Axes, Flow, Layer, Model, Value};

/// The axes that the user wrote, in which the output comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// The order of the axes.
    pub(crate) axes: Axes,
    /// Whether there is a batch axis.
    pub(crate) batching: Batching,
    /// T.
    pub(crate) time: usize,
    /// B; 1 without a batch.
    pub(crate) batch: usize,
}

/// Whether there is a batch axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batching {
    /// Axes T and B.
    Batch,
    /// Axis T alone: one sequence.
    Single,
}

impl Form {
    /// Finds the axes of the sequence of `input`, and checks them.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if they are not those that `model` takes.
    pub(super) fn of(input: &Input<'_>, model: &Model) -> Result<Self> {
        let name = model.main_name();
        input.check_shapes(name)?;
        let (got, size) = match (&input.sequence, model.input()?) {
            (Sequence::Features(x), Flow::Steps(features)) => (x.shape(), Some(features.len())),
            (Sequence::Features(x), Flow::Rows(features)) => {
                return Self::of_rows(name, x.shape(), features.len(), model);
            }
            (Sequence::Tokens(x), Flow::Tokens(_)) => (x.shape(), None),
            (Sequence::Features(x), _) => {
                return Err(shape(format!(
                    "{name}: expected integer tokens {} (the model begins with {}), got features {:?}",
                    axes_text(model.axes, None),
                    first_taker(model),
                    x.shape()
                )));
            }
            (Sequence::Tokens(x), input) => {
                return Err(shape(format!(
                    "{name}: expected {input}, got integers {:?}, which are tokens; give floats, or begin the \
                     model with an embedding or one_hot",
                    x.shape()
                )));
            }
        };
        let rank = got.len() - usize::from(size.is_some() && !got.is_empty());
        let fits = size.is_none_or(|size| got.last() == Some(&size));
        if !fits || !(1..=2).contains(&rank) {
            let single = size.map_or("[T]".into(), |size| format!("[T, {size}]"));
            let or = if fits || rank != 2 { format!(" or {single} for one sequence") } else { String::new() };
            return Err(shape(format!("{name}: expected {}{or}, got {got:?}", axes_text(model.axes, size))));
        }
        let (batching, time, batch) = match (rank, model.axes) {
            (1, _) => (Batching::Single, got[0], 1),
            (_, Axes::BatchFirst) => (Batching::Batch, got[1], got[0]),
            (_, Axes::TimeMajor) => (Batching::Batch, got[0], got[1]),
        };
        if time == 0 || batch == 0 {
            return Err(shape(format!(
                "{name}: expected at least one step and one row, got {got:?} (T = {time}, B = {batch})"
            )));
        }
        Ok(Self { axes: model.axes, batching, time, batch })
    }

    /// Finds the axes of rows of `size` features, of which the model itself makes steps.
    fn of_rows(name: &str, got: &[usize], size: usize, model: &Model) -> Result<Self> {
        let (batching, batch) = match *got {
            [features] if features == size => (Batching::Single, 1),
            [batch, features] if features == size && batch > 0 => (Batching::Batch, batch),
            _ => return Err(shape(format!("{name}: expected [B, {size}] or [{size}] for one row, got {got:?}"))),
        };
        Ok(Self { axes: model.axes, batching, time: 1, batch })
    }

    /// The user's index of step t of row b.
    pub(super) fn position(self, t: usize, b: usize) -> Vec<usize> {
        match (self.batching, self.axes) {
            (Batching::Single, _) => vec![t],
            (Batching::Batch, Axes::BatchFirst) => vec![b, t],
            (Batching::Batch, Axes::TimeMajor) => vec![t, b],
        }
    }

    /// Permutes the axes of `x`, whose shape has been checked, to T, B, ….
    pub(super) fn time_major<A, D: Dimension>(self, mut x: ArrayView<'_, A, IxDyn>) -> ArrayView<'_, A, D> {
        match (self.batching, self.axes) {
            (Batching::Single, _) => x.insert_axis_inplace(Axis(1)),
            (Batching::Batch, Axes::BatchFirst) => x.swap_axes(0, 1),
            (Batching::Batch, Axes::TimeMajor) => {}
        }
        x.into_dimensionality().expect("the rank has been checked")
    }

    /// Views `x`, whose shape has been checked, as `[B, F]`.
    pub(super) fn rows<'a>(self, x: ArrayView<'a, f32, IxDyn>) -> ArrayView2<'a, f32> {
        let x = if self.batching == Batching::Single { x.insert_axis(Axis(0)) } else { x };
        x.into_dimensionality().expect("the rank has been checked")
    }

    /// Checks that `lengths` can be the number of steps of each row.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `ErrorKind::Shape` if they cannot.
    pub(super) fn check_lengths(self, lengths: &[i64]) -> Result<()> {
        if lengths.len() != self.batch {
            return Err(shape(format!(
                "lengths: expected {}, one for each row of the batch, got {}",
                self.batch,
                lengths.len()
            )));
        }
        let wrong = |&(_, &length): &(usize, &i64)| usize::try_from(length).map_or(true, |steps| steps > self.time);
        lengths.iter().enumerate().find(wrong).map_or(Ok(()), |(row, length)| -> Result<(), Error> {
            Err(shape(format!("lengths: expected 0 to {} (T) for row {row}, got {length}", self.time)))
        })
    }
}

/// The kind of the first layer that takes the main input.
fn first_taker(model: &Model) -> &'static str {
    let main = Value::Input(model.main_input());
    let takes = |layer: &&Layer| layer.from.contains(&main);
    model.layers.iter().find(takes).map_or("none", |layer| layer.kind.name())
}

fn axes_text(axes: Axes, size: Option<usize>) -> String {
    let letters = match axes {
        Axes::BatchFirst => "B, T",
        Axes::TimeMajor => "T, B",
    };
    size.map_or_else(|| format!("[{letters}]"), |size| format!("[{letters}, {size}]"))
}
