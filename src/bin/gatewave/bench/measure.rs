//! Times calls, after checking that their results are right.
//!
//! Measures the wall clock of whole calls, upload to readback. `conformance` defines which results are right, and how far they may differ.

use std::cell::OnceCell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gatewave::conformance::{Tolerance, compare_outputs, rounded};
use gatewave::device::Timings;
use gatewave::oracle::{self, Truth};
use gatewave::{Device, DeviceInfo, Engine, EngineBuilder, Input, Output, Precision, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use super::subject::{ORACLE_PRODUCTS, Subject};
use crate::args::{StrategyArg, device_name, note_device};
use crate::messages::{counted, progress_target};
use crate::verify::{as_truth, kernels};

/// Calls before the first that is timed.
pub(super) const WARM_UP: usize = 3;

/// How shapes are measured.
pub(super) struct Bench {
    precision: Precision,
    pub(super) strategy: StrategyArg,
    pub(super) runs: u32,
    pub(super) bar: ProgressBar,
    /// What computes, a line for each device with the details of its name. It is the
    /// same for every shape, and set once the device was printed on standard error.
    devices: OnceCell<Vec<String>>,
}

/// The result of measuring a shape.
pub(super) enum Measured {
    /// The CPU's times, and those of the device if it is another.
    Times(Vec<Series>),
    /// The results differ: where, and by how much.
    Different(String),
}

/// The engines of a subject.
pub(super) enum Opened {
    /// The CPU's, and the device's if it is another, with how each began: their results agree.
    Ready(Vec<(Engine, Start)>),
    /// The results differ: where, and by how much.
    Different(String),
}

/// The timed calls of one engine.
pub(super) struct Series {
    pub(super) device: String,
    /// Wall clock, ascending.
    pub(super) walls: Vec<Duration>,
    /// Sums over the calls.
    pub(super) parts: Timings,
    /// The times before the first result, if they were measured.
    pub(super) start: Option<Start>,
    /// The kernels of the plan that ran last, by name. They show whether a requested strategy was used.
    pub(super) kernels: Vec<String>,
    /// What was timed, as the peers' scripts name it.
    pub(super) mode: &'static str,
    /// The strategy that was requested, if any, as the end of a name: ` by step`.
    pub(super) by: String,
}

/// The times before a first result, in milliseconds.
#[derive(Clone, Copy, Deserialize, Serialize)]
pub(super) struct Start {
    /// The model checked, the device opened and checked.
    pub(super) device: f64,
    /// The weights packed and uploaded.
    pub(super) weights: f64,
    /// Pipelines compiled and buffers made.
    pub(super) pipelines: f64,
    /// The rest of the first call.
    pub(super) call: f64,
}

impl Bench {
    /// Makes a bench for `shapes` shapes.
    pub(super) fn new(precision: Precision, strategy: StrategyArg, runs: u32, shapes: usize) -> Self {
        Self { precision, strategy, runs, bar: bar(shapes, runs), devices: OnceCell::new() }
    }

    /// Prints the devices, once.
    pub(super) fn announce(&self, cpu: &DeviceInfo, device: &DeviceInfo) {
        self.devices.get_or_init(|| {
            self.bar.suspend(|| note_device(device));
            let line = |device: &DeviceInfo| format!("{}: {}", device_name(device), device.detail());
            if device.is_cpu() { vec![line(cpu)] } else { vec![line(cpu), line(device)] }
        });
    }

    /// Returns what computes, a line for each.
    pub(super) fn devices(&self) -> &[String] {
        self.devices.get().map_or(&[], Vec::as_slice)
    }

    /// Returns what a reader of a table of times needs: what is timed, in which
    /// unit and how often, the storage of the weights, and what computes.
    pub(super) fn heading(&self, what: &str) -> String {
        let (runs, precision) = (counted(self.runs as usize, "call"), self.precision.name());
        let devices: String = self.devices().iter().map(|line| format!("\n{line}")).collect();
        format!("Milliseconds of {what}; {runs} after {WARM_UP} to warm up; weights in {precision}.{devices}")
    }

    /// Times calls of `subject` on the CPU and on `device`, if they agree.
    pub(super) fn calls(&self, subject: &Subject, device: &Device) -> Result<Measured> {
        let engines = match self.open(subject, device)? {
            Opened::Ready(engines) => engines,
            Opened::Different(what) => return Ok(Measured::Different(what)),
        };
        let last = engines.len() - 1;
        let series = engines.iter().enumerate().map(|(index, (engine, start))| {
            let series = self.time(engine, &subject.input)?;
            // The CPU beside a device chooses by itself.
            let by = if index == last { self.strategy.by() } else { String::new() };
            Ok(Series { start: Some(*start), kernels: kernels(&*engine.plan_for(&subject.input)?), by, ..series })
        });
        series.collect::<Result<_>>().map(Measured::Times)
    }

    /// Opens `subject` on the CPU and on `device`, and compares their outputs.
    pub(super) fn open(&self, subject: &Subject, device: &Device) -> Result<Opened> {
        self.bar.set_message(subject.id.clone());
        let Subject { model, weights, input, .. } = subject;
        let options = |device| Engine::builder().device(device).precision(self.precision);
        let begin = |options| Start::of(subject, options).map_err(|e| e.at(&subject.id));
        let (cpu, first, cpu_start) = begin(options(Device::Cpu))?;
        let shape = cpu.plan_for(input)?.shape;
        let steps = shape.time;
        if subject.products(steps, shape.batch) <= ORACLE_PRODUCTS {
            let truth = oracle::run(model, &rounded(weights, self.precision)?, input)?;
            if let Some(what) = difference(&first, &truth, Tolerance::executor(model, steps))? {
                return Ok(Opened::Different(format!("cpu and oracle differ: {what}")));
            }
        }
        let (other, got, start) = begin(options(device.clone()).strategy(self.strategy))?;
        self.announce(cpu.device(), other.device());
        let name = device_name(other.device());
        if name == device_name(cpu.device()) {
            return Ok(Opened::Ready(vec![(other, start)]));
        }
        if let Some(what) = difference(&got, &as_truth(&first), Tolerance::executors(model, steps))? {
            return Ok(Opened::Different(format!("{name} and cpu differ: {what}")));
        }
        Ok(Opened::Ready(vec![(cpu, cpu_start), (other, start)]))
    }

    /// Times `runs` calls of a warm engine.
    pub(super) fn time(&self, engine: &Engine, input: &Input) -> Result<Series> {
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
        Ok(Series { parts, ..Series::of(device_name(engine.device()), walls) })
    }
}

impl Start {
    /// Returns an engine, its first result, and the times of both.
    fn of(subject: &Subject, options: EngineBuilder) -> Result<(Engine, Output, Self)> {
        let opened = Arc::new(OnceLock::new());
        let options = options.progress({
            let opened = Arc::clone(&opened);
            // First called when the device is open, and nothing is loaded yet.
            move |_| {
                opened.get_or_init(Instant::now);
            }
        });
        let begin = Instant::now();
        let engine = options.build(&subject.model, &subject.weights)?;
        let loaded = Instant::now();
        let (output, timings) = engine.run_timed(&subject.input)?;
        let (opened, first) = (*opened.get().unwrap_or(&loaded), loaded.elapsed());
        let start = Self {
            device: Series::milliseconds(opened - begin),
            weights: Series::milliseconds(loaded - opened),
            pipelines: Series::milliseconds(timings.prepare),
            call: Series::milliseconds(first.saturating_sub(timings.prepare)),
        };
        Ok((engine, output, start))
    }

    pub(super) fn total(self) -> f64 {
        self.device + self.weights + self.pipelines + self.call
    }
}

/// Returns the worst tensor, if one is out of tolerance.
fn difference(got: &Output, want: &Truth, tolerance: Tolerance) -> Result<Option<String>> {
    let parts = compare_outputs(got, want, tolerance)?;
    Ok(parts.iter().find(|part| !part.comparison.passed()).map(|part| format!("{} {}", part.name, part.comparison)))
}

impl Series {
    /// Makes a series of these times.
    pub(super) fn of(device: String, mut walls: Vec<Duration>) -> Self {
        walls.sort_unstable();
        let (parts, kernels, by) = (Timings::default(), Vec::new(), String::new());
        Self { device, walls, parts, start: None, kernels, mode: "forward", by }
    }

    pub(super) fn milliseconds(duration: Duration) -> f64 {
        // Four decimals, as the peers print.
        (duration.as_secs_f64() * 1e7).round() / 1e4
    }

    pub(super) fn median(&self) -> f64 {
        let middle = self.walls.len() / 2;
        match self.walls.len() % 2 {
            0 => Self::milliseconds((self.walls[middle - 1] + self.walls[middle]) / 2),
            _ => Self::milliseconds(self.walls[middle]),
        }
    }

    pub(super) fn shortest(&self) -> f64 {
        Self::milliseconds(self.walls[0])
    }

    pub(super) fn longest(&self) -> f64 {
        Self::milliseconds(self.walls[self.walls.len() - 1])
    }
}

fn bar(shapes: usize, runs: u32) -> ProgressBar {
    // A target that is no terminal draws nothing.
    let calls = shapes as u64 * u64::from(runs);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} calls  {msg}").expect("a fixed template");
    ProgressBar::with_draw_target(Some(calls), progress_target()).with_style(style)
}
