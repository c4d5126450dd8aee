//! The keys of a JSON object, taken one by one: every error names its key, and a key that nobody took is an error.
//!
//! Knows JSON; knows no model. A key that is `null` counts as left out.

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// The keys of an object that are not yet taken.
pub(super) struct Keys {
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Keys {
    pub(super) fn of(value: Value) -> Result<Self> {
        match value {
            Value::Object(left) => Ok(Self { left, known: Vec::new() }),
            other => Err(wrong(format!("expected an object, got {other}"))),
        }
    }

    /// What stands under `key`.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.left.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<usize>> {
        self.convert(key, "a whole number", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>> {
        self.convert(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.convert(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// One of `words`: each is what the JSON says, and what it means.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(Value, T)]) -> Result<Option<T>> {
        self.convert(key, &format!("one of {}", list(words)), |value| {
            words.iter().find(|(word, _)| word == value).map(|&(_, meaning)| meaning)
        })
    }

    /// As [`word`](Self::word), where the key may not be left out.
    pub(super) fn needed_word<T: Copy>(&mut self, key: &'static str, words: &[(Value, T)]) -> Result<T> {
        self.word(key, words)?.ok_or_else(|| wrong(format!("{key}: expected one of {}, got nothing", list(words))))
    }

    /// No key may be left.
    pub(super) fn finish(self) -> Result<()> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(key) => Err(wrong(format!("{key}: unknown key; the known ones are {}", self.known.join(", ")))),
        }
    }

    fn convert<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        meaning: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.take(key) {
            None => Ok(None),
            Some(value) => match meaning(&value) {
                Some(meaning) => Ok(Some(meaning)),
                None => Err(wrong(format!("{key}: expected {expected}, got {value}"))),
            },
        }
    }
}

fn list<T>(words: &[(Value, T)]) -> String {
    words.iter().map(|(word, _)| word.to_string()).collect::<Vec<_>>().join(", ")
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Model, message)
}
