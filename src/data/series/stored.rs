//! A [`SeriesSpec`] ⇄ JSON, as it is in the metadata of a model's file.

use serde::{Deserialize, Serialize};

use super::scale::Scale;
use super::spec::{SeriesOptions, SeriesSpec};
use crate::data::stored::{VERSION, damaged, kept, plain};
use crate::error::Result;
use crate::formats::Metadata;

/// The keys in the order in which they are written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u64,
    /// The scales of every column that is read or predicted.
    scales: Vec<StoredScale>,
    columns: Vec<String>,
    targets: Vec<String>,
    window: usize,
    horizon: usize,
    stride: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredScale {
    column: String,
    mean: f64,
    std: f64,
}

impl SeriesSpec {
    /// The key of the spec in the metadata of a model's file.
    pub const KEY: &'static str = "gatewave.series";

    /// Writes the spec as JSON; equal specs give equal texts on every machine.
    /// [`formats::write_with`](crate::formats::write_with) keeps it in a model's file, under [`KEY`](Self::KEY).
    pub fn to_json(&self) -> String {
        let scale =
            |Scale { column, mean, std }: &Scale| StoredScale { column: column.clone(), mean: *mean, std: *std };
        let stored = Stored {
            version: VERSION,
            scales: self.scales().iter().map(scale).collect(),
            columns: self.inputs().map(|scale| scale.column.clone()).collect(),
            targets: self.targets().map(|scale| scale.column.clone()).collect(),
            window: self.window(),
            horizon: self.horizon(),
            stride: self.stride(),
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
        let Stored { scales, columns, targets, window, horizon, stride, .. } = plain(json)?;
        let scales = scales.into_iter().map(|StoredScale { column, mean, std }| Scale { column, mean, std });
        let options = SeriesOptions::window(window).horizon(horizon).stride(stride);
        Self::new(scales.collect(), &columns, &targets, &options).map_err(|e| damaged(e.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn spec() -> SeriesSpec {
        let scale = |column: &str, mean, std| Scale { column: column.to_owned(), mean, std };
        let scales = vec![scale("a", 0.1, 2.5), scale("b \"1\"", -1e-7, 1.0 / 3.0)];
        let options = SeriesOptions::window(24).horizon(6).stride(2);
        SeriesSpec::new(scales, &["a".to_owned()], &["b \"1\"".to_owned(), "a".to_owned()], &options).unwrap()
    }

    #[test]
    fn what_is_written_is_read_and_is_the_same_text() {
        let json = spec().to_json();
        let wanted = r#"{"version":1,"scales":[{"column":"a","mean":0.1,"std":2.5},{"column":"b \"1\"","mean":-1e-7,"std":0.3333333333333333}],"columns":["a"],"targets":["b \"1\"","a"],"window":24,"horizon":6,"stride":2}"#;
        assert_eq!(json, wanted);
        assert_eq!(SeriesSpec::from_json(&json).unwrap(), spec());
        let metadata = Metadata::from([(SeriesSpec::KEY.to_owned(), json)]);
        assert_eq!(SeriesSpec::of_metadata(&metadata).unwrap(), Some(spec()));
        assert_eq!(SeriesSpec::of_metadata(&Metadata::new()).unwrap(), None);
    }

    #[test]
    fn scales_are_read_to_the_last_bit() {
        let mut number = 0.123_456_789_012_345_f64;
        for _ in 0..1000 {
            number = f64::from_bits(number.to_bits() ^ (number.to_bits() >> 11) & 0xf_ffff_ffff_ffff) * 1.37;
            let scales = vec![Scale { column: "a".to_owned(), mean: -number, std: number }];
            let names = ["a".to_owned()];
            let spec = SeriesSpec::new(scales, &names, &names, &SeriesOptions::window(2)).unwrap();
            assert_eq!(SeriesSpec::from_json(&spec.to_json()).unwrap(), spec);
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let json = spec().to_json();
        for (from, to, said) in [
            ("\"version\":1", "\"version\":2", "expected version 1, got 2"),
            (
                "\"std\":2.5",
                "\"std\":0.0",
                "column \"a\": expected a finite mean and a deviation above 0, got 0.1 and 0",
            ),
            ("\"std\":2.5", "\"std\":-1.0", "column \"a\": expected a finite mean and a deviation above 0"),
            ("[\"a\"]", "[\"c\"]", "columns: expected a scale of \"c\", got none"),
            ("[\"a\"]", "[]", "columns: expected at least one column, got none"),
            ("[\"a\"]", "[\"a\",\"a\"]", "columns: expected each column once, got \"a\" twice"),
            ("\"window\":24", "\"window\":0", "window: expected 1 or more, got 0"),
            ("\"stride\":2", "\"step\":2", "unknown field `step`"),
            ("{", "", "expected JSON, got "),
        ] {
            let error = SeriesSpec::from_json(&json.replacen(from, to, 1)).unwrap_err();
            assert!(error.kind() == ErrorKind::Model && error.to_string().contains(said), "{error}");
        }
    }
}
