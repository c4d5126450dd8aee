//! Bytes of text files: whole, a range of them, or piece by piece. They must be UTF-8. Knows no format and no row.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// The approximate bytes of a piece: enough that a piece costs little, and few beside the memory of any machine.
const PIECE: usize = 1 << 16;

/// Reads the text of a file of at most `max_bytes` bytes, without a
/// byte order mark. An error about a line begins with its number.
pub(super) fn text(path: &Path, max_bytes: u64) -> Result<String> {
    let mut bytes = Vec::new();
    open(path)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_many(max_bytes).hint("a larger bound (--max-bytes) reads it into memory"));
    }
    Ok(decoded(bytes, 1, true)?.0)
}

/// A file that was read before, and of which stretches are read again. It is opened once.
#[derive(Debug)]
pub(super) struct Stretches {
    path: PathBuf,
    /// The open file; none before the first stretch.
    file: Mutex<Option<File>>,
}

impl Stretches {
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), file: Mutex::new(None) }
    }

    /// Reads the text of some bytes.
    pub(super) fn read(&self, bytes: &Range<u64>) -> Result<String> {
        let changed = |what: String| {
            wrong(format!("bytes {} to {}: {what}", bytes.start, bytes.end))
                .hint("was the file changed after it was first read?")
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &mut *file {
            Some(file) => file,
            none => none.insert(open(&self.path)?),
        };
        file.seek(SeekFrom::Start(bytes.start)).map_err(|e| unreadable(&e))?;
        let wanted = bytes.end - bytes.start;
        let mut read = Vec::new();
        file.take(wanted).read_to_end(&mut read).map_err(|e| unreadable(&e))?;
        if read.len() as u64 != wanted {
            return Err(changed(format!("expected {wanted} bytes, got {}", read.len())));
        }
        String::from_utf8(read).map_err(|e| changed(format!("expected UTF-8, got {e}")))
    }
}

impl PartialEq for Stretches {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Stretches {}

/// Opens a regular file: a pipe or a device may never end, or never begin.
fn open(path: &Path) -> Result<File> {
    if !fs::metadata(path).map_err(|e| unreadable(&e))?.is_file() {
        return Err(wrong("expected a regular file"));
    }
    File::open(path).map_err(|e| unreadable(&e))
}

/// Decodes the text that begins at line `line`. Returns it with the
/// length of a byte order mark removed from the start of a file.
fn decoded(bytes: Vec<u8>, line: usize, is_first: bool) -> Result<(String, usize)> {
    if is_first && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
        return Err(
            wrong("line 1: expected UTF-8, got UTF-16").hint("save the file as UTF-8 (iconv -f utf-16 -t utf-8)")
        );
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let (good, bytes) = (e.utf8_error().valid_up_to(), e.as_bytes());
        let line = line + lines(&bytes[..good]);
        let hint = "save the file as UTF-8 (from Latin-1: iconv -f latin1 -t utf-8)";
        wrong(format!("line {line}: expected UTF-8, got the byte 0x{:02x}", bytes[good])).hint(hint)
    })?;
    match text.strip_prefix('\u{feff}') {
        Some(rest) if is_first => Ok((rest.to_owned(), text.len() - rest.len())),
        _ => Ok((text, 0)),
    }
}

/// Returns how many lines end in these bytes.
fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// A piece of a file.
pub(super) struct Piece {
    pub(super) text: String,
    /// Its first byte in the file.
    pub(super) begin: u64,
    /// The line of that byte, counted from 1.
    pub(super) line: usize,
}

/// A line of a file.
pub(super) struct Line<'a> {
    /// The text, without its line end.
    pub(super) text: &'a str,
    /// Its bytes in the file.
    pub(super) bytes: Range<u64>,
    /// Its number, counted from 1.
    pub(super) number: usize,
}

impl Piece {
    /// Makes one piece of a whole text.
    #[cfg(feature = "csv")]
    pub(super) fn whole(text: String) -> Self {
        Self { text, begin: 0, line: 1 }
    }

    /// Yields its lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let mut begin = self.begin;
        self.text.split_inclusive('\n').zip(self.line..).map(move |(whole, number)| {
            let text = whole.strip_suffix('\n').unwrap_or(whole);
            let text = text.strip_suffix('\r').unwrap_or(text);
            let line = Line { text, bytes: begin..begin + text.len() as u64, number };
            begin += whole.len() as u64;
            line
        })
    }
}

/// Where a piece may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// After a line.
    Lines,
    /// After a line, outside of double quotes.
    #[cfg(feature = "csv")]
    Records,
}

