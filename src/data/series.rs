//! A time series: columns of equal length, with a row for each
//! time, in the order of time. Knows no file format and no model.

mod forecast;
mod scale;
mod spec;
mod stored;
mod summary;
mod windows;

use std::path::Path;

use super::labelled::SourceLocation;
use crate::error::{Error, ErrorKind, Result, some_of};
use crate::recipe::rows_before_split;

pub use forecast::{Forecast, TargetError};
pub use scale::Scale;
pub use spec::{SeriesOptions, SeriesSpec};
pub use summary::{ColumnSummary, SeriesSummary};

/// The most columns that a message lists.
const FEW: usize = 10;

/// A time series. [`read`](Self::read) reads one from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    columns: Vec<Column>,
    /// The line of each row, if it came from a file.
    lines: Vec<usize>,
    source: SourceLocation,
}

/// A column of a time series: its numbers, and which cells are none.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    name: String,
    /// The numbers; NaN for a cell that is no number.
    numbers: Vec<f64>,
    /// The first such cell, and its row.
    bad: Option<(usize, String)>,
    /// How many cells hold a finite number, and how many hold a word.
    counts: [usize; 2],
}

impl Column {
    /// Makes a column without cells.
    #[cfg(feature = "csv")]
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.trim().to_owned(), numbers: Vec::new(), bad: None, counts: [0, 0] }
    }

    /// Adds a cell at the end.
    #[cfg(feature = "csv")]
    pub(super) fn push(&mut self, cell: &str) {
        let cell = cell.trim();
        let number = cell.parse::<f64>();
        match number {
            Ok(number) if number.is_finite() => {
                self.counts[0] += 1;
                return self.numbers.push(number);
            }
            Err(_) if !cell.is_empty() => self.counts[1] += 1,
            _ => {}
        }
        self.bad.get_or_insert_with(|| (self.numbers.len(), cell.to_owned()));
        self.numbers.push(f64::NAN);
    }

    /// Returns whether it is a column of numbers, some of which may be missing, and not one of words such as dates.
    fn is_numeric(&self) -> bool {
        let [numbers, words] = self.counts;
        !self.name.is_empty() && numbers > 0 && numbers >= words
    }
}

