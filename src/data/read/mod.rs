//! Files of labelled text → [`Labelled`]: `.tsv`, `.csv`, `.jsonl`
//! and `.ndjson`, a folder with a folder for each label, and files of tagged tokens.
//!
//! A file is read up to a bound, and must be UTF-8. If texts stay in their
//! files, the size of these has no bound. Knows no tokens and no model.

mod columns;
mod corpus;
#[cfg(feature = "csv")]
mod csv;
mod folder;
mod json_lines;
mod series;
mod tags;
mod tsv;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::bytes::{self, Ends, Piece, Pieces, Stretches, unreadable, wrong};
use super::labelled::{Labelled, ReadAgain, SourceLocation};
use crate::error::Result;
#[cfg(not(feature = "csv"))]
use crate::error::not_built;

/// How labelled text is read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadOptions {
    /// The name of the column, or the key, of the text; `text` by default. In
    /// a file of tagged tokens it is the number of the tokens' column, from 1.
    pub text_column: Option<String>,
    /// The name of the column, or the key, of the label; `label` by default. In
    /// a file of tagged tokens it is the number of the tags' column, from 1.
    pub label_column: Option<String>,
    /// The most bytes that are read, of all files of a folder together.
    pub max_bytes: u64,
    /// Whether texts stay in their files, and are read again when they are used: for files that
    /// are larger than memory. Their size then has no bound, and `max_bytes` bounds a row.
    pub stream: bool,
}

impl Default for ReadOptions {
    /// Returns `text`, `label`, and [`MAX_BYTES`](ReadOptions::MAX_BYTES).
    fn default() -> Self {
        Self { text_column: None, label_column: None, max_bytes: Self::MAX_BYTES, stream: false }
    }
}

impl ReadOptions {
    /// The most bytes that are read by default: 1 GiB. All of them stay in memory.
    pub const MAX_BYTES: u64 = 1 << 30;

    /// Sets the name of the column, or the key, of the text.
    #[must_use]
    pub fn text_column(mut self, name: impl Into<String>) -> Self {
        self.text_column = Some(name.into());
        self
    }

    /// Sets the name of the column, or the key, of the label.
    #[must_use]
    pub fn label_column(mut self, name: impl Into<String>) -> Self {
        self.label_column = Some(name.into());
        self
    }

    /// Sets the most bytes that are read.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets whether texts stay in their files.
    #[must_use]
    pub fn stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Opens the pieces of a file, by these bounds.
    fn pieces<'a>(
        &self,
        source: &'a SourceLocation,
        ends: Ends,
    ) -> Result<impl Iterator<Item = Result<Piece>> + use<'a>> {
        let all = if self.stream { u64::MAX } else { self.max_bytes };
        let pieces = Pieces::open(source.path(), ends, all, self.max_bytes).map_err(|e| e.at(source))?;
        Ok(pieces.map(move |piece| piece.map_err(|e| e.at(source))))
    }

    /// Returns the name of the text's column.
    fn text(&self) -> &str {
        self.text_column.as_deref().unwrap_or("text")
    }

    /// Returns the name of the label's column.
    fn label(&self) -> &str {
        self.label_column.as_deref().unwrap_or("label")
    }

    /// Returns whether a column was named.
    fn names_columns(&self) -> bool {
        self.text_column.is_some() || self.label_column.is_some()
    }
}

/// A source of labelled text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tsv,
    Csv,
    JsonLines,
    Tags,
    Folder,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        if path.is_dir() {
            return Some(Self::Folder);
        }
        match path.extension()?.to_str()?.to_lowercase().as_str() {
            "tsv" => Some(Self::Tsv),
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            "conll" | "conllu" | "bio" | "iob" | "iob2" => Some(Self::Tags),
            _ => None,
        }
    }
}

/// Returns whether [`Labelled::read`] would read a file of this name: a folder, or a name that
/// ends in `.tsv`, `.csv`, `.jsonl`, `.ndjson`, `.conll`, `.conllu`, `.bio`, `.iob` or `.iob2`.
pub fn is_labelled_text(path: impl AsRef<Path>) -> bool {
    Kind::of(path.as_ref()).is_some()
}

