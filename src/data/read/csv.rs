//! `.csv`: comma-separated values below a line of column names, as RFC 4180 has them.

use std::ops::Range;
use std::sync::Arc;

use csv::{ReaderBuilder, StringRecord};

use super::bytes::open_quote;
use super::columns::places;
use super::{Ends, Piece, ReadOptions, again, wrong};
use crate::data::labelled::{Example, Place, ReadAgain};
use crate::error::Result;

/// The rows of the file `source`.
///
/// # Errors
///
/// Kind `Io`, with the line at which a row begins.
pub(super) fn read(source: &Place, options: &ReadOptions) -> Result<Vec<Example>> {
    let mut rows = Vec::new();
    let mut records = Records::new(source, "a text with a comma stands in double quotes");
    let mut columns: Option<([usize; 2], Arc<ReadAgain>)> = None;
    for piece in options.pieces(source, Ends::Records)? {
        records.each(&piece?, |record, place, bytes| {
            let Some(([label, text], again)) = &columns else {
                let found = places(record, options).map_err(|e| e.at(place))?;
                columns = Some((found, again(move |record| cell(record, found[1]))));
                return Ok(());
            };
            let row = Example::new(record[*text], record[*label], place)?;
            rows.push(if options.stream { row.stored(bytes, again) } else { row });
            Ok(())
        })?;
    }
    Ok(rows)
}

/// A cell of a record that stands by itself.
fn cell(record: &str, place: usize) -> Result<String> {
    let mut reader = ReaderBuilder::new().has_headers(false).from_reader(record.as_bytes());
    let record = reader.records().next().transpose().map_err(|e| wrong(e.to_string()).because(e))?;
    let cell = record.as_ref().and_then(|record| record.get(place));
    cell.map(str::to_owned).ok_or_else(|| {
        wrong(format!("expected a record of more than {place} cells"))
            .hint("was the file changed after it was first read?")
    })
}

/// The records of a file, all of which have as many cells.
pub(super) struct Records<'a> {
    source: &'a Place,
    /// What to do where they have not.
    hint: &'a str,
    /// How many the first one has.
    cells: Option<usize>,
}

impl<'a> Records<'a> {
    pub(super) fn new(source: &'a Place, hint: &'a str) -> Self {
        Self { source, hint, cells: None }
    }

    /// Calls `each` with the cells of every record of a piece, where it begins, and its bytes in the file.
    ///
    /// # Errors
    ///
    /// Kind `Io`, with the line, where a record has more or fewer cells than the first one, or a quote is not closed.
    pub(super) fn each(
        &mut self,
        piece: &Piece,
        mut each: impl FnMut(&[&str], Place, Range<u64>) -> Result<()>,
    ) -> Result<()> {
        let (text, source) = (piece.text.as_str(), self.source);
        // The reader would take the rest of the file for one field.
        if let Some(line) = open_quote(text) {
            let hint = "a double quote inside a quoted text is written twice";
            let text = "expected a closing double quote, got the end of the file";
            return Err(wrong(text).hint(hint).at(source.line(piece.line - 1 + line)));
        }
        // Rows of other lengths are told here, by what to do.
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

/// The line at which a record of `text` begins, counted from 1. The reader's place is before the empty lines in front of it.
fn line(text: &str, record: &StringRecord) -> usize {
    let Some(position) = record.position() else { return 1 };
    let [from, line] = [position.byte(), position.line()].map(|place| usize::try_from(place).unwrap_or(usize::MAX));
    let rest = text.as_bytes().get(from..).unwrap_or_default();
    let empty = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    line.saturating_add(empty.filter(|byte| **byte == b'\n').count())
}
