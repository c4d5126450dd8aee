//! `gatewave verify`: the conformance table on the CPU and on a device, against the oracle and each other.
//!
//! Owns the report. The cases, the tolerances and the comparison are `conformance`'s; negative controls show that a
//! tolerance would have found a bug, had there been one.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use gatewave::conformance::{self, Bug, Case, CaseResult, InitialStates, MaskKind, Tolerance};
use gatewave::layout::Layout;
use gatewave::oracle::{TrueStates, Truth};
use gatewave::plan::Shape;
use gatewave::{
    Activation, Cell, Device, Engine, Mask, Model, Options, Output, Recurrent, Reset, Result, SelfCheck, Storage,
    Strategy, Weights,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::args::{DeviceArgs, MaybeModelArgs, device_name, note_device};
use crate::{Outcome, Verdict, note};

/// Controls must differ by this many times the tolerance.
const CONTROL_MARGIN: f64 = 10.0;

/// Compares a device with the CPU, and both with the oracle
///
/// Runs the whole table of cases, or random inputs through MODEL, by the device's own choice of strategy and by each other
/// one. Exit status 1 where anything differs.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: MaybeModelArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, out: &mut impl Write) -> Outcome {
    let device = args.device.device()?;
    let subjects = match args.model.open()? {
        Some((model, weights)) => of_model(&args.model.name().unwrap_or_default(), &model, &weights),
        None => of_table(),
    };
    let mut report = Report { json: args.json, ..Report::default() };
    let mut sound = true;
    for check in device.self_checks()? {
        sound &= check.fault.is_none();
        report.self_check(&check, out)?;
    }
    // `auto` passes over what fails by itself; a device that was named is not used.
    let device = if sound || device == Device::Auto { device } else { Device::Cpu };
    let executors = executors(device, &subjects)?;
    let bar = bar(subjects.len());
    for subject in &subjects {
        bar.set_message(subject.case.name.clone());
        for row in subject.rows(&executors) {
            bar.suspend(|| report.add(row, out))?;
        }
        bar.inc(1);
    }
    if args.model.name().is_none() {
        for executor in executors.iter().filter(|executor| executor.strategy.is_none()) {
            for bug in Bug::ALL {
                report.add(control(bug, &subjects, executor), out)?;
            }
        }
    }
    bar.finish_and_clear();
    report.close(out)
}

/// A case and the weights to run it with.
struct Subject {
    case: Case,
    weights: Weights,
}

/// What computes.
struct Executor {
    name: String,
    device: Device,
    /// What it is held to; `None` where it chooses.
    strategy: Option<Strategy>,
    /// Holds a GPU open, so that the engines of all cases share it and what it compiled.
    _engine: Option<Engine>,
}

/// One comparison.
struct Row {
    /// Who is compared with whom: `cpu / oracle`.
    pair: String,
    /// What the maximum is kept for: the cell, and each kernel that ran.
    groups: Vec<String>,
    result: CaseResult,
    expected: Expected,
}

/// What a row must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The same numbers.
    Same,
    /// A planted bug.
    Bug,
}

fn of_table() -> Vec<Subject> {
    conformance::cases().into_iter().map(|case| Subject { weights: case.weights(), case }).collect()
}

/// Random inputs of several shapes for a user's model.
fn of_model(name: &str, model: &Model, weights: &Weights) -> Vec<Subject> {
    let shapes = [
        (1, 1, MaskKind::All, InitialStates::Zero),
        (7, 3, MaskKind::All, InitialStates::Given),
        (12, 4, MaskKind::Lengths, InitialStates::Given),
        (33, 2, MaskKind::Holes, InitialStates::Zero),
    ];
    let subject = |(seed, (time, batch, mask, states))| {
        let name = format!("{name} T={time} B={batch} mask={mask:?} states={states:?}");
        let case = Case { name, model: model.clone(), time, batch, storage: Storage::F32, mask, states, seed };
        Subject { case, weights: weights.clone() }
    };
    (1..).zip(shapes).map(subject).collect()
}

