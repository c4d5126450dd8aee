//! A series ⇄ tensors of a model: columns, scales, and windows in time, as a training settled them.

use std::ops::Range;

use super::Series;
use super::scale::Scale;
use super::windows::SeriesWindows;
use crate::data::ends::{Ends, foresees};
use crate::error::{Error, ErrorKind, Result, zeros};
use crate::model::{Flow, Model};
use crate::named::{Examples, NamedTensors};

/// How a series is to become windows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesOptions {
    /// The steps that a model takes.
    pub window: usize,
    /// The steps that it foresees: as many behind the window, or for a model with an output for each step how far ahead each of
    /// these is.
    pub horizon: usize,
    /// How many rows a window begins behind the one before it.
    pub stride: usize,
    /// The columns that the model takes, in this order: all columns of numbers where none are said.
    pub columns: Option<Vec<String>>,
    /// The columns that it foresees: the first one that it takes where none are said.
    pub targets: Option<Vec<String>>,
}

impl SeriesOptions {
    /// Windows of so many steps, the next step of the first column ahead, one row after the other.
    pub fn window(steps: usize) -> Self {
        Self { window: steps, horizon: 1, stride: 1, columns: None, targets: None }
    }

    /// Sets the steps that are foreseen.
    #[must_use]
    pub fn horizon(mut self, steps: usize) -> Self {
        self.horizon = steps;
        self
    }

    /// Sets how many rows a window begins behind the one before it.
    #[must_use]
    pub fn stride(mut self, rows: usize) -> Self {
        self.stride = rows;
        self
    }

    /// Sets the columns that the model takes.
    #[must_use]
    pub fn columns<C: Into<String>>(mut self, names: impl IntoIterator<Item = C>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the columns that it foresees.
    #[must_use]
    pub fn targets<C: Into<String>>(mut self, names: impl IntoIterator<Item = C>) -> Self {
        self.targets = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// How many windows there are in so many rows.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where a number is 0.
    pub fn windows(&self, rows: usize) -> Result<usize> {
        check(self.window, self.horizon, self.stride)?;
        let begins = rows.checked_sub(self.window.saturating_add(self.horizon));
        Ok(begins.map_or(0, |last| last / self.stride + 1))
    }
}

/// What a model takes of a series and what it foresees: the columns, the scale of each, and the steps of a window.
///
/// It is made from the rows that a model is trained on, and kept in the model's file: [`to_json`](Self::to_json) and
/// [`of_metadata`](Self::of_metadata).
///
/// Two kinds of models have an output that fits. One gives a row for each window, `[N, horizon × targets]`: of the step behind
/// the window every target, then of the step after it, and so on. The other gives an output for each step, `[N, window, targets]`:
/// every target, `horizon` steps after the step itself. Its stacks go forward, since it would else have read what it foresees.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSpec {
    /// Of every column that is taken or foreseen.
    scales: Vec<Scale>,
    /// Places among the scales.
    inputs: Vec<usize>,
    targets: Vec<usize>,
    window: usize,
    horizon: usize,
    stride: usize,
}

/// Where windows go through a model.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    pub(super) ends: Ends,
    /// Whether the model gives an output for each step.
    pub(super) has_steps: bool,
    /// How many rows after its beginning the first target of a window stands.
    pub(super) lead: usize,
    /// How many rows of targets a window has.
    pub(super) steps: usize,
}

impl SeriesSpec {
    /// The columns that `options` say, and their scales in the first `training` rows of `series`, for `model`.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where the model does not take as many features or does not foresee as many numbers; `Training`, where a number of
    /// the options is 0, a column stands twice or has no finite deviation, or there are fewer rows than a window needs; `Io`,
    /// where there is no such column, or a cell of it holds no finite number.
    pub fn learn(model: &Model, series: &Series, training: usize, options: &SeriesOptions) -> Result<Self> {
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let inputs = options.columns.clone().unwrap_or_else(|| own(series.numeric()));
        let Some(first) = inputs.first().cloned() else {
            let got = series.others().join(", ");
            let text = format!("expected at least one column of numbers, got none among {got}");
            return Err(wrong(text).at(series.source()));
        };
        let targets = options.targets.clone().unwrap_or_else(|| vec![first]);
        let training = training.min(series.rows());
        if options.windows(training)? == 0 {
            let needed = options.window.saturating_add(options.horizon);
            return Err(too_short(options.window, options.horizon, needed, training).at(series.source()));
        }
        let mut scales: Vec<Scale> = Vec::new();
        for name in inputs.iter().chain(&targets) {
            if scales.iter().all(|scale| scale.column != *name) {
                let numbers = &series.column(name)?[..training];
                scales.push(Scale::of(name, numbers).map_err(|e| e.at(series.source()))?);
            }
        }
        let spec = Self::new(scales, &inputs, &targets, options)?;
        spec.check(model)?;
        Ok(spec)
    }

