//! The time and the rates of each kernel of a shape, beside the peaks of the device, which are measured here.
//!
//! The clock is the device's own, with a tick before and after each run of one
//! program; on the CPU it is the host's. The plan says what was computed and moved.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use comfy_table::{CellAlignment, Table, presets};
use gatewave::inspect::KernelTime;
use gatewave::inspect::kernel::{Kernel, Program};
use gatewave::inspect::plan::Work as Counted;
use gatewave::{Device, Engine, Input, Linear, Lstm, Model, Precision, Result, Weights};
use ndarray::Array3;
use serde::Serialize;

use super::Args;
use super::measure::{Bench, Opened, Series, WARM_UP};
use super::subject::Subjects;
use crate::args::device_name;
use crate::messages::complain;
use crate::{Outcome, Verdict};

/// Bytes that are copied to another place: no near cache holds both.
const COPIED: u64 = 64 << 20;
/// Rows, depth and width of the products that are tried, from the first up to the last.
const PRODUCTS: [usize; 3] = [1024, 2048, 4096];
/// A product that takes longer than this fills the device.
const LONG: Duration = Duration::from_millis(10);
/// How often each peak is tried; the best counts.
const TRIES: usize = 5;

/// The highest rates that a device has shown.
#[derive(Clone, Copy)]
pub(super) struct Peaks {
    /// Bytes read and bytes written in a nanosecond, for a large copy.
    bytes: f64,
    /// Operations in a nanosecond, for a large product.
    operations: f64,
}

/// The times of one kernel, of all runs.
pub(super) struct Kernels {
    programs: Vec<Program>,
    work: Counted,
    series: Series,
}

/// What `--json` prints of a kernel.
#[derive(Serialize)]
struct Line<'a> {
    peer: String,
    device: &'a str,
    dtype: &'a str,
    id: &'a str,
    kernel: String,
    dispatches: u64,
    operations: u64,
    bytes: u64,
    ms_median: f64,
    ms_min: f64,
    ms_max: f64,
    runs: usize,
    share: f64,
    gflop_s: f64,
    gb_s: f64,
    peak_gflop_s: f64,
    peak_gb_s: f64,
}

/// Times the kernels of each subject.
pub(super) fn run(args: &Args, subjects: Subjects<'_>, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let bench = Bench::new(args.precision, args.strategy, args.runs, subjects.len());
    let (mut peaks, mut verdict) = (None, Verdict::Done);
    for subject in subjects.each() {
        let subject = subject?;
        let engine = match bench.open(&subject, &device)? {
            Opened::Ready(mut engines) => engines.pop().expect("there is one at least").0,
            Opened::Different(what) => {
                bench.bar.suspend(|| complain(format_args!("error: {}: {what}; not timed", subject.id)));
                verdict = Verdict::Different;
                continue;
            }
        };
        let peaks = match peaks {
            Some(peaks) => peaks,
            None => *peaks.insert(Peaks::of(&engine, &device, args.precision)?),
        };
        let name = device_name(engine.device());
        let plain = bench.time(&engine, &subject.input)?;
        let (kernels, clocked) = time(&name, || engine.run_clocked(&subject.input), args.runs)?;
        bench.bar.suspend(|| print((args, &subject.id), &name, (&kernels, peaks), [&plain, &clocked], out))?;
        out.flush()?;
    }
    bench.bar.finish_and_clear();
    Ok(verdict)
}

/// Prints the measurements of a subject: a line for each kernel, or a table.
pub(super) fn print(
    (args, id): (&Args, &str),
    name: &str,
    (kernels, peaks): (&[Kernels], Peaks),
    [plain, clocked]: [&Series; 2],
    out: &mut impl Write,
) -> io::Result<()> {
    if args.json {
        let lines = kernels.iter().map(|kernel| kernel.line(kernels, (id, args.precision), name, peaks));
        return lines
            .map(|line| serde_json::to_string(&line).expect("plain data"))
            .try_for_each(|line| writeln!(out, "{line}"));
    }
    writeln!(out, "{id}\n{}", table(kernels, peaks))?;
    writeln!(
        out,
        "{name}: kernels {:.3} ms; a call {:.3} ms, {:.3} ms while kernels are timed; peaks: product {:.1} GFLOP/s, copy {:.1} \
         GB/s\n",
        sum(kernels),
        plain.median(),
        clocked.median(),
        peaks.operations,
        peaks.bytes
    )
}

/// Returns the kernels of `runs` calls on a warm device, and the wall clock of these calls.
pub(super) fn time(
    name: &str,
    call: impl Fn() -> Result<Vec<KernelTime>>,
    runs: u32,
) -> Result<(Vec<Kernels>, Series)> {
    for _ in 0..WARM_UP {
        call()?;
    }
    let (mut kernels, mut walls): (Vec<Kernels>, _) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let start = Instant::now();
        let times = call()?;
        walls.push(start.elapsed());
        for (index, KernelTime { programs, work, time }) in times.into_iter().enumerate() {
            if kernels.len() == index {
                kernels.push(Kernels { programs, work, series: Series::of(name.to_owned(), Vec::new()) });
            }
            kernels[index].series.walls.push(time);
        }
    }
    kernels.iter_mut().for_each(|kernel| kernel.series.walls.sort_unstable());
    Ok((kernels, Series::of(name.to_owned(), walls)))
}

