//! The labels of a training in their order; each is a class.

use std::collections::{BTreeMap, HashMap};

use super::labelled::Labelled;
use crate::error::{Error, ErrorKind, Result, some_of};
use crate::recipe::balanced;

/// The most labels that a message lists.
const FEW: usize = 8;

/// Labels in order: the index of a label is its class. Whole
/// numbers are ordered by value, other labels by their characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    labels: Vec<String>,
}

impl Classes {
    /// Finds the labels of some rows.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if there is only one.
    pub fn of(rows: &Labelled) -> Result<Self> {
        let (counts, place) = (counts(rows), rows.source());
        if let [(first, _)] = counts[..] {
            let text = format!("expected two labels or more, got {first:?} alone");
            let hint = "add rows of another label; of a split, train on rows that are not sorted by label";
            return Err(Error::new(ErrorKind::Training, text).hint(hint).at(place));
        }
        Ok(Self { labels: counts.into_iter().map(|(label, _)| label.to_owned()).collect() })
    }

    /// Takes these labels, in this order.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training)
    /// if there are fewer than two, or one is given twice.
    pub fn new(labels: Vec<String>) -> Result<Self> {
        let mut sorted: Vec<&String> = labels.iter().collect();
        sorted.sort();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::new(ErrorKind::Training, format!("expected each label once, got {:?} twice", twice[0])));
        }
        match labels.len() {
            0 | 1 => Err(Error::new(ErrorKind::Training, format!("expected two labels or more, got {}", labels.len()))),
            _ => Ok(Self { labels }),
        }
    }

    /// Returns the labels; the index of each is its class.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns the class of each row. Of [tagged text](super::Example::tagged) it
    /// is the class of each token, row by row.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training),
    /// with the line, if a row has another label.
    pub fn targets(&self, rows: &Labelled) -> Result<Vec<i64>> {
        let classes: HashMap<&str, i64> = self.labels.iter().map(String::as_str).zip(0..).collect();
        let mut all = Vec::with_capacity(rows.rows().len());
        for row in rows.rows() {
            for (number, label) in (1..).zip(row.labels()) {
                let Some(class) = classes.get(label) else {
                    let text = format!("expected a label that was trained on ({}), got {label:?}", self.listed());
                    let hint = "take the row out, or train on rows of that label as well";
                    let error = Error::new(ErrorKind::Training, text).hint(hint);
                    let error = if rows.is_tagged() { error.at(format_args!("token {number}")) } else { error };
                    return Err(error.at(&row.place));
                };
                all.push(*class);
            }
        }
        Ok(all)
    }

    /// Returns a weight for each class, so that all classes count alike in `rows`, however many rows they have.
    /// It is `rows / (labels · rows of the label)` (scikit-learn's `balanced`), or 1 for a label that no row has.
    /// Of tagged text it is the tokens that count, and not the rows.
    ///
    /// # Errors
    ///
    /// Returns the same errors as [`targets`](Self::targets).
    pub fn balanced(&self, rows: &Labelled) -> Result<Vec<f32>> {
        let mut counts = vec![0; self.labels.len()];
        for class in self.targets(rows)? {
            counts[usize::try_from(class).unwrap_or_default()] += 1;
        }
        Ok(balanced(&counts))
    }

    /// Returns a weight for each class: that of its label in `said`, or 1.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if `said` has another label.
    pub fn weights<'s>(&self, said: impl IntoIterator<Item = (&'s str, f32)>) -> Result<Vec<f32>> {
        let mut weights = vec![1.0; self.labels.len()];
        for (label, weight) in said {
            let Some(class) = self.labels.iter().position(|known| known == label) else {
                let text = format!("expected a label that was trained on ({}), got {label:?}", self.listed());
                return Err(Error::new(ErrorKind::Training, text));
            };
            weights[class] = weight;
        }
        Ok(weights)
    }

    /// Lists the labels in a line, or the first of them.
    pub(super) fn listed(&self) -> String {
        some_of(self.labels.iter(), FEW)
    }
}

/// Returns how many rows each label has, or tokens of tagged text, in the order of the classes.
pub(super) fn counts(rows: &Labelled) -> Vec<(&str, usize)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for label in rows.labels() {
        *counts.entry(label).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    if counts.iter().all(|(label, _)| label.parse::<i64>().is_ok()) {
        // The sort keeps `1` and `01` in their order.
        counts.sort_by_key(|(label, _)| label.parse::<i64>().unwrap_or_default());
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::{Example, SourceLocation};

    fn rows(labels: &[&str]) -> Labelled {
        let file = SourceLocation::of_file(Path::new("rows.tsv"));
        let row = |(at, label): (usize, &&str)| Example::new("text", label, file.line(at + 1)).unwrap();
        Labelled::new(labels.iter().enumerate().map(row).collect(), file.clone()).unwrap()
    }

    #[test]
    fn labels_are_sorted_and_numbers_by_their_size() {
        let labels = |all: &[&str]| Classes::of(&rows(all)).unwrap().labels().to_vec();
        assert_eq!(labels(&["neu", "pos", "neg", "pos"]), ["neg", "neu", "pos"]);
        assert_eq!(labels(&["10", "9", "-1", "10"]), ["-1", "9", "10"]);
        assert_eq!(labels(&["10", "9", "n/a"]), ["10", "9", "n/a"]);
        let words = rows(&["pos", "neg", "pos"]);
        assert_eq!(Classes::of(&words).unwrap().targets(&words).unwrap(), [1, 0, 1]);
    }

    #[test]
    fn one_label_and_an_unknown_one_are_refused_with_their_place() {
        let error = Classes::of(&rows(&["pos", "pos"])).unwrap_err().to_string();
        assert!(error.starts_with("rows.tsv: expected two labels or more, got \"pos\" alone; add rows"), "{error}");
        let classes = Classes::of(&rows(&["pos", "neg"])).unwrap();
        let error = classes.targets(&rows(&["pos", "meh"])).unwrap_err().to_string();
        let said = "rows.tsv: line 2: expected a label that was trained on (neg, pos), got \"meh\"; take the row out";
        assert!(error.starts_with(said), "{error}");
        assert!(Classes::new(vec!["a".into(), "b".into(), "a".into()]).is_err());
        assert!(Classes::new(vec!["a".into()]).is_err());
    }

    #[test]
    fn weights_are_those_of_the_labels() {
        let rows = rows(&["pos", "neg", "pos", "pos"]);
        let classes = Classes::of(&rows).unwrap();
        assert_eq!(classes.balanced(&rows).unwrap(), [2.0, 2.0 / 3.0]);
        let three = Classes::new(["meh", "neg", "pos"].map(str::to_owned).into()).unwrap();
        assert_eq!(three.balanced(&rows).unwrap(), [1.0, 4.0 / 3.0, 4.0 / 3.0 / 3.0]);
        assert_eq!(three.weights([("pos", 0.5), ("meh", 3.0)]).unwrap(), [3.0, 1.0, 0.5]);
        assert_eq!(three.weights([]).unwrap(), [1.0; 3]);
        let error = classes.weights([("meh", 2.0)]).unwrap_err().to_string();
        assert_eq!(error, "expected a label that was trained on (neg, pos), got \"meh\"");
    }

    #[test]
    fn many_labels_are_told_in_a_line() {
        let labels = (0..100).map(|n| format!("label {n}")).collect();
        assert!(Classes::new(labels).unwrap().listed().ends_with("label 7 and 92 more"));
    }
}
