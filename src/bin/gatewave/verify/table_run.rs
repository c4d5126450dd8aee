//! Which cases are run by which executor, and trained in which way.
//!
//! On the CPU it is all of them. A driver takes longer to compile the kernels of a case than to run them. So
//! on an adapter each way takes only as many cases as cover everything, and in a quick check the runs do too.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use gatewave::formats::description;
use gatewave::inspect::kernel::Program;
use gatewave::inspect::plan::Plan;
use gatewave::{Device, Model, Result};
use serde_json::Value;

use super::gradients::Way;
use super::{Executor, Subject};

/// The cases of each executor and of each way.
pub(super) struct TableRun {
    runs: Vec<BTreeSet<usize>>,
    cases: Vec<BTreeSet<usize>>,
}

/// How many cases of the table are run and trained on an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// All are run, and trained in every way.
    Whole,
    /// All are run, and as many trained as cover everything.
    Short,
    /// As many are run and trained as cover everything.
    Quick,
}

impl TableRun {
    /// Picks every case on the CPU, and on an adapter as many as `length` says.
    pub(super) fn of_length(length: Length, subjects: &[Subject], executors: &[Executor], ways: &[Way]) -> Self {
        let all = || (0..subjects.len()).collect();
        let mut run =
            Self { runs: executors.iter().map(|_| all()).collect(), cases: ways.iter().map(|_| all()).collect() };
        if length == Length::Quick {
            let mut compiled = HashSet::new();
            for (cases, executor) in run.runs.iter_mut().zip(executors).filter(|(_, by)| by.device != Device::Cpu) {
                *cases = picked(subjects, |subject| Shown::by_running(executor, subject), &mut compiled);
            }
        }
        if length != Length::Whole {
            let mut compiled = HashSet::new();
            for (cases, way) in run.cases.iter_mut().zip(ways).filter(|(_, way)| way.compiles()) {
                *cases = picked(subjects, |subject| Shown::by(way, subject), &mut compiled);
            }
        }
        run
    }

    /// Returns the executors that run case `index`.
    pub(super) fn running<'a>(&self, index: usize, executors: &'a [Executor]) -> Vec<&'a Executor> {
        let runs = |cases: &BTreeSet<usize>| cases.contains(&index);
        executors.iter().zip(&self.runs).filter(|(_, cases)| runs(cases)).map(|(executor, _)| executor).collect()
    }

    /// Returns the ways that case `index` takes.
    pub(super) fn of<'a>(&self, index: usize, ways: &'a [Way]) -> impl Iterator<Item = &'a Way> {
        ways.iter().zip(&self.cases).filter(move |(_, cases)| cases.contains(&index)).map(|(way, _)| way)
    }
}

/// What a case covers when it is run or trained, and the programs to compile for it.
struct Shown {
    /// Its kernels. If the device chooses, also each option of its
    /// layers, its losses and its mask; otherwise each cell.
    what: BTreeSet<String>,
    programs: HashSet<Program>,
}

impl Shown {
    /// Returns what training covers; none if the way does not take the case.
    fn by(way: &Way, subject: &Subject) -> Result<Option<Self>> {
        let Some((case, plan)) = way.plan(subject)? else { return Ok(None) };
        let mut shown = Self::of(subject, &case.model, way.is_own(), &plan);
        if way.is_own() {
            shown.what.extend(case.objective.terms().iter().map(|term| format!("loss {}", term.loss.name())));
        }
        Ok(Some(shown))
    }

    /// Returns what running covers; none if the executor does not take the case.
    fn by_running(executor: &Executor, subject: &Subject) -> Result<Option<Self>> {
        if !executor.takes(&subject.case) {
            return Ok(None);
        }
        let plan = subject.plan(executor)?;
        let mut shown = Self::of(subject, &subject.case.model, executor.strategy.is_none(), &plan);
        shown.what.extend(
            plan.programs
                .iter()
                .map(|program| format!("{} {:?} {:?}", program.kernel().name(), program.storage(), program.mask())),
        );
        Ok(Some(shown))
    }