/// A device as it chooses by itself, and held to what it does not choose for every shape; to `persistent` where it passes
/// its self-check.
fn each_way(name: &str, device: &Device, engine: Option<Engine>, subject: Option<&Subject>) -> Vec<Executor> {
    let own = Executor { name: name.to_owned(), device: device.clone(), strategy: None, _engine: engine };
    let mut ways = vec![own];
    for strategy in [Strategy::Step, Strategy::Diagonal, Strategy::Scan, Strategy::Persistent] {
        // A host goes by steps of its own accord.
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
    /// Whether a case can show what this executor is there for.
    fn takes(&self, case: &Case) -> bool {
        match self.strategy {
            Some(Strategy::Diagonal) => {
                Layout::of(&case.model, case.storage).is_ok_and(|layout| !layout.runs.is_empty())
            }
            Some(Strategy::Step | Strategy::Scan) => case.time > 1 && case.model.stacks().any(has_one_product),
            // One of two panels or more, and one tile of rows, which any device has workgroups for; of these each fourth, and
            // those whose masks have holes.
            Some(Strategy::Persistent) => {
                let shared = |stack: &Recurrent| has_one_product(stack) && stack.hidden_size > 16;
                let is_picked = case.seed.is_multiple_of(4) || case.mask == MaskKind::Holes;
                case.time > 1 && case.batch <= 8 && is_picked && case.model.stacks().any(shared)
            }
            _ => true,
        }
    }
}

/// Whether a step of the stack takes one product, so that a dispatch may have many.
fn has_one_product(stack: &Recurrent) -> bool {
    stack.cell != Cell::Gru(Reset::Before) && stack.proj_size.is_none()
}

/// The CPU, and the device where it is another.
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
        let options = Options::default().device(device.clone()).precision(self.case.storage.into()).strategy(strategy);
        Engine::with_options(self.case.model.clone(), weights, options)
    }

    /// What an executor gives, and the kernels that it ran.
    fn execute(&self, weights: &Weights, executor: &Executor) -> Result<(Output, Vec<String>)> {
        let engine = self.engine(weights, &executor.device, executor.strategy)?;
        let mask = if self.case.mask == MaskKind::All { Mask::All } else { Mask::Live };
        let output = engine.run(&self.case.input())?;
        let kernels = kernels(
            &engine,
            Shape::of_model(&self.case.model, |input| self.case.time_of(input), self.case.batch, mask),
        )?;
        Ok((output, kernels.into_iter().map(|kernel| format!("kernel {kernel}")).collect()))
    }

    /// Every executor against the oracle, and every other one against the first, which is the CPU.
    fn rows(&self, executors: &[Executor]) -> Vec<Row> {
        let cell = self.case.model.stacks().last().map_or_else(|| "no cell".to_owned(), |stack| stack.cell.to_string());
        let mut rows = Vec::new();
        let mut first: Option<Output> = None;
        for executor in executors.iter().filter(|executor| executor.takes(&self.case)) {
            let mut groups = vec![cell.clone()];
            let mut given = None;
            let outcome = self.execute(&self.weights, executor).and_then(|(output, kernels)| {
                groups.extend(kernels);
                let parts =
                    conformance::compare_outputs(&output, &self.case.truth(&self.weights)?, self.case.tolerance());
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

/// The kernels of the plan of `shape`, each once.
pub(crate) fn kernels(engine: &Engine, shape: Shape) -> Result<Vec<String>> {
    let plan = engine.plan(shape)?;
    let mut kernels: Vec<_> = plan.programs.iter().map(|program| program.kernel().name().to_owned()).collect();
    kernels.sort();
    kernels.dedup();
    Ok(kernels)
}

/// What an executor gave, in the place of the truth.
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

/// The result of a case with `bug` planted in the executor's weights: it must differ.
fn control(bug: Bug, subjects: &[Subject], executor: &Executor) -> Row {
    // A bug in the recurrent product shows only where there is a state to multiply and no unit of a relu is idle, and
    // a handful of weights may all happen to be near a half.
    let shows = |case: &Case| {
        case.storage == Storage::F32
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

impl Row {
    fn passed(&self) -> bool {
        match self.expected {
            Expected::Same => self.result.passed(),
            // An executor that fails outright has shown nothing about the tolerance.
            Expected::Bug => self.result.worst().is_some() && self.result.used() >= CONTROL_MARGIN,
        }
    }

    /// The row in full.
    fn text(&self) -> String {
        match self.expected {
            Expected::Same => format!("{}: {}", self.pair, self.result),
            Expected::Bug => {
                let verdict = if self.passed() { "ok  " } else { "FAIL" };
                let used = self.result.used();
                format!(
                    "{}: {verdict} {}: differs by {used:.1} times the tolerance, expected {CONTROL_MARGIN} or more",
                    self.pair, self.result.name
                )
            }
        }
    }

    fn line(&self) -> Line<'_> {
        let worst = self.result.worst();
        Line {
            case: &self.result.name,
            pair: &self.pair,
            expected: match self.expected {
                Expected::Same => "same",
                Expected::Bug => "different",
            },
            passed: self.passed(),
            // JSON has no infinity: null where nothing could be compared.
            percent_of_tolerance: Some(100.0 * self.result.used()).filter(|used| used.is_finite()),
            worst: worst.map(|part| format!("{} {}", part.name, part.comparison)),
            error: self.result.outcome.as_ref().err().map(ToString::to_string),
        }
    }
}

/// A row as JSON.
#[derive(Serialize)]
struct Line<'a> {
    case: &'a str,
    pair: &'a str,
    expected: &'static str,
    passed: bool,
    percent_of_tolerance: Option<f64>,
    worst: Option<String>,
    error: Option<String>,
}

impl<'a> Line<'a> {
    fn of_self_check(case: &'a str, check: &'a SelfCheck) -> Self {
        Self {
            case,
            pair: &check.adapter,
            expected: "same",
            passed: check.fault.is_none(),
            percent_of_tolerance: None,
            worst: None,
            error: check.fault.clone(),
        }
    }
}

#[derive(Serialize)]
struct Counts {
    passed: usize,
    failed: usize,
}

/// What has been compared so far.
#[derive(Default)]
struct Report {
    json: bool,
    passed: usize,
    failed: usize,
    /// By pair and group: comparisons, and the most of a tolerance that one used.
    most: BTreeMap<(String, String), (usize, f64)>,
    /// What is said after the table: self-checks and controls.
    notes: Vec<String>,
}

impl Report {
    /// Counts a self-check of a device; prints it as JSON.
    fn self_check(&mut self, check: &SelfCheck, out: &mut impl Write) -> Outcome<()> {
        match check.fault {
            None => self.passed += 1,
            Some(_) => self.failed += 1,
        }
        if self.json {
            let case = format!("self-check of {}", check.strategy);
            let line = Line::of_self_check(&case, check);
            writeln!(out, "{}", serde_json::to_string(&line).expect("plain data"))?;
        } else {
            self.notes.push(check.to_string());
        }
        Ok(())
    }

    /// Counts a row; prints it where it failed, and always as JSON.
    fn add(&mut self, row: Row, out: &mut impl Write) -> Outcome<()> {
        if row.passed() {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        match (self.json, row.expected) {
            (true, _) => writeln!(out, "{}", serde_json::to_string(&row.line()).expect("plain data"))?,
            (false, Expected::Same) if !row.passed() => writeln!(out, "{}", row.text())?,
            (false, Expected::Same) => {}
            (false, Expected::Bug) => self.notes.push(row.text()),
        }
        for group in row.groups {
            let (count, most) = self.most.entry((row.pair.clone(), group)).or_default();
            *count += 1;
            *most = most.max(row.result.used());
        }
        Ok(())
    }

    fn close(self, out: &mut impl Write) -> Outcome {
        let counts = Counts { passed: self.passed, failed: self.failed };
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&counts).expect("plain data"))?;
        } else {
            let mut table = Table::new();
            table.load_style(presets::UTF8_FULL_CONDENSED);
            table.set_header(["compared", "what", "cases", "most of the tolerance"]);
            for column in 2..4 {
                table.column_mut(column).expect("the header has four").set_cell_alignment(CellAlignment::Right);
            }
            for ((pair, group), (cases, most)) in &self.most {
                table.add_row([pair, group, &cases.to_string(), &format!("{:.1} %", 100.0 * most)]);
            }
            writeln!(out, "{table}")?;
            for note in &self.notes {
                writeln!(out, "{note}")?;
            }
            writeln!(out, "{} passed, {} failed", self.passed, self.failed)?;
        }
        Ok(if self.failed == 0 { Verdict::Done } else { Verdict::Different })
    }
}

fn bar(cases: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} cases  {msg}").expect("a fixed template");
    ProgressBar::with_draw_target(Some(cases as u64), ProgressDrawTarget::stderr()).with_style(style)
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

    #[test]
    fn a_failed_self_check_is_a_failure_of_the_whole() {
        let check = |fault: Option<&str>| SelfCheck {
            adapter: "Voodoo".to_owned(),
            strategy: Strategy::Step,
            fault: fault.map(str::to_owned),
        };
        for json in [false, true] {
            let (mut report, mut out) = (Report { json, ..Report::default() }, Vec::new());
            assert!(report.self_check(&check(None), &mut out).is_ok());
            assert!(report.self_check(&check(Some("slot input [0]: expected 1, got 0")), &mut out).is_ok());
            assert!(matches!(report.close(&mut out), Ok(Verdict::Different)));
            let out = String::from_utf8(out).unwrap();
            let wanted = if json { r#""failed":1"# } else { "1 passed, 1 failed" };
            assert!(out.lines().last().unwrap().contains(wanted), "{out}");
            assert!(out.contains("slot input [0]: expected 1, got 0"), "{out}");
        }
    }
}
