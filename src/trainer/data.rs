//! The examples of a training, each a row of named tensors, and the batches that are taken from them.
//!
//! Knows ports, calls and losses; knows no device and no optimizer.

mod classes;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use ndarray::{ArrayD, Axis, Slice};

use super::batch::Batch;
use super::in_memory::{InMemoryExamples, live_steps};
use super::targets;
use crate::call::Batching;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Clocks, Dim, InputPort, InputValue, Model, TimeEnd};
use crate::named::{Examples, NamedTensors, Values, read_input};
use crate::recipe::rows_before_split;

/// Examples to train on: the inputs of a model and the targets of
/// its outputs, as named tensors with one row for each example.
///
/// [`new`](Self::new) takes tensors in memory; [`of`](Self::of) takes anything that lays out rows batch by batch.
///
/// # Example
///
/// ```
/// use gatewave::train::{Dataset, Loss};
/// use gatewave::{Gru, Linear, Model, NamedTensors, Select};
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
    /// The rows of `examples` that belong to this dataset.
    range: Range<usize>,
    /// The axis of rows of each tensor.
    rows: BTreeMap<String, Axis>,
    /// The time axis of each tensor that has one, and its number of steps.
    time: BTreeMap<String, (Axis, usize)>,
    /// The one of these tensors that is the mask.
    mask: Option<String>,
    /// Whether padding at the first end of the steps, and at the last end, may be left out of a batch.
    cuts: [bool; 2],
    /// How many steps each row of `examples` has, once that was asked for. All parts of them share it.
    lengths: Arc<OnceLock<Option<Vec<usize>>>>,
    /// Whether all rows were checked in advance; otherwise a call checks each batch.
    is_checked: bool,
}

/// The most lengths of batches that are cut to their longest row: each length has a plan of its own.
const LENGTHS: usize = 4;

impl Batch {
    /// Makes a batch of named tensors: the inputs that [`Model::named_input`]
    /// takes, and the targets of each loss of `objective`.
    ///
    /// Targets are named `y_OUTPUT`, after the output that they are compared with, or `y` if the
    /// model has one output. They have the axes of the output; targets of classes leave out its
    /// features. Weights of the loss of each row or step may come as `sample_weight_OUTPUT` or
    /// `sample_weight`. Their shape is `[B]`, or that of the output without its features. The mean
    /// is not divided by them ([`Targets::sample_weights`](crate::train::Targets::sample_weights)).
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if a tensor is missing, unknown or does not fit;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if no target counts;
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if a loss does not fit the last layer.
    pub fn named(model: &Model, objective: impl Into<Objective>, tensors: &NamedTensors) -> Result<Self> {
        let objective = objective.into();
        let batch = Self::read(model, &objective, tensors)?;
        batch.check(model, &objective)?;
        Ok(batch)
    }

    /// Does the same, and checks axes alone.
    fn read(model: &Model, objective: &Objective, tensors: &NamedTensors) -> Result<Self> {
        let (targets, others) = targets::read(model, objective, tensors)?;
        Ok(Self { input: read_input(model, &others)?.into_owned(), targets })
    }

    /// Checks the batch and returns its number of rows; none for one sequence without a batch axis.
    fn check(&self, model: &Model, objective: &Objective) -> Result<Option<usize>> {
        let call = self.input.check(model)?;
        objective.check(model, &call, &self.targets)?;
        Ok((call.form.batching == Batching::Batch).then_some(call.form.batch))
    }
}

