//! How the time of a shape grows with one of its sizes: measured points, and the line that fits them.
//!
//! Chooses the points and fits; `measure` times them, `plot` draws them.

use std::fmt;
use std::io::Write;
use std::str::FromStr;

use comfy_table::{CellAlignment, Table, presets};
use gatewave::{Error, ErrorKind, Result};

use super::Args;
use super::measure::{Bench, Measured};
use super::plot::{Chart, Picture};
use super::subject::Subject;
use crate::messages::{complain, note};
use crate::shapes::Work;
use crate::{Outcome, Verdict};

/// A size and its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    pub(super) axis: Axis,
    from: usize,
    to: usize,
}

/// A size of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    /// T.
    Steps,
    /// B.
    Batch,
    /// H.
    Hidden,
}

/// The times of one device for each size.
pub(super) struct Curve {
    pub(super) device: String,
    /// Size and milliseconds, ascending. The time is the shortest of the runs, which a busy machine disturbs least.
    pub(super) points: Vec<(f64, f64)>,
    /// None if there are fewer points than a fit needs.
    pub(super) fit: Option<Fit>,
}

/// `base + slope · nᵖ` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    base: f64,
    slope: f64,
    power: i32,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("expected T, B or H, and a range that begins at 1 or later and grows, like B=1..256, got {text}")
        };
        let (axis, range) = text.split_once('=').ok_or_else(wrong)?;
        let (from, to) = range.split_once("..").ok_or_else(wrong)?;
        let axis = match axis {
            "T" => Axis::Steps,
            "B" => Axis::Batch,
            "H" => Axis::Hidden,
            _ => return Err(wrong()),
        };
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if 0 < from && from < to => Ok(Self { axis, from, to }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "T",
            Self::Batch => "B",
            Self::Hidden => "H",
        })
    }
}

impl Axis {
    /// Returns the letter, and what it counts.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Steps => "T, the steps of the sequence",
            Self::Batch => "B, the rows of the batch",
            Self::Hidden => "H, the units of a layer",
        }
    }

    /// Returns the power of the size by which a layer's work grows.
    fn power(self) -> i32 {
        if self == Self::Hidden { 2 } else { 1 }
    }
}

impl Sweep {
    /// Returns the sizes: doubled from the first, and the last.
    fn sizes(self) -> Vec<usize> {
        let doubled = std::iter::successors(Some(self.from), |n| n.checked_mul(2));
        doubled.take_while(|&n| n < self.to).chain([self.to]).collect()
    }

    fn at(self, work: &Work, size: usize) -> Work {
        let mut work = Work { id: format!("{} {}={size}", work.id, self.axis), ..work.clone() };
        match self.axis {
            Axis::Steps => work.steps = size,
            Axis::Batch => work.batch = size,
            Axis::Hidden => work.hidden = size,
        }
        work
    }
}

impl Fit {
    /// Fits the line with the least squares of relative deviations: a millisecond matters where times are small.
    ///
    /// Returns none if the points are too few to determine two numbers.
    fn of(points: &[(f64, f64)], power: i32) -> Option<Self> {
        if points.len() < 3 {
            return None;
        }
        // Weights 1/t² on t = base + slope · x.
        let sums = points.iter().fold([0.0; 5], |[s, sx, sxx, st, sxt], &(n, t)| {
            let (x, w) = (n.powi(power), 1.0 / (t * t));
            [s + w, sx + w * x, sxx + w * x * x, st + w * t, sxt + w * x * t]
        });
        let [s, sx, sxx, st, sxt] = sums;
        let determinant = s * sxx - sx * sx;
        let fit = Self { base: (sxx * st - sx * sxt) / determinant, slope: (s * sxt - sx * st) / determinant, power };
        (fit.base.is_finite() && fit.slope.is_finite()).then_some(fit)
    }

    /// Returns the milliseconds of size `n`.
    pub(super) fn at(self, n: f64) -> f64 {
        self.base + self.slope * n.powi(self.power)
    }

    /// Returns the line in words: `0.5 ms + 0.25 ms · T`.
    pub(super) fn words(self, axis: Axis) -> String {
        let power = if self.power == 1 { "" } else { "²" };
        format!("{:.4} ms + {:.6} ms · {axis}{power}", self.base, self.slope)
    }

    /// Returns the largest deviation of a point from the line, as a part of the point.
    fn departure(self, points: &[(f64, f64)]) -> (f64, f64) {
        let departures = points.iter().map(|&(n, t)| ((self.at(n) - t).abs() / t, n));
        departures.fold((0.0, 0.0), |worst, each| if each.0 > worst.0 { each } else { worst })
    }
}

