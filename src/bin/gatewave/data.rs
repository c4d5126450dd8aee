//! `gatewave data`: what a file of labelled text holds, before anything is trained on it.

use std::io::Write;
use std::path::PathBuf;

use gatewave::data::{DataSummary, SummaryOptions};

use crate::text::{ColumnArgs, Tokens};
use crate::{Outcome, Verdict};

/// Tells what a file of labelled text holds
///
/// Prints rows, labels and their balance, a histogram of lengths with quantiles, the share of words that a vocabulary lacks,
/// and what is kept of texts that are cut to a length. FILE is what `train --data` takes: .tsv (`label TAB text`, or columns
/// below their names), .csv with column names, .jsonl or .ndjson, or a folder with a folder of .txt files for each label.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Labelled text: .tsv, .csv, .jsonl, .ndjson, or a folder
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    columns: ColumnArgs,
    /// What is counted
    #[arg(long, value_enum, default_value = "words")]
    tokenizer: Tokens,
    /// Tells of a vocabulary of this size alone: padding, start and unknown are three of its tokens
    #[arg(long, value_name = "N")]
    num_tokens: Option<usize>,
    /// Tells of texts cut to this many tokens alone
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
    /// One JSON object in place of a text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let rows = args.columns.read(&args.file)?;
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
