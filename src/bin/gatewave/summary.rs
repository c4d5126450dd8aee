//! `gatewave summary`: the layers of a model, their outputs, and how many parameters each has.

use std::io::Write;

use gatewave::inspect::check_steps;

use crate::args::{ModelArgs, positive};
use crate::{Outcome, Verdict};

/// Prints a model's layers, output shapes and parameter counts
///
/// MODEL may be a description alone (.json), which has every size.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The rows of a batch that the shapes show [default: those of the file, else None]
    #[arg(long, value_name = "N", value_parser = positive, allow_negative_numbers = true)]
    batch: Option<usize>,
    /// The steps that the shapes show, of each input [default: those of the file, else None]
    #[arg(long, value_name = "T", value_parser = positive, allow_negative_numbers = true)]
    steps: Option<usize>,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let mut model = args.model.described()?;
    if let Some(rows) = args.batch {
        model = model.batch_size(rows);
    }
    if let Some(steps) = args.steps {
        check_steps(&model, steps).map_err(|e| e.at("--steps"))?;
        model = model.steps(steps);
    }
    writeln!(out, "{}", model.summary().to_string().trim_end())?;
    Ok(Verdict::Done)
}