    /// Returns what the plan of a case covers, and its options too if the device chooses.
    fn of(subject: &Subject, model: &Model, is_own: bool, plan: &Plan) -> Self {
        let kernels = plan.programs.iter().map(|program| program.kernel().name().to_owned());
        let mut what: BTreeSet<String> = kernels.collect();
        if is_own {
            what.extend(options_of(model));
            what.extend([format!("{:?}", subject.case.mask), format!("{:?}", subject.case.states)]);
        } else {
            what.insert(subject.cell());
        }
        Self { what, programs: plan.programs.iter().copied().collect() }
    }
}

/// Returns cases that cover everything. Each next one is that which
/// covers most for each program that is not among those `compiled`.
fn picked(
    subjects: &[Subject],
    shown: impl Fn(&Subject) -> Result<Option<Shown>>,
    compiled: &mut HashSet<Program>,
) -> BTreeSet<usize> {
    let mut picked = BTreeSet::new();
    let mut left: BTreeMap<usize, Shown> = BTreeMap::new();
    for (index, subject) in subjects.iter().enumerate() {
        match shown(subject) {
            Ok(shown) => left.extend(shown.map(|shown| (index, shown))),
            // A case that cannot be planned reports why when it is run.
            Err(_) => drop(picked.insert(index)),
        }
    }
    let mut seen: BTreeSet<String> = BTreeSet::new();
    loop {
        let worth =
            |shown: &Shown| (shown.what.difference(&seen).count(), 1 + shown.programs.difference(compiled).count());
        let next = left.iter().map(|(&index, shown)| (index, worth(shown))).filter(|(_, (new, _))| *new > 0);
        let more = |&(a, (new_a, cost_a)): &(usize, (usize, usize)),
                    &(b, (new_b, cost_b)): &(usize, (usize, usize))| {
            (new_a * cost_b).cmp(&(new_b * cost_a)).then(b.cmp(&a))
        };
        let Some(shown) = next.max_by(more).and_then(|(index, _)| {
            picked.insert(index);
            left.remove(&index)
        }) else {
            return picked;
        };
        seen.extend(shown.what);
        compiled.extend(shown.programs);
    }
}

/// Returns the options of a model's layers, as in its description: words, and for a number whether it is 0, 1 or
/// more. An option with many values counts as one: names, and functions, each of which a driver compiles separately.
fn options_of(model: &Model) -> BTreeSet<String> {
    let description: Value = serde_json::from_str(&description::to_json(model)).expect("a description is JSON");
    let layers = description["layers"].as_array().into_iter().flatten();
    let options = layers.flat_map(|layer| {
        let kind = layer["type"].as_str().unwrap_or_default();
        layer.as_object().into_iter().flatten().map(move |(key, value)| match value {
            Value::Number(number) => format!("{kind} {key} {}", number.as_u64().map_or(2, |n| n.min(2))),
            Value::Bool(_) => format!("{kind} {key} {value}"),
            Value::String(_) if WORDS.contains(&key.as_str()) => format!("{kind} {key} {value}"),
            Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => format!("{kind} {key}"),
        })
    });
    options.collect()
}

/// The keys of a layer whose words are few.
const WORDS: [&str; 7] = ["bias", "direction", "merge_mode", "padding", "initial_states", "what", "drops"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::of_table;

    #[test]
    fn a_short_walk_shows_what_the_whole_one_does() {
        let subjects = of_table();
        let executor = Executor { name: "cpu".into(), device: Device::Cpu, strategy: None, _engine: None };
        let ways = Way::all(&executor);
        let trained =
            ways.iter().map(|way| Box::new(|subject: &Subject| Shown::by(way, subject)) as Box<dyn Fn(&Subject) -> _>);
        let run = Box::new(|subject: &Subject| Shown::by_running(&executor, subject)) as Box<dyn Fn(&Subject) -> _>;
        for shown in trained.chain([run]) {
            let picked = picked(&subjects, &shown, &mut HashSet::new());
            let of = |index: usize| shown(&subjects[index]).unwrap().map(|shown| shown.what).unwrap_or_default();
            let all: BTreeSet<String> = (0..subjects.len()).flat_map(of).collect();
            assert_eq!(picked.iter().copied().flat_map(of).collect::<BTreeSet<_>>(), all);
            assert!(picked.len() > 3 && 3 * picked.len() < subjects.len(), "{picked:?}");
        }
    }
}
