//! The values between layers, and their gradients, which have the same shapes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ndarray::{Array2, Array3, ArrayD, Axis};

use crate::call::{Batching, Form};
use crate::model::{Axes, Value};

/// A value of a model.
#[derive(Clone, Debug)]
pub(super) enum Values {
    /// `[T, B]`.
    Tokens(Array2<u32>),
    /// `[T, B, F]`.
    Steps(Array3<f64>),
    /// `[B, F]`.
    Rows(Array2<f64>),
    /// Final states of a stack, `[L · D, B, size]`.
    States(Array3<f64>),
}

impl Values {
    /// Returns the value in the axes that the user chose.
    pub(super) fn in_form(self, form: Form) -> ArrayD<f64> {
        match (self, form.batching, form.axes) {
            (Self::Steps(y), Batching::Single, _) | (Self::States(y), Batching::Single, _) => {
                y.remove_axis(Axis(1)).into_dyn()
            }
            (Self::Steps(y), Batching::Batch, Axes::TimeMajor) | (Self::States(y), ..) => y.into_dyn(),
            (Self::Steps(y), Batching::Batch, Axes::BatchFirst) => y.permuted_axes([1, 0, 2]).into_dyn(),
            (Self::Rows(y), Batching::Single, _) => y.remove_axis(Axis(0)).into_dyn(),
            (Self::Rows(y), Batching::Batch, _) => y.into_dyn(),
            (Self::Tokens(_), ..) => unreachable!("a checked model gives features"),
        }
    }

    /// Returns every element as `[T, B, F]`, with rows as one step.
    pub(super) fn steps(&self) -> Array3<f64> {
        match self {
            Self::Steps(x) | Self::States(x) => x.clone(),
            Self::Rows(x) => x.clone().insert_axis(Axis(0)),
            Self::Tokens(_) => unreachable!("a checked model has features here"),
        }
    }

    /// Returns zeros of the same shape.
    pub(super) fn zeros(&self) -> Self {
        match self {
            Self::Tokens(x) => Self::Tokens(Array2::zeros(x.dim())),
            Self::Steps(x) => Self::Steps(Array3::zeros(x.dim())),
            Self::Rows(x) => Self::Rows(Array2::zeros(x.dim())),
            Self::States(x) => Self::States(Array3::zeros(x.dim())),
        }
    }

    /// Returns `d`, `[T, B, F]` with one step for rows, in the shape of this value.
    pub(super) fn of_steps(&self, d: Array3<f64>) -> Self {
        match self {
            Self::Rows(_) => Self::Rows(d.index_axis_move(Axis(0), 0)),
            Self::States(_) => Self::States(d),
            Self::Steps(_) | Self::Tokens(_) => Self::Steps(d),
        }
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Steps(sum), Self::Steps(x)) | (Self::States(sum), Self::States(x)) => *sum += &x,
            (Self::Rows(sum), Self::Rows(x)) => *sum += &x,
            _ => unreachable!("the gradients of a value are of one shape"),
        }
    }
}

/// The gradients of values; only of those that the objective depends on.
#[derive(Default)]
pub(super) struct Gradients(HashMap<Value, Values>);

impl Gradients {
    /// Adds the gradient from one of the consumers of `value`.
    pub(super) fn add(&mut self, value: Value, d: Values) {
        match self.0.entry(value) {
            Entry::Occupied(mut sum) => sum.get_mut().add(d),
            Entry::Vacant(none) => drop(none.insert(d)),
        }
    }

    /// Removes and returns the sum, once all consumers of `value` have added theirs.
    pub(super) fn take(&mut self, value: Value) -> Option<Values> {
        self.0.remove(&value)
    }
}