impl Dataset {
    /// Makes a dataset of `tensors`, with the names that [`Batch::named`] takes.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Batch::named`], or one of kind
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if there is no axis of rows.
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
        let held = InMemoryExamples { tensors: held, rows, lengths, mask };
        let first = held.tensors(&[0])?;
        Ok(Self { is_checked: true, ..Self::over(model, objective, Arc::new(held), &first) })
    }

    /// Makes a dataset of examples that are laid out batch by batch. The first example is laid
    /// out here, to check that it fits the model. Each batch is checked when it is taken.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`Batch::named`], those of `examples` for the first example, or
    /// one of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if there are no examples.
    pub fn of(model: &Model, objective: impl Into<Objective>, examples: impl Examples + 'static) -> Result<Self> {
        let objective = objective.into();
        if examples.rows() == 0 {
            return Err(Error::new(ErrorKind::Training, "expected examples to train on, got none"));
        }
        let tensors = examples.tensors(&[0])?;
        match Batch::read(model, &objective, &tensors)?.check(model, &objective) {
            Ok(Some(1)) => {}
            Ok(got) => {
                let got = got.map_or("one sequence without the axis of the batch".to_owned(), |got| got.to_string());
                return Err(shape(format!("expected 1 row of the examples, got {got}")));
            }
            // A single row may have nothing that counts.
            Err(error) if error.kind() == ErrorKind::Training => {}
            Err(error) => return Err(error),
        }
        Ok(Self::over(model, objective, Arc::new(examples), &tensors))
    }

    /// Makes a dataset without checks. `first` are the tensors of the first example.
    fn over(model: &Model, objective: Objective, examples: Arc<dyn Examples>, first: &NamedTensors) -> Self {
        let (mut rows, mut time) = (BTreeMap::new(), BTreeMap::new());
        for (name, values) in first {
            let Some(axes) = axes(model, &objective, name, values.shape().len()) else { continue };
            if let Some(axis) = place(&axes, Dim::Batch) {
                rows.insert(name.clone(), axis);
            }
            if let Some(axis) = place(&axes, Dim::Time) {
                time.insert(name.clone(), (axis, values.shape()[axis.index()]));
            }
        }
        let range = 0..examples.rows();
        let mask = given(model, first, is_mask).map(|port| port.name);
        let (model, cuts, lengths) = (model.clone(), cuts(model), Arc::default());
        Self { model, objective, examples, range, rows, time, mask, cuts, lengths, is_checked: false }
    }

    /// Returns the number of examples.
    pub fn rows(&self) -> usize {
        self.range.len()
    }

    /// Splits off the last `share` of the rows: returns all others, then these (Keras' `validation_split`).
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if either part would be empty.
    pub fn split(&self, share: f64) -> Result<[Self; 2]> {
        let first = rows_before_split(self.rows(), share)?;
        Ok([self.part(0, first), self.part(first, self.rows())])
    }

    /// Returns the axis of rows of the tensor `name` with `count` axes. Returns none unless
    /// `model` takes it with a row for each example, or `objective` compares an output with it.
    pub fn row_axis(model: &Model, objective: &Objective, name: &str, count: usize) -> Option<usize> {
        Some(place(&axes(model, objective, name, count)?, Dim::Batch)?.index())
    }

    /// Returns how many steps each row has.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if no tensor holds the lengths.
    pub(super) fn lengths(&self) -> Result<&[usize]> {
        let wrong = |text: String| Error::new(ErrorKind::Training, format!("buckets: expected {text}"));
        let Some(lengths) = self.lengths.get_or_init(|| self.examples.lengths()) else {
            return Err(wrong("rows with their lengths, got rows of one length".to_owned()));
        };
        if lengths.len() != self.examples.rows() {
            let (rows, got) = (self.examples.rows(), lengths.len());
            return Err(wrong(format!("the lengths of all {rows} rows, got {got}")));
        }
        Ok(lengths.get(self.range.clone()).unwrap_or_default())
    }

    /// Returns the same where batches can be cut to their longest row; nothing where that changes no batch.
    pub(super) fn lengths_to_cut(&self) -> &[usize] {
        if self.cuts == [false; 2] { &[] } else { self.lengths().unwrap_or_default() }
    }

    /// Returns rows `from` to `to` as a dataset.
    pub(super) fn part(&self, from: usize, to: usize) -> Self {
        Self { range: self.range.start + from..self.range.start + to, ..self.clone() }
    }

    /// Lays out the batch of these rows, in their order.
    ///
    /// # Errors
    ///
    /// Returns the errors of the [`Examples`], or one of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if there is
    /// no such row. If the tensors laid out do not fit, it is the error of [`Batch::named`] with the number of the row.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch> {
        let batch = self.laid_out(rows, &[])?;
        if !self.is_checked {
            batch.check(&self.model, &self.objective).map_err(|e| self.by_row(e, rows))?;
        }
        Ok(batch)
    }

    /// Lays out the batch of these rows, cut to the length of the longest of them. That length is rounded up to one of
    /// few. The loss and the gradients are those of the whole batch. `lengths` are those of all rows; if there
    /// are none, nothing is cut. The call that takes the batch checks it: [`by_row`](Self::by_row) names the row.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`batch`](Self::batch), but for those of a check.
    pub(super) fn laid_out(&self, rows: &[usize], lengths: &[usize]) -> Result<Batch> {
        let mut tensors = self.tensors(rows)?;
        let kept = rows.iter().filter_map(|row| lengths.get(*row)).max().and_then(|most| self.kept(&tensors, *most));
        if let Some(kept) = kept {
            for (name, values) in &mut tensors {
                match (self.time.get(name), values) {
                    (None, _) => {}
                    (Some(&(axis, _)), Values::F32(array)) => keep(array, axis, &kept),
                    (Some(&(axis, _)), Values::I64(array)) => keep(array, axis, &kept),
                }
            }
        }
        Batch::read(&self.model, &self.objective, &tensors)
    }

    /// Returns what a call found wrong about the batch of `rows`, with the
    /// number of the first of them that does not fit, if one is to blame.
    pub(super) fn by_row(&self, error: Error, rows: &[usize]) -> Error {
        // If nothing counts, the batch is wrong and not a row.
        let is_of_data = matches!(error.kind(), ErrorKind::Shape | ErrorKind::Model);
        let row = if is_of_data && !self.is_checked { self.wrong_row(rows) } else { None };
        row.unwrap_or(error)
    }

    /// Returns the error of the first of these rows that does not fit
    /// by itself. The error of a batch would name its place there.
    fn wrong_row(&self, rows: &[usize]) -> Option<Error> {
        rows.iter().map(|row| self.range.start + row).find_map(|row| {
            let tensors = self.examples.tensors(&[row]).ok()?;
            let batch = Batch::read(&self.model, &self.objective, &tensors);
            let error = batch.and_then(|batch| batch.check(&self.model, &self.objective)).err()?;
            (error.kind() != ErrorKind::Training).then(|| error.at(format!("row {row} of the examples")))
        })
    }

    /// Returns the steps to keep of rows that are at most `longest` steps long: the first ones,
    /// or the last ones if the mask says that padding comes first. Returns none if neither end is
    /// all padding that may be left out.
    fn kept(&self, tensors: &NamedTensors, longest: usize) -> Option<Range<usize>> {
        let (_, whole) = *self.time.values().next().filter(|_| self.cuts != [false; 2])?;
        let steps = longest.max(1).next_multiple_of(whole.div_ceil(LENGTHS)).min(whole);
        let (first, last) = (0..steps, whole - steps..whole);
        let live = match &self.mask {
            None => 0..longest,
            Some(mask) => live_steps(&tensors.get(mask)?.to_f32().view(), self.time.get(mask)?.0)?,
        };
        let [at_first, at_last] = self.cuts;
        if live.end <= first.end && at_last {
            Some(first)
        } else if live.start >= last.start && self.mask.is_some() && at_first {
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
        let tensors = self.examples.tensors(&rows)?;
        // A call checks that all tensors have as many rows, and not how many were asked for.
        let mut got = tensors.iter().filter_map(|(name, values)| {
            let axis = self.rows.get(name)?;
            values.shape().get(axis.index()).copied()
        });
        match got.find(|got| *got != rows.len()) {
            Some(got) => Err(shape(format!("expected {} rows of the examples, got {got}", rows.len()))),
            None => Ok(tensors),
        }
    }
}

/// Returns whether padding at the first end of the steps, and at the last end, changes nothing that `model` gives.
fn cuts(model: &Model) -> [bool; 2] {
    // Behind a stack that goes backwards, every length gives other steps.
    let counts_padding = model.layers.iter().any(|layer| layer.kind.counts_padding());
    let is_cut = Clocks::of(model).all().len() == 1 && !model.goes_backwards() && !counts_padding;
    let taken = model.ends_taken();
    [TimeEnd::First, TimeEnd::Last].map(|end| is_cut && taken.iter().all(|(taken, _)| *taken != end))
}

/// Cuts `array` to `steps` along `axis`.
fn keep<A: Clone>(array: &mut ArrayD<A>, axis: Axis, steps: &Range<usize>) {
    if steps.len() < array.len_of(axis) {
        *array = array.slice_axis(axis, Slice::from(steps.clone())).to_owned();
    }
}

/// Returns the first input port of `model` that satisfies `wanted` and is among `tensors`.
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

/// Returns the position of the axis `wanted`.
fn place(axes: &[Dim], wanted: Dim) -> Option<Axis> {
    axes.iter().position(|dim| *dim == wanted).map(Axis)
}

/// Returns the axes of the tensor `name`, which has `count` axes; none for weights.
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
