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
use crate::model::{Clocks, Dim, Direction, InputPort, InputValue, Layer, LayerKind, Model, Pin, Select, Value};
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
            Ok(got) if got == Some(rows.len()) => Ok(batch),
            Ok(got) => {
                let got = got.map_or("one sequence without the axis of the batch".to_owned(), |got| got.to_string());
                Err(shape(format!("expected {} rows of the examples, got {got}", rows.len())))
            }
            Err(error) => Err(self.wrong_row(rows).unwrap_or(error)),
        }
    }

    /// What is wrong with the first of these rows that does not fit by itself: in a batch it is told by its place there.
    fn wrong_row(&self, rows: &[usize]) -> Option<Error> {
        rows.iter().map(|row| self.range.start + row).find_map(|row| {
            let tensors = self.examples.tensors(&[row]).ok()?;
            let batch = Batch::read(&self.model, &self.objective, &tensors);
            let error = batch.and_then(|batch| batch.check(&self.model, &self.objective)).err()?;
            Some(error.at(format!("row {row} of the examples")))
        })
    }

    /// The steps that are kept of rows of which none is longer than `longest`: the first ones, or the last ones where a mask
    /// says that padding comes first. None where that is not said, steps are taken out of others, or the model reads a
    /// step that is padding.
    fn kept(&self, tensors: &NamedTensors, longest: usize) -> Option<Range<usize>> {
        let (_, whole) = *self.time.values().next()?;
        if Clocks::of(&self.model).all().len() != 1 {
            return None;
        }
        let steps = longest.max(1).next_multiple_of(whole.div_ceil(LENGTHS)).min(whole);
        let (first, last) = (0..steps, whole - steps..whole);
        let live = match &self.mask {
            None => 0..longest,
            Some(mask) => live_steps(&tensors.get(mask)?.real().view(), self.time.get(mask)?.0)?,
        };
        if live.end <= first.end && !reads_the_last_index(&self.model) {
            Some(first)
        } else if live.start >= last.start && self.mask.is_some() && !goes_backwards(&self.model) {
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

/// Whether a layer takes what stands at the last time index, which is another where there are fewer steps.
fn reads_the_last_index(model: &Model) -> bool {
    let is_last = |value: &Value| matches!(value, Value::Layer(_, Pin::LastOutput));
    let takes_it = |layer: &Layer| {
        matches!(layer.kind, LayerKind::Select(Select::LastStep | Select::LastOutput)) || layer.from.iter().any(is_last)
    };
    model.layers.iter().any(takes_it) || model.outputs.iter().any(|output| is_last(&output.from))
}

/// Whether a stack counts its steps from the first one, so that they are others where some are cut off there.
fn goes_backwards(model: &Model) -> bool {
    model.stacks().any(|stack| stack.direction == Direction::Backwards)
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
    fn tagged(lengths: &[i64], steps: usize, padded_first: bool) -> (Model, Dataset) {
        let model =
            Model::new().layer(Embedding::new(7, 4)).layer(Lstm::new(4, 5).bidirectional()).layer(Linear::new(10, 3));
        let tokens = Array2::from_shape_fn((lengths.len(), steps), |(b, t)| ((b * 5 + t * 3) % 7) as i64);
        let tags = Array2::from_shape_fn((lengths.len(), steps), |(b, t)| ((b + t) % 3) as i64);
        let tensors = NamedTensors::from([
            ("x".to_owned(), tokens.into_dyn().into()),
            tells(lengths, steps, padded_first),
            ("y".to_owned(), tags.into_dyn().into()),
        ]);
        let data = Dataset::new(&model, CrossEntropy::default(), tensors).unwrap();
        (model, data)
    }

    /// What says where the steps of each row are: lengths, or a mask where padding comes first.
    fn tells(lengths: &[i64], steps: usize, padded_first: bool) -> (String, Values) {
        let live = |(row, step): (usize, usize)| f32::from(u8::from((steps - step) as i64 <= lengths[row]));
        match padded_first {
            true => ("mask".to_owned(), Array2::from_shape_fn((lengths.len(), steps), live).into()),
            false => ("lengths".to_owned(), Array1::from(lengths.to_vec()).into()),
        }
    }

    /// The steps that are kept of these rows.
    fn kept(data: &Dataset, rows: &[usize]) -> Option<Range<usize>> {
        let lengths = data.lengths().unwrap();
        data.kept(&data.tensors(rows).unwrap(), rows.iter().map(|row| lengths[*row]).max().unwrap())
    }

    #[test]
    fn a_short_batch_has_the_gradients_of_the_whole() {
        for padded_first in [false, true] {
            short_batches(padded_first);
        }
    }

    fn short_batches(padded_first: bool) {
        let (model, data) = tagged(&[3, 18, 1, 7, 5, 4], 19, padded_first);
        let weights = Weights::initial(&model, Like::Torch, 3).unwrap();
        let update = Update::by(Sgd::like(Like::Torch));
        let trainer = Trainer::new(model, &weights, CrossEntropy::default(), update, Device::Cpu).unwrap();
        for (rows, steps) in [(&[0, 2, 4][..], 5), (&[5, 3], 10), (&[2], 5), (&[1, 0], 19)] {
            let lengths = data.lengths().unwrap();
            let wanted = if padded_first { 19 - steps..19 } else { 0..steps };
            assert_eq!(kept(&data, rows), Some(wanted), "{rows:?}");
            let [short, whole] = [data.short_batch(rows, &lengths), data.batch(rows)]
                .map(|batch| trainer.gradients(&batch.unwrap()).unwrap());
            assert_eq!((short.loss, short.weights), (whole.loss, whole.weights), "{rows:?}");
        }
    }

    #[test]
    fn the_last_index_is_kept_where_it_is_read() {
        let [lengths, mask] = [false, true].map(|padded_first| tells(&[8, 2], 8, padded_first));
        let [forward, backwards] = [Direction::Forward, Direction::Backwards].map(|to| Lstm::new(2, 3).direction(to));
        for (stack, tells, wanted) in [
            (&forward, &lengths, None),
            (&forward, &mask, Some(6..8)),
            // Its last index is the first step.
            (&backwards, &mask, None),
        ] {
            for select in [Select::LastStep, Select::LastOutput] {
                let model = Model::new().layer(stack.clone()).layer(select);
                let tensors = NamedTensors::from([
                    ("x".to_owned(), Array::<f32, _>::ones((2, 8, 2)).into()),
                    tells.clone(),
                    ("y".to_owned(), Array::<f32, _>::zeros((2, 3)).into()),
                ]);
                let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
                assert_eq!(kept(&data, &[1]), wanted, "{select:?} {tells:?}");
            }
        }
    }

    #[test]
    fn a_batch_is_whole_where_both_ends_are_padded() {
        let model = Model::new().layer(Lstm::new(2, 3)).layer(Select::FinalHidden);
        let mask = ndarray::arr2(&[[0.0_f32, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 1.0]]);
        let tensors = NamedTensors::from([
            ("x".to_owned(), Array::<f32, _>::ones((3, 4, 2)).into()),
            ("mask".to_owned(), mask.into()),
            ("y".to_owned(), Array::<f32, _>::zeros((3, 3)).into()),
        ]);
        let data = Dataset::new(&model, crate::loss::Loss::MeanSquared, tensors).unwrap();
        assert_eq!(data.lengths().unwrap(), [1, 1, 2]);
        assert_eq!([&[0, 1][..], &[1, 2], &[0]].map(|rows| kept(&data, rows)), [None, Some(2..4), None]);
    }

    /// Rows that are laid out one by one, one of a class that there is not; and a row more than is asked for, if `more`.
    #[derive(Debug)]
    struct Laid {
        wrong: usize,
        more: bool,
    }

    impl Examples for Laid {
        fn rows(&self) -> usize {
            9
        }

        fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
            let more = usize::from(self.more && rows.len() > 1);
            let classes: Array1<i64> = rows.iter().map(|row| if *row == self.wrong { 3 } else { 1 }).collect();
            let classes = [classes, Array1::zeros(more)].iter().flatten().copied().collect::<Array1<i64>>();
            let x = Array::<f32, _>::ones((rows.len() + more, 8, 2));
            Ok([("x".to_owned(), x.into()), ("y".to_owned(), classes.into())].into())
        }

        fn lengths(&self) -> Option<Vec<usize>> {
            Some(vec![8; 7])
        }
    }

    #[test]
    fn examples_that_do_not_fit_are_told_by_their_row() {
        let model = Model::new().layer(Lstm::new(2, 3)).layer(Select::FinalHidden);
        let data = |laid| Dataset::of(&model, CrossEntropy::default(), laid).unwrap();
        let [_, last] = data(Laid { wrong: 7, more: false }).split(0.5).unwrap();
        assert!(last.batch(&[0, 1]).is_ok());
        let said = last.batch(&[0, 3, 1]).unwrap_err().to_string();
        assert!(said.starts_with("row 7 of the examples: ") && said.contains("class"), "{said}");
        let said = data(Laid { wrong: 9, more: true }).batch(&[0, 3]).unwrap_err().to_string();
        assert_eq!(said, "expected 2 rows of the examples, got 3");
        let said = last.lengths().unwrap_err().to_string();
        assert_eq!(said, "buckets: expected the lengths of all 9 rows, got 7");
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
