//! What several subcommands share about data: the flags of text, and errors of forecasts of a time series in words.

use std::path::Path;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use gatewave::data::{Corpus, Labelled, ReadOptions, Side, TargetError, TextSpec, Unit, is_labelled_text};
use gatewave::train::{Dataset, Objective};
use gatewave::{Error, ErrorKind, Model, Result};

use crate::args::{is_description, metadata};
use crate::files;
use crate::messages::note;

/// How labelled text is read.
#[derive(clap::Args)]
pub(crate) struct ColumnArgs {
    /// Labelled text: the column or key of the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub(crate) text_column: Option<String>,
    /// Labelled text: the column or key of the label [default: label]
    #[arg(long, value_name = "NAME")]
    pub(crate) label_column: Option<String>,
    /// Text and time series: the most bytes of a file, or of all files of a folder; with
    /// --stream those of a row, or of a line of a plain-text corpus [default: 1 GiB]
    #[arg(long, value_name = "N")]
    pub(crate) max_bytes: Option<u64>,
    /// Leave rows in their file and read them when a batch takes them: for files that are larger than memory
    #[arg(long)]
    pub(crate) stream: bool,
}

impl ColumnArgs {
    /// Returns its flags, and whether each was given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 4] {
        let Self { text_column, label_column, max_bytes, stream } = self;
        [
            ("--text-column", text_column.is_some()),
            ("--label-column", label_column.is_some()),
            ("--max-bytes", max_bytes.is_some()),
            ("--stream", *stream),
        ]
    }

    /// Reads the rows of a file or a folder. Prints warnings about them on standard error.
    pub(crate) fn read(&self, path: &Path) -> Result<Labelled> {
        if path.exists() && !is_labelled_text(path) {
            let text = "expected labelled text (a folder, .tsv, .csv, .jsonl, .ndjson or .conll), a plain-text corpus \
                        (.txt), or with --window a time series";
            return Err(Error::new(ErrorKind::Io, text).at(files::name(path)));
        }
        let mut options = ReadOptions::default().max_bytes(self.max_bytes.unwrap_or(ReadOptions::MAX_BYTES));
        options.text_column.clone_from(&self.text_column);
        options.label_column.clone_from(&self.label_column);
        options.stream = self.stream;
        let rows = Labelled::read(path, &options)?;
        rows.warnings().iter().for_each(|warning| note(format_args!("warning: {warning}")));
        Ok(rows)
    }

    /// Reads the whole text of a file.
    pub(crate) fn corpus(&self, path: &Path) -> Result<Corpus> {
        let max_bytes = self.max_bytes.unwrap_or(ReadOptions::MAX_BYTES);
        match self.stream {
            true => Corpus::open(path, max_bytes),
            false => Corpus::read(path, max_bytes),
        }
    }

    /// Returns the rows of labelled text as examples of `model`.
    pub(crate) fn examples(
        &self,
        spec: &TextSpec,
        model: &Model,
        objective: &Objective,
        rows: Labelled,
    ) -> Result<Dataset> {
        match self.stream {
            true => Dataset::of(model, objective.clone(), spec.examples(model, rows)?),
            false => {
                let tensors = spec.tensors(model, &rows)?;
                Dataset::new(model, objective.clone(), tensors).map_err(|e| e.at(rows.source()))
            }
        }
    }
}

/// Reads what the model file at `path` keeps of the labelled text that it was trained on.
///
/// # Errors
///
/// Returns an error of kind `Model` if it keeps none.
pub(crate) fn kept_text(path: &Path) -> Result<TextSpec> {
    let got = if is_description(path)? {
        "a description alone; train it first (gatewave train MODEL --data FILE.tsv --output OUT.safetensors)"
    } else if let Some(spec) = TextSpec::of_metadata(&metadata(path)?).map_err(|e| e.at(files::name(path)))? {
        return Ok(spec);
    } else {
        "one without; gatewave train makes such a model from labelled text (--data FILE.tsv)"
    };
    let text = format!("expected a model with a tokenizer and labels, got {got}");
    Err(Error::new(ErrorKind::Model, text).at(path.display()))
}

/// The kind of data that a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tensors,
    Labelled,
    Series,
    Corpus,
}

impl Kind {
    /// Returns its name in messages.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Tensors => "tensors",
            Self::Labelled => "labelled text",
            Self::Series => "a time series",
            Self::Corpus => "a plain-text corpus",
        }
    }
}

/// Parses what a token represents, by the words of [`Unit`].
pub(crate) fn unit() -> impl TypedValueParser<Value = Unit> {
    let help = |unit| match unit {
        Unit::Words => "words in lower case, without punctuation",
        Unit::Characters => "characters",
        Unit::Whitespace => "what stands between white space, unchanged",
        _ => "",
    };
    of_words(&Unit::WORDS, help)
}

/// Parses an end of a text, by the words of [`Side`].
pub(crate) fn side() -> impl TypedValueParser<Value = Side> {
    let help = |side| match side {
        Side::Start => "the beginning",
        Side::End => "the end",
    };
    of_words(&Side::WORDS, help)
}

/// Parses a value by its word.
fn of_words<T: Copy + Send + Sync + 'static>(
    words: &'static [(&'static str, T)],
    help: impl Fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let value = |(word, value): &(&'static str, T)| PossibleValue::new(*word).help(help(*value));
    PossibleValuesParser::new(words.iter().map(value)).map(move |said| {
        let meant = words.iter().find(|(word, _)| *word == said);
        meant.expect("only these words are possible").1
    })
}

/// Describes the errors of forecasts, and those of repeating the last values.
pub(crate) fn own_units(errors: &[TargetError]) -> String {
    let told = |TargetError { column, model, last_value, .. }: &TargetError| {
        format!("{column} {}, of the last value {}", brief(*model), brief(*last_value))
    };
    format!("mean absolute error in own units: {}", errors.iter().map(told).collect::<Vec<_>>().join("; "))
}

/// Writes a number in a few characters.
fn brief(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-3..1e6).contains(&size) { format!("{number:.4}") } else { format!("{number:.4e}") }
}
