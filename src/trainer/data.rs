//! What a training goes over: examples, each a row of named tensors, and the batches that are taken out of them.
//!
//! Knows ports, calls and losses; knows no device and no optimizer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayD, Axis, Slice};

use super::batch::Batch;
use super::held::{Held, live_steps};
use super::targets;
use crate::call::Batching;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Clocks, Dim, InputPort, InputValue, Model, TimeEnd};
use crate::named::{Examples, NamedTensors, Values, read_input};
use crate::train::rows_before_split;

/// Examples to train on: what a model takes and what its outputs are compared with, as named tensors with a row for each.
///
/// [`new`](Self::new) takes tensors that are in memory, [`of`](Self::of) whatever lays rows out batch by batch.
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
    examples: Arc<dyn Examples>,
    /// Those of all examples that are meant.
    range: Range<usize>,
    /// The axis of the steps of each tensor that has one, and how many there are.
    time: BTreeMap<String, (Axis, usize)>,
    /// The tensor of these that says where there are steps.
    mask: Option<String>,
    /// Whether all rows were checked when they came; else each batch is when it is taken.
    is_checked: bool,
}

/// How many lengths there are at most of batches that are cut to their rows': each has a plan of its own.
const LENGTHS: usize = 4;

impl Batch {
    /// A batch of named tensors: what [`Model::named_input`] takes, and the targets of each loss of `objective`.
    ///
    /// Targets are named `y_OUTPUT` by the output that they are compared with, and `y` where the model has one output. They
    /// have the axes of the output, those of classes without its features. What the loss of each row or step is multiplied by may
    /// come as `sample_weight_OUTPUT` and `sample_weight`: `[B]`, or the axes of the output without its features. The mean is not
    /// divided by it ([`Targets::sample_weights`](crate::Targets::sample_weights)).
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where a tensor is missing, unknown or does not fit; `Training`, where no target counts; `Model`, where a loss
    /// does not fit the last layer.
    pub fn named(model: &Model, objective: impl Into<Objective>, tensors: &NamedTensors) -> Result<Self> {
        let objective = objective.into();
        let batch = Self::read(model, &objective, tensors)?;
        batch.check(model, &objective)?;
        Ok(batch)
    }

