//! Windows of a series, with the targets of each.

use std::ops::Range;

use ndarray::{Array1, ArrayD, IxDyn};

use super::Series;
use super::spec::{Heads, SeriesSpec};
use crate::error::{Error, ErrorKind, Result, zeros};
use crate::model::Dim;
use crate::named::{Examples, NamedTensors};

/// The most numbers that are laid out at once: 1 GiB.
const MOST_NUMBERS: usize = 1 << 28;

/// Windows of a series for a model.
#[derive(Debug)]
pub(super) struct SeriesWindows {
    heads: Heads,
    /// The steps of a window, and the columns that are read and predicted.
    window: usize,
    columns: [usize; 2],
    /// All rows, scaled: `[rows, columns]`.
    x: Vec<f32>,
    y: Vec<f32>,
    /// The row at which each window begins.
    begins: Vec<usize>,
}

impl SeriesWindows {
    /// Makes the windows whose targets are all in the rows `targets` of `series`.
    pub(super) fn new(spec: &SeriesSpec, heads: Heads, series: &Series, targets: Range<usize>) -> Result<Self> {
        let targets = targets.start..targets.end.min(series.rows());
        let begins = spec.begins(&heads, &targets).map_err(|e| e.at(series.source()))?;
        let (x, y) = (spec.seen_inputs(series)?, spec.seen_targets(series)?);
        let columns = [spec.inputs().count(), spec.targets().count()];
        Ok(Self { heads, window: spec.window(), columns, x, y, begins })
    }
}

impl Examples for SeriesWindows {
    fn rows(&self) -> usize {
        self.begins.len()
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let Self { heads, window, columns: [inputs, targets], x, y, begins } = self;
        let begins: Vec<usize> = rows.iter().map(|row| begins[*row]).collect();
        let (name, x) = taken(heads, (x, *inputs), &begins, *window)?;
        let y = cut((y, *targets), begins.iter().map(|begin| begin + heads.lead), heads.steps)?;
        let (y, axes) = match heads.has_steps {
            true => (y, &[Dim::Batch, Dim::Time, Dim::Features][..]),
            false => {
                let shape = [y.shape()[0], heads.steps * targets];
                (reshaped(y, &shape)?, &[Dim::Batch, Dim::Features][..])
            }
        };
        let (targets, y) = heads.ends.target(y, axes);
        Ok(NamedTensors::from([(name, x.into()), (targets, y.into())]))
    }
}

/// Returns a model's input for the windows that begin at these rows of a series `[rows, width]`.
pub(super) fn taken(
    heads: &Heads,
    series: (&[f32], usize),
    begins: &[usize],
    window: usize,
) -> Result<(String, ArrayD<f32>)> {
    let windows = cut(series, begins.iter().copied(), window)?;
    Ok(heads.ends.taken(windows, &[Dim::Batch, Dim::Time, Dim::Features]))
}

/// Cuts windows of `steps` rows from `numbers`, which are `[rows, width]`, at these places: `[N, steps, width]`.
fn cut((numbers, width): (&[f32], usize), places: impl Iterator<Item = usize>, steps: usize) -> Result<ArrayD<f32>> {
    let places: Vec<usize> = places.collect();
    let shape = [places.len(), steps, width];
    if shape.iter().fold(1_usize, |all, length| all.saturating_mul(*length)) > MOST_NUMBERS {
        let text = format!(
            "{} windows of {steps} steps of {width} columns: expected at most {MOST_NUMBERS} numbers in all",
            places.len()
        );
        return Err(Error::new(ErrorKind::Limits, text).hint("try windows farther apart (--stride)"));
    }
    let mut windows: Vec<f32> = zeros("windows", &shape, "try windows farther apart (--stride)")?;
    for (to, place) in windows.chunks_exact_mut(steps * width).zip(places) {
        to.copy_from_slice(&numbers[place * width..(place + steps) * width]);
    }
    reshaped(Array1::from(windows).into_dyn(), &shape)
}

/// Returns the same numbers in another shape.
fn reshaped(array: ArrayD<f32>, shape: &[usize]) -> Result<ArrayD<f32>> {
    array.into_shape_with_order(IxDyn(shape)).map_err(|e| Error::internal(format_args!("windows: {e}")))
}