/// Times the one shape of `work` at each size.
pub(super) fn run(args: &Args, sweep: Sweep, work: &[Work], out: &mut impl Write) -> Outcome {
    let [work] = work else {
        let text = format!("--sweep: expected one shape (--only ID, or --cell and its sizes), got {}", work.len());
        return Err(Error::new(ErrorKind::Shape, text).into());
    };
    let picture = args.plot.as_deref().map(|path| Picture::open(path, args.force)).transpose()?;
    let device = args.device.device()?;
    let sizes = sweep.sizes();
    let bench = Bench::new(args.precision, args.strategy, args.runs, sizes.len());
    let mut curves: Vec<Curve> = Vec::new();
    let mut failed = None;
    for &size in &sizes {
        let times = match Subject::drawn(&sweep.at(work, size), args.precision)
            .and_then(|subject| bench.calls(&subject, &device))
        {
            Ok(Measured::Times(times)) => times,
            Err(error) if curves.is_empty() => return Err(error.into()),
            // The measurements so far are still worth printing.
            Err(error) => {
                failed = Some(error);
                break;
            }
            Ok(Measured::Different(what)) => {
                bench.bar.finish_and_clear();
                complain(format_args!("error: {} {}={size}: {what}; not timed", work.id, sweep.axis));
                return Ok(Verdict::Different);
            }
        };
        for (index, series) in times.iter().enumerate() {
            if curves.len() == index {
                curves.push(Curve { device: series.device.clone(), points: Vec::new(), fit: None });
            }
            curves[index].points.push((size as f64, series.shortest()));
        }
    }
    bench.bar.finish_and_clear();
    for curve in &mut curves {
        curve.fit = Fit::of(&curve.points, sweep.axis.power());
    }
    let words = work.words_without(&sweep.axis.to_string());
    // A name made from flags repeats the sizes.
    let name = if args.stack.is_given() { String::new() } else { format!(" ({})", work.id) };
    writeln!(out, "{words}{name}")?;
    writeln!(out, "{}", bench.heading("the shortest call of a warm engine, from the input to the output on the host"))?;
    writeln!(out, "{}", table(sweep.axis, &curves))?;
    for curve in &curves {
        writeln!(out, "{}", curve.words(sweep.axis))?;
    }
    if let Some(picture) = picture {
        let subtitle = format!("weights in {}{}; both axes logarithmic", args.precision.name(), args.strategy.by());
        let place = picture.path().display().to_string();
        picture.draw(&Chart {
            title: &words,
            subtitle: &subtitle,
            devices: bench.devices(),
            runs: args.runs,
            axis: sweep.axis,
            curves: &curves,
        })?;
        note(format_args!("drawn: {place}"));
    }
    failed.map_or(Ok(Verdict::Done), |error| Err(error.into()))
}

impl Curve {
    fn words(&self, axis: Axis) -> String {
        let Some(fit) = self.fit else { return format!("{}: a fit needs three sizes", self.device) };
        let (departure, at) = fit.departure(&self.points);
        format!(
            "{}: {}; the largest departure is {:.0} %, at {axis}={at}",
            self.device,
            fit.words(axis),
            100.0 * departure
        )
    }
}

fn table(axis: Axis, curves: &[Curve]) -> Table {
    let mut table = Table::new();
    let devices = curves.iter().flat_map(|curve| [format!("{} ms", curve.device), "fit".to_owned()]);
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([axis.to_string()].into_iter().chain(devices));
    let sizes = curves.first().map_or(0, |curve| curve.points.len());
    for row in 0..sizes {
        let cells = curves.iter().flat_map(|curve| {
            let (size, time) = curve.points[row];
            [format!("{time:.3}"), curve.fit.map_or_else(String::new, |fit| format!("{:.3}", fit.at(size)))]
        });
        table.add_row([curves[0].points[row].0.to_string()].into_iter().chain(cells));
    }
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_doubles_up_to_its_end() {
        let sizes = |text: &str| text.parse::<Sweep>().map(Sweep::sizes);
        assert_eq!(sizes("B=1..8").unwrap(), [1, 2, 4, 8]);
        assert_eq!(sizes("H=48..100").unwrap(), [48, 96, 100]);
        for wrong in ["B", "B=1", "X=1..2", "T=0..4", "T=4..4", "T=-1..4"] {
            assert!(sizes(wrong).unwrap_err().starts_with("expected T, B or H, and a range"), "{wrong}");
        }
    }

    #[test]
    fn points_on_a_line_are_fitted_by_it() {
        for power in [1, 2] {
            let line = Fit { base: 0.5, slope: 0.25, power };
            let points: Vec<_> = [1.0, 2.0, 4.0, 8.0].into_iter().map(|n| (n, line.at(n))).collect();
            let fit = Fit::of(&points, power).unwrap();
            assert!((fit.base - 0.5).abs() < 1e-9 && (fit.slope - 0.25).abs() < 1e-9, "{fit:?}");
            assert!(fit.departure(&points).0 < 1e-9);
            assert_eq!(Fit::of(&points[..2], power), None);
        }
    }
}
