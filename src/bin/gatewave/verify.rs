//! `gatewave verify`: the conformance table on the CPU and on a device, compared with the oracle and with each other.
//!
//! The cases, the tolerances and the comparison are in `conformance`. Negative
//! controls show that a tolerance would find a bug if there were one. This file runs
//! models, `gradients` trains them, `table_run` picks the cases, and `report` prints.

mod gradients;
mod report;
mod table_run;

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use gatewave::conformance::{self, Bug, Case, CaseResult, InitialStates, MaskKind, Tolerance};
use gatewave::inspect::kernel::Mask;
use gatewave::inspect::layout::Layout;
use gatewave::inspect::plan::{Plan, Shape};
use gatewave::inspect::{self, Planner};
use gatewave::interface::InputValue;
use gatewave::layer::{Cell, Recurrent, Reset};
use gatewave::oracle::{TrueStates, Truth};
use gatewave::{
    Activation, Device, Engine, EngineBuilder, Error, ErrorKind, Model, Output, Precision, Result, Strategy, Weights,
};
use indicatif::{ProgressBar, ProgressStyle};

use self::gradients::Way;
use self::report::{Expected, Report, Row};
use self::table_run::{Length, TableRun};
use crate::Outcome;
use crate::args::{DeviceArgs, MaybeModelArgs, device_name, note_device};
use crate::messages::{note, progress_target};

/// Checks a device's results, gradients included, against the CPU and a 64-bit reference
///
/// Runs a table of cases, or random inputs through MODEL: with the strategy that
/// the device would choose, and with each other one. Exit status 1 if anything differs.
/// MODEL is run with as many steps as it takes. A call or a gradient that it refuses is left out, with a line that says so.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: MaybeModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Without MODEL: compare the gradients of every case with every strategy on the device too. By
    /// default these are as many cases as cover each kernel and each option. Those of MODEL all are
    #[arg(long)]
    all: bool,
    /// Without MODEL: run only as many cases on the device as cover each
    /// kernel and each option once, for a driver that compiles slowly
    #[arg(long, conflicts_with_all = ["all", "path"])]
    quick: bool,
    /// Print JSON, one object on each line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let subjects = match args.model.open()? {
        Some((model, weights)) => of_model(&args.model.name().unwrap_or_default(), &model, &weights)?,
        None => of_table(),
    };
    let mut report = Report::new(args.json);
    let mut sound = true;
    for check in device.self_checks()? {
        sound &= check.fault.is_none();
        report.self_check(&check, out)?;
    }
    // `auto` and `gpu` skip failing adapters by themselves; a device that was named is not used.
    let device = if sound || [Device::Auto, Device::Gpu].contains(&device) { device } else { Device::Cpu };
    let executors = executors(device, &subjects)?;
    let ways: Vec<Way> = executors.iter().filter(|executor| executor.strategy.is_none()).flat_map(Way::all).collect();
    let length = match (args.all || args.model.name().is_some(), args.quick) {
        (true, _) => Length::Whole,
        (false, false) => Length::Short,
        (false, true) => Length::Quick,
    };
    let run = TableRun::of_length(length, &subjects, &executors, &ways);
    let (bar, mut untrained) = (bar(subjects.len()), BTreeSet::new());
    for (index, subject) in subjects.iter().enumerate() {
        bar.set_message(subject.case.name.clone());
        let ran = subject.rows(&run.running(index, &executors));
        for row in ran.into_iter().chain(gradients::rows(subject, run.of(index, &ways), &mut untrained)) {
            bar.suspend(|| report.add(row, out))?;
        }
        bar.inc(1);
    }
    if args.model.name().is_none() {
        for row in gradients::controls(&subjects, &ways) {
            report.add(row, out)?;
        }
        for executor in executors.iter().filter(|executor| executor.strategy.is_none()) {
            for bug in Bug::ALL {
                report.add(control(bug, &subjects, executor), out)?;
            }
        }
    }
    bar.finish_and_clear();
    untrained.into_iter().for_each(|why| note(format_args!("left out: gradients: {why}")));
    report.close(out)
}

