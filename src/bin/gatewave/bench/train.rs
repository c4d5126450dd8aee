//! Times of gradients: forward and back, for all weights, without an update.
//! The loss is the sum of squares of the output, as in the peers' scripts.

use std::io::Write;
use std::time::Instant;

use gatewave::inspect::{KernelTime, Planner};
use gatewave::oracle::{self, TrueGradients};
use gatewave::train::{Batch, Gradients, Loss, Objective, Targets};
use gatewave::{Device, Engine, EngineBuilder, Input, Model, Precision, Result, Trainer, Weights};

use super::Args;
use super::kernels::{self, Peaks};
use super::measure::{Bench, Measured, Series, WARM_UP};
use super::subject::{ORACLE_PRODUCTS, SEED, features};
use crate::args::{device_name, measuring};
use crate::messages::complain;
use crate::shapes::Work;
use crate::{Outcome, Verdict};

/// How far an element of a gradient may be off, relative to the largest of its tensor.
const TOLERANCE: f64 = 1e-3;

/// The trainers of a shape.
enum Opened {
    /// The CPU's, and the device's if it is another: their gradients agree.
    Ready { batch: Box<Batch>, trainers: Vec<Trainer> },
    /// The gradients differ: where, and by how much.
    Different(String),
}

impl Bench {
    /// Times the gradients of a shape on the CPU and on `device`, if they agree.
    pub(super) fn gradients(&self, work: &Work, device: &Device) -> Result<Measured> {
        let (batch, trainers) = match self.trainers(work, device).map_err(|e| e.at(&work.id))? {
            Opened::Ready { batch, trainers } => (batch, trainers),
            Opened::Different(what) => return Ok(Measured::Different(what)),
        };
        let kernels = |trainer: &Trainer, options| -> Result<Vec<String>> {
            let planner = Planner::for_training(trainer.model().clone(), &options)?;
            let plan = planner.plan_gradients(&Objective::new(Loss::SumOfSquares), work.shape())?;
            let mut names: Vec<String> = Vec::new();
            for program in &plan.programs {
                let name = program.kernel().name().to_owned();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            Ok(names)
        };
        let last = trainers.len() - 1;
        let series = trainers.iter().enumerate().map(|(index, trainer)| {
            // The CPU beside a device chooses by itself.
            let (options, by) = match index == last {
                true => (self.options(device), self.strategy.by()),
                false => (Engine::builder().device(Device::Cpu), String::new()),
            };
            Ok(Series { kernels: kernels(trainer, options)?, by, ..self.rehearsals(trainer, &batch)? })
        });
        series.collect::<Result<_>>().map(Measured::Times)
    }

    /// Opens a shape on the CPU and on `device`, and compares their gradients.
    fn trainers(&self, work: &Work, device: &Device) -> Result<Opened> {
        self.bar.set_message(work.id.clone());
        let model = work.model()?;
        let objective = Objective::new(Loss::SumOfSquares);
        // Refuses shapes that no executor can run before data of their size is drawn.
        let on_cpu = Engine::builder().device(Device::Cpu);
        Planner::for_training(model.clone(), &on_cpu)?.plan_gradients(&objective, work.shape())?;
        let batch = Box::new(Batch::new(Input::features(features(work)?), Targets::none()));
        let weights = Weights::random(&model, SEED)?;
        let cpu = trainer(&model, &weights, on_cpu)?;
        let first = cpu.gradients(&batch)?;
        if work.products() <= ORACLE_PRODUCTS / 3 {
            let truth = oracle::gradients(&model, &weights, &batch.input, &objective, &batch.targets)?;
            if let Some(what) = difference(&first, &truth) {
                return Ok(Opened::Different(format!("cpu and oracle differ: {what}")));
            }
        }
        let other = trainer(&model, &weights, self.options(device))?;
        self.announce(cpu.device(), other.device());
        let name = device_name(other.device());
        if name == device_name(cpu.device()) {
            return Ok(Opened::Ready { batch, trainers: vec![other] });
        }
        if let Some(what) = difference(&other.gradients(&batch)?, &as_truth(&first)) {
            return Ok(Opened::Different(format!("{name} and cpu differ: {what}")));
        }
        Ok(Opened::Ready { batch, trainers: vec![cpu, other] })
    }

    fn options(&self, device: &Device) -> EngineBuilder {
        Engine::builder().device(device.clone()).strategy(self.strategy)
    }

    /// Times `runs` calls of a warm trainer.
    fn rehearsals(&self, trainer: &Trainer, batch: &Batch) -> Result<Series> {
        for _ in 0..WARM_UP {
            trainer.evaluate_gradients(batch)?;
        }
        let mut walls = Vec::new();
        for _ in 0..self.runs {
            let start = Instant::now();
            trainer.evaluate_gradients(batch)?;
            walls.push(start.elapsed());
            self.bar.inc(1);
        }
        Ok(Series { mode: "train", ..Series::of(device_name(trainer.device()), walls) })
    }
}

/// Times the kernels of the gradients of each shape.
pub(super) fn kernels(args: &Args, work: &[Work], out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let bench = Bench::new(args.precision, args.strategy, args.runs, work.len());
    let (mut peaks, mut verdict) = (None, Verdict::Done);
    for work in work {
        let (batch, trainer) = match bench.trainers(work, &device).map_err(|e| e.at(&work.id))? {
            Opened::Ready { batch, mut trainers } => (batch, trainers.pop().expect("there is one at least")),
            Opened::Different(what) => {
                bench.bar.suspend(|| complain(format_args!("error: {}: {what}; not timed", work.id)));
                verdict = Verdict::Different;
                continue;
            }
        };
        let peaks = match peaks {
            Some(peaks) => peaks,
            None => {
                let engine = trainer.engine(Engine::builder().device(device.clone()))?;
                *peaks.insert(Peaks::of(&engine, &device, Precision::F32)?)
            }
        };
        let name = device_name(trainer.device());
        let plain = bench.rehearsals(&trainer, &batch)?;
        let clocked = || -> Result<Vec<KernelTime>> { trainer.evaluate_gradients_clocked(&batch) };
        let (kernels, clocked) = kernels::time(&name, clocked, args.runs)?;
        bench.bar.suspend(|| kernels::print((args, &work.id), &name, (&kernels, peaks), [&plain, &clocked], out))?;
        out.flush()?;
    }
    bench.bar.finish_and_clear();
    Ok(verdict)
}

fn trainer(model: &Model, weights: &Weights, options: EngineBuilder) -> Result<Trainer> {
    let mut trainer = measuring(model.clone(), weights, Loss::SumOfSquares, options)?;
    trainer.set_dropout_seed(None);
    Ok(trainer)
}

/// Returns the first tensor whose gradient is out of tolerance.
fn difference(got: &Gradients, want: &TrueGradients) -> Option<String> {
    want.weights.iter().find_map(|(name, want)| {
        let most = want.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let got = got.weights.get(name)?;
        // A NaN is no small difference.
        let off = got.iter().zip(want).map(|(got, want)| (f64::from(*got) - want).abs());
        let off = off.fold(0.0_f64, |worst, off| if off > worst || off.is_nan() { off } else { worst });
        let fits = off <= TOLERANCE * most;
        (!fits).then(|| format!("gradient of {name}: off by {off:e}, its largest element is {most:e}"))
    })
}

/// Returns the CPU's gradients, to compare another device with.
fn as_truth(gradients: &Gradients) -> TrueGradients {
    let wide = |data: &Vec<f32>| data.iter().map(|&x| f64::from(x)).collect::<ndarray::Array1<f64>>().into_dyn();
    TrueGradients {
        loss: gradients.loss,
        weights: gradients.weights.iter().map(|(name, data)| (name.clone(), wide(data))).collect(),
        inputs: std::collections::BTreeMap::new(),
        states: std::collections::BTreeMap::new(),
        hidden: std::collections::BTreeMap::new(),
    }
}
