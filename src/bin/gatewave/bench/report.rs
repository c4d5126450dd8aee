//! Measurements, as a table or as the lines that the peers' scripts print.

use std::fs;
use std::path::Path;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use gatewave::{Error, ErrorKind, Precision, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::measure::{Series, Start};

/// A line as the peers' scripts print it.
#[derive(Deserialize, Serialize)]
pub(super) struct Line {
    pub(super) peer: String,
    pub(super) device: String,
    pub(super) dtype: String,
    pub(super) id: String,
    pub(super) mode: String,
    pub(super) ms_median: f64,
    pub(super) ms_min: f64,
    pub(super) ms_max: f64,
    pub(super) runs: usize,
    /// The times before the first result, if they were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) start_ms: Option<Start>,
    /// The kernels that ran, if known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) kernels: Vec<String>,
}

/// Reads the objects of a file, one on each line, as `flags` of this subcommand print them.
///
/// # Errors
///
/// Returns an error of kind `Io` if the file cannot be read, or a line of it is not such an object.
pub(super) fn read<T: DeserializeOwned>(file: &Path, flags: &str) -> Result<Vec<T>> {
    let text = fs::read_to_string(file).map_err(|e| Error::new(ErrorKind::Io, e.to_string()).because(e))?;
    let written = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let object = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| {
            let text = format!("line {}: expected an object as {flags} prints it: {e}", number + 1);
            Error::new(ErrorKind::Io, text).because(e)
        })
    };
    written.map(object).collect()
}

impl Series {
    /// Returns the line of what `id` names.
    pub(super) fn line(&self, id: &str, precision: Precision) -> Line {
        Line {
            peer: format!("gatewave {} {}{}", env!("CARGO_PKG_VERSION"), self.device, self.by),
            device: self.device.clone(),
            dtype: precision.name().to_owned(),
            id: id.to_owned(),
            mode: self.mode.to_owned(),
            ms_median: self.median(),
            ms_min: self.shortest(),
            ms_max: self.longest(),
            runs: self.walls.len(),
            start_ms: self.start,
            kernels: self.kernels.clone(),
        }
    }
}

/// Formats a ratio with two decimals, or below a tenth with two digits.
pub(super) fn ratio(ratio: f64) -> String {
    let mut decimals = 2;
    while ratio > 0.0 && decimals < 9 && ratio * 10_f64.powi(decimals - 1) < 0.95 {
        decimals += 1;
    }
    format!("{ratio:.*}", usize::try_from(decimals).expect("2 to 9"))
}

/// Makes an empty table of the calls' times.
pub(super) fn table() -> Table {
    with_header(&[
        "shape",
        "runs on",
        "median",
        "shortest",
        "longest",
        "times as fast as cpu",
        "% upload",
        "% compute",
        "% readback",
    ])
}

/// Makes an empty table of the times before the first result.
pub(super) fn starts() -> Table {
    with_header(&["shape", "runs on", "first result", "open device", "load weights", "compile pipelines", "first call"])
}

/// Makes a table without rows: two columns of names, and numbers.
fn with_header(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for column in 2..header.len() {
        table.column_mut(column).expect("the header has it").set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Adds the times before the first results of what `id` names.
pub(super) fn start_rows(table: &mut Table, id: &str, times: &[Series]) {
    for (index, series) in times.iter().enumerate() {
        let Some(start) = series.start else { continue };
        let parts = [start.total(), start.device, start.weights, start.pipelines, start.call];
        let names = [if index == 0 { id.to_owned() } else { String::new() }, series.device.clone()];
        table.add_row(names.into_iter().chain(parts.map(|ms| format!("{ms:.2}"))));
    }
}

/// Adds the rows of what `id` names.
pub(super) fn rows(table: &mut Table, id: &str, times: &[Series]) {
    let cpu = times[0].median();
    for (index, series) in times.iter().enumerate() {
        let total = (series.parts.upload + series.parts.compute + series.parts.readback).as_secs_f64();
        let share = |part: Duration| match total {
            0.0 => String::new(),
            total => format!("{:.0}", 100.0 * part.as_secs_f64() / total),
        };
        table.add_row([
            if index == 0 { id.to_owned() } else { String::new() },
            series.device.clone(),
            format!("{:.3}", series.median()),
            format!("{:.3}", series.shortest()),
            format!("{:.3}", series.longest()),
            if index == 0 { String::new() } else { ratio(cpu / series.median()) },
            share(series.parts.upload),
            share(series.parts.compute),
            share(series.parts.readback),
        ]);
    }
}
