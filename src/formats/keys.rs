//! JSON taken apart key by key: every error names its key, and a key that nobody took, or that stands twice, is one.
//!
//! Knows JSON; knows no model. A key that is `null` counts as left out.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::cell::Constant;
use crate::error::{Error, ErrorKind, Result};

/// The value that `json` is.
///
/// # Errors
///
/// Kind `Model`, where it is no JSON, or an object in it has a key twice.
pub(super) fn parse(json: &str) -> Result<Value> {
    let once: Once = serde_json::from_str(json).map_err(|e| wrong(format!("expected JSON, got {e}")).because(e))?;
    Ok(once.0)
}

/// A value whose objects have each key once: of two, serde takes the last without a word.
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

    /// As [`size`](Self::size), where the key may not be left out.
    pub(super) fn needed_size(&mut self, key: &'static str) -> Result<usize> {
        self.size(key)?.ok_or_else(|| wrong(format!("{key}: expected a whole number, got nothing")))
    }

    /// A number that is one of f32, or "inf" or "-inf".
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

    /// A whole number, which may be negative.
    pub(super) fn whole(&mut self, key: &'static str) -> Result<Option<i64>> {
        self.convert(key, "a whole number", Value::as_i64)
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Result<Option<bool>> {
        self.convert(key, "true or false", Value::as_bool)
    }

    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        self.convert(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// As [`text`](Self::text), where the key may not be left out.
    pub(super) fn needed_text(&mut self, key: &'static str) -> Result<String> {
        self.text(key)?.ok_or_else(|| wrong(format!("{key}: expected a string, got nothing")))
    }

    pub(super) fn list(&mut self, key: &'static str) -> Result<Option<Vec<Value>>> {
        self.take(key).map(|value| list_of(key, value)).transpose()
    }

    /// As [`list`](Self::list), where the key may not be left out.
    pub(super) fn needed_list(&mut self, key: &'static str) -> Result<Vec<Value>> {
        self.list(key)?.ok_or_else(|| wrong(format!("{key}: expected a list, got nothing")))
    }

    /// One of `words`: each is what the JSON says, and what it means.
    pub(super) fn word<W: Into<Value> + Clone, T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(W, T)],
    ) -> Result<Option<T>> {
        self.take(key).map(|value| word_of(&value, words).map_err(|e| e.at(key))).transpose()
    }

    /// As [`word`](Self::word), where the key may not be left out.
    pub(super) fn needed_word<W: Into<Value> + Clone, T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(W, T)],
    ) -> Result<T> {
        self.word(key, words)?.ok_or_else(|| wrong(format!("{key}: expected one of {}, got nothing", listed(words))))
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

/// The list that stands under `key`.
fn list_of(key: &str, value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(list) => Ok(list),
        other => Err(wrong(format!("{key}: expected a list, got {other}"))),
    }
}

/// What `value` means, which is one of `words`.
pub(super) fn word_of<W: Into<Value> + Clone, T: Copy>(value: &Value, words: &[(W, T)]) -> Result<T> {
    let meaning = words.iter().find(|(word, _)| word.clone().into() == *value).map(|&(_, meaning)| meaning);
    meaning.ok_or_else(|| wrong(format!("expected one of {}, got {value}", listed(words))))
}

fn listed<W: Into<Value> + Clone, T>(words: &[(W, T)]) -> String {
    words.iter().map(|(word, _)| word.clone().into().to_string()).collect::<Vec<_>>().join(", ")
}

/// A description that is wrong.
pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Model, message)
}
