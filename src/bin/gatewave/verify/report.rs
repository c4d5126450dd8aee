//! The output of `verify`: rows, their maxima by what was compared, and the counts.
//!
//! Knows no model, no case and no device.

use std::collections::BTreeMap;
use std::io::Write;

use comfy_table::{CellAlignment, Table, presets};
use gatewave::conformance::CaseResult;
use gatewave::device::SelfCheck;
use serde::Serialize;

use crate::{Outcome, Verdict};

/// Controls must differ by this many times the tolerance.
const CONTROL_MARGIN: f64 = 10.0;

/// One comparison.
pub(super) struct Row {
    /// What is compared with what: `cpu / oracle`.
    pub(super) pair: String,
    /// The groups whose maximum counts this row: the cell, and each kernel that ran.
    pub(super) groups: Vec<String>,
    pub(super) result: CaseResult,
    pub(super) expected: Expected,
}

/// What a row must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// The same numbers.
    Same,
    /// A planted bug.
    Bug,
}

impl Row {
    fn passed(&self) -> bool {
        match self.expected {
            Expected::Same => self.result.passed(),
            // An executor that fails outright has shown nothing about the tolerance.
            Expected::Bug => self.result.worst().is_some() && self.result.used() >= CONTROL_MARGIN,
        }
    }

    /// Returns the row in full.
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
            // JSON has no infinity: null if nothing could be compared.
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

/// The comparisons so far.
#[derive(Default)]
pub(super) struct Report {
    json: bool,
    passed: usize,
    failed: usize,
    /// By pair and group: the number of comparisons, and the largest share of a tolerance that one used.
    most: BTreeMap<(String, String), (usize, f64)>,
    /// Lines for after the table: self-checks and controls.
    notes: Vec<String>,
}

impl Report {
    /// Makes an empty report; `json` chooses JSON instead of a table.
    pub(super) fn new(json: bool) -> Self {
        Self { json, ..Self::default() }
    }

    /// Counts a self-check of a device; prints it as JSON.
    pub(super) fn self_check(&mut self, check: &SelfCheck, out: &mut impl Write) -> Outcome<()> {
        match check.fault {
            None => self.passed += 1,
            Some(_) => self.failed += 1,
        }
        if self.json {
            let case = format!("self-check of {}", check.checked);
            let line = Line::of_self_check(&case, check);
            writeln!(out, "{}", serde_json::to_string(&line).expect("plain data"))?;
        } else {
            self.notes.push(check.to_string());
        }
        Ok(())
    }

    /// Counts a row. Prints it if it failed, and always as JSON.
    pub(super) fn add(&mut self, row: Row, out: &mut impl Write) -> Outcome<()> {
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

    pub(super) fn close(self, out: &mut impl Write) -> Outcome {
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

#[cfg(test)]
mod tests {
    use gatewave::Strategy;
    use gatewave::device::Checked;

    use super::*;

    #[test]
    fn a_failed_self_check_is_a_failure_of_the_whole() {
        let check =
            |fault: Option<&str>| SelfCheck::new("Voodoo", Checked::Running(Strategy::Step), fault.map(str::to_owned));
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
