//! `gatewave data`: what a file of labelled text, a series or a text as a whole holds, before anything is trained on it.

use std::io::Write;
use std::path::PathBuf;

use gatewave::data::{
    CorpusOptions, CorpusSummary, DataSummary, SeriesOptions, SeriesSummary, SummaryOptions, is_corpus,
};
use gatewave::{Error, ErrorKind, Result};

use crate::tensors::read_series;
use crate::text::{ColumnArgs, Tokens};
use crate::{Outcome, Verdict};

/// Tells what a file of labelled text, a series of numbers, or a text as a whole holds
///
/// Prints rows, labels and their balance, a histogram of lengths with quantiles, the share of words that a vocabulary lacks,
/// and what is kept of texts that are cut to a length. FILE is what `train --data` takes: .tsv (`label TAB text`, or columns
/// below their names), .csv with column names, .jsonl or .ndjson, or a folder with a folder of .txt files for each label.
///
/// A FILE that ends in .txt is a text as a whole. Prints how many characters or words there are, the most frequent ones, the
/// share that a vocabulary lacks, and with --window how many windows there are.
///
/// Else with --window FILE is a series of numbers: columns below their names (.csv), or arrays of a row for each time (.npy, .npz,
/// .safetensors). Prints rows, the range, mean and deviation of each column, and how many windows there are.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Labelled text: .tsv, .csv, .jsonl, .ndjson, or a folder; a text as a whole: .txt; with --window a series: .csv, .npy, .npz
    /// or .safetensors
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    read: ColumnArgs,
    /// Text: what is counted [default: words of labelled text, chars of a text as a whole]
    #[arg(long, value_enum)]
    tokenizer: Option<Tokens>,
    /// Text: tells of a vocabulary of this size alone; padding, start and unknown are three of its tokens
    #[arg(long, value_name = "N")]
    num_tokens: Option<usize>,
    /// Labelled text: tells of texts cut to this many tokens alone
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Series, and a text as a whole: the steps of a window
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Series: the steps that are foreseen behind a window [default: 1]
    #[arg(long, value_name = "N", requires = "window")]
    horizon: Option<usize>,
    /// Series: how many rows a window begins behind the one before it [default: 1]
    #[arg(long, value_name = "N", requires = "window")]
    stride: Option<usize>,
    /// Series: the columns to tell of, set apart by commas [default: all columns of numbers]
    #[arg(long, value_name = "A,B", requires = "window", value_delimiter = ',')]
    columns: Vec<String>,
    /// One JSON object in place of a text
    #[arg(long)]
    json: bool,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Labelled,
    Series,
    Corpus,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Labelled => "labelled text",
            Self::Series => "a series",
            Self::Corpus => "a text as a whole",
        }
    }
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let (text, json) = match args.kind()? {
        Kind::Labelled => {
            let summary = args.labelled()?;
            (summary.to_string(), summary.to_json())
        }
        Kind::Series => {
            let summary = args.series()?;
            (summary.to_string(), summary.to_json())
        }
        Kind::Corpus => {
            let summary = args.corpus()?;
            (summary.to_string(), summary.to_json())
        }
    };
    match args.json {
        true => writeln!(out, "{json}")?,
        false => write!(out, "{}: {text}", args.file.display())?,
    }
    Ok(Verdict::Done)
}

impl Args {
    /// What the file holds, by its name and by `--window`.
    ///
    /// # Errors
    ///
    /// Kind `Training`, where a flag is of another kind.
    fn kind(&self) -> Result<Kind> {
        use Kind::{Corpus, Labelled, Series};
        let kind = match self.window {
            _ if is_corpus(&self.file) => Corpus,
            Some(_) => Series,
            None => Labelled,
        };
        let flags: [(&str, bool, &[Kind]); 9] = [
            ("--text-column", self.read.text_column.is_some(), &[Labelled]),
            ("--label-column", self.read.label_column.is_some(), &[Labelled]),
            ("--max-length", self.max_length.is_some(), &[Labelled]),
            ("--stream", self.read.stream, &[Labelled, Corpus]),
            ("--tokenizer", self.tokenizer.is_some(), &[Labelled, Corpus]),
            ("--num-tokens", self.num_tokens.is_some(), &[Labelled, Corpus]),
            ("--horizon", self.horizon.is_some(), &[Series]),
            ("--stride", self.stride.is_some(), &[Series]),
            ("--columns", !self.columns.is_empty(), &[Series]),
        ];
        match flags.into_iter().find(|(_, is_given, kinds)| *is_given && !kinds.contains(&kind)) {
            None => Ok(kind),
            Some((flag, _, kinds)) => {
                let wanted = kinds.iter().map(|kind| kind.words()).collect::<Vec<_>>().join(" or ");
                let text = format!("{flag}: expected {wanted}, got {}", kind.words());
                Err(Error::new(ErrorKind::Training, text).at(self.file.display()))
            }
        }
    }

    fn labelled(&self) -> Result<DataSummary> {
        let rows = self.read.read(&self.file)?;
        let mut options = SummaryOptions::default();
        options.unit = self.tokenizer.map_or(options.unit, Into::into);
        (options.num_tokens, options.max_length) = (self.num_tokens, self.max_length);
        DataSummary::of(&rows, &options)
    }

    fn series(&self) -> Result<SeriesSummary> {
        let series = read_series(&self.file, self.read.max_bytes)?;
        // A series is one by its window.
        let mut options = SeriesOptions::window(self.window.unwrap_or_default());
        options.horizon = self.horizon.unwrap_or(options.horizon);
        options.stride = self.stride.unwrap_or(options.stride);
        options.columns = (!self.columns.is_empty()).then(|| self.columns.clone());
        SeriesSummary::of(&series, &options)
    }

    fn corpus(&self) -> Result<CorpusSummary> {
        let corpus = self.read.corpus(&self.file)?;
        let mut options = CorpusOptions::default();
        options.unit = self.tokenizer.map_or(options.unit, Into::into);
        options.num_tokens = self.num_tokens;
        CorpusSummary::of(&corpus, &options, self.window)
    }
}