impl Series {
    /// Makes a series of these columns: the name of each, and its number in every row. Errors call row n "line n".
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if there is no row, the columns differ
    /// in length, or two have one name. A number that is not finite is an error only when its column is used.
    pub fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Vec<f64>)>, source: SourceLocation) -> Result<Self> {
        let column = |(name, numbers): (&str, Vec<f64>)| {
            let bad = numbers.iter().enumerate().find(|(_, number)| !number.is_finite());
            let bad = bad.map(|(row, number)| (row, number.to_string()));
            let counts = [numbers.iter().filter(|number| number.is_finite()).count(), 0];
            Column { name: name.to_owned(), numbers, bad, counts }
        };
        let columns: Vec<Column> = columns.into_iter().map(column).collect();
        let rows = columns.first().map_or(0, |column| column.numbers.len());
        if let Some(other) = columns.iter().find(|column| column.numbers.len() != rows) {
            let text = format!("column {:?}: expected {rows} rows, got {}", other.name, other.numbers.len());
            return Err(wrong(text).at(source));
        }
        Self::of_columns(columns, (1..=rows).collect(), source)
    }

    /// Makes a series of columns of equal length.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io)
    /// if there is no row, or two columns have one name.
    pub(super) fn of_columns(columns: Vec<Column>, lines: Vec<usize>, source: SourceLocation) -> Result<Self> {
        if lines.is_empty() || columns.is_empty() {
            let text = "expected rows of numbers below a line of column names, got none";
            return Err(wrong(text).hint("is this the right file?").at(source));
        }
        let is_twice = |at: usize| columns[..at].iter().any(|column| column.name == columns[at].name);
        if let Some(twice) = (0..columns.len()).find(|at| !columns[*at].name.is_empty() && is_twice(*at)) {
            let text = format!("expected each column's name once, got {:?} twice", columns[twice].name);
            return Err(wrong(text).at(source));
        }
        Ok(Self { columns, lines, source })
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Returns the file that it came from.
    pub fn source(&self) -> &SourceLocation {
        &self.source
    }

    /// Returns the names of the columns of numbers, in their order, without columns that have no name.
    pub fn numeric(&self) -> Vec<&str> {
        self.columns.iter().filter(|column| column.is_numeric()).map(|column| column.name.as_str()).collect()
    }

    /// Returns the names of the other columns, such as one of dates.
    pub fn others(&self) -> Vec<&str> {
        self.columns.iter().filter(|column| !column.is_numeric()).map(|column| column.name.as_str()).collect()
    }

    /// Returns the numbers of a column, `[rows]`, all of them finite.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if there is no such
    /// column. It is the same, with the line, if a cell is missing or holds no finite number.
    pub fn column(&self, name: &str) -> Result<&[f64]> {
        let Some(column) = self.columns.iter().find(|column| column.name == name) else {
            let known = some_of(self.columns.iter().map(|column| format!("{:?}", column.name)), FEW);
            return Err(wrong(format!("expected a column {name:?}, got {known}")).at(&self.source));
        };
        match &column.bad {
            None => Ok(&column.numbers),
            Some((row, cell)) => {
                let got = if cell.is_empty() { "an empty cell".to_owned() } else { format!("{cell:?}") };
                let text = format!("column {name:?}: expected a finite number, got {got}");
                let hint = "fill it in, take the row out, or leave the column out (--columns names those to take)";
                Err(wrong(text).hint(hint).at(self.place(*row)))
            }
        }
    }

    /// Returns where a row is.
    pub(super) fn place(&self, row: usize) -> SourceLocation {
        self.lines.get(row).map_or_else(|| self.source.clone(), |line| self.source.line(*line))
    }

    /// Returns how many rows come before the last `share` of them:
    /// the time at which training ends and validation begins.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if either part would be empty.
    pub fn rows_before(&self, share: f64) -> Result<usize> {
        rows_before_split(self.rows(), share).map_err(|e| e.at(&self.source))
    }
}

/// Returns whether a file of this name can hold a series: one that ends in `.csv`.
pub fn is_series(path: impl AsRef<Path>) -> bool {
    path.as_ref().extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Io, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> SourceLocation {
        SourceLocation::of_file(Path::new("series.csv"))
    }

    #[test]
    fn columns_are_found_by_name_and_told_with_their_line() {
        let series = Series::new([("a", vec![1.0, 2.0]), ("b", vec![3.0, f64::INFINITY])], place()).unwrap();
        assert_eq!((series.rows(), series.numeric()), (2, vec!["a", "b"]));
        assert_eq!(series.column("a").unwrap(), [1.0, 2.0]);
        let error = series.column("b").unwrap_err().to_string();
        assert!(
            error.starts_with("series.csv: line 2: column \"b\": expected a finite number, got \"inf\"; "),
            "{error}"
        );
        let error = series.column("c").unwrap_err().to_string();
        assert_eq!(error, "series.csv: expected a column \"c\", got \"a\", \"b\"");
    }

    #[test]
    fn columns_that_make_no_series_are_refused() {
        let refused = |columns: Vec<(&'static str, Vec<f64>)>| Series::new(columns, place()).unwrap_err().to_string();
        let said = "series.csv: column \"b\": expected 2 rows, got 1";
        assert_eq!(refused(vec![("a", vec![1.0, 2.0]), ("b", vec![1.0])]), said);
        let twice = refused(vec![("a", vec![1.0]), ("a", vec![1.0])]);
        assert_eq!(twice, "series.csv: expected each column's name once, got \"a\" twice");
        for none in [Vec::new(), vec![("a", Vec::new())]] {
            assert!(refused(none).starts_with("series.csv: expected rows of numbers below a line of column names"));
        }
        let series = Series::new([("a", vec![1.0; 10])], place()).unwrap();
        assert_eq!(series.rows_before(0.25).unwrap(), 7);
        assert!(series.rows_before(1.0).unwrap_err().to_string().starts_with("series.csv: validation_split: "));
    }
}
