//! The contents of tensors before anything is trained on them: shapes and
//! ranges, classes and their balance, and how long rows are. Knows no model.

use std::collections::BTreeMap;
use std::fmt;

use ndarray::Axis;
use serde_json::json;

use super::summary::{ClassCount, classes_json, histogram_json, write_classes, write_lengths};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::IGNORED;
use crate::named::{NamedTensors, Values};

/// The most classes of targets: more numbers are no classes.
const CLASSES: usize = 1000;

/// A tensor in numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorSummary {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether its elements are integers.
    pub is_whole: bool,
    /// The smallest and the largest of its finite elements; none if it has none.
    pub range: Option<[f64; 2]>,
    /// The mean of its finite elements; 0 if it has none.
    pub mean: f64,
    /// How many elements are NaN or infinite.
    pub not_finite: usize,
}

/// The contents of tensors to train on: an input, targets `y`, and perhaps lengths or a mask, with
/// the rows along their first axis. `Display` prints it in 100 columns.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorsSummary {
    /// The number of rows; none if the first axes of the tensors differ.
    pub rows: Option<usize>,
    /// The tensors, by name.
    pub tensors: Vec<TensorSummary>,
    /// The classes of each tensor of targets (`y`, `y_OUTPUT`) that holds some, by name: integers, or
    /// floats of 0 and 1. Targets of −100 do not count.
    pub classes: Vec<(String, Vec<ClassCount>)>,
    /// How many steps each row has by `lengths` or `mask`, the shortest first; empty if there is neither.
    pub lengths: Vec<usize>,
}

impl TensorsSummary {
    /// Summarises `tensors`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Shape`](crate::ErrorKind::Shape) if there is none.
    pub fn of(tensors: &NamedTensors) -> Result<Self> {
        if tensors.is_empty() {
            return Err(Error::new(ErrorKind::Shape, "expected tensors to train on, got none"));
        }
        let mut firsts = tensors.values().map(|values| values.shape().first().copied());
        let rows = firsts.next().flatten().filter(|rows| firsts.all(|other| other == Some(*rows)));
        let are_targets = |name: &str| name == "y" || name.starts_with("y_");
        let of_targets = tensors.iter().filter(|(name, _)| are_targets(name));
        let mut lengths = lengths(tensors);
        lengths.sort_unstable();
        Ok(Self {
            rows,
            tensors: tensors.iter().map(|(name, values)| summary(name, values)).collect(),
            classes: of_targets.filter_map(|(name, values)| Some((name.clone(), classes(values)?))).collect(),
            lengths,
        })
    }

    /// Returns all of it as a JSON object, for programs.
    pub fn to_json(&self) -> String {
        let tensors = self.tensors.iter().map(|tensor| {
            json!({
                "name": tensor.name,
                "shape": tensor.shape,
                "type": kind(tensor.is_whole),
                "range": tensor.range,
                "mean": tensor.mean,
                "not_finite": tensor.not_finite,
            })
        });
        let classes =
            self.classes.iter().map(|(name, classes)| json!({"name": name, "classes": classes_json(classes)}));
        json!({
            "rows": self.rows,
            "tensors": tensors.collect::<Vec<_>>(),
            "targets": classes.collect::<Vec<_>>(),
            "histogram": histogram_json(&self.lengths),
        })
        .to_string()
    }
}

impl fmt::Display for TensorsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            Some(rows) => writeln!(f, "{rows} rows")?,
            None => writeln!(f, "{} tensors, not of as many rows each", self.tensors.len())?,
        }
        for TensorSummary { name, shape, is_whole, range, mean, not_finite } in &self.tensors {
            let (name, shape) = (name.chars().take(24).collect::<String>(), format!("{shape:?}"));
            write!(f, "  {name:24} {shape:20} {}", kind(*is_whole))?;
            match range {
                Some([least, most]) if *is_whole => write!(f, "  {least} to {most}")?,
                Some([least, most]) => write!(f, "  {least:.4} to {most:.4}, mean {mean:.4}")?,
                None => {}
            }
            match not_finite {
                0 => writeln!(f)?,
                count => writeln!(f, ", {count} not finite")?,
            }
        }
        for (name, classes) in &self.classes {
            writeln!(f, "\n{name}: {} classes", classes.len())?;
            write_classes(f, classes)?;
        }
        if self.lengths.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nsteps a row")?;
        write_lengths(f, &self.lengths)
    }
}

fn kind(is_whole: bool) -> &'static str {
    if is_whole { "integers" } else { "floats" }
}

