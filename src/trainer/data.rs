//! What a training goes over: examples, each a row of named tensors, and the batches that are taken out of them.
//!
//! Knows ports, calls and losses; knows no device and no optimizer.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use ndarray::{ArrayD, Axis, Slice};

use super::batch::Batch;
use super::held::Held;
use super::targets;
use crate::call::Batching;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Objective;
use crate::model::{Clocks, Dim, InputValue, Layer, LayerKind, Model, Pin, Select, Value};
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
}

/// How many lengths there are at most of batches that are cut to their rows': each has a plan of its own.
const LENGTHS: usize = 4;

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
            match place(&axes, Dim::Batch) {
                Some(axis) => drop(held.insert(name, (values, axis))),
                None => return Err(shape(format!("{name}: expected an axis of the batch, got {axes:?}"))),
            }
        }
        let ports = model.all_ports();
        let lengths = ports.inputs.iter().find(|port| matches!(port.value, InputValue::Lengths(_)));
        let lengths = lengths.map(|port| port.name.clone());
        let held = Held { tensors: held, rows, lengths };
        let first = held.tensors(&[0])?;
        Ok(Self::over(model, objective, Arc::new(held), &first))
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
        let first = Batch::read(model, &objective, &tensors)?.check(model, &objective)?;
        if first != Some(1) {
            let got = first.map_or("one sequence without the axis of the batch".to_owned(), |rows| rows.to_string());
            return Err(shape(format!("expected one row of the first example, got {got}")));
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
        Self { model: model.clone(), objective, examples, range, time }
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
        let Some(mut lengths) = self.examples.lengths() else {
            let text = "buckets: expected rows with their lengths, got rows of one length";
            return Err(Error::new(ErrorKind::Training, text));
        };
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
    /// Kind `Shape`, where there is no such row; what the [`Examples`] say.
    pub fn batch(&self, rows: &[usize]) -> Result<Batch> {
        self.batch_of_steps(rows, usize::MAX)
    }

    /// The batch of these rows, cut to the length of the longest of them, rounded up to one of few. What it loses, and its
    /// gradients, are those of the whole. `lengths` are those of all rows.
    ///
    /// # Errors
    ///
    /// As [`batch`](Self::batch).
    pub(super) fn short_batch(&self, rows: &[usize], lengths: &[usize]) -> Result<Batch> {
        self.batch_of_steps(rows, self.steps_of(rows, lengths).unwrap_or(usize::MAX))
    }

    /// How many steps these rows need; none where that is not said, steps are taken out of others, or the model reads a step
    /// that is padding.
    fn steps_of(&self, rows: &[usize], lengths: &[usize]) -> Option<usize> {
        let (_, steps) = self.time.values().next()?;
        if Clocks::of(&self.model).all().len() != 1 || reads_the_last_index(&self.model) {
            return None;
        }
        let longest = rows.iter().filter_map(|row| lengths.get(*row)).max()?;
        Some(longest.max(&1).next_multiple_of(steps.div_ceil(LENGTHS)).min(*steps))
    }

    fn batch_of_steps(&self, rows: &[usize], steps: usize) -> Result<Batch> {
        if let Some(row) = rows.iter().find(|row| **row >= self.rows()) {
            return Err(shape(format!("expected rows below {}, got {row}", self.rows())));
        }
        if rows.is_empty() {
            return Err(shape("expected at least one row, got none"));
        }
        let rows: Vec<usize> = rows.iter().map(|row| self.range.start + row).collect();
        let mut tensors = self.examples.tensors(&rows)?;
        for (name, values) in &mut tensors {
            match self.time.get(name) {
                Some(&(axis, whole)) if steps < whole => match values {
                    Values::Real(array) => first_steps(array, axis, steps),
                    Values::Whole(array) => first_steps(array, axis, steps),
                },
                _ => {}
            }
        }
        Batch::read(&self.model, &self.objective, &tensors)
    }
}

/// Leaves the first `steps` of an array.
fn first_steps<A: Clone>(array: &mut ArrayD<A>, axis: Axis, steps: usize) {
    *array = array.slice_axis(axis, Slice::from(..steps.min(array.len_of(axis)))).to_owned();
}