/// A case and the weights to run it with.
struct Subject {
    case: Case,
    weights: Weights,
}

/// A device and how it computes.
struct Executor {
    name: String,
    device: Device,
    /// The strategy that it must use; `None` if it chooses.
    strategy: Option<Strategy>,
    /// Holds a GPU open, so that the engines of all cases share it and its compiled programs.
    _engine: Option<Engine>,
}

fn of_table() -> Vec<Subject> {
    conformance::cases().into_iter().map(|case| Subject { weights: case.weights(), case }).collect()
}

/// Makes random inputs of several shapes for a user's model, with as many steps as it takes. Notes those that it refuses.
///
/// # Errors
///
/// Returns the error of the first one if the model refuses all.
fn of_model(name: &str, model: &Model, weights: &Weights) -> Result<Vec<Subject>> {
    let shapes = [
        (0, 1, MaskKind::All, InitialStates::Zero),
        (6, 3, MaskKind::All, InitialStates::Given),
        (11, 4, MaskKind::Lengths, InitialStates::Given),
        (32, 2, MaskKind::Holes, InitialStates::Zero),
    ];
    let takes_steps = model.all_ports().inputs.iter().any(|port| matches!(port.value, InputValue::Lengths(_)));
    let subject = |(seed, (more, batch, mask, states))| {
        let mask = if takes_steps { mask } else { MaskKind::All };
        let time = inspect::steps_over(model, more);
        let name = format!("{name} T={time} B={batch} mask={mask:?} states={states:?}");
        let case = Case { name, model: model.clone(), time, batch, precision: Precision::F32, mask, states, seed };
        Subject { case, weights: weights.clone() }
    };
    let (mut subjects, mut refused) = (Vec::new(), None);
    for subject in (1..).zip(shapes).map(subject) {
        let engine = subject.engine(weights, &Device::Cpu, None)?;
        match engine.run(&subject.case.input()) {
            Err(error) if error.kind() == ErrorKind::Shape => {
                note(format_args!("left out: {}: {error}", subject.case.name));
                refused.get_or_insert(error);
            }
            // Any other error is one that the comparison shows.
            _ => subjects.push(subject),
        }
    }
    match refused {
        Some(error) if subjects.is_empty() => Err(error),
        _ => Ok(subjects),
    }
}

/// Returns a device as it chooses by itself, and with each strategy that it does not
/// choose for every shape. `persistent` is included if it passes its self-check.
fn each_way(name: &str, device: &Device, engine: Option<Engine>, subject: Option<&Subject>) -> Vec<Executor> {
    let own = Executor { name: name.to_owned(), device: device.clone(), strategy: None, _engine: engine };
    let mut ways = vec![own];
    for strategy in [Strategy::Step, Strategy::Wavefront, Strategy::Scan, Strategy::Persistent] {
        // A host uses `step` by itself.
        if strategy == Strategy::Step && *device == Device::Cpu {
            continue;
        }
        if let (Strategy::Persistent, Some(subject)) = (strategy, subject)
            && let Err(error) = subject.engine(&subject.weights, device, Some(strategy))
        {
            note(error);
            continue;
        }
        let name = format!("{name} by {strategy}");
        ways.push(Executor { name, device: device.clone(), strategy: Some(strategy), _engine: None });
    }
    ways
}