#[expect(clippy::cast_precision_loss, reason = "counts of what fits memory, and integers in a few digits")]
fn summary(name: &str, values: &Values) -> TensorSummary {
    let (mut range, mut sum, mut count, mut all): (Option<[f64; 2]>, f64, usize, usize) = (None, 0.0, 0, 0);
    let mut add = |number: f64| {
        all += 1;
        if !number.is_finite() {
            return;
        }
        (sum, count) = (sum + number, count + 1);
        range = Some(range.map_or([number; 2], |[least, most]| [least.min(number), most.max(number)]));
    };
    let is_whole = match values {
        Values::I64(array) => {
            array.iter().for_each(|number| add(*number as f64));
            true
        }
        Values::F32(array) => {
            array.iter().for_each(|number| add(f64::from(*number)));
            false
        }
    };
    let mean = if count == 0 { 0.0 } else { sum / count as f64 };
    TensorSummary {
        name: name.to_owned(),
        shape: values.shape().to_vec(),
        is_whole,
        range,
        mean,
        not_finite: all - count,
    }
}

/// Returns how often each class occurs; none if the targets are no classes.
fn classes(values: &Values) -> Option<Vec<ClassCount>> {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    let mut add = |class: i64| {
        *counts.entry(class).or_default() += 1;
        counts.len() <= CLASSES
    };
    let are_classes = match values {
        Values::I64(array) => array.iter().filter(|class| **class != IGNORED).all(|class| add(*class)),
        Values::F32(array) => array.iter().all(|number| match number {
            0.0 => add(0),
            1.0 => add(1),
            _ => false,
        }),
    };
    let count = |(class, rows): (i64, usize)| ClassCount { label: class.to_string(), rows };
    (are_classes && !counts.is_empty()).then(|| counts.into_iter().map(count).collect())
}

/// Returns how many steps each row has; nothing if no tensor says it.
fn lengths(tensors: &NamedTensors) -> Vec<usize> {
    if let Some(Values::I64(lengths)) = tensors.get("lengths") {
        return lengths.iter().map(|length| usize::try_from(*length).unwrap_or_default()).collect();
    }
    match tensors.get("mask") {
        Some(mask) if mask.shape().len() == 2 => {
            mask.to_f32().axis_iter(Axis(0)).map(|row| row.iter().filter(|live| **live != 0.0).count()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Array3, arr1, arr2};

    use super::*;

    fn summarized(tensors: impl IntoIterator<Item = (&'static str, Values)>) -> TensorsSummary {
        TensorsSummary::of(&tensors.into_iter().map(|(name, values)| (name.to_owned(), values)).collect()).unwrap()
    }

    #[test]
    fn numbers_are_those_that_can_be_counted_by_hand() {
        let x =
            Array3::from_shape_fn((4, 3, 1), |(b, t, _)| if (b, t) == (3, 2) { f32::NAN } else { (b * 3 + t) as f32 });
        let summary = summarized([
            ("x", x.into()),
            ("lengths", arr1(&[3_i64, 1, 2, 3]).into()),
            ("y", arr1(&[2_i64, 0, 2, -100]).into()),
            ("y_rest", arr2(&[[0.0_f32], [1.0], [1.0], [1.0]]).into()),
        ]);
        assert_eq!((summary.rows, &summary.lengths[..]), (Some(4), &[1, 2, 3, 3][..]));
        let x = &summary.tensors[1];
        assert_eq!((x.name.as_str(), x.range, x.mean, x.not_finite), ("x", Some([0.0, 10.0]), 5.0, 1));
        let counted: Vec<_> = summary.classes.iter().map(|(name, classes)| (name.as_str(), classes.len())).collect();
        assert_eq!(counted, [("y", 2), ("y_rest", 2)]);
        assert_eq!(summary.classes[0].1[1], ClassCount { label: "2".to_owned(), rows: 2 });
        let text = summary.to_string();
        assert!(text.starts_with("4 rows\n  lengths "), "{text}");
        assert!(text.contains("floats  0.0000 to 10.0000, mean 5.0000, 1 not finite\n"), "{text}");
        assert!(
            text.contains("\ny: 2 classes\n  0 ") && text.contains("\nsteps a row\n  shortest 1   25 % 1   "),
            "{text}"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!((&json["rows"], &json["targets"][0]["classes"][1]["rows"]), (&json!(4), &json!(2)));
        assert_eq!(json["tensors"][1]["shape"], json!([4, 3, 1]));
    }

    #[test]
    fn targets_of_numbers_are_no_classes_and_a_mask_gives_lengths() {
        let summary = summarized([
            ("x", Array2::<i64>::zeros((2, 3)).into()),
            ("mask", arr2(&[[1.0_f32, 1.0, 0.0], [0.0, 0.0, 1.0]]).into()),
            ("y", arr2(&[[0.5_f32], [1.0]]).into()),
        ]);
        assert_eq!((summary.classes.len(), &summary.lengths[..]), (0, &[1, 2][..]));
        let other = summarized([("x", Array2::<i64>::zeros((2, 3)).into()), ("y", arr1(&[1_i64]).into())]);
        assert!(other.to_string().starts_with("2 tensors, not of as many rows each\n"), "{other}");
        assert!(TensorsSummary::of(&NamedTensors::new()).is_err());
    }
}
