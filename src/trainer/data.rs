//! What a training goes over: named tensors with a row for each example, and the batches that are taken out of them.
//!
//! Knows ports, calls and losses; knows no device and no optimizer.

use std::collections::BTreeMap;

use ndarray::{Axis, Slice};

use super::batch::Batch;
use super::targets;
use crate::call::Batching;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Dim, InputValue, Model};
use crate::named::{NamedTensors, Values, read_input};
use crate::train::rows_before_split;

/// Examples to train on: what a model takes and what its outputs are compared with, as named tensors with a row for each.
///
/// # Example
///
/// ```
/// use gatewave::{Dataset, Gru, Linear, Loss, Model, NamedTensors, Select};
/// use ndarray::{Array2, Array3};
///
/// # fn main() -> gatewave::Result<()> {
/// let model = Model::new().layer(Gru::new(2, 8)).layer(Select::LastStep).layer(Linear::new(8, 1));
/// let tensors = NamedTensors::from([
///     ("x".to_owned(), Array3::<f32>::ones((10, 5, 2)).into()),
///     ("y".to_owned(), Array2::<f32>::zeros((10, 1)).into()),
/// ]);
/// let [training, validation] = Dataset::new(&model, Loss::MeanSquared, tensors)?.split(0.2)?;
/// assert_eq!((training.rows(), validation.rows()), (8, 2));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    model: Model,
    objective: Objective,
    tensors: BTreeMap<String, Rows>,
    rows: usize,
}

/// A tensor, and which of its axes is that of the rows.
#[derive(Clone, Debug)]
struct Rows {
    values: Values,
    axis: Axis,
}

impl Batch {
    /// A batch of named tensors: what [`Model::named_input`] takes, and the targets of each loss of `objective`.
    ///
    /// Targets are named `y_OUTPUT` by the output that they are compared with, and `y` where the model has one output. They
    /// have the axes of the output, those of classes without its features.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a tensor is missing, unknown or does not fit; `Model`, where a loss does not fit the last layer.
    pub fn named(model: &Model, objective: impl Into<Objective>, tensors: &NamedTensors) -> Result<Self> {
        let objective = objective.into();
        let batch = Self::read(model, &objective, tensors)?;
        batch.check(model, &objective)?;
        Ok(batch)
    }

    /// The same, as far as axes tell.
    fn read(model: &Model, objective: &Objective, tensors: &NamedTensors) -> Result<Self> {
        let mut given = tensors.clone();
        let mut all = Vec::with_capacity(objective.terms().len());
        for term in objective.terms() {
            let (name, targets) = targets::read(model, term, tensors)?;
            name.and_then(|name| given.remove(&name));
            all.push(targets);
        }
        Ok(Self { input: read_input(model, &given)?, targets: all })
    }

    /// How many rows it has; none of one sequence without a batch.
    fn check(&self, model: &Model, objective: &Objective) -> Result<Option<usize>> {
        let call = self.input.check(model)?;
        objective.check(model, &call, &self.targets)?;
        Ok((call.form.batching == Batching::Batch).then_some(call.form.batch))
    }
}

impl Dataset {
    /// The examples of `tensors`, which are named as [`Batch::named`] takes them.
    ///
    /// # Errors
    ///
    /// As [`Batch::named`]; kind `Shape`, where there is no axis of the rows.
    pub fn new(model: &Model, objective: impl Into<Objective>, tensors: NamedTensors) -> Result<Self> {
        let objective = objective.into();
        let Some(rows) = Batch::read(model, &objective, &tensors)?.check(model, &objective)? else {
            return Err(shape("expected rows to train on, along the axis of the batch, got one sequence without it"));
        };
        let mut held = BTreeMap::new();
        for (name, values) in tensors {
            let Some(axes) = axes(model, &objective, &name, values.shape().len()) else { continue };
            match axes.iter().position(|dim| *dim == Dim::Batch) {
                Some(axis) => drop(held.insert(name, Rows { values, axis: Axis(axis) })),
                None => return Err(shape(format!("{name}: expected an axis of the batch, got {axes:?}"))),
            }
        }
        Ok(Self { model: model.clone(), objective, tensors: held, rows })
    }

    /// How many examples there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All but the last `share` of the rows, and these (Keras' `validation_split`).
    ///
    /// # Errors
    ///
    /// Kind `Training`, where one of both would be empty.
    pub fn split(&self, share: f64) -> Result<[Self; 2]> {
        let first = rows_before_split(self.rows, share)?;
        Ok([self.part(0, first), self.part(first, self.rows)])
    }

    /// How many steps each row has.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where no tensor says it.
    pub(super) fn lengths(&self) -> Result<Vec<usize>> {
        let ports = self.model.all_ports();
        let port = ports.inputs.iter().find(|port| matches!(port.value, InputValue::Lengths(_)));
        match port.and_then(|port| self.tensors.get(&port.name)) {
            // A length below 0 was refused when the tensors came.
            Some(Rows { values: Values::Whole(lengths), .. }) => {
                Ok(lengths.iter().map(|length| usize::try_from(*length).unwrap_or_default()).collect())
            }
            _ => {
                let text = "buckets: expected rows with their lengths, got rows of one length";
                Err(Error::new(ErrorKind::Training, text))
            }
        }
    }

    /// Rows `from` to `to`.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        let range = Slice::from(from..to);
        let part = |Rows { values, axis }: &Rows| {
            let values = match values {
                Values::Real(array) => Values::Real(array.slice_axis(*axis, range).to_owned()),
                Values::Whole(array) => Values::Whole(array.slice_axis(*axis, range).to_owned()),
            };
            Rows { values, axis: *axis }
        };
        let tensors = self.tensors.iter().map(|(name, rows)| (name.clone(), part(rows))).collect();
        Self { model: self.model.clone(), objective: self.objective.clone(), tensors, rows: to - from }
    }

    /// The batch of these rows, in their order.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where there is no such row.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch> {
        if let Some(row) = rows.iter().find(|row| **row >= self.rows) {
            return Err(shape(format!("expected rows below {}, got {row}", self.rows)));
        }
        if rows.is_empty() {
            return Err(shape("expected at least one row, got none"));
        }
        let part = |Rows { values, axis }: &Rows| match values {
            Values::Real(array) => Values::Real(array.select(*axis, rows)),
            Values::Whole(array) => Values::Whole(array.select(*axis, rows)),
        };
        let tensors: NamedTensors = self.tensors.iter().map(|(name, rows)| (name.clone(), part(rows))).collect();
        Batch::read(&self.model, &self.objective, &tensors)
    }
}

/// The axes of the tensor `name`, which has so many; none of weights.
fn axes(model: &Model, objective: &Objective, name: &str, count: usize) -> Option<Vec<Dim>> {
    let of_targets = objective.terms().iter().find_map(|term| targets::axes(model, term, name, count));
    of_targets.or_else(|| {
        let ports = model.all_ports();
        let is_data = |value| !matches!(value, InputValue::Weights { .. });
        ports.inputs.iter().find(|port| port.name == name && is_data(port.value)).map(|port| port.axes.clone())
    })
}

fn shape(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Shape, text)
}
