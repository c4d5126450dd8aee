//! `gatewave data`: what a file of labelled text or a series holds, before anything is trained on it.

use std::io::Write;
use std::path::PathBuf;

use gatewave::Result;
use gatewave::data::{DataSummary, SeriesOptions, SeriesSummary, SummaryOptions};

use crate::tensors::read_series;
use crate::text::{ColumnArgs, Tokens};
use crate::{Outcome, Verdict};

/// Tells what a file of labelled text, or a series of numbers, holds
///
/// Prints rows, labels and their balance, a histogram of lengths with quantiles, the share of words that a vocabulary lacks,
/// and what is kept of texts that are cut to a length. FILE is what `train --data` takes: .tsv (`label TAB text`, or columns
/// below their names), .csv with column names, .jsonl or .ndjson, or a folder with a folder of .txt files for each label.
///
/// With --window FILE is a series of numbers: columns below their names (.csv), or arrays of a row for each time (.npy, .npz, .safetensors).
/// Prints rows, the range, mean and deviation of each column, and how many windows there
/// are.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Labelled text: .tsv, .csv, .jsonl, .ndjson, or a folder; with --window a series: .csv, .npy, .npz or .safetensors
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    read: ColumnArgs,
    /// What is counted
    #[arg(long, value_enum, default_value = "words")]
    tokenizer: Tokens,
    /// Tells of a vocabulary of this size alone: padding, start and unknown are three of its tokens
    #[arg(long, value_name = "N")]
    num_tokens: Option<usize>,
    /// Tells of texts cut to this many tokens alone
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// Series: the steps of a window
    #[arg(long, value_name = "N", conflicts_with_all = ["text_column", "label_column", "num_tokens", "max_length", "stream"])]
    window: Option<usize>,
    /// Series: the steps that are foreseen behind a window
    #[arg(long, value_name = "N", default_value_t = 1, requires = "window")]
    horizon: usize,
    /// Series: how many rows a window begins behind the one before it
    #[arg(long, value_name = "N", default_value_t = 1, requires = "window")]
    stride: usize,
    /// Series: the columns to tell of, set apart by commas [default: all columns of numbers]
    #[arg(long, value_name = "A,B", requires = "window", value_delimiter = ',')]
    columns: Vec<String>,
    /// One JSON object in place of a text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    if let Some(window) = args.window {
        let summary = args.series(window)?;
        match args.json {
            true => writeln!(out, "{}", summary.to_json())?,
            false => write!(out, "{}: {summary}", args.file.display())?,
        }
        return Ok(Verdict::Done);
    }
    let rows = args.read.read(&args.file)?;
    let mut options = SummaryOptions::default();
    options.unit = args.tokenizer.into();
    (options.num_tokens, options.max_length) = (args.num_tokens, args.max_length);
    let summary = DataSummary::of(&rows, &options)?;
    match args.json {
        true => writeln!(out, "{}", summary.to_json())?,
        false => write!(out, "{}: {summary}", args.file.display())?,
    }
    Ok(Verdict::Done)
}

impl Args {
    /// What a series holds.
    fn series(&self, window: usize) -> Result<SeriesSummary> {
        let series = read_series(&self.file, self.read.max_bytes)?;
        let mut options = SeriesOptions::window(window).horizon(self.horizon).stride(self.stride);
        options.columns = (!self.columns.is_empty()).then(|| self.columns.clone());
        SeriesSummary::of(&series, &options)
    }
}
