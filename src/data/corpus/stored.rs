//! A [`CorpusSpec`] ⇄ JSON, as it is in the metadata of a model's file.

use serde::{Deserialize, Serialize};

use super::spec::{CorpusSpec, Vocabulary};
use crate::data::stored::{StoredTokenizer, VERSION, damaged, kept, plain};
use crate::error::{Error, Result};
use crate::formats::Metadata;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u64,
    tokenizer: StoredTokenizer,
}

impl CorpusSpec {
    /// The key of the spec in the metadata of a model's file.
    pub const KEY: &'static str = "gatewave.corpus";

    /// Writes the spec as JSON; equal specs give equal texts on every machine. Returns none if the
    /// vocabulary is in the model's description. [`formats::write_with`](crate::formats::write_with)
    /// keeps it in a model's file, under [`KEY`](Self::KEY).
    pub fn to_json(&self) -> Option<String> {
        let Vocabulary::Learned(tokenizer) = &self.0 else { return None };
        let stored = Stored { version: VERSION, tokenizer: StoredTokenizer::of(tokenizer) };
        Some(serde_json::to_string(&stored).expect("plain data"))
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    ///
    /// # Errors
    ///
    /// Returns an error of kind [`ErrorKind::Model`](crate::ErrorKind::Model)
    /// if the text is of another version, or is no spec.
    pub fn from_json(json: &str) -> Result<Self> {
        let stored: Stored = plain(json)?;
        stored.tokenizer.read().and_then(Self::new).map_err(|e: Error| damaged(e.to_string()))
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
