//! How a model reads and answers ⇄ JSON, as it is in the metadata of a
//! model's file: what all such JSON shares, and that of a [`TextSpec`].

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::classes::Classes;
use super::side::Side;
use super::spec::TextSpec;
use super::tokenizer::{Tokenizer, Unit};
use crate::error::{Error, ErrorKind, Result};
use crate::formats::{self, Metadata};

/// The version of the format written here.
pub(super) const VERSION: u64 = 1;

/// The keys in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u64,
    tokenizer: StoredTokenizer,
    labels: Vec<String>,
    max_length: Option<usize>,
    truncate: String,
    /// If absent, texts are padded at their end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pad: Option<String>,
    /// Whether each token of a text has a label, and not the text; if absent, it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredTokenizer {
    unit: String,
    start: bool,
    /// The units; the first is token 3.
    units: Vec<String>,
}

impl StoredTokenizer {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        Self { unit: tokenizer.unit().to_string(), start: tokenizer.start(), units: tokenizer.units().to_vec() }
    }

    pub(super) fn read(self) -> Result<Tokenizer> {
        Tokenizer::of_units(known("unit", &Unit::WORDS, &self.unit)?, self.start, self.units)
    }
}

/// Parses JSON of [`VERSION`] as plain data.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
/// if it is of another version, or has other keys.
pub(super) fn plain<T: DeserializeOwned>(json: &str) -> Result<T> {
    let value: Value = serde_json::from_str(json).map_err(|e| damaged(format!("expected JSON, got {e}")).because(e))?;
    if value["version"] != VERSION {
        return Err(damaged(format!("expected version {VERSION}, got {}", value["version"])));
    }
    serde_json::from_value(value).map_err(|e| damaged(e.to_string()).because(e))
}

/// Reads the entry of `metadata` under `key` by `read`.
pub(super) fn kept<T>(metadata: &Metadata, key: &str, read: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    metadata.get(key).map(|json| read(json).map_err(|e| e.at(format!("metadata {key}")))).transpose()
}

/// Makes an error about an entry of a file.
pub(super) fn damaged(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::Model, text)
}

impl TextSpec {
    /// The key of the spec in the metadata of a model's file.
    pub const KEY: &'static str = "gatewave.text";

    /// Writes the spec as JSON; equal specs give equal texts on every machine.
    /// [`formats::write_with`] keeps it in a model's file, under [`KEY`](Self::KEY).
    pub fn to_json(&self) -> String {
        let stored = Stored {
            version: VERSION,
            tokenizer: StoredTokenizer::of(self.tokenizer()),
            labels: self.classes().labels().to_vec(),
            max_length: self.max_length(),
            truncate: self.truncate().to_string(),
            pad: (self.pad() != Side::End).then(|| self.pad().to_string()),
            tags: self.is_tagging().then_some(true),
        };
        serde_json::to_string(&stored).expect("plain data")
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if the text is of another version, or is no spec.
    pub fn from_json(json: &str) -> Result<Self> {
        let stored: Stored = plain(json)?;
        let parts = || {
            let side = |what: &str, word: &str| known(what, &Side::WORDS, word);
            let truncate = side("truncate", &stored.truncate)?;
            let pad = stored.pad.as_deref().map_or(Ok(Side::End), |word| side("pad", word))?;
            let tokenizer = stored.tokenizer.read()?;
            let spec = Self::new(tokenizer, Classes::new(stored.labels)?).padded(pad);
            let spec = spec.cut(stored.max_length, truncate)?;
            Ok(if stored.tags == Some(true) { spec.tagging() } else { spec })
        };
        parts().map_err(|e: Error| damaged(e.to_string()))
    }

    /// Reads the spec from the model file at `path`. Returns none if
    /// the file holds none, or if its format is not `.safetensors`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind:
    ///
    /// - [`ErrorKind::Io`](crate::ErrorKind::Io) if the file cannot be read;
    /// - [`ErrorKind::Weights`](crate::ErrorKind::Weights) if the file is damaged;
    /// - [`ErrorKind::Model`](crate::ErrorKind::Model) if the entry is damaged.
    pub fn read(path: impl AsRef<Path>) -> Result<Option<Self>> {
        let path = path.as_ref();
        Self::of_metadata(&formats::metadata(path)?).map_err(|e| e.at(path.display()))
    }

    /// Reads the spec from a file's metadata; returns none if they hold none.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model) if the entry is damaged.
    pub fn of_metadata(metadata: &Metadata) -> Result<Option<Self>> {
        kept(metadata, Self::KEY, Self::from_json)
    }
}

/// Returns the value of a word of `words`.
fn known<T: Copy>(what: &str, words: &[(&str, T)], got: &str) -> Result<T> {
    words.iter().find(|(word, _)| *word == got).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        Error::new(ErrorKind::Model, format!("{what}: expected {}, got {got:?}", known.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(pad: Side) -> TextSpec {
        let units = ["a", "film"].map(str::to_owned).into();
        let tokenizer = Tokenizer::of_units(Unit::Words, true, units).unwrap();
        let classes = Classes::new(["neg", "pos \"1\""].map(str::to_owned).into()).unwrap();
        TextSpec::new(tokenizer, classes).padded(pad).cut(Some(50), Side::Start).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_is_the_same_text() {
        let json = spec(Side::End).to_json();
        let wanted = r#"{"version":1,"tokenizer":{"unit":"words","start":true,"units":["a","film"]},"labels":["neg","pos \"1\""],"max_length":50,"truncate":"start"}"#;
        assert_eq!(json, wanted);
        assert_eq!(TextSpec::from_json(&json).unwrap(), spec(Side::End));
        let json = spec(Side::Start).to_json();
        assert_eq!(json, wanted.replace(r#""truncate":"start"}"#, r#""truncate":"start","pad":"start"}"#));
        assert_eq!(TextSpec::from_json(&json).unwrap(), spec(Side::Start));
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let json = spec(Side::Start).to_json();
        for (from, to, said) in [
            ("\"version\":1", "\"version\":2", "expected version 1, got 2"),
            ("\"words\"", "\"syllables\"", "unit: expected words or chars or whitespace, got \"syllables\""),
            ("\"start\",\"pad\"", "\"middle\",\"pad\"", "truncate: expected start or end, got \"middle\""),
            ("\"start\"}", "\"middle\"}", "pad: expected start or end, got \"middle\""),
            ("\"film\"", "\"a\"", "vocabulary: expected each word once, got \"a\" again as token 4"),
            (",\"max_length\":50", ",\"max_length\":0", "max_length: expected 1 or more, got 0"),
            ("\"neg\",", "", "expected two labels or more, got 1"),
            ("\"labels\"", "\"names\"", "unknown field `names`"),
            ("{", "", "expected JSON, got "),
        ] {
            let error = TextSpec::from_json(&json.replacen(from, to, 1)).unwrap_err();
            assert!(error.kind() == ErrorKind::Model && error.to_string().contains(said), "{error}");
        }
    }
}