impl Executor {
    /// Returns whether a case can show what this executor is for.
    fn takes(&self, case: &Case) -> bool {
        match self.strategy {
            Some(Strategy::Wavefront) => {
                Layout::of(&case.model, case.precision).is_ok_and(|layout| !layout.layer_runs.is_empty())
            }
            Some(Strategy::Step | Strategy::Scan) => case.time > 1 && case.model.stacks().any(has_one_product),
            // Takes stacks of two or more panels, and one tile of rows, for which any device
            // has workgroups. Of these it takes every fourth, and those whose masks have holes.
            Some(Strategy::Persistent) => {
                let shared = |stack: &Recurrent| has_one_product(stack) && stack.hidden_size > 16;
                let is_picked = case.seed.is_multiple_of(4) || case.mask == MaskKind::Holes;
                case.time > 1 && case.batch <= 8 && is_picked && case.model.stacks().any(shared)
            }
            _ => true,
        }
    }
}

/// Returns whether a step of the stack has one product, so that a dispatch may have many steps.
fn has_one_product(stack: &Recurrent) -> bool {
    stack.cell != Cell::Gru(Reset::Before) && stack.proj_size.is_none()
}

/// Returns the CPU, and the device if it is another.
fn executors(device: Device, subjects: &[Subject]) -> Result<Vec<Executor>> {
    let mut executors = each_way("cpu", &Device::Cpu, None, None);
    if let Some(subject) = subjects.first() {
        let engine = subject.engine(&subject.weights, &device, None)?;
        note_device(engine.device());
        let name = device_name(engine.device());
        if name != executors[0].name {
            executors.extend(each_way(&name, &device, Some(engine), Some(subject)));
        }
    }
    Ok(executors)
}

impl Subject {
    fn engine(&self, weights: &Weights, device: &Device, strategy: Option<Strategy>) -> Result<Engine> {
        self.options(device, strategy).build(&self.case.model, weights)
    }

    fn options(&self, device: &Device, strategy: Option<Strategy>) -> EngineBuilder {
        Engine::builder().device(device.clone()).precision(self.case.precision).strategy(strategy)
    }

    /// Returns the plan that an executor has of the case.
    fn plan(&self, executor: &Executor) -> Result<Arc<Plan>> {
        let options = self.options(&executor.device, executor.strategy);
        Planner::new(self.case.model.clone(), &options)?.plan(self.shape())
    }

    /// Returns the sizes of its call.
    fn shape(&self) -> Shape {
        let mask = if self.case.mask == MaskKind::All { Mask::All } else { Mask::Live };
        Shape::of_model(&self.case.model, |input| self.case.time_of(input), self.case.batch, mask)
    }

    /// Returns the output of an executor, and the kernels that it ran.
    fn execute(&self, weights: &Weights, executor: &Executor) -> Result<(Output, Vec<String>)> {
        let engine = self.engine(weights, &executor.device, executor.strategy)?;
        let output = engine.run(&self.case.input())?;
        let kernels = kernels(&*engine.plan(self.shape())?);
        Ok((output, kernels.into_iter().map(|kernel| format!("kernel {kernel}")).collect()))
    }

    /// Returns the cell, for reports.
    fn cell(&self) -> String {
        self.case.model.stacks().last().map_or_else(|| "no cell".to_owned(), |stack| stack.cell.to_string())
    }

    /// Compares every executor with the oracle, and all others with the first, which is the CPU.
    fn rows(&self, executors: &[&Executor]) -> Vec<Row> {
        let cell = self.cell();
        // Computed once for all: it is the slowest of them.
        let truth = self.case.truth(&self.weights);
        let truth = || truth.as_ref().map_err(|e| Error::new(e.kind(), e.to_string()));
        let mut rows = Vec::new();
        let mut first: Option<Output> = None;
        for executor in executors.iter().filter(|executor| executor.takes(&self.case)) {
            let mut groups = vec![cell.clone()];
            let mut given = None;
            let outcome = self.execute(&self.weights, executor).and_then(|(output, kernels)| {
                groups.extend(kernels);
                let parts = conformance::compare_outputs(&output, truth()?, self.case.tolerance());
                given = Some(output);
                parts
            });
            rows.push(self.row(format!("{} / oracle", executor.name), groups.clone(), outcome));
            match (&first, given) {
                (None, given) => first = given,
                (Some(cpu), Some(output)) => {
                    let tolerance = Tolerance::executors(&self.case.model, self.case.time);
                    let outcome = conformance::compare_outputs(&output, &as_truth(cpu), tolerance);
                    rows.push(self.row(format!("{} / cpu", executor.name), groups, outcome));
                }
                (Some(_), None) => {}
            }
        }
        rows
    }

