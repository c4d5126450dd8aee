//! `.csv`: comma-separated values below a line of column names, as RFC 4180 has them.

use csv::{ReaderBuilder, StringRecord};

use super::columns::places;
use super::{ReadOptions, wrong};
use crate::data::labelled::{Example, Place};
use crate::error::Result;

/// The rows of `text`, which is the file `source`.
///
/// # Errors
///
/// Kind `Io`, with the line at which a row begins.
pub(super) fn read(source: &Place, text: &str, options: &ReadOptions) -> Result<Vec<Example>> {
    let mut header: Option<[usize; 2]> = None;
    let mut rows = Vec::new();
    records(source, text, "a text with a comma stands in double quotes", |record, place| {
        match header {
            None => header = Some(places(record, options).map_err(|e| e.at(place))?),
            Some([label, text]) => rows.push(Example::new(record[text], record[label], place)?),
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Calls `each` with the cells of every record of `text`, the names of the columns first, and where it begins. All of them have
/// as many cells.
///
/// # Errors
///
/// Kind `Io`, with the line; with `hint` where a record has more or fewer cells than the first one.
pub(super) fn records(
    source: &Place,
    text: &str,
    hint: &str,
    mut each: impl FnMut(&[&str], Place) -> Result<()>,
) -> Result<()> {
    // The reader would take the rest of the file for one field.
    if let Some(line) = open_quote(text) {
        let hint = "a double quote inside a quoted text is written twice";
        return Err(wrong("expected a closing double quote, got the end of the file").hint(hint).at(source.line(line)));
    }
    // Rows of other lengths are told here, by what to do.
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut wanted: Option<usize> = None;
    for record in reader.records() {
        let record = record.map_err(|e| wrong(e.to_string()).because(e).at(source))?;
        let place = source.line(line(text, &record));
        let wanted = *wanted.get_or_insert(record.len());
        if record.len() != wanted {
            let text = format!("expected {wanted} columns, as the first line has, got {}", record.len());
            return Err(wrong(text).hint(hint).at(place));
        }
        each(&record.iter().collect::<Vec<_>>(), place)?;
    }
    Ok(())
}

/// The line at which a record of `text` begins, counted from 1. The reader's place is before the empty lines in front of it.
fn line(text: &str, record: &StringRecord) -> usize {
    let Some(position) = record.position() else { return 1 };
    let [from, line] = [position.byte(), position.line()].map(|place| usize::try_from(place).unwrap_or(usize::MAX));
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    line.saturating_add(empty.filter(|byte| **byte == b'\n').count())
}

/// The line of a quote that opens a field and is never closed.
fn open_quote(text: &str) -> Option<usize> {
    let (mut line, mut opened, mut begins) = (1, None, true);
    let mut bytes = text.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if opened.is_some() => opened = opened.filter(|_| bytes.next_if_eq(&b'"').is_some()),
            b'"' if begins => opened = Some(line),
            _ => {}
        }
        begins = opened.is_none() && matches!(byte, b',' | b'\n' | b'\r');
        line += usize::from(byte == b'\n');
    }
    opened
}
