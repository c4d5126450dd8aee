//! Rows of text with a label each, and where each of them was read. Knows no file format and no model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::recipe::rows_before_split;

/// Where a row is: its file, and its line if the file has several rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    path: Arc<Path>,
    line: Option<usize>,
}

impl SourceLocation {
    /// Makes the location of a whole file.
    pub fn of_file(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().into(), line: None }
    }

    /// Makes the location of a line of the same file, counted from 1.
    #[must_use]
    pub fn line(&self, line: usize) -> Self {
        Self { path: Arc::clone(&self.path), line: Some(line) }
    }

    /// Returns the line, if it is one.
    #[cfg(feature = "csv")]
    pub(super) fn line_number(&self) -> Option<usize> {
        self.line
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}: line {line}", self.path.display()),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

/// Reads the text of a row again, from its location and its bytes in the file there.
pub(super) type ReadAgain = dyn Fn(&SourceLocation, &Range<u64>) -> Result<String> + Send + Sync;

/// A text, or where it is.
#[derive(Clone)]
enum Text {
    Held(String),
    Stored { bytes: Range<u64>, again: Arc<ReadAgain> },
}

/// A text with its label.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Example {
    text: Text,
    /// The label, without the white space around it. Of a tagged text it is all tags, each behind a space.
    pub label: String,
    /// Whether each token of the text has a tag.
    tagged: bool,
    /// Where it is.
    pub place: SourceLocation,
}

impl Example {
    /// Makes an example.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io)
    /// if the text or the label is empty or white space alone.
    pub fn new(text: impl Into<String>, label: &str, place: SourceLocation) -> Result<Self> {
        let (text, label) = (text.into(), label.trim().to_owned());
        for (what, empty) in [("label", label.is_empty()), ("text", text.trim().is_empty())] {
            if empty {
                let text = format!("expected a {what}, got none; fill it in or take the row out");
                return Err(Error::new(ErrorKind::Io, text).at(place));
            }
        }
        Ok(Self { text: Text::Held(text), label, tagged: false, place })
    }

    /// Makes a tagged text: tokens, each with a label of its own.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if there is no token, not a
    /// tag for each token, or one of them is empty or has white space in it.
    pub fn tagged(tokens: &[impl AsRef<str>], tags: &[impl AsRef<str>], place: SourceLocation) -> Result<Self> {
        let wrong = |text: String| Error::new(ErrorKind::Io, text);
        if tokens.is_empty() || tokens.len() != tags.len() {
            let text = format!("expected a tag for each token, got {} tokens and {} tags", tokens.len(), tags.len());
            return Err(wrong(text).at(place));
        }
        let (tokens, tags): (Vec<&str>, Vec<&str>) =
            (tokens.iter().map(AsRef::as_ref).collect(), tags.iter().map(AsRef::as_ref).collect());
        for (what, all) in [("token", &tokens), ("tag", &tags)] {
            let is_wrong = |text: &&str| text.is_empty() || text.contains(char::is_whitespace);
            if let Some((number, got)) = (1..).zip(all).find(|(_, text)| is_wrong(text)) {
                return Err(wrong(format!("{what} {number}: expected one without white space, got {got:?}")).at(place));
            }
        }
        Ok(Self { text: Text::Held(tokens.join(" ")), label: tags.join(" "), tagged: true, place })
    }

    /// Yields the label, or the tags of a tagged text.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        let tagged = self.tagged;
        self.label.split(move |c: char| tagged && c == ' ')
    }

    /// Returns the text, as in the file.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io)
    /// if it stayed in the file and can no longer be read there.
    pub fn text(&self) -> Result<Cow<'_, str>> {
        match &self.text {
            Text::Held(text) => Ok(Cow::Borrowed(text)),
            Text::Stored { bytes, again } => again(&self.place, bytes).map(Cow::Owned),
        }
    }

    /// Leaves its text in the file, at `bytes`.
    pub(super) fn stored(self, bytes: Range<u64>, again: &Arc<ReadAgain>) -> Self {
        Self { text: Text::Stored { bytes, again: Arc::clone(again) }, ..self }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(text) => text.fmt(f),
            Self::Stored { bytes, .. } => write!(f, "bytes {} to {}", bytes.start, bytes.end),
        }
    }
}

/// Rows of text with a label each, in the order of their file. [`read`](Self::read) reads them.
#[derive(Clone, Debug)]
pub struct Labelled {
    rows: Vec<Example>,
    source: SourceLocation,
}

impl Labelled {
    /// Makes labelled text of rows that came from `source`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io) if there
    /// are no rows, or if only some of them are [tagged](Example::tagged).
    pub fn new(rows: Vec<Example>, source: SourceLocation) -> Result<Self> {
        if rows.is_empty() {
            let text = "expected rows of a label and a text, got none; is this the right file?";
            return Err(Error::new(ErrorKind::Io, text).at(source));
        }
        if let Some(other) = rows.iter().find(|row| row.tagged != rows[0].tagged) {
            let text = "expected tags in every row or in none, got both kinds";
            return Err(Error::new(ErrorKind::Io, text).at(&other.place));
        }
        Ok(Self { rows, source })
    }

