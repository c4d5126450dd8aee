//! The words of descriptions and their meanings: one table for each,
//! for reading and writing. The words of a layer are in its own file.

use serde_json::Value;

use super::ordered::Json;
use crate::cell::Activation;
use crate::error::Result;
use crate::formats::keys::{Keys, word_of, wrong};
use crate::model::{Dim, Required, WeightPart};

pub(super) const REQUIRED: [(&str, Required); 2] = [("sequence", Required::Sequence), ("all", Required::All)];

pub(super) const DIMS: [(&str, Dim); 6] = [
    ("time", Dim::Time),
    ("batch", Dim::Batch),
    ("features", Dim::Features),
    ("directions", Dim::Directions),
    ("layers", Dim::Layers),
    ("one", Dim::One),
];

pub(super) const PARTS: [(&str, WeightPart); 4] = [
    ("input", WeightPart::Input),
    ("recurrent", WeightPart::Recurrent),
    ("bias", WeightPart::Bias),
    ("peepholes", WeightPart::Peepholes),
];

/// Returns the word in `table` for `meaning`.
pub(super) fn word<T: PartialEq>(table: &[(&'static str, T)], meaning: &T) -> Json {
    let (word, _) = table.iter().find(|(_, m)| m == meaning).expect("the table holds every variant");
    Json::from(*word)
}

/// Reads the function that `value` names: a name, or an object with the name and constants.
pub(super) fn function(value: Value) -> Result<Activation> {
    let named = |name: &Value| word_of(name, &Activation::ALL.map(|function| (function.name(), function)));
    if !value.is_object() {
        return named(&value);
    }
    let mut keys = Keys::of(value)?;
    let name = keys.take("name").ok_or_else(|| wrong("name: expected the name of a function, got nothing".into()))?;
    let function = named(&name).map_err(|e| e.at("name"))?;
    let constants = function.constants().into_iter().map(|(key, usual)| Ok(keys.number(key)?.unwrap_or(usual)));
    let constants = constants.collect::<Result<Vec<_>>>()?;
    keys.finish()?;
    Ok(function.with_constants(&constants))
}

/// Takes the function under `key`.
pub(super) fn function_of(keys: &mut Keys, key: &'static str) -> Result<Option<Activation>> {
    keys.take(key).map(|value| function(value).map_err(|e| e.at(key))).transpose()
}

/// Returns the JSON that [`function`] reads: only the name if the constants are the usual ones.
pub(super) fn function_json(function: Activation) -> Json {
    if Activation::ALL.contains(&function) {
        return Json::from(function.name());
    }
    let constants = function.constants().into_iter().map(|(key, constant)| (key, Json::number(constant)));
    Json::Object(std::iter::once(("name", Json::from(function.name()))).chain(constants).collect())
}
