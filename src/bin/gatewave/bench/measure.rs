//! Times the calls of a shape, after checking that what they give is right.
//!
//! Wall clock of whole calls, upload to readback, on random weights and inputs. What is right, and by how much it may
//! differ, is `conformance`'s business.

use std::cell::OnceCell;
use std::time::{Duration, Instant};

use gatewave::conformance::{Tolerance, compare_outputs, rounded_to_half};
use gatewave::oracle::{self, Truth};
use gatewave::plan::Shape;
use gatewave::{Device, Engine, Error, ErrorKind, Input, Mask, Options, Output, Planner, Result, Timings, Weights};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ndarray::Array3;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::args::{Precision, Walk, device_name, note_device};
use crate::shapes::Work;
use crate::verify::as_truth;

/// Calls before the first that is timed.
const WARM_UP: usize = 3;
/// Products up to which the CPU is compared with the oracle: about a second of it.
const ORACLE_PRODUCTS: u128 = 200_000_000;
/// The seed of weights and inputs.
const SEED: u64 = 7;

/// How shapes are measured.
pub(super) struct Bench {
    precision: Precision,
    strategy: Walk,
    runs: u32,
    pub(super) bar: ProgressBar,
    /// Set once the device is on standard error: it is the same for every shape.
    announced: OnceCell<()>,
}

/// What came of a shape.
pub(super) enum Measured {
    /// The CPU's times, and those of the device where it is another.
    Times(Vec<Series>),
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
}

impl Bench {
    /// Measures of `shapes` shapes.
    pub(super) fn new(precision: Precision, strategy: Walk, runs: u32, shapes: usize) -> Self {
        Self { precision, strategy, runs, bar: bar(shapes, runs), announced: OnceCell::new() }
    }

    /// Times a shape on the CPU and on `device`, if they agree.
    pub(super) fn shape(&self, work: &Work, device: &Device) -> Result<Measured> {
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
    ProgressBar::with_draw_target(Some(calls), ProgressDrawTarget::stderr()).with_style(style)
}
