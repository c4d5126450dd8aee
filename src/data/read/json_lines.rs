//! `.jsonl` and `.ndjson`: an object of JSON a line.

use serde_json::{Map, Value};

use super::columns::{listed, shortened};
use super::{ReadOptions, wrong};
use crate::data::labelled::{Example, Place};
use crate::error::Result;

/// The rows of `text`, which is the file `source`.
///
/// # Errors
///
/// Kind `Io`, with the line.
pub(super) fn read(source: &Place, text: &str, options: &ReadOptions) -> Result<Vec<Example>> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| row(line, source.line(index + 1), options)).collect()
}

fn row(line: &str, place: Place, options: &ReadOptions) -> Result<Example> {
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|e| {
        let text = format!("expected an object of JSON, got {}: {e}", shortened(line));
        wrong(text).because(e).at(&place)
    })?;
    let value = |what: &str, key: &str| match object.get(key) {
        Some(value) => Ok(value),
        None => {
            let keys: Vec<&String> = object.keys().collect();
            let hint = format!("--{what}-column NAME says which holds the {what}");
            Err(wrong(format!("expected a key {key}, got {}", listed(&keys))).hint(hint).at(&place))
        }
    };
    let (label_key, text_key) = (options.label(), options.text());
    let label = match value("label", label_key)? {
        Value::String(label) => label.clone(),
        scalar @ (Value::Number(_) | Value::Bool(_)) => scalar.to_string(),
        other => {
            let got = shortened(&other.to_string());
            let text = format!("{label_key}: expected a string, a number or a boolean, got {got}");
            return Err(wrong(text).at(place));
        }
    };
    match value("text", text_key)? {
        Value::String(text) => Example::new(text, &label, place),
        other => {
            let got = shortened(&other.to_string());
            Err(wrong(format!("{text_key}: expected a string, got {got}")).at(place))
        }
    }
}
