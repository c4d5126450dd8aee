//! The gradients that `verify` compares: each case with each way to plan the backward pass, against the oracle.
//!
//! `table_run` decides which cases a way leaves out.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatewave::conformance::{self, Case, CaseResult, InitialStates, MaskKind, Part, PlanBug, TrainingCase};
use gatewave::inspect::Planner;
use gatewave::inspect::plan::{Limits, Plan, Shape};
use gatewave::{Activation, Device, Engine, EngineBuilder, ErrorKind, Result, Strategy};

use super::report::{Expected, Row};
use super::{Executor, Subject};

/// A way to compute gradients on a device.
pub(super) struct Way {
    name: String,
    device: Device,
    kind: Kind,
}

/// How a plan of gradients may differ from the device's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As the device chooses.
    Own,
    /// By a strategy, if the plan can use it.
    By(Strategy),
    /// In chunks of four timesteps; steps keep nothing, and are computed twice.
    Twice,
    /// The batch in tiles.
    Tiles,
}

impl Way {
    /// Returns the ways of a device.
    pub(super) fn all(executor: &Executor) -> Vec<Self> {
        let way = |kind, text: &str| Self {
            name: format!("{} gradients{text}", executor.name),
            device: executor.device.clone(),
            kind,
        };
        // A GPU chooses scans by sizes, and the CPU never does.
        let other = if executor.device == Device::Cpu { Strategy::Scan } else { Strategy::Step };
        vec![
            way(Kind::Own, ""),
            way(Kind::By(other), &format!(" by {other}")),
            way(Kind::Twice, " computed twice"),
            way(Kind::Tiles, " in tiles"),
        ]
    }

    /// Returns whether a driver compiles kernels for it.
    pub(super) fn compiles(&self) -> bool {
        self.device != Device::Cpu
    }

    /// Returns whether it is as the device chooses.
    pub(super) fn is_own(&self) -> bool {
        self.kind == Kind::Own
    }

    /// Returns how a subject is trained, and its plan by this way; none if the way does not take it.
    pub(super) fn plan(&self, subject: &Subject) -> Result<Option<(TrainingCase, Plan)>> {
        let (case, shape) = (subject.case.training(&subject.weights)?, subject.shape());
        let Some(options) = self.options(&case, shape) else { return Ok(None) };
        let plan = Planner::for_training(case.model.clone(), &options)?.plan_gradients(&case.objective, shape)?;
        Ok(Some((case, plan)))
    }

    /// Returns the options of a trainer that takes this way; `None` if it shows nothing that another way does not.
    fn options(&self, case: &TrainingCase, shape: Shape) -> Option<EngineBuilder> {
        let own = Engine::builder().device(self.device.clone());
        match self.kind {
            Kind::Own => Some(own),
            Kind::By(strategy) => (shape.time > 1).then(|| own.strategy(strategy)),
            Kind::Twice => (shape.time > 1).then(|| own.keep_bytes(0).chunk_bytes(0)),
            Kind::Tiles => self.tiles(case, shape).map(|limits| own.limits(limits)),
        }
    }

    /// Returns limits that the whole batch does not fit, but a part of it does.
    fn tiles(&self, case: &TrainingCase, shape: Shape) -> Option<Limits> {
        let plan = |buffer_bytes: u64| {
            let limits = Limits { buffer_bytes, ..Limits::HOST };
            let options = Engine::builder().device(self.device.clone()).limits(limits);
            let planner = Planner::for_training(case.model.clone(), &options).ok()?;
            let plan = planner.plan_gradients(&case.objective, shape).ok()?;
            Some((limits, plan))
        };
        let whole = plan(Limits::HOST.buffer_bytes)?.1;
        let mut sizes: Vec<u64> = whole.slots.iter().map(|slot| slot.bytes).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let smaller = sizes.into_iter().rev().map_while(|bytes| plan(bytes - 1));
        // A trainer asks for gradients of inputs and states as well: this leaves room for as many dispatches again.
        let is_cut = |(limits, plan): &(Limits, Plan)| {
            plan.shape.batch < shape.batch && 2 * plan.params_bytes() <= limits.buffer_bytes
        };
        smaller.into_iter().find(is_cut).map(|(limits, _)| limits)
    }
}

