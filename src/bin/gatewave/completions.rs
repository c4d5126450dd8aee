//! `gatewave completions`: what a shell needs to complete our arguments.

use std::io::Write;

use clap_complete::Shell;

use crate::{Outcome, Verdict, help};

/// Prints the script by which a shell completes the arguments of gatewave
///
/// Bash and zsh read it from a file that is sourced, fish from a
/// file in its folder of completions, `PowerShell` from the profile.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    // Into memory: its generator cannot take the error of a reader that leaves.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "gatewave", &mut script);
    out.write_all(&script)?;
    Ok(Verdict::Done)
}
