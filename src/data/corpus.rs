//! A whole text, for models that predict each next character or word. Knows no model.

mod spec;
mod stored;
mod summary;
mod windows;

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::bytes::{Pieces, Stretches};
use super::labelled::SourceLocation;
use super::tokenizer::{Counter, Unit};
use crate::error::{Error, ErrorKind, Result};
use crate::recipe::rows_before_split;

pub use spec::{CorpusOptions, CorpusSpec};
pub use summary::{CorpusSummary, UnitCount};
pub use windows::CorpusExamples;

/// A whole text. [`read`](Self::read) reads one from a file, and [`open`](Self::open) leaves it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    text: Text,
    source: SourceLocation,
}

/// A text, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Text {
    Held(String),
    Stored(Stored),
}

/// A text that stays in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    /// Its bytes there.
    bytes: Range<u64>,
    /// The line of the first of them, counted from 1.
    line: usize,
    /// The most bytes of a line.
    most_of_a_line: u64,
    file: Arc<Stretches>,
}

/// A part of a text.
struct Part<'a> {
    text: &'a str,
    /// Its first byte: in the file if the text stays there, otherwise in the text.
    begin: u64,
    /// The line of that byte, counted from 1.
    line: usize,
}

impl Corpus {
    /// Makes a text that came from `source`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if it is empty or white space alone.
    pub fn new(text: impl Into<String>, source: SourceLocation) -> Result<Self> {
        Self { text: Text::Held(text.into()), source }.checked()
    }

    /// Opens a UTF-8 file and leaves its text there, so it may be larger than memory. Goes over it once.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io):
    ///
    /// - if the file cannot be read or is no regular file;
    /// - if it is no UTF-8 or empty, or has a line of more than `most_of_a_line` bytes.
    pub fn open(path: impl AsRef<Path>, most_of_a_line: u64) -> Result<Self> {
        Self::of_file(SourceLocation::of_file(path), most_of_a_line)
    }

    fn of_file(source: SourceLocation, most_of_a_line: u64) -> Result<Self> {
        let file = Arc::new(Stretches::of(source.path()));
        let stored = Stored { bytes: 0..u64::MAX, line: 1, most_of_a_line, file };
        let whole = Self { text: Text::Stored(stored.clone()), source };
        let mut bytes: Option<Range<u64>> = None;
        whole.each(|part| {
            // After a byte order mark.
            let begin = bytes.as_ref().map_or(part.begin, |bytes| bytes.start);
            bytes = Some(begin..part.begin + part.text.len() as u64);
            Ok(true)
        })?;
        Self { text: Text::Stored(Stored { bytes: bytes.unwrap_or_default(), ..stored }), ..whole }.checked()
    }

    /// Checks that it holds more than white space.
    fn checked(self) -> Result<Self> {
        let mut is_empty = true;
        self.each(|part| {
            is_empty = part.text.trim().is_empty();
            Ok(is_empty)
        })?;
        match is_empty {
            true => Err(wrong("expected a text, got none; is this the right file?").at(self.source)),
            false => Ok(self),
        }
    }

    /// Returns the text, which is read if it stayed in its file.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if it can no longer be read.
    pub fn text(&self) -> Result<Cow<'_, str>> {
        match &self.text {
            Text::Held(text) => Ok(Cow::Borrowed(text)),
            Text::Stored(stored) => self.stretch(stored, &stored.bytes).map(Cow::Owned),
        }
    }

    /// Returns the file that it came from.
    pub fn source(&self) -> &SourceLocation {
        &self.source
    }

    /// Returns where it is, if it stays in its file.
    fn stored(&self) -> Option<&Stored> {
        match &self.text {
            Text::Held(_) => None,
            Text::Stored(stored) => Some(stored),
        }
    }

    /// Reads some bytes of the file that the text stays in.
    fn stretch(&self, stored: &Stored, bytes: &Range<u64>) -> Result<String> {
        stored.file.read(bytes).map_err(|e| e.at(&self.source))
    }

    /// Calls `each` with consecutive parts that make up the text, until it returns false. A part ends after a line.
    fn each(&self, mut each: impl FnMut(Part<'_>) -> Result<bool>) -> Result<()> {
        match &self.text {
            Text::Held(text) => each(Part { text, begin: 0, line: 1 }).map(drop),
            Text::Stored(Stored { bytes, line, most_of_a_line, .. }) => {
                let pieces = Pieces::of_stretch(self.source.path(), bytes, *line, *most_of_a_line);
                for piece in pieces.map_err(|e| e.at(&self.source))? {
                    let piece = piece.map_err(|e| e.at(&self.source))?;
                    if !each(Part { text: &piece.text, begin: piece.begin, line: piece.line })? {
                        break;
                    }
                }
                Ok(())
            }
        }
    }

    /// Counts how often each of its characters or words occurs.
    fn counter(&self, unit: Unit) -> Result<Counter> {
        let mut counter = Counter::of(unit);
        self.each(|part| {
            counter.add(part.text);
            Ok(true)
        })?;
        Ok(counter)
    }

    /// Splits off the last `share` of the text: returns the rest, then this part.
    /// The share is counted in characters, or in words between white space.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if either part would
    /// be empty, or of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if the text can no longer be read.
    pub fn split(&self, share: f64, unit: Unit) -> Result<[Self; 2]> {
        let mut count = 0;
        self.each(|part| {
            count += begins(part.text, unit).count();
            Ok(true)
        })?;
        let first = rows_before_split(count, share).map_err(|e| e.at(&self.source))?;
        let (mut left, mut cut) = (first, (0, 1));
        self.each(|part| {
            let mut begins = begins(part.text, unit);
            let Some(at) = begins.nth(left) else {
                left -= self::begins(part.text, unit).count();
                return Ok(true);
            };
            cut = (part.begin + at as u64, part.line + part.text[..at].matches('\n').count());
            Ok(false)
        })?;
        let (at, line) = cut;
        let parts = match &self.text {
            Text::Held(text) => {
                let (first, last) = text.split_at(usize::try_from(at).unwrap_or(usize::MAX).min(text.len()));
                [first, last].map(|part| Text::Held(part.to_owned()))
            }
            Text::Stored(stored) => {
                let part = |bytes, line| Text::Stored(Stored { bytes, line, ..stored.clone() });
                [part(stored.bytes.start..at, stored.line), part(at..stored.bytes.end, line)]
            }
        };
        let [first, last] = parts.map(|text| Self { text, source: self.source.clone() }.checked());
        Ok([first?, last?])
    }
}

/// Yields where each character or word of a text begins.
fn begins(text: &str, unit: Unit) -> Box<dyn Iterator<Item = usize> + '_> {
    match unit {
        Unit::Characters => Box::new(text.char_indices().map(|(at, _)| at)),
        Unit::Words | Unit::Whitespace => {
            let begin = text.as_ptr().addr();
            Box::new(text.split_whitespace().map(move |word| word.as_ptr().addr() - begin))
        }
    }
}

/// Returns whether a file of this name is a whole text: one that ends in `.txt`.
pub fn is_corpus(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) && !path.is_dir()
}

fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Io, text)
}

#[cfg(test)]
mod tests;
