//! JSON whose keys are in an order for readers. Knows no model.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::cell::Constant;

/// A JSON value.
pub(super) enum Json {
    /// A value that contains no object.
    Value(Value),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(&'static str, Self)>),
}

impl Json {
    /// Returns the list of `json` of each item.
    pub(super) fn list<T>(items: impl IntoIterator<Item = T>, json: impl Fn(T) -> Self) -> Self {
        Self::List(items.into_iter().map(json).collect())
    }

    /// Returns a number in its shortest form: as Rust prints an f32, if that is read back as the same f32.
    pub(super) fn number(constant: Constant) -> Self {
        let number = constant.get();
        if number.is_infinite() {
            return Self::from(if number > 0.0 { "inf" } else { "-inf" });
        }
        let short: f64 = number.to_string().parse().expect("a printed f32 is an f64");
        #[expect(clippy::cast_possible_truncation, reason = "whether it is the same is what is asked")]
        let same = short as f32 == number;
        Self::Value(if same { short.into() } else { f64::from(number).into() })
    }
}

impl<T: Into<Value>> From<T> for Json {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::List(items) => items.serialize(serializer),
            Self::Object(keys) => {
                let mut map = serializer.serialize_map(Some(keys.len()))?;
                for (key, value) in keys {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}