impl Labelled {
    /// Reads labelled text in UTF-8. Empty lines are skipped.
    ///
    /// | file | rows |
    /// | --- | --- |
    /// | `.tsv` | `label TAB text`; or a first line of column names, if it holds the names of both columns |
    /// | `.csv` | comma-separated values by RFC 4180, below a line of column names; needs the feature `csv` |
    /// | `.jsonl`, `.ndjson` | a JSON object a line; the label may be a string, a number or a boolean |
    /// | `.conll`, `.conllu`, `.bio`, `.iob`, `.iob2` | a token and its tag a line, an empty line behind each sentence |
    /// | a folder | `LABEL/NAME.txt`, a text a file; hidden files and other endings are skipped |
    ///
    /// Tagged tokens are [tagged text](crate::data::Example::tagged): a row is a sentence, and its label has a tag for
    /// each token.
    /// Columns are set apart by tabs, or by white space in a line without a tab. The token is in the first column and
    /// the tag in the last one; of `.conllu` they are the second and the fourth, the form and the part of speech.
    /// Lines of `-DOCSTART-` are skipped. So are comments of `.conllu`, and its lines of several tokens or of none.
    ///
    /// The files of a folder have no order of their own. Those of a label come by name,
    /// and the labels take turns. So every range of the rows is as balanced as the whole.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io), with file and line:
    ///
    /// - if a file cannot be read, is no regular file, is larger than the bound or is no UTF-8;
    /// - if it lacks a column, has a row without label or text, or has no row at all.
    pub fn read(path: impl AsRef<Path>, options: &ReadOptions) -> Result<Self> {
        Self::read_at(path.as_ref(), options)
    }

    fn read_at(path: &Path, options: &ReadOptions) -> Result<Self> {
        let source = SourceLocation::of_file(path);
        let Some(kind) = Kind::of(path) else {
            fs::metadata(path).map_err(|e| unreadable(&e).at(path.display()))?;
            let text = "expected labelled text: a folder, or a name that ends in .tsv, .csv, .jsonl, .ndjson or .conll";
            return Err(wrong(text).at(path.display()));
        };
        let rows = match kind {
            Kind::Folder => folder::read(path, options)?,
            Kind::Tsv => tsv::read(&source, options)?,
            #[cfg(feature = "csv")]
            Kind::Csv => csv::read(&source, options)?,
            #[cfg(not(feature = "csv"))]
            Kind::Csv => return Err(not_built("csv").at(source)),
            Kind::JsonLines => json_lines::read(&source, options)?,
            Kind::Tags => tags::read(&source, options)?,
        };
        Self::new(rows, source)
    }
}

/// Reads the lines of a text file in UTF-8, each with its place. Empty lines at the end are left out.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io):
///
/// - if the file cannot be read, is no regular file, is larger than `max_bytes` or is no UTF-8;
/// - if it holds no line, or a line before its last one is white space alone.
pub fn read_lines(path: impl AsRef<Path>, max_bytes: u64) -> Result<Vec<(String, SourceLocation)>> {
    let path = path.as_ref();
    lines_of(&text(path, max_bytes)?, &SourceLocation::of_file(path))
}

fn lines_of(all: &str, file: &SourceLocation) -> Result<Vec<(String, SourceLocation)>> {
    let lines = all.trim_end().lines().enumerate();
    let lines: Vec<_> = lines.map(|(index, line)| (line.to_owned(), file.line(index + 1))).collect();
    match lines.iter().find(|(line, _)| line.trim().is_empty()) {
        Some((_, place)) => Err(wrong("expected a text, got an empty line; take it out").at(place)),
        None if lines.is_empty() => Err(wrong("expected one text on each line, got an empty file").at(file)),
        None => Ok(lines),
    }
}

/// Reads the text of a file of at most `max_bytes` bytes, without a byte order mark.
fn text(path: &Path, max_bytes: u64) -> Result<String> {
    bytes::text(path, max_bytes).map_err(|e| e.at(path.display()))
}

/// Makes a function that reads the text of a row of `source` again; `text` takes it from the row's record.
fn again(source: &SourceLocation, text: impl Fn(&str) -> Result<String> + Send + Sync + 'static) -> Arc<ReadAgain> {
    let file = Stretches::of(source.path());
    Arc::new(move |place, bytes| {
        let read = || text(&file.read(bytes)?);
        read().map_err(|e| e.at(place))
    })
}

#[cfg(test)]
mod tests;
