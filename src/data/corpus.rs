//! A text as a whole, of which a model foresees each next character or word. Knows no model.

mod spec;
mod stored;

use std::path::Path;

use super::labelled::Place;
use super::tokenizer::Unit;
use crate::error::{Error, ErrorKind, Result};
use crate::train::rows_before_split;

pub use spec::{CorpusOptions, CorpusSpec};

/// A text as a whole. [`read`](Self::read) reads one from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    text: String,
    source: Place,
}

impl Corpus {
    /// A text that came from `source`.
    ///
    /// # Errors
    ///
    /// Kind `Io`, where it is empty or white space alone.
    pub fn new(text: impl Into<String>, source: Place) -> Result<Self> {
        let text = text.into();
        if text.trim().is_empty() {
            let text = "expected a text, got none; is this the right file?";
            return Err(Error::new(ErrorKind::Io, text).at(source));
        }
        Ok(Self { text, source })
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file that it came from.
    pub fn source(&self) -> &Place {
        &self.source
    }

    /// The line of the byte `at`, counted from 1.
    fn line(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
    }

    /// All but the last `share` of the text, and this, by characters or by the words that white space sets apart.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where one of both would be empty.
    pub fn split(&self, share: f64, unit: Unit) -> Result<[Self; 2]> {
        let begins: Vec<usize> = match unit {
            Unit::Characters => self.text.char_indices().map(|(at, _)| at).collect(),
            Unit::Words => {
                let begin = self.text.as_ptr().addr();
                self.text.split_whitespace().map(|word| word.as_ptr().addr() - begin).collect()
            }
        };
        let first = rows_before_split(begins.len(), share).map_err(|e| e.at(&self.source))?;
        let (first, last) = self.text.split_at(begins[first]);
        Ok([Self::new(first, self.source.clone())?, Self::new(last, self.source.clone())?])
    }
}

/// Whether a file of this name is a text as a whole: one that ends in `.txt`.
pub fn is_corpus(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt")) && !path.is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus(text: &str) -> Result<Corpus> {
        Corpus::new(text, Place::of_file(Path::new("text.txt")))
    }

    #[test]
    fn the_last_characters_or_words_are_split_off() {
        let parts = |text: &str, share: f64, unit: Unit| {
            corpus(text).unwrap().split(share, unit).unwrap().map(|part| part.text().to_owned())
        };
        assert_eq!(parts("abcdéfgh", 0.5, Unit::Characters), ["abcd", "éfgh"]);
        assert_eq!(parts("one two\n three  four", 0.25, Unit::Words), ["one two\n three  ", "four"]);
        for share in [0.0, 1.0, f64::NAN] {
            let error = corpus("abc").unwrap().split(share, Unit::Characters).unwrap_err().to_string();
            assert!(error.starts_with("text.txt: validation_split: "), "{error}");
        }
        assert_eq!(corpus("a\nb\n").unwrap().line(2), 2);
    }

    #[test]
    fn an_empty_text_is_refused() {
        for empty in ["", " \n"] {
            let error = corpus(empty).unwrap_err().to_string();
            assert_eq!(error, "text.txt: expected a text, got none; is this the right file?");
        }
        // A part of white space alone is none to train on.
        assert!(corpus("    a").unwrap().split(0.2, Unit::Characters).is_err());
    }
}
