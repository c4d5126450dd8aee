//! `gatewave summary`: the layers of a model, what each gives, and how many parameters it has.

use std::io::Write;

use crate::args::ModelArgs;
use crate::{Outcome, Verdict};

/// Prints a model's layers, output shapes and parameter counts
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let (model, _) = args.model.read_alone()?;
    writeln!(out, "{}", model.summary().to_string().trim_end())?;
    Ok(Verdict::Done)
}