impl Peaks {
    /// Measures the peaks of the device of `engine`, which `device` names.
    pub(super) fn of(engine: &Engine, device: &Device, precision: Precision) -> Result<Self> {
        let mut bytes = 0.0;
        for _ in 0..TRIES {
            let copied = engine.copy_clocked(COPIED)?;
            bytes = rate(copied.work.bytes, copied.time).max(bytes);
        }
        let mut operations = 0.0;
        for size in PRODUCTS {
            let (mut shortest, gated) = (Duration::MAX, Model::new().layer(Lstm::new(size, size / 4)));
            for model in [Model::new().layer(Linear::new(size, size)), gated] {
                let weights = Weights::random(&model, 0)?;
                let options = Engine::builder().device(device.clone()).precision(precision);
                let engine = options.build(model, &weights)?;
                let input = Input::features(Array3::from_shape_fn((size, 1, size), |(b, _, i)| ((b + i) as f32).sin()));
                for _ in 0..TRIES {
                    let times = engine.run_clocked(&input)?;
                    let product = times.iter().find(|time| time.programs[0].kernel() == Kernel::Gemm);
                    let product = product.expect("a model of a product has one");
                    operations = rate(product.work.operations, product.time).max(operations);
                    shortest = shortest.min(product.time);
                }
            }
            if shortest > LONG {
                break;
            }
        }
        Ok(Self { bytes, operations })
    }
}

/// Returns how many in a nanosecond: billions in a second.
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / (time.as_secs_f64() * 1e9).max(f64::MIN_POSITIVE)
}

/// Returns the milliseconds of all kernels.
fn sum(kernels: &[Kernels]) -> f64 {
    kernels.iter().map(|kernel| kernel.series.median()).sum()
}

impl Kernels {
    fn name(&self) -> String {
        let names: Vec<_> = self.programs.iter().map(ToString::to_string).collect();
        names.join(" + ")
    }

    /// Returns this kernel's share of the time of all kernels.
    fn share(&self, all: &[Self]) -> f64 {
        self.series.median() / sum(all).max(f64::MIN_POSITIVE)
    }

    /// Returns operations and bytes in a nanosecond.
    fn rates(&self) -> [f64; 2] {
        let time = Duration::from_secs_f64(self.series.median() * 1e-3);
        [rate(self.work.operations, time), rate(self.work.bytes, time)]
    }

    fn line<'a>(&self, all: &[Self], (id, precision): (&'a str, Precision), device: &'a str, peaks: Peaks) -> Line<'a> {
        let [gflop_s, gb_s] = self.rates();
        Line {
            peer: format!("gatewave {} {device}", env!("CARGO_PKG_VERSION")),
            device,
            dtype: precision.name(),
            id,
            kernel: self.name(),
            dispatches: self.work.dispatches,
            operations: self.work.operations,
            bytes: self.work.bytes,
            ms_median: self.series.median(),
            ms_min: self.series.shortest(),
            ms_max: self.series.longest(),
            runs: self.series.walls.len(),
            share: self.share(all),
            gflop_s,
            gb_s,
            peak_gflop_s: peaks.operations,
            peak_gb_s: peaks.bytes,
        }
    }
}

fn table(kernels: &[Kernels], peaks: Peaks) -> Table {
    let mut table = Table::new();
    let header = [
        "kernel",
        "dispatches",
        "median ms",
        "% of time",
        "MFLOP",
        "MB",
        "GFLOP/s",
        "% of product",
        "GB/s",
        "% of copy",
    ];
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for column in 1..header.len() {
        table.column_mut(column).expect("the header has it").set_cell_alignment(CellAlignment::Right);
    }
    for kernel in kernels {
        let [operations, bytes] = kernel.rates();
        let product = |text: String| if kernel.work.operations > 0 { text } else { String::new() };
        table.add_row([
            kernel.name(),
            kernel.work.dispatches.to_string(),
            format!("{:.3}", kernel.series.median()),
            format!("{:.0}", 100.0 * kernel.share(kernels)),
            product(format!("{:.2}", kernel.work.operations as f64 * 1e-6)),
            format!("{:.2}", kernel.work.bytes as f64 * 1e-6),
            product(format!("{operations:.1}")),
            product(format!("{:.0}", 100.0 * operations / peaks.operations)),
            format!("{bytes:.1}"),
            format!("{:.0}", 100.0 * bytes / peaks.bytes),
        ]);
    }
    table
}
