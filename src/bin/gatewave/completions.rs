//! `gatewave completions`: what a shell needs to complete our arguments.

use std::io::Write;

use clap_complete::Shell;

use crate::{Outcome, Verdict, help};

/// Prints a script that lets a shell complete gatewave's arguments
///
/// For bash, save it as ~/.local/share/bash-completion/completions/gatewave. For zsh, save it as `_gatewave` in a folder
/// of $fpath. For fish, save it as ~/.config/fish/completions/gatewave.fish. For `PowerShell`, add it to the profile.
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
