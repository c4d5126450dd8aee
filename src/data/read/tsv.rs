//! `.tsv`: a label, a tab and a text a line, or columns below a line of their names. Nothing is quoted.

use super::columns::places;
use super::{Ends, ReadOptions, again, wrong};
use crate::data::labelled::{Example, Place};
use crate::error::Result;

/// How the fields of a line are told apart.
#[derive(Clone, Copy)]
enum Columns {
    /// A label and a text.
    Bare,
    /// So many, with the places of the label and of the text.
    Named(usize, [usize; 2]),
}

/// The rows of the file `source`.
///
/// # Errors
///
/// Kind `Io`, with the line.
pub(super) fn read(source: &Place, options: &ReadOptions) -> Result<Vec<Example>> {
    let mut rows = Vec::new();
    let mut columns = None;
    for piece in options.pieces(source, Ends::Lines)? {
        for line in piece?.lines() {
            let place = source.line(line.number);
            if columns.is_none() {
                let found = Columns::of(line.text, options).map_err(|e| e.at(&place))?;
                columns = Some((found, again(move |line| Ok(found.fields(line)?[1].to_owned()))));
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
    /// Those of a file whose first line is `names`, or is a row.
    fn of(names: &str, options: &ReadOptions) -> Result<Self> {
        let names: Vec<&str> = names.split('\t').collect();
        match places(&names, options) {
            Ok(columns) => Ok(Self::Named(names.len(), columns)),
            Err(error) if options.names_columns() => Err(error),
            Err(_) => Ok(Self::Bare),
        }
    }

    /// The label and the text of a line.
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
