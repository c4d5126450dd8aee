//! `gatewave bench`: the CPU against a device, on the shapes of a work list or on a model of a file.
//!
//! It has six forms:
//!
//! - times (`measure`, `report`), and those of gradients (`train`);
//! - times beside those of other engines (`compare`);
//! - times of each kernel beside the peaks of the device (`kernels`);
//! - how times grow with one size (`sweep`);
//! - the counts of a plan, without a clock (`count`).

mod compare;
mod count;
mod kernels;
mod measure;
mod plot;
mod report;
mod subject;
mod sweep;
mod train;

use std::io::Write;
use std::path::PathBuf;

use gatewave::{Error, ErrorKind, Precision, Result};

use crate::args::{DeviceArgs, MaybeModelArgs, StrategyArg, precision};
use crate::messages::complain;
use crate::shapes::{self, StackArgs};
use crate::{Outcome, Verdict};
use compare::Peers;
use measure::{Bench, Measured};
use subject::Subjects;
use sweep::Sweep;

/// Times the CPU against a device, after checking that they agree
///
/// Times are wall clock for a whole call on a warm engine, in milliseconds: upload, compute and readback.
/// Without MODEL it times recurrent stacks alone, with drawn weights.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: MaybeModelArgs,
    /// Tensors to run MODEL on: .safetensors, .npz or .npy; outputs among them are not compared
    #[arg(short, long, value_name = "IN", requires = "path", conflicts_with = "cell")]
    input: Option<PathBuf>,
    /// A work list to use instead of the built-in bench/shapes.json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cell", "path"])]
    shapes: Option<PathBuf>,
    /// Only these shapes of the list
    #[arg(long, value_name = "ID,ID", value_delimiter = ',', conflicts_with_all = ["cell", "path"])]
    only: Vec<String>,
    #[command(flatten)]
    stack: StackArgs,
    /// Timesteps of the stack that --cell describes
    #[arg(
        short = 't',
        long,
        value_name = "T",
        default_value_t = 100,
        requires = "cell",
        allow_negative_numbers = true
    )]
    steps: usize,
    /// Rows of a batch of the stack that --cell describes
    #[arg(short, long, value_name = "B", default_value_t = 1, requires = "cell", allow_negative_numbers = true)]
    batch: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_parser = precision(), default_value_t)]
    precision: Precision,
    /// How recurrent layers go through time on the device, wherever they can
    #[arg(long, value_enum, default_value = "auto")]
    strategy: StrategyArg,
    /// Timed calls of each shape, or of MODEL
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    runs: u32,
    /// Print JSON, one object on each line, instead of a table
    #[arg(long)]
    json: bool,
    /// Another engine's times, in the form that --json prints, to compare with ours; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    compare: Vec<PathBuf>,
    /// Time each kernel, and compare its rates with a large copy and a large product
    #[arg(long, conflicts_with = "compare")]
    kernels: bool,
    /// Time a forward and a backward pass: the gradients of the output's sum of squares by all weights
    #[arg(long, conflicts_with_all = ["path", "sweep", "count", "check", "precision"])]
    train: bool,
    /// Show how the time of one shape grows with T, B or H, which doubles from FROM up to TO
    #[arg(long, value_name = "T|B|H=FROM..TO", conflicts_with_all = ["path", "json", "compare", "kernels"])]
    sweep: Option<Sweep>,
    /// Draw the sweep into a picture
    #[arg(long, value_name = "OUT.svg", requires = "sweep", conflicts_with_all = ["count", "check"])]
    plot: Option<PathBuf>,
    /// Overwrite an existing picture
    #[arg(long, requires = "plot")]
    force: bool,
    /// Count dispatches and bytes instead of seconds: the same on every machine
    #[arg(long, conflicts_with_all = ["path", "sweep", "compare", "kernels", "device", "strategy", "runs"])]
    count: bool,
    /// Count, and compare with the lines that `--count --json` printed into FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "sweep", "compare", "kernels", "device", "strategy", "runs", "json"])]
    check: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    if args.model.name().is_some() {
        let Some(input) = &args.input else {
            return Err(
                Error::new(ErrorKind::Io, "MODEL: expected --input IN, the tensors to run it on, got none").into()
            );
        };
        return time(args, Subjects::File(&args.model, input), out);
    }
    let work = match args.stack.work(args.steps, args.batch) {
        Some(work) => vec![work],
        None => shapes::list(args.shapes.as_deref(), &args.only)?,
    };
    if let Some(file) = &args.check {
        return count::check(&work, args.precision, file, args.only.is_empty(), out);
    }
    if args.count {
        return count::print(&work, args.precision, args.json, out);
    }
    if let Some(sweep) = args.sweep {
        return sweep::run(args, sweep, &work, out);
    }
    match (args.train, args.kernels) {
        (true, true) => train::kernels(args, &work, out),
        (true, false) => {
            let (device, bench) =
                (args.device.device()?, Bench::new(args.precision, args.strategy, args.runs, work.len()));
            let measured = work.iter().map(|work| Ok((work.id.clone(), bench.gradients(work, &device)?)));
            let what = "the gradients of a batch, from the input to the gradients on the host";
            report_all(args, &bench, measured, what, out)
        }
        (false, _) => time(args, Subjects::Drawn(&work, args.precision), out),
    }
}

/// Times calls of each subject, or their kernels.
fn time(args: &Args, subjects: Subjects<'_>, out: &mut impl Write) -> Outcome {
    if args.kernels {
        return kernels::run(args, subjects, out);
    }
    let (device, bench) = (args.device.device()?, Bench::new(args.precision, args.strategy, args.runs, subjects.len()));
    let measured = subjects.each().map(|subject| {
        let subject = subject?;
        Ok((subject.id.clone(), bench.calls(&subject, &device)?))
    });
    report_all(args, &bench, measured, "a call of a warm engine, from the input to the output on the host", out)
}

/// Prints what is measured, each with its name.
fn report_all(
    args: &Args,
    bench: &Bench,
    measured: impl Iterator<Item = Result<(String, Measured)>>,
    what: &str,
    out: &mut impl Write,
) -> Outcome {
    let peers = Peers::read(&args.compare)?;
    let (mut table, mut starts) = (report::table(), report::starts());
    let mut lines = Vec::new();
    let mut verdict = Verdict::Done;
    for measured in measured {
        match measured? {
            (id, Measured::Different(what)) => {
                bench.bar.suspend(|| complain(format_args!("error: {id}: {what}; not timed")));
                verdict = Verdict::Different;
            }
            (id, Measured::Times(times)) => {
                let each = times.iter().map(|series| series.line(&id, args.precision));
                if args.json {
                    for line in each {
                        let line = serde_json::to_string(&line).expect("plain data");
                        bench.bar.suspend(|| writeln!(out, "{line}"))?;
                    }
                    out.flush()?;
                } else {
                    lines.extend(each);
                    report::rows(&mut table, &id, &times);
                    report::start_rows(&mut starts, &id, &times);
                }
            }
        }
    }
    bench.bar.finish_and_clear();
    if !args.json {
        writeln!(out, "{}\n{table}", bench.heading(what))?;
        if !args.train {
            writeln!(out, "Milliseconds to the first result of a new engine, and of its parts:\n{starts}")?;
        }
        peers.compare(&lines, out)?;
    }
    Ok(verdict)
}