    /// The same, as far as axes tell.
    fn read(model: &Model, objective: &Objective, tensors: &NamedTensors) -> Result<Self> {
        let (targets, others) = targets::read(model, objective, tensors)?;
        Ok(Self { input: read_input(model, &others)?, targets })
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
            match place(&axes, Dim::Batch) {
                Some(axis) => drop(held.insert(name, (values, axis))),
                None => return Err(shape(format!("{name}: expected an axis of the batch, got {axes:?}"))),
            }
        }
        let lengths = given(model, &held, is_lengths).map(|port| port.name);
        let mask = given(model, &held, is_mask).and_then(|port| Some((port.name, place(&port.axes, Dim::Time)?)));
        let held = Held { tensors: held, rows, lengths, mask };
        let first = held.tensors(&[0])?;
        Ok(Self { is_checked: true, ..Self::over(model, objective, Arc::new(held), &first) })
    }

    /// Examples that are laid out batch by batch. The first one is laid out here, to see that it fits the model; each batch is
    /// checked when it is taken.
    ///
    /// # Errors
    ///
    /// As [`Batch::named`]; kind `Training`, where there are no examples; what `examples` says of the first one.
    pub fn of(model: &Model, objective: impl Into<Objective>, examples: impl Examples + 'static) -> Result<Self> {
        let objective = objective.into();
        if examples.rows() == 0 {
            return Err(Error::new(ErrorKind::Training, "expected examples to train on, got none"));
        }
        let tensors = examples.tensors(&[0])?;
        match Batch::read(model, &objective, &tensors)?.check(model, &objective) {
            Ok(first) => one_batch(first, 1)?,
            // A row may be without anything that counts, among others.
            Err(error) if error.kind() == ErrorKind::Training => {}
            Err(error) => return Err(error),
        }
        Ok(Self::over(model, objective, Arc::new(examples), &tensors))
    }

    /// `first` are the tensors of the first example.
    fn over(model: &Model, objective: Objective, examples: Arc<dyn Examples>, first: &NamedTensors) -> Self {
        let mut time = BTreeMap::new();
        for (name, values) in first {
            let axes = axes(model, &objective, name, values.shape().len());
            if let Some(axis) = axes.and_then(|axes| place(&axes, Dim::Time)) {
                time.insert(name.clone(), (axis, values.shape()[axis.index()]));
            }
        }
        let range = 0..examples.rows();
        let mask = given(model, first, is_mask).map(|port| port.name);
        Self { model: model.clone(), objective, examples, range, time, mask, is_checked: false }
    }

    /// How many examples there are.
    pub fn rows(&self) -> usize {
        self.range.len()
    }

    /// All but the last `share` of the rows, and these (Keras' `validation_split`).
    ///
    /// # Errors
    ///
    /// Kind `Training`, where one of both would be empty.
    pub fn split(&self, share: f64) -> Result<[Self; 2]> {
        let first = rows_before_split(self.rows(), share)?;
        Ok([self.part(0, first), self.part(first, self.rows())])
    }

    /// The axis of the rows of the tensor `name`, which has so many axes; none of a tensor that neither `model` takes with
    /// a row for each example nor `objective` compares its outputs with.
    pub fn row_axis(model: &Model, objective: &Objective, name: &str, count: usize) -> Option<usize> {
        Some(place(&axes(model, objective, name, count)?, Dim::Batch)?.index())
    }

    /// How many steps each row has.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where no tensor says it.
    pub(super) fn lengths(&self) -> Result<Vec<usize>> {
        let wrong = |text: String| Error::new(ErrorKind::Training, format!("buckets: expected {text}"));
        let Some(mut lengths) = self.examples.lengths() else {
            return Err(wrong("rows with their lengths, got rows of one length".to_owned()));
        };
        if lengths.len() != self.examples.rows() {
            let (rows, got) = (self.examples.rows(), lengths.len());
            return Err(wrong(format!("the lengths of all {rows} rows, got {got}")));
        }
        lengths.truncate(self.range.end);
        Ok(lengths.split_off(self.range.start.min(lengths.len())))
    }

    /// Rows `from` to `to`.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        Self { range: self.range.start + from..self.range.start + to, ..self.clone() }
    }

    /// The batch of these rows, in their order.
    ///
    /// # Errors
    ///
    /// Kind `Shape`, where there is no such row; what the [`Examples`] say; as [`Batch::named`], where they lay out what does not
    /// fit, with the number of the row.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch> {
        self.read(rows, &self.tensors(rows)?)
    }

    /// The batch of these rows, cut to the length of the longest of them, rounded up to one of few. What it loses, and its
    /// gradients, are those of the whole. `lengths` are those of all rows.
    ///
    /// # Errors
    ///
    /// As [`batch`](Self::batch).
    pub(super) fn short_batch(&self, rows: &[usize], lengths: &[usize]) -> Result<Batch> {
        let mut tensors = self.tensors(rows)?;
        let kept = rows.iter().filter_map(|row| lengths.get(*row)).max().and_then(|most| self.kept(&tensors, *most));
        if let Some(kept) = kept {
            for (name, values) in &mut tensors {
                match (self.time.get(name), values) {
                    (None, _) => {}
                    (Some(&(axis, _)), Values::Real(array)) => keep(array, axis, &kept),
                    (Some(&(axis, _)), Values::Whole(array)) => keep(array, axis, &kept),
                }
            }
        }
        self.read(rows, &tensors)
    }

    /// The batch that `tensors` are.
    fn read(&self, rows: &[usize], tensors: &NamedTensors) -> Result<Batch> {
        let batch = Batch::read(&self.model, &self.objective, tensors)?;
        if self.is_checked {
            return Ok(batch);
        }
        match batch.check(&self.model, &self.objective) {
            Ok(got) => one_batch(got, rows.len()).map(|()| batch),
            // Where nothing counts it is the batch that is wrong, and no row.
            Err(error) if error.kind() == ErrorKind::Training => Err(error),
            Err(error) => Err(self.wrong_row(rows).unwrap_or(error)),
        }
    }

    /// What is wrong with the first of these rows that does not fit by itself: in a batch it is told by its place there.
    fn wrong_row(&self, rows: &[usize]) -> Option<Error> {
        rows.iter().map(|row| self.range.start + row).find_map(|row| {
            let tensors = self.examples.tensors(&[row]).ok()?;
            let batch = Batch::read(&self.model, &self.objective, &tensors);
            let error = batch.and_then(|batch| batch.check(&self.model, &self.objective)).err()?;
            (error.kind() != ErrorKind::Training).then(|| error.at(format!("row {row} of the examples")))
        })
    }

    /// The steps that are kept of rows of which none is longer than `longest`: the first ones, or the last ones where a mask
    /// says that padding comes first. None where that is not said, steps are taken out of others, or the model reads a
    /// step that is padding.
    fn kept(&self, tensors: &NamedTensors, longest: usize) -> Option<Range<usize>> {
        let (_, whole) = *self.time.values().next()?;
        // Of a stack that goes backwards each length gives other steps to what comes behind it.
        if Clocks::of(&self.model).all().len() != 1 || self.model.goes_backwards() {
            return None;
        }
        let steps = longest.max(1).next_multiple_of(whole.div_ceil(LENGTHS)).min(whole);
        let (first, last) = (0..steps, whole - steps..whole);
        let live = match &self.mask {
            None => 0..longest,
            Some(mask) => live_steps(&tensors.get(mask)?.real().view(), self.time.get(mask)?.0)?,
        };
        let taken = self.model.ends_taken();
        let is_taken = |end: TimeEnd| taken.iter().any(|(taken, _)| *taken == end);
        if live.end <= first.end && !is_taken(TimeEnd::Last) {
            Some(first)
        } else if live.start >= last.start && self.mask.is_some() && !is_taken(TimeEnd::First) {
            Some(last)
        } else {
            None
        }
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        if let Some(row) = rows.iter().find(|row| **row >= self.rows()) {
            return Err(shape(format!("expected rows below {}, got {row}", self.rows())));
        }
        if rows.is_empty() {
            return Err(shape("expected at least one row, got none"));
        }
        let rows: Vec<usize> = rows.iter().map(|row| self.range.start + row).collect();
        self.examples.tensors(&rows)
    }
}

