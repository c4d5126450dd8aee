//! Takes JSON apart key by key. Every error names its key; a key that is not taken or occurs twice is an error.
//!
//! Knows JSON; knows no model. A key that is `null` counts as left out.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::cell::Constant;
use crate::error::{Error, ErrorKind, Result};

/// Parses `json`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Model`] if it is no JSON, or if an object in it has a key twice.
pub(super) fn parse(json: &str) -> Result<Value> {
    let once: Once = serde_json::from_str(json).map_err(|e| wrong(format!("expected JSON, got {e}")).because(e))?;
    Ok(once.0)
}

/// A value whose objects have each key only once. Of two, serde would silently take the last.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Self)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> std::result::Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some((key, Once(value))) = object.next_entry::<String, Once>()? {
            if values.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key \"{key}\" twice")));
            }
            values.insert(key, value);
        }
        Ok(values.into())
    }
}

/// The keys of an object that have not been taken yet.
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

    /// Takes the value of `key`.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.left.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn size(&mut self, key: &'static str) -> Result<Option<usize>> {
        self.convert(key, "a whole number", |value| value.as_u64().and_then(|n| usize::try_from(n).ok()))
    }

    /// Takes a size like [`size`](Self::size); the key is required.
    pub(super) fn needed_size(&mut self, key: &'static str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| wrong(format!("{key}: expected a whole number, got nothing")))
    }

    /// Takes a finite number that an f32 can hold, or "inf" or "-inf".
    pub(super) fn number(&mut self, key: &'static str) -> Result<Option<Constant>> {
        self.convert(key, "a number", |value| {
            let number = match value {
                Value::String(word) if word == "inf" => return Some(f32::INFINITY),
                Value::String(word) if word == "-inf" => return Some(f32::NEG_INFINITY),
                other => other.as_f64()?,
            };
            #[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest, and not past the largest")]
            Some(number as f32).filter(|number| number.is_finite())
        })
        .map(|number| number.map(Constant::new))
    }

    /// Takes a whole number, which may be negative.
    pub(super) fn whole(&mut self, key: &'static str) -> Result<Option<i64>> {
        self.convert(key, "a whole number", Value::as_i64)
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>> {
        self.convert(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.convert(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// Takes a string like [`text`](Self::text); the key is required.
    pub(super) fn needed_text(&mut self, key: &'static str) -> Result<String> {
        self.text(key)?.ok_or_else(|| wrong(format!("{key}: expected a string, got nothing")))
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Option<Vec<Value>>> {
        self.take(key).map(|value| list_of(key, value)).transpose()
    }

    /// Takes a list like [`list`](Self::list); the key is required.
    pub(super) fn needed_list(&mut self, key: &'static str) -> Result<Vec<Value>> {
        self.list(key)?.ok_or_else(|| wrong(format!("{key}: expected a list, got nothing")))
    }

    /// Takes one of `words`: each is the word in JSON, and its meaning.
    pub(super) fn word<W: Into<Value> + Clone, T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(W, T)],
    ) -> Result<Option<T>> {
        self.take(key).map(|value| word_of(&value, words).map_err(|e| e.at(key))).transpose()
    }

    /// Takes a word like [`word`](Self::word); the key is required.
    pub(super) fn needed_word<W: Into<Value> + Clone, T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(W, T)],
    ) -> Result<T> {
        self.word(key, words)?.ok_or_else(|| wrong(format!("{key}: expected one of {}, got nothing", listed(words))))
    }

    /// Checks that no key is left.
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

/// Returns the list that `value` is, the value of `key`.
fn list_of(key: &str, value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(wrong(format!("{key}: expected a list, got {other}"))),
    }
}

/// Returns the meaning of `value`, which is one of `words`.
pub(super) fn word_of<W: Into<Value> + Clone, T: Copy>(value: &Value, words: &[(W, T)]) -> Result<T> {
    let meaning = words.iter().find(|(word, _)| word.clone().into() == *value).map(|&(_, meaning)| meaning);
    meaning.ok_or_else(|| wrong(format!("expected one of {}, got {value}", listed(words))))
}

fn listed<W: Into<Value> + Clone, T>(words: &[(W, T)]) -> String {
    words.iter().map(|(word, _)| word.clone().into().to_string()).collect::<Vec<_>>().join(", ")
}

/// Returns the error of a wrong description.
pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Model, message)
}