    /// Returns whether its texts are [tagged](Example::tagged): each token has a label of its own.
    pub fn is_tagged(&self) -> bool {
        self.rows[0].tagged
    }

    /// Returns the rows.
    pub fn rows(&self) -> &[Example] {
        &self.rows
    }

    /// Returns the file or folder that they came from.
    pub fn source(&self) -> &SourceLocation {
        &self.source
    }

    /// Yields the texts, in order. Texts that stayed in their files are read there.
    pub fn texts(&self) -> impl Iterator<Item = Result<Cow<'_, str>>> {
        self.rows.iter().map(Example::text)
    }

    /// Yields the label of each row, or of each token of tagged text, in order.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(Example::labels)
    }

    /// Returns the label of all rows, or of all tokens of tagged text, if they have only one.
    pub fn only_label(&self) -> Option<&str> {
        let first = self.labels().next()?;
        self.labels().all(|label| label == first).then_some(first)
    }

    /// Returns what is odd about the rows and yet no error: labels that only
    /// one row has, or only one token of tagged text, with the line of the row.
    pub fn warnings(&self) -> Vec<String> {
        /// The most labels that are named.
        const FEW: usize = 5;
        let mut first: BTreeMap<&str, (usize, &SourceLocation)> = BTreeMap::new();
        for (row, label) in self.rows.iter().flat_map(|row| row.labels().map(move |label| (row, label))) {
            first.entry(label).or_insert((0, &row.place)).0 += 1;
        }
        let alone: Vec<_> = first.iter().filter(|(_, (count, _))| *count == 1).collect();
        let told = alone.iter().take(FEW).map(|(label, (_, place))| {
            format!("{place}: the label {label:?} stands in this row alone; is it spelled as others are?")
        });
        let more = alone.len().saturating_sub(FEW);
        let rest = (more > 0).then(|| format!("{}: {more} more labels stand in one row alone", self.source));
        told.chain(rest).collect()
    }

    /// Splits off the last `share` of the rows: returns all others, then
    /// these, as [`Dataset::split`](crate::train::Dataset::split) does.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Training`](crate::ErrorKind::Training) if either part would be empty.
    pub fn split(mut self, share: f64) -> Result<[Self; 2]> {
        let last = self.rows.split_off(rows_before_split(self.rows.len(), share)?);
        let source = self.source.clone();
        Ok([self, Self { rows: last, source }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(count: usize) -> Labelled {
        let file = SourceLocation::of_file(Path::new("rows.tsv"));
        let row = |at: usize| Example::new(format!("text {at}"), " yes ", file.line(at)).unwrap();
        Labelled::new((1..=count).map(row).collect(), file.clone()).unwrap()
    }

    #[test]
    fn the_last_rows_are_split_off() {
        let [first, last] = rows(10).split(0.25).unwrap();
        assert_eq!((first.rows().len(), last.rows().len()), (7, 3));
        assert_eq!((&*last.rows()[0].text().unwrap(), last.rows()[0].label.as_str()), ("text 8", "yes"));
        assert_eq!(last.rows()[0].place.to_string(), "rows.tsv: line 8");
        for share in [0.0, 1.0, -1.0, 0.999, f64::NAN] {
            assert_eq!(rows(10).split(share).unwrap_err().kind(), ErrorKind::Training, "{share}");
        }
    }

    #[test]
    fn a_label_of_one_row_is_worth_a_warning() {
        let file = SourceLocation::of_file(Path::new("rows.tsv"));
        let row = |(at, label): (usize, &&str)| Example::new("text", label, file.line(at + 1)).unwrap();
        let rows = |all: &[&str]| Labelled::new(all.iter().enumerate().map(row).collect(), file.clone()).unwrap();
        let odd = rows(&["pos", "neg", "pos", "neg", "Pos"]);
        let said = "rows.tsv: line 5: the label \"Pos\" stands in this row alone; is it spelled as others are?";
        assert_eq!((odd.warnings(), odd.only_label()), (vec![said.to_owned()], None));
        assert_eq!((rows(&["a", "a"]).warnings().len(), rows(&["a", "a"]).only_label()), (0, Some("a")));
        let many = rows(&["a", "b", "c", "d", "e", "f", "g"]).warnings();
        assert_eq!((many.len(), many[5].as_str()), (6, "rows.tsv: 2 more labels stand in one row alone"));
    }

    #[test]
    fn a_row_without_text_or_label_is_refused_with_its_line() {
        let at = |line| SourceLocation::of_file(Path::new("rows.tsv")).line(line);
        let refused = |text: &str, label: &str| Example::new(text, label, at(3)).unwrap_err().to_string();
        let hint = "got none; fill it in or take the row out";
        assert_eq!(refused(" \t", "yes"), format!("rows.tsv: line 3: expected a text, {hint}"));
        assert_eq!(refused("text", " "), format!("rows.tsv: line 3: expected a label, {hint}"));
        let none = Labelled::new(Vec::new(), SourceLocation::of_file(Path::new("rows.tsv"))).unwrap_err().to_string();
        assert!(none.starts_with("rows.tsv: expected rows of a label and a text, got none; "), "{none}");
    }
}