    /// Of these parts: `scales` are those of each column that stands in `inputs` or `targets`. Of `options` the window, the
    /// horizon and the stride are taken.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where a number is 0, a column stands twice in a list or has no scale, a list is empty, or a scale is not
    /// finite.
    pub fn new(scales: Vec<Scale>, inputs: &[String], targets: &[String], options: &SeriesOptions) -> Result<Self> {
        let &SeriesOptions { window, horizon, stride, .. } = options;
        check(window, horizon, stride)?;
        scales.iter().try_for_each(Scale::check)?;
        let places = |what: &str, names: &[String]| -> Result<Vec<usize>> {
            let mut places = Vec::with_capacity(names.len());
            for name in names {
                match scales.iter().position(|scale| scale.column == *name) {
                    Some(place) if places.contains(&place) => {
                        return Err(wrong(format!("{what}: expected each column once, got {name:?} twice")));
                    }
                    Some(place) => places.push(place),
                    None => return Err(wrong(format!("{what}: expected a scale of {name:?}, got none"))),
                }
            }
            match places.is_empty() {
                true => Err(wrong(format!("{what}: expected at least one column, got none"))),
                false => Ok(places),
            }
        };
        let (inputs, targets) = (places("columns", inputs)?, places("targets", targets)?);
        Ok(Self { scales, inputs, targets, window, horizon, stride })
    }

    /// The scales of all columns that it knows.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// The columns that a model takes, in the order of its features.
    pub fn inputs(&self) -> impl Iterator<Item = &Scale> + Clone {
        self.inputs.iter().map(|place| &self.scales[*place])
    }

