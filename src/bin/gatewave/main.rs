//! The command line: parses the arguments, calls the subcommand, and turns its result into an exit status.
//!
//! Results go to standard output, everything else to standard error. Exit status 0: done; 1: failed; 2: the
//! arguments or files cannot be used; 130: a signal ended a training, which is saved. One file per subcommand; what they share is in `args`, `losses`, `shapes`, `tensors`,
//! `text`.

mod adapters;
mod args;
mod bench;
mod convert;
mod data;
mod evaluate;
mod generate;
mod gradients;
mod losses;
mod plan;
mod progress;
mod run;
mod shapes;
mod summary;
mod tensors;
mod text;
mod train;
mod verify;

use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gatewave::{Error, ErrorKind};

/// Runs recurrent networks (RNN, LSTM, GRU) on any GPU and on the CPU.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Generate(generate::Args),
    Summary(summary::Args),
    Plan(plan::Args),
    Convert(convert::Args),
    Adapters(adapters::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Gradients(gradients::Args),
    Train(Box<train::Args>),
    Evaluate(evaluate::Args),
    Data(data::Args),
}

/// How a subcommand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It did what was asked.
    Done,
    /// It did, and found a difference.
    Different,
    /// A signal ended it, and what it had done is saved.
    Interrupted,
}

/// Why a subcommand stopped.
enum Stop {
    /// Something went wrong.
    Failed(Error),
    /// Whoever read the standard output has left: `gatewave … | head`.
    NobodyReads,
}

type Outcome<T = Verdict> = Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    /// Subcommands write to nothing but the standard output by themselves.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(Error::new(ErrorKind::Io, format!("standard output: {error}"))),
        }
    }
}

/// A line on standard error. A closed one is not worth stopping for.
fn note(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn execute(command: &Command, out: &mut impl Write) -> Outcome {
    let verdict = match command {
        Command::Run(args) => run::run(args, out),
        Command::Generate(args) => generate::run(args, out),
        Command::Summary(args) => summary::run(args, out),
        Command::Plan(args) => plan::run(args, out),
        Command::Convert(args) => convert::run(args, out),
        Command::Adapters(args) => adapters::run(args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::Bench(args) => bench::run(args, out),
        Command::Gradients(args) => gradients::run(args, out),
        Command::Train(args) => train::run(args, out),
        Command::Evaluate(args) => evaluate::run(args, out),
        Command::Data(args) => data::run(args, out),
    }?;
    out.flush()?;
    Ok(verdict)
}

fn report(error: &Error) -> ExitCode {
    note(format_args!("error: {error}"));
    let mut source = error.source();
    while let Some(cause) = source {
        // Most messages quote their cause already.
        if !error.to_string().contains(&cause.to_string()) {
            note(format_args!("  because: {cause}"));
        }
        source = cause.source();
    }
    match error.kind() {
        // Nothing in the arguments could have prevented it.
        ErrorKind::Lost | ErrorKind::Internal => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

/// Makes this thread one of those that compute. Otherwise it sleeps while as many as there are processors do; woken in
/// between, it is one too many, and a scheduler may leave two of them on one processor for milliseconds.
fn join_pool() {
    if let Err(error) = rayon::ThreadPoolBuilder::new().use_current_thread().build_global() {
        log::warn!("threads: {error}");
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    // The GPU stack warns about optional features that a device lacks: of interest to those who ask (`RUST_LOG`).
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error,gatewave=warn"))
        .format(|line, record| match record.level() {
            log::Level::Warn => writeln!(line, "warning: {}", record.args()),
            level => writeln!(line, "{}: {}", level.as_str().to_lowercase(), record.args()),
        })
        .init();
    join_pool();
    match execute(&cli.command, &mut io::stdout().lock()) {
        Ok(Verdict::Done) | Err(Stop::NobodyReads) => ExitCode::SUCCESS,
        Ok(Verdict::Different) => ExitCode::from(1),
        Ok(Verdict::Interrupted) => ExitCode::from(train::STATUS),
        Err(Stop::Failed(error)) => report(&error),
    }
}
