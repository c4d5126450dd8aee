//! `.tsv`: a label, a tab and a text a line, or columns below a line of their names. Nothing is quoted.

use super::columns::places;
use super::{Ends, ReadOptions, again, wrong};
use crate::data::labelled::{Example, SourceLocation};
use crate::error::Result;

/// How the fields of a line are told apart.
#[derive(Clone, Copy)]
enum Columns {
    /// A label and a text.
    Bare,
    /// The number of columns, with the indices of the label and of the text.
    Named(usize, [usize; 2]),
}

/// Reads the rows of the file `source`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io),
/// with the line, if the file cannot be read or a line does not fit.
pub(super) fn read(source: &SourceLocation, options: &ReadOptions) -> Result<Vec<Example>> {
    let mut rows = Vec::new();
    let mut columns = None;
    for piece in options.pieces(source, Ends::Lines)? {
        for line in piece?.lines() {
            let place = source.line(line.number);
            if columns.is_none() {
                let found = Columns::of(line.text, options).map_err(|e| e.at(&place))?;
                columns = Some((found, again(source, move |line| Ok(found.fields(line)?[1].to_owned()))));
                if matches!(found, Columns::Named(..)) {
                    continue;
                }
            }
            let Some((columns, again)) = columns.as_ref().filter(|_| !line.text.is_empty()) else { continue };
            let [label, text] = columns.fields(line.text).map_err(|e| e.at(&place))?;
            let row = Example::new(text, label, place)?;
            rows.push(if options.stream { row.stored(line.bytes, again) } else { row });
        }
    }
    Ok(rows)
}

impl Columns {
    /// Returns the columns of a file whose first line, `names`, holds their names or is a row.
    fn of(names: &str, options: &ReadOptions) -> Result<Self> {
        let names: Vec<&str> = names.split('\t').collect();
        match places(&names, options) {
            Ok(columns) => Ok(Self::Named(names.len(), columns)),
            Err(error) if options.names_columns() => Err(error),
            Err(_) => Ok(Self::Bare),
        }
    }

    /// Returns the label and the text of a line.
    fn fields(self, line: &str) -> Result<[&str; 2]> {
        let fields: Vec<&str> = line.split('\t').collect();
        match (self, &fields[..]) {
            (Self::Bare, &[label, text]) => Ok([label, text]),
            (Self::Bare, fields) => {
                let text = format!("expected a label, a tab and a text, got {} columns", fields.len());
                let hint = "where the first line has names of columns, --text-column and --label-column say which";
                Err(wrong(text).hint(hint))
            }
            (Self::Named(wanted, _), fields) if fields.len() != wanted => {
                Err(wrong(format!("expected {wanted} columns, as the first line has, got {}", fields.len())))
            }
            (Self::Named(_, [label, text]), fields) => Ok([fields[label], fields[text]]),
        }
    }
}