/// Whether examples gave as many rows as were asked for.
fn one_batch(got: Option<usize>, wanted: usize) -> Result<()> {
    if got == Some(wanted) {
        return Ok(());
    }
    let got = got.map_or("one sequence without the axis of the batch".to_owned(), |got| got.to_string());
    Err(shape(format!("expected {wanted} rows of the examples, got {got}")))
}

/// Leaves some steps of an array.
fn keep<A: Clone>(array: &mut ArrayD<A>, axis: Axis, steps: &Range<usize>) {
    if steps.len() < array.len_of(axis) {
        *array = array.slice_axis(axis, Slice::from(steps.clone())).to_owned();
    }
}

/// The first port of `model` that is `wanted` and among `tensors`.
fn given<T>(model: &Model, tensors: &BTreeMap<String, T>, wanted: fn(InputValue) -> bool) -> Option<InputPort> {
    let is_given = |port: &&InputPort| wanted(port.value) && tensors.contains_key(&port.name);
    model.all_ports().inputs.iter().find(is_given).cloned()
}

fn is_lengths(value: InputValue) -> bool {
    matches!(value, InputValue::Lengths(_))
}

fn is_mask(value: InputValue) -> bool {
    matches!(value, InputValue::Mask(_))
}

/// The axis that is `wanted`.
fn place(axes: &[Dim], wanted: Dim) -> Option<Axis> {
    axes.iter().position(|dim| *dim == wanted).map(Axis)
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

#[cfg(test)]
mod tests;
