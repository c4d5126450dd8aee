//! Examples whose tensors stay in their file: the rows of a batch are read when it takes them.
//!
//! Knows along which axis the model takes rows; `stored` knows the file.

use std::collections::BTreeMap;
use std::ops::Range;

use gatewave::inspect::lengths_of_mask;
use gatewave::interface::{Dim, InputValue};
use gatewave::train::{Dataset, Examples, Objective};
use gatewave::{Error, ErrorKind, Model, NamedTensors, Result, Values};
use ndarray::{ArrayD, Axis, IxDyn};

use super::stored::{Stored, TensorFile};

/// The most numbers of a tensor with one number for each row that is kept in memory: lengths and classes.
const MOST_KEPT: usize = 1 << 22;

/// The tensors of a file as examples of a model.
#[derive(Debug)]
pub(crate) struct StoredTensors {
    file: TensorFile,
    rows: usize,
    /// The axis of the rows of each tensor. A tensor that the model does not know has none.
    axes: BTreeMap<String, usize>,
    /// Small tensors, and the lengths.
    kept: BTreeMap<String, Values>,
    /// How many steps each row has, if a tensor says it.
    lengths: Option<Vec<usize>>,
}

/// The most numbers of a mask that are in memory at once.
const MOST_OF_A_MASK: usize = 1 << 20;

impl StoredTensors {
    /// Makes the examples of `file`; `objective` says how outputs are compared.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Shape` if a tensor has no axis of rows,
    /// or not as many rows as another. Also returns the errors of reading.
    pub(crate) fn of(file: TensorFile, model: &Model, objective: &Objective) -> Result<Self> {
        let inputs = &model.all_ports().inputs;
        let is_data = |value: &InputValue| !matches!(value, InputValue::Weights { .. });
        let mut axes = BTreeMap::new();
        let mut first: Option<(&str, &[usize], usize)> = None;
        for (name, stored) in &file.tensors {
            let shape = &stored.shape[..];
            let axis = match Dataset::row_axis(model, objective, name, shape.len()) {
                Some(axis) if axis < shape.len() => axis,
                Some(axis) => return Err(wrong(format!("{name}: expected rows along axis {axis}, got {shape:?}"))),
                None if inputs.iter().any(|port| port.name == *name && is_data(&port.value)) => {
                    let text = "expected an input of the model with an axis of rows, got one without";
                    return Err(wrong(format!("{name}: {text}")));
                }
                // Its name is refused with the first example.
                None => continue,
            };
            match first {
                Some((other, wanted, rows)) if rows != shape[axis] => {
                    let got = shape[axis];
                    return Err(wrong(format!(
                        "{other} and {name}: expected as many rows of both, got {rows} of {wanted:?} and {got} of {shape:?}"
                    )));
                }
                Some(_) => {}
                None => first = Some((name, shape, shape[axis])),
            }
            axes.insert(name.clone(), axis);
        }
        // If there are no rows at all, the first example reports what is missing.
        let rows = first.map_or(1, |(_, _, rows)| rows);
        let lengths = inputs.iter().find(|port| matches!(port.value, InputValue::Lengths(_)));
        let lengths = lengths.map(|port| port.name.clone()).filter(|name| axes.contains_key(name));
        let mut kept = BTreeMap::new();
        for (name, stored) in &file.tensors {
            let Some(&axis) = axes.get(name) else { continue };
            if lengths.as_ref() == Some(name) || stored.shape.len() == 1 && rows <= MOST_KEPT {
                kept.insert(name.clone(), file.read(name, stored, axis, std::slice::from_ref(&(0..rows)))?);
            }
        }
        let lengths = match lengths.and_then(|name| kept.get(&name)) {
            // A length below 0 is refused by the batch that takes it.
            Some(Values::I64(all)) => Some(all.iter().map(|n| usize::try_from(*n).unwrap_or_default()).collect()),
            _ => {
                let mask = inputs.iter().find(|port| matches!(port.value, InputValue::Mask(_)));
                let time = mask.and_then(|port| port.axes.iter().position(|dim| *dim == Dim::Time));
                let stored = mask.and_then(|port| Some((port.name.as_str(), file.tensors.get(&port.name)?)));
                match (stored, time) {
                    (Some((name, stored)), Some(time)) if axes.contains_key(name) && time < stored.shape.len() => {
                        Some(lengths_by(&file, (name, stored), [axes[name], time])?)
                    }
                    _ => None,
                }
            }
        };
        Ok(Self { file, rows, axes, kept, lengths })
    }
}

/// Returns the steps of each row by a mask in the file, which is read part by part.
fn lengths_by(file: &TensorFile, (name, stored): (&str, &Stored), [rows, time]: [usize; 2]) -> Result<Vec<usize>> {
    let (count, steps) = (stored.shape[rows], stored.shape[time]);
    let at_once = (MOST_OF_A_MASK / steps.max(1)).max(1);
    let mut lengths = Vec::with_capacity(count);
    for first in (0..count).step_by(at_once) {
        let part = file.read(name, stored, rows, std::slice::from_ref(&(first..count.min(first + at_once))))?;
        lengths.extend(lengths_of_mask(&part.to_f32().view(), Axis(rows), Axis(time)));
    }
    Ok(lengths)
}

impl Examples for StoredTensors {
    fn rows(&self) -> usize {
        self.rows
    }

    fn tensors(&self, rows: &[usize]) -> Result<NamedTensors> {
        let runs = runs(rows);
        let one = |(name, stored): (&String, _)| {
            let values = match (self.axes.get(name), self.kept.get(name)) {
                (Some(&axis), Some(kept)) => select(kept, Axis(axis), rows),
                (Some(&axis), None) => self.file.read(name, stored, axis, &runs)?,
                // It is refused by its name, whatever its elements.
                (None, _) => Values::F32(ArrayD::zeros(IxDyn(&[0]))),
            };
            Ok((name.clone(), values))
        };
        self.file.tensors.iter().map(one).collect()
    }

    fn lengths(&self) -> Option<Vec<usize>> {
        self.lengths.clone()
    }
}

/// Returns rows in their order; adjacent ones are joined into one range.
fn runs(rows: &[usize]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &row in rows {
        match runs.last_mut() {
            Some(run) if run.end == row => run.end += 1,
            _ => runs.push(row..row + 1),
        }
    }
    runs
}

fn select(values: &Values, axis: Axis, rows: &[usize]) -> Values {
    match values {
        Values::I64(array) => Values::I64(array.select(axis, rows)),
        reals => Values::F32(reals.to_f32().select(axis, rows)),
    }
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Shape, text)
}

#[cfg(test)]
mod tests;
