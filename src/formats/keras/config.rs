//! The configuration of a layer: JSON → keys, each with a row in the table.
//!
//! A key without a row is an error. A key that is never taken is an error too, unless
//! its row says that it changes no number. Every key stays until the end, so a row never
//! hides a key from the layer that checks it. Knows JSON and the table; knows no layer.

use serde_json::{Map, Value};

use super::attributes;
use crate::error::{Error, ErrorKind, Result};

/// A layer in a file: its class, its name and its configuration.
#[derive(Clone, Debug)]
pub(super) struct Config {
    class: &'static str,
    name: String,
    left: Map<String, Value>,
}

/// Returns the table's word for `class`, if it is a supported layer.
fn known(class: &str) -> Option<&'static str> {
    let words = attributes::ATTRIBUTES.iter().flat_map(|row| row.of.split(' '));
    words.into_iter().find(|&word| word == class).filter(|class| attributes::is_read(class))
}

impl Config {
    /// Reads the layer that `object` serializes: `{"class_name": …, "config": {…}, …}`.
    pub(super) fn of(object: &Value) -> Result<Self> {
        let Value::Object(keys) = object else {
            return Err(wrong(format!("expected a layer, got {}", short(object))));
        };
        let class = word(keys, "class_name")?;
        let config = match keys.get("config") {
            Some(Value::Object(config)) => config.clone(),
            other => return Err(wrong(format!("{class}: config: expected an object, got {}", absent(other)))),
        };
        let name = match config.get("name").or(keys.get("name")) {
            Some(Value::String(name)) if !name.is_empty() => name.clone(),
            other => return Err(wrong(format!("{class}: name: expected text, got {}", absent(other)))),
        };
        let class = match class {
            "Model" => "Functional",
            other => other,
        };
        let place = || format!("layer {name} ({class})");
        outside(keys).map_err(|e| e.at(place()))?;
        let class = known(class).ok_or_else(|| {
            let text = "this layer is not read; docs/formats.md lists those that are. A general runtime may run it";
            wrong(text.into()).at(place())
        })?;
        if let Some((key, value)) = config.iter().find(|(key, _)| attributes::of(class, key).is_none()) {
            return Err(wrong(format!("{key}: unknown key, with the value {}", short(value))).at(place()));
        }
        let mut left = config;
        left.remove("name");
        Ok(Self { class, name, left })
    }

    pub(super) fn class(&self) -> &'static str {
        self.class
    }

    /// Returns the layer for error messages.
    pub(super) fn place(&self) -> String {
        format!("layer {} ({})", self.name, self.class)
    }

    /// Takes the value of `key`; null counts as left out.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key).filter(|value| !value.is_null())
    }

    /// Returns the value of `key`, which stays to be taken.
    pub(super) fn peek(&self, key: &str) -> Option<&Value> {
        self.left.get(key)
    }

    /// Takes the value of `key`, including null.
    pub(super) fn take_even_null(&mut self, key: &str) -> Option<Value> {
        self.left.remove(key)
    }

    /// Checks that numbers of the layer's type are supported. They are computed in f32 in any case.
    pub(super) fn dtype(&mut self) -> Result<()> {
        let Some(value) = self.take("dtype") else { return Ok(()) };
        // A name, or a policy that has one.
        let name = match &value {
            Value::Object(policy) => policy.get("config").and_then(|config| config.get("name")).and_then(Value::as_str),
            value => value.as_str(),
        };
        match name {
            Some("float32") => Ok(()),
            Some(name @ ("float16" | "bfloat16" | "float64" | "mixed_float16" | "mixed_bfloat16")) => {
                log::warn!("{}: dtype {name}: computed in float32", self.place());
                Ok(())
            }
            _ => Err(wrong(format!("dtype: expected a float or a mixed policy, got {}", short(&value)))),
        }
    }

    /// Takes a whole number above 0.
    pub(super) fn size(&mut self, key: &str) -> Result<usize> {
        let value = self.take(key);
        let size = value.as_ref().and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        match size {
            Some(size @ 1..=0x7fff_ffff) => Ok(size),
            _ => Err(wrong(format!(
                "{key}: expected a whole number from 1 to 2147483647, got {}",
                absent(value.as_ref())
            ))),
        }
    }

    pub(super) fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.take(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong(format!("{key}: expected true or false, got {}", short(&other)))),
        }
    }

    pub(super) fn number(&mut self, key: &str) -> Result<Option<f32>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, reason = "Keras computes in float32 too")]
        let number = value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        number.map(Some).ok_or_else(|| wrong(format!("{key}: expected a number, got {}", short(&value))))
    }

    /// Refuses `key` unless it is `allowed`, or left out.
    pub(super) fn only(&mut self, key: &str, allowed: &Value) -> Result<()> {
        match self.take(key) {
            Some(value) if value != *allowed => {
                let note = attributes::of(self.class, key).map_or("", |row| row.note);
                Err(wrong(format!("{key}: expected {allowed}, got {} (refused: {note})", short(&value))))
            }
            _ => Ok(()),
        }
    }

    /// Checks that no key is left that could change a number.
    pub(super) fn finish(self) -> Result<()> {
        let changes = |key: &&String| !attributes::changes_nothing(self.class, key);
        match self.left.keys().find(changes) {
            None => Ok(()),
            Some(key) => Err(wrong(format!("{key}: not read in a layer of this kind"))),
        }
    }
}

/// Checks the keys of a layer besides its configuration.
fn outside(keys: &Map<String, Value>) -> Result<()> {
    for (key, value) in keys {
        match key.as_str() {
            "class_name" | "config" | "name" => {}
            // These tell how a layer was built and compiled. Its place in a graph is read elsewhere.
            "build_config" | "compile_config" | "inbound_nodes" | "shared_object_id" | "backend" | "keras_version" => {}
            "module" => {
                let module = value.as_str().unwrap_or_default();
                if !value.is_null()
                    && !["keras", "tf_keras", "tensorflow"].contains(&module.split('.').next().unwrap_or_default())
                {
                    return Err(wrong(format!(
                        "module: expected one of Keras, got {}; a layer of somebody's own is not read",
                        short(value)
                    )));
                }
            }
            "registered_name" => {
                if value.as_str().is_some_and(|name| Some(name) != keys.get("class_name").and_then(Value::as_str)) {
                    return Err(wrong(format!("registered_name: expected a layer of Keras, got {}", short(value))));
                }
            }
            _ => return Err(wrong(format!("{key}: unknown key beside config"))),
        }
    }
    Ok(())
}

/// Returns the text under `key`.
pub(super) fn word<'a>(keys: &'a Map<String, Value>, key: &str) -> Result<&'a str> {
    keys.get(key)
        .and_then(Value::as_str)
        .ok_or_else(|| wrong(format!("{key}: expected text, got {}", absent(keys.get(key)))))
}

/// Returns a value in a few words; the value may be of any length.
pub(super) fn short(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn absent(value: Option<&Value>) -> String {
    value.map_or("nothing".into(), short)
}

pub(super) fn wrong(message: String) -> Error {
    Error::new(ErrorKind::Model, message)
}
