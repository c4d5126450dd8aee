//! Our times beside other engines', joined by shape.
//!
//! Reads the lines that `--json` prints, from any program; times nothing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use gatewave::{Error, ErrorKind, Result};

use super::report::{self, Line, ratio};

/// The times of other engines.
pub(super) struct Peers {
    lines: Vec<Line>,
}

impl Peers {
    /// Reads the lines of `files`, which may be none.
    ///
    /// # Errors
    ///
    /// Returns an error of kind `Io` if a file cannot be read, or a line of it is not one that `--json` prints.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self> {
        let lines: Result<Vec<_>> = files.iter().map(|file| read(file).map_err(|e| e.at(file.display()))).collect();
        Ok(Self { lines: lines?.into_iter().flatten().collect() })
    }

    /// Prints each of `ours` beside each peer's time for the same shape and
    /// precision. Then compares each of our devices with the fastest peers.
    pub(super) fn compare(&self, ours: &[Line], out: &mut impl Write) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
            "shape",
            "runs on",
            "our ms",
            "peer",
            "peer's ms",
            "ours / peer's",
        ]);
        for column in [2, 4, 5] {
            table.column_mut(column).expect("the header has six").set_cell_alignment(CellAlignment::Right);
        }
        for our in ours {
            for their in self.of(our) {
                table.add_row([
                    our.id.clone(),
                    our.device.clone(),
                    format!("{:.3}", our.ms_median),
                    their.peer.clone(),
                    format!("{:.3}", their.ms_median),
                    ratio(our.ms_median / their.ms_median),
                ]);
            }
        }
        writeln!(out, "{table}")?;
        let devices: BTreeSet<_> = ours.iter().map(|our| our.device.as_str()).collect();
        devices.into_iter().try_for_each(|device| writeln!(out, "{}", self.standing(ours, device)))
    }

    /// Yields a peer's times for a shape of ours.
    fn of<'a>(&'a self, our: &Line) -> impl Iterator<Item = &'a Line> {
        let key = |line: &Line| (line.id.clone(), line.dtype.clone(), line.mode.clone());
        let wanted = key(our);
        self.lines.iter().filter(move |line| key(line) == wanted)
    }

    /// Compares one of our devices with the fastest peer of each shape.
    fn standing(&self, ours: &[Line], device: &str) -> String {
        let (mut ratios, mut missing) = (Vec::new(), Vec::new());
        for our in ours.iter().filter(|our| our.device == device) {
            let best = self.of(our).map(|their| their.ms_median).reduce(f64::min);
            match best {
                Some(best) => ratios.push((our.ms_median / best, our.id.as_str())),
                None => missing.push(our.id.as_str()),
            }
        }
        let missing = if missing.is_empty() {
            String::new()
        } else {
            format!("; no peer's {} (of the same dtype and mode)", missing.join(", "))
        };
        let Some((worst, shape)) = ratios.iter().copied().reduce(|a, b| if a.0 >= b.0 { a } else { b }) else {
            return format!("{device} against the fastest peer: nothing in common{missing}");
        };
        let count = ratios.len();
        let mean = (ratios.iter().map(|(ratio, _)| ratio.ln()).sum::<f64>() / count as f64).exp();
        format!(
            "{device} against the fastest peer of {count} shapes: geometric mean of the ratios {}, largest {} ({shape}){missing}",
            ratio(mean),
            ratio(worst)
        )
    }
}

fn read(file: &Path) -> Result<Vec<Line>> {
    let lines: Vec<Line> = report::read(file, "--json")?;
    if lines.is_empty() {
        return Err(Error::new(ErrorKind::Io, "expected objects as --json prints them, a line each, got none"));
    }
    match lines.iter().find(|line| line.ms_median.is_nan() || line.ms_median <= 0.0) {
        None => Ok(lines),
        Some(line) => {
            let text = format!("{}: ms_median: expected more than 0, got {}", line.id, line.ms_median);
            Err(Error::new(ErrorKind::Io, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(peer: &str, id: &str, ms: f64) -> Line {
        let text = |text: &str| text.to_owned();
        Line {
            peer: text(peer),
            device: text("cpu"),
            dtype: text("f32"),
            id: text(id),
            mode: text("forward"),
            ms_median: ms,
            ms_min: ms,
            ms_max: ms,
            runs: 1,
            start_ms: None,
            kernels: Vec::new(),
        }
    }

    #[test]
    fn the_fastest_peer_of_each_shape_counts() {
        let peers =
            Peers { lines: vec![line("a", "x", 4.0), line("b", "x", 2.0), line("a", "y", 1.0), line("b", "y", 5.0)] };
        let ours = [line("ours", "x", 8.0), line("ours", "y", 1.0), line("ours", "z", 1.0)];
        let wanted = "cpu against the fastest peer of 2 shapes: geometric mean of the ratios 2.00, largest 4.00 (x); no peer's z (of the same dtype and mode)";
        assert_eq!(peers.standing(&ours, "cpu"), wanted);
        let mut halves = line("a", "x", 1.0);
        halves.dtype = "f16".into();
        assert!(
            peers.standing(&[halves], "cpu").contains("nothing in common; no peer's x (of the same dtype and mode)")
        );
    }
}
