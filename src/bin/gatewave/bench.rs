//! `gatewave bench`: the CPU against a device, on the shapes of a work list.
//!
//! Verifies, then times: the wall clock of whole calls, upload to readback, on random weights and inputs. Owns the
//! measuring; what is right, and by how much it may differ, is `conformance`'s business.

use std::cell::OnceCell;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use gatewave::conformance::{Tolerance, compare_outputs, rounded_to_half};
use gatewave::oracle::{self, Truth};
use gatewave::plan::Shape;
use gatewave::{Device, Engine, Error, ErrorKind, Input, Mask, Options, Output, Planner, Result, Timings, Weights};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ndarray::Array3;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::args::{DeviceArgs, Precision, Walk, device_name, note_device};
use crate::shapes::{self, StackArgs, Work};
use crate::verify::as_truth;
use crate::{Outcome, Verdict, note};

/// Calls before the first that is timed.
const WARM_UP: usize = 3;
/// Products up to which the CPU is compared with the oracle: about a second of it.
const ORACLE_PRODUCTS: u128 = 200_000_000;
/// The seed of weights and inputs.
const SEED: u64 = 7;

/// Times the CPU against a device, after checking that they agree
///
/// Times are wall clock for a whole call on a warm engine, in milliseconds: upload, compute and readback.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A work list in place of the built-in bench/shapes.json
    #[arg(long, value_name = "FILE", conflicts_with = "cell")]
    shapes: Option<PathBuf>,
    /// Only these shapes of the list
    #[arg(long, value_name = "ID,ID", value_delimiter = ',', conflicts_with = "cell")]
    only: Vec<String>,
    #[command(flatten)]
    stack: StackArgs,
    /// Timesteps of the stack by flags
    #[arg(
        short = 't',
        long,
        value_name = "T",
        default_value_t = 100,
        requires = "cell",
        allow_negative_numbers = true
    )]
    steps: usize,
    /// Batch of the stack by flags
    #[arg(short, long, value_name = "B", default_value_t = 1, requires = "cell", allow_negative_numbers = true)]
    batch: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// How weights are stored
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// How recurrent layers go through time on the device, wherever they can
    #[arg(long, value_enum, default_value = "auto")]
    strategy: Walk,
    /// Timed calls of each shape
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), allow_negative_numbers = true)]
    runs: u32,
    /// One JSON object a line in place of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let work = match args.stack.work(args.steps, args.batch) {
        Some(work) => vec![work],
        None => shapes::list(args.shapes.as_deref(), &args.only)?,
    };
    let bench = Bench {
        precision: args.precision,
        strategy: args.strategy,
        runs: args.runs,
        bar: bar(work.len(), args.runs),
        announced: OnceCell::new(),
    };
    let mut table = table();
    let mut verdict = Verdict::Done;
    for work in &work {
        match bench.shape(work, &device)? {
            Measured::Different(what) => {
                bench.bar.suspend(|| note(format_args!("error: {}: {what}; not timed", work.id)));
                verdict = Verdict::Different;
            }
            Measured::Times(times) if args.json => {
                for series in &times {
                    let line = serde_json::to_string(&series.line(work, args.precision)).expect("plain data");
                    bench.bar.suspend(|| writeln!(out, "{line}"))?;
                }
                out.flush()?;
            }
            Measured::Times(times) => rows(&mut table, work, &times),
        }
    }
    bench.bar.finish_and_clear();
    if !args.json {
        writeln!(out, "{table}")?;
    }
    Ok(verdict)
}

/// How shapes are measured.
struct Bench {
    precision: Precision,
    strategy: Walk,
    runs: u32,
    bar: ProgressBar,
    /// Set once the device is on standard error: it is the same for every shape.
    announced: OnceCell<()>,
}

/// What came of a shape.
enum Measured {
    /// The CPU's times, and those of the device where it is another.
    Times(Vec<Series>),
    /// The results differ: where, and by how much.
    Different(String),
}

/// The timed calls of one engine.
struct Series {
    device: String,
    /// Wall clock, ascending.
    walls: Vec<Duration>,
    /// Sums over the calls.
    parts: Timings,
}

/// What the peers' scripts print.
#[derive(Serialize)]
struct Line<'a> {
    peer: String,
    device: &'a str,
    dtype: &'static str,
    id: &'a str,
    mode: &'static str,
    ms_median: f64,
    ms_min: f64,
    ms_max: f64,
    runs: usize,
}

