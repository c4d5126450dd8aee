//! A model's forecasts of a series, in the columns' own units, and their errors.

use std::ops::Range;

use ndarray::{ArrayView3, Axis, s};

use super::Series;
use super::scale::Scale;
use super::spec::{Heads, SeriesSpec};
use super::windows::taken;
use crate::call::{Input, Output};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Axes, Model};
use crate::named::NamedTensors;

/// The most windows of a call.
const WINDOWS: usize = 64;

/// A model's forecast of one step.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Forecast {
    /// How many steps behind the last row it is, counted from 1.
    pub step: usize,
    /// Each target, in its own unit.
    pub values: Vec<f64>,
}

/// The errors of forecasts of a column: means of `|y − t|`, in the column's own unit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetError {
    /// The column.
    pub column: String,
    /// The error of the model.
    pub model: f64,
    /// The error of a forecast that repeats the last value: that of the window's last row, or for a step its own.
    pub last_value: f64,
}

impl SeriesSpec {
    /// Makes the input of `model` for the last window of `series`.
    ///
    /// # Shapes
    ///
    /// Those of [`tensors`](Self::tensors), with one window and without targets.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind:
    ///
    /// - [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the series has fewer rows than a window;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io), with the line, if
    ///   a column is missing or a cell holds no finite number.
    pub fn input(&self, model: &Model, series: &Series) -> Result<Input<'static>> {
        let heads = self.heads(model)?;
        let Some(begin) = series.rows().checked_sub(self.window()) else {
            let text = format!("expected {} rows or more, the model's window, got {}", self.window(), series.rows());
            return Err(Error::new(ErrorKind::Shape, text).at(series.source()));
        };
        let (name, x) = taken(&heads, (&self.seen_inputs(series)?, self.inputs().count()), &[begin], self.window())?;
        Ok(model.named_input(&NamedTensors::from([(name, x.into())]))?.into_owned())
    }

    /// Turns the output of `model` for the last window of a series into forecasts of the
    /// steps behind it. There are `horizon` of them. A model with an output for each
    /// step gives at most as many as the window has steps: the last ones of the horizon.
    ///
    /// # Shapes
    ///
    /// [`Output::output`] is that of one window: `[1, horizon × targets]` or `[1, window, targets]`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`check`](Self::check), or one of kind
    /// [`ErrorKind::Shape`](crate::ErrorKind::Shape) if the output is not that of the model.
    pub fn forecasts(&self, model: &Model, output: &Output) -> Result<Vec<Forecast>> {
        let heads = self.heads(model)?;
        let given = self.given(model, &heads, output, 1)?;
        let steps = heads.steps.min(self.horizon());
        // With an output for each step, only the last ones have targets behind the last row.
        let first = heads.steps - steps;
        let forecast = |at: usize| {
            let values = self.targets().zip(given.slice(s![0, first + at, ..]));
            let values = values.map(|(scale, seen)| scale.own(*seen)).collect();
            Forecast { step: self.horizon() - steps + at + 1, values }
        };
        Ok((0..steps).map(forecast).collect())
    }

    /// Computes the errors of `model` on the windows whose targets are in the rows
    /// `targets`, and those of repeating the last value. `run` runs the model.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`tensors`](Self::tensors), and those of `run`.
    pub fn errors(
        &self,
        model: &Model,
        series: &Series,
        targets: Range<usize>,
        mut run: impl FnMut(&Input) -> Result<Output>,
    ) -> Result<Vec<TargetError>> {
        let heads = self.heads(model)?;
        let targets = targets.start..targets.end.min(series.rows());
        let begins = self.begins(&heads, &targets).map_err(|e| e.at(series.source()))?;
        let columns = self.targets().map(|scale| series.column(&scale.column)).collect::<Result<Vec<_>>>()?;
        let x = self.seen_inputs(series)?;
        let mut off = vec![0.0; columns.len()];
        for begins in begins.chunks(WINDOWS) {
            let (name, x) = taken(&heads, (&x, self.inputs().count()), begins, self.window())?;
            let output = run(&model.named_input(&NamedTensors::from([(name, x.into())]))?)?;
            let given = self.given(model, &heads, &output, begins.len())?;
            for (target, (scale, column)) in self.targets().zip(&columns).enumerate() {
                for ((window, step), seen) in given.index_axis(Axis(2), target).indexed_iter() {
                    off[target] += (scale.own(*seen) - column[begins[window] + heads.lead + step]).abs();
                }
            }
        }
        let count = of(begins.len() * heads.steps);
        let last_values = self.last_value(model, series, targets)?;
        let error = |(scale, (off, last_value)): (&Scale, (f64, f64))| TargetError {
            column: scale.column.clone(),
            model: off / count,
            last_value,
        };
        Ok(self.targets().zip(off.into_iter().zip(last_values)).map(error).collect())
    }

    /// Computes the mean absolute error of a forecast that repeats the last value, for each
    /// target in its own unit. The windows are those whose targets are in the rows `targets`.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`tensors`](Self::tensors).
    pub fn last_value(&self, model: &Model, series: &Series, targets: Range<usize>) -> Result<Vec<f64>> {
        let heads = self.heads(model)?;
        let targets = targets.start..targets.end.min(series.rows());
        let begins = self.begins(&heads, &targets).map_err(|e| e.at(series.source()))?;
        let error = |scale: &Scale| {
            let column = series.column(&scale.column)?;
            let off = |begin: usize, step: usize| {
                (column[self.last_seen(&heads, begin, step)] - column[begin + heads.lead + step]).abs()
            };
            let sum: f64 = begins.iter().flat_map(|begin| (0..heads.steps).map(|step| off(*begin, step))).sum();
            Ok(sum / of(begins.len() * heads.steps))
        };
        self.targets().map(error).collect()
    }

    /// Returns the last row that a model has seen when it gives its output `step`, for a window that begins at `begin`.
    fn last_seen(&self, heads: &Heads, begin: usize, step: usize) -> usize {
        begin + if heads.has_steps { step } else { self.window() - 1 }
    }

    /// Returns a model's output for `windows` windows as `[N, steps, targets]`.
    fn given<'a>(
        &self,
        model: &Model,
        heads: &Heads,
        output: &'a Output,
        windows: usize,
    ) -> Result<ArrayView3<'a, f32>> {
        let given = &output.output;
        let wanted = (windows, heads.steps, self.targets().count());
        let misfit = || {
            let text =
                format!("expected an output of {windows} windows as the model gives it, got {:?}", given.shape());
            Error::new(ErrorKind::Shape, text)
        };
        let steps = match heads.has_steps {
            true => given.view().into_dimensionality().map_err(|_| misfit())?,
            false => given.view().into_shape_with_order(wanted).map_err(|_| misfit())?,
        };
        let is_turned = heads.has_steps && model.axes == Axes::TimeMajor;
        let steps: ArrayView3<'_, f32> = if is_turned { steps.permuted_axes([1, 0, 2]) } else { steps };
        if steps.dim() == wanted { Ok(steps) } else { Err(misfit()) }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of what fits memory")]
fn of(count: usize) -> f64 {
    count as f64
}
