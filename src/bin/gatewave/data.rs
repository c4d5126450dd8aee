//! `gatewave data`: the contents of a file of labelled text, of a time series,
//! of a plain-text corpus or of tensors, before anything is trained on it.

use std::io::Write;
use std::path::PathBuf;

use gatewave::data::{
    CorpusOptions, CorpusSummary, DataSummary, SeriesOptions, SeriesSummary, SummaryOptions, TensorsSummary, Unit,
    is_corpus, is_labelled_text,
};
use gatewave::{Error, ErrorKind, Result};

use crate::files::{data_parser, name};
use crate::tensors::{can_hold_series, read_bounded, read_series};
use crate::text::{ColumnArgs, Kind, unit};
use crate::{Outcome, Verdict};

/// Summarises a file of labelled text, a time series, a plain-text corpus, or tensors
///
/// Prints rows, labels and their balance, and a histogram of lengths with quantiles. Also prints the share
/// of words that a vocabulary lacks, and how much of the texts is kept if they are cut to a length. FILE
/// is what `train --data` takes: .tsv (`label TAB text`, or columns below their names), .csv with column
/// names, .jsonl or .ndjson. It may also be a folder that has a folder of .txt files for each label.
/// A .conll, .conllu, .bio, .iob or .iob2 file has a token and its tag on each line, and counts tags.
///
/// A FILE that ends in .txt is a plain-text corpus. Prints how many characters or words there are, the most frequent
/// ones, and the share that a vocabulary lacks. With --window it also prints how many windows there are.
///
/// With --window any other FILE is a time series: columns below their names
/// (.csv), or arrays with a row for each time (.npy, .npz, .safetensors). Prints rows,
/// the range, mean and deviation of each column, and how many windows there are.
///
/// Without --window, arrays are tensors to train on, with the rows along their first axis. Prints the shape and the
/// range of each, the classes of targets (`y`) and their balance, and a histogram of `lengths` or of a `mask`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Labelled text: .tsv, .csv, .jsonl, .ndjson, .conll, or a folder; a plain-text corpus: .txt; tensors: .npz, .npy
    /// or .safetensors; with --window a time series: .csv or arrays; or `-` for standard input, whose first line shows
    /// what it is
    #[arg(value_name = "FILE", value_parser = data_parser())]
    file: PathBuf,
    #[command(flatten)]
    read: ColumnArgs,
    /// Text: what is counted [default: words of labelled text, chars of a plain-text corpus]
    #[arg(long, value_name = "UNIT", value_parser = unit())]
    tokenizer: Option<Unit>,
    /// Text: the only size of vocabulary to report; padding, start and unknown are three of its tokens
    #[arg(long, value_name = "N")]
    num_tokens: Option<usize>,
    /// Labelled text: the only length of cut texts to report, in tokens
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Time series and plain-text corpora: the steps of a window
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Time series: how many steps after a window are predicted [default: 1]
    #[arg(long, value_name = "N", requires = "window")]
    horizon: Option<usize>,
    /// Time series: how many rows each window begins after the one before it [default: 1]
    #[arg(long, value_name = "N", requires = "window")]
    stride: Option<usize>,
    /// Time series: the columns to report, separated by commas [default: all columns of numbers]
    #[arg(long, value_name = "A,B", requires = "window", value_delimiter = ',')]
    columns: Vec<String>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
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
        Kind::Tensors => {
            let tensors = read_bounded(&args.file, args.read.max_bytes)?;
            let summary = TensorsSummary::of(&tensors).map_err(|e| e.at(name(&args.file)))?;
            (summary.to_string(), summary.to_json())
        }
    };
    match args.json {
        true => writeln!(out, "{json}")?,
        false => write!(out, "{}: {text}", name(&args.file))?,
    }
    Ok(Verdict::Done)
}

impl Args {
    /// Returns what the file holds, by its name and by `--window`.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Training` if a flag is for another kind.
    fn kind(&self) -> Result<Kind> {
        use Kind::{Corpus, Labelled, Series};
        let kind = match self.window {
            _ if is_corpus(&self.file) => Corpus,
            Some(_) => Series,
            None if is_labelled_text(&self.file) || !can_hold_series(&self.file) => Labelled,
            None => Kind::Tensors,
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
        if rows.is_tagged() && self.tokenizer.is_some() {
            let text = "--tokenizer: expected none, since the tokens of tagged text are those of the file";
            return Err(Error::new(ErrorKind::Training, text).at(rows.source()));
        }
        let mut options = SummaryOptions::default();
        options.unit = self.tokenizer.unwrap_or(options.unit);
        (options.num_tokens, options.max_length) = (self.num_tokens, self.max_length);
        DataSummary::of(&rows, &options)
    }

    fn series(&self) -> Result<SeriesSummary> {
        let series = read_series(&self.file, self.read.max_bytes)?;
        // Without a window the file would not count as a series.
        let mut options = SeriesOptions::window(self.window.unwrap_or_default());
        options.horizon = self.horizon.unwrap_or(options.horizon);
        options.stride = self.stride.unwrap_or(options.stride);
        options.columns = (!self.columns.is_empty()).then(|| self.columns.clone());
        SeriesSummary::of(&series, &options)
    }

    fn corpus(&self) -> Result<CorpusSummary> {
        let corpus = self.read.corpus(&self.file)?;
        let mut options = CorpusOptions::default();
        options.unit = self.tokenizer.unwrap_or(options.unit);
        options.num_tokens = self.num_tokens;
        CorpusSummary::of(&corpus, &options, self.window)
    }
}
