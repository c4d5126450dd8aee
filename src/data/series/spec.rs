//! A series ⇄ tensors of a model: columns, scales, and windows in time, as a training fixed them.

use std::ops::Range;

use super::Series;
use super::scale::Scale;
use super::windows::SeriesWindows;
use crate::data::ends::{Ends, foresees};
use crate::error::{Error, ErrorKind, Result, zeros};
use crate::model::{Flow, Model};
use crate::named::{Examples, NamedTensors};

/// How a series is cut into windows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesOptions {
    /// The steps that a model reads.
    pub window: usize,
    /// How many steps a model predicts behind the window. For a model
    /// with an output for each step, it is how far ahead each output is.
    pub horizon: usize,
    /// How many rows each window begins after the one before it.
    pub stride: usize,
    /// The columns that the model reads, in this order; if not set, all columns of numbers.
    pub columns: Option<Vec<String>>,
    /// The columns that the model predicts; if not set, the first one that it reads.
    pub targets: Option<Vec<String>>,
}

impl SeriesOptions {
    /// Makes options for windows of `steps` steps, one step ahead, of the first column, with a window at every row.
    pub fn window(steps: usize) -> Self {
        Self { window: steps, horizon: 1, stride: 1, columns: None, targets: None }
    }

    /// Sets how many steps are predicted.
    #[must_use]
    pub fn horizon(mut self, steps: usize) -> Self {
        self.horizon = steps;
        self
    }

    /// Sets how many rows each window begins after the one before it.
    #[must_use]
    pub fn stride(mut self, rows: usize) -> Self {
        self.stride = rows;
        self
    }

    /// Sets the columns that the model reads.
    #[must_use]
    pub fn columns<C: Into<String>>(mut self, names: impl IntoIterator<Item = C>) -> Self {
        self.columns = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the columns that the model predicts.
    #[must_use]
    pub fn targets<C: Into<String>>(mut self, names: impl IntoIterator<Item = C>) -> Self {
        self.targets = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Returns how many windows `rows` rows hold.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a number is 0.
    pub fn windows(&self, rows: usize) -> Result<usize> {
        check(self.window, self.horizon, self.stride)?;
        let begins = rows.checked_sub(self.window.saturating_add(self.horizon));
        Ok(begins.map_or(0, |last| last / self.stride + 1))
    }
}

/// What a model reads of a series and what it predicts: the columns, the scale of each, and the steps of a window.
///
/// It is made from the rows that a model is trained on, and kept in the model's
/// file: [`to_json`](Self::to_json) and [`of_metadata`](Self::of_metadata).
///
/// Two kinds of models have an output that fits. One gives a row for each window,
/// `[N, horizon × targets]`: every target of the step behind the window, then of the step after it,
/// and so on. The other gives an output for each step, `[N, window, targets]`: every target, `horizon`
/// steps after the step itself. Its stacks must go forward, or they would have read what they predict.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesSpec {
    /// The scales of every column that is read or predicted.
    scales: Vec<Scale>,
    /// Indices into the scales.
    inputs: Vec<usize>,
    targets: Vec<usize>,
    window: usize,
    horizon: usize,
    stride: usize,
}

/// The input and the output of a model for windows.
#[derive(Clone, Debug)]
pub(super) struct Heads {
    pub(super) ends: Ends,
    /// Whether the model gives an output for each step.
    pub(super) has_steps: bool,
    /// How many rows after the beginning of a window its first target is.
    pub(super) lead: usize,
    /// How many rows of targets a window has.
    pub(super) steps: usize,
}

impl SeriesSpec {
    /// Takes the columns of `options` for `model`, and learns their scales from the first `training` rows of `series`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the model reads
    ///   another number of features or predicts another count of numbers;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if a number
    ///   of the options is 0, or there are fewer rows than a window needs;
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training), too,
    ///   if a column is given twice or has no finite deviation;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if there is no such column, or a cell of it holds no finite number.
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

    /// Makes a spec of these parts. `scales` are those of all columns in `inputs`
    /// and `targets`. The window, the horizon and the stride of `options` are used.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if a number is 0, a list
    /// is empty, or a scale is not finite. It is the same if a column is twice in a list or has no scale.
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