/// Compares the gradients of a subject by some ways with the oracle's. Adds to `left_out` why some cannot be computed.
pub(super) fn rows<'a>(
    subject: &Subject,
    ways: impl Iterator<Item = &'a Way>,
    left_out: &mut BTreeSet<String>,
) -> Vec<Row> {
    let known = subject.case.training(&subject.weights).and_then(|case| Ok((case.truth()?, case)));
    let (truth, case) = match known {
        Ok(known) => known,
        Err(error) if error.kind() == ErrorKind::Training => {
            left_out.insert(error.to_string());
            return Vec::new();
        }
        Err(error) => return vec![row(subject, "gradients / oracle".to_owned(), (Vec::new(), Err(error)))],
    };
    let mut rows = Vec::new();
    for way in ways {
        let Some(options) = way.options(&case, subject.shape()) else { continue };
        let mut kernels = Vec::new();
        let outcome = || {
            let trainer = case.trainer(options)?;
            let got = trainer.gradients_by(&case.batch, &mut |plan| {
                kernels.extend(plan.programs.iter().map(|program| format!("kernel {}", program.kernel().name())));
                Arc::clone(plan)
            })?;
            case.compare(&got, &truth)
        };
        let outcome = outcome();
        // A user's model may have parts that cannot be trained yet, with an error that says so.
        if let Err(error) = &outcome
            && error.kind() == ErrorKind::Training
        {
            left_out.insert(error.to_string());
            continue;
        }
        kernels.sort_unstable();
        kernels.dedup();
        rows.push(row(subject, format!("{} / oracle", way.name), (kernels, outcome)));
    }
    rows
}

fn row(subject: &Subject, pair: String, (kernels, outcome): (Vec<String>, Result<Vec<Part>>)) -> Row {
    let groups = std::iter::once(subject.cell()).chain(kernels).collect();
    let result = CaseResult { name: subject.case.name.clone(), outcome };
    Row { pair, groups, result, expected: Expected::Same }
}

/// Compares the gradients of a case with each bug planted in the plan, on each device: they must differ.
pub(super) fn controls(subjects: &[Subject], ways: &[Way]) -> Vec<Row> {
    let mut rows = Vec::new();
    for bug in PlanBug::ALL {
        let kind = if bug == PlanBug::ChunksForgotten { Kind::Twice } else { Kind::Own };
        let shown = subjects.iter().filter(|subject| shows(bug, &subject.case)).find_map(|subject| {
            let case = subject.case.training(&subject.weights).ok()?;
            let shape = subject.shape();
            let way = Way { name: String::new(), device: Device::Cpu, kind };
            let planner = Planner::for_training(case.model.clone(), &way.options(&case, shape)?).ok()?;
            bug.plant(&planner.plan_gradients(&case.objective, shape).ok()?)?;
            Some((subject, case, shape))
        });
        for way in ways.iter().filter(|way| way.kind == kind) {
            let (name, outcome) = match &shown {
                Some((subject, case, shape)) => {
                    (subject.case.name.as_str(), planted(bug, case, way.options(case, *shape).unwrap_or_default()))
                }
                None => ("no case can show it", Ok(Vec::new())),
            };
            let result = CaseResult { name: format!("control {bug:?} in {name}"), outcome };
            rows.push(Row {
                pair: format!("{} / oracle", way.name),
                groups: Vec::new(),
                result,
                expected: Expected::Bug,
            });
        }
    }
    rows
}

/// Returns whether a bug must show in a case: all that it needs is there, and no unit of a relu is idle.
fn shows(bug: PlanBug, case: &Case) -> bool {
    // A value with several consumers is in a graph: graphs are small, and most have masks.
    let shows_by_mask = match bug {
        PlanBug::MaskForgotten => case.mask == MaskKind::Holes,
        PlanBug::SetNotAdded => true,
        _ => case.mask == MaskKind::All,
    };
    let is_large = bug == PlanBug::SetNotAdded
        || case.states == InitialStates::Given && case.model.stacks().all(|stack| stack.hidden_size > 15);
    shows_by_mask
        && case.time > 4
        && case.batch > 1
        && is_large
        && case.model.stacks().all(|stack| stack.functions[0].f != Activation::Relu)
}

/// Returns the results of a case whose plan has a bug.
fn planted(bug: PlanBug, case: &TrainingCase, options: EngineBuilder) -> Result<Vec<Part>> {
    let trainer = case.trainer(options)?;
    let with_bug = &mut |plan: &Arc<Plan>| bug.plant(plan).map_or_else(|| Arc::clone(plan), Arc::new);
    conformance::compare_gradients(&trainer.gradients_by(&case.batch, with_bug)?, &case.truth()?)
}