/// The axis that is `wanted`.
fn place(axes: &[Dim], wanted: Dim) -> Option<Axis> {
    axes.iter().position(|dim| *dim == wanted).map(Axis)
}

/// Whether a layer takes what stands at the last time index, which is another where there are fewer steps.
fn reads_the_last_index(model: &Model) -> bool {
    let is_last = |value: &Value| matches!(value, Value::Layer(_, Pin::LastOutput));
    let takes_it = |layer: &Layer| {
        matches!(layer.kind, LayerKind::Select(Select::LastStep | Select::LastOutput)) || layer.from.iter().any(is_last)
    };
    model.layers.iter().any(takes_it) || model.outputs.iter().any(|output| is_last(&output.from))
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
mod tests {
    use ndarray::{Array, Array1, Array2};

    use super::*;
    use crate::engine::Device;
    use crate::loss::CrossEntropy;
    use crate::model::{Embedding, Linear, Lstm};
    use crate::train::{Like, Sgd, Update};
    use crate::trainer::Trainer;
    use crate::weights::Weights;

    /// Targets of each step, so that these are cut as well.
    fn tagged(lengths: &[i64], steps: usize) -> (Model, Dataset) {
        let model =
            Model::new().layer(Embedding::new(7, 4)).layer(Lstm::new(4, 5).bidirectional()).layer(Linear::new(10, 3));
        let tokens = Array2::from_shape_fn((lengths.len(), steps), |(b, t)| ((b * 5 + t * 3) % 7) as i64);
        let tags = Array2::from_shape_fn((lengths.len(), steps), |(b, t)| ((b + t) % 3) as i64);
        let tensors = NamedTensors::from([
            ("x".to_owned(), tokens.into_dyn().into()),
            ("lengths".to_owned(), Array1::from(lengths.to_vec()).into_dyn().into()),
            ("y".to_owned(), tags.into_dyn().into()),
        ]);
        let data = Dataset::new(&model, CrossEntropy::default(), tensors).unwrap();
        (model, data)
    }

    #[test]
    fn a_short_batch_has_the_gradients_of_the_whole() {
        let (model, data) = tagged(&[3, 18, 1, 7, 5, 4], 19);
        let weights = Weights::initial(&model, Like::Torch, 3).unwrap();
        let update = Update::by(Sgd::like(Like::Torch));
        let trainer = Trainer::new(model, &weights, CrossEntropy::default(), update, Device::Cpu).unwrap();
        for (rows, steps) in [(&[0, 2, 4][..], 5), (&[5, 3], 10), (&[2], 5), (&[1, 0], 19)] {
            let lengths = data.lengths().unwrap();
            assert_eq!(data.steps_of(rows, &lengths), Some(steps), "{rows:?}");
            let [short, whole] = [data.short_batch(rows, &lengths), data.batch(rows)]
                .map(|batch| trainer.gradients(&batch.unwrap()).unwrap());
            assert_eq!((short.loss, short.weights), (whole.loss, whole.weights), "{rows:?}");
        }
    }

    #[test]
    fn a_batch_is_never_short_where_the_last_index_is_read() {
        for select in [Select::LastStep, Select::LastOutput] {
            let model = Model::new().layer(Lstm::new(2, 3)).layer(select);
            let tensors = NamedTensors::from([
                ("x".to_owned(), Array::<f32, _>::ones((2, 8, 2)).into_dyn().into()),
                ("lengths".to_owned(), Array1::from(vec![8_i64, 2]).into_dyn().into()),
                ("y".to_owned(), Array::<f32, _>::zeros((2, 3)).into_dyn().into()),
            ]);
            let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
            assert_eq!(data.steps_of(&[1], &[8, 2]), None, "{select:?}");
        }
    }

    #[test]
    fn rows_without_lengths_are_never_short() {
        let model = Model::new().layer(Lstm::new(2, 3));
        let tensors = NamedTensors::from([
            ("x".to_owned(), Array::<f32, _>::ones((2, 8, 2)).into_dyn().into()),
            ("y".to_owned(), Array::<f32, _>::zeros((2, 8, 3)).into_dyn().into()),
        ]);
        let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
        assert!(data.lengths().is_err());
    }
}