    /// Returns the scales of all its columns.
    pub fn scales(&self) -> &[Scale] {
        &self.scales
    }

    /// Returns the columns that a model reads, in the order of its features.
    pub fn inputs(&self) -> impl Iterator<Item = &Scale> + Clone {
        self.inputs.iter().map(|place| &self.scales[*place])
    }

    /// Returns the columns that a model predicts, in their order.
    pub fn targets(&self) -> impl Iterator<Item = &Scale> + Clone {
        self.targets.iter().map(|place| &self.scales[*place])
    }

    /// Returns the steps that a model reads.
    pub fn window(&self) -> usize {
        self.window
    }

    /// Returns how many steps it predicts.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Returns how many rows each window begins after the one before it.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Checks that it fits `model`: each column has its feature, and each predicted number its output.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if it does not fit.
    pub fn check(&self, model: &Model) -> Result<()> {
        self.heads(model).map(drop)
    }

    pub(super) fn heads(&self, model: &Model) -> Result<Heads> {
        let ends = Ends::of(model)?;
        let Flow::Steps(taken) = ends.takes else {
            let text = "expected a model that takes features, got one that takes tokens";
            return Err(misfit(text).hint("a time series needs a recurrent or linear layer first"));
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

    /// Returns the rows at which windows begin, for windows whose targets are
    /// all in the rows `targets`. Their inputs may come from earlier rows.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if there is none.
    pub(super) fn begins(&self, heads: &Heads, targets: &Range<usize>) -> Result<Vec<usize>> {
        let first = targets.start.saturating_sub(heads.lead);
        let needed = self.window.saturating_add(self.horizon).saturating_sub(targets.start - first);
        if targets.len() < needed {
            return Err(too_short(self.window, self.horizon, needed, targets.len()));
        }
        let last = targets.end - self.window - self.horizon;
        Ok((first..=last).step_by(self.stride).collect())
    }

    /// Lays out windows of a series for a [`Dataset`](crate::train::Dataset), under the names of `model`'s ports.
    /// They are the windows whose targets are all in the rows `targets`; their inputs may come from earlier rows.
    ///
    /// So `0..n` gives the windows of the first n rows. `n..rows`
    /// gives the windows for validation, whose first target is row n.
    ///
    /// # Shapes
    ///
    /// Features `[N, window, F]` (`[window, N, F]` if the model is time-major). Targets `[N, horizon × targets]`,
    /// or `[N, window, targets]` if the model gives an output for each step. All of them are scaled.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if there is no window;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io), with the line, if
    ///   a column is missing or a cell holds no finite number;
    /// - [`ErrorKind::Limits`](crate::ErrorKind::Limits) if there are more windows than can be laid out.
    pub fn tensors(&self, model: &Model, series: &Series, targets: Range<usize>) -> Result<NamedTensors> {
        let windows = SeriesWindows::new(self, self.heads(model)?, series, targets)?;
        windows.tensors(&(0..windows.rows()).collect::<Vec<_>>()).map_err(|e| e.at(series.source()))
    }

    /// Makes examples of the same windows, which are cut when a batch takes them.
    /// So each row of the series is in memory once, however many windows hold it.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`tensors`](Self::tensors), without a limit of what is laid out.
    pub fn examples(&self, model: &Model, series: &Series, targets: Range<usize>) -> Result<impl Examples + use<>> {
        SeriesWindows::new(self, self.heads(model)?, series, targets)
    }

    /// Returns the scaled columns of the inputs: `[rows, F]`.
    pub(super) fn seen_inputs(&self, series: &Series) -> Result<Vec<f32>> {
        self.seen(series, &self.inputs)
    }

    /// Returns the scaled columns of the targets: `[rows, targets]`.
    pub(super) fn seen_targets(&self, series: &Series) -> Result<Vec<f32>> {
        self.seen(series, &self.targets)
    }

    /// Returns some scaled columns: `[rows, columns]`.
    fn seen(&self, series: &Series, places: &[usize]) -> Result<Vec<f32>> {
        let mut seen = zeros("a time series", &[series.rows(), places.len()], "try fewer columns (--columns)")?;
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
    wrong(text).hint("try a smaller window or horizon, or a longer time series")
}

/// Checks the numbers of a window.
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
