//! `gatewave bench`: the CPU against a device, on the shapes of a work list.
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
mod sweep;
mod train;

use std::io::Write;
use std::path::PathBuf;

use gatewave::Precision;

use crate::args::{DeviceArgs, StrategyArg, precision};
use crate::messages::complain;
use crate::shapes::{self, StackArgs, Work};
use crate::{Outcome, Verdict};
use compare::Peers;
use measure::{Bench, Measured};
use sweep::Sweep;

/// Times the CPU against a device, after checking that they agree
///
/// Times are wall clock for a whole call on a warm engine, in milliseconds: upload, compute and readback.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A work list to use instead of the built-in bench/shapes.json
    #[arg(long, value_name = "FILE", conflicts_with = "cell")]
    shapes: Option<PathBuf>,
    /// Only these shapes of the list
    #[arg(long, value_name = "ID,ID", value_delimiter = ',', conflicts_with = "cell")]
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
    /// Timed calls of each shape
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
    #[arg(long, conflicts_with_all = ["sweep", "count", "check", "precision"])]
    train: bool,
    /// Show how the time of one shape grows with T, B or H, which doubles from FROM up to TO
    #[arg(long, value_name = "T|B|H=FROM..TO", conflicts_with_all = ["json", "compare", "kernels"])]
    sweep: Option<Sweep>,
    /// Draw the sweep into a picture
    #[arg(long, value_name = "OUT.svg", requires = "sweep", conflicts_with_all = ["count", "check"])]
    plot: Option<PathBuf>,
    /// Overwrite an existing picture
    #[arg(long, requires = "plot")]
    force: bool,
    /// Count dispatches and bytes instead of seconds: the same on every machine
    #[arg(long, conflicts_with_all = ["sweep", "compare", "kernels", "device", "strategy", "runs"])]
    count: bool,
    /// Count, and compare with the lines that `--count --json` printed into FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["sweep", "compare", "kernels", "device", "strategy", "runs", "json"])]
    check: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
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
    if args.train && args.kernels {
        return train::kernels(args, &work, out);
    }
    if args.kernels {
        return kernels::run(args, &work, out);
    }
    match &args.sweep {
        Some(sweep) => self::sweep::run(args, *sweep, &work, out),
        None => times(args, &work, out),
    }
}

/// Times each shape.
fn times(args: &Args, work: &[Work], out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let peers = Peers::read(&args.compare)?;
    let bench = Bench::new(args.precision, args.strategy, args.runs, work.len());
    let (mut table, mut starts) = (report::table(), report::starts());
    let mut lines = Vec::new();
    let mut verdict = Verdict::Done;
    for work in work {
        let measured = if args.train { bench.gradients(work, &device)? } else { bench.shape(work, &device)? };
        match measured {
            Measured::Different(what) => {
                bench.bar.suspend(|| complain(format_args!("error: {}: {what}; not timed", work.id)));
                verdict = Verdict::Different;
            }
            Measured::Times(times) => {
                let each = times.iter().map(|series| series.line(work, args.precision));
                if args.json {
                    for line in each {
                        let line = serde_json::to_string(&line).expect("plain data");
                        bench.bar.suspend(|| writeln!(out, "{line}"))?;
                    }
                    out.flush()?;
                } else {
                    lines.extend(each);
                    report::rows(&mut table, work, &times);
                    report::start_rows(&mut starts, work, &times);
                }
            }
        }
    }
    bench.bar.finish_and_clear();
    if !args.json {
        let what = match args.train {
            true => "the gradients of a batch, from the input to the gradients on the host",
            false => "a call of a warm engine, from the input to the output on the host",
        };
        writeln!(out, "{}\n{table}", bench.heading(what))?;
        if !args.train {
            writeln!(out, "Milliseconds to the first result of a new engine, and of its parts:\n{starts}")?;
        }
        peers.compare(&lines, out)?;
    }
    Ok(verdict)
}