impl Bench {
    fn shape(&self, work: &Work, device: &Device) -> Result<Measured> {
        self.bar.set_message(work.id.clone());
        let model = work.model()?;
        let options = |device| Options::default().device(device).precision(self.precision.into());
        // Refuses what no engine runs before anything of its size is drawn.
        let shape = Shape { time: work.steps, batch: work.batch, mask: Mask::All };
        let planned = Planner::new(model.clone(), &options(Device::Cpu)).and_then(|planner| planner.plan(shape));
        planned.map_err(|e| e.at(&work.id))?;
        let input = Input::features(features(work).map_err(|e| e.at(&work.id))?);
        let weights = Weights::random(&model, SEED).map_err(|e| e.at(&work.id))?;
        let open = |options| Engine::with_options(model.clone(), &weights, options).map_err(|e| e.at(&work.id));
        let cpu = open(options(Device::Cpu))?;
        let first = cpu.run(&input)?;
        if work.products() <= ORACLE_PRODUCTS {
            let rounded = match self.precision {
                Precision::F32 => weights.clone(),
                Precision::F16 => rounded_to_half(&weights),
            };
            let truth = oracle::run(&model, &rounded, &input)?;
            if let Some(what) = difference(&first, &truth, Tolerance::executor(&model, work.steps))? {
                return Ok(Measured::Different(format!("cpu and oracle differ: {what}")));
            }
        }
        let other = open(options(device.clone()).strategy(self.strategy))?;
        self.announced.get_or_init(|| self.bar.suspend(|| note_device(other.device())));
        let name = device_name(other.device());
        if name == device_name(cpu.device()) {
            return Ok(Measured::Times(vec![self.time(&other, &input)?]));
        }
        let (got, truth) = (other.run(&input)?, as_truth(&first));
        if let Some(what) = difference(&got, &truth, Tolerance::executors(&model, work.steps))? {
            return Ok(Measured::Different(format!("{name} and cpu differ: {what}")));
        }
        Ok(Measured::Times(vec![self.time(&cpu, &input)?, self.time(&other, &input)?]))
    }

    /// Times `runs` calls of a warm engine.
    fn time(&self, engine: &Engine, input: &Input) -> Result<Series> {
        for _ in 0..WARM_UP {
            engine.run(input)?;
        }
        let mut walls = Vec::new();
        let mut parts = Timings::default();
        for _ in 0..self.runs {
            let start = Instant::now();
            let (_, timings) = engine.run_timed(input)?;
            walls.push(start.elapsed());
            parts.upload += timings.upload;
            parts.compute += timings.compute;
            parts.readback += timings.readback;
            self.bar.inc(1);
        }
        walls.sort_unstable();
        Ok(Series { device: device_name(engine.device()), walls, parts })
    }
}

/// The worst tensor, where one is out of tolerance.
fn difference(got: &Output, want: &Truth, tolerance: Tolerance) -> Result<Option<String>> {
    let parts = compare_outputs(got, want, tolerance)?;
    Ok(parts.iter().find(|part| !part.comparison.passed()).map(|part| format!("{} {}", part.name, part.comparison)))
}

/// `[T, B, I]` in [-1, 1), never all zero.
///
/// # Errors
///
/// Kind `Limits`, where there is no memory for it.
fn features(work: &Work) -> Result<Array3<f32>> {
    let dims = [work.steps, work.batch, work.input];
    let len = dims.iter().fold(1_usize, |len, &n| len.saturating_mul(n));
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|e| {
        let text =
            format!("an input of {dims:?} (T, B, I): needs more memory than this machine gives; try a smaller batch");
        Error::new(ErrorKind::Limits, text).because(e)
    })?;

    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    #[allow(clippy::cast_precision_loss, reason = "24 bits fit")]
    let mut number = || (rng.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0;
    data.extend(std::iter::repeat_with(&mut number).take(len));
    Ok(Array3::from_shape_vec(dims, data).expect("as many elements as the dims say"))
}

impl Series {
    fn milliseconds(duration: Duration) -> f64 {
        // Four decimals, as the peers print.
        (duration.as_secs_f64() * 1e7).round() / 1e4
    }

    fn median(&self) -> f64 {
        let middle = self.walls.len() / 2;
        match self.walls.len() % 2 {
            0 => Self::milliseconds((self.walls[middle - 1] + self.walls[middle]) / 2),
            _ => Self::milliseconds(self.walls[middle]),
        }
    }

    fn shortest(&self) -> f64 {
        Self::milliseconds(self.walls[0])
    }

    fn longest(&self) -> f64 {
        Self::milliseconds(self.walls[self.walls.len() - 1])
    }

    fn line<'a>(&'a self, work: &'a Work, precision: Precision) -> Line<'a> {
        Line {
            peer: format!("gatewave {} {}", env!("CARGO_PKG_VERSION"), self.device),
            device: &self.device,
            dtype: precision.name(),
            id: &work.id,
            mode: "forward",
            ms_median: self.median(),
            ms_min: self.shortest(),
            ms_max: self.longest(),
            runs: self.walls.len(),
        }
    }
}

fn bar(shapes: usize, runs: u32) -> ProgressBar {
    // A target that is no terminal draws nothing.
    let calls = shapes as u64 * u64::from(runs);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} calls  {msg}").expect("a fixed template");
    ProgressBar::with_draw_target(Some(calls), ProgressDrawTarget::stderr()).with_style(style)
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
        "shape",
        "device",
        "median ms",
        "min",
        "max",
        "CPU/device",
        "upload %",
        "compute %",
        "readback %",
    ]);
    for column in 2..9 {
        table.column_mut(column).expect("the header has nine").set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn rows(table: &mut Table, work: &Work, times: &[Series]) {
    let cpu = times[0].median();
    for (index, series) in times.iter().enumerate() {
        let total = (series.parts.upload + series.parts.compute + series.parts.readback).as_secs_f64();
        let share = |part: Duration| format!("{:.0}", 100.0 * part.as_secs_f64() / total.max(f64::MIN_POSITIVE));
        table.add_row([
            if index == 0 { work.id.clone() } else { String::new() },
            series.device.clone(),
            format!("{:.3}", series.median()),
            format!("{:.3}", series.shortest()),
            format!("{:.3}", series.longest()),
            if index == 0 { String::new() } else { format!("{:.2}", cpu / series.median()) },
            share(series.parts.upload),
            share(series.parts.compute),
            share(series.parts.readback),
        ]);
    }
}
