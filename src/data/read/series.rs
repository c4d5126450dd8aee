//! `.csv` of numbers → [`Series`].

use std::path::Path;

#[cfg(feature = "csv")]
use super::{bytes::Piece, columns::shortened, csv::Records, text};
use super::{unreadable, wrong};
use crate::data::labelled::SourceLocation;
#[cfg(feature = "csv")]
use crate::data::series::Column;
use crate::data::series::{Series, is_series};
use crate::error::Result;

impl Series {
    /// Reads a series from a file of comma-separated values (`.csv`) in UTF-8: a line of
    /// column names, then a row for each time, in the order of time. Needs the feature `csv`.
    ///
    /// A column is one of numbers if at least as many of its cells hold a finite number as hold a word. Errors in its
    /// cells are reported when the column is used. So a column of dates, or of gaps, does no harm if it is not used.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io), with file and line:
    ///
    /// - if the file cannot be read, is no regular file, has another ending, is larger than `max_bytes` or is no UTF-8;
    /// - if it has no line of names or no rows, or rows with more or fewer cells;
    /// - if two columns have one name.
    pub fn read(path: impl AsRef<Path>, max_bytes: u64) -> Result<Self> {
        let path = path.as_ref();
        if !is_series(path) {
            std::fs::metadata(path).map_err(|e| unreadable(&e).at(path.display()))?;
            return Err(wrong("expected a time series: a name that ends in .csv").at(path.display()));
        }
        read(path, max_bytes)
    }
}

#[cfg(feature = "csv")]
fn read(path: &Path, max_bytes: u64) -> Result<Series> {
    let source = SourceLocation::of_file(path);
    let (mut columns, mut lines) = (Vec::<Column>::new(), Vec::new());
    let hint = "numbers have a point before their fractions, and columns are set apart by commas";
    let whole = Piece::whole(text(path, max_bytes)?);
    Records::new(&source, hint).each(&whole, |record, place, _| {
        if !columns.is_empty() {
            columns.iter_mut().zip(record).for_each(|(column, cell)| column.push(cell));
            lines.extend(place.line_number());
            return Ok(());
        }
        if let [one] = record
            && one.contains(';')
        {
            let text = format!("expected columns set apart by commas, got {}", shortened(one));
            return Err(wrong(text).hint("columns are set apart by commas here, and not by semicolons").at(place));
        }
        if record.iter().all(|name| name.trim().parse::<f64>().is_ok()) {
            let text = format!("expected a line of column names, got the number {}", shortened(record[0]));
            return Err(wrong(text).hint("write a name for each column above the numbers").at(place));
        }
        columns = record.iter().map(|name| Column::new(name)).collect();
        Ok(())
    })?;
    Series::of_columns(columns, lines, source)
}

#[cfg(not(feature = "csv"))]
fn read(path: &Path, _: u64) -> Result<Series> {
    Err(crate::error::not_built("csv").at(SourceLocation::of_file(path)))
}

#[cfg(test)]
#[cfg(feature = "csv")]
mod tests {
    use super::*;
    use crate::data::scratch::Scratch;

    fn read(test: &str, text: &str) -> Result<Series> {
        let scratch = Scratch::new(test);
        Series::read(scratch.write("s.csv", text), 1000)
    }

    fn refused(test: &str, text: &str) -> String {
        let error = read(test, text).unwrap_err();
        let text = error.to_string();
        text.split_once("s.csv: ").map_or(text.clone(), |(_, rest)| rest.to_owned())
    }

    #[test]
    fn columns_of_numbers_are_told_from_others() {
        let text = ",date,a, b ,gaps\n0,2020-01-01,1,-2.5e1,\n\n1,2020-01-02,2, 3,7\n2,2020-01-03,.5,+4,8\n";
        let series = read("numbers", text).unwrap();
        assert_eq!((series.rows(), series.numeric(), series.others()), (3, vec!["a", "b", "gaps"], vec!["", "date"]));
        assert_eq!(series.column("a").unwrap(), [1.0, 2.0, 0.5]);
        assert_eq!(series.column("b").unwrap(), [-25.0, 3.0, 4.0]);
        let error = series.column("gaps").unwrap_err().to_string();
        assert!(
            error.contains("s.csv: line 2: column \"gaps\": expected a finite number, got an empty cell; "),
            "{error}"
        );
        let error = series.column("date").unwrap_err().to_string();
        assert!(error.contains("line 2: column \"date\": expected a finite number, got \"2020-01-01\"; "), "{error}");
        let odd = read("odd", "a\n1\n2\nnan\n").unwrap();
        let error = odd.column("a").unwrap_err().to_string();
        assert!(error.contains("s.csv: line 4: column \"a\": expected a finite number, got \"nan\""), "{error}");
    }

    #[test]
    fn what_is_no_series_is_refused_with_its_line() {
        for (test, text, said) in [
            ("semicolons", "a;b\n1;2\n", "line 1: expected columns set apart by commas, got \"a;b\"; "),
            ("no-names", "1,2\n3,4\n", "line 1: expected a line of column names, got the number \"1\"; "),
            ("no-rows", "a,b\n", "expected rows of numbers below a line of column names, got none"),
            ("empty", "", "expected rows of numbers below a line of column names, got none"),
            ("long", "a,b\n1,2\n1,2,3\n", "line 3: expected 2 columns, as the first line has, got 3; numbers have"),
            ("twice", "a,a\n1,2\n", "expected each column's name once, got \"a\" twice"),
            ("open", "a,b\n1,\"2\n", "line 2: expected a closing double quote, got the end of the file"),
        ] {
            let error = refused(test, text);
            assert!(error.starts_with(said), "{test}: {error}");
        }
        let long = refused("bytes", &format!("a\n{}", "1\n".repeat(600)));
        assert!(long.starts_with("expected at most 1000 bytes, got more"), "{long}");
        let scratch = Scratch::new("ending");
        let error = Series::read(scratch.write("s.txt", "a\n1\n"), 1000).unwrap_err().to_string();
        assert!(error.ends_with("expected a time series: a name that ends in .csv"), "{error}");
        assert!(Series::read(Path::new("none/s.csv"), 1000).unwrap_err().to_string().contains("cannot be read"));
    }
}
