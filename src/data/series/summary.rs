//! The contents of a series before anything is trained on it: rows, columns, and how many windows there would be.

use std::fmt;

use serde_json::json;

use super::Series;
use super::scale::Moments;
use super::spec::SeriesOptions;
use crate::error::Result;
use crate::table::{CONDENSED, Table};

/// Statistics of a column, in its own unit.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ColumnSummary {
    /// Its name.
    pub column: String,
    /// Its smallest number.
    pub min: f64,
    /// Its mean.
    pub mean: f64,
    /// Its largest number.
    pub max: f64,
    /// Its population standard deviation.
    pub std: f64,
}

/// The contents of a series. `Display` prints it as a table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SeriesSummary {
    /// How many rows it has.
    pub rows: usize,
    /// The columns of numbers.
    pub columns: Vec<ColumnSummary>,
    /// The columns that hold no numbers.
    pub others: Vec<String>,
    /// How many windows there are.
    pub windows: usize,
    /// The steps of a window, the steps predicted behind it, and how far apart windows begin.
    pub options: SeriesOptions,
}

impl SeriesSummary {
    /// Summarises `series`: the columns of `options`, or all columns of numbers.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Training`](crate::ErrorKind::Training) if a number of the options is 0;
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if there is no such
    ///   column, or, with the line, if a cell holds no finite number.
    pub fn of(series: &Series, options: &SeriesOptions) -> Result<Self> {
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let names = options.columns.clone().unwrap_or_else(|| own(series.numeric()));
        let column = |name: &String| {
            let Moments { min, max, mean, std } = Moments::of(series.column(name)?);
            Ok(ColumnSummary { column: name.clone(), min, mean, max, std })
        };
        Ok(Self {
            rows: series.rows(),
            columns: names.iter().map(column).collect::<Result<Vec<_>>>()?,
            others: own(series.others()),
            windows: options.windows(series.rows())?,
            options: options.clone(),
        })
    }

    /// Returns all of it as a JSON object, for programs.
    pub fn to_json(&self) -> String {
        let column = |ColumnSummary { column, min, mean, max, std }: &ColumnSummary| json!({"column": column, "min": min, "mean": mean, "max": max, "std": std});
        json!({
            "rows": self.rows,
            "columns": self.columns.iter().map(column).collect::<Vec<_>>(),
            "others": self.others,
            "window": self.options.window,
            "horizon": self.options.horizon,
            "stride": self.options.stride,
            "windows": self.windows,
        })
        .to_string()
    }
}

impl fmt::Display for SeriesSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |ColumnSummary { column, min, mean, max, std }: &ColumnSummary| {
            vec![column.clone(), brief(*min), brief(*mean), brief(*max), brief(*std)]
        };
        let table = Table {
            style: &CONDENSED,
            header: &["column", "min", "mean", "max", "std"],
            rows: self.columns.iter().map(row).collect(),
            right: 1..5,
        };
        let columns = if self.columns.len() == 1 { "column" } else { "columns" };
        writeln!(f, "{} rows, {} {columns} of numbers", self.rows, self.columns.len())?;
        writeln!(f, "{table}")?;
        let others: Vec<String> = self.others.iter().map(|name| format!("{name:?}")).collect();
        if !others.is_empty() {
            writeln!(f, "not numbers: {}", others.join(", "))?;
        }
        let SeriesOptions { window, horizon, stride, .. } = self.options;
        writeln!(f, "{} windows of {window} steps, horizon {horizon}, stride {stride}", self.windows)
    }
}

/// Writes a number in a few characters.
fn brief(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e6).contains(&size) { format!("{number:.4}") } else { format!("{number:.4e}") }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::SourceLocation;

    fn series() -> Series {
        let columns = [("a", vec![1.0, 2.0, 3.0, 2.0, 2.0]), ("b", vec![1e9, 0.0, -1e9, 0.0, 0.0])];
        Series::new(columns, SourceLocation::of_file(Path::new("s.csv"))).unwrap()
    }

    #[test]
    fn numbers_are_those_that_can_be_counted_by_hand() {
        for (window, horizon, stride, windows) in [(2, 1, 1, 3), (2, 1, 2, 2), (4, 1, 1, 1), (4, 2, 1, 0), (9, 9, 1, 0)]
        {
            let options = SeriesOptions::window(window).horizon(horizon).stride(stride);
            assert_eq!(SeriesSummary::of(&series(), &options).unwrap().windows, windows, "{options:?}");
        }
        let summary = SeriesSummary::of(&series(), &SeriesOptions::window(2)).unwrap();
        let wanted = ColumnSummary { column: "a".to_owned(), min: 1.0, mean: 2.0, max: 3.0, std: 0.4_f64.sqrt() };
        assert_eq!(summary.columns[0], wanted);
        let text = summary.to_string();
        assert!(text.starts_with("5 rows, 2 columns of numbers\n"), "{text}");
        assert!(text.contains("0.6325") && text.contains("-1.0000e9"), "{text}");
        assert!(text.ends_with("\n3 windows of 2 steps, horizon 1, stride 1\n"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&summary.to_json()).unwrap();
        assert_eq!((&json["windows"], &json["columns"][1]["max"]), (&json!(3), &json!(1e9)));
        let error = SeriesSummary::of(&series(), &SeriesOptions::window(0)).unwrap_err().to_string();
        assert_eq!(error, "window: expected 1 or more, got 0");
        assert!(SeriesSummary::of(&series(), &SeriesOptions::window(2).columns(["c"])).is_err());
    }
}
