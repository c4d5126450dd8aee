//! The counts of each shape's plan: dispatches and bytes, on each kind of device.
//!
//! Needs no device and no clock, so that continuous integration can tell whether a plan has grown.

use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use gatewave::inspect::layout::Layout;
use gatewave::inspect::plan::lower::lower;
use gatewave::inspect::plan::tune::{Target, Tuning};
use gatewave::inspect::plan::{Limits, SlotKind};
use gatewave::{Error, Precision, Result};
use serde::{Deserialize, Serialize};

use super::report;
use crate::shapes::Work;
use crate::{Outcome, Verdict};

/// The kinds of devices, and the limits of plans for them.
const TARGETS: [(&str, Target, Limits); 4] = [
    ("cpu", Target::Host, Limits::HOST),
    ("software GPU", Target::Software, Limits::WEBGPU),
    ("software GPU, wide subgroups", Target::Software, Limits { subgroup_lanes: 8, ..Limits::WEBGPU }),
    ("GPU", Target::Gpu, Limits::WEBGPU),
];

/// The counts of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
struct Count {
    id: String,
    target: String,
    dtype: String,
    dispatches: usize,
    weights_bytes: u64,
    input_bytes: u64,
    output_bytes: u64,
    scratch_bytes: u64,
}

/// Prints the counts of each shape.
pub(super) fn print(work: &[Work], precision: Precision, json: bool, out: &mut impl Write) -> Outcome {
    let counts = counts(work, precision)?;
    if json {
        for count in &counts {
            writeln!(out, "{}", serde_json::to_string(count).expect("plain data"))?;
        }
    } else {
        writeln!(out, "{}", table(counts.iter()))?;
    }
    Ok(Verdict::Done)
}

/// Prints the counts that differ from those of `file`. If `work`
/// `is_whole`, also prints lines of the file that belong to no plan.
pub(super) fn check(work: &[Work], precision: Precision, file: &Path, is_whole: bool, out: &mut impl Write) -> Outcome {
    let wanted: Vec<Count> = report::read(file, "--count --json").map_err(|e| e.at(file.display()))?;
    let counts = counts(work, precision)?;
    let of = |count: &Count| wanted.iter().find(|line| line.is_of(count));
    let different: Vec<_> = counts.iter().filter(|&count| of(count) != Some(count)).collect();
    let is_gone = |line: &&Count| !counts.iter().any(|count| count.is_of(line));
    // If only some shapes are picked, the others are not missed.
    let gone: Vec<_> = if is_whole { wanted.iter().filter(is_gone).collect() } else { Vec::new() };
    if different.is_empty() && gone.is_empty() {
        writeln!(out, "{} plans count what {} says", counts.len(), file.display())?;
        return Ok(Verdict::Done);
    }
    for count in &different {
        let was = of(count).map_or_else(|| "a line of it in the file, found none".to_owned(), ToString::to_string);
        writeln!(out, "{} ({}, {}): expected {was}; got {count}", count.id, count.target, count.dtype)?;
    }
    for line in &gone {
        writeln!(out, "{} ({}, {}): expected {line}; got no such plan", line.id, line.target, line.dtype)?;
    }
    let (some, all) = (different.len() + gone.len(), counts.len() + gone.len());
    writeln!(
        out,
        "{some} of {all} plans count otherwise; if that is meant: the same flags with --count --json in place of --check, > {}",
        file.display()
    )?;
    Ok(Verdict::Different)
}

impl Count {
    /// Returns whether both are of one plan.
    fn is_of(&self, other: &Self) -> bool {
        (&self.id, &self.target, &self.dtype) == (&other.id, &other.target, &other.dtype)
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} dispatches, bytes: weights {}, input {}, output {}, scratch {}",
            self.dispatches, self.weights_bytes, self.input_bytes, self.output_bytes, self.scratch_bytes
        )
    }
}

fn counts(work: &[Work], precision: Precision) -> Result<Vec<Count>> {
    let each = work.iter().flat_map(|work| TARGETS.iter().map(move |target| (work, target)));
    each.map(|(work, (name, target, limits))| {
        let count = || {
            let model = work.model()?;
            let layout = Layout::of(&model, precision)?;
            let shape = work.shape();
            let plan = lower(&model, &layout, shape, limits, &Tuning::of(*target))?;
            Ok(Count {
                id: work.id.clone(),
                target: (*name).to_owned(),
                dtype: precision.name().to_owned(),
                dispatches: plan.steps.len(),
                weights_bytes: plan.bytes(|kind| matches!(kind, SlotKind::Weights(_))),
                input_bytes: plan.bytes(|kind| matches!(kind, SlotKind::Input | SlotKind::Index)),
                output_bytes: plan.bytes(|kind| kind == SlotKind::Output),
                scratch_bytes: plan.bytes(SlotKind::is_scratch),
            })
        };
        count().map_err(|e: Error| e.at(format!("{} ({name})", work.id)))
    })
    .collect()
}

fn table<'a>(counts: impl Iterator<Item = &'a Count>) -> Table {
    let mut table = Table::new();
    let header = ["shape", "target", "dispatches", "weights bytes", "input", "output", "scratch"];
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for column in 2..header.len() {
        table.column_mut(column).expect("the header has it").set_cell_alignment(CellAlignment::Right);
    }
    for count in counts {
        let first = count.target == TARGETS[0].0;
        table.add_row([
            if first { count.id.clone() } else { String::new() },
            count.target.clone(),
            count.dispatches.to_string(),
            count.weights_bytes.to_string(),
            count.input_bytes.to_string(),
            count.output_bytes.to_string(),
            count.scratch_bytes.to_string(),
        ]);
    }
    table
}