/// Pieces of a file, each of whole lines.
pub(super) struct Pieces {
    file: BufReader<File>,
    ends: Ends,
    /// The most bytes of all pieces, and of one row.
    most: [u64; 2],
    begin: u64,
    /// Where the last piece ends; none for the end of the file.
    end: Option<u64>,
    line: usize,
}

impl Pieces {
    /// Opens a file of at most `max_bytes` bytes, with at most `most_of_one` bytes in a row.
    pub(super) fn open(path: &Path, ends: Ends, max_bytes: u64, most_of_one: u64) -> Result<Self> {
        let file = BufReader::new(open(path)?);
        Ok(Self { file, ends, most: [max_bytes, most_of_one], begin: 0, end: None, line: 1 })
    }

    /// Opens some bytes, beginning in line `line`, of a file that
    /// was read before. A line has at most `most_of_one` bytes.
    pub(super) fn of_stretch(path: &Path, bytes: &Range<u64>, line: usize, most_of_one: u64) -> Result<Self> {
        let mut file = open(path)?;
        file.seek(SeekFrom::Start(bytes.start)).map_err(|e| unreadable(&e))?;
        let (file, most) = (BufReader::new(file), [u64::MAX, most_of_one]);
        Ok(Self { file, ends: Ends::Lines, most, begin: bytes.start, end: Some(bytes.end), line })
    }

    fn read(&mut self) -> Result<Option<Piece>> {
        let [max_bytes, most_of_one] = self.most;
        let left = max_bytes.saturating_sub(self.begin);
        let mut bytes = Vec::new();
        let mut quotes = Quotes::default();
        // Where the current row begins.
        let mut row = 0;
        loop {
            let before = bytes.len();
            let room = left.saturating_sub(before as u64).min(most_of_one.saturating_sub((before - row) as u64));
            let more = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.begin + before as u64));
            let mut line = (&mut self.file).take(room.saturating_add(1).min(more));
            line.read_until(b'\n', &mut bytes).map_err(|e| unreadable(&e))?;
            if bytes.len() as u64 > left {
                let hint = "a larger bound (--max-bytes) reads it into memory, --stream leaves texts on disk";
                return Err(too_many(max_bytes).hint(hint));
            }
            if (bytes.len() - row) as u64 > most_of_one {
                let line = self.line + lines(&bytes[..row]);
                let (wanted, hint) = match quotes.opened {
                    Some(_) => {
                        ("a closing double quote within", "a double quote inside a quoted text is written twice")
                    }
                    None => ("a row of at most", "is this the right file? A larger bound is --max-bytes"),
                };
                return Err(wrong(format!("line {line}: expected {wanted} {most_of_one} bytes, got more")).hint(hint));
            }
            if bytes.len() == before {
                break;
            }
            if self.ends != Ends::Lines {
                quotes.pass(&bytes[before..]);
            }
            if quotes.opened.is_none() {
                row = bytes.len();
                if row >= PIECE {
                    break;
                }
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let (begin, line, length) = (self.begin, self.line, bytes.len() as u64);
        (self.begin, self.line) = (begin + length, line + lines(&bytes));
        let (text, mark) = decoded(bytes, line, begin == 0)?;
        Ok(Some(Piece { text, begin: begin + mark as u64, line }))
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Double quotes around cells, as in comma-separated values.
struct Quotes {
    line: usize,
    /// The line of a quote that opens a cell and is not closed yet.
    opened: Option<usize>,
    /// Whether a cell begins here.
    begins: bool,
}

impl Default for Quotes {
    fn default() -> Self {
        Self { line: 1, opened: None, begins: true }
    }
}

impl Quotes {
    /// Scans whole lines.
    fn pass(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'"' if self.opened.is_some() => {
                    self.opened = self.opened.filter(|_| bytes.next_if_eq(&b'"').is_some());
                }
                b'"' if self.begins => self.opened = Some(self.line),
                _ => {}
            }
            self.begins = self.opened.is_none() && matches!(byte, b',' | b'\n' | b'\r');
            self.line += usize::from(byte == b'\n');
        }
    }
}

/// Returns the line, counted from 1, of a quote in `text` that opens a cell and is never closed.
#[cfg(feature = "csv")]
pub(super) fn open_quote(text: &str) -> Option<usize> {
    let mut quotes = Quotes::default();
    quotes.pass(text.as_bytes());
    quotes.opened
}

fn too_many(max_bytes: u64) -> Error {
    wrong(format!("expected at most {max_bytes} bytes, got more"))
}

pub(super) fn unreadable(e: &io::Error) -> Error {
    wrong(format!("cannot be read: {e}"))
}

pub(super) fn wrong(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Io, text)
}
