//! `.jsonl` and `.ndjson`: a JSON object a line.

use serde_json::{Map, Value};

use super::columns::{listed, shortened};
use super::{Ends, ReadOptions, again, wrong};
use crate::data::labelled::{Example, SourceLocation};
use crate::error::Result;

/// Reads the rows of the file `source`.
///
/// # Errors
///
/// Returns an error of kind [`ErrorKind::Io`](crate::ErrorKind::Io),
/// with the line, if the file cannot be read or a line does not fit.
pub(super) fn read(source: &SourceLocation, options: &ReadOptions) -> Result<Vec<Example>> {
    let own = options.clone();
    let again = again(source, move |line| Ok(fields(line, &own)?[1].clone()));
    let mut rows = Vec::new();
    for piece in options.pieces(source, Ends::Lines)? {
        for line in piece?.lines().filter(|line| !line.text.trim().is_empty()) {
            let place = source.line(line.number);
            let [label, text] = fields(line.text, options).map_err(|e| e.at(&place))?;
            let row = Example::new(text, &label, place)?;
            rows.push(if options.stream { row.stored(line.bytes, &again) } else { row });
        }
    }
    Ok(rows)
}

/// Returns the label and the text of a line.
fn fields(line: &str, options: &ReadOptions) -> Result<[String; 2]> {
    let object: Map<String, Value> = serde_json::from_str(line).map_err(|e| {
        let text = format!("expected an object of JSON, got {}: {e}", shortened(line));
        wrong(text).because(e)
    })?;
    let value = |what: &str, key: &str| match object.get(key) {
        Some(value) => Ok(value),
        None => {
            let keys: Vec<&String> = object.keys().collect();
            let hint = format!("--{what}-column NAME says which holds the {what}");
            Err(wrong(format!("expected a key {key}, got {}", listed(&keys))).hint(hint))
        }
    };
    let (label_key, text_key) = (options.label(), options.text());
    let label = match value("label", label_key)? {
        Value::String(label) => label.clone(),
        scalar @ (Value::Number(_) | Value::Bool(_)) => scalar.to_string(),
        other => {
            let got = shortened(&other.to_string());
            let text = format!("{label_key}: expected a string, a number or a boolean, got {got}");
            return Err(wrong(text));
        }
    };
    match value("text", text_key)? {
        Value::String(text) => Ok([label, text.clone()]),
        other => {
            let got = shortened(&other.to_string());
            Err(wrong(format!("{text_key}: expected a string, got {got}")))
        }
    }
}
