//! `.csv`: comma-separated values below a line of column names, by RFC 4180.

use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};

use super::bytes::open_quote;
use super::columns::places;
use super::{Ends, Piece, ReadOptions, again, wrong};
use crate::data::labelled::{Example, ReadAgain, SourceLocation};
use crate::error::Result;

/// Reads the rows of the file `source`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io)if the file
/// cannot be read or a row does not fit. It has the line at which the row begins.
pub(super) fn read(source: &SourceLocation, options: &ReadOptions) -> Result<Vec<Example>> {
    let mut rows = Vec::new();
    let mut records = Records::new(source, "a text with a comma stands in double quotes");
    let mut columns: Option<([usize; 2], Arc<ReadAgain>)> = None;
    for piece in options.pieces(source, Ends::Records)? {
        records.each(&piece?, |record, place, bytes| {
            let Some(([label, text], again)) = &columns else {
                let found = places(record, options).map_err(|e| e.at(place))?;
                columns = Some((found, again(source, move |record| cell(record, found[1]))));
                return Ok(());
            };
            let row = Example::new(record[*text], record[*label], place)?;
            rows.push(if options.stream { row.stored(bytes, again) } else { row });
            Ok(())
        })?;
    }
    Ok(rows)
}

/// Returns a cell of a single record.
fn cell(record: &str, place: usize) -> Result<String> {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(record.as_bytes());
    let record = reader.records().next().transpose().map_err(|e| wrong(e.to_string()).because(e))?;
    let cell = record.as_ref().and_then(|record| record.get(place));
    cell.map(str::to_owned).ok_or_else(|| {
        wrong(format!("expected a record of more than {place} cells"))
            .hint("was the file changed after it was first read?")
    })
}

/// The records of a file, which all have the same number of cells.
pub(super) struct Records<'a> {
    source: &'a SourceLocation,
    /// The hint of the error if they do not.
    hint: &'a str,
    /// The number of cells of the first record.
    cells: Option<usize>,
}

impl<'a> Records<'a> {
    pub(super) fn new(source: &'a SourceLocation, hint: &'a str) -> Self {
        Self { source, hint, cells: None }
    }

    /// Calls `each` with the cells of every record of a piece, where the record begins, and its bytes in the file.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io)if a record has
    /// more or fewer cells than the first one, or a quote is not closed. It has the line.
    pub(super) fn each(
        &mut self,
        piece: &Piece,
        mut each: impl FnMut(&[&str], SourceLocation, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let (text, source) = (piece.text.as_str(), self.source);
        // The reader would take the rest of the file for one field.
        if let Some(line) = open_quote(text) {
            let hint = "a double quote inside a quoted text is written twice";
            let text = "expected a closing double quote, got the end of the file";
            return Err(wrong(text).hint(hint).at(source.line(piece.line - 1 + line)));
        }
        // Rows of other lengths are reported here, with a hint.
        let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut records = reader.records();
        while let Some(record) = records.next() {
            let record = record.map_err(|e| wrong(e.to_string()).because(e).at(source))?;
            let place = source.line(piece.line - 1 + line(text, &record));
            let wanted = *self.cells.get_or_insert(record.len());
            if record.len() != wanted {
                let text = format!("expected {wanted} columns, as the first line has, got {}", record.len());
                return Err(wrong(text).hint(self.hint).at(place));
            }
            let [from, to] = [record.position(), Some(records.reader().position())]
                .map(|position| piece.begin + position.map_or(0, |position| position.byte()));
            each(&record.iter().collect::<Vec<_>>(), place, from..to)?;
        }
        Ok(())
    }
}

/// Returns the line at which a record of `text` begins, counted from
/// 1. The reader's position is before any empty lines in front of it.
fn line(text: &str, record: &StringRecord) -> usize {
    let Some(position) = record.position() else { return 1 };
    let [from, line] = [position.byte(), position.line()].map(|place| usize::try_from(place).unwrap_or(usize::MAX));
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    line.saturating_add(empty.filter(|byte| **byte == b'\n').count())
}
