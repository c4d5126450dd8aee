//! The command line: parses the arguments, calls the subcommand, and turns its result into an exit status.
//!
//! Results go to standard output, everything else to standard error. Exit status 0: done; 1: failed; 2: the
//! arguments or files cannot be used; 130: a signal ended a training, which is saved; 141: nobody reads the results. There is one file per
//! subcommand; what they share is in `args`, `files`, `losses`, `messages`, `shapes`, `tensors`, `text`.

mod adapters;
mod args;
mod bench;
mod chosen;
mod completions;
mod convert;
mod data;
mod describe;
mod evaluate;
mod files;
mod generate;
mod gradients;
mod help;
mod losses;
mod messages;
mod plan;
mod progress;
mod run;
mod shapes;
mod signals;
mod summary;
mod tensors;
mod text;
mod train;
mod verify;

use std::error::Error as _;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};
use gatewave::{Error, ErrorKind};

use messages::complain;

/// Runs recurrent networks (RNN, LSTM, GRU) on any GPU and on the CPU.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print only errors on standard error: no device, no warnings, no progress
    #[arg(short, long, global = true, display_order = 900)]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Generate(generate::Args),
    Summary(summary::Args),
    Describe(describe::Args),
    Plan(plan::Args),
    Convert(convert::Args),
    Adapters(adapters::Args),
    Verify(verify::Args),
    Bench(bench::Args),
    Gradients(gradients::Args),
    Train(Box<train::Args>),
    Evaluate(evaluate::Args),
    Data(data::Args),
    Completions(completions::Args),
}

/// The exit status of shells for programs that nobody reads any more: what SIGPIPE does to other programs.
const NOBODY_READS: u8 = 141;

/// How a subcommand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It did what was asked.
    Done,
    /// It did, and found a difference.
    Different,
    /// A signal ended it, and its work is saved.
    Interrupted,
}

/// Why a subcommand stopped.
enum Stop {
    /// Something went wrong.
    Failed(Error),
    /// The reader of the standard output has left: `gatewave … | head`.
    NobodyReads,
}

type Outcome<T = Verdict> = Result<T, Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Stop {
    /// Converts an error of writing: subcommands themselves write to standard output alone.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::NobodyReads,
            _ => Self::Failed(Error::new(ErrorKind::Io, format!("standard output: {error}"))),
        }
    }
}

fn execute(command: &Command, out: &mut impl Write) -> Outcome {
    let verdict = match command {
        Command::Run(args) => run::run(args, out),
        Command::Generate(args) => generate::run(args, out),
        Command::Summary(args) => summary::run(args, out),
        Command::Describe(args) => describe::run(args, out),
        Command::Plan(args) => plan::run(args, out),
        Command::Convert(args) => convert::run(args, out),
        Command::Adapters(args) => adapters::run(args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::Bench(args) => bench::run(args, out),
        Command::Gradients(args) => gradients::run(args, out),
        Command::Train(args) => train::run(args, out),
        Command::Evaluate(args) => evaluate::run(args, out),
        Command::Data(args) => data::run(args, out),
        Command::Completions(args) => completions::run(args, out),
    }?;
    out.flush()?;
    Ok(verdict)
}

fn report(error: &Error) -> ExitCode {
    complain(format_args!("error: {}", files::renamed(&error.to_string())));
    let mut source = error.source();
    while let Some(cause) = source {
        // Most messages quote their cause already.
        if !error.to_string().contains(&cause.to_string()) {
            complain(format_args!("  because: {}", files::renamed(&cause.to_string())));
        }
        source = cause.source();
    }
    match error.kind() {
        // Nothing in the arguments could have prevented it.
        ErrorKind::Lost | ErrorKind::Internal => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

/// Makes this thread one of those that compute. Otherwise it sleeps while as many threads as processors compute. When
/// it wakes in between, it is one too many, and a scheduler may leave two of them on one processor for milliseconds.
fn join_pool() {
    if let Err(error) = rayon::ThreadPoolBuilder::new().use_current_thread().build_global() {
        log::warn!("threads: {error}");
    }
}

fn main() -> ExitCode {
    let parsed = help::command().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.unwrap_or_else(|e| {
        files::clean();
        e.exit()
    });
    messages::init(cli.quiet);
    join_pool();
    let outcome = match signals::watch() {
        Ok(()) => execute(&cli.command, &mut io::stdout().lock()),
        Err(error) => Err(error.into()),
    };
    files::clean();
    match outcome {
        Ok(Verdict::Done) => ExitCode::SUCCESS,
        Err(Stop::NobodyReads) => ExitCode::from(NOBODY_READS),
        Ok(Verdict::Different) => ExitCode::from(1),
        Ok(Verdict::Interrupted) => ExitCode::from(signals::STATUS),
        Err(Stop::Failed(error)) => report(&error),
    }
}