    /// The columns that a model foresees, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &Scale> + Clone {
        self.targets.iter().map(|place| &self.scales[*place])
    }

    /// The steps that a model takes.
    pub fn window(&self) -> usize {
        self.window
    }

    /// The steps that it foresees.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// How many rows a window begins behind the one before it.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Whether it is one of `model`: each column has its feature, and each number that is foreseen its output.
    ///
    /// # Errors
    ///
    /// Kind `Model`, where it is not.
    pub fn check(&self, model: &Model) -> Result<()> {
        self.heads(model).map(drop)
    }

    pub(super) fn heads(&self, model: &Model) -> Result<Heads> {
        let ends = Ends::of(model)?;
        let Flow::Steps(taken) = ends.takes else {
            let text = "expected a model that takes features, got one that takes tokens";
            return Err(misfit(text).hint("a series needs a recurrent or linear layer first"));
        };
        if taken.len() != self.inputs.len() {
            let columns: Vec<&str> = self.inputs().map(|scale| scale.column.as_str()).collect();
            let (wanted, columns) = (columns.len(), columns.join(", "));
            let text = format!("expected a model of {wanted} features ({columns}), got one of {}", taken.len());
            return Err(misfit(text).hint("--columns names those to take"));
        }
        let (targets, horizon) = (self.targets.len(), self.horizon);
        let (wanted, lead, steps) = match ends.gives {
            Flow::Rows(_) => (targets.saturating_mul(horizon), self.window, horizon),
            _ => (targets, horizon, self.window),
        };
        let has_steps = !matches!(ends.gives, Flow::Rows(_));
        let got = ends.gives.features().len();
        if got != wanted {
            let (each, of) = match has_steps {
                true => ("step", format!("targets {targets}")),
                false => ("window", format!("horizon {horizon} × targets {targets}")),
            };
            let text = format!("expected a model that gives {wanted} numbers for each {each} ({of}), got {got}");
            return Err(misfit(text).hint("give its last layer as many outputs"));
        }
        if has_steps {
            foresees(model)?;
        }
        Ok(Heads { ends, has_steps, lead, steps })
    }

    /// The rows at which windows begin whose targets all stand in these rows. What they take may stand before.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where there is none.
    pub(super) fn begins(&self, heads: &Heads, targets: &Range<usize>) -> Result<Vec<usize>> {
        let first = targets.start.saturating_sub(heads.lead);
        let needed = self.window.saturating_add(self.horizon).saturating_sub(targets.start - first);
        if targets.len() < needed {
            return Err(too_short(self.window, self.horizon, needed, targets.len()));
        }
        let last = targets.end - self.window - self.horizon;
        Ok((first..=last).step_by(self.stride).collect())
    }

    /// Windows of a series as a [`Dataset`](crate::Dataset) takes them, under the names of `model`'s ports: those whose targets
    /// all stand in the rows `targets`. What a window takes may stand before them.
    ///
    /// So `0..n` are windows of the first n rows, and behind them `n..rows` those that validate, whose first target is row n.
    ///
    /// # Shapes
    ///
    /// Features `[N, window, F]` (`[window, N, F]` where the model is time-major), and targets `[N, horizon × targets]` or, where it
    /// gives an output for each step, `[N, window, targets]`. All of them are seen by their scales.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check); kind `Training`, where there is no window; `Io`, with the line, where a column is missing or a
    /// cell holds no finite number; `Limits`, where they are more than can be laid out.
    pub fn tensors(&self, model: &Model, series: &Series, targets: Range<usize>) -> Result<NamedTensors> {
        let windows = SeriesWindows::new(self, self.heads(model)?, series, targets)?;
        windows.tensors(&(0..windows.rows()).collect::<Vec<_>>()).map_err(|e| e.at(series.source()))
    }

    /// The same windows, cut out when a batch takes them. So each row of the series is in memory once, however many windows it
    /// stands in.
    ///
    /// # Errors
    ///
    /// As [`tensors`](Self::tensors), without a bound of what is laid out.
    pub fn examples(&self, model: &Model, series: &Series, targets: Range<usize>) -> Result<impl Examples + use<>> {
        SeriesWindows::new(self, self.heads(model)?, series, targets)
    }

    /// The columns of the inputs, by their scales: `[rows, F]`.
    pub(super) fn seen_inputs(&self, series: &Series) -> Result<Vec<f32>> {
        self.seen(series, &self.inputs)
    }

    /// Those of the targets: `[rows, targets]`.
    pub(super) fn seen_targets(&self, series: &Series) -> Result<Vec<f32>> {
        self.seen(series, &self.targets)
    }

    /// Some columns by their scales: `[rows, columns]`.
    fn seen(&self, series: &Series, places: &[usize]) -> Result<Vec<f32>> {
        let mut seen = zeros("a series", &[series.rows(), places.len()], "try fewer columns (--columns)")?;
        for (at, place) in places.iter().enumerate() {
            let scale = &self.scales[*place];
            for (row, number) in series.column(&scale.column)?.iter().enumerate() {
                let to = &mut seen[row * places.len() + at];
                *to = scale.seen(*number);
                if !to.is_finite() {
                    let Scale { column, mean, std } = scale;
                    let text = format!(
                        "column {column:?}: expected a number not too far from the mean {mean} (deviation {std}), got {number}"
                    );
                    return Err(wrong(text).at(series.place(row)));
                }
            }
        }
        Ok(seen)
    }
}

fn too_short(window: usize, horizon: usize, needed: usize, got: usize) -> Error {
    let text = format!("window {window} and horizon {horizon}: expected at least {needed} rows, got {got}");
    wrong(text).hint("try a smaller window or horizon, or a longer series")
}

/// Whether the numbers of a window can be.
fn check(window: usize, horizon: usize, stride: usize) -> Result<()> {
    match [("window", window), ("horizon", horizon), ("stride", stride)].into_iter().find(|(_, number)| *number == 0) {
        Some((what, _)) => Err(wrong(format!("{what}: expected 1 or more, got 0"))),
        None => Ok(()),
    }
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Training, text)
}

fn misfit(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}

#[cfg(test)]
mod tests;
