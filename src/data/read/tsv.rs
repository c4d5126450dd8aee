//! `.tsv`: a label, a tab and a text a line, or columns below a line of their names. Nothing is quoted.

use super::columns::places;
use super::{ReadOptions, wrong};
use crate::data::labelled::{Example, Place};
use crate::error::Result;

/// The rows of `text`, which is the file `source`.
///
/// # Errors
///
/// Kind `Io`, with the line.
pub(super) fn read(source: &Place, text: &str, options: &ReadOptions) -> Result<Vec<Example>> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (source.line(index + 1), line)).peekable();
    let Some((first, names)) = lines.peek() else { return Ok(Vec::new()) };
    let names: Vec<&str> = names.split('\t').collect();
    let columns = match places(&names, options) {
        Ok(columns) => Some(columns),
        Err(error) if options.names_columns() => return Err(error.at(first)),
        Err(_) => None,
    };
    if columns.is_some() {
        lines.next();
    }
    let row = |(place, line): (Place, &str)| {
        let fields: Vec<&str> = line.split('\t').collect();
        match (columns, &fields[..]) {
            (None, [label, text]) => Example::new(*text, label, place),
            (None, fields) => {
                let text = format!("expected a label, a tab and a text, got {} columns", fields.len());
                let hint = "where the first line has names of columns, --text-column and --label-column say which";
                Err(wrong(text).hint(hint).at(place))
            }
            (Some(_), fields) if fields.len() != names.len() => {
                let (wanted, got) = (names.len(), fields.len());
                Err(wrong(format!("expected {wanted} columns, as the first line has, got {got}")).at(place))
            }
            (Some([label, text]), fields) => Example::new(fields[text], fields[label], place),
        }
    };
    lines.filter(|(_, line)| !line.is_empty()).map(row).collect()
}
