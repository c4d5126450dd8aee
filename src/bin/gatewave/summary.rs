//! `gatewave summary`: the layers of a model, what each gives, and how many parameters it has.

use std::io::Write;

use crate::args::ModelArgs;
use crate::{Outcome, Verdict};

/// Prints a model's layers, output shapes and parameter counts
///
/// MODEL may be a description alone (.json), which says every size.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let model = args.model.described()?;
    writeln!(out, "{}", model.summary().to_string().trim_end())?;
    Ok(Verdict::Done)
}