    fn row(&self, pair: String, groups: Vec<String>, outcome: Result<Vec<conformance::Part>>) -> Row {
        let result = CaseResult { name: self.case.name.clone(), outcome };
        Row { pair, groups, result, expected: Expected::Same }
    }
}

/// Returns the kernels of the plan, each once.
pub(crate) fn kernels(plan: &Plan) -> Vec<String> {
    let mut kernels: Vec<_> = plan.programs.iter().map(|program| program.kernel().name().to_owned()).collect();
    kernels.sort();
    kernels.dedup();
    kernels
}

/// Returns the output of an executor as a truth to compare with.
pub(crate) fn as_truth(output: &Output) -> Truth {
    Truth {
        output: output.output.mapv(f64::from),
        states: output
            .states
            .iter()
            .map(|states| TrueStates { h: states.h.mapv(f64::from), c: states.c.as_ref().map(|c| c.mapv(f64::from)) })
            .collect(),
        others: output.others.iter().map(|y| y.mapv(f64::from)).collect(),
    }
}

/// Returns the result of a case with `bug` planted in the executor's weights: it must differ.
fn control(bug: Bug, subjects: &[Subject], executor: &Executor) -> Row {
    // A bug in the recurrent product shows only if there is a state to multiply and no unit
    // of a relu is idle. And the weights of a small model may all happen to be near a half.
    let shows = |case: &Case| {
        case.precision == Precision::F32
            && case.mask == MaskKind::All
            && case.states == InitialStates::Given
            && case.time > 1
            && case.model.stacks().all(|stack| stack.hidden_size >= 16 && stack.functions[0].f != Activation::Relu)
    };
    let planted = subjects
        .iter()
        .filter(|subject| shows(&subject.case))
        .find_map(|subject| Some((subject, bug.plant(&subject.case.model, &subject.weights)?)));
    let (case, outcome) = match planted {
        Some((subject, wrong)) => {
            let outcome = subject.execute(&wrong, executor).and_then(|(output, _)| {
                let truth = subject.case.truth(&subject.weights)?;
                conformance::compare_outputs(&output, &truth, subject.case.tolerance())
            });
            (subject.case.name.as_str(), outcome)
        }
        None => ("no case can show it", Ok(Vec::new())),
    };
    Row {
        pair: format!("{} / oracle", executor.name),
        groups: Vec::new(),
        result: CaseResult { name: format!("control {bug:?} in {case}"), outcome },
        expected: Expected::Bug,
    }
}

fn bar(cases: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cases  {msg}").expect("a fixed template");
    ProgressBar::with_draw_target(Some(cases as u64), progress_target()).with_style(style)
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn every_strategy_meets_the_edges_of_panels_with_states_and_masks_that_have_holes() {
        let subjects = of_table();
        for way in each_way("cpu", &Device::Cpu, None, None) {
            for cell in [Cell::Lstm, Cell::Gru(Reset::After)] {
                for units in [17, 32, 33] {
                    let is_such = |case: &&Case| {
                        let such = |stack: &Recurrent| stack.cell == cell && stack.hidden_size == units;
                        case.mask == MaskKind::Holes
                            && case.states == InitialStates::Given
                            && case.model.stacks().any(such)
                    };
                    let mut cases = subjects.iter().map(|subject| &subject.case).filter(is_such);
                    assert!(cases.any(|case| way.takes(case)), "{}: {cell} of {units} units", way.name);
                }
            }
        }
    }
}
